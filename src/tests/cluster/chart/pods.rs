//! What runs: that it keeps to the level `restricted`, and that Argus takes the words and settings that it is started with.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{NO_DEFINITIONS, documents, everything, least, one, render, with};
use crate::support::kubernetes::{User, shared};
use crate::support::postgres::scratch;

/// A pod of the template of an object.
pub fn pod_of(object: &Value) -> Value {
    let template = &object["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = object["metadata"]["name"].clone();
    let mut spec = template["spec"].clone();
    // The class and the account are not there, and are not what is asked about.
    for absent in ["priorityClassName", "serviceAccountName"] {
        spec.as_object_mut().expect("a pod").remove(absent);
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn every_pod_keeps_to_the_restricted_level() {
    let namespace = shared().namespace();
    let level = "pod-security.kubernetes.io/enforce=restricted";
    shared().kubectl(User::Admin, &["label", "namespace", &namespace.name, level], "").well();
    let unsure = json!({ "podSecurityContext": { "runAsUser": null, "runAsGroup": null, "fsGroup": null } });
    let careless = json!({ "securityContext": { "allowPrivilegeEscalation": true } });
    let pods = |values: &Value| {
        let rendered = render(&namespace.name, &with(values.clone()), &["--set", NO_DEFINITIONS]).well();
        let objects = documents(&rendered.out);
        [one(&objects, "Deployment"), one(&objects, "Job")].map(pod_of)
    };
    let create = |pod: &Value| namespace.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
    for values in [json!({}), everything(&["acme-config"]), unsure] {
        for pod in pods(&values) {
            assert_eq!(create(&pod).well().err, "");
        }
    }
    for pod in pods(&careless) {
        create(&pod).refused("allowPrivilegeEscalation != false");
    }
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn argus_takes_the_settings_that_are_rendered_and_those_of_the_overlays() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rendered = [least(), everything(&["acme-config"])].map(|values| {
        let rendered = render("argus", &values, &["--set", NO_DEFINITIONS]).well();
        let objects = documents(&rendered.out);
        objects.iter().find_map(|object| object["data"]["argus.yaml"].as_str()).expect("settings").to_owned()
    });
    let overlays = ["development", "staging", "production"]
        .map(|name| std::fs::read_to_string(root.join(format!("charts/kustomize/{name}/settings.yaml"))).expect(name));
    let folder = scratch("settings");
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("argus.yaml");
    for settings in rendered.iter().chain(&overlays) {
        std::fs::write(&file, settings).expect("a file");
        let mut argus = Command::new(env!("CARGO_BIN_EXE_argus"));
        argus.arg("validate").arg(root.join("examples/acme")).arg("--config").arg(&file);
        let ran = argus.output().expect("it runs");
        assert!(ran.status.success(), "{settings}\n{}", String::from_utf8_lossy(&ran.stderr));
    }
    std::fs::remove_dir_all(&folder).expect("it goes");
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn other_settings_make_other_pods_and_the_same_make_none() {
    let template = |values: &Value| {
        let rendered = render("argus", &with(values.clone()), &["--set", NO_DEFINITIONS]).well();
        one(&documents(&rendered.out), "Deployment")["spec"]["template"].clone()
    };
    let none = template(&json!({}));
    assert_eq!(none, template(&json!({ "service": { "port": 80 } })));
    assert_ne!(none, template(&json!({ "config": everything(&[])["config"] })));
    let bound = |organization: &str| template(&json!({ "kubernetes": { "namespaces": { "a": [organization] } } }));
    assert_ne!(bound("acme"), bound("globex"));
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn pods_are_spread_among_their_own_unless_somebody_says_among_which() {
    let spread = |constraint: &Value| {
        let rendered = render("argus", &with(json!({ "topologySpreadConstraints": [constraint] })), &[]).well();
        let objects = documents(&rendered.out);
        let deployment = one(&objects, "Deployment");
        let found = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0].clone();
        (found, deployment["spec"]["selector"].clone())
    };
    let mut constraint = json!({ "maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule" });
    let (found, own) = spread(&constraint);
    constraint["labelSelector"] = own;
    assert_eq!(found, constraint);
    constraint["labelSelector"] = json!({ "matchLabels": { "example/heavy": "yes" } });
    assert_eq!(spread(&constraint).0, constraint);
}
