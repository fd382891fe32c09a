//! The fields of a change as lines: aligned, long lists as what comes and goes.

use std::fmt::Write as _;

use super::{Paint, attribution};
use crate::model::kind::Kind;
use crate::model::shape::Shape;
use crate::model::value::Value;
use crate::plan::{Action, Cause, Change, FieldChange};
use crate::render::inert;

/// How many items of one list are told.
const ITEMS_MAX: usize = 30;

/// The longest pair of lists that is shown in one line, in characters.
const LISTS_CHARS_MAX: usize = 80;

/// Writes the fields of a change, a line each, and a line for each item of a long list that comes or goes.
pub fn write(out: &mut String, change: &Change, fields: &[&FieldChange], paint: Paint) {
    let fields: Vec<FieldChange> = fields.iter().map(|field| inert::field(change.kind, field)).collect();
    let width = fields.iter().map(|field| inert::line(&field.path).chars().count()).max().unwrap_or_default() + 1;
    for field in &fields {
        let path = format!("{}:", inert::line(&field.path));
        let (values, items) = values(change, field);
        let mut line = format!("      {path:width$} {values}").trim_end().to_owned();
        if let Some(cause) = cause(change, field) {
            let _ = write!(line, "  {}", paint.wrap("35", &cause));
        }
        if let Some(origin) = field.origin.as_ref().filter(|_| change.action != Action::Create) {
            let _ = write!(line, "  {}", paint.dim(&inert::line(&origin.to_string())));
            if let Some(by) = &field.written_by {
                let _ = write!(line, "  {}", paint.dim(&inert::line(&format!("({by})"))));
            }
        }
        let _ = writeln!(out, "{line}");
        for item in items {
            let _ = writeln!(out, "        {item}");
        }
    }
}

/// Where live has moved: what Argus wrote, and who wrote something else.
fn cause(change: &Change, field: &FieldChange) -> Option<String> {
    // Of a row that is not declared, and of one that is gone, the whole row has moved; that is said above.
    if field.cause == Cause::Change || change.extra || change.action == Action::Create {
        return None;
    }
    let mut parts = Vec::new();
    if field.cause == Cause::Conflict {
        parts.push("conflict, both have moved".to_owned());
    }
    // What was applied is what is declared, unless that has moved as well.
    match &field.applied {
        Some(applied) if field.cause == Cause::Conflict || *applied != field.after => {
            parts.push(format!("applied was {}", inert::value(applied)));
        }
        _ => {}
    }
    if let Some(by) = &field.moved_by {
        parts.push(format!("changed by {}", attribution(by)));
    }
    (!parts.is_empty()).then(|| format!("[{}]", parts.join("; ")))
}

/// What stands on the line of a field, and below it.
fn values(change: &Change, field: &FieldChange) -> (String, Vec<String>) {
    let (before, after) = (&field.before, &field.after);
    match change.action {
        Action::Create => return (inert::value(after), Vec::new()),
        Action::Delete | Action::Release => return (inert::value(before), Vec::new()),
        Action::Update | Action::Adopt => {}
    }
    if before == after {
        // Only what is masked can differ and look alike.
        return ("changed, and secret".into(), Vec::new());
    }
    let inline = format!("{} -> {}", inert::value(before), inert::value(after));
    let both_lists = matches!((before, after), (Value::List(_), Value::List(_)));
    let records = [before, after].iter().any(|list| list.items().iter().any(|item| matches!(item, Value::Map(_))));
    if !both_lists || (!records && inline.chars().count() <= LISTS_CHARS_MAX) {
        return (inline, Vec::new());
    }
    let key = identity(change.kind.get(), &field.path);
    let (gone, new): (Vec<_>, Vec<_>) = (without(before, after), without(after, before));
    let lines = gone.iter().map(|item| ("-", *item)).chain(new.iter().map(|item| ("+", *item)));
    let mut lines: Vec<(&str, &Value)> = lines.collect();
    // What goes and comes under one key stands together.
    lines.sort_by_key(|(_, item)| key.and_then(|key| item.get(key)).unwrap_or(item));
    let more = lines.len().saturating_sub(ITEMS_MAX);
    let mut items: Vec<String> =
        lines.iter().take(ITEMS_MAX).map(|(sign, item)| format!("{sign} {}", one(item, key))).collect();
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    (format!("{} -> {}", counted(before), counted(after)), items)
}

fn counted(list: &Value) -> String {
    super::counted(list.items().len(), "item")
}

fn without<'a>(list: &'a Value, other: &Value) -> Vec<&'a Value> {
    list.items().iter().filter(|item| !other.items().contains(item)).collect()
}

/// The field by which records are told apart.
fn identity(kind: &'static Kind, path: &str) -> Option<&'static str> {
    match kind.field(path)?.shape {
        Shape::List { key, .. } if !key.is_empty() => Some(key),
        _ => None,
    }
}

/// A record by its key, with the rest behind it.
fn one(item: &Value, key: Option<&str>) -> String {
    let Some((key, name)) = key.and_then(|key| Some((key, item.get(key)?.as_text()?))) else {
        return inert::value(item);
    };
    let rest = item.pairs().iter().filter(|(name, value)| **name != *key && *value != Value::Null);
    let rest: Vec<String> = rest
        .map(|(name, value)| match value {
            Value::Text(text) => format!("{}: {}", inert::line(name), inert::line(text)),
            other => format!("{}: {}", inert::line(name), inert::value(other)),
        })
        .collect();
    match rest.is_empty() {
        true => inert::line(name),
        false => format!("{} ({})", inert::line(name), rest.join(", ")),
    }
}
