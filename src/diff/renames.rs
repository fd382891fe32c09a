//! Renames: references that follow by themselves, and pairs of changes that look like a rename nobody declared.

use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{Key, Kind};
use crate::model::resource::Spec;
use crate::model::shape::{Field, Shape};
use crate::model::state::{Desired, Live};
use crate::model::value::Value;
use crate::plan::{Action, Change};

/// How many fields must agree before two resources look alike.
const AGREEING_FIELDS_MIN: usize = 2;

/// What a live value with references becomes when what it names gets a new name; none if it stays.
pub fn follow(
    kind: &'static Kind,
    field: u8,
    live: &Value,
    new_name: &dyn Fn(&str, &str) -> Option<Arc<str>>,
) -> Option<Value> {
    let field: &Field = &kind.fields[field as usize];
    match (&field.shape, field.refers) {
        (Shape::Set { .. }, Some(target)) => {
            let renamed = |item: &Value| item.as_text().and_then(|name| new_name(target, name));
            live.items().iter().any(|item| renamed(item).is_some()).then(|| {
                let old = |item: &Value| item.as_text().unwrap_or_default().into();
                Value::set(live.items().iter().map(|item| renamed(item).unwrap_or_else(|| old(item)).to_string()))
            })
        }
        (Shape::List { fields, key, .. }, _) => follow_records(fields, key, live, new_name),
        (_, Some(target)) => new_name(target, live.as_text()?).map(|name| Value::text(&*name)),
        _ => None,
    }
}

fn follow_records(
    fields: &'static [Field],
    key: &str,
    live: &Value,
    new_name: &dyn Fn(&str, &str) -> Option<Arc<str>>,
) -> Option<Value> {
    let mut any = false;
    let records = live.items().iter().map(|record| {
        Value::map(record.pairs().iter().map(|(path, value)| {
            let target = fields.iter().find(|field| *field.path == **path).and_then(|field| field.refers);
            let name = target.and_then(|target| new_name(target, value.as_text()?));
            any |= name.is_some();
            (path.clone(), name.map_or_else(|| value.clone(), |name| Value::text(&*name)))
        }))
    });
    let mut records: Vec<Value> = records.collect();
    records.sort_by(|a, b| a.get(key).cmp(&b.get(key)));
    any.then(|| Value::List(records.into()))
}

/// Holds a delete and a create that look like a rename: carried out as they stand, the row would lose its id, its
/// keys and its history. People are told apart by their address and never look alike.
pub fn hold_lookalikes(desired: &Desired, live: &Live, changes: &[Change], holds: &mut Vec<Finding>) {
    let with = |action: Action| changes.iter().filter(move |change| change.action == action && !change.extra);
    for gone in with(Action::Delete).filter(|change| change.kind.get().key == Key::Name) {
        let Some(row) = live.rows.get(&(gone.kind, gone.name.clone())) else { continue };
        for new in with(Action::Create).filter(|change| change.kind == gone.kind) {
            let Some(resource) = desired.get(&(new.kind, new.name.clone())) else { continue };
            if !alike(gone.kind.get(), &resource.spec, &row.spec) {
                continue;
            }
            let message = format!(
                "{} `{}` goes and `{}` with the same content comes: this looks like a rename",
                gone.kind, gone.name, new.name
            );
            let hint = format!(
                "to keep its id and history, annotate the new one with `argus.io/previous-name: {}` (inline: \
                 `previousName: {}`)",
                gone.name, gone.name
            );
            let finding = Finding::warning(Code::LooksLikeRename, message).about(&resource.id);
            holds.push(finding.at(resource.origin.clone()).hint(hint));
        }
    }
}

/// Whether all that the new one names is what the old one holds, and enough of it is telling.
fn alike(kind: &'static Kind, new: &Spec, old: &Spec) -> bool {
    let mut agreeing = 0;
    for entry in new.entries() {
        let field = &kind.fields[entry.field as usize];
        let wanted = super::fields::target(kind, entry.field, &entry.value);
        if old.value(entry.field) != Some(&wanted) {
            return false;
        }
        if wanted != field.preset.value() {
            agreeing += 1;
        }
    }
    agreeing >= AGREEING_FIELDS_MIN
}
