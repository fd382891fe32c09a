//! Team: people who work together, in a tree.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Preset, Shape};

const MEMBER: &[Field] = &[
    Field::new("user", Shape::Email, "The member.").required().refers("Member").column("member"),
    Field::new("role", Shape::Enum(&["maintainer", "member"]), "The role in the team.").preset(Preset::Text("member")),
];

/// The kind.
pub static KIND: Kind = Kind {
    name: "Team",
    plural: "teams",
    short_names: &[],
    about: "A group of members of an organization; teams form a tree.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("team"),
    fields: &[
        Field::new("displayName", Shape::Line { chars_max: 100 }, "What people call it."),
        Field::new("description", Shape::Prose { chars_max: 2_000 }, "What it does."),
        Field::new("parent", Shape::Name, "The team above it.").refers("Team"),
        Field::new("members", Shape::List { fields: MEMBER, key: "user", items_max: 5_000 }, "Who is in it.")
            .side("team_member", ""),
    ],
    protected: false,
    columns: &["parent"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: Team
metadata:
  name: platform
spec:
  organization: acme
  displayName: Platform
  description: Keeps the lights on.
  parent: engineering
  members:
    - user: ada@acme.example
      role: maintainer
"#,
};
