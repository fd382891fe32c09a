//! A real API server: what it takes of the definitions in `crds`, what it refuses and shows; and Argus that follows it.
//!
//! `make e2e` builds the server and runs these; elsewhere they are listed as left out.

mod admission;
mod answered;
mod chart;
mod controlled;
mod differences;
mod faults;
mod followed;
mod random;
mod refused;
mod repositories;
mod shown;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use argus::model::finding::{Fault, Severity};
use argus::model::kind::{API_VERSION, KINDS};
use argus::render::crds;
use argus::source::manifest::read_file;
use serde_json::{Value, json};

use crate::support::kubernetes::{Namespace, shared};

/// The root of the repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What asks for a dry run that ends with what would be stored.
const TRY: &[&str] = &["create", "--dry-run=server", "-f"];

/// A document of a kind.
fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// What is wrong with the first document by itself, as Argus says it.
fn faults_of(text: &str, file: &str) -> Vec<String> {
    let reading = read_file(&Arc::from(file), text.as_bytes());
    let errors = reading.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let mut faults: Vec<String> = errors.map(|finding| finding.message.to_string()).collect();
    for resource in &reading.resources {
        let mut found: Vec<Fault> = Vec::new();
        (resource.kind().check)(resource, &mut found);
        faults.extend(found.iter().map(|fault| fault.message.to_string()));
    }
    faults
}

