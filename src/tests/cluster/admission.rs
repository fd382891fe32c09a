//! Admission: an API server that asks a controller before it stores an object, and what people read of the answer.

mod certificates;
mod chart;
mod unknown;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use argus::source::cluster::sort::Sort;
use serde_json::{Value, json};

use super::{ROOT, document, over, resources};
use crate::support::git_http::base64;
use crate::support::kubernetes::{Namespace, Ran, User, shared};
use crate::support::postgres::{Database, scratch};
use crate::support::tls::{Authority, authority};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace, a database, controllers, and an API server that asks the first of them.
struct Gated {
    namespace: Namespace,
    database: Database,
    folder: PathBuf,
    controllers: Vec<Child>,
}

impl Gated {
    /// A controller at a new namespace, bound as this says, that shows a certificate from files and is asked.
    fn new(binding: &Value) -> Gated {
        Gated::with(binding, &json!({}), &[])
    }

    /// The same with more in the section of admission, and these policies.
    fn with(binding: &Value, admission: &Value, policies: &[(&str, &str)]) -> Gated {
        let mut gated = Gated::idle();
        gated.certify(authority());
        gated.set(binding, admission, policies);
        let port = gated.start();
        gated.ask(&at(port), Some(&authority().certificate));
        gated.until_it_can_tell();
        gated
    }

    /// Everything but a controller.
    fn idle() -> Gated {
        let namespace = shared().namespace();
        namespace.admit_argus();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let database = runtime.block_on(Database::new());
        let folder = scratch("admission");
        std::fs::create_dir_all(&folder).expect("a folder");
        Gated { namespace, database, folder, controllers: Vec::new() }
    }

    /// Puts a certificate of this authority into the files.
    fn certify(&self, authority: &Authority) {
        let issued = authority.issue(&["127.0.0.1"]);
        std::fs::write(self.folder.join("tls.key"), issued.key.serialize_pem()).expect("a key");
        std::fs::write(self.folder.join("tls.pem"), issued.certificate.pem()).expect("a certificate");
    }

    /// Writes the settings of the machine.
    fn set(&self, binding: &Value, admission: &Value, policies: &[(&str, &str)]) {
        let mut section = json!({ "listen": "127.0.0.1:0", "timeout": "8s" });
        if admission.get("selfSigned").is_none() {
            section["certificate"] = json!({ "certFile": "tls.pem", "keyFile": "tls.key" });
        }
        for (key, value) in admission.as_object().expect("a mapping") {
            section[key] = value.clone();
        }
        let kubeconfig = shared().way_in(User::Argus, None);
        let namespaces = json!({ self.namespace.name.as_str(): binding });
        let cluster = json!({ "name": "k", "kubeconfig": kubeconfig, "namespaces": namespaces, "admission": section });
        let mut settings = json!({ "kubernetes": cluster });
        if !policies.is_empty() {
            settings["policies"] = json!(self.folder.join("policies"));
            std::fs::create_dir_all(self.folder.join("policies")).expect("a folder");
        }
        for (name, text) in policies {
            std::fs::write(self.folder.join("policies").join(name), text).expect("a policy");
        }
        std::fs::write(self.folder.join("machine.yaml"), settings.to_string()).expect("settings");
    }

