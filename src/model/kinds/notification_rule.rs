//! NotificationRule: which events go to which channel, and how they read.

use crate::model::kind::{Key, Kind, Scope};
use crate::model::shape::{Field, Preset, Shape};

const CONDITION: &[Field] = &[
    Field::new("field", Shape::Line { chars_max: 100 }, "The field of the event.").required(),
    Field::new(
        "operator",
        Shape::Enum(&["equals", "notEquals", "contains", "atLeast", "atMost"]),
        "How it is compared.",
    )
    .preset(Preset::Text("equals")),
    Field::new("value", Shape::Line { chars_max: 500 }, "With what.").required(),
];

/// The kind.
pub static KIND: Kind = Kind {
    name: "NotificationRule",
    plural: "notificationRules",
    short_names: &["rule", "rules"],
    about: "Which events go to a channel.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("notification_rule"),
    fields: &[
        Field::new("channel", Shape::Name, "Where they go.").required().refers("NotificationChannel").dependent(),
        Field::new(
            "events",
            Shape::Set { item: &Shape::EventPattern, items_max: 50 },
            "The types of events: `key.rotated`, `budget.*`, `*`.",
        )
        .required(),
        Field::new(
            "conditions",
            Shape::List { fields: CONDITION, key: "", items_max: 20 },
            "What an event must fulfil; all of them.",
        ),
        Field::new("template", Shape::Prose { chars_max: 4_000 }, "The text of the message."),
        Field::new("priority", Shape::Enum(&["low", "normal", "high", "critical"]), "How much it matters.")
            .preset(Preset::Text("normal")),
        Field::new("cooldown", Shape::Duration, "How long the same event is not told again."),
    ],
    protected: false,
    columns: &["channel", "priority"],
    rules: &[],
    check: |_, _| {},
    example: r#"apiVersion: argus.io/v1alpha1
kind: NotificationRule
metadata:
  name: budget-alerts
spec:
  organization: acme
  channel: ops-mail
  events: ["budget.*", "drift.detected"]
  conditions:
    - field: severity
      operator: equals
      value: warning
  template: |
    {{ subject }} is at {{ percent }} %.
    Have a look.
  priority: high
  cooldown: 1h
"#,
};
