//! The overlays in `charts/kustomize`: what they are made of comes from the chart, and an API server takes them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::pods::pod_of;
use super::{apply, copy, documents, names, one, render};
use crate::support::kubernetes::{User, shared};
use crate::support::postgres::scratch;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/kustomize");

/// What is rendered from the chart: the file, and the kinds that stand in it. The settings of the machine are an overlay's own.
const RENDERED: &[(&str, &[&str])] = &[
    ("base/argus.yaml", &["Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"]),
    ("migrate/job.yaml", &["Job"]),
    ("bound/role.yaml", &["Role", "RoleBinding"]),
];

/// The text of a file that is rendered from the chart.
fn rendered(kinds: &[&str], objects: &[Value]) -> String {
    let head = "# Rendered from charts/argus; `make manifests` writes it anew.\n";
    let chosen = objects.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
    chosen.fold(head.to_owned(), |text, object| {
        let mut object = object.clone();
        without_helm(&mut object);
        format!("{text}---\n{}", serde_yaml::to_string(&object).expect("YAML"))
    })
}

/// Takes away what is about Helm, and about settings that come from elsewhere. The Job runs in whatever namespace it is given
/// to; all else has the namespace `argus`, which an overlay changes wherever it is named.
fn without_helm(object: &mut Value) {
    let is_job = object["kind"] == "Job";
    let about_helm = ["app.kubernetes.io/managed-by", "checksum/config"];
    // What becomes empty goes with what it stands in: the inner ones first.
    for pointer in [
        "/metadata/labels",
        "/metadata/annotations",
        "/metadata",
        "/spec/template/metadata/labels",
        "/spec/template/metadata/annotations",
        "/spec/template/metadata",
    ] {
        if let Some(fields) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.retain(|name, value| {
                let goes = name.starts_with("helm.sh/")
                    || about_helm.contains(&name.as_str())
                    || (is_job && name == "namespace")
                    || value.as_object().is_some_and(serde_json::Map::is_empty);
                !goes
            });
        }
    }
    // Custom resources are watched where an overlay says so.
    if let Some(token) = object.pointer_mut("/spec/template/spec/automountServiceAccountToken") {
        *token = json!(false);
    }
}

