//! Tier: a catalogue entry with limits and features, shared by all organizations.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Shape};

const COUNT: Shape = Shape::Int { min: 0, max: 1_000_000_000_000_000 };

/// The kind.
pub static KIND: Kind = Kind {
    name: "Tier",
    plural: "tiers",
    short_names: &[],
    about: "A catalogue entry that organizations choose: limits and features. A limit that is left out does not limit.",
    scope: Scope::Global,
    key: Key::Name,
    table: Some("tier"),
    fields: &[
        Field::new("displayName", Shape::Line { chars_max: 100 }, "What people call it."),
        Field::new("description", Shape::Prose { chars_max: 2_000 }, "What it is for."),
        Field::new("limits.members", COUNT, "How many members an organization may have."),
        Field::new("limits.teams", COUNT, "How many teams."),
        Field::new("limits.projects", COUNT, "How many projects."),
        Field::new("limits.apiKeys", COUNT, "How many API keys."),
        Field::new("limits.requestsPerMinute", COUNT, "How many requests a minute."),
        Field::new("limits.tokensPerMonth", COUNT, "How many tokens a month."),
        Field::new("limits.dailySpend", Shape::Money, "How much an organization may spend a day."),
        Field::new("limits.monthlySpend", Shape::Money, "How much an organization may spend a month."),
        Field::new("limits.auditRetentionDays", Shape::Int { min: 1, max: 36_500 }, "How long audit rows are kept."),
        Field::new("features", Shape::Map { items_max: 100 }, "Features by name."),
    ],
    protected: false,
    columns: &["displayName"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: Tier
metadata:
  name: team
spec:
  displayName: Team
  description: For a company that has outgrown the free tier.
  limits:
    members: 50
    teams: 10
    projects: 20
    apiKeys: 100
    requestsPerMinute: 600
    tokensPerMonth: 50000000
    dailySpend: 100 USD
    monthlySpend: 2000 USD
    auditRetentionDays: 90
  features:
    sso: false
    prioritySupport: email
"#,
};
