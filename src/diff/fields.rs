//! The fields of one resource, three ways: what is said, what is there, what Argus wrote last.

use std::collections::BTreeMap;

use crate::model::kind::Kind;
use crate::model::origin::Origin;
use crate::model::resource::{Entry, Resource, Spec};
use crate::model::shape::{Column, Field};
use crate::model::value::Value;
use crate::plan::{Cause, FieldChange};

/// The three sides of one resource.
pub struct Sides<'a> {
    /// The resource as it is declared.
    pub desired: &'a Resource,
    /// Every stored field of its row.
    pub live: &'a Spec,
    /// The fields that Argus wrote last, if it owns the row.
    pub applied: Option<&'a Spec>,
}

/// One difference, with the whole value that its column would take.
pub struct Differing {
    /// The field.
    pub field: &'static Field,
    /// The difference; of a map, that of one key.
    pub change: FieldChange,
    /// The value of the column.
    pub whole: Value,
}

/// What a comparison found.
#[derive(Default)]
pub struct Compared {
    /// The differences.
    pub differing: Vec<Differing>,
    /// Fields that are no longer named and were changed by somebody else, with what to tell.
    pub kept: Vec<(String, String)>,
    /// Fields that differ and cannot change.
    pub fixed: Vec<String>,
    /// The rules that took a difference out of comparison, once for each.
    pub ignored: Vec<usize>,
}

/// Whether a field is state.
pub fn is_stored(kind: &Kind, field: u8) -> bool {
    kind.fields[field as usize].column != Column::None
}

/// The value that a named field asks for: null asks for the field's empty value.
pub fn target(kind: &Kind, field: u8, value: &Value) -> Value {
    match value {
        Value::Null => kind.fields[field as usize].preset.value(),
        value => value.clone(),
    }
}

/// Compares all stored fields.
///
/// `ignored` finds the rule that takes a path out of comparison; `renamed` tells what a live reference becomes by
/// itself when what it names is renamed.
pub fn compare(
    kind: &'static Kind,
    sides: &Sides<'_>,
    ignored: &dyn Fn(&str) -> Option<usize>,
    renamed: &dyn Fn(u8, &Value) -> Option<Value>,
) -> Compared {
    let mut compared = Compared::default();
    for (number, field) in kind.stored_fields() {
        let desired = sides.desired.spec.entry(number);
        let applied = sides.applied.and_then(|applied| applied.value(number));
        if desired.is_none() && applied.is_none() {
            continue;
        }
        let live = sides.live.value(number).cloned().unwrap_or_else(|| field.preset.value());
        let live = renamed(number, &live).unwrap_or(live);
        let origin = desired.filter(|entry| entry.at.line > 0);
        let origin = origin.map(|entry| Origin::new(&sides.desired.origin.file, entry.at));
        let wanted = desired.map(|entry| target(kind, number, &entry.value));
        let written = applied.map(|value| target(kind, number, value));
        // What Argus wrote has followed the rename as what is there has.
        let written = written.map(|value| renamed(number, &value).unwrap_or(value));
        let all_keys = wanted.as_ref().is_some_and(Value::is_empty);
        let points = match field.shape.is_map() {
            true => keys(field, wanted.as_ref(), &live, written.as_ref(), all_keys),
            false => vec![Point { path: field.path.into(), wanted, live: live.clone(), written }],
        };
        for point in points {
            match point.verdict(field, all_keys) {
                Verdict::Same => {}
                Verdict::Kept(message) => compared.kept.push((point.path, message)),
                Verdict::Differs(after, cause) => {
                    if let Some(rule) = ignored(&point.path) {
                        compared.ignored.push(rule);
                    } else if field.fixed {
                        compared.fixed.push(point.path);
                    } else {
                        let change = FieldChange {
                            path: point.path,
                            before: point.live,
                            after: after.clone(),
                            applied: point.written,
                            cause,
                            origin: origin.clone(),
                            written_by: None,
                            moved_by: None,
                        };
                        compared.differing.push(Differing { field, change, whole: after });
                    }
                }
            }
        }
    }
    compared
}

