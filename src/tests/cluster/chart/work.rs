//! The controller as the chart would run it: its words, its settings, the token of its account, a real API server and a real
//! database. Only the place of its files is another one.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use argus::source::cluster::object::FINALIZER;
use serde_json::{Value, json};

use super::{NO_DEFINITIONS, apply, documents, one, render};
use crate::cluster::document;
use crate::support::kubernetes::{Namespace, User, shared};
use crate::support::postgres::{Database, scratch};

/// A controller, and what it keeps. Both go with the test.
struct Running {
    child: Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The file that lets whoever holds the token of an account into the cluster.
fn way_in(namespace: &Namespace, account: &str) -> Value {
    let token = namespace.kubectl(&["create", "token", account]).well().out;
    let text = std::fs::read_to_string(shared().way_in(User::Nobody, None)).expect("a way in");
    let mut way_in: Value = serde_json::from_str(&text).expect("JSON");
    for user in way_in["users"].as_array_mut().expect("users") {
        user["user"] = json!({ "token": token.trim() });
    }
    way_in
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn what_is_applied_with_kubectl_becomes_rows_by_the_settings_and_the_rights_of_the_chart() {
    let [home, bound, other] = std::array::from_fn(|_| shared().namespace());
    let folder = scratch("release");
    std::fs::create_dir_all(&folder).expect("a folder");
    let kubeconfig = folder.join("kubeconfig");
    let values = json!({
        "config": { "kubernetes": { "name": "k", "kubeconfig": kubeconfig } },
        "kubernetes": { "namespaces": { (bound.name.clone()): ["acme"] } },
    });
    let rendered = render(&home.name, &values, &["--set", NO_DEFINITIONS]).well();
    apply(shared(), &rendered.out);
    std::fs::write(&kubeconfig, way_in(&home, "argus").to_string()).expect("a file");
    let objects = documents(&rendered.out);
    let settings = one(&objects, "ConfigMap")["data"]["argus.yaml"].as_str().expect("settings");
    std::fs::write(folder.join("argus.yaml"), settings).expect("a file");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Database::new());
    let log = folder.join("log");
    let mut argus = Command::new(env!("CARGO_BIN_EXE_argus"));
    argus.env_clear().env("ARGUS_DATABASE_URL", database.url.to_string()).env("HOME", &folder).stdin(Stdio::null());
    for word in
        one(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("words")
    {
        let word = word.as_str().expect("a word").replace("0.0.0.0:8080", "127.0.0.1:0");
        argus.arg(word.replace("/etc/argus/config", &folder.display().to_string()));
    }
    argus.stdout(Stdio::null()).stderr(std::fs::File::create(&log).expect("a log"));
    let running = Running { child: argus.spawn().expect("it runs"), folder };

    let members = json!([{ "user": "ada@acme.example", "role": "owner" }]);
    let organization =
        document("Organization", "acme", &json!({ "displayName": "Acme", "members": members })).to_string();
    for namespace in [&other, &bound] {
        namespace.kubectl_with(&["apply", "-f", "-"], &organization).well();
    }
    let ready = bound.kubectl(&["wait", "org/acme", "--for=condition=ready", "--timeout=60s"]);
    let said = std::fs::read_to_string(&log).expect("a log");
    assert!(ready.done, "{}\n{said}", ready.err);
    // It may do all that it wants to do.
    assert!(!said.contains("forbidden"), "{said}");
    let stored = bound.kubectl(&["get", "org", "acme", "-o", "json"]).well().json();
    assert_eq!(stored["metadata"]["finalizers"], json!([FINALIZER]));
    let elsewhere = other.kubectl(&["get", "org", "acme", "-o", "json"]).well().json();
    assert_eq!((&elsewhere["status"], &elsewhere["metadata"]["finalizers"]), (&Value::Null, &Value::Null));
    let events = bound.kubectl(&["get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reportingController}"]);
    assert!(events.well().out.contains("argus.io/controller"));
    drop(running);
    // Nobody takes it off any more.
    bound.kubectl(&["patch", "org", "acme", "--type=merge", "--patch", r#"{"metadata":{"finalizers":null}}"#]).well();
}
