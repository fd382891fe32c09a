//! What a file says, and what it should say once drift is adopted. Two files that say the same are equal, however
//! they are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Drifted;
use crate::model::code::Code;
use crate::model::kind::KindId;
use crate::model::resource::{ResourceId, Spec};
use crate::model::state::Ignore;
use crate::model::value::Value;
use crate::plan::{Action, Cause, Change};
use crate::source::manifest::FileReading;

/// A rule that takes something out of comparison: the kind, the names, the fields.
type Rule = (KindId, Box<str>, Vec<Box<str>>);

/// What a file says.
#[derive(Clone, PartialEq)]
pub struct Said {
    resources: BTreeMap<ResourceId, (Spec, Option<Arc<str>>)>,
    authoritative: Vec<(Arc<str>, KindId)>,
    ignore: Vec<(Arc<str>, Rule)>,
    /// What is wrong with it; that must not become more.
    faults: Vec<(Code, String)>,
    faulty: Vec<ResourceId>,
    unreadable: bool,
}

impl Said {
    /// What a reading says.
    pub fn by(reading: &FileReading) -> Self {
        let resources = reading.resources.iter();
        let mut authoritative = reading.authoritative.clone();
        authoritative.sort();
        authoritative.dedup();
        let rule = |(organization, rule): &(Arc<str>, Ignore)| {
            (organization.clone(), (rule.kind, rule.name.clone(), rule.fields.clone()))
        };
        Said {
            resources: resources.map(|r| (r.id.clone(), (r.spec.clone(), r.previous_name.clone()))).collect(),
            authoritative,
            ignore: reading.ignore.iter().map(rule).collect(),
            faults: reading.findings.iter().map(|finding| (finding.code, finding.message.clone())).collect(),
            faulty: reading.faulty.clone(),
            unreadable: reading.unreadable,
        }
    }

    /// Whether it declares nothing, rightly or wrongly.
    pub fn says_nothing(&self) -> bool {
        self.resources.is_empty() && self.faulty.is_empty() && !self.unreadable
    }

    /// The same with drift in it; none if it does not hold what has drifted.
    pub fn with(&self, drift: &[Drifted<'_>]) -> Option<Said> {
        let mut said = self.clone();
        for Drifted { change, organization, .. } in drift {
            let id = ResourceId { organization: (*organization).clone(), kind: change.kind, name: change.name.clone() };
            if change.extra {
                let spec = held(change);
                said.resources.insert(id, (spec, None)).is_none().then_some(())?;
            } else if change.action == Action::Create {
                said.resources.remove(&id)?;
            } else {
                let (spec, _) = said.resources.get_mut(&id)?;
                *spec = moved(spec, change)?;
            }
        }
        let declared: Vec<&Arc<str>> = said.resources.keys().map(|id| &id.organization).collect();
        // With the document of an organization go what it says about its collections.
        let stays = |organization: &Arc<str>| declared.contains(&organization);
        if drift.iter().any(|drifted| drifted.change.action == Action::Create) {
            said.authoritative.retain(|(organization, _)| stays(organization));
            said.ignore.retain(|(organization, ..)| stays(organization));
        }
        Some(said)
    }
}

/// A row that nobody declares, as a manifest would name it.
pub fn held(change: &Change) -> Spec {
    let kind = change.kind.get();
    Spec::from_values(
        change.fields.iter().filter_map(|field| Some((kind.field_at(&field.path)?, field.before.clone()))),
    )
}

/// A spec in which the drifted fields hold what the row holds.
fn moved(spec: &Spec, change: &Change) -> Option<Spec> {
    let kind = change.kind.get();
    let mut values: BTreeMap<u8, Value> =
        spec.entries().iter().map(|entry| (entry.field, entry.value.clone())).collect();
    for field in change.fields.iter().filter(|field| field.cause != Cause::Change) {
        if let Some(number) = kind.field_at(&field.path) {
            values.contains_key(&number).then_some(())?;
            values.insert(number, field.before.clone());
            continue;
        }
        let (number, map) =
            kind.stored_fields().find(|(_, map)| map.shape.is_map() && within(map.path, &field.path).is_some())?;
        let key = within(map.path, &field.path)?;
        let mut pairs: BTreeMap<Box<str>, Value> = values.get(&number)?.pairs().iter().cloned().collect();
        match &field.before {
            Value::Null => drop(pairs.remove(key)),
            value => drop(pairs.insert(key.into(), value.clone())),
        }
        // An empty map would claim all of its keys; one whose last named key is gone is no longer named.
        match pairs.is_empty() {
            true => values.remove(&number),
            false => values.insert(number, Value::map(pairs)),
        };
    }
    Some(Spec::from_values(values))
}

/// What a path names within a map or a group.
pub fn within<'p>(map: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(map)?.strip_prefix('.')
}
