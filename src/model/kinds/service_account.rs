//! ServiceAccount: a program that acts in an organization.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Preset, Shape};

/// The kind.
pub static KIND: Kind = Kind {
    name: "ServiceAccount",
    plural: "serviceAccounts",
    short_names: &["sa"],
    about: "A program that acts in an organization under roles of its own.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("service_account"),
    fields: &[
        Field::new("displayName", Shape::Line { chars_max: 100 }, "What people call it."),
        Field::new("description", Shape::Prose { chars_max: 2_000 }, "What it does."),
        Field::new("roles", Shape::Set { item: &Shape::Name, items_max: 20 }, "The roles in the organization.")
            .refers("Role")
            .singular("role")
            .side("service_account_role", "role"),
        Field::new("status", Shape::Enum(&["active", "disabled"]), "Whether it may act.")
            .preset(Preset::Text("active")),
    ],
    protected: false,
    columns: &["status"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: ServiceAccount
metadata:
  name: indexer
spec:
  organization: acme
  displayName: Indexer
  description: Fills the search index.
  roles: [viewer]
  status: active
"#,
};
