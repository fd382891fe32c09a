//! The columns that `kubectl get` prints.

use serde_json::{Value, json};

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Shape};

/// The longest text that fits into a column.
const TEXT_CHARS_MAX: u32 = 300;

/// The columns of a kind: whose it is, what its table says, how it stands; with `-o wide` every field of a single value.
pub fn of_kind(kind: &'static Kind) -> Vec<Value> {
    let mut columns = Vec::new();
    if kind.scope == Scope::Child {
        columns.push(column("Organization", "string", ".spec.organization", false));
    }
    if kind.key == Key::User {
        columns.push(column("User", "string", ".spec.user", false));
    }
    let shown = |field: &&Field| kind.columns.contains(&field.path);
    columns.extend(kind.fields.iter().filter(shown).map(|field| of_field(field, false)));
    columns.extend(standing());
    let is_short = |field: &&Field| match field.shape {
        Shape::Line { chars_max } => chars_max <= TEXT_CHARS_MAX,
        Shape::Prose { .. } => false,
        shape => !shape.is_collection(),
    };
    let rest = kind.fields.iter().filter(|field| !shown(field)).filter(is_short);
    columns.extend(rest.map(|field| of_field(field, true)));
    columns
}

/// How a resource stands.
pub fn standing() -> Vec<Value> {
    let ready = |what: &str| format!(".status.conditions[?(@.type==\"Ready\")].{what}");
    vec![
        column("Ready", "string", &ready("status"), false),
        column("Reason", "string", &ready("reason"), false),
        column("Age", "date", ".metadata.creationTimestamp", false),
        column("Message", "string", &ready("message"), true),
        column("Revision", "string", ".status.lastAppliedRevision", true),
    ]
}

/// A column; one that is wide is shown with `-o wide` alone.
pub fn column(name: &str, form: &str, path: &str, wide: bool) -> Value {
    let mut column = json!({ "name": name, "type": form, "jsonPath": path });
    if wide {
        column["priority"] = 1.into();
    }
    column
}

fn of_field(field: &Field, wide: bool) -> Value {
    let form = match field.shape {
        Shape::Bool => "boolean",
        Shape::Int { .. } => "integer",
        _ => "string",
    };
    column(&title(field.path), form, &format!(".spec.{}", field.path), wide)
}

/// `sso.clientId` as `Sso Client Id`.
fn title(path: &str) -> String {
    let mut title = String::new();
    for part in path.split('.') {
        for (at, c) in part.chars().enumerate() {
            if (at == 0 || c.is_ascii_uppercase()) && !title.is_empty() {
                title.push(' ');
            }
            title.push(if at == 0 { c.to_ascii_uppercase() } else { c });
        }
    }
    title
}
