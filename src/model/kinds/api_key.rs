//! ApiKey: what a key may do, how long, and where its material goes. The material itself never passes through here.

use chrono::TimeDelta;

use crate::model::code::Code;
use crate::model::finding::Fault;
use crate::model::kind::{Key, Kind, Scope};
use crate::model::resource::Resource;
use crate::model::rule::Rule;
use crate::model::shape::{Field, Shape};
use crate::model::time::{gap_at_least, parse_duration, parse_schedule, parse_time};
use crate::model::value::Value;

const RULES: &[Rule] = &[
    Rule::needs(
        "has(self.owner) && (has(self.owner.serviceAccount) || has(self.owner.user))",
        "owner",
        "a key needs an owner: give either `owner.serviceAccount` or `owner.user`",
    ),
    Rule::new(
        "!has(self.owner) || !has(self.owner.serviceAccount) || !has(self.owner.user)",
        "owner.user",
        "a key has one owner, and this one has two: give either `owner.serviceAccount` or `owner.user`",
    ),
    Rule::new(
        "!has(self.expiresAt) || !has(self.ttl)",
        "ttl",
        "a key ends at `expiresAt` or after `ttl`, not both: keep one of the two",
    ),
    Rule::new(
        "!has(self.deliverTo) || [has(self.deliverTo.secret) && has(self.deliverTo.secret.name), \
         has(self.deliverTo.age), has(self.deliverTo.vault) && has(self.deliverTo.vault.path)]\
         .filter(given, given).size() <= 1",
        "deliverTo",
        "a key is delivered to one place: keep one of `deliverTo.secret`, `deliverTo.age` and `deliverTo.vault`",
    ),
    Rule::needs(
        "!has(self.deliverTo) || !has(self.deliverTo.secret) || \
         (has(self.deliverTo.secret.name) == has(self.deliverTo.secret.__namespace__) && \
         (has(self.deliverTo.secret.name) || !has(self.deliverTo.secret.key)))",
        "deliverTo.secret",
        "a Kubernetes Secret is named by `namespace` and `name` together: add the missing field",
    ),
    Rule::needs(
        "!has(self.deliverTo) || !has(self.deliverTo.vault) || has(self.deliverTo.vault.path) || \
         !has(self.deliverTo.vault.key)",
        "deliverTo.vault",
        "`deliverTo.vault.key` needs `deliverTo.vault.path`: add the missing field",
    ),
    Rule::new(
        "!has(self.deliverTo) || !has(self.deliverTo.age) || self.deliverTo.age.matches('^age1[0-9A-Za-z]{8,}$')",
        "deliverTo.age",
        "an age recipient is a public key that starts with `age1`: print it with `age-keygen -y`; the secret key never \
         belongs here",
    ),
    Rule::needs(
        "!has(self.rotation) || !has(self.rotation.overlap) || has(self.rotation.schedule)",
        "rotation",
        "`rotation.overlap` needs `rotation.schedule`: add the missing field",
    ),
    Rule::new(
        "!has(self.ttl) || !self.ttl.startsWith('0')",
        "ttl",
        "a key that lives for no time is of no use: give a `ttl` such as 90d",
    ),
    Rule::new(
        "!has(self.rotation) || !has(self.rotation.overlap) || !self.rotation.overlap.startsWith('0')",
        "rotation.overlap",
        "with an overlap of nothing, whoever holds the old key is locked out at once: give the time that a new key \
         needs to reach everybody, such as 24h",
    ),
    Rule::new(
        "!has(self.rotation) || !has(self.rotation.overlap) || !has(self.ttl) || \
         !self.ttl.matches('^[0-9]{1,10}[wdhms]$') || !self.rotation.overlap.matches('^[0-9]{1,10}[wdhms]$') || \
         int(self.rotation.overlap.substring(0, self.rotation.overlap.size() - 1)) * \
         {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}\
         [self.rotation.overlap.substring(self.rotation.overlap.size() - 1)] < \
         int(self.ttl.substring(0, self.ttl.size() - 1)) * \
         {'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[self.ttl.substring(self.ttl.size() - 1)]",
        "rotation.overlap",
        "the overlap is longer than the life of the key: make it shorter than `ttl`",
    ),
];

