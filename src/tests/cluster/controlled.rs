//! The whole way: `kubectl apply`, `argus controller`, rows in PostgreSQL, and back to the object.

mod inside;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use argus::model::kind::KINDS;
use argus::source::cluster::object::FINALIZER;
use serde_json::{Value, json};

use super::{ROOT, document, over, resources};
use crate::support::kubernetes::{Namespace, Ran, User, shared};
use crate::support::kubernetes_proxy::{Fate, Proxy};
use crate::support::postgres::{Database, scratch};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace, a database, and a controller between them.
pub(super) struct Controlled {
    pub(super) namespace: Namespace,
    database: Database,
    folder: PathBuf,
    controllers: Vec<Child>,
}

impl Controlled {
    /// A controller at a new namespace, bound as this says.
    pub(super) fn new(binding: &Value) -> Controlled {
        let namespace = shared().namespace();
        namespace.admit_argus();
        Controlled::at(namespace, binding)
    }

    pub(super) fn at(namespace: Namespace, binding: &Value) -> Controlled {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let database = runtime.block_on(Database::new());
        let folder = scratch("controlled");
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut controlled = Controlled { namespace, database, folder, controllers: Vec::new() };
        controlled.bind(binding);
        controlled.start();
        controlled
    }

    /// Writes the settings of the machine.
    pub(super) fn bind(&self, binding: &Value) {
        let kubeconfig = shared().way_in(User::Argus, None);
        let namespaces = json!({ self.namespace.name.as_str(): binding });
        let settings = json!({ "kubernetes": { "name": "k", "kubeconfig": kubeconfig, "namespaces": namespaces } });
        std::fs::write(self.folder.join("machine.yaml"), settings.to_string()).expect("settings");
    }

    /// Changes the settings of the machine, for controllers that are started from now on.
    pub(super) fn set(&self, change: impl Fn(&mut Value)) {
        let file = self.folder.join("machine.yaml");
        let text = std::fs::read_to_string(&file).expect("settings");
        let mut settings: Value = serde_json::from_str(&text).expect("settings");
        change(&mut settings);
        std::fs::write(file, settings.to_string()).expect("settings");
    }

    /// Controllers that are started from now on reach the cluster through this proxy.
    pub(super) fn behind(&self, proxy: &Proxy) {
        let kubeconfig = shared().way_in(User::Argus, Some(&proxy.address));
        self.set(|settings| settings["kubernetes"]["kubeconfig"] = json!(kubeconfig));
    }

    /// Starts one more controller.
    pub(super) fn start(&mut self) {
        let log = self.folder.join(format!("controller-{}.log", self.controllers.len()));
        let mut command = self.argus(&["controller", "--config", "machine.yaml"]);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(log).expect("a log"));
        self.controllers.push(command.spawn().expect("it runs"));
    }

    /// Ends all controllers, at once.
    pub(super) fn kill(&mut self) {
        for mut controller in self.controllers.drain(..) {
            controller.kill().expect("it is killed");
            controller.wait().expect("it ends");
        }
    }

    pub(super) fn argus(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_argus"));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["ARGUS_", "PG", "OTEL_"].iter().any(|head| name.starts_with(head)) {
                command.env_remove(name);
            }
        }
        command.env("ARGUS_ACTOR", "tester").env("ARGUS_DATABASE_URL", self.database.url.to_string());
        command
    }

    /// What SQL says, a line per row.
    pub(super) fn sql(&self, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", "-c", sql]).stdin(Stdio::null());
        let output = psql.envs(self.database.url.environment()).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Waits until SQL says this.
    pub(super) fn until(&self, sql: &str, wanted: &str) {
        self.until_so(&format!("{sql} says {wanted}"), || self.sql(sql) == wanted);
    }

    pub(super) fn until_so(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so() {
            assert!(Instant::now() < deadline, "never: {what}\n{}\n{}", self.all(), self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn all(&self) -> String {
        self.namespace.kubectl(&["get", "argus", "-o", "wide"]).out
    }

    pub(super) fn log(&self) -> String {
        let logs = (0..8).map(|number| self.folder.join(format!("controller-{number}.log")));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).collect::<Vec<_>>().join("\n----\n")
    }

    /// Waits as people do.
    pub(super) fn wait(&self, what: &str, condition: &str) {
        let ran = self.namespace.kubectl(&["wait", what, &format!("--for=condition={condition}"), "--timeout=60s"]);
        assert!(ran.done, "{}\n{}\n{}", ran.err, self.all(), self.log());
    }

    /// Waits until `Ready` of an object has this reason.
    pub(super) fn reason(&self, what: &str, reason: &str) {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].reason}"#;
        self.until_so(&format!("{what} is {reason}"), || {
            self.namespace.kubectl(&["get", what, "-o", path]).out == reason
        });
    }

    pub(super) fn apply(&self, document: &Value) -> Ran {
        self.namespace.kubectl_with(&["apply", "--server-side", "-f", "-"], &document.to_string()).well()
    }

    pub(super) fn json(&self, what: &str) -> Value {
        self.namespace.kubectl(&["get", what, "-o", "json"]).well().json()
    }
}

