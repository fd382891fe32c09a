//! A run that is limited to some resources: what it is not about is dropped, and what is left must stand by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Diff;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::GLOBAL;
use crate::model::kind::{Kind, KindId, Scope};
use crate::model::kinds;
use crate::model::resource::ResourceId;
use crate::model::shape::{Field, Shape};
use crate::model::state::LocalId;
use crate::model::value::Value;
use crate::plan::{Action, Change};

impl Diff<'_> {
    /// Drops what the run is not about, and says what of it is needed all the same. A rename is about both of its
    /// names.
    pub(super) fn keep_targeted(&mut self) {
        let organization = self.desired.organization.clone();
        let targeted = self.rules.targeted;
        let meant = |kind: KindId, name: &Arc<str>| {
            targeted(&ResourceId { organization: organization.clone(), kind, name: name.clone() })
        };
        let renames = &self.renames;
        let (kept, dropped) =
            std::mem::take(&mut self.changes).into_iter().partition(|change: &Change| meant(change.kind, &change.name));
        self.changes = kept;
        self.left.retain(|change| meant(change.kind, &change.name));
        self.records.retain(|record| {
            let renamed = renames.get(&(record.kind, record.name.clone()));
            meant(record.kind, &record.name) || renamed.is_some_and(|name| meant(record.kind, name))
        });
        self.stands_alone(&dropped);
    }

    /// Whatever a change that is left refers to is there already, or comes with it.
    fn stands_alone(&mut self, dropped: &[Change]) {
        let comes = |change: &&Change| change.action == Action::Create || change.previous_name.is_some();
        let missing: BTreeSet<LocalId> =
            dropped.iter().filter(comes).map(|change| (change.kind, change.name.clone())).collect();
        let mut findings = Vec::new();
        for change in self.changes.iter().filter(|change| !matches!(change.action, Action::Delete | Action::Release)) {
            let mut wanted: BTreeSet<(String, ResourceId)> = BTreeSet::new();
            for (kind, path, name) in references(change) {
                if missing.contains(&(kind, name.into())) {
                    wanted.insert((format!("`{path}` names"), self.id(&(kind, name.into()))));
                }
            }
            if change.kind.get().scope == Scope::Child {
                let root = (KindId::of(&kinds::organization::KIND), self.desired.organization.clone());
                if missing.contains(&root) {
                    wanted.insert(("it belongs to".to_owned(), self.id(&root)));
                }
            }
            if let Some(tier) = self.missing_tier(change) {
                wanted.insert(("`tier` names".to_owned(), tier));
            }
            let id = self.id(&(change.kind, change.name.clone()));
            for (how, needed) in wanted {
                let message = format!("{id} needs {needed}, which this run would not bring about: {how} it");
                let finding = Finding::error(Code::DanglingReference, message).about(&id);
                let finding = finding.hint(format!("add `--target {needed}`, or leave `--target` out"));
                findings.push(match change.origin.clone() {
                    Some(origin) => finding.at(origin),
                    None => finding,
                });
            }
        }
        self.findings.extend(findings);
    }

    /// The tier that a change names, if it comes into being only with something that the run is not about.
    fn missing_tier(&self, change: &Change) -> Option<ResourceId> {
        let tier = change.kind.is(&kinds::organization::KIND).then(|| change.set.get("tier")?.as_text()).flatten()?;
        let comes = self.rules.declared_tiers.contains(tier) && !self.rules.tiers.contains_key(tier);
        let kind = KindId::of(&kinds::tier::KIND);
        let id = ResourceId { organization: GLOBAL.into(), kind, name: tier.into() };
        (comes && !(self.rules.targeted)(&id)).then_some(id)
    }
}

/// What a change refers to: the kind, the path of the field, and the name.
fn references(change: &Change) -> Vec<(KindId, &'static str, &str)> {
    let mut found = Vec::new();
    for (path, value) in &change.set {
        let Some(field) = change.kind.get().fields.iter().find(|field| field.path == path) else { continue };
        match field.shape {
            Shape::List { fields, .. } => {
                for (inner, item) in fields.iter().flat_map(|inner| value.items().iter().map(move |item| (inner, item)))
                {
                    found.extend(reference(inner, field.path, item.get(inner.path)));
                }
            }
            Shape::Set { .. } => {
                found.extend(value.items().iter().filter_map(|item| reference(field, field.path, Some(item))));
            }
            _ => found.extend(reference(field, field.path, Some(value))),
        }
    }
    found
}

fn reference<'v>(
    field: &Field,
    path: &'static str,
    value: Option<&'v Value>,
) -> Option<(KindId, &'static str, &'v str)> {
    Some((KindId::of(Kind::named(field.refers?)?), path, value?.as_text()?))
}