/// What a row holds that nobody declared, field by field.
pub fn held(kind: &'static Kind, live: &Spec) -> Vec<FieldChange> {
    let telling = live.entries().iter().filter(|entry| entry.value != kind.fields[entry.field as usize].preset.value());
    let change = |entry: &Entry| FieldChange {
        path: kind.fields[entry.field as usize].path.into(),
        before: entry.value.clone(),
        after: Value::Null,
        applied: None,
        cause: Cause::Drift,
        origin: None,
        written_by: None,
        moved_by: None,
    };
    telling.map(change).collect()
}

/// The map columns that these differences write, with all other keys as they are.
pub fn merged_maps<'a>(kind: &'static Kind, live: &Spec, fields: &'a [Differing]) -> Vec<(&'a str, Value)> {
    let mut maps: BTreeMap<&str, BTreeMap<Box<str>, Value>> = BTreeMap::new();
    for differing in fields.iter().filter(|differing| differing.field.shape.is_map()) {
        let path = differing.field.path;
        let map = maps.entry(path).or_insert_with(|| {
            let live = kind.field_at(path).and_then(|field| live.value(field));
            live.map(|live| live.pairs().iter().cloned().collect()).unwrap_or_default()
        });
        let key = &differing.change.path[path.len() + 1..];
        match &differing.change.after {
            Value::Null => map.remove(key),
            value => map.insert(key.into(), value.clone()),
        };
    }
    maps.into_iter().map(|(path, map)| (path, Value::map(map))).collect()
}

/// The cause of a change that has several: a conflict outweighs a change, a change outweighs drift.
pub fn summary(fields: &[FieldChange]) -> Cause {
    let has = |cause| fields.iter().any(|field| field.cause == cause);
    match (has(Cause::Conflict), has(Cause::Change), has(Cause::Drift)) {
        (true, _, _) => Cause::Conflict,
        (false, false, true) => Cause::Drift,
        _ => Cause::Change,
    }
}

/// One value to compare: a field, or one key of a map.
struct Point {
    path: String,
    wanted: Option<Value>,
    live: Value,
    written: Option<Value>,
}

enum Verdict {
    Same,
    Differs(Value, Cause),
    Kept(String),
}

impl Point {
    fn verdict(&self, field: &Field, all_keys: bool) -> Verdict {
        let empty = if field.shape.is_map() { Value::Null } else { field.preset.value() };
        match (&self.wanted, &self.written) {
            (Some(wanted), _) if *wanted == self.live => Verdict::Same,
            (Some(wanted), written) => {
                let cause = match written {
                    None => Cause::Change,
                    Some(written) if written == wanted => Cause::Drift,
                    Some(written) if *written == self.live => Cause::Change,
                    Some(_) => Cause::Conflict,
                };
                Verdict::Differs(wanted.clone(), cause)
            }
            (None, _) if self.live == empty => Verdict::Same,
            // A key that nobody names, in a map that is declared empty.
            (None, written) if all_keys => {
                let cause = if written.as_ref() == Some(&self.live) { Cause::Change } else { Cause::Drift };
                Verdict::Differs(empty, cause)
            }
            (None, Some(written)) if *written == empty => Verdict::Same,
            (None, Some(written)) if *written == self.live => Verdict::Differs(empty, Cause::Change),
            (None, Some(_)) => Verdict::Kept(format!(
                "`{}` is no longer named and keeps {}, since somebody else has changed it",
                self.path, self.live
            )),
            (None, None) => Verdict::Same,
        }
    }
}

/// The keys of a map that somebody named; of one that is declared empty, all that are there.
fn keys(field: &Field, wanted: Option<&Value>, live: &Value, written: Option<&Value>, all_keys: bool) -> Vec<Point> {
    let of = |side: Option<&Value>, key: &str| side.and_then(|map| map.get(key)).cloned();
    let mut names: Vec<&str> = Vec::new();
    let named = [wanted, written].into_iter().flatten();
    let all = named.chain(all_keys.then_some(live));
    names.extend(all.flat_map(Value::pairs).map(|(key, _)| &**key));
    names.sort_unstable();
    names.dedup();
    let point = |key: &str| Point {
        path: format!("{}.{key}", field.path),
        wanted: of(wanted, key),
        live: of(Some(live), key).unwrap_or_default(),
        written: of(written, key),
    };
    names.into_iter().map(point).collect()
}
