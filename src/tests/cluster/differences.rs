//! Where an API server and the reader of manifests disagree about a document, and why. `docs/kubernetes.md` tells people.

use serde_json::{Value, json};

use super::{TRY, document, faults_of};
use crate::support::kubernetes::shared;

/// Who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// The API server alone.
    ApiServer,
    /// The reader alone.
    Reader,
}

fn member(user: &str) -> Value {
    json!({ "organization": "acme", "user": user, "role": "member" })
}

fn key(with: Value) -> Value {
    merged(json!({ "organization": "acme", "owner": { "serviceAccount": "a" }, "scopes": ["read"] }), &with)
}

fn rule(with: Value) -> Value {
    merged(json!({ "organization": "acme", "channel": "ops", "events": ["*"] }), &with)
}

fn merged(mut spec: Value, with: &Value) -> Value {
    for (name, value) in with.as_object().expect("a mapping") {
        spec[name] = value.clone();
    }
    spec
}

/// A kind, a spec, who takes it, and why the other does not.
fn table() -> Vec<(&'static str, Value, Takes, &'static str)> {
    use Takes::{ApiServer, Reader};
    let long = format!("{}@acme.example", "a".repeat(65));
    let people: Vec<Value> =
        (0..5_001).map(|number| json!({ "user": format!("a{number}@acme.example"), "role": "member" })).collect();
    vec![
        ("Organization", json!({ "displayName": format!("ghp_{}", "a1B2".repeat(9)) }), ApiServer, "a secret in clear"),
        ("Organization", json!({ "settings": { "password": "hunter2" } }), ApiServer, "named like a secret"),
        ("Organization", json!({ "settings": { "": 1 } }), ApiServer, "no rule about the keys of a free map"),
        ("Organization", json!({ "logoUrl": "https://acme.example/?token=abc" }), ApiServer, "a secret in an address"),
        (
            "Organization",
            json!({ "ignore": [{ "kind": "Member", "fields": ["nonsense"] }] }),
            ApiServer,
            "paths of fields",
        ),
        (
            "Team",
            json!({ "organization": "acme", "members": [{ "user": "a@acme.example" }, { "user": "A@acme.example" }] }),
            ApiServer,
            "the same person in other letters",
        ),
        ("Organization", json!({ "members": people }), Reader, "more than one object holds"),
        ("Organization", json!({ "members": {} }), Reader, "a list may be emptied by `{}`"),
        ("Member", member(&long), ApiServer, "the part before the @ is too long"),
        ("ApiKey", key(json!({ "rotation": { "schedule": "61 * * * *" } })), ApiServer, "five fields, but no schedule"),
        (
            "ApiKey",
            key(json!({ "rotation": { "schedule": "0 3 * * *", "overlap": "2d" } })),
            ApiServer,
            "longer than from one rotation to the next",
        ),
        (
            "ApiKey",
            key(json!({ "expiresAt": "0000-01-01T00:00:00Z" })),
            ApiServer,
            "a year that PostgreSQL does not write",
        ),
        ("ApiKey", key(json!({ "expiresAt": "2030-01-01 00:00:00Z" })), Reader, "a blank instead of the T"),
        ("NotificationRule", rule(json!({ "template": "{{ a" })), ApiServer, "a template that is not closed"),
        (
            "NotificationRule",
            rule(json!({ "conditions": [{ "field": "a b", "operator": "equals", "value": "x" }] })),
            ApiServer,
            "no field of an event",
        ),
        (
            "NotificationRule",
            rule(json!({ "conditions": [{ "field": "a", "operator": "atLeast", "value": "x" }] })),
            ApiServer,
            "more than no number",
        ),
        (
            "ServiceAccount",
            json!({ "organization": "acme", "role": null, "roles": ["viewer"] }),
            ApiServer,
            "what is null counts as absent",
        ),
    ]
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn where_the_two_disagree_they_do_for_a_reason_that_still_holds() {
    let namespace = shared().namespace();
    for (kind, spec, takes, why) in table() {
        let text = document(kind, "x", &spec).to_string();
        let ran = namespace.kubectl_with(&[TRY, &["-"]].concat(), &text);
        let faults = faults_of(&text, "x.json");
        let found = (ran.done, faults.is_empty());
        let wanted = (takes == Takes::ApiServer, takes == Takes::Reader);
        let shown: String = text.chars().take(300).collect();
        assert_eq!(found, wanted, "{why}: {shown}\n{}\n{faults:?}", ran.err);
    }
}
