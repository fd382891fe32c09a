//! The rows of an organization as plain specs: as they are, and as they will be once the changes are carried out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::renames;
use crate::model::kind::{Kind, KindId};
use crate::model::resource::{Entry, Spec};
use crate::model::state::Live;
use crate::model::value::Value;
use crate::plan::{Action, Change};

/// Specs by kind and name.
pub type Rows = BTreeMap<KindId, BTreeMap<String, Spec>>;

/// The rows as they are, under the names that they will have: a rename takes nothing from anybody.
pub fn before(live: &Live, changes: &[Change]) -> Rows {
    let renamed = changes.iter().filter_map(|change| {
        let previous = change.previous_name.as_deref()?;
        Some(((change.kind.get().name, previous), &change.name))
    });
    let renames: BTreeMap<(&str, &str), &Arc<str>> = renamed.collect();
    let new_name = |kind: &str, name: &str| renames.get(&(kind, name)).map(|name| (*name).clone());
    let mut rows = Rows::new();
    for ((id, name), row) in &live.rows {
        let kind = id.get();
        let name = new_name(kind.name, name).unwrap_or_else(|| name.clone());
        let mut spec = row.spec.clone();
        if !renames.is_empty() {
            let follow = |entry: &Entry| {
                let value = renames::follow(kind, entry.field, &entry.value, &new_name);
                (entry.field, value.unwrap_or_else(|| entry.value.clone()))
            };
            spec = Spec::from_values(row.spec.entries().iter().map(follow));
        }
        rows.entry(*id).or_default().insert(name.to_string(), spec);
    }
    rows
}

/// The rows as they will be.
pub fn after(before: &Rows, changes: &[Change]) -> Rows {
    let mut rows = before.clone();
    for change in changes {
        let kind = change.kind.get();
        let of_kind = rows.entry(change.kind).or_default();
        match change.action {
            Action::Release => {}
            Action::Delete => {
                of_kind.remove(&*change.name);
            }
            Action::Create | Action::Update | Action::Adopt => {
                // What nobody names of a new row, the database presets.
                let presets = || Spec::from_values(kind.stored_fields().map(|(at, field)| (at, field.preset.value())));
                let old = of_kind.remove(&*change.name).unwrap_or_else(presets);
                let values = old.entries().iter().map(|entry| (entry.field, entry.value.clone()));
                let set = change.set.iter().filter_map(|(path, value)| Some((kind.field_at(path)?, value.clone())));
                of_kind.insert(change.name.to_string(), Spec::from_values(values.chain(set)));
            }
        }
    }
    rows
}

/// All that a row holds, by path, but what it would hold if nobody had said anything.
pub fn whole(kind: &'static Kind, row: &Spec) -> BTreeMap<String, Value> {
    let telling = row.entries().iter().filter(|entry| entry.value != kind.fields[entry.field as usize].preset.value());
    telling.map(|entry| (kind.fields[entry.field as usize].path.to_owned(), entry.value.clone())).collect()
}
