//! What an API server refuses, and that it says what to do.

use std::path::Path;

use serde_json::{Value, json};

use super::{ROOT, TRY, document, over, resources};
use crate::support::kubernetes::shared;

/// Fixtures of bad manifests that an API server cannot refuse, and why not.
const NOT_REFUSED: &[(&str, &str)] = &[
    ("1002-invalid-utf-8", YAML),
    ("1002-utf-16", YAML),
    ("1004-duplicate-key", YAML),
    ("1004-duplicate-key-escaped", YAML),
    ("1005-tags", YAML),
    ("1006-merge-key", YAML),
    ("1010-direction-in-comment", YAML),
    ("1042-annotation", "annotations are free"),
    ("1101-declared-twice", OTHERS),
    ("1102-dangling", OTHERS),
    ("1103-undeclared-organization", OTHERS),
    ("1104-team-cycle", OTHERS),
    ("1106-child-above-parent", OTHERS),
    ("1107-in-the-past", "a rule knows no clock"),
    ("1108-never-fires", "a rule knows no calendar"),
    ("1110-removed-yet-declared", OTHERS),
    ("1111-no-owner", OTHERS),
    ("1112-role-scope", OTHERS),
    ("1115-previous-name", OTHERS),
];

/// It is gone before anything reaches the API server.
const YAML: &str = "what reads the YAML decides";

/// A resource is looked at by itself.
const OTHERS: &str = "it takes other resources to see it";

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn every_bad_manifest_is_refused_but_for_what_a_schema_cannot_see() {
    let namespace = shared().namespace();
    let mut known: Vec<&str> = NOT_REFUSED.iter().map(|(name, _)| *name).collect();
    let mut refused = 0;
    for entry in std::fs::read_dir(Path::new(ROOT).join("src/tests/fixtures/bad")).expect("fixtures") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let files = resources(&folder);
        if files.is_empty() {
            continue;
        }
        let ran = over(&namespace, &["create", "--dry-run=server"], &files);
        match known.iter().position(|known| **known == name) {
            Some(at) => {
                known.remove(at);
                assert!(ran.done, "{name} is refused by now: {ran:?}");
            }
            None => {
                assert!(!ran.done, "{name} is taken: {ran:?}");
                refused += 1;
            }
        }
    }
    assert!(known.is_empty(), "no fixtures: {known:?}");
    assert!(refused > 50, "{refused}");
}

/// A spec of a member in which this is otherwise.
fn member(with: Value) -> Value {
    merged(json!({ "organization": "acme", "user": "ada@acme.example", "role": "member" }), with)
}

fn key(with: Value) -> Value {
    let spec = json!({ "organization": "acme", "owner": { "serviceAccount": "indexer" }, "scopes": ["read"] });
    merged(spec, with)
}

fn budget(with: Value) -> Value {
    merged(json!({ "organization": "acme", "period": "daily", "limit": "5 USD" }), with)
}

fn channel(with: Value) -> Value {
    merged(json!({ "organization": "acme", "type": "email" }), with)
}

fn source(with: Value) -> Value {
    merged(json!({ "url": "https://git.example/acme/config.git" }), with)
}

fn merged(mut spec: Value, with: Value) -> Value {
    for (name, value) in with.as_object().expect("a mapping") {
        match value {
            Value::Null => spec.as_object_mut().expect("a mapping").remove(name),
            value => spec.as_object_mut().expect("a mapping").insert(name.clone(), value.clone()),
        };
    }
    spec
}