/// The kind.
pub static KIND: Kind = Kind {
    name: "ApiKey",
    plural: "apiKeys",
    short_names: &["key", "keys"],
    about: "A key of the API: owner, scopes, life and delivery. Its material is never in a manifest.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("api_key"),
    fields: &[
        Field::new("description", Shape::Line { chars_max: 500 }, "What it is for."),
        Field::new("owner.serviceAccount", Shape::Name, "The service account that it acts as.")
            .refers("ServiceAccount")
            .dependent(),
        Field::new("owner.user", Shape::Email, "The member that it acts as.").refers("Member").dependent(),
        Field::new(
            "scopes",
            Shape::Set { item: &Shape::Permission, items_max: 50 },
            "What it may do: read, write, admin, tests, webhooks, or permissions.",
        )
        .required(),
        Field::new("expiresAt", Shape::Time, "When it ends."),
        Field::new("ttl", Shape::Duration, "How long it lives after it was minted."),
        Field::new("rotation.schedule", Shape::Schedule, "When it is replaced."),
        Field::new("rotation.overlap", Shape::Duration, "How long the old one still works."),
        Field::new("deliverTo.secret.namespace", Shape::Name, "The namespace of the Kubernetes Secret."),
        Field::new("deliverTo.secret.name", Shape::Name, "The name of the Kubernetes Secret."),
        Field::new("deliverTo.secret.key", Shape::Line { chars_max: 253 }, "The key within the Secret."),
        Field::new("deliverTo.age", Shape::Line { chars_max: 100 }, "The age recipient that it is sealed to."),
        Field::new("deliverTo.vault.path", Shape::Line { chars_max: 500 }, "The path in Vault's KV store."),
        Field::new("deliverTo.vault.key", Shape::Line { chars_max: 253 }, "The key under that path."),
    ],
    protected: false,
    columns: &["owner.serviceAccount", "owner.user", "expiresAt", "ttl"],
    rules: RULES,
    check,
    example: r#"apiVersion: argus.io/v1alpha1
kind: ApiKey
metadata:
  name: indexer-main
spec:
  organization: acme
  description: Writes the index.
  owner:
    serviceAccount: indexer
  scopes: [read, write]
  ttl: 90d
  rotation:
    schedule: "0 3 1 * *"
    overlap: 48h
  deliverTo:
    secret:
      namespace: search
      name: indexer-key
      key: token
"#,
};

fn check(key: &Resource, faults: &mut Vec<Fault>) {
    let has = |path: &str| key.value(path).is_some_and(|value| *value != Value::Null);
    match (has("owner.serviceAccount"), has("owner.user")) {
        (true, false) | (false, true) => {}
        (both, _) => faults.push(Fault::new(
            if both { "owner.user" } else { "" },
            Code::FieldsDisagree,
            if both { "a key has one owner, and this one has two" } else { "a key needs an owner" },
            "give either `owner.serviceAccount` or `owner.user`",
        )),
    }
    if has("expiresAt") && has("ttl") {
        faults.push(Fault::new(
            "ttl",
            Code::FieldsDisagree,
            "a key ends at `expiresAt` or after `ttl`, not both",
            "keep one of the two",
        ));
    }
    let deliveries = ["deliverTo.secret.name", "deliverTo.age", "deliverTo.vault.path"];
    if deliveries.iter().filter(|path| has(path)).count() > 1 {
        faults.push(Fault::new(
            deliveries.into_iter().rfind(|path| has(path)).unwrap_or_default(),
            Code::FieldsDisagree,
            "a key is delivered to one place",
            "keep one of `deliverTo.secret`, `deliverTo.age` and `deliverTo.vault`",
        ));
    }
    for (path, needs) in [
        ("deliverTo.secret.name", "deliverTo.secret.namespace"),
        ("deliverTo.secret.namespace", "deliverTo.secret.name"),
        ("deliverTo.secret.key", "deliverTo.secret.name"),
        ("deliverTo.vault.key", "deliverTo.vault.path"),
        ("rotation.overlap", "rotation.schedule"),
    ] {
        if has(path) && !has(needs) {
            let message = format!("`{path}` needs `{needs}`");
            faults.push(Fault::new(path, Code::FieldsDisagree, message, "add the missing field"));
        }
    }
    if let Some(recipient) = key.text("deliverTo.age")
        && !(recipient.starts_with("age1")
            && recipient.len() >= 12
            && recipient.bytes().all(|b| b.is_ascii_alphanumeric()))
    {
        faults.push(Fault::new(
            "deliverTo.age",
            Code::FieldsDisagree,
            "an age recipient is a public key that starts with `age1`",
            "print it with `age-keygen -y`; the secret key never belongs here",
        ));
    }
    check_rotation(key, faults);
}

fn check_rotation(key: &Resource, faults: &mut Vec<Fault>) {
    let length = |path: &str| key.text(path).and_then(|text| parse_duration(text).ok());
    let (ttl, overlap) = (length("ttl"), length("rotation.overlap"));
    let mut bad = |field, message: String, hint| faults.push(Fault::new(field, Code::BadRotation, message, hint));
    if ttl == Some(TimeDelta::zero()) {
        bad("ttl", "a key that lives for no time is of no use".into(), "give a `ttl` such as 90d");
    }
    if overlap == Some(TimeDelta::zero()) {
        bad(
            "rotation.overlap",
            "with an overlap of nothing, whoever holds the old key is locked out at once".into(),
            "give the time that a new key needs to reach everybody, such as 24h",
        );
    }
    let Some(overlap) = overlap else { return };
    if let Some(ttl) = ttl
        && overlap >= ttl
    {
        bad("rotation.overlap", "the overlap is longer than the life of the key".into(), "make it shorter than `ttl`");
    }
    let schedule = key.text("rotation.schedule");
    // Only a schedule that might fire too often is worth walking through.
    if schedule.is_none_or(|text| overlap < gap_at_least(text)) {
        return;
    }
    let epoch = parse_time("2026-01-01T00:00:00Z").unwrap_or_default();
    if let Some(schedule) = schedule.and_then(|text| parse_schedule(text).ok()) {
        let firings: Vec<_> = schedule.after(&epoch).take(50).collect();
        let shortest = firings.windows(2).map(|pair| pair[1] - pair[0]).min();
        if shortest.is_some_and(|gap| overlap >= gap) {
            let message = "the overlap is longer than the time between two rotations".into();
            bad("rotation.overlap", message, "rotate less often, or overlap for a shorter time");
        }
    }
}