/// The files of a folder and of those within it that `kubectl` reads, but for the settings of the source.
fn resources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let is_read = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) && !name.starts_with("argus.");
        if path.is_dir() && !name.starts_with('.') && name != "policies" {
            found.extend(resources(&path));
        } else if path.is_file() && is_read {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Runs `kubectl` over files.
fn over(namespace: &Namespace, arguments: &[&str], files: &[PathBuf]) -> crate::support::kubernetes::Ran {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let files = files.iter().flat_map(|file| ["-f", file]);
    namespace.kubectl(&arguments.iter().copied().chain(files).collect::<Vec<_>>())
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn every_definition_is_established_with_a_structural_schema_and_its_names() {
    let namespace = shared().namespace();
    let listed = namespace.kubectl(&["get", "customresourcedefinitions", "-o", "json"]).well().json();
    // Other tests bring definitions of others.
    let is_own = |item: &&Value| item["spec"]["group"] == "argus.io";
    let items: Vec<&Value> = listed["items"].as_array().expect("items").iter().filter(is_own).collect();
    assert_eq!(items.len(), crds::all().len());
    for item in items {
        let conditions = item["status"]["conditions"].as_array().expect("conditions");
        let mut told: Vec<String> = conditions
            .iter()
            .map(|condition| format!("{}={}", condition["type"], condition["status"]).replace('"', ""))
            .collect();
        told.sort();
        // `NonStructuralSchema` would stand among them if anything were not structural.
        assert_eq!(told, ["Established=True", "NamesAccepted=True"], "{item}");
        let (wanted, accepted) = (&item["spec"]["names"], &item["status"]["acceptedNames"]);
        assert_eq!((&wanted["shortNames"], &wanted["categories"]), (&accepted["shortNames"], &accepted["categories"]));
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_example_of_every_kind_is_taken_and_comes_back_as_it_is() {
    let namespace = shared().namespace();
    for kind in KINDS {
        namespace.kubectl_with(&["create", "-f", "-"], kind.example).well();
        let written: Value = serde_yaml::from_str(kind.example).expect("YAML");
        let name = written["metadata"]["name"].as_str().expect("a name");
        let resource = format!("{}.argus.io/{name}", kind.plural.to_lowercase());
        let stored = namespace.kubectl(&["get", &resource, "-o", "json"]).well().json();
        assert_eq!(stored["spec"], written["spec"], "{}", kind.name);
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_source_that_the_documentation_shows_is_taken_with_what_it_leaves_out() {
    let namespace = shared().namespace();
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/kubernetes.md")).expect("the page");
    let example = page.split("```yaml\n").filter_map(|rest| rest.split("```").next());
    let example = { example }.find(|text| text.contains("kind: GitSource")).expect("an example");
    namespace.kubectl_with(&["create", "-f", "-"], example).well();
    let stored = namespace.kubectl(&["get", "gitsrc", "acme-config", "-o", "json"]).well().json();
    let mut expected: Value = serde_yaml::from_str(example).expect("YAML");
    for (name, usual) in [("interval", json!("5m")), ("timeout", json!("10m")), ("suspend", json!(false))] {
        expected["spec"][name] = usual;
    }
    assert_eq!(stored["spec"], expected["spec"]);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_example_of_an_organization_is_applied_by_the_server_and_by_the_client() {
    let files = resources(&Path::new(ROOT).join("examples/acme"));
    let documents: usize =
        files.iter().map(|file| std::fs::read_to_string(file).expect("a file").split("\n---\n").count()).sum();
    for arguments in [&["apply"][..], &["apply", "--server-side"]] {
        let namespace = shared().namespace();
        let applied = over(&namespace, arguments, &files).well();
        assert_eq!(applied.out.lines().count(), documents, "{applied:?}");
        let again = over(&namespace, arguments, &files).well();
        let settled = |line: &str| line.ends_with("unchanged") || line.ends_with("serverside-applied");
        assert!(again.out.lines().all(settled), "{again:?}");
        let listed = namespace.kubectl(&["get", "argus", "-o", "name"]).well();
        assert_eq!(listed.out.lines().count(), documents);
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn of_a_whole_folder_only_the_settings_of_the_source_are_refused() {
    let namespace = shared().namespace();
    let folder = Path::new(ROOT).join("examples/acme").display().to_string();
    let applied = namespace.kubectl(&["apply", "--recursive", "-f", &folder]);
    assert!(!applied.done);
    assert_eq!(applied.err.lines().count(), 1, "{applied:?}");
    assert!(applied.err.contains("argus.yaml") && applied.err.contains("kind not set"), "{applied:?}");
    let files = resources(&Path::new(ROOT).join("examples/acme"));
    let again = over(&namespace, &["apply"], &files).well();
    assert!(again.out.lines().all(|line| line.ends_with("unchanged")), "{again:?}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_the_reader_takes_is_taken() {
    let namespace = shared().namespace();
    let folder = Path::new(ROOT).join("src/tests/fixtures/good");
    for entry in std::fs::read_dir(folder).expect("fixtures") {
        let folder = entry.expect("an entry").path();
        // The document that names a namespace belongs into that one alone.
        let elsewhere = |file: &PathBuf| std::fs::read_to_string(file).expect("a file").contains("namespace: prod");
        let files: Vec<PathBuf> = resources(&folder).into_iter().filter(|file| !elsewhere(file)).collect();
        over(&namespace, &["create", "--dry-run=server"], &files).well();
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn null_empties_at_once_on_the_side_of_the_server_and_an_empty_list_on_that_of_the_client() {
    let members = json!([{ "user": "a@acme.example", "role": "owner" }]);
    let before = json!({ "displayName": "Acme", "labels": { "a": "b" }, "members": members });
    let applied = |arguments: &[&str], specs: &[&Value]| {
        let namespace = shared().namespace();
        for spec in specs {
            let text = document("Organization", "acme", spec).to_string();
            namespace.kubectl_with(&[arguments, &["-f", "-"]].concat(), &text).well();
        }
        namespace.kubectl(&["get", "org", "acme", "-o", "json"]).well().json()["spec"].clone()
    };
    let (server, client) = (&["apply", "--server-side"][..], &["apply"][..]);
    let nulls = json!({ "displayName": null, "labels": null, "members": null });
    assert_eq!(applied(server, &[&before, &nulls]), nulls);
    assert_eq!(applied(client, &[&before, &nulls]), json!({}));
    let empties = json!({ "labels": {}, "members": [] });
    assert_eq!(applied(client, &[&before, &empties]), empties);
    // The server takes the last item out of a list together with the list, and says that it is empty only then.
    assert_eq!(applied(server, &[&before, &empties]), json!({ "labels": null }));
    assert_eq!(applied(server, &[&before, &empties, &empties]), empties);
}
