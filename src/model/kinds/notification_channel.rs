//! NotificationChannel: where messages go. Secrets stand in a store and are named, never written.

use crate::model::code::Code;
use crate::model::finding::Fault;
use crate::model::kind::{Key, Kind, Scope};
use crate::model::resource::Resource;
use crate::model::rule::Rule;
use crate::model::shape::{Field, Preset, Shape};
use crate::model::value::Value;

const RULES: &[Rule] = &[
    Rule::needs(
        "self.type == 'email' ? \
         has(self.config) && has(self.config.addresses) && size(self.config.addresses) > 0 : \
         has(self.config) && ((self.type == 'webhook' && has(self.config.url)) || \
         (has(self.config.secretRef) && has(self.config.secretRef.name)))",
        "config",
        "the channel does not say where its messages go: email needs `config.addresses`; a webhook `config.url` or \
         `config.secretRef`; the others `config.secretRef`",
    ),
    Rule::needs(
        "!has(self.config) || !has(self.config.secretRef) || \
         has(self.config.secretRef.name) == has(self.config.secretRef.key)",
        "config.secretRef",
        "a secret is named by `name` and `key` together: give both",
    ),
];

/// The kind.
pub static KIND: Kind = Kind {
    name: "NotificationChannel",
    plural: "notificationChannels",
    short_names: &["channel", "channels"],
    about: "Where messages go. An address that is itself a secret is named by `secretRef`.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("notification_channel"),
    fields: &[
        Field::new("type", Shape::Enum(&["slack", "email", "webhook", "discord", "teams"]), "What it is.").required(),
        Field::new(
            "config.addresses",
            Shape::Set { item: &Shape::Email, items_max: 50 },
            "The addresses of an email channel.",
        ),
        Field::new(
            "config.url",
            Shape::Url,
            "The address of a webhook that is no secret; then the secret, if there is one, signs.",
        ),
        Field::new(
            "config.secretRef.name",
            Shape::Name,
            "The secret: the address of Slack, Discord, Teams or a webhook; what signs for a webhook with a `url`; for email `smtps://user:password@host:port`, if not the server of the machine.",
        ),
        Field::new("config.secretRef.key", Shape::Line { chars_max: 253 }, "The key within the secret."),
        Field::new("rateLimitPerHour", Shape::Int { min: 1, max: 100_000 }, "How many messages an hour it takes."),
        Field::new("enabled", Shape::Bool, "Whether it is in use.").preset(Preset::Bool(true)),
    ],
    protected: false,
    columns: &["type", "enabled"],
    rules: RULES,
    check,
    example: r#"apiVersion: argus.io/v1alpha1
kind: NotificationChannel
metadata:
  name: ops-mail
spec:
  organization: acme
  type: email
  config:
    addresses: [ops@acme.example]
    secretRef:
      name: ops-smtp
      key: server
  rateLimitPerHour: 60
  enabled: true
"#,
};

fn check(channel: &Resource, faults: &mut Vec<Fault>) {
    let has = |path: &str| channel.value(path).is_some_and(|value| !value.is_empty() && *value != Value::Null);
    let complete = match channel.text("type") {
        Some("email") => has("config.addresses"),
        Some("webhook") => has("config.url") || has("config.secretRef.name"),
        Some(_) => has("config.secretRef.name"),
        None => return,
    };
    if !complete {
        faults.push(Fault::new(
            "type",
            Code::FieldsDisagree,
            "the channel does not say where its messages go",
            "email needs `config.addresses`; a webhook `config.url` or `config.secretRef`; the others `config.secretRef`",
        ));
    }
    if has("config.secretRef.name") != has("config.secretRef.key") {
        faults.push(Fault::new(
            if has("config.secretRef.name") { "config.secretRef.name" } else { "config.secretRef.key" },
            Code::FieldsDisagree,
            "a secret is named by `name` and `key` together",
            "give both",
        ));
    }
}
