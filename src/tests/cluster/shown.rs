//! What `kubectl` shows: columns, short names, the category, explanations; and who may write what.

use argus::model::kind::{API_VERSION, KINDS};
use argus::render::crds;
use serde_json::{Value, json};

use super::document;
use crate::support::kubernetes::{User, shared};

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn columns_tell_what_matters_and_all_of_it_on_demand() {
    let namespace = shared().namespace();
    for kind in KINDS {
        namespace.kubectl_with(&["create", "-f", "-"], kind.example).well();
    }
    let status = json!({ "status": { "observedGeneration": 1, "lastAppliedRevision": "main@sha1:0123", "conditions": [{
        "type": "Ready", "status": "False", "reason": "Held", "message": "two people have to agree",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }]}});
    let patch = ["patch", "org", "acme", "--subresource=status", "--type=merge", "--patch", &status.to_string()];
    namespace.kubectl(&patch).well();
    let cells = |arguments: &[&str]| {
        let table = namespace.kubectl(arguments).well().out;
        table
            .lines()
            .map(|line| {
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    let table = cells(&["get", "org"]);
    assert_eq!(table[0], ["NAME", "DISPLAY NAME", "TIER", "STATUS", "READY", "REASON", "AGE"]);
    assert_eq!(table[1][..6], ["acme", "Acme Corporation", "team", "active", "False", "Held"]);
    let wide = cells(&["get", "org", "-o", "wide"]);
    assert_eq!(wide[0][7..10], ["MESSAGE", "REVISION", "BILLING EMAIL"]);
    assert_eq!(wide[1][7..10], ["two people have to agree", "main@sha1:0123", "billing@acme.example"]);
    let table = cells(&["get", "mem"]);
    assert_eq!(table[0], ["NAME", "ORGANIZATION", "USER", "STATUS", "READY", "REASON", "AGE"]);
    assert_eq!(table[1][..4], ["ada", "acme", "ada@acme.example", "active"]);
    let table = cells(&["get", "bud", "-o", "wide"]);
    assert!(table[0].contains(&"SUBJECT PROJECT".into()) && table[1].contains(&"250 USD".into()), "{table:?}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn every_name_leads_to_its_kind_and_the_category_to_all() {
    let namespace = shared().namespace();
    for kind in KINDS {
        namespace.kubectl_with(&["create", "-f", "-"], kind.example).well();
    }
    let listed = namespace.kubectl(&["get", "argus", "-o", "name"]).well();
    assert_eq!(listed.out.lines().count(), KINDS.len());
    for definition in crds::all() {
        let spelled = &definition.document["spec"]["names"];
        let short = spelled["shortNames"].as_array().cloned().unwrap_or_default();
        for name in short.iter().chain([&spelled["plural"], &spelled["singular"], &spelled["kind"]]) {
            // Kubernetes itself has roles and service accounts, and its own come first: the group tells which are meant.
            let name = format!("{}.argus.io", name.as_str().expect("text"));
            let found = namespace.kubectl(&["get", &name, "-o", "name"]).well();
            let is_source = spelled["kind"] == "GitSource";
            assert!(
                found.out.starts_with(&definition.plural) || found.out.contains(".argus.io/") || is_source,
                "{found:?}"
            );
        }
    }
    // Without the group, a short name leads to ours wherever Kubernetes has none of that name.
    for kind in KINDS.iter().filter(|kind| !["Role", "ServiceAccount"].contains(&kind.name)) {
        for name in kind.short_names {
            let found = namespace.kubectl(&["get", name, "-o", "name"]).well();
            assert!(found.out.starts_with(&format!("{}.argus.io/", kind.name.to_lowercase())), "{found:?}");
        }
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn every_field_is_explained_in_the_words_of_the_registry() {
    let namespace = shared().namespace();
    for kind in KINDS {
        // Kubernetes itself has roles and service accounts.
        let version = format!("--api-version={API_VERSION}");
        let explain = ["explain", &kind.plural.to_lowercase(), "--recursive", &version];
        let explained = namespace.kubectl(&explain).well().out;
        for field in kind.fields {
            let last = field.path.rsplit('.').next().expect("a name");
            assert!(explained.contains(&format!("  {last}\t<")), "{}.{}\n{explained}", kind.name, field.path);
        }
    }
    let explained = namespace.kubectl(&["explain", "org.spec.billingEmail"]).well().out;
    assert!(
        explained.contains("FIELD: billingEmail <string>") && explained.contains("Where invoices go."),
        "{explained}"
    );
    let explained = namespace.kubectl(&["explain", "budget.spec.period"]).well().out;
    assert!(explained.contains("ENUM:\n    daily\n    monthly"), "{explained}");
    let explained = namespace.kubectl(&["explain", "gitsource.spec.verify"]).well().out;
    assert!(explained.contains("all-since-applied"), "{explained}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_status_is_written_through_its_own_door_alone() {
    let namespace = shared().namespace();
    let mut team = document("Team", "platform", &json!({ "organization": "acme" }));
    team["status"] = json!({ "observedGeneration": 7 });
    namespace.kubectl_with(&["create", "-f", "-"], &team.to_string()).well();
    let stored = || namespace.kubectl(&["get", "team", "platform", "-o", "json"]).well().json();
    assert_eq!(stored().get("status"), None);
    let patch = |door: &[&str], patch: &Value| {
        let text = patch.to_string();
        let arguments: Vec<&str> =
            ["patch", "team", "platform", "--type=merge", "--patch", &text].iter().chain(door).copied().collect();
        namespace.kubectl(&arguments)
    };
    let both = json!({ "spec": { "displayName": "Platform" }, "status": { "observedGeneration": 1, "history": [
        { "run": "0190", "revision": "main@sha1:0123", "finishedAt": "2030-01-01T00:00:00Z", "outcome": "applied", "changes": 1 },
    ], "inventory": [{ "kind": "Team", "name": "platform" }] } });
    patch(&[], &both).well();
    assert_eq!((stored()["spec"]["displayName"].as_str(), stored().get("status")), (Some("Platform"), None));
    let changed = json!({ "spec": { "displayName": "Other" }, "status": both["status"] });
    patch(&["--subresource=status"], &changed).well();
    assert_eq!((stored()["spec"]["displayName"].as_str(), &stored()["status"]), (Some("Platform"), &both["status"]));
    // The generation counts what is wished for, and not what became of it.
    assert_eq!(stored()["metadata"]["generation"], 2);
    let twice =
        json!({ "status": { "inventory": [{ "kind": "Team", "name": "a" }, { "kind": "Team", "name": "a" }] } });
    patch(&["--subresource=status"], &twice).refused("Duplicate value");
    let strange = json!({ "status": { "conditions": [{ "type": "Ready", "status": "Maybe", "reason": "X", "message": "",
        "lastTransitionTime": "2030-01-01T00:00:00Z" }] } });
    patch(&["--subresource=status"], &strange).refused("Unsupported value: \"Maybe\"");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn waiting_for_a_condition_works_and_whoever_has_no_role_may_nothing() {
    let namespace = shared().namespace();
    let text = document("Organization", "acme", &json!({})).to_string();
    namespace.as_user(User::Nobody, &["create", "-f", "-"], &text).refused("forbidden");
    namespace.kubectl_with(&["create", "-f", "-"], &text).well();
    namespace.as_user(User::Nobody, &["get", "org", "acme"], "").refused("forbidden");
    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "Applied",
        "message": "as its manifest says", "lastTransitionTime": "2030-01-01T00:00:00Z", "observedGeneration": 1 }] } });
    let patch = ["patch", "org", "acme", "--subresource=status", "--type=merge", "--patch", &ready.to_string()];
    namespace.kubectl(&patch).well();
    namespace.kubectl(&["wait", "org/acme", "--for=condition=ready", "--timeout=30s"]).well();
}