/// A kind, a spec, and words of what is said to it.
fn hostile() -> Vec<(&'static str, Value, &'static str)> {
    let long = |chars: usize| "x".repeat(chars);
    let many = |count: usize| (0..count).map(|number| format!("a{number}")).collect::<Vec<_>>();
    let settings: Value =
        (0..201).map(|number| (format!("s{number}"), json!(number))).collect::<serde_json::Map<_, _>>().into();
    vec![
        ("Member", member(json!({ "user": null })), "spec.user: Required value"),
        ("Member", member(json!({ "user": "ada" })), "write it as in `ada@acme.example`"),
        ("Member", member(json!({ "user": "ada@acme.example\nx" })), "write it as in `ada@acme.example`"),
        ("Member", member(json!({ "role": null })), "add `roles`, or `role` for a single one"),
        ("Member", member(json!({ "roles": ["owner"] })), "say the same thing twice: keep `roles`"),
        ("Member", member(json!({ "role": "Owner" })), "should match '^[a-z0-9]"),
        ("Member", member(json!({ "organization": null })), "spec.organization: Required value"),
        ("Member", member(json!({ "organization": "../acme" })), "should match '^[a-z0-9]"),
        ("Member", member(json!({ "status": "gone" })), "write one of active, suspended"),
        ("Member", member(json!({ "expiresAt": "2030-02-30T00:00:00Z" })), "date-time"),
        ("Member", member(json!({ "expiresAt": "2030-02-20" })), "date-time"),
        ("Member", member(json!({ "expires": "2030-02-20" })), "unknown field \"spec.expires\""),
        ("Member", member(json!({ "role": null, "roles": ["a", "a"] })), "Duplicate value: \"a\""),
        ("Member", member(json!({ "role": null, "roles": many(21) })), "must have at most 20 items"),
        ("Member", member(json!({ "role": null, "roles": "owner" })), "must be of type array"),
        ("ApiKey", key(json!({ "owner": null })), "a key needs an owner: give either"),
        ("ApiKey", key(json!({ "owner": {} })), "a key needs an owner: give either"),
        ("ApiKey", key(json!({ "owner": { "serviceAccount": "a", "user": "a@b.example" } })), "has one owner"),
        ("ApiKey", key(json!({ "ttl": "90d", "expiresAt": "2030-01-01T00:00:00Z" })), "keep one of the two"),
        ("ApiKey", key(json!({ "ttl": "0d" })), "give a `ttl` such as 90d"),
        ("ApiKey", key(json!({ "ttl": "9999999999d" })), "longer than a hundred years"),
        ("ApiKey", key(json!({ "ttl": "1.5h" })), "write a number and a unit"),
        ("ApiKey", key(json!({ "rotation": { "overlap": "1d" } })), "`rotation.overlap` needs `rotation.schedule`"),
        (
            "ApiKey",
            key(json!({ "ttl": "7d", "rotation": { "overlap": "1w", "schedule": "0 3 1 * *" } })),
            "make it shorter than `ttl`",
        ),
        ("ApiKey", key(json!({ "rotation": { "overlap": "0s", "schedule": "0 3 1 * *" } })), "locked out at once"),
        ("ApiKey", key(json!({ "rotation": { "schedule": "hourly" } })), "write five fields as cron does"),
        (
            "ApiKey",
            key(json!({ "deliverTo": { "secret": { "name": "a" } } })),
            "named by `namespace` and `name` together",
        ),
        ("ApiKey", key(json!({ "deliverTo": { "vault": { "key": "a" } } })), "needs `deliverTo.vault.path`"),
        (
            "ApiKey",
            key(json!({ "deliverTo": { "age": "age1qqqqqqqqqqqq", "vault": { "path": "a" } } })),
            "a key is delivered to one place",
        ),
        ("ApiKey", key(json!({ "deliverTo": { "age": "AGE-SECRET-KEY-1" } })), "print it with `age-keygen -y`"),
        ("ApiKey", key(json!({ "scopes": ["A:b"] })), "spec.scopes[0]"),
        ("ApiKey", key(json!({ "scopes": null })), "spec.scopes: Required value"),
        ("Budget", budget(json!({ "limit": "5 usd" })), "an amount and a currency, as in `250 USD`"),
        ("Budget", budget(json!({ "limit": "5.001 USD" })), "no more digits than the currency has"),
        ("Budget", budget(json!({ "limit": "10000000000000.01 USD" })), "an amount and a currency"),
        ("Budget", budget(json!({ "limit": 5 })), "must be of type string"),
        ("Budget", budget(json!({ "period": "weekly" })), "supported values: \"daily\", \"monthly\""),
        ("Budget", budget(json!({ "warnAt": [101] })), "less than or equal to 100"),
        ("Budget", budget(json!({ "subject": { "team": "a", "project": "b" } })), "a budget has one subject: keep one"),
        ("Budget", budget(json!({ "override": { "cap": "4 USD" } })), "give a cap in the same currency"),
        ("Budget", budget(json!({ "override": { "cap": "40 EUR" } })), "give a cap in the same currency"),
        ("NotificationChannel", channel(json!({})), "email needs `config.addresses`"),
        ("NotificationChannel", channel(json!({ "config": { "addresses": [] } })), "email needs `config.addresses`"),
        (
            "NotificationChannel",
            channel(json!({ "type": "slack", "config": { "url": "https://acme.example/x" } })),
            "the others `config.secretRef`",
        ),
        (
            "NotificationChannel",
            channel(json!({ "type": "slack", "config": { "secretRef": { "name": "a" } } })),
            "named by `name` and `key` together: give both",
        ),
        (
            "NotificationChannel",
            channel(json!({ "type": "webhook", "config": { "url": "https://u:p@acme.example/x" } })),
            "without a name or a password",
        ),
        (
            "NotificationRule",
            json!({ "organization": "acme", "channel": "a", "events": ["*"], "conditions": [{ "field": "a" }] }),
            "spec.conditions[0].value: Required value",
        ),
        ("Organization", json!({ "status": "suspended" }), "add `statusReason`"),
        ("Organization", json!({ "status": "suspended", "statusReason": "" }), "add `statusReason`"),
        (
            "Organization",
            json!({ "sso": { "protocol": "oidc" } }),
            "give protocol, issuer, clientId and domain together",
        ),
        ("Organization", json!({ "displayName": long(101) }), "spec.displayName: Too long"),
        ("Organization", json!({ "displayName": "a\nb" }), "join the lines"),
        ("Organization", json!({ "description": "a\u{202E}b" }), "characters in this text that nobody sees"),
        ("Organization", json!({ "displayNmae": "Acme" }), "unknown field \"spec.displayNmae\""),
        ("Organization", json!({ "settings": { "a": { "b": 1 } } }), "spec.settings.a: Too many"),
        ("Organization", json!({ "settings": { "a": {} } }), "spec.settings.a: Invalid value"),
        ("Organization", json!({ "settings": { "a": [1] } }), "spec.settings.a: Too many"),
        ("Organization", json!({ "settings": { "a": [] } }), "spec.settings.a: Invalid value"),
        ("Organization", json!({ "settings": { "a": long(4001) } }), "spec.settings.a: Too long"),
        ("Organization", json!({ "settings": settings }), "spec.settings: Too many"),
        ("Organization", json!({ "authoritative": ["member"] }), "supported values: \"roles\", \"members\""),
        ("Organization", json!({ "ignore": [{ "kind": "Tier" }] }), "spec.ignore[0].kind: Unsupported value"),
        ("Organization", json!({ "allowedEmailDomains": ["acme"] }), "spec.allowedEmailDomains[0]"),
        (
            "Organization",
            json!({ "members": [{ "user": "a@b.example", "role": "x" }, { "user": "a@b.example", "role": "y" }] }),
            "spec.members[1]: Duplicate value",
        ),
        ("Organization", json!({ "roles": [{ "name": "owner", "permissions": ["*"] }] }), "choose another name"),
        ("Organization", json!({ "roles": [{ "permissions": ["*"] }] }), "spec.roles[0].name: Required value"),
        (
            "Organization",
            json!({ "teams": [{ "name": "a", "members": [{ "user": "a@b.example", "role": "boss" }] }] }),
            "should match '^(maintainer|member)$'",
        ),
        (
            "Organization",
            json!({ "apiKeys": [{ "name": "a", "owner": {}, "scopes": ["read"] }] }),
            "spec.apiKeys[0].owner: Required value: a key needs an owner",
        ),
        (
            "Removal",
            json!({ "organization": "acme", "target": { "kind": "Projekt", "name": "a" }, "reason": "b" }),
            "supported values: \"Tier\", \"Organization\"",
        ),
        ("Removal", json!({ "organization": "acme", "target": {}, "reason": "b" }), "spec.target.kind: Required value"),
        ("Tier", json!({ "limits": { "members": -1 } }), "greater than or equal to 0"),
        ("Tier", json!({ "limits": { "dailySpend": "5 XXX" } }), "as in `250 USD`"),
        (
            "GitSource",
            source(json!({ "url": "http://git.example/a" })),
            "this is no repository: write `https://host/path`",
        ),
        ("GitSource", source(json!({ "url": "https://u:p@git.example/a" })), "without a password"),
        ("GitSource", source(json!({ "url": "ext::sh -c id" })), "this is no repository"),
        ("GitSource", source(json!({ "url": "file:///etc" })), "this is no repository"),
        ("GitSource", source(json!({ "url": "ssh://git:pw@git.example/a" })), "this is no repository"),
        ("GitSource", source(json!({ "ref": "--upload-pack=x" })), "spec.ref"),
        ("GitSource", source(json!({ "verify": "head" })), "name the Secret that holds it in `signers.secretRef`"),
        ("GitSource", source(json!({ "verify": "tag", "signers": { "secretRef": { "name": "a" } } })), "add it"),
        ("GitSource", source(json!({ "paths": ["../etc"] })), "without `..`"),
        ("GitSource", source(json!({ "paths": ["/etc"] })), "a path is relative"),
        ("GitSource", source(json!({ "interval": "0s" })), "give an `interval` such as 5m"),
        ("GitSource", source(json!({ "interval": "5min" })), "write a number and a unit"),
        ("GitSource", source(json!({ "mode": "force" })), "write one of enforce, apply, observe"),
        ("GitSource", source(json!({ "secretRef": { "name": "A B" } })), "spec.secretRef.name"),
        ("GitSource", source(json!({ "password": "x" })), "unknown field \"spec.password\""),
    ]
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_is_hostile_or_wrong_is_refused_with_what_to_do() {
    let namespace = shared().namespace();
    for (kind, spec, words) in hostile() {
        let text = document(kind, "x", &spec).to_string();
        let ran = namespace.kubectl_with(&[TRY, &["-"]].concat(), &text);
        assert!(!ran.done, "{text} is taken");
        assert!(ran.err.contains(words), "{text} without {words:?}: {}", ran.err);
    }
    // None of them is refused for anything but what is wrong with it.
    for (kind, spec) in [
        ("Member", member(json!({}))),
        ("ApiKey", key(json!({}))),
        ("Budget", budget(json!({}))),
        ("NotificationChannel", channel(json!({ "config": { "addresses": ["a@b.example"] } }))),
        ("GitSource", source(json!({}))),
        ("GitSource", source(json!({ "url": "git@git.example:acme/config.git", "ref": "refs/heads/main" }))),
        ("GitSource", source(json!({ "url": "ssh://git@git.example:22/acme/config.git", "paths": ["a/b", "c.yaml"] }))),
    ] {
        namespace.kubectl_with(&[TRY, &["-"]].concat(), &document(kind, "x", &spec).to_string()).well();
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn names_that_are_none_of_argus_need_one_in_the_spec() {
    let namespace = shared().namespace();
    let try_it = |document: Value| namespace.kubectl_with(&[TRY, &["-"]].concat(), &document.to_string());
    try_it(document("Organization", "acme.example", &json!({}))).refused("give the name in `spec.name`");
    try_it(document("Organization", &"a".repeat(64), &json!({}))).refused("give the name in `spec.name`");
    try_it(document("Organization", "acme.example", &json!({ "name": "acme_example" }))).well();
    try_it(document("Role", "owner", &json!({ "organization": "acme", "permissions": ["*"] })))
        .refused("built-in role");
    let named = json!({ "organization": "acme", "permissions": ["*"], "name": "billing_admin" });
    try_it(document("Role", "x", &named)).refused("built-in role");
    // A member is whoever the address says, so the object may be called anything.
    try_it(document("Member", "ada.of.acme", &member(json!({})))).well();
    let nothing = json!({ "apiVersion": "argus.io/v1alpha1", "kind": "Tier", "metadata": { "name": "free" } });
    try_it(nothing).well();
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_is_said_once_cannot_change() {
    let namespace = shared().namespace();
    let role = json!({ "organization": "acme", "scope": "project", "permissions": ["read"] });
    namespace.kubectl_with(&["create", "-f", "-"], &document("Role", "reader", &role).to_string()).well();
    let patch = |resource: &str, patch: Value| {
        namespace.kubectl(&["patch", resource, "--type=merge", "--patch", &json!({ "spec": patch }).to_string()])
    };
    let reader = "role.argus.io/reader";
    patch(reader, json!({ "organization": "globex" })).refused("a resource stays in its organization");
    patch(reader, json!({ "scope": "organization" })).refused("cannot change later");
    patch(reader, json!({ "permissions": ["read", "write"] })).well();
    let acme = json!({ "roles": [{ "name": "reader", "scope": "project", "permissions": ["read"] }] });
    namespace.kubectl_with(&["create", "-f", "-"], &document("Organization", "acme", &acme).to_string()).well();
    let moved = json!({ "roles": [{ "name": "reader", "scope": "organization", "permissions": ["read"] }] });
    patch("org/acme", moved).refused("cannot change later");
    // A member whose address changes is renamed, which an annotation declares.
    namespace.kubectl_with(&["create", "-f", "-"], &document("Member", "ada", &member(json!({}))).to_string()).well();
    patch("member/ada", json!({ "user": "lovelace@acme.example" })).well();
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn an_unknown_field_is_refused_or_dropped_and_never_kept() {
    let namespace = shared().namespace();
    let text = document("Organization", "acme", &json!({ "displayName": "Acme", "displayNmae": "Acme" })).to_string();
    namespace.kubectl_with(&["apply", "-f", "-"], &text).refused("unknown field \"spec.displayNmae\"");
    namespace.kubectl_with(&["apply", "--server-side", "-f", "-"], &text).refused("field not declared in schema");
    let ignored = namespace.kubectl_with(&["create", "--validate=ignore", "-f", "-"], &text).well();
    assert_eq!(ignored.err, "");
    let stored = namespace.kubectl(&["get", "org", "acme", "-o", "json"]).well().json();
    assert_eq!(stored["spec"], json!({ "displayName": "Acme" }));
}