impl Drop for Controlled {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn organization(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["members"] = json!([{ "user": "ada@acme.example", "role": "owner" }]);
    document("Organization", "acme", &spec)
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn the_example_is_applied_with_kubectl_and_becomes_rows() {
    let binding = json!({ "organizations": ["acme", "globex"], "tiers": true, "secretNamespaces": ["*"] });
    let controlled = Controlled::new(&binding);
    let files = resources(&PathBuf::from(ROOT).join("examples/acme"));
    over(&controlled.namespace, &["apply"], &files).well();
    controlled.wait("org/acme", "ready");
    controlled.namespace.kubectl(&["wait", "--for=condition=ready", "--timeout=60s", "argus", "--all"]).well();
    assert_eq!(controlled.sql("SELECT string_agg(name, ',' ORDER BY name) FROM argus.organization"), "acme,globex");
    // What became of it is what a directory of the same files would have become.
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    assert!(!files.is_empty());
    let source = format!("k-{}", controlled.namespace.name);
    let folder = format!("{ROOT}/examples/acme");
    let plan = controlled.argus(&["plan", &folder, "--source", &source, "--detailed-exitcode", "--full"]).output();
    let plan = plan.expect("it runs");
    let said = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(said.contains("No changes."), "{said}{}", String::from_utf8_lossy(&plan.stderr));
    let stored = controlled.json("org/acme");
    assert_eq!(stored["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(stored["status"]["observedGeneration"], stored["metadata"]["generation"]);
    assert_eq!(stored["status"]["lastAppliedRevision"], "generation:1");
    let rows = stored["status"]["inventory"].as_array().expect("an inventory").len();
    assert!(
        rows > 3 && stored["status"]["history"][0]["changes"].as_u64().is_some_and(|changes| changes > 3),
        "{stored}"
    );
    // At rest nothing is written any more.
    let version = |what: &str| controlled.json(what)["metadata"]["resourceVersion"].clone();
    let runs = || controlled.sql("SELECT count(*) FROM argus.run");
    let before = (version("org/acme"), version("org/globex"), runs());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((version("org/acme"), version("org/globex"), runs()), before, "{}", controlled.log());
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn an_edit_a_drift_and_a_deletion_reach_the_rows_and_the_object() {
    let controlled = Controlled::new(&json!(["acme"]));
    controlled.apply(&organization(&json!({ "displayName": "Acme" })));
    controlled.apply(&document("Team", "core", &json!({ "organization": "acme", "displayName": "Core" })));
    controlled.wait("org/acme", "ready");
    controlled.wait("team/core", "ready");
    let name = "SELECT display_name FROM argus.organization";
    assert_eq!(controlled.sql(name), "Acme");
    controlled.apply(&organization(&json!({ "displayName": "Acme Corporation" })));
    controlled.until(name, "Acme Corporation");
    controlled.until_so("its second generation is applied", || {
        controlled.json("org/acme")["status"]["lastAppliedRevision"] == "generation:2"
    });
    // Somebody writes the row behind its back.
    controlled.sql("UPDATE argus.team SET display_name = 'Mine'");
    controlled.until("SELECT display_name FROM argus.team", "Core");
    // The row goes before the object does.
    assert_eq!(controlled.json("team/core")["metadata"]["finalizers"], json!([FINALIZER]));
    controlled.namespace.kubectl(&["delete", "team", "core", "--timeout=60s"]).well();
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.team"), "0");
    let events = controlled.namespace.kubectl(&["events", "--for", "team/core"]).well().out;
    assert!(events.contains("ReconciliationSucceeded"), "{events}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn whoever_undoes_an_object_is_named_in_a_condition() {
    let controlled = Controlled::new(&json!(["acme"]));
    controlled.apply(&organization(&json!({ "displayName": "Acme" })));
    controlled.wait("org/acme", "ready");
    for _ in 0..3 {
        controlled.sql("UPDATE argus.organization SET display_name = 'Mine'");
        controlled.until("SELECT display_name FROM argus.organization", "Acme");
    }
    controlled.wait("org/acme", "fighting");
    controlled.reason("org/acme", "Fighting");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn an_organization_is_not_deleted_with_its_object_but_with_a_removal_or_let_go() {
    let controlled = Controlled::new(&json!(["acme"]));
    controlled.apply(&organization(&json!({})));
    controlled.wait("org/acme", "ready");
    controlled.namespace.kubectl(&["delete", "org", "acme", "--wait=false"]).well();
    controlled.reason("org/acme", "Held");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.organization"), "1");
    let target = json!({ "kind": "Organization", "name": "acme" });
    let removal = json!({ "organization": "acme", "target": target, "reason": "the company is gone" });
    controlled.apply(&document("Removal", "drop-acme", &removal));
    controlled.until("SELECT count(*) FROM argus.organization", "0");
    controlled.until_so("the object is gone", || !controlled.namespace.kubectl(&["get", "org", "acme"]).done);
    controlled.namespace.kubectl(&["delete", "removal", "drop-acme", "--timeout=60s"]).well();
    // The same with an object that leaves its rows to whoever comes next.
    let mut leaving = organization(&json!({ "displayName": "Acme" }));
    leaving["metadata"]["annotations"] = json!({ "argus.io/deletion-policy": "orphan" });
    controlled.apply(&leaving);
    controlled.wait("org/acme", "ready");
    controlled.namespace.kubectl(&["delete", "org", "acme", "--timeout=60s"]).well();
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.organization"), "1");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.member"), "1");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.applied"), "0");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_is_wrong_stalls_itself_and_blocks_its_organization_while_others_go_on() {
    let controlled = Controlled::new(&json!(["acme", "acme-eu"]));
    let member =
        |organization: &str| json!({ "organization": organization, "user": "ada@acme.example", "role": "owner" });
    controlled.apply(&document("Organization", "acme", &json!({ "settings": { "password": "hunter22" } })));
    controlled.apply(&document("Member", "ada", &member("acme")));
    controlled.apply(&document("Organization", "acme-eu", &json!({})));
    controlled.apply(&document("Member", "ada-eu", &member("acme-eu")));
    controlled.apply(&document("Member", "mallory", &member("globex")));
    controlled.wait("org/acme-eu", "ready");
    controlled.wait("member.argus.io/ada-eu", "ready");
    controlled.reason("org/acme", "InvalidManifest");
    controlled.reason("member.argus.io/ada", "OrganizationBlocked");
    controlled.reason("member.argus.io/mallory", "NotBound");
    controlled.wait("org/acme", "stalled");
    assert!(!controlled.json("argus").to_string().contains("\"message\":\"hunter22"));
    assert!(!controlled.log().contains("hunter22"), "{}", controlled.log());
    assert_eq!(controlled.sql("SELECT string_agg(name, ',') FROM argus.organization"), "acme-eu");
    // Nothing of it was ever applied, and nothing holds it back.
    controlled.namespace.kubectl(&["delete", "member.argus.io/mallory", "org/acme", "--timeout=60s"]).well();
    controlled.apply(&document("Organization", "acme", &json!({})));
    controlled.wait("org/acme", "ready");
    controlled.wait("member.argus.io/ada", "ready");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_another_source_owns_is_refused_and_names_it() {
    let controlled = Controlled::new(&json!(["acme"]));
    let file = organization(&json!({ "displayName": "Acme" })).to_string();
    std::fs::write(controlled.folder.join("acme.json"), file).expect("a file");
    let applied =
        controlled.argus(&["apply", "acme.json", "--source", "repo", "--auto-approve"]).output().expect("it runs");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    controlled.apply(&organization(&json!({ "displayName": "Mine" })));
    controlled.reason("org/acme", "OwnedByAnotherSource");
    let conditions = controlled.json("org/acme")["status"]["conditions"].to_string();
    assert!(conditions.contains("`repo`"), "{conditions}");
    assert_eq!(controlled.sql("SELECT display_name FROM argus.organization"), "Acme");
    controlled.namespace.kubectl(&["delete", "org", "acme", "--timeout=60s"]).well();
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_happens_while_nobody_is_there_is_made_up_for_and_two_do_the_work_of_one() {
    let mut controlled = Controlled::new(&json!(["acme"]));
    controlled.apply(&organization(&json!({ "displayName": "Acme" })));
    controlled.apply(&document("Team", "core", &json!({ "organization": "acme" })));
    controlled.wait("team/core", "ready");
    controlled.kill();
    controlled.namespace.kubectl(&["delete", "team", "core", "--wait=false"]).well();
    controlled.apply(&organization(&json!({ "displayName": "Acme Corporation" })));
    controlled.start();
    controlled.start();
    controlled.until("SELECT display_name FROM argus.organization", "Acme Corporation");
    controlled.until("SELECT count(*) FROM argus.team", "0");
    controlled.until_so("the object is gone", || !controlled.namespace.kubectl(&["get", "team", "core"]).done);
    for number in 0..5 {
        controlled.apply(&organization(&json!({ "displayName": format!("Acme {number}") })));
    }
    controlled.until("SELECT display_name FROM argus.organization", "Acme 4");
    controlled.wait("org/acme", "ready");
    // One whose finalizer somebody takes off by force is gone without a word; its rows follow, once the server confirms it.
    controlled.apply(&document("Team", "lost", &json!({ "organization": "acme" })));
    controlled.wait("team/lost", "ready");
    controlled.kill();
    let none = r#"{"metadata":{"finalizers":null}}"#;
    controlled.namespace.kubectl(&["patch", "team", "lost", "--type=merge", "-p", none]).well();
    controlled.namespace.kubectl(&["delete", "team", "lost"]).well();
    controlled.start();
    controlled.until("SELECT count(*) FROM argus.team", "0");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_namespace_that_only_observes_reports_and_one_that_is_bound_no_longer_deletes_nothing() {
    let mut controlled = Controlled::new(&json!({ "organizations": ["acme"], "mode": "observe" }));
    controlled.apply(&organization(&json!({})));
    controlled.reason("org/acme", "Observed");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.organization"), "0");
    controlled.kill();
    controlled.bind(&json!(["acme"]));
    controlled.start();
    controlled.wait("org/acme", "ready");
    controlled.kill();
    controlled.bind(&json!(["other"]));
    controlled.start();
    controlled.reason("org/acme", "NotBound");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.organization"), "1");
    // It still stands for rows, so it is still held back.
    controlled.namespace.kubectl(&["delete", "org", "acme", "--wait=false"]).well();
    controlled.kill();
    controlled.bind(&json!(["acme"]));
    controlled.start();
    controlled.reason("org/acme", "Held");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.organization"), "1");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_rename_carries_the_row_on_and_what_guards_and_policies_say_is_told() {
    let mut controlled = Controlled::new(&json!(["acme", "acme-new"]));
    controlled.apply(&organization(&json!({ "teams": [{ "name": "core" }] })));
    controlled.wait("org/acme", "ready");
    let id = controlled.sql("SELECT id FROM argus.organization");
    let mut renamed = organization(&json!({ "name": "acme-new", "teams": [{ "name": "core" }] }));
    renamed["metadata"]["annotations"] = json!({ "argus.io/previous-name": "acme" });
    controlled.apply(&renamed);
    controlled.until("SELECT name FROM argus.organization", "acme-new");
    assert_eq!(controlled.sql("SELECT id FROM argus.organization"), id);
    controlled.reason("org/acme", "ReconciliationSucceeded");
    // A policy of the machine that nothing gets past.
    controlled.kill();
    let policies = controlled.folder.join("policies");
    std::fs::create_dir_all(&policies).expect("a folder");
    let rule = "package argus.rules\n\n# METADATA\n# title: No more teams\n# custom:\n#   id: no-teams\ndeny contains msg if {\n\
                \tsome change in input.changes\n\tchange.kind == \"Team\"\n\tmsg := \"no more teams\"\n}\n";
    std::fs::write(policies.join("teams.rego"), rule).expect("a policy");
    controlled.set(|settings| settings["policies"] = json!("policies"));
    controlled.start();
    controlled.apply(&document("Team", "web", &json!({ "organization": "acme-new" })));
    controlled.reason("team/web", "Denied");
    controlled.wait("team/web", "stalled");
    let conditions = controlled.json("team/web")["status"]["conditions"].to_string();
    assert!(conditions.contains("no more teams"), "{conditions}");
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.team"), "1");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_replica_that_hears_nothing_more_does_not_bring_back_what_it_heard_last() {
    let mut controlled = Controlled::new(&json!(["acme"]));
    controlled.apply(&organization(&json!({ "displayName": "Acme" })));
    controlled.apply(&document("Team", "core", &json!({ "organization": "acme", "displayName": "Core" })));
    controlled.wait("team/core", "ready");
    // Another replica comes to know all of that; then its connections go dead, and nobody tells it.
    let proxy = Proxy::before(shared());
    controlled.behind(&proxy);
    controlled.start();
    let watches = || proxy.asked().iter().filter(|asked| asked.target.contains("watch=true")).count();
    controlled.until_so("all is followed", || watches() >= KINDS.len());
    proxy.freeze();
    for number in 0..5 {
        controlled.apply(&organization(&json!({ "displayName": format!("Acme {number}") })));
        controlled.until("SELECT display_name FROM argus.organization", &format!("Acme {number}"));
        // Work that anybody may take up; not so often that it becomes a fight.
        if number < 2 {
            controlled.sql(&format!("UPDATE argus.team SET display_name = 'Mine {number}'"));
            controlled.until("SELECT display_name FROM argus.team", "Core");
        }
    }
    controlled.namespace.kubectl(&["delete", "team", "core", "--timeout=60s"]).well();
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.team"), "0");
    let written = "SELECT count(*) FROM argus.audit WHERE kind = 'Organization' AND organization = 'acme'";
    assert_eq!(controlled.sql(written), "6", "{}", controlled.log());
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_could_not_be_told_is_told_later() {
    let namespace = shared().namespace();
    namespace.admit_argus();
    let proxy = Proxy::before(shared());
    let failed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = failed.clone();
    proxy.rule(move |asked| {
        let status = asked.method == "PATCH" && asked.target.contains("/status");
        match status && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 1 {
            true => Fate::Answer(500, "x-test: 1", "no".into()),
            false => Fate::Pass,
        }
    });
    let mut controlled = Controlled::at(namespace, &json!(["acme"]));
    controlled.kill();
    controlled.behind(&proxy);
    controlled.start();
    controlled.apply(&organization(&json!({})));
    controlled.wait("org/acme", "ready");
    assert!(failed.load(std::sync::atomic::Ordering::SeqCst) > 1);
    assert_eq!(controlled.sql("SELECT count(*) FROM argus.organization"), "1");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_controller_that_is_killed_again_and_again_ends_where_one_would_that_never_was() {
    let mut controlled = Controlled::new(&json!(["acme"]));
    controlled.apply(&organization(&json!({})));
    controlled.wait("org/acme", "ready");
    let team = |number: usize, name: &str| {
        document("Team", &format!("team-{number}"), &json!({ "organization": "acme", "displayName": name }))
    };
    for round in 0..12_usize {
        for number in 0..3 {
            controlled.apply(&team(3 * round + number, "new"));
        }
        if round > 0 {
            controlled.apply(&team(3 * round - 3, "edited"));
            let going = format!("team-{}", 3 * round - 2);
            controlled.namespace.kubectl(&["delete", "team", &going, "--wait=false"]).well();
        }
        // Each time a little later in what it does.
        std::thread::sleep(Duration::from_millis(60 * round as u64));
        controlled.kill();
        controlled.start();
    }
    let wanted: Vec<String> =
        (0..36).filter(|number| number % 3 != 1 || *number == 34).map(|number| format!("team-{number}")).collect();
    let mut sorted = wanted.clone();
    sorted.sort();
    controlled.until("SELECT string_agg(name, ',' ORDER BY name COLLATE \"C\") FROM argus.team", &sorted.join(","));
    controlled.until("SELECT count(*) FROM argus.team WHERE display_name = 'edited'", "11");
    let teams = || {
        let listed = controlled.json("teams.argus.io");
        let names = listed["items"].as_array().expect("teams").iter().map(|one| one["metadata"]["name"].clone());
        names.collect::<Vec<_>>().len()
    };
    controlled.until_so("those that were deleted are gone", || teams() == wanted.len());
    controlled.namespace.kubectl(&["wait", "--for=condition=ready", "--timeout=60s", "argus", "--all"]).well();
    // Nothing was made or deleted twice.
    let made = "SELECT count(*) FROM argus.audit WHERE kind = 'Team' AND action = 'insert' AND relation = 'team'";
    assert!(controlled.sql(made).parse::<usize>().expect("a number") <= 36, "{}", controlled.sql(made));
    let verified = controlled.argus(&["audit", "verify"]).output().expect("it runs");
    assert!(verified.status.code().is_some_and(|code| code != 7), "{verified:?}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn rights_that_are_missing_stall_the_namespace_and_the_doctor_says_which() {
    let namespace = shared().namespace();
    let controlled = Controlled::at(namespace, &json!(["acme"]));
    controlled.apply(&organization(&json!({})));
    let source = format!("k-{}", controlled.namespace.name);
    let run = |arguments: &[&str]| {
        let ran = controlled.argus(&[arguments, &["--config", "machine.yaml"]].concat()).output().expect("it runs");
        format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
    };
    controlled.until("SELECT failures > 0 FROM argus.source", "t");
    let listed = run(&["get", "sources", "-o", "wide"]);
    assert!(listed.contains(&source) && listed.contains("Stalled"), "{listed}");
    let doctor = run(&["doctor"]);
    assert!(doctor.contains("BAD") && doctor.contains("forbidden") && doctor.contains("needs `get`"), "{doctor}");
    controlled.namespace.admit_argus();
    controlled.wait("org/acme", "ready");
    let doctor = run(&["doctor"]);
    assert!(doctor.contains(&format!("the namespace `{}` can be followed", controlled.namespace.name)), "{doctor}");
    // Asked for as people ask for any source.
    let asked = run(&["reconcile", &source, "--wait", "--timeout", "60s"]);
    assert!(asked.contains(&format!("Reconciled {source}")), "{asked}");
}
