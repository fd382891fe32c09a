//! What refers to something that goes: a reference is taken away in the same plan, visibly; what has no meaning
//! without it (a key without its owner) goes with it. What a manifest names or another source owns is never touched
//! for this: that is an error.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{blank, rows};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::shape::{Field, Shape};
use crate::model::state::{Applied, Desired, Live, LiveRow, LocalId};
use crate::model::value::Value;
use crate::plan::{Action, Cause, Change, FieldChange};

/// Takes references to what goes out of the rows that stay.
pub struct Unlink<'a> {
    desired: &'a Desired,
    live: &'a Live,
    applied: &'a Applied,
    source: &'a str,
    gone: BTreeSet<(&'static str, Arc<str>)>,
}

impl<'a> Unlink<'a> {
    /// Looks at what the changes delete.
    pub fn new(
        desired: &'a Desired,
        live: &'a Live,
        applied: &'a Applied,
        source: &'a str,
        changes: &[Change],
    ) -> Self {
        let deleted = changes.iter().filter(|change| change.action == Action::Delete);
        let gone = deleted.map(|change| (change.kind.get().name, change.name.clone())).collect();
        Unlink { desired, live, applied, source, gone }
    }

    /// Adds what has to change and to go beside what goes, and says what stands in its way.
    pub fn extend(&mut self, changes: &mut Vec<Change>, findings: &mut Vec<Finding>) {
        // What goes with something may itself be named by something else.
        while !self.gone.is_empty() && self.take_dependents(changes) {}
        if self.gone.is_empty() {
            return;
        }
        for (local, row) in self.staying() {
            for (number, field) in local.0.get().stored_fields() {
                self.field(local, row, number, field, changes, findings);
            }
        }
    }

    fn staying(&self) -> impl Iterator<Item = (&'a LocalId, &'a LiveRow)> {
        let live: &'a Live = self.live;
        live.rows.iter().filter(|(local, _)| !self.gone.contains(&(local.0.get().name, local.1.clone())))
    }

    /// Deletes the rows that nobody declares or owns and that have no meaning without what goes.
    fn take_dependents(&mut self, changes: &mut Vec<Change>) -> bool {
        let free = |local: &LocalId| self.desired.get(local).is_none() && !self.applied.rows.contains_key(local);
        let names_gone = |local: &LocalId, row: &LiveRow| {
            let mut dependent = local.0.get().stored_fields().filter(|(_, field)| field.dependent);
            dependent.any(|(number, field)| self.goes(field.refers, row.spec.value(number)))
        };
        let dependents: Vec<_> = self.staying().filter(|(local, row)| free(local) && names_gone(local, row)).collect();
        for (local, row) in &dependents {
            changes.push(Change {
                version: Some(row.version),
                undo: rows::whole(local.0.get(), &row.spec),
                reason: Some("it goes with what it belongs to".into()),
                ..blank(local, Action::Delete, Cause::Change)
            });
        }
        self.gone.extend(dependents.iter().map(|(local, _)| (local.0.get().name, local.1.clone())));
        !dependents.is_empty()
    }

    fn goes(&self, kind: Option<&'static str>, value: Option<&Value>) -> bool {
        let name = value.and_then(Value::as_text);
        kind.zip(name).is_some_and(|(kind, name)| self.gone.contains(&(kind, name.into())))
    }

    /// A value without what goes; none where nothing of it does.
    fn without(&self, field: &'static Field, value: &Value) -> Option<Value> {
        let stays: Box<dyn Fn(&Value) -> bool> = match field.shape {
            Shape::Set { .. } => Box::new(|item| !self.goes(field.refers, Some(item))),
            Shape::List { fields, .. } => {
                Box::new(|item| !fields.iter().any(|inner| self.goes(inner.refers, item.get(inner.path))))
            }
            _ => return self.goes(field.refers, Some(value)).then_some(Value::Null),
        };
        let rest: Vec<Value> = value.items().iter().filter(|item| stays(item)).cloned().collect();
        (rest.len() < value.items().len()).then(|| Value::List(rest.into()))
    }

    fn field(
        &self,
        local: &LocalId,
        row: &LiveRow,
        number: u8,
        field: &'static Field,
        changes: &mut Vec<Change>,
        findings: &mut Vec<Finding>,
    ) {
        let planned = changes.iter().position(|change| {
            change.kind == local.0 && *change.previous_name.as_ref().unwrap_or(&change.name) == local.1
        });
        let value = planned.and_then(|at| changes[at].set.get(field.path)).or_else(|| row.spec.value(number));
        let Some(value) = value else { return };
        let Some(rest) = self.without(field, value) else { return };
        let what = format!("{} `{}`", local.0, local.1);
        let owner = self.applied.rows.get(local).map(|own| &*own.source).filter(|owner| *owner != self.source);
        if let Some(owner) = owner {
            let message = format!("{what} of the source `{owner}` names in `{}` what would go", field.path);
            let finding = Finding::error(Code::OwnedElsewhere, message).about(&what);
            findings.push(finding.hint("take the reference out there first"));
            return;
        }
        let named = self.desired.get(local).and_then(|resource| resource.spec.value(number));
        if named.is_some_and(|named| *named != Value::Null) || field.dependent {
            let message = format!("{what} names in `{}` what would go", field.path);
            let finding = Finding::error(Code::DanglingReference, message).about(&what);
            findings.push(finding.hint("let it name something else, or let it go as well"));
            return;
        }
        let at = planned.unwrap_or_else(|| {
            changes.push(Change {
                version: Some(row.version),
                reason: Some("it names what goes".into()),
                ..blank(local, Action::Update, Cause::Change)
            });
            changes.len() - 1
        });
        write(&mut changes[at], row, number, field, rest);
    }
}

fn write(change: &mut Change, row: &LiveRow, number: u8, field: &'static Field, rest: Value) {
    change.set.insert(field.path.to_owned(), rest.clone());
    let live = row.spec.value(number).cloned().unwrap_or_default();
    change.undo.insert(field.path.to_owned(), live);
    match change.fields.iter_mut().find(|shown| shown.path == field.path) {
        Some(shown) => shown.after = rest,
        None => change.fields.push(FieldChange {
            path: field.path.to_owned(),
            before: row.spec.value(number).cloned().unwrap_or_default(),
            after: rest,
            applied: None,
            cause: Cause::Change,
            origin: None,
            written_by: None,
            moved_by: None,
        }),
    }
}