    /// Starts one more controller and gives the port on which it is asked.
    fn start(&mut self) -> u16 {
        let log = self.folder.join(format!("controller-{}.log", self.controllers.len()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_argus"));
        command.args(["controller", "--config", "machine.yaml", "--listen", "127.0.0.1:0"]);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["ARGUS_", "PG", "OTEL_"].iter().any(|head| name.starts_with(head)) {
                command.env_remove(name);
            }
        }
        command.env("ARGUS_ACTOR", "tester").env("ARGUS_DATABASE_URL", self.database.url.to_string());
        command.env("ARGUS_LOG", "warn,argus=info").current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&log).expect("a log"));
        self.controllers.push(command.spawn().expect("it runs"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(port) = port_of(&log, "/admit") {
                return port;
            }
            assert!(Instant::now() < deadline, "it does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has the API server ask for what happens in this namespace, and refuse what nobody answers.
    fn ask(&self, client: &Value, authority: Option<&str>) {
        let mut client = client.clone();
        if let Some(authority) = authority {
            client["caBundle"] = json!(base64(authority.as_bytes()));
        }
        let kinds = argus::model::kind::KINDS.iter().map(|kind| kind.plural.to_lowercase());
        let plurals: Vec<String> = kinds.chain([Sort::GitSource.plural()]).collect();
        let name = &self.namespace.name;
        let labels = json!({ "key": "kubernetes.io/metadata.name", "operator": "In", "values": [name] });
        let hook = json!({
            "name": format!("{name}.argus.example"),
            "clientConfig": client,
            "rules": [{ "apiGroups": ["argus.io"], "apiVersions": ["v1alpha1"], "resources": plurals,
                "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "Namespaced" }],
            "namespaceSelector": { "matchExpressions": [labels] },
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 10,
        });
        let hook = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": self.hook() }, "webhooks": [hook] });
        self.namespace.kubectl_with(&["apply", "-f", "-"], &hook.to_string()).well();
    }

    /// What the configuration of the webhook is called.
    fn hook(&self) -> String {
        format!("argus-{}", self.namespace.name)
    }

    /// Waits until the API server asks, and the answer is one.
    fn until_it_can_tell(&self) {
        let probe = document("Team", "probe", &json!({ "organization": "acme" })).to_string();
        self.until("it can tell", || {
            let ran = self.namespace.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe);
            ran.done && ran.err.contains("ARG1103")
        });
    }

    fn until(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> String {
        let logs = (0..8).map(|number| self.folder.join(format!("controller-{number}.log")));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).collect::<Vec<_>>().join("\n----\n")
    }

    /// What SQL says, a line per row.
    fn sql(&self, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", "-c", sql]).stdin(Stdio::null());
        let output = psql.envs(self.database.url.environment()).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// How many rows there are of all that an apply may write.
    fn rows(&self) -> String {
        let tables = ["organization", "member", "team", "applied", "audit", "run", "event"];
        let counts = tables.map(|table| format!("(SELECT count(*) FROM argus.{table})"));
        self.sql(&format!("SELECT concat_ws(',', {})", counts.join(", ")))
    }

    fn apply(&self, document: &Value) -> Ran {
        self.namespace.kubectl_with(&["apply", "--server-side", "-f", "-"], &document.to_string())
    }

    /// What would be answered, and nothing more.
    fn try_it(&self, document: &Value) -> Ran {
        self.namespace.kubectl_with(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &document.to_string())
    }

    fn wait(&self, what: &str) {
        let ran = self.namespace.kubectl(&["wait", what, "--for=condition=ready", "--timeout=150s"]);
        let all = || self.namespace.kubectl(&["get", "argus", "-o", "wide"]).out;
        assert!(ran.done, "{}\n{}\n{}", ran.err, all(), self.log());
    }

    /// The counters of the first controller.
    fn metric(&self, outcome: &str) -> f64 {
        let port = port_of(&self.folder.join("controller-0.log"), "metrics are served").expect("a port");
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it is asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let line = format!("argus_admission_requests_total{{outcome=\"{outcome}\"}} ");
        text.lines().find_map(|text| text.strip_prefix(line.as_str())?.parse().ok()).unwrap_or_default()
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        for controller in &mut self.controllers {
            controller.kill().expect("it is killed");
            controller.wait().expect("it ends");
        }
        self.namespace.kubectl(&["delete", "validatingwebhookconfiguration", &self.hook(), "--ignore-not-found"]);
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The port in the line of a log that holds these words.
fn port_of(log: &std::path::Path, words: &str) -> Option<u16> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let line = text.lines().find(|line| line.contains(words) && line.contains("127.0.0.1:"))?;
    let digits: String = line.rsplit_once("127.0.0.1:")?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Where the API server reaches a controller.
fn at(port: u16) -> Value {
    json!({ "url": format!("https://127.0.0.1:{port}/admit") })
}

fn organization(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let owner = json!([{ "user": "ada@acme.example", "role": "owner" }]);
    spec.as_object_mut().expect("a mapping").entry("members").or_insert(owner);
    document("Organization", "acme", &spec)
}

fn team(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["organization"] = json!("acme");
    document("Team", name, &spec)
}

/// A policy that denies teams of a colour, and holds those of another.
const COLOURS: &str = r#"package argus.colours

# METADATA
# title: No red teams
# custom:
#   id: no-red
#   severity: high
#   remediation: paint it green
deny_red contains finding if {
	some change in input.changes
	change.kind == "Team"
	change.after.displayName == "red"
	finding := {"msg": sprintf("the team %s is red", [change.name]), "subject": sprintf("acme/Team/%s", [change.name])}
}

# METADATA
# title: Yellow teams
# custom:
#   id: yellow
#   severity: low
hold_yellow contains "yellow teams are looked at" if {
	some change in input.changes
	change.after.displayName == "yellow"
}

# METADATA
# title: Blue teams
# custom:
#   id: blue
#   severity: low
warn_blue contains "blue is no colour for a team" if {
	some change in input.changes
	change.after.displayName == "blue"
}
"#;

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_is_right_passes_what_refers_to_nothing_yet_is_warned_of_and_nothing_is_written() {
    let gated = Gated::new(&json!(["acme"]));
    gated.apply(&organization(&json!({ "displayName": "Acme" }))).well();
    gated.wait("org/acme");
    let before = gated.rows();
    let good = gated.try_it(&team("core", &json!({ "displayName": "Core" }))).well();
    assert_eq!(good.err, "", "{}", gated.log());
    let dangling = gated.try_it(&team("core", &json!({ "parent": "engineering" }))).well();
    assert!(dangling.err.contains("Warning: ARG1102: `parent` names the team `engineering`"), "{}", dangling.err);
    // What is wrong with the object itself is refused, with what to do.
    let wrong = organization(&json!({ "settings": { "password": "hunter22hunter22" } }));
    let refused = gated.try_it(&wrong).refused("ARG1038");
    assert!(!refused.err.contains("hunter22"), "{}", refused.err);
    assert_eq!(gated.rows(), before);
    assert!(gated.metric("allowed") >= 2.0 && gated.metric("warned") >= 1.0 && gated.metric("refused") == 1.0);
    // Whatever says nothing new is not looked at: neither labels nor what Argus itself writes.
    let passed = gated.metric("passed");
    gated.namespace.kubectl(&["label", "org", "acme", "seen=yes"]).well();
    gated.namespace.kubectl(&["annotate", "org", "acme", "argus.io/requestedAt=now"]).well();
    assert!(gated.metric("passed") >= passed + 2.0);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn policies_refuse_hold_and_warn_and_only_what_is_added_counts() {
    let gated = Gated::with(&json!(["acme"]), &json!({}), &[("colours.rego", COLOURS)]);
    gated.apply(&organization(&json!({}))).well();
    gated.wait("org/acme");
    let before = gated.rows();
    let refused = gated.try_it(&team("core", &json!({ "displayName": "red" }))).refused("ARG3101");
    assert!(refused.err.contains("the team core is red; paint it green"), "{}", refused.err);
    let held = gated.try_it(&team("core", &json!({ "displayName": "yellow" }))).well();
    assert!(held.err.contains("yellow teams are looked at; it waits: needs 1 person"), "{}", held.err);
    let warned = gated.try_it(&team("core", &json!({ "displayName": "blue" }))).well();
    assert!(warned.err.contains("blue is no colour for a team"), "{}", warned.err);
    assert_eq!(gated.rows(), before);
    // One that is denied already keeps nobody else from writing, nor from mending it.
    gated.namespace.kubectl(&["delete", "validatingwebhookconfiguration", &gated.hook()]).well();
    gated.apply(&team("web", &json!({ "displayName": "red" }))).well();
    gated.apply(&team("ops", &json!({ "displayName": "red" }))).well();
    gated.until("both are denied", || {
        gated.namespace.kubectl(&["get", "teams", "-o", "json"]).out.matches("\"Denied\"").count() >= 2
    });
    let port = port_of(&gated.folder.join("controller-0.log"), "/admit").expect("a port");
    gated.ask(&at(port), Some(&authority().certificate));
    gated.until("it is asked again", || !gated.try_it(&team("core", &json!({ "displayName": "red" }))).done);
    let mended = gated.try_it(&team("web", &json!({ "displayName": "green" }))).well();
    assert!(mended.err.contains("the team ops is red (as before)"), "{}", mended.err);
    let other = gated.try_it(&team("core", &json!({ "displayName": "green" }))).well();
    assert!(other.err.contains("(as before)"), "{}", other.err);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_guards_hold_or_brakes_stop_is_let_through_and_said_to_wait() {
    let gated = Gated::new(&json!(["acme"]));
    let people = ["ada", "bob", "cleo", "dan", "eve", "fay", "gus", "hal"];
    let members = |some: &[&str]| -> Value {
        some.iter().map(|name| json!({ "user": format!("{name}@acme.example"), "role": "owner" })).collect()
    };
    gated.apply(&organization(&json!({ "members": members(&people) }))).well();
    gated.wait("org/acme");
    let few = gated.try_it(&organization(&json!({ "members": members(&people[..2]) }))).well();
    assert!(few.err.contains("ARG3001") && few.err.contains("it waits: needs 1 person"), "{}", few.err);
    let deleted = gated.namespace.kubectl(&["delete", "org", "acme", "--dry-run=server"]).well();
    assert!(deleted.err.contains("ARG2002") && deleted.err.contains("it waits"), "{}", deleted.err);
    let source = format!("k-{}", gated.namespace.name);
    let mut suspend = Command::new(env!("CARGO_BIN_EXE_argus"));
    suspend.args(["suspend", "acme", "--source", &source, "--reason", "inventory", "--for", "1h"]);
    suspend.env("ARGUS_DATABASE_URL", gated.database.url.to_string()).env("ARGUS_ACTOR", "tester");
    let suspend = suspend.output().expect("it runs");
    assert!(suspend.status.success(), "{}", String::from_utf8_lossy(&suspend.stderr));
    let stopped = gated.try_it(&team("core", &json!({}))).well();
    assert!(stopped.err.contains("ARG3203") && stopped.err.contains("it waits"), "{}", stopped.err);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_namespace_that_only_observes_says_so() {
    let gated = Gated::new(&json!({ "organizations": ["acme"], "mode": "observe" }));
    let observed = gated.try_it(&organization(&json!({}))).well();
    assert!(observed.err.contains("ARG3201"), "{}", observed.err);
    assert_eq!(gated.sql("SELECT count(*) FROM argus.organization"), "0");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_was_wrong_before_can_be_mended_piece_by_piece() {
    let mut gated = Gated::idle();
    gated.certify(authority());
    gated.set(&json!(["acme"]), &json!({}), &[]);
    // These came while nobody was asked.
    let secret =
        json!({ "settings": { "password": "hunter22hunter22" }, "features": { "apiKey": "s3cr3ts3cr3ts3cr3t" } });
    gated.apply(&organization(&secret)).well();
    gated.apply(&team("core", &json!({ "parent": "nobody" }))).well();
    let port = gated.start();
    gated.ask(&at(port), Some(&authority().certificate));
    gated.until("it is asked", || {
        let other = organization(&json!({ "displayName": "x", "settings": { "token": "hunter22hunter22" } }));
        gated.try_it(&other).err.contains("denied the request")
    });
    let half = json!({ "settings": {}, "features": { "apiKey": "s3cr3ts3cr3ts3cr3t" } });
    let half = gated.apply(&organization(&half)).well();
    assert!(half.err.contains("ARG1038") && half.err.contains("(as before)"), "{}", half.err);
    let whole = gated.apply(&organization(&json!({}))).well();
    assert!(whole.err.contains("ARG1102") && whole.err.contains("(as before)"), "{}", whole.err);
    let end = gated.apply(&team("core", &json!({}))).well();
    assert!(!end.err.contains("ARG1"), "{}", end.err);
    gated.wait("org/acme");
    gated.wait("team/core");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn an_object_for_an_organization_of_others_is_refused_and_one_where_nobody_looks_is_warned_of() {
    let gated = Gated::new(&json!(["acme"]));
    let member = json!({ "organization": "globex", "user": "mallory@evil.example", "role": "owner" });
    let refused = gated.apply(&document("Member", "mallory", &member)).refused("ARG1913");
    assert!(refused.err.contains("is not bound to the organization `globex`"), "{}", refused.err);
    gated.apply(&document("Organization", "globex", &json!({}))).refused("ARG1913");
    let renamed = json!({ "argus.io/previous-name": "globex" });
    let mut takes = organization(&json!({}));
    takes["metadata"]["annotations"] = renamed;
    gated.apply(&takes).refused("ARG1913");
    // What another source owns.
    let file = organization(&json!({ "displayName": "Acme" })).to_string();
    std::fs::write(gated.folder.join("acme.json"), file).expect("a file");
    let mut apply = Command::new(env!("CARGO_BIN_EXE_argus"));
    apply.args(["apply", "acme.json", "--source", "repo", "--auto-approve"]).current_dir(&gated.folder);
    apply.env("ARGUS_DATABASE_URL", gated.database.url.to_string()).env("ARGUS_ACTOR", "tester");
    let applied = apply.output().expect("it runs");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let refused = gated.apply(&organization(&json!({ "displayName": "Mine" }))).refused("ARG2001");
    assert!(refused.err.contains("`repo`"), "{}", refused.err);
    // A namespace that the webhook asks for and nobody follows.
    gated.set(&json!(["acme"]), &json!({}), &[]);
    let settings = std::fs::read_to_string(gated.folder.join("machine.yaml")).expect("settings");
    let elsewhere = shared().namespace();
    elsewhere.admit_argus();
    let settings = settings.replace(&format!("\"{}\":", gated.namespace.name), &format!("\"{}\":", elsewhere.name));
    std::fs::write(gated.folder.join("machine.yaml"), settings).expect("settings");
    let mut gated = gated;
    let port = gated.start();
    gated.ask(&at(port), Some(&authority().certificate));
    gated.until("the other one is asked", || {
        gated.try_it(&document("Organization", "globex", &json!({}))).err.contains("Warning: ARG1921")
    });
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_example_is_applied_in_one_go() {
    let binding = json!({ "organizations": ["acme", "globex"], "tiers": true, "secretNamespaces": ["*"] });
    let mut gated = Gated::idle();
    gated.certify(authority());
    gated.set(&binding, &json!({}), &[]);
    let port = gated.start();
    gated.ask(&at(port), Some(&authority().certificate));
    gated.until_it_can_tell();
    let files = resources(&PathBuf::from(ROOT).join("examples/acme"));
    over(&gated.namespace, &["apply"], &files).well();
    gated.wait("org/acme");
    gated.wait("org/globex");
    // Once more, in the other order: nothing has changed, and nothing is told.
    let files: Vec<PathBuf> = files.into_iter().rev().collect();
    let again = over(&gated.namespace, &["apply"], &files).well();
    assert_eq!(again.err, "");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_repository_that_a_namespace_may_not_name_is_refused() {
    let bound = json!({ "names": ["team-*"], "urls": ["https://git.example/acme/*"], "secrets": ["token"] });
    let gated = Gated::new(&json!({ "organizations": ["acme"], "gitSources": bound }));
    let source = |more: &Value| {
        let mut spec = json!({ "url": "https://git.example/acme/config.git" });
        spec.as_object_mut().expect("a mapping").extend(more.as_object().expect("a mapping").clone());
        let document = document("GitSource", "team-acme", &spec).to_string();
        gated.namespace.kubectl_with(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &document)
    };
    assert!(source(&json!({})).done);
    for (more, said) in [
        (json!({ "source": "production" }), "ARG1913"),
        (json!({ "url": "https://git.example/globex/config.git" }), "not bound to repositories at"),
        (json!({ "secretRef": { "name": "of-others" } }), "not bound to the Secret"),
    ] {
        let ran = source(&more);
        assert!(!ran.done && ran.err.contains(said), "{}", ran.err);
    }
}
