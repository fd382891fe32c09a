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
    let renames = Renames::of(changes);
    let mut rows = Rows::new();
    for ((id, name), row) in &live.rows {
        let name = renames.new_name(id.get().name, name).unwrap_or_else(|| name.clone());
        rows.entry(*id).or_default().insert(name.to_string(), renames.followed(id.get(), &row.spec));
    }
    rows
}

/// Lets rows follow what these changes rename elsewhere, as the database does.
pub fn follow(live: &mut Live, changes: &[Change]) {
    let renames = Renames::of(changes);
    for ((id, _), row) in &mut live.rows {
        row.spec = renames.followed(id.get(), &row.spec);
    }
}

/// The new names, by kind and old name.
struct Renames<'a>(BTreeMap<(&'a str, &'a str), &'a Arc<str>>);

impl<'a> Renames<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let renamed =
            |change: &'a Change| Some(((change.kind.get().name, change.previous_name.as_deref()?), &change.name));
        Renames(changes.iter().filter_map(renamed).collect())
    }

    fn new_name(&self, kind: &str, name: &str) -> Option<Arc<str>> {
        self.0.get(&(kind, name)).map(|name| (*name).clone())
    }

    /// A row with what it refers to under the new names.
    fn followed(&self, kind: &'static Kind, spec: &Spec) -> Spec {
        if self.0.is_empty() {
            return spec.clone();
        }
        let new_name = |kind: &str, name: &str| self.new_name(kind, name);
        let follow = |entry: &Entry| {
            let value = renames::follow(kind, entry.field, &entry.value, &new_name);
            (entry.field, value.unwrap_or_else(|| entry.value.clone()))
        };
        Spec::from_values(spec.entries().iter().map(follow))
    }
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
