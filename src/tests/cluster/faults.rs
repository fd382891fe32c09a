//! What networks and API servers do to a watch, through a proxy in front of the real one: in the end the same is known,
//! and nothing was ever taken for gone that is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argus::model::code::Code;
use argus::source::cluster::api::Times;
use argus::source::cluster::object::FINALIZER;
use argus::source::cluster::writing::hold;
use serde_json::{Value, json};

use super::followed::{Follower, has, key, times};
use crate::support::kubernetes::{Namespace, User, shared};
use crate::support::kubernetes_proxy::{Fate, Proxy};

/// Argus behind a proxy, in a namespace with an organization.
fn behind(times: Times) -> (Proxy, Follower) {
    let namespace = shared().namespace();
    namespace.admit_argus();
    let proxy = Proxy::before(shared());
    let follower = Follower::at(namespace, &["acme"], Some(&proxy.address), times);
    follower.create("Organization", "acme", &json!({}));
    follower.until("made", has("Organization", "acme"));
    follower.listed();
    (proxy, follower)
}

fn refusal(code: u16, reason: &str) -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("{reason} by the test") })
    .to_string()
}

fn team(follower: &Follower, name: &str) {
    follower.create("Team", name, &json!({ "organization": "acme" }));
}

fn list_of_teams(namespace: &Namespace) -> String {
    let path = format!("/apis/argus.io/v1alpha1/namespaces/{}/teams", namespace.name);
    namespace.as_user(User::Admin, &["get", "--raw", &path], "").well().out
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn history_that_is_gone_is_made_up_for_by_a_list() {
    // Silence ends the watches that there are; the next ones are refused, in both ways in which servers do it.
    let (proxy, follower) = behind(Times { silence: Duration::from_secs(2), ..times() });
    let in_stream = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", refusal(410, "Expired"));
    for fate in [Fate::Answer(410, "x-test: 1", refusal(410, "Expired")), Fate::Answer(200, "x-test: 1", in_stream)] {
        let refused = Arc::new(AtomicUsize::new(0));
        let count = refused.clone();
        proxy.rule(move |asked| match asked.watches("teams") && count.fetch_add(1, Ordering::SeqCst) < 3 {
            true => fate.clone(),
            false => Fate::Pass,
        });
        let lists = || proxy.asked().iter().filter(|asked| asked.lists("teams")).count();
        let before = lists();
        let name = format!("team-{before}");
        team(&follower, &name);
        follower.until("listed anew", |_| refused.load(Ordering::SeqCst) > 3 && lists() > before);
        follower.until("made up for", has("Team", &name));
    }
    follower.until("well again", |cache| cache.standing().1.is_empty());
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_server_that_fails_is_asked_again_and_believed_only_then() {
    let namespace = shared().namespace();
    namespace.admit_argus();
    let proxy = Proxy::before(shared());
    let failures = Arc::new(AtomicUsize::new(0));
    let count = failures.clone();
    proxy.rule(move |asked| match asked.lists("teams").then(|| count.fetch_add(1, Ordering::SeqCst)) {
        Some(0) => Fate::Answer(500, "x-test: 1", refusal(500, "InternalError")),
        Some(1) => Fate::Answer(503, "x-test: 1", "no such upstream".into()),
        Some(2) => Fate::Answer(429, "retry-after: 1", "too many requests".into()),
        Some(3) => Fate::Answer(200, "x-test: 1", "<html>a portal</html>".into()),
        Some(4) => Fate::Answer(200, "x-test: 1", "{\"items\": [".into()),
        _ => Fate::Pass,
    });
    let follower = Follower::at(namespace, &["acme"], Some(&proxy.address), times());
    follower.create("Organization", "acme", &json!({}));
    follower.until("refused for the second time", |_| failures.load(Ordering::SeqCst) > 2);
    // Whether this is asked before or after all went well: there is a world only with everything.
    let world = follower.world(&["acme"]);
    assert!(world.is_ok() || world.is_err_and(|finding| finding.code == Code::ClusterBehind));
    team(&follower, "core");
    follower.listed();
    assert!(failures.load(Ordering::SeqCst) > 5);
    follower.until("known", has("Team", "core"));
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn half_a_connection_is_noticed_by_its_silence() {
    let (proxy, follower) = behind(Times { silence: Duration::from_secs(2), ..times() });
    proxy.freeze();
    team(&follower, "core");
    follower.moved(Some("acme"));
    follower.until("heard of", has("Team", "core"));
    // A server that takes a connection and never answers.
    let (silenced, asked) =
        behind(Times { silence: Duration::from_secs(2), request: Duration::from_secs(2), ..times() });
    silenced.rule(|asked| if asked.watches("teams") { Fate::Silence } else { Fate::Pass });
    asked.until("noticed", |cache| !cache.standing().1.is_empty());
    silenced.rule(|_| Fate::Pass);
    team(&asked, "core");
    asked.until("heard of", has("Team", "core"));
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn an_old_list_is_told_by_its_version_and_takes_nothing_back() {
    let (proxy, follower) = behind(Times { silence: Duration::from_secs(2), ..times() });
    let old = list_of_teams(&follower.namespace);
    team(&follower, "core");
    follower.until("made", has("Team", "core"));
    follower.calm();
    let stale = Arc::new(AtomicUsize::new(0));
    let count = stale.clone();
    proxy.rule(move |asked| {
        if asked.lists("teams") {
            count.fetch_add(1, Ordering::SeqCst);
            return Fate::Answer(200, "x-test: 1", old.clone());
        }
        // So that it has to list at all.
        if asked.watches("teams") { Fate::Answer(410, "x-test: 1", refusal(410, "Expired")) } else { Fate::Pass }
    });
    follower.until("told an old list twice", |_| stale.load(Ordering::SeqCst) > 1);
    let (_, faults) = follower.followed().cache().standing();
    assert!(faults.iter().any(|fault| fault.code == Code::ClusterBehind), "{faults:?}");
    assert!(has("Team", "core")(&follower.followed().cache()));
    assert!(follower.calm().is_empty(), "nothing has moved");
    let world = follower.world(&["acme"]).expect("what was known before still is");
    assert_eq!(world.organizations["acme"].resources.len(), 2);
    proxy.rule(|_| Fate::Pass);
    follower.until("well again", |cache| cache.standing().1.is_empty());
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_list_that_leaves_something_out_deletes_nothing() {
    let (proxy, follower) = behind(Times { silence: Duration::from_secs(2), ..times() });
    team(&follower, "core");
    follower.until("made", has("Team", "core"));
    let mut list: Value = serde_json::from_str(&list_of_teams(&follower.namespace)).expect("a list");
    list["items"] = json!([]);
    let text = list.to_string();
    proxy.rule(move |asked| match (asked.lists("teams"), asked.watches("teams")) {
        (true, _) => Fate::Answer(200, "x-test: 1", text.clone()),
        (_, true) => Fate::Answer(410, "x-test: 1", refusal(410, "Expired")),
        _ => Fate::Pass,
    });
    follower.until("lost", |cache| cache.object(&key("Team", "core")).is_none());
    // Nobody deleted it: it never had a moment of deletion. So the server is asked for it, by its name.
    let place = format!("kubernetes/{}/Team/core", follower.namespace.name);
    let confirm = follower.cluster.confirm_gone(follower.followed(), [place.into()]);
    assert_eq!(follower.runtime.block_on(confirm).expect_err("it is there").code, Code::ClusterBehind);
    proxy.rule(|_| Fate::Pass);
    follower.until("there again", has("Team", "core"));
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn where_somebody_else_was_faster_the_finalizer_is_put_on_what_they_wrote() {
    let (proxy, follower) = behind(times());
    let conflicts = Arc::new(AtomicUsize::new(0));
    let count = conflicts.clone();
    proxy.rule(move |asked| match asked.method == "PATCH" && count.fetch_add(1, Ordering::SeqCst) < 3 {
        true => Fate::Answer(409, "x-test: 1", refusal(409, "Conflict")),
        false => Fate::Pass,
    });
    let key = key("Organization", "acme");
    let uid = follower.followed().cache().object(&key).expect("the object").uid.to_string();
    let held = follower.runtime.block_on(hold(follower.cluster.api(), &follower.namespace.name, &key, &uid, None));
    assert!(held.expect("it is asked").is_some() && conflicts.load(Ordering::SeqCst) == 4);
    let finalizers =
        follower.namespace.kubectl(&["get", "org", "acme", "-o", "jsonpath={.metadata.finalizers}"]).well();
    assert!(finalizers.out.contains(FINALIZER), "{finalizers:?}");
}
