//! Snapshots: a plan without a database is the plan with it, but for what nobody must see.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use argus::engine::picture::veil::Salt;
use argus::model::value::Value as Plain;
use serde_json::{Value, json};

use super::{ACME, Ran, World, bare, run};
use crate::support::keys::Key;

/// Two organizations of the source, of which people have also made things by hand; a third one of another source.
const SETUP: &str = "\
apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: acme
spec:
  displayName: Acme
  settings: {theme: dark, lines: 80}
  members:
    - user: ada@acme.example
      role: owner
    - user: bob@acme.example
      roles: [admin]
  teams:
    - name: core
      members: [{user: ada@acme.example}, {user: bob@acme.example}]
---
apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: globex
spec:
  displayName: Globex
  members:
    - user: hank@globex.example
      role: owner
";

/// What people do by hand. Nothing of it may be read from a snapshot but what is common.
const BY_HAND: &str = "
    BEGIN;
    UPDATE argus.organization SET billing_email = 'money@hidden.example', settings = settings || '{\"crater\": \"tycho\"}'
        WHERE name = 'acme';
    INSERT INTO argus.member (organization, email) VALUES ('acme', 'eve@hidden.example');
    INSERT INTO argus.project (organization, name, display_name) VALUES ('acme', 'farside', 'Far Hidden');
    INSERT INTO argus.member_role (organization, member, role) VALUES ('acme', 'eve@hidden.example', 'owner');
    INSERT INTO argus.team (organization, name, display_name) VALUES ('acme', 'moonbase', 'Moon Hidden');
    COMMIT";

impl Ran {
    /// Expects that the command line is not understood.
    fn refused(self) -> Ran {
        assert!(!matches!(self.code, Some(0) | None) && self.err.contains("Usage: argus"), "{self}");
        self
    }
}

impl World {
    /// A world in which all that was done, with another source beside.
    fn lived_in() -> World {
        let world = World::applied(SETUP);
        let other = world.path("other");
        std::fs::create_dir_all(&other).expect("a folder");
        let initech = SETUP.split("---").next().expect("a document").replace("acme", "initech");
        std::fs::write(other.join("o.yaml"), initech).expect("a file");
        std::fs::write(other.join("argus.yaml"), "source: other\n").expect("a file");
        world.argus(&["apply", "other", "--auto-approve"]).ends(0);
        std::fs::remove_dir_all(&other).expect("it can be removed");
        world.mallory("psql", BY_HAND);
        world
    }

    pub fn snapshot(&self, options: &[&str]) -> String {
        let arguments = [&["snapshot", "-o", "s.snapshot", "--unsigned"], options].concat();
        self.argus(&arguments).ends(0);
        std::fs::read_to_string(self.path("s.snapshot")).expect("a snapshot")
    }

    /// Plans with the snapshot, far from any database.
    pub fn plan_with(&self, options: &[&str]) -> Ran {
        let mut command = bare(&[&["plan", "--snapshot", "s.snapshot", "--snapshot-unsigned"], options].concat());
        // Whoever asks for a database here gets none.
        command.current_dir(&self.root).env("ARGUS_DATABASE_URL", "postgres://argus@127.0.0.1:1/none");
        run(command)
    }
}