/// What Kustomize makes of a folder.
fn built(name: &str) -> String {
    let folder: PathBuf = Path::new(FOLDER).join(name);
    shared().kubectl(User::Admin, &["kustomize", &folder.display().to_string()], "").well().out
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn what_kustomize_reads_is_rendered_from_the_chart() {
    let values = std::fs::read_to_string(Path::new(FOLDER).join("values.yaml")).expect("values");
    let values: Value = serde_yaml::from_str(&values).expect("YAML");
    let objects = documents(&render("argus", &values, &["--set", super::NO_DEFINITIONS]).well().out);
    let mut stale = Vec::new();
    for (name, kinds) in RENDERED {
        let path = Path::new(FOLDER).join(name);
        let wanted = rendered(kinds, &objects);
        if std::env::var_os("ARGUS_UPDATE").is_some() {
            std::fs::write(&path, &wanted).expect("a file");
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != wanted {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "out of date: {stale:?}; run `make manifests` and look at what it changes");
    // Nothing of the chart is forgotten: what stands in no file is the settings.
    let known: Vec<&str> = RENDERED.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
    let others: Vec<&Value> =
        objects.iter().filter(|object| !known.iter().any(|kind| object["kind"] == *kind)).collect();
    assert_eq!(others.iter().map(|object| &object["metadata"]["name"]).collect::<Vec<_>>(), ["argus-config"]);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn every_overlay_is_taken_and_keeps_to_the_level_of_its_namespace() {
    for (name, replicas, more) in [
        ("development", 1, &["PodDisruptionBudget argus", "Role argus", "RoleBinding argus"][..]),
        ("staging", 2, &["PodDisruptionBudget argus"]),
        ("production", 3, &["NetworkPolicy argus", "PodDisruptionBudget argus"]),
    ] {
        let text = built(name);
        let objects = documents(&text);
        let (definitions, own): (Vec<Value>, Vec<Value>) =
            objects.into_iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        assert_eq!(definitions.len(), argus::render::crds::all().len());
        let namespace = format!("argus-{name}");
        let config = one(&own, "ConfigMap")["metadata"]["name"].as_str().expect("a name").to_owned();
        assert!(config.starts_with("argus-config-"), "{config}");
        let mut expected = vec![
            format!("ConfigMap {config}"),
            "Deployment argus".to_owned(),
            format!("Namespace {namespace}"),
            "Service argus".to_owned(),
            "ServiceAccount argus".to_owned(),
        ];
        expected.extend(more.iter().map(|name| (*name).to_owned()));
        expected.sort();
        assert_eq!(names(&own), expected);
        let (first, rest): (Vec<&Value>, Vec<&Value>) = own.iter().partition(|object| object["kind"] == "Namespace");
        for part in [first, rest] {
            let text: String = part.iter().map(|object| format!("---\n{object}\n")).collect();
            apply(shared(), &text);
        }
        let deployment = one(&own, "Deployment");
        assert_eq!(deployment["spec"]["replicas"], replicas);
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].to_string();
        assert!(volumes.contains(&config), "{volumes}");
        let job = documents(&built("migrate"));
        for pod in [pod_of(deployment), pod_of(one(&job, "Job"))] {
            let create = ["--namespace", &namespace, "create", "--dry-run=server", "-f", "-"];
            assert_eq!(shared().kubectl(User::Admin, &create, &pod.to_string()).well().err, "");
        }
        let migrate = ["--namespace", &namespace, "apply", "--server-side", "-f", "-"];
        shared().kubectl(User::Admin, &migrate, &built("migrate")).well();
    }
    // The one that watches custom resources may, in its own namespace and in no other.
    let may = |namespace: &str| {
        let account = "--as=system:serviceaccount:argus-development:argus";
        let question = ["patch", "organizations.argus.io", "--subresource=status"];
        let arguments = [&["--namespace", namespace, "auth", "can-i", account][..], &question].concat();
        shared().kubectl(User::Admin, &arguments, "").out.trim() == "yes"
    };
    assert!(may("argus-development"));
    assert!(!may("argus-staging") && !may("default"));
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_overlays_that_the_documentation_shows_can_be_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/install.md")).expect("the page");
    let shown = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown: Vec<&str> = shown.filter(|text| text.contains("kind: Kustomization")).collect();
    let folder = scratch("kustomize");
    for part in ["argus/files", "kustomize"] {
        copy(&root.join("charts").join(part), &folder.join(part));
    }
    let built = |number: usize| {
        let own = folder.join(format!("kustomize/own-{number}"));
        std::fs::create_dir_all(&own).expect("a folder");
        std::fs::write(own.join("kustomization.yaml"), shown[number]).expect("a file");
        std::fs::write(own.join("settings.yaml"), "connections: 8\n").expect("a file");
        documents(&shared().kubectl(User::Admin, &["kustomize", &own.display().to_string()], "").well().out)
    };
    let (overlay, bound) = (built(0), built(1));
    assert_eq!(shown.len(), 2);
    std::fs::remove_dir_all(&folder).expect("it goes");
    let deployment = one(&overlay, "Deployment");
    let image = format!("registry.example/argus:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], image);
    assert_eq!(deployment["metadata"]["namespace"], "argus");
    assert_eq!(one(&bound, "Role")["metadata"]["namespace"], "acme-config");
    let binding = one(&bound, "RoleBinding");
    assert_eq!(binding["metadata"]["namespace"], "acme-config");
    assert_eq!(binding["subjects"], json!([{ "kind": "ServiceAccount", "name": "argus", "namespace": "argus" }]));
}
