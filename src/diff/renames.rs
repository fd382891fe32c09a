//! Renames: references that follow by themselves, and pairs of changes that look like a rename nobody declared.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::fields::{is_stored, target};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{Key, Kind, KindId};
use crate::model::resource::{Resource, Spec};
use crate::model::shape::{Field, Shape};
use crate::model::state::{Desired, Live};
use crate::model::value::Value;
use crate::plan::{Action, Change};

/// How many fields must agree before two resources look alike.
const AGREEING_FIELDS_MIN: usize = 2;

/// So many pairs that look like a rename are told one by one.
const LOOKALIKES_TOLD_MAX: usize = 20;

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
    let with = |action: Action| changes.iter().filter(move |change| change.action == action);
    let mut new = NewContents::default();
    for change in with(Action::Create).filter(|change| change.kind.get().key == Key::Name) {
        if let Some(resource) = desired.get(&(change.kind, change.name.clone())) {
            new.add(resource);
        }
    }
    let mut alike = 0;
    for gone in with(Action::Delete) {
        let Some(row) = live.rows.get(&(gone.kind, gone.name.clone())) else { continue };
        let Some(resource) = new.take(gone.kind, &row.spec) else { continue };
        alike += 1;
        if alike <= LOOKALIKES_TOLD_MAX {
            holds.push(looks_like_rename(gone, resource));
        }
    }
    if alike > LOOKALIKES_TOLD_MAX {
        let message = format!("{} more look like renames", alike - LOOKALIKES_TOLD_MAX);
        holds.push(Finding::warning(Code::LooksLikeRename, message).about(&desired.organization));
    }
}

fn looks_like_rename(gone: &Change, resource: &Resource) -> Finding {
    let message = format!(
        "{} `{}` goes and `{}` with the same content comes: this looks like a rename",
        gone.kind, gone.name, resource.id.name
    );
    let hint = format!(
        "to keep its id and history, annotate the new one with `argus.io/previous-name: {}` (inline: `previousName: {}`)",
        gone.name, gone.name
    );
    Finding::warning(Code::LooksLikeRename, message).about(&resource.id).at(resource.origin.clone()).hint(hint)
}

/// New resources by what they say, so that each row that goes is looked up and not compared with all of them.
#[derive(Default)]
struct NewContents<'a>(BTreeMap<(KindId, Vec<u8>), ByContent<'a>>);

/// Resources that name the same fields, by what they say of them.
type ByContent<'a> = HashMap<String, VecDeque<&'a Resource>>;

impl<'a> NewContents<'a> {
    /// Adds a resource, if enough of what it says is telling.
    fn add(&mut self, resource: &'a Resource) {
        let kind = resource.kind();
        let stored = resource.spec.entries().iter().filter(|entry| is_stored(kind, entry.field));
        let values: Vec<(u8, Value)> =
            stored.map(|entry| (entry.field, target(kind, entry.field, &entry.value))).collect();
        let telling = values.iter().filter(|(field, value)| *value != kind.fields[*field as usize].preset.value());
        if telling.count() >= AGREEING_FIELDS_MIN {
            let fields = values.iter().map(|(field, _)| *field).collect();
            let said = content(values.iter().map(|(_, value)| value));
            self.0.entry((resource.id.kind, fields)).or_default().entry(said).or_default().push_back(resource);
        }
    }

    /// Takes the first new resource of which a row holds all that it says.
    fn take(&mut self, kind: KindId, row: &Spec) -> Option<&'a Resource> {
        let null = Value::Null;
        self.0.iter_mut().filter(|((of, _), _)| *of == kind).find_map(|((_, fields), by_content)| {
            let held = content(fields.iter().map(|field| row.value(*field).unwrap_or(&null)));
            by_content.get_mut(&held).and_then(VecDeque::pop_front)
        })
    }
}

fn content<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    values.map(Value::to_string).collect::<Vec<_>>().join("\n")
}
