//! What undoes what a run wrote to one organization, as it is kept: of what came into being only the names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::kind::KindId;
use crate::model::state::LocalId;
use crate::model::value::Value;
use crate::plan::{Action, OrganizationPlan, Ownership};

/// The version of the form. It grows when a reader of the old form would misread the new one.
pub const UNDO_FORMAT: u32 = 1;

/// What undoes what a run wrote to one organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    /// The version of this form.
    pub format: u32,
    /// What came into being and into our hands, by kind. A first run consists of little else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub created: BTreeMap<KindId, Vec<Arc<str>>>,
    /// What else was done to rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Undone>,
    /// What else was done to ownership records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Recorded>,
}

/// What was done to one row, and what undoes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undone {
    /// The kind.
    pub kind: KindId,
    /// The name (after a rename).
    pub name: Arc<str>,
    /// What was done.
    pub action: Action,
    /// The name before, where it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_name: Option<Arc<str>>,
    /// The version of the row before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// What the row held before of what was written; of one that went, everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undo: BTreeMap<String, Value>,
}

/// What one ownership record said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The kind.
    pub kind: KindId,
    /// The name.
    pub name: Arc<str>,
    /// What it said; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Ownership>,
}

impl Undo {
    /// What undoes a plan; none where it writes nothing.
    pub fn of(plan: &OrganizationPlan) -> Option<Undo> {
        if plan.changes.is_empty() && plan.records.is_empty() {
            return None;
        }
        let comes = plan.changes.iter().filter(|change| change.action == Action::Create);
        let comes: BTreeSet<(KindId, &str)> = comes.map(|change| (change.kind, &*change.name)).collect();
        let new = plan.records.iter().filter(|record| record.spec.is_some() && record.before.is_none());
        let new = new.map(|record| (record.kind, &*record.name)).filter(|id| comes.contains(id));
        let new: BTreeSet<(KindId, &str)> = new.collect();
        let mut created: BTreeMap<KindId, Vec<Arc<str>>> = BTreeMap::new();
        let mut changes = Vec::new();
        for change in &plan.changes {
            if new.contains(&(change.kind, &*change.name)) {
                created.entry(change.kind).or_default().push(change.name.clone());
                continue;
            }
            changes.push(Undone {
                kind: change.kind,
                name: change.name.clone(),
                action: change.action,
                previous_name: change.previous_name.clone(),
                version: change.version,
                undo: change.undo.clone(),
            });
        }
        let records = plan.records.iter().filter(|record| !new.contains(&(record.kind, &*record.name)));
        let records = records.map(|record| Recorded {
            kind: record.kind,
            name: record.name.clone(),
            before: record.before.clone(),
        });
        Some(Undo { format: UNDO_FORMAT, created, changes, records: records.collect() })
    }

    /// Everything that was done to rows, what came into being like all else.
    pub fn entries(&self) -> Vec<Undone> {
        let come = |kind: KindId, name: &Arc<str>| Undone {
            kind,
            name: name.clone(),
            action: Action::Create,
            previous_name: None,
            version: None,
            undo: BTreeMap::new(),
        };
        let created = self.created.iter().flat_map(|(kind, names)| names.iter().map(move |name| come(*kind, name)));
        created.chain(self.changes.iter().cloned()).collect()
    }

    /// Everything that was done to ownership records.
    pub fn records(&self) -> Vec<Recorded> {
        let new = |kind: KindId, name: &Arc<str>| Recorded { kind, name: name.clone(), before: None };
        let created = self.created.iter().flat_map(|(kind, names)| names.iter().map(move |name| new(*kind, name)));
        created.chain(self.records.iter().cloned()).collect()
    }

    /// The rows that were written, under the names from before and after, each with the version that it had before.
    pub fn written(&self) -> BTreeMap<LocalId, Option<i64>> {
        let mut written = BTreeMap::new();
        for Undone { kind, name, previous_name, version, .. } in self.entries() {
            if let Some(previous) = previous_name {
                written.insert((kind, previous), version);
            }
            written.insert((kind, name), version);
        }
        written
    }
}

impl Undone {
    /// What it is about, under the name that it has now.
    pub fn local(&self) -> LocalId {
        (self.kind, self.name.clone())
    }

    /// What it is about, under the name that it had before.
    pub fn local_before(&self) -> LocalId {
        (self.kind, self.previous_name.as_ref().unwrap_or(&self.name).clone())
    }
}