/// All texts and numbers of a document.
fn leaves(of: &Value, into: &mut Vec<Value>) {
    match of {
        Value::String(_) | Value::Number(_) => into.push(of.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Value::Object(pairs) => pairs.iter().for_each(|(key, value)| {
            into.push(Value::from(key.as_str()));
            leaves(value, into);
        }),
        _ => {}
    }
}

/// The document with hidden values read again by somebody who knows them all.
fn lifted(of: &Value, by: &BTreeMap<String, Value>) -> Value {
    let text = |text: &str| {
        by.iter().fold(text.to_owned(), |text, (hidden, known)| {
            text.replace(hidden.as_str(), known.as_str().unwrap_or(&known.to_string()))
        })
    };
    match of {
        Value::String(hidden) => by.get(hidden).cloned().unwrap_or_else(|| Value::String(text(hidden))),
        Value::Array(items) => Value::Array(items.iter().map(|item| lifted(item, by)).collect()),
        Value::Object(pairs) => pairs.iter().map(|(key, value)| (text(key), lifted(value, by))).collect(),
        other => other.clone(),
    }
}

/// The plan of a document without what no snapshot tells: who moved what, when that was judged, and the note itself.
fn comparable(mut document: Value) -> Value {
    fn without_movers(of: &mut Value) {
        match of {
            Value::Array(items) => items.iter_mut().for_each(without_movers),
            Value::Object(pairs) => {
                pairs.remove("moved_by");
                pairs.values_mut().for_each(without_movers);
            }
            _ => {}
        }
    }
    without_movers(&mut document);
    let plan = &mut document["plan"];
    let findings = plan["findings"].as_array().cloned().unwrap_or_default();
    plan["findings"] = findings.into_iter().filter(|finding| finding["code"] != "ARG4009").collect();
    // Hidden names sort elsewhere, within the same stage of the same kind.
    for organization in plan["organizations"].as_array_mut().expect("organizations") {
        if let Some(counts) = organization.get_mut("counts").and_then(Value::as_array_mut) {
            counts.sort_by_key(|count| (count["dimension"].to_string(), count["part"].to_string()));
        }
        for part in ["changes", "left"] {
            if let Some(changes) = organization[part].as_array_mut() {
                changes.sort_by_key(|change| (change["kind"].to_string(), change["name"].to_string()));
                for fields in changes.iter_mut().filter_map(|change| change.get_mut("fields")?.as_array_mut()) {
                    fields.sort_by_key(|field| field["path"].to_string());
                    fields.iter_mut().for_each(|field| in_any_order(&mut field["before"]));
                }
                for undo in changes.iter_mut().filter_map(|change| change.get_mut("undo")?.as_object_mut()) {
                    undo.values_mut().for_each(in_any_order);
                }
            }
        }
    }
    json!({ "plan": plan.take(), "verdict": document["verdict"].take(), "summary": document["summary"].take() })
}

/// What rows hold is sorted by names that may be hidden.
fn in_any_order(value: &mut Value) {
    if let Some(items) = value.as_array_mut() {
        items.sort_by_key(Value::to_string);
    }
}

/// Expects both plans to be the same once the veil is lifted.
pub fn is_same(with_database: &Value, with_snapshot: &Value, snapshot: &str, secrets: &[&str]) {
    let head: Value = serde_json::from_str(snapshot.lines().next().expect("a head")).expect("JSON");
    let salt: Salt = serde_json::from_value(head["salt"].clone()).expect("a salt");
    let mut all: Vec<Value> = secrets.iter().map(|&text| text.into()).collect();
    leaves(with_database, &mut all);
    // `settings.theme` holds the key of a map.
    let texts = all.iter().filter_map(Value::as_str);
    let keys: Vec<Value> =
        texts.flat_map(|text| text.match_indices('.').map(|(at, _)| Value::from(&text[at + 1..]))).collect();
    all.extend(keys);
    let by: BTreeMap<String, Value> =
        all.into_iter().map(|known| (salt.placeholder(&Plain::from(&known)), known)).collect();
    let (expected, found) = (comparable(with_database.clone()), comparable(lifted(with_snapshot, &by)));
    let mut found_less = found.clone();
    let mut expected_less = expected.clone();
    // What is hidden in what would be written is bound by the digest.
    if expected != found {
        for document in [&mut expected_less, &mut found_less] {
            without_digests(document);
        }
    }
    let pretty = |document: &Value| serde_json::to_string_pretty(document).expect("JSON");
    let (expected, found) = (pretty(&expected_less), pretty(&found_less));
    if let Some((at, (one, other))) = expected.lines().zip(found.lines()).enumerate().find(|(_, (a, b))| a != b) {
        panic!("line {at}: with the database {one}, with the snapshot {other}\n{expected}\n---\n{found}");
    }
    assert_eq!(expected, found);
}

fn without_digests(of: &mut Value) {
    match of {
        Value::Array(items) => items.iter_mut().for_each(without_digests),
        Value::Object(pairs) => {
            pairs.remove("digest");
            pairs.values_mut().for_each(without_digests);
        }
        _ => {}
    }
}

#[test]
fn nothing_that_others_manage_can_be_read_from_a_snapshot() {
    let world = World::lived_in();
    let snapshot = world.snapshot(&[]);
    for hidden in [
        "hidden.example",
        "eve",
        "Moon",
        "farside",
        "Far",
        "moonbase",
        "tycho",
        "crater",
        "initech",
        "Initech",
        "mallory",
    ] {
        assert!(!snapshot.contains(hidden), "{hidden} stands in\n{snapshot}");
    }
    for shown in ["ada@acme.example", "dark", "globex"] {
        assert!(snapshot.contains(shown), "{shown} is missing in\n{snapshot}");
    }
    let named = world.snapshot(&["--show-names"]);
    assert!(named.contains("eve@hidden.example") && !named.contains("Far Hidden") && !named.contains("initech"));
}

#[test]
fn a_plan_with_a_snapshot_is_the_plan_with_the_database() {
    let world = World::lived_in();
    let secrets = [
        "eve@hidden.example",
        "Far Hidden",
        "farside",
        "Moon Hidden",
        "moonbase",
        "money@hidden.example",
        "crater",
        "tycho",
    ];
    let requests: &[&str] = &[
        // Nothing.
        SETUP,
        // Changes, a removal from a list, a new member, a value that is there already and was hidden.
        &SETUP
            .replace("displayName: Acme", "displayName: Acme Inc\n  billingEmail: money@hidden.example")
            .replace("      roles: [admin]", "      roles: [viewer]\n    - user: new@acme.example\n      role: viewer"),
        // The hidden member is adopted, with the value that she has and with another one.
        &SETUP.replace("  teams:", "    - user: eve@hidden.example\n      role: owner\n  teams:"),
        &SETUP.replace("  teams:", "    - user: eve@hidden.example\n      role: viewer\n  teams:"),
        // A hidden project is adopted; and what nobody declared goes.
        &SETUP
            .replace("  teams:", "  projects: [{name: farside, displayName: Far Hidden}, {name: nearside}]\n  teams:"),
        &SETUP.replace(
            "spec:\n  displayName: Acme\n",
            "spec:\n  displayName: Acme\n  authoritative: [members, projects]\n",
        ),
        // Of a map that is declared empty all goes, and of one that is not what was named.
        &SETUP.replace("{theme: dark, lines: 80}", "{}"),
        &SETUP.replace("{theme: dark, lines: 80}", "{crater: tycho}"),
        // An organization goes; another comes; owners fall below what the guards let pass.
        SETUP.split("---").next().expect("a document"),
        &format!("{SETUP}---\n{}", ACME.replace("acme", "umbrella").replace("Acme", "Umbrella")),
        &SETUP.replace("      role: owner\n    - user: bob", "      role: viewer\n    - user: bob"),
        // Something is wrong, and the rest goes on.
        &SETUP.replace("user: hank@globex.example", "user: hank"),
    ];
    let snapshot = world.snapshot(&[]);
    for request in requests {
        world.write("acme.yaml", request);
        for options in [&["--format", "json"][..], &["--format", "json", "--full"], &["--format", "json", "--no-drift"]]
        {
            let expected = world.argus(&[&["plan"], options].concat());
            let found = world.plan_with(options);
            assert_eq!(expected.code, found.code, "{request}\n{expected}\n{found}");
            is_same(&expected.json(), &found.json(), &snapshot, &secrets);
            assert!(found.out.contains("ARG4009"), "{found}");
            let told = format!("{}{}", found.out, found.err);
            for hidden in secrets.iter().filter(|hidden| !request.contains(**hidden)) {
                assert!(!told.contains(hidden), "{hidden} stands in\n{told}");
            }
        }
    }
}

#[test]
fn drift_of_what_the_manifests_name_shows_and_what_they_do_not_name_stays_hidden() {
    let world = World::lived_in();
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now', billing_email = 'x@y.example'");
    world.snapshot(&[]);
    let plan = world.plan_with(&[]).ends(0);
    plan.says("Mine now").does_not_say("x@y.example").says("who moved what").does_not_say("mallory");
}

#[test]
fn a_field_that_is_left_out_counts_as_what_the_manifests_said_last() {
    let world = World::applied(SETUP);
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now' WHERE name = 'acme'");
    let snapshot = world.snapshot(&["--redact", "Organization.displayName"]);
    assert!(!snapshot.contains("Mine now") && !snapshot.contains(&digest_of(&snapshot, "Mine now")));
    world.plan_with(&["--detailed-exitcode"]).ends(0).says("No changes.").says("Organization.displayName count as");
    world.write("acme.yaml", &SETUP.replace("displayName: Acme", "displayName: Acme Inc"));
    world.plan_with(&[]).ends(0).says("\"Acme\" -> \"Acme Inc\"").does_not_say("Mine now");
    world.argus(&["snapshot", "-o", "t", "--unsigned", "--redact", "nonsense"]).ends(1).says("ARG1042");
}

fn digest_of(snapshot: &str, text: &str) -> String {
    let head: Value = serde_json::from_str(snapshot.lines().next().expect("a head")).expect("JSON");
    let salt: Salt = serde_json::from_value(head["salt"].clone()).expect("a salt");
    salt.placeholder(&Plain::text(text)).replace("redacted-", "#")
}

#[test]
fn secrets_of_rows_are_in_no_snapshot() {
    let world = World::applied(&SETUP.replace("theme: dark", "theme: dark, title: x"));
    let key = "argus_sk_0123456789abcdef";
    world.sql(&format!(
        "UPDATE argus.organization SET settings = '{{\"theme\": \"dark\", \"title\": \"{key}\", \"password\": \"horse\"}}'"
    ));
    let snapshot = world.snapshot(&["--show-names"]);
    assert!(!snapshot.contains(key) && !snapshot.contains("horse"), "{snapshot}");
    world.plan_with(&[]).ends(0).does_not_say(key).does_not_say("horse");
}

#[test]
fn an_organization_of_another_source_is_not_in_it_and_is_not_planned() {
    let world = World::lived_in();
    world.snapshot(&[]);
    world.write("more.yaml", &ACME.replace("acme", "initech"));
    world.plan_with(&[]).ends(1).says("ARG4010").says("`initech` exists").says("ARG2007");
}

#[test]
fn only_what_a_listed_key_has_signed_for_this_use_counts() {
    let world = World::applied(ACME);
    let (ours, theirs) = (Key::new("ed25519"), Key::new("ed25519"));
    let list = |key: &Key, options: &str| format!("nightly {options}{}\n", key.public);
    world.write("signers", &list(&ours, "namespaces=\"argus-snapshot\" "));
    let path = ours.path().display().to_string();
    world.argus(&["snapshot", "-o", "s.snapshot", "--sign-key", &path]).ends(0).says("signed with SHA256:");
    let plan = |options: &[&str]| {
        let mut command = bare(&[&["plan", "--snapshot", "s.snapshot"], options].concat());
        command.current_dir(&world.root);
        run(command)
    };
    let signed = &["--snapshot-signers", "signers"];
    plan(signed).ends(0).says("signed by nightly").says("No changes.");
    plan(&["--snapshot-unsigned"]).ends(0).says("which nobody vouches for");
    plan(&[]).refused().says("--snapshot-signers");
    let good = std::fs::read_to_string(world.path("s.snapshot")).expect("a snapshot");
    // The real program agrees that it is signed.
    let (said, signature) = good.split_at(good.find("-----BEGIN SSH").expect("a signature"));
    world.write("said", said).write("said.sig", signature);
    let script = "ssh-keygen -Y verify -f signers -I nightly -n argus-snapshot -s said.sig < said";
    let verified = Command::new("sh").args(["-c", script]).current_dir(&world.root).output().expect("ssh-keygen runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    // And we that of the real program.
    let by_program = ours.sign_text(said, "argus-snapshot", &[]);
    world.write("s.snapshot", &format!("{said}{by_program}"));
    plan(signed).ends(0).says("signed by nightly");
    let refused = |text: &str, why: &str| {
        world.write("s.snapshot", text);
        plan(signed).ends(1).says("ARG4008").says(why);
    };
    refused(said, "it is not signed");
    refused(&good.replacen("acme", "acmf", 1), "does not belong to it");
    refused(&format!("{said}{}", theirs.sign_text(said, "argus-snapshot", &[])), "which no list of signers has");
    refused(&format!("{said}{}", ours.sign_text(said, "git", &[])), "made for `git` and not for `argus-snapshot`");
    refused(&format!("{said}-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"), "cannot be read");
    refused(&format!("{said}{{}}\n{signature}"), "does not belong to it");
    world.write("signers", &list(&ours, "namespaces=\"git\" "));
    refused(&good, "does not let the key");
    world.write("signers", &list(&ours, "valid-before=\"20200101Z\" "));
    refused(&good, "counts only until");
}

#[test]
fn keys_that_cannot_sign_unseen_are_refused() {
    let world = World::applied(ACME);
    let rsa = Key::new("rsa");
    let path = rsa.path().display().to_string();
    world.argus(&["snapshot", "-o", "s", "--sign-key", &path]).ends(1).says("ssh-ed25519 is taken");
    let locked = Key::new("ed25519");
    let path = locked.path().display().to_string();
    let changed = Command::new("ssh-keygen").args(["-p", "-q", "-N", "horse", "-P", "", "-f", &path]).output();
    assert!(changed.expect("ssh-keygen runs").status.success());
    world.argus(&["snapshot", "-o", "s", "--sign-key", &path]).ends(1).says("it has a passphrase");
    world.argus(&["snapshot", "-o", "s"]).refused().says("--sign-key");
    assert!(!world.path("s").exists());
}

#[test]
fn a_snapshot_that_is_old_cut_or_of_something_else_is_refused() {
    let world = World::applied(ACME);
    let good = world.snapshot(&[]);
    let moment = good.split("\"takenAt\":\"").nth(1).expect("a moment").split('"').next().expect("its end").to_owned();
    let taken = |at: &str| world.write("s.snapshot", &good.replacen(&moment, at, 1));
    let ago = |hours: i64| (chrono::Utc::now() - chrono::TimeDelta::hours(hours)).to_rfc3339();
    taken(&ago(3));
    world.plan_with(&[]).ends(0).says("3 hours old");
    world
        .plan_with(&["--snapshot-max-age", "2h"])
        .ends(1)
        .says("ARG4007")
        .says("is 3 hours old, and 2 hours is the most");
    taken(&ago(24 * 8));
    world.plan_with(&[]).ends(1).says("ARG4007").says("8 days old, and 7 days is the most");
    world.plan_with(&["--snapshot-max-age", "9d"]).ends(0);
    taken(&ago(-1));
    world.plan_with(&[]).ends(1).says("taken in the future");
    for (text, why) in [
        (String::new(), "it is no snapshot"),
        ("{}\n".into(), "it is no snapshot"),
        (good.lines().next().expect("a head").to_owned() + "\n", "it is damaged"),
        (good.replacen("\"format\":1", "\"format\":2", 1), "of the form 2"),
        (good.replacen("\"source\":\"default\"", "\"source\":\"else\"", 1), "of the source `else`"),
        (good.trim_end().to_owned(), "it is damaged"),
    ] {
        world.write("s.snapshot", &text);
        world.plan_with(&[]).ends(1).says("ARG4006").says(why);
    }
    world.remove("s.snapshot");
    world.plan_with(&[]).ends(1).says("ARG4006");
}

#[test]
fn commands_that_need_the_database_take_no_snapshot() {
    let world = World::applied(ACME);
    world.snapshot(&[]);
    for command in ["drift", "diff", "apply", "validate"] {
        let ran = world.argus(&[command, "--snapshot", "s.snapshot", "--snapshot-unsigned"]);
        ran.refused().says("unexpected argument '--snapshot'");
    }
    world.plan_with(&["-o", "plan"]).refused().says("cannot be used with");
    world.plan_with(&["--git", "https://git.example/x"]).ends(1).says("cannot be used with");
}

/// The calls of the network that a command makes, children and all, or nothing where they cannot be watched here.
fn network_calls(command: &mut Command, into: &Path) -> Option<String> {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=%network", "-o"]).arg(into).arg(command.get_program());
    traced.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    let ran = traced.output().ok()?;
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    std::fs::read_to_string(into).ok()
}

#[test]
fn planning_with_a_snapshot_makes_no_call_of_the_network_and_works_where_there_is_none() {
    let world = World::lived_in();
    world.snapshot(&[]);
    world.write(
        "policies/p.rego",
        "package p\n\nimport rego.v1\n\n# METADATA\n# title: x\nwarn contains \"hm\" if input.version == 2\n",
    );
    let plan = || {
        let mut command = bare(&["plan", "--snapshot", "s.snapshot", "--snapshot-unsigned"]);
        command.current_dir(&world.root).env("ARGUS_DATABASE_URL", world.database.url.to_string());
        command
    };
    run(plan()).ends(0).says("2 to destroy");
    let calls = |command: &mut Command| network_calls(command, &world.path("trace"));
    let Some(without) = calls(&mut plan()) else {
        use std::io::Write as _;
        let _ = std::io::stderr().write_all(b"\nSKIPPED: there is no strace to watch with.\n");
        return;
    };
    let reached: Vec<&str> = without.lines().filter(|line| !line.contains("socketpair(AF_UNIX")).collect();
    assert!(reached.iter().all(|line| !line.contains("connect(") && !line.contains("socket(")), "{without}");
    // The same, watched in the same way, does connect when it plans with the database.
    let mut with = world.command(&["plan"]);
    assert!(calls(&mut with).expect("watched").contains("connect("));
}
