//! Role: a set of permissions, in the organization or in a project; and the roles that every organization has.

use crate::model::code::Code;
use crate::model::finding::Fault;
use crate::model::kind::{Key, Kind, Scope};
use crate::model::resource::Resource;
use crate::model::rule::Rule;
use crate::model::shape::{Field, Preset, Shape};

/// A role that every organization has and nobody can change.
#[derive(Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Where it is granted: `organization`, `project` or `any` of the two.
    pub scope: &'static str,
    /// What it allows.
    pub permissions: &'static [&'static str],
}

/// The built-in roles, the mightiest of each scope first.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "owner", scope: "organization", permissions: &["*"] },
    BuiltIn {
        name: "admin",
        scope: "organization",
        permissions: &[
            "budgets:*",
            "keys:*",
            "members:*",
            "notifications:*",
            "organization:read",
            "projects:*",
            "roles:read",
            "serviceaccounts:*",
            "teams:*",
        ],
    },
    BuiltIn {
        name: "member",
        scope: "organization",
        permissions: &["keys:read", "members:read", "organization:read", "projects:read", "teams:read"],
    },
    BuiltIn {
        name: "viewer",
        scope: "any",
        permissions: &["organization:read", "project:read", "projects:read", "teams:read"],
    },
    BuiltIn {
        name: "billing_admin",
        scope: "organization",
        permissions: &["billing:*", "budgets:*", "organization:read"],
    },
    BuiltIn { name: "maintainer", scope: "project", permissions: &["project:*"] },
    BuiltIn { name: "developer", scope: "project", permissions: &["project:read", "project:use", "project:write"] },
];

/// The built-in role of this name.
pub fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|role| role.name == name)
}

const RULES: &[Rule] = &[Rule::new(
    "!({name} in ['owner', 'admin', 'member', 'viewer', 'billing_admin', 'maintainer', 'developer'])",
    "name",
    "this is a built-in role and cannot be declared: choose another name; built-in roles are the same everywhere",
)];

/// The kind.
pub static KIND: Kind = Kind {
    name: "Role",
    plural: "roles",
    short_names: &[],
    about: "A named set of permissions beside the built-in roles.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("role"),
    fields: &[
        Field::new("scope", Shape::Enum(&["organization", "project"]), "Where it is granted.")
            .preset(Preset::Text("organization"))
            .fixed(),
        Field::new("description", Shape::Line { chars_max: 500 }, "What it is for."),
        Field::new(
            "permissions",
            Shape::Set { item: &Shape::Permission, items_max: 200 },
            "What it allows: `area:verb`, `area:*` or `*`.",
        )
        .required(),
    ],
    protected: false,
    columns: &["scope"],
    rules: RULES,
    check,
    example: r#"apiVersion: argus.io/v1alpha1
kind: Role
metadata:
  name: auditor
spec:
  organization: acme
  scope: organization
  description: Reads everything, changes nothing.
  permissions: ["audit:read", "members:read", "projects:read"]
"#,
};

fn check(role: &Resource, faults: &mut Vec<Fault>) {
    if built_in(&role.id.name).is_some() {
        faults.push(Fault::new(
            "",
            Code::BuiltInRole,
            format!("`{}` is a built-in role and cannot be declared", role.id.name),
            "choose another name; built-in roles are the same in every organization",
        ));
    }
}
