//! What is written back to objects: the finalizer, the status, events; and that nothing is taken for gone unasked.

use argus::model::code::Code;
use argus::source::cluster::object::FINALIZER;
use argus::source::cluster::status::{Came, Entry, Row, Run, Standing};
use argus::source::cluster::writing::{hold, release, report};
use chrono::Utc;
use serde_json::{Value, json};

use super::followed::{Follower, has, key};
use crate::support::kubernetes::User;

/// What came of a pass.
fn came(generation: i64, standing: Standing, message: &str) -> Came {
    Came::new(generation, Utc::now(), standing, message.into())
}

impl Follower {
    fn json(&self, what: &str) -> Value {
        self.namespace.kubectl(&["get", what, "-o", "json"]).well().json()
    }

    fn uid(&self, what: &str) -> String {
        self.json(what)["metadata"]["uid"].as_str().expect("an id").to_owned()
    }

    fn finalizers(&self, what: &str) -> Vec<String> {
        serde_json::from_value(self.json(what)["metadata"]["finalizers"].clone()).unwrap_or_default()
    }

    /// Reports as the controller does, with what the cache knows of the object.
    fn report(&self, what: (&str, &str), came: &Came) -> bool {
        let key = key(what.0, what.1);
        let (uid, told) = {
            let cache = self.followed().cache();
            let kept = cache.object(&key).expect("the object");
            (kept.uid.to_string(), (kept.told, kept.version))
        };
        let report = report(self.cluster.api(), &self.namespace.name, &key, &uid, told, came);
        self.runtime.block_on(report).expect("it is written")
    }

