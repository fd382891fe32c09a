//! NotificationRule: which events go to which channel, and how they read.

use crate::model::code::Code;
use crate::model::finding::Fault;
use crate::model::kind::{Key, Kind, Scope};
use crate::model::resource::Resource;
use crate::model::shape::{Field, Preset, Shape};
use crate::model::template;
use crate::model::value::Value;

const CONDITION: &[Field] = &[
    Field::new(
        "field",
        Shape::Line { chars_max: 100 },
        "The field of the event: `type`, `severity`, `actor`, `fields.path`.",
    )
    .required(),
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
        Field::new(
            "template",
            Shape::Prose { chars_max: 4_000 },
            "The text of the message, with `{{ field }}` for fields of the event; without it, as Argus says it.",
        ),
        Field::new("priority", Shape::Enum(&["low", "normal", "high", "critical"]), "How much it matters.")
            .preset(Preset::Text("normal")),
        Field::new("cooldown", Shape::Duration, "How long the same event is not told again."),
    ],
    protected: false,
    columns: &["channel", "priority"],
    rules: &[],
    check,
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
    {{ subject }}: {{ type }}, by {{ actor }}.
    Have a look.
  priority: high
  cooldown: 1h
"#,
};

fn check(rule: &Resource, faults: &mut Vec<Fault>) {
    if let Some(Err(fault)) = rule.text("template").map(template::parse) {
        faults.push(Fault::new(
            "template",
            Code::BadTemplate,
            fault,
            "a template is text with `{{ field }}` in it, such as `{{ subject }}` or `{{ why.message }}`",
        ));
    }
    let conditions = rule.value("conditions").map(Value::items).unwrap_or_default();
    for condition in conditions {
        let text = |path: &str| condition.get(path).and_then(Value::as_text).unwrap_or_default();
        if !template::is_field(text("field")) {
            faults.push(Fault::new(
                "conditions",
                Code::BadTemplate,
                "a condition names something else than a field of an event",
                "name it like `severity` or `fields.path`",
            ));
        }
        let number = text("value").trim().parse::<f64>().is_ok_and(f64::is_finite);
        if matches!(text("operator"), "atLeast" | "atMost") && !number {
            faults.push(Fault::new(
                "conditions",
                Code::FieldsDisagree,
                "`atLeast` and `atMost` compare numbers, and the value is none",
                "write a number, or use `equals` or `contains`",
            ));
        }
    }
}
