//! Removal: says that a protected thing may go. A declaration without a row.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Preset, Shape};

/// The kind.
pub static KIND: Kind = Kind {
    name: "Removal",
    plural: "removals",
    short_names: &[],
    about: "Says that something may go: deleted, or released (no longer managed, the row stays).",
    scope: Scope::Child,
    key: Key::Name,
    table: None,
    fields: &[
        Field::new("target.kind", Shape::Line { chars_max: 63 }, "The kind of what goes.").required(),
        Field::new("target.name", Shape::Line { chars_max: 254 }, "Its name.").required(),
        Field::new("reason", Shape::Line { chars_max: 500 }, "Why.").required(),
        Field::new("mode", Shape::Enum(&["delete", "release"]), "Whether the row goes, or only its management.")
            .preset(Preset::Text("delete")),
    ],
    protected: false,
    columns: &["target.kind", "target.name", "mode"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: Removal
metadata:
  name: drop-legacy
spec:
  organization: acme
  target:
    kind: Project
    name: legacy
  reason: replaced by search
  mode: delete
"#,
};
