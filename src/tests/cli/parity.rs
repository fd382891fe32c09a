//! The policies that ship under OPA: the same tests with the same verdicts, and the same answers to the same inputs.
//!
//! OPA is the program that `ARGUS_OPA` names, or else `opa` on the PATH. `.ci/run` builds it from its Go module; where
//! there is none, these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::policies::shipped;
use super::schemas::conforms;
use super::{World, bare, run};
use crate::support::postgres::scratch;

/// OPA, if there is one.
pub fn opa() -> Option<String> {
    let named = std::env::var("ARGUS_OPA").ok().filter(|path| !path.is_empty());
    let program = named.clone().unwrap_or_else(|| "opa".into());
    if Command::new(&program).arg("version").output().is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    assert_eq!(named, None, "ARGUS_OPA names no OPA");
    // Past the test harness, which keeps to itself what passing tests print.
    let skipped =
        "\nSKIPPED: there is no OPA to compare with. `.ci/install opa` builds one; set ARGUS_OPA to its path.\n";
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

fn opa_says(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().expect("OPA runs")
}

pub fn opa_json(program: &str, arguments: &[&str]) -> Value {
    let output = opa_says(program, arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// How each test ended, by name.
fn outcomes(list: &Value, outcome: impl Fn(&Value) -> (String, &'static str)) -> BTreeMap<String, &'static str> {
    let list = list.as_array().expect("a list of tests");
    let outcomes: BTreeMap<String, &str> = list.iter().map(&outcome).collect();
    assert_eq!(outcomes.len(), list.len(), "no two tests have one name");
    outcomes
}

fn of_opa(list: &Value) -> BTreeMap<String, &'static str> {
    outcomes(list, |test| {
        let name =
            format!("{}.{}", test["package"].as_str().expect("a package"), test["name"].as_str().expect("a name"));
        let outcome = match (&test["fail"], &test["skip"], &test["error"]) {
            (Value::Bool(true), ..) => "failed",
            (_, Value::Bool(true), _) => "skipped",
            (_, _, Value::Null) => "passed",
            _ => "failed",
        };
        (name, outcome)
    })
}

fn of_argus(list: &Value) -> BTreeMap<String, &'static str> {
    outcomes(list, |test| {
        let outcome = match (&test["failures"], &test["skipped"], &test["successes"]) {
            (Value::Array(_), ..) => "failed",
            (_, Value::Array(_), _) => "skipped",
            (_, _, passed) if *passed == 1 => "passed",
            _ => "lost",
        };
        (test["name"].as_str().expect("a name").to_owned(), outcome)
    })
}

#[test]
fn opa_runs_the_same_tests_with_the_same_verdicts() {
    let Some(opa) = opa() else { return };
    let theirs = of_opa(&opa_json(&opa, &["test", &shipped(), "--verbose", "--format", "json"]));
    let ours = of_argus(&run(bare(&["policy", "test", &shipped(), "--format", "json"])).json());
    assert!(theirs.len() > 150, "{theirs:?}");
    assert_eq!(ours, theirs);
}

#[test]
fn opa_and_argus_agree_on_tests_that_fail_as_well() {
    let Some(opa) = opa() else { return };
    let folder = scratch("differences").join("policies");
    std::fs::create_dir_all(&folder).expect("a folder");
    let rules = "package a\n\ndeny contains \"large\" if input.version > 3\n";
    let tests = "package a_test\n\nimport data.a\n\ntest_right if count(a.deny) == 1 with input.version as 4\n\n\
                 test_wrong if count(a.deny) == 1 with input.version as 3\n\ntest_undefined if input.commit\n\n\
                 test_false := false\n\ntodo_test_later if false\n";
    std::fs::write(folder.join("a.rego"), rules).expect("a file");
    std::fs::write(folder.join("a_test.rego"), tests).expect("a file");
    let shown = folder.display().to_string();
    let theirs = of_opa(&opa_json(&opa, &["test", &shown, "--verbose", "--format", "json"]));
    let ours = of_argus(&run(bare(&["policy", "test", &shown, "--format", "json"])).ends(1).json());
    assert_eq!(ours, theirs);
    assert_eq!(ours.values().filter(|outcome| **outcome == "failed").count(), 3);
    std::fs::remove_dir_all(&folder).expect("it can be removed");
}

#[test]
fn opa_finds_nothing_wrong_with_the_policies_under_the_schema_of_the_input() {
    let Some(opa) = opa() else { return };
    let schema =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/policy-input.schema.json").display().to_string();
    let checked = opa_says(&opa, &["check", "--strict", "--schema", &schema, &shipped()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let formatted = opa_says(&opa, &["fmt", "--list", &shipped()]);
    assert_eq!(String::from_utf8_lossy(&formatted.stdout), "", "`opa fmt -w policies` formats them");
}

#[test]
fn opa_gives_the_same_answers_to_what_policies_are_told() {
    let Some(opa) = opa() else { return };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures/policies");
    let world = World::new();
    let of = |name: &str| fixtures.join(name).display().to_string();
    world.argus(&["apply", &of("before"), "--auto-approve"]).ends(0);
    let inputs = scratch("inputs");
    let after = ["policy", "input", &of("after"), "--output", &inputs.display().to_string()].map(str::to_owned);
    let mut command = world.command(&after.each_ref().map(String::as_str));
    command.env("ARGUS_ACTOR", "tester@acme.example");
    run(command).ends(0);
    let schema = run(bare(&["schema", "policy-input"])).ends(0).json();
    let mut spoke: BTreeMap<String, usize> = BTreeMap::new();
    let documents = super::files(&inputs);
    assert_eq!(
        documents.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["_shared.json", "acme.json", "globex.json", "initech.json", "umbrella.json"]
    );
    for (name, text) in documents {
        let document: Value = serde_json::from_str(&text).expect("JSON");
        conforms(&document, &schema, &schema, &name);
        // As it is; as one whose tier nobody knows; and as one of which nothing changes but the tier.
        let with = |part: &str, value: Value| {
            let mut document = document.clone();
            document[part] = value;
            document
        };
        for document in [with("live", Value::Null), with("tiers", json!({})), with("changes", json!([]))] {
            for (rule, answer) in agree(&opa, &name, &document) {
                *spoke.entry(rule).or_default() += answer;
            }
        }
    }
    std::fs::remove_dir_all(&inputs).expect("it can be removed");
    let silent: Vec<&String> = spoke.iter().filter(|(_, answers)| **answers == 0).map(|(rule, _)| rule).collect();
    assert!(silent.is_empty(), "nothing is said by {silent:?}");
    assert!(spoke.len() > 20, "{spoke:?}");
}

/// Asks both about one document, and gives how much each rule had to say.
fn agree(opa: &str, name: &str, document: &Value) -> BTreeMap<String, usize> {
    let file = scratch("input.json");
    std::fs::write(&file, document.to_string()).expect("a file");
    let shown = file.display().to_string();
    let judged =
        run(bare(&["policy", "eval", "--policies", &shipped(), "--input", &shown, "--format", "json"])).ends(0);
    let ours: BTreeMap<String, Value> =
        serde_json::from_value(judged.json()["answers"].clone()).expect("answers by rule");
    let entries: Vec<String> = ours.keys().map(|rule| format!("{rule:?}: [a | some a in {rule}]")).collect();
    let query = format!("{{{}}}", entries.join(", "));
    let theirs = opa_json(opa, &["eval", "--data", &shipped(), "--input", &shown, "--strict-builtin-errors", &query]);
    std::fs::remove_file(&file).expect("it can be removed");
    let theirs = &theirs["result"][0]["expressions"][0]["value"];
    let sorted = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap_or_else(|| panic!("{name}: no list: {list}")).iter().map(Value::to_string).collect()
    };
    let mut said = BTreeMap::new();
    for (rule, answer) in &ours {
        assert_eq!(sorted(&answer["value"]), sorted(&theirs[rule.as_str()]), "{name}: {rule}");
        said.insert(rule.clone(), sorted(&answer["value"]).len());
    }
    said
}

#[test]
fn the_inputs_that_tests_of_the_policies_make_up_follow_the_schema() {
    let Some(opa) = opa() else { return };
    let schema = run(bare(&["schema", "policy-input"])).ends(0).json();
    let documents = [
        "plan([])",
        r#"plan([change | some kind, _ in presets; change := create(kind, "a", {})])"#,
        r#"plan([change | some kind, _ in presets; change := delete(kind, "a", {})])"#,
        r#"plan([change | some kind, _ in presets; change := adopt(kind, "a", {})])"#,
        r#"plan([update("Budget", "a", rows.budgets.monthly, {"override": {"cap": "3000 USD"}})])"#,
        r#"plan([rename("Team", "a", "b", {"displayName": "B"})])"#,
        r#"plan_by([], {}, {"grace"}, [grant("grace@acme.example", "owner")])"#,
    ];
    let mut query = documents.join(", ");
    for name in
        ["plan(", "plan_by(", "create(", "delete(", "adopt(", "update(", "rename(", "grant(", "presets", "rows."]
    {
        query = query.replace(name, &format!("data.argus.lib.fixtures.{name}"));
    }
    let query = format!("documents := [{query}]");
    let answer = opa_json(&opa, &["eval", "--data", &shipped(), &query]);
    let documents = answer["result"][0]["bindings"]["documents"].as_array().expect("documents").clone();
    assert_eq!(documents.len(), 7);
    for (number, document) in documents.iter().enumerate() {
        conforms(document, &schema, &schema, &format!("document {number}"));
    }
    assert_eq!(documents[0]["changes"], json!([]));
}

/// Where Argus is stricter than OPA, or differs, as docs/policies.md lists it: what OPA takes for a test that passes.
const DIFFERENCES: &[(&str, &str)] = &[
    ("nothing to iterate over", "test_it if count([x | some x in null]) == 0\n"),
    ("errors of builtins", "test_it if {\n\tx := object.get({\"a\": null}, \"a\", [])\n\tnot count(x)\n}\n"),
    ("numbers that begin with a zero", "test_it if to_number(\"0500\") == 500\n"),
    (
        "an undefined head",
        "first(list) := list[0] if {\n\ttrue\n} else := \"none\"\n\ntest_it if first([]) == \"none\"\n",
    ),
    (
        "partial objects of two keys",
        "by_kind[kind][at] := change if {\n\tsome at, change in input.changes\n\tkind := change.kind\n}\n\n\
         test_it if object.get(by_kind, \"Team\", {}) == {} with input as {\"changes\": []}\n",
    ),
    (
        "calls under `with`",
        "about(x) := concat(\"/\", [input.organization, x.name])\n\nshared := {\"a\": 1}\n\n\
         test_it if about({\"name\": \"a\", \"b\": shared}) == \"x/a\" with input as {\"organization\": \"x\", \"plan\": shared}\n",
    ),
    (
        "a variable that is called like a function",
        "state(x) := x\n\ntest_it if count([s | some state in [1]; s := [y | some y in [state]]]) == state(1)\n",
    ),
    ("a head without a body", "is_wild(\"*\")\n\ntest_it if is_wild(\"*\")\n"),
];

#[test]
fn the_differences_from_opa_that_the_documentation_lists_are_there() {
    let Some(opa) = opa() else { return };
    let documented = include_str!("../../../docs/policies.md");
    for (name, text) in DIFFERENCES {
        assert!(documented.contains(name), "docs/policies.md does not speak of {name}");
        let folder = scratch("difference");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("a_test.rego"), format!("package a_test\n\n{text}")).expect("a file");
        let shown = folder.display().to_string();
        let theirs = opa_says(&opa, &["test", &shown]);
        let ours = run(bare(&["policy", "test", &shown]));
        std::fs::remove_dir_all(&folder).expect("it can be removed");
        assert!(theirs.status.success(), "{name}: {}", String::from_utf8_lossy(&theirs.stdout));
        assert_eq!(ours.code, Some(1), "{name} is no difference any more: {ours}");
    }
}
