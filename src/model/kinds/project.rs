//! Project: where work and spending happen; people and teams have roles in it.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Preset, Shape};

const MEMBER: &[Field] = &[
    Field::new("user", Shape::Email, "The member.").required().refers("Member").column("member"),
    Field::new("role", Shape::Name, "The role in the project.").refers("Role").preset(Preset::Text("developer")),
];

const TEAM: &[Field] = &[
    Field::new("team", Shape::Name, "The team.").required().refers("Team"),
    Field::new("role", Shape::Name, "The role in the project.").refers("Role").preset(Preset::Text("developer")),
];

const COUNT: Shape = Shape::Int { min: 0, max: 1_000_000_000_000_000 };

/// The kind.
pub static KIND: Kind = Kind {
    name: "Project",
    plural: "projects",
    short_names: &["proj"],
    about: "Where work and spending happen.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("project"),
    fields: &[
        Field::new("displayName", Shape::Line { chars_max: 100 }, "What people call it."),
        Field::new("description", Shape::Prose { chars_max: 2_000 }, "What it is for."),
        Field::new("status", Shape::Enum(&["active", "archived"]), "Whether it can be used.")
            .preset(Preset::Text("active")),
        Field::new("quotas.requestsPerMinute", COUNT, "How many requests a minute."),
        Field::new("quotas.tokensPerMonth", COUNT, "How many tokens a month."),
        Field::new("quotas.apiKeys", COUNT, "How many API keys."),
        Field::new("members", Shape::List { fields: MEMBER, key: "user", items_max: 5_000 }, "Who has a role in it.")
            .side("project_member", ""),
        Field::new(
            "teams",
            Shape::List { fields: TEAM, key: "team", items_max: 500 },
            "Which teams have a role in it.",
        )
        .side("project_team", ""),
    ],
    protected: true,
    columns: &["status"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: Project
metadata:
  name: search
spec:
  organization: acme
  displayName: Search
  description: Finds things.
  status: active
  quotas:
    requestsPerMinute: 300
    tokensPerMonth: 10000000
    apiKeys: 20
  members:
    - user: ada@acme.example
      role: maintainer
  teams:
    - team: platform
      role: developer
"#,
};
