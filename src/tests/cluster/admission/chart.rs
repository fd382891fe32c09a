//! Admission as the chart switches it on: what is rendered is taken by an API server, and fits together.

use argus::model::kind::KINDS;
use argus::settings::Machine;
use argus::source::cluster::sort::Sort;
use serde_json::{Value, json};

use crate::support::kubernetes::{User, helm_alone, shared};
use crate::support::postgres::scratch;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/argus");

fn render(namespace: &str, values: &Value) -> crate::support::kubernetes::Ran {
    let arguments = ["template", "argus", CHART, "--namespace", namespace, "--set", "crds.install=false"];
    helm_alone(&[&arguments[..], &["--values", "-"]].concat(), &values.to_string())
}

fn documents(text: &str) -> Vec<Value> {
    let read = |text: &str| serde_yaml::from_str::<Value>(text).expect("YAML");
    text.split("\n---\n").map(read).filter(|document| !document.is_null()).collect()
}

/// The object of this kind whose name ends so.
fn one<'a>(documents: &'a [Value], kind: &str, end: &str) -> &'a Value {
    let is_it = |document: &&Value| {
        document["kind"] == kind && document["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(end))
    };
    documents.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {end}"))
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn one_value_brings_webhook_secret_rights_and_settings_that_fit_together() {
    let namespace = shared().namespace();
    let bound = json!({ (namespace.name.clone()): ["acme"] });
    let values = json!({ "kubernetes": { "namespaces": bound }, "admission": { "enabled": true, "timeout": "800ms" } });
    let rendered = render(&namespace.name, &values).well();
    let arguments = ["--namespace", &namespace.name, "create", "--dry-run=server", "--validate=strict", "-f", "-"];
    assert_eq!(shared().kubectl(User::Admin, &arguments, &rendered.out).well().err, "");
    let objects = documents(&rendered.out);
    // The settings are those that Argus reads.
    let folder = scratch("admission-chart");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = one(&objects, "ConfigMap", "argus-config")["data"]["argus.yaml"].as_str().expect("settings");
    std::fs::write(folder.join("argus.yaml"), text).expect("settings");
    let machine = Machine::read(&folder.join("argus.yaml")).expect("settings");
    std::fs::remove_dir_all(&folder).expect("it goes");
    let cluster = machine.kubernetes.expect("a cluster");
    cluster.check().expect("these settings are right");
    let admission = cluster.admission.expect("admission");
    let own = admission.self_signed.expect("self-made");
    let webhook = admission.webhook_name.expect("a webhook");
    // What they name is there, and may be read and changed.
    let service = one(&objects, "Service", "argus");
    assert_eq!((service["metadata"]["name"].as_str(), &*own.namespace), (Some(&*own.service_name), &*namespace.name));
    let port = json!(admission.listen.port());
    let ports = service["spec"]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|own| own["port"] == port && own["targetPort"] == "admission"), "{service}");
    let secret = one(&objects, "Secret", "admission");
    assert_eq!((secret["metadata"]["name"].as_str(), secret.get("data")), (Some(&*own.secret_name), None));
    let role = &one(&objects, "Role", "admission")["rules"][0];
    assert_eq!((&role["resourceNames"], &role["verbs"]), (&json!([own.secret_name]), &json!(["get", "update"])));
    let role = &one(&objects, "ClusterRole", "")["rules"];
    assert_eq!((&role[0]["resourceNames"], &role[0]["verbs"]), (&json!([webhook]), &json!(["get", "patch"])));
    assert_eq!(role.as_array().map(Vec::len), Some(1));
    // The webhook asks for what is followed, and for nothing else.
    let hook = &one(&objects, "ValidatingWebhookConfiguration", &webhook)["webhooks"][0];
    let client = &hook["clientConfig"]["service"];
    assert_eq!(
        (&client["name"], &client["namespace"], &client["path"], &client["port"]),
        (&json!(own.service_name), &json!(own.namespace), &json!("/admit"), &port)
    );
    assert_eq!(hook["namespaceSelector"]["matchExpressions"][0]["values"], json!([namespace.name]));
    let kinds = KINDS.iter().map(|kind| kind.plural.to_lowercase());
    let mut plurals: Vec<String> = kinds.chain([Sort::GitSource.plural()]).collect();
    plurals.sort();
    assert_eq!(hook["rules"][0]["resources"], json!(plurals));
    assert_eq!((&hook["failurePolicy"], &hook["sideEffects"]), (&json!("Ignore"), &json!("None")));
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn what_admission_cannot_be_is_refused() {
    let source = json!({ "name": "a", "git": { "url": "https://git.example/a.git" } });
    let config = json!({ "controller": { "sources": [source] } });
    let bound = json!({ "namespaces": { "team-a": ["acme"] } });
    for (values, words) in [
        (json!({ "config": config, "admission": { "enabled": true } }), "admission.enabled has nobody to answer"),
        (json!({ "kubernetes": bound, "admission": { "onFailure": "open" } }), "at '/admission/onFailure'"),
        (json!({ "kubernetes": bound, "admission": { "port": 443 } }), "at '/admission/port'"),
        (
            json!({ "kubernetes": bound, "config": { "kubernetes": { "admission": {} } } }),
            "config.kubernetes.admission comes from `admission`",
        ),
    ] {
        render("argus", &values).refused(words);
    }
}
