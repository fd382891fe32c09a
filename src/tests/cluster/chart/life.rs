//! A release from its installation to its removal.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use argus::render::crds;
use serde_json::{Value, json};

use super::{CHART, NO_DEFINITIONS, copy, least};
use crate::cluster::document;
use crate::support::kubernetes::{Cluster, Namespace, User, shared};
use crate::support::postgres::scratch;

/// How long Helm may wait for what a test does meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A copy of the chart as an earlier release might have been: another version, and a definition that lacks a column.
fn earlier_chart() -> PathBuf {
    let folder = scratch("chart");
    copy(Path::new(CHART), &folder);
    let change = |name: &str, old: &str, new: &str| {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).expect(name);
        assert!(text.contains(old), "{name} has no {old}");
        std::fs::write(&path, text.replacen(old, new, 1)).expect(name);
    };
    change("Chart.yaml", "version: ", "version: 0.0.1 # ");
    change("files/crds/organizations.yaml", "    - org\n", "    - org\n    - former\n");
    folder
}

/// Everything in the cluster that a release has brought.
fn objects_of(cluster: &Cluster, release: &str) -> Vec<String> {
    let kubectl = |arguments: &[&str]| cluster.kubectl(User::Admin, arguments, "").well();
    let listed = kubectl(&["api-resources", "--verbs=list", "-o", "name"]).out;
    let kinds: Vec<&str> = listed.lines().collect();
    let label = format!("app.kubernetes.io/instance={release}");
    let found =
        kubectl(&["get", &kinds.join(","), "--all-namespaces", "-l", &label, "-o", "name", "--ignore-not-found"]);
    found.out.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn a_release_is_installed_upgraded_and_removed_and_only_what_people_wrote_stays() {
    let cluster = Cluster::start();
    let kubectl = |arguments: &[&str]| cluster.kubectl(User::Admin, arguments, "");
    for namespace in ["argus", "acme-config"] {
        kubectl(&["create", "namespace", namespace]).well();
    }
    // Nothing runs the Job that would migrate, so it is left out here; the test below plays its part.
    let helm = |arguments: &[&str], values: &Value| {
        cluster.helm(&[arguments, &["--namespace", "argus", "--no-hooks"]].concat(), &values.to_string())
    };
    let short_names = || {
        let definition = kubectl(&["get", "crd", "organizations.argus.io", "-o", "json"]).well().json();
        definition["spec"]["names"]["shortNames"].clone()
    };
    let deployment = || kubectl(&["-n", "argus", "get", "deployment", "argus", "-o", "json"]).well().json();

    let earlier = earlier_chart();
    let values = json!({ "replicas": 2, "kubernetes": { "namespaces": { "acme-config": ["acme"] } } });
    helm(&["install", "argus", &earlier.display().to_string(), "--values", "-"], &values).well();
    std::fs::remove_dir_all(&earlier).expect("it goes");
    assert_eq!(short_names(), json!(["org", "former", "orgs"]));
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    kubectl(&wait).well();
    let organization = document("Organization", "acme", &json!({ "displayName": "Acme" })).to_string();
    let written = Instant::now();
    while !cluster.kubectl(User::Admin, &["-n", "acme-config", "apply", "-f", "-"], &organization).done {
        assert!(written.elapsed() < WAIT_MAX, "no organization is taken");
        std::thread::sleep(Duration::from_millis(200));
    }
    let before = deployment();

    // The values of before, and one more.
    let more = json!({ "config": { "connections": 9 } });
    helm(&["upgrade", "argus", CHART, "--reset-then-reuse-values", "--values", "-"], &more).well();
    assert_eq!(short_names(), json!(["org", "orgs"]), "the definition is that of the new chart");
    let after = deployment();
    assert_eq!((&after["metadata"]["uid"], &after["spec"]["replicas"]), (&before["metadata"]["uid"], &json!(2)));
    assert_ne!(after["spec"]["template"], before["spec"]["template"]);
    let settings = kubectl(&["-n", "argus", "get", "configmap", "argus-config", "-o", "json"]).well().json();
    let settings: Value =
        serde_yaml::from_str(settings["data"]["argus.yaml"].as_str().expect("settings")).expect("YAML");
    assert_eq!(settings, json!({ "connections": 9, "kubernetes": { "namespaces": { "acme-config": ["acme"] } } }));
    kubectl(&["-n", "acme-config", "get", "role,rolebinding", "argus"]).well();

    // A namespace that is bound no more, and back to how it was.
    helm(&["upgrade", "argus", CHART, "--reset-values", "--values", "-"], &least()).well();
    kubectl(&["-n", "acme-config", "get", "role", "argus"]).refused("not found");
    helm(&["rollback", "argus", "2"], &json!({})).well();
    kubectl(&["-n", "acme-config", "get", "role", "argus"]).well();

    let stays = |release: &str| {
        assert_eq!(objects_of(&cluster, release), Vec::<String>::new());
        let definitions = kubectl(&["get", "crd", "-o", "json"]).well().json();
        let definitions = definitions["items"].as_array().expect("items").clone();
        assert_eq!(definitions.len(), crds::all().len());
        assert!(definitions.iter().all(|definition| definition["metadata"]["deletionTimestamp"].is_null()));
        let kept = kubectl(&["-n", "acme-config", "get", "org", "acme", "-o", "json"]).well().json();
        assert_eq!(
            (&kept["spec"]["displayName"], &kept["metadata"]["deletionTimestamp"]),
            (&json!("Acme"), &Value::Null)
        );
        let secrets = kubectl(&["-n", "argus", "get", "secrets", "-o", "name"]).well();
        assert_eq!(secrets.out, "", "the release itself is forgotten");
    };
    assert!(!objects_of(&cluster, "argus").is_empty());
    helm(&["uninstall", "argus"], &json!({})).well();
    stays("argus");

    // Under the same name it takes what it left; under another one that has to be said.
    helm(&["install", "argus", CHART, "--values", "-"], &least()).well();
    helm(&["uninstall", "argus"], &json!({})).well();
    stays("argus");
    helm(&["install", "second", CHART, "--values", "-"], &least()).refused("invalid ownership metadata");
    kubectl(&["-n", "argus", "delete", "secrets", "--all"]).well();
    helm(&["install", "second", CHART, "--values", "-", "--set", NO_DEFINITIONS], &least()).well();
    helm(&["uninstall", "second"], &json!({})).well();
    stays("second");
    helm(&["install", "third", CHART, "--values", "-", "--take-ownership"], &least()).well();
    helm(&["uninstall", "third"], &json!({})).well();
    stays("third");

    // The definitions go when somebody says so, and take with them what they define.
    kubectl(&["delete", "--timeout=60s", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")]).well();
    assert_eq!(kubectl(&["get", "crd", "-o", "name"]).well().out, "");
}

/// Ends the Job that migrates, as if it had run. Gives what was there of the Deployment at that moment.
fn end_job(namespace: &Namespace, conditions: [&str; 2], count: &str) -> Option<Value> {
    let deadline = Instant::now() + WAIT_MAX;
    while !namespace.kubectl(&["get", "job", "argus-migrate"]).done {
        assert!(Instant::now() < deadline, "there is no Job");
        std::thread::sleep(Duration::from_millis(100));
    }
    let seen = namespace.kubectl(&["get", "deployment", "argus", "-o", "json"]);
    let time = "2030-01-02T03:04:05Z";
    let condition =
        |name: &str| json!({ "type": name, "status": "True", "lastTransitionTime": time, "reason": "Tried" });
    let mut status = json!({ "startTime": time, "conditions": conditions.map(condition) });
    status[count] = json!(1);
    if count == "succeeded" {
        status["completionTime"] = json!(time);
    }
    let patch = json!({ "status": status }).to_string();
    namespace
        .kubectl(&["patch", "job", "argus-migrate", "--subresource=status", "--type=merge", "--patch", &patch])
        .well();
    seen.done.then(|| seen.json())
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn the_database_is_migrated_before_anything_else_comes_and_nothing_comes_if_that_fails() {
    let namespace = shared().namespace();
    let timeout = format!("{}s", WAIT_MAX.as_secs());
    let helm = |arguments: &[&str]| {
        let last = ["argus", CHART, "--namespace", &namespace.name, "--set", NO_DEFINITIONS, "--timeout", &timeout];
        let arguments = [arguments, &last, &["--values", "-"]].concat();
        shared().helm(&arguments, &least().to_string())
    };
    let installed = std::thread::scope(|scope| {
        let helm = scope.spawn(|| helm(&["install"]));
        let seen = end_job(&namespace, ["SuccessCriteriaMet", "Complete"], "succeeded");
        assert_eq!(seen, None, "the controller comes after the Job");
        helm.join().expect("it ends")
    });
    installed.well();
    namespace.kubectl(&["get", "deployment", "argus"]).well();
    namespace.kubectl(&["get", "job", "argus-migrate"]).refused("not found");
    let upgraded = std::thread::scope(|scope| {
        let helm = scope.spawn(|| helm(&["upgrade", "--set=replicas=5"]));
        let seen = end_job(&namespace, ["FailureTarget", "Failed"], "failed").expect("the controller of before");
        assert_eq!(seen["spec"]["replicas"], 2);
        helm.join().expect("it ends")
    });
    upgraded.refused("pre-upgrade");
    let left = namespace.kubectl(&["get", "deployment", "argus", "-o", "json"]).well().json();
    assert_eq!(left["spec"]["replicas"], 2, "the controller of before goes on");
    namespace.kubectl(&["get", "job", "argus-migrate"]).well();
    shared().helm(&["uninstall", "argus", "--namespace", &namespace.name, "--no-hooks"], "").well();
}