    /// The reasons of the events about an object, with their types, in order of these words.
    fn events(&self, name: &str) -> Vec<(String, String)> {
        let listed = self.json("events.events.k8s.io");
        let about = listed["items"].as_array().expect("items").iter().filter(|one| one["regarding"]["name"] == name);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut told: Vec<_> = about.map(|one| (text(&one["type"]), text(&one["reason"]))).collect();
        told.sort();
        told
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_finalizer_goes_on_once_holds_and_comes_off_once_beside_those_of_others() {
    let follower = Follower::new(&["acme"]);
    let mut document = super::document("Organization", "acme", &json!({}));
    document["metadata"]["finalizers"] = json!(["example.com/other"]);
    follower.create_with(&document);
    follower.listed();
    let (key, uid) = (key("Organization", "acme"), follower.uid("org/acme"));
    let namespace = follower.namespace.name.as_str();
    let api = follower.cluster.api();
    let hold = |uid: &str| {
        let held = follower.runtime.block_on(hold(api, namespace, &key, uid, None));
        held.expect("it is asked").is_some()
    };
    let release = |uid: &str| follower.runtime.block_on(release(api, namespace, &key, uid)).expect("it is asked");
    assert!(hold(&uid) && hold(&uid));
    assert_eq!(follower.finalizers("org/acme"), ["example.com/other", FINALIZER]);
    // Another object of that name is not touched.
    assert!(!hold("00000000-0000-0000-0000-000000000000"));
    release("00000000-0000-0000-0000-000000000000");
    assert_eq!(follower.finalizers("org/acme").len(), 2);
    follower.namespace.kubectl(&["delete", "org", "acme", "--wait=false"]).well();
    follower.until("told that it goes", |cache| cache.object(&key).is_some_and(|kept| kept.deleting && kept.held));
    assert!(!follower.world(&["acme"]).expect("a world").describes("acme"));
    release(&uid);
    release(&uid);
    assert_eq!(follower.finalizers("org/acme"), ["example.com/other"]);
    // What is going takes none any more, and is not held.
    assert!(!hold(&uid));
    let none = r#"{"metadata":{"finalizers":null}}"#;
    follower.namespace.kubectl(&["patch", "org", "acme", "--type=merge", "-p", none]).well();
    follower.until("gone", |cache| cache.object(&key).is_none());
    release(&uid);
    assert!(!hold(&uid));
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_nothing_held_back_is_held_and_told_without_being_asked_for_unless_it_has_changed_since() {
    let follower = Follower::new(&["acme", "globex"]);
    for name in ["acme", "globex"] {
        follower.create("Organization", name, &json!({}));
    }
    follower.listed();
    let api = follower.cluster.api();
    let seen = |name: &str| {
        let cache = follower.followed().cache();
        let kept = cache.object(&key("Organization", name)).expect("the object");
        (kept.uid.to_string(), kept.free.then_some(kept.version), kept.told)
    };
    let applied = came(1, Standing::Applied, "the rows are as it says");
    for (name, is_changed) in [("acme", false), ("globex", true)] {
        let (key, what) = (key("Organization", name), format!("org/{name}"));
        let (uid, free, told) = seen(name);
        assert!(free.is_some());
        if is_changed {
            // The versions that are known are old by now, and what others have written stays.
            let others = r#"{"metadata":{"finalizers":["example.com/other"]}}"#;
            follower.namespace.kubectl(&["patch", &what, "--type=merge", "-p", others]).well();
        }
        let held = follower.runtime.block_on(hold(api, &follower.namespace.name, &key, &uid, free));
        let held = held.expect("it is asked").expect("it is held");
        let others = if is_changed { vec!["example.com/other", FINALIZER] } else { vec![FINALIZER] };
        assert_eq!(follower.finalizers(&what), others);
        if is_changed {
            follower.namespace.kubectl(&["annotate", &what, "example.com/seen=now"]).well();
        }
        let report = report(api, &follower.namespace.name, &key, &uid, (told, held), &applied);
        assert!(follower.runtime.block_on(report).expect("it is written"));
        let stored = follower.json(&what);
        assert_eq!(stored["status"]["conditions"][0]["status"], "True", "{stored}");
        assert_ne!(stored["metadata"]["resourceVersion"], json!(held.to_string()));
    }
    // Another one of that name is neither held nor told.
    follower.until("held", |cache| cache.object(&key("Organization", "acme")).is_some_and(|kept| kept.held));
    let other = "00000000-0000-0000-0000-000000000000";
    let key = key("Organization", "acme");
    let held = follower.runtime.block_on(hold(api, &follower.namespace.name, &key, other, Some(1)));
    assert_eq!(held.expect("it is asked"), None);
    let report = report(api, &follower.namespace.name, &key, other, (0, 1), &applied);
    assert!(!follower.runtime.block_on(report).expect("it is asked"));
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn kubectl_waits_for_what_is_reported_and_what_is_the_same_is_not_written_twice() {
    let follower = Follower::new(&["acme"]);
    follower.create("Organization", "acme", &json!({ "teams": [{ "name": "core" }] }));
    follower.listed();
    let row = |kind: &str, name: &str| Entry::Row(Row { kind: kind.into(), name: name.into(), id: None });
    let rows = Some(vec![row("Organization", "acme"), row("Team", "core")]);
    let run = |id: &str| Some(Run { id: id.into(), plan_digest: "sha256:0123".into(), changes: 2 });
    let applied = Came { rows, run: run("run-1"), ..came(1, Standing::Applied, "2 resources changed") };
    assert!(follower.report(("Organization", "acme"), &applied));
    follower.namespace.kubectl(&["wait", "org/acme", "--for=condition=ready", "--timeout=30s"]).well();
    let stored = follower.json("org/acme");
    let status = &stored["status"];
    assert_eq!(status["lastAppliedRevision"], "generation:1");
    assert_eq!(
        status["inventory"],
        json!([{"kind": "Organization", "name": "acme"}, {"kind": "Team", "name": "core"}])
    );
    assert_eq!((&status["history"][0]["run"], &status["history"][0]["changes"]), (&json!("run-1"), &json!(2)));
    let mine =
        |one: &&Value| one["manager"] == "argus" && one["subresource"] == "status" && one["operation"] == "Apply";
    let managed =
        follower.namespace.kubectl(&["get", "org", "acme", "-o", "json", "--show-managed-fields"]).well().json();
    let managers = managed["metadata"]["managedFields"].as_array().expect("managers");
    assert_eq!(managers.iter().filter(mine).count(), 1, "{managers:?}");
    // Again, at once and once it was seen; and the end of the same run.
    let quiet = Came { run: None, rows: None, ..applied.clone() };
    assert!(!follower.report(("Organization", "acme"), &quiet) && !follower.report(("Organization", "acme"), &applied));
    let version = |stored: &Value| stored["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    assert_eq!(version(&follower.json("org/acme")), version(&stored));
    // What a later generation is told already is not taken back by a pass that was late.
    let edit = r#"{"spec":{"displayName":"Acme"}}"#;
    follower.namespace.kubectl(&["patch", "org", "acme", "--type=merge", "-p", edit]).well();
    assert!(follower.report(("Organization", "acme"), &came(2, Standing::Denied, "budget-limit: too much")));
    assert!(!follower.report(("Organization", "acme"), &came(1, Standing::Applied, "late")));
    let table = follower.namespace.kubectl(&["get", "org", "acme"]).well().out;
    assert!(table.contains("False") && table.contains("Denied"), "{table}");
    let conditions = follower.json("org/acme")["status"]["conditions"].clone();
    let types: Vec<&str> = conditions.as_array().expect("some").iter().filter_map(|one| one["type"].as_str()).collect();
    assert_eq!(types, ["Ready", "Stalled"]);
    assert!(follower.report(("Organization", "acme"), &came(2, Standing::Applied, "1 resource changed")));
    let conditions = follower.json("org/acme")["status"]["conditions"].clone();
    assert_eq!(conditions.as_array().map(Vec::len), Some(1), "what is no longer true is taken away: {conditions}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn events_tell_what_has_changed_once() {
    let follower = Follower::new(&["acme"]);
    follower.create("Organization", "acme", &json!({}));
    follower.listed();
    let applied = came(1, Standing::Applied, "applied");
    let drifted = Came { drift: Some("1 row differs".into()), ..applied.clone() };
    let denied = came(1, Standing::Denied, &"é".repeat(5_000));
    for came in [&applied, &applied, &drifted, &drifted, &denied] {
        follower.report(("Organization", "acme"), came);
    }
    let text = |kind: &str, reason: &str| (kind.to_owned(), reason.to_owned());
    let expected = [text("Normal", "ReconciliationSucceeded"), text("Warning", "Denied"), text("Warning", "Drifted")];
    assert_eq!(follower.events("acme"), expected);
    let shown = follower.namespace.kubectl(&["events", "--for", "org/acme"]).well().out;
    assert!(shown.contains("ReconciliationSucceeded") && shown.contains("Organization/acme"), "{shown}");
    // The same words again are counted where they stand.
    assert!(follower.report(("Organization", "acme"), &applied));
    assert_eq!(follower.events("acme"), expected);
    let listed = follower.json("events.events.k8s.io");
    let first =
        listed["items"].as_array().expect("items").iter().find(|one| one["note"] == "applied").expect("the first");
    assert_eq!((&first["series"]["count"], &first["reportingInstance"]), (&json!(2), &json!("replica-1")));
    // Somebody who may not write events is no reason to stop.
    let role = json!([{ "apiGroups": ["argus.io"], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"] }]);
    let patch = json!({ "rules": role }).to_string();
    follower.namespace.kubectl(&["patch", "role", "argus", "--type=merge", "-p", &patch]).well();
    follower.until_denied("create", "events.events.k8s.io");
    assert!(follower.report(("Organization", "acme"), &came(1, Standing::Held, "two people have to agree")));
    assert_eq!(follower.events("acme").len(), 3);
}

impl Follower {
    /// Rights are taken away a moment later than their role.
    fn until_denied(&self, verb: &str, what: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while self.namespace.as_user(User::Argus, &["auth", "can-i", verb, what], "").done {
            assert!(std::time::Instant::now() < deadline, "they still may");
        }
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_the_cache_does_not_have_is_gone_only_when_the_server_says_so() {
    let follower = Follower::new(&["acme"]);
    follower.create("Organization", "acme", &json!({}));
    follower.listed();
    let place = |kind: &str, name: &str| -> std::sync::Arc<str> {
        format!("kubernetes/{}/{kind}/{name}", follower.namespace.name).into()
    };
    let confirm = |places: Vec<std::sync::Arc<str>>| {
        follower.runtime.block_on(follower.cluster.confirm_gone(follower.followed(), places))
    };
    assert!(confirm(vec![place("Team", "never"), place("Organization", "acme"), "acme.yaml".into()]).is_ok());
    // A team that is there and was never heard of: as where a watch has lost a word.
    follower.create("Team", "core", &json!({ "organization": "acme" }));
    follower.until("made", has("Team", "core"));
    follower.followed().cache().remove(&key("Team", "core"), u64::MAX);
    let refused = confirm(vec![place("Team", "core")]).expect_err("it is there");
    assert_eq!(refused.code, Code::ClusterBehind);
    follower.namespace.kubectl(&["delete", "team", "core"]).well();
    assert!(confirm(vec![place("Team", "core")]).is_ok());
}
