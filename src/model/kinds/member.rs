//! Member: a person in an organization, identified by the email address.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Preset, Shape};

/// The kind.
pub static KIND: Kind = Kind {
    name: "Member",
    plural: "members",
    short_names: &["mem"],
    about: "A person in an organization. Somebody whom the platform does not know yet is invited.",
    scope: Scope::Child,
    key: Key::User,
    table: Some("member"),
    fields: &[
        Field::new("roles", Shape::Set { item: &Shape::Name, items_max: 20 }, "The roles in the organization.")
            .required()
            .refers("Role")
            .singular("role")
            .side("member_role", "role"),
        Field::new("status", Shape::Enum(&["active", "suspended"]), "Whether the member may act.")
            .preset(Preset::Text("active")),
        Field::new("expiresAt", Shape::Time, "When the membership ends by itself."),
    ],
    protected: false,
    columns: &["status"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: Member
metadata:
  name: ada
spec:
  organization: acme
  user: ada@acme.example
  roles: [owner, billing_admin]
  status: active
  expiresAt: 2099-12-31T00:00:00Z
"#,
};
