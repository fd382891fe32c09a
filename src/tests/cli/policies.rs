//! `argus policy`: tests, checks, questions and what policies are told; and the policies that ship.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::schemas::conforms;
use super::{ACME, Ran, World, bare, ran, run};
use crate::support::postgres::scratch;

/// A folder with policies.
pub struct Folder(PathBuf);

impl Folder {
    pub fn with(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(scratch("policies"));
        std::fs::create_dir_all(folder.0.join("policies")).expect("a folder");
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join("policies").join(name), text).expect("a file");
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = bare(&[&["policy"], arguments].concat());
        command.current_dir(&self.0);
        command
    }

    /// Runs `argus policy` beside the folder.
    fn policy(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// The same with something on standard input.
    fn told(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        ran(&command, child.wait_with_output().expect("it ends"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const RULE: &str = "\
package argus.size

# METADATA
# title: Not too large
# custom:
#   id: size-large
#   remediation: make it smaller
deny_large contains finding if {
	some change in input.changes
	startswith(change.name, \"large\")
	finding := {\"msg\": \"too large\", \"origin\": change.origin, \"subject\": change.name}
}

# METADATA
# custom:
#   approvals: {quorum: 2, groups: [finance]}
hold_odd contains \"odd\" if input.organization == \"odd\"

warn_new contains \"new\" if input.commit == null
";

const TESTS: &str = "\
package argus.size_test

import data.argus.size

doc(name) := {\"changes\": [{\"name\": name, \"origin\": null}], \"organization\": \"acme\", \"commit\": \"c\"}

test_large if count(size.deny_large) == 1 with input as doc(\"large\")

test_small if count(size.deny_large) == 0 with input as doc(\"small\")

test_odd if size.hold_odd == {\"odd\"} with input as {\"organization\": \"odd\", \"changes\": []}

test_even if size.hold_odd == set() with input as {\"organization\": \"even\", \"changes\": []}

test_new if size.warn_new == {\"new\"} with input as {\"commit\": null, \"changes\": []}

test_old if size.warn_new == set() with input as {\"commit\": \"c\", \"changes\": []}
";

const WRONG: &str = "
test_wrong if {
	large := size.deny_large with input as doc(\"large\")
	print(\"found\", count(large))
	count(large) == 7
}

todo_test_later if false
";

fn good() -> Folder {
    Folder::with(&[("size.rego", RULE), ("size_test.rego", TESTS)])
}

fn bad() -> Folder {
    Folder::with(&[("size.rego", RULE), ("size_test.rego", &format!("{TESTS}{WRONG}"))])
}

fn input(organization: &str, name: &str) -> String {
    let origin = json!({ "file": "acme.yaml", "line": 3, "column": 5 });
    let mut document = json!({});
    // What rules do not look at is there all the same.
    let schema = run(bare(&["schema", "policy-input"])).ends(0).json();
    for part in schema["required"].as_array().expect("required parts") {
        document[part.as_str().expect("a name")] = Value::Null;
    }
    document["version"] = json!(1);
    document["organization"] = json!(organization);
    document["commit"] = json!("c");
    document["changes"] = json!([{ "name": name, "origin": origin }]);
    document.to_string()
}

/// The folder of the policies that ship.
pub fn shipped() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").display().to_string()
}

#[test]
fn tests_that_pass_end_with_conftests_summary_and_0() {
    let ran = good().policy(&["test"]).ends(0);
    assert_eq!(ran.out, "\n6 tests, 6 passed, 0 warnings, 0 failures, 0 exceptions, 0 skipped\n", "{ran}");
    assert_eq!(good().policy(&["test", "--quiet"]).ends(0).all(), "");
}

#[test]
fn a_test_that_fails_is_shown_with_its_line_and_ends_with_1() {
    let ran = bad().policy(&["test", "--quiet"]).ends(1);
    let ran = ran.says("FAIL - policies/size_test.rego:19 - argus.size_test - data.argus.size_test.test_wrong");
    ran.says("8 tests, 6 passed, 0 warnings, 1 failure, 0 exceptions, 1 skipped");
    bad().policy(&["test", "--no-fail"]).ends(0).says("1 failure");
}

#[test]
fn what_a_test_prints_is_shown() {
    bad().policy(&["test"]).ends(1).says("PRNT  ").says("found 1");
}

#[test]
fn with_fail_on_warn_failures_end_with_2() {
    good().policy(&["test", "--fail-on-warn"]).ends(0);
    bad().policy(&["test", "--fail-on-warn"]).ends(2);
}

#[test]
fn only_the_tests_that_a_regular_expression_matches_are_run() {
    bad().policy(&["test", "--run", r"size_test\.test_(large|odd)$"]).ends(0).says("2 tests, 2 passed");
    bad().policy(&["test", "-r", "nowhere"]).ends(0).says("0 tests, 0 passed");
    bad().policy(&["test", "--run", "("]).ends(1).says("--run is no regular expression");
}

#[test]
fn files_are_shown_as_the_folder_was_named() {
    let folder = bad();
    folder.policy(&["test", "./policies/"]).ends(1).says("FAIL - policies/size_test.rego:19");
    let mut command = bare(&["policy", "test", "one/policies", "-o", "github"]);
    std::fs::create_dir_all(folder.0.join("one")).expect("a folder");
    std::fs::rename(folder.0.join("policies"), folder.0.join("one/policies")).expect("it moves");
    command.current_dir(&folder.0);
    run(command).ends(1).says("::error file=one/policies/size_test.rego,line=19::");
}

#[test]
fn what_cannot_be_loaded_is_shown_with_its_line_and_ends_with_1() {
    let folder = good();
    folder.write("broken.rego", "package argus.broken\n\ndeny contains msg if {\n\tmsg := \n}\n");
    for command in ["test", "check"] {
        folder
            .policy(&[command])
            .ends(1)
            .says("error[ARG3110]")
            .says("--> policies/broken.rego:4:6")
            .says("4 |     msg :=");
    }
    folder.told(&["eval", "--input", "-"], &input("acme", "small")).ends(1).says("--> policies/broken.rego:4:6");
    folder.policy(&["test", "elsewhere"]).ends(1).says("there is no folder elsewhere");
}

#[test]
fn every_format_tells_of_the_test_that_failed() {
    let folder = bad();
    let name = "data.argus.size_test.test_wrong";
    for format in ["stdout", "text", "json", "tap", "table", "junit", "github", "sarif"] {
        folder.policy(&["test", "--format", format]).ends(1).says(name);
    }
    let list = folder.policy(&["test", "--output", "json"]).ends(1).json();
    let list = list.as_array().expect("a list").clone();
    assert_eq!(list.len(), 8);
    let of =
        |name: &str| list.iter().find(|item| item["name"].as_str().is_some_and(|n| n.ends_with(name))).expect("it");
    assert_eq!((&of("test_large")["successes"], &of("test_large")["failures"]), (&json!(1), &Value::Null));
    assert_eq!(of("test_wrong")["failures"][0]["msg"], name);
    assert_eq!(of("todo_test_later")["skipped"][0]["msg"], "data.argus.size_test.todo_test_later");
    let tap = folder.policy(&["test", "-o", "tap"]).ends(1).out;
    assert_eq!(tap.lines().next(), Some("1..8"));
    assert_eq!(tap.lines().filter(|line| line.starts_with("not ok ")).count(), 1, "{tap}");
    assert!(tap.contains(" # SKIP"), "{tap}");
    let github = folder.policy(&["test", "-o", "github"]).ends(1).out;
    assert!(
        github.contains("\n::error file=policies/size_test.rego,line=19::data.argus.size_test.test_wrong"),
        "{github}"
    );
    let sarif = folder.policy(&["test", "-o", "sarif"]).ends(1).json();
    assert_eq!(sarif["runs"][0]["invocations"][0]["exitCode"], 1);
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(1));
    let junit = folder.policy(&["test", "-o", "junit"]).ends(1).out;
    assert!(junit.contains("<testsuites tests=\"8\" failures=\"1\">"), "{junit}");
}

#[test]
fn an_input_is_judged_by_all_rules() {
    let folder = good();
    let file = folder.0.join("large.json");
    std::fs::write(&file, input("acme", "large")).expect("a file");
    let file = file.display().to_string();
    let ran = folder.policy(&["eval", "--input", &file]).ends(0);
    ran.says("size-large: too large")
        .says("--> acme.yaml:3:5")
        .says("hint: make it smaller")
        .says("Denied: 1 denial, 0 holds");
    folder.policy(&["eval", "--input", &file, "--fail"]).ends(3);
    folder.told(&["eval", "--input", "-", "--fail"], &input("odd", "small")).ends(4).says("Held: 0 denials, 1 hold");
    folder.told(&["eval", "--input", "-", "--fail"], &input("acme", "small")).ends(0).says("Allowed: ");
    // What is no input document is not allowed by what says nothing about it.
    let older = input("acme", "small").replace("\"version\":1", "\"version\":0");
    for other in ["{}", "[]", "null", "3", "[{\"organization\": \"acme\"}]", "{\"organization\": \"acme\"}", &older] {
        folder.told(&["eval", "--input", "-", "--fail"], other).ends(1).says("this is no input document");
    }
}

#[test]
fn a_judgement_as_json_holds_what_each_rule_said() {
    let document = good().told(&["eval", "--input", "-", "--format", "json"], &input("odd", "large")).ends(0).json();
    assert_eq!(document["document"], "argus.judgement");
    assert_eq!(document["denials"][0]["rule"], "size-large");
    assert_eq!(document["denials"][0]["origin"]["line"], 3);
    assert_eq!(document["holds"][0]["need"], json!({ "quorum": 2, "groups": ["finance"] }));
    assert_eq!(document["answers"]["data.argus.size.hold_odd"], json!({ "value": ["odd"] }));
    assert_eq!(document["answers"]["data.argus.size.warn_new"], json!({ "value": [] }));
    let schema = run(bare(&["schema", "judgement"])).ends(0).json();
    conforms(&document, &schema, &schema, "judgement");
}

#[test]
fn a_query_is_answered_as_opa_answers_it() {
    let folder = good();
    let ask = |arguments: &[&str]| folder.told(&[&["eval", "-i", "-"], arguments].concat(), &input("odd", "large"));
    assert_eq!(ask(&["data.argus.size.hold_odd"]).ends(0).out, "[\n  \"odd\"\n]\n");
    assert_eq!(ask(&["data.argus.size.hold_odd", "-f", "values"]).ends(0).json(), json!([["odd"]]));
    let result = ask(&["data.argus.size.hold_odd", "--format", "json"]).ends(0).json();
    assert_eq!(result["result"][0]["expressions"][0]["value"], json!(["odd"]));
    assert_eq!(folder.policy(&["eval", "1 + 1"]).ends(0).out, "2\n");
    assert_eq!(ask(&["input.nothing.there"]).ends(0).out, "undefined\n");
    ask(&["input.nothing.there", "--fail"]).ends(1);
    ask(&["input.organization ="]).ends(1).says("the query has no result");
}

#[test]
fn an_input_that_is_none_is_refused() {
    let folder = good();
    folder.policy(&["eval"]).ends(1).says("there is no input to judge");
    folder.policy(&["eval", "--input", "nowhere.json"]).ends(1).says("cannot read the input nowhere.json");
    folder.told(&["eval", "--input", "-"], "{\"organization\": ").ends(1).says("the input - is no JSON");
    folder
        .told(&["eval", "--input", "-", "--format", "values"], "{}")
        .ends(1)
        .says("the format `values` is for queries");
}

#[test]
fn what_policies_are_told_of_a_plan_is_printed_and_follows_the_schema() {
    let world = World::with(ACME);
    let shared = "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata:\n  name: team\nspec:\n  displayName: Team\n";
    world.write("tiers.yaml", shared);
    let schema = run(bare(&["schema", "policy-input"])).ends(0).json();
    let document = world.argus(&["policy", "input", "-O", "acme"]).ends(0).json();
    conforms(&document, &schema, &schema, "input");
    assert_eq!(document["changes"][0]["kind"], "Organization");
    assert_eq!(document["tiers"]["team"]["displayName"], "Team", "the catalogue as it will be");
    assert_eq!(document["authors"], json!(["tester"]));
    let both = world.argus(&["policy", "input"]).ends(0).out;
    let both: Vec<Value> = serde_json::Deserializer::from_str(&both).into_iter().map(|d| d.expect("JSON")).collect();
    assert_eq!(both.iter().map(|d| d["organization"].clone()).collect::<Vec<_>>(), ["", "acme"]);
    both.iter().for_each(|document| conforms(document, &schema, &schema, "input"));
    // Elsewhere: what lies among the manifests is taken for one.
    let elsewhere = scratch("inputs");
    world.argus(&["policy", "input", "--output", &elsewhere.display().to_string()]).ends(0);
    let kept = super::files(&elsewhere);
    std::fs::remove_dir_all(&elsewhere).expect("it can be removed");
    assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["_shared.json", "acme.json"]);
    world.apply().ends(0);
    world.argus(&["policy", "input", "--full"]).ends(1).says("nothing would change");
    world.argus(&["policy", "input", "-O", "globex"]).ends(1).says("nothing of the organization `globex` would change");
}

#[test]
fn the_policies_that_ship_pass_their_tests() {
    let list = run(bare(&["policy", "test", &shipped(), "-o", "json"])).ends(0).json();
    let list = list.as_array().expect("a list");
    assert!(list.len() > 150, "{}", list.len());
    assert!(list.iter().all(|item| item["successes"] == 1));
}

#[test]
fn the_example_is_allowed_by_the_policies_that_ship() {
    let world = World::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/acme").display().to_string();
    let plan = world.argus(&["plan", &example, "--policies", &shipped(), "--format", "json"]).ends(0).json();
    for said in ["denied", "held", "warned"] {
        assert_eq!(plan["verdict"].get(said), None, "{said}");
    }
    world.argus(&["apply", &example, "--policies", &shipped(), "--auto-approve"]).ends(0);
}

#[test]
fn what_the_benches_generate_is_allowed_by_the_policies_that_ship() {
    let world = World::new();
    // So many that every choice that the generator has is made.
    crate::examples::world::write(&world.root, 3_000, 7).expect("a repo");
    let verdict =
        world.argus(&["plan", "--policies", &shipped(), "--format", "json"]).ends(0).json()["verdict"].clone();
    for said in ["blocked", "denied", "held", "warned"] {
        assert_eq!(verdict.get(said), None, "{said}");
    }
}

#[test]
fn whoever_takes_over_a_membership_gains_what_it_may_do() {
    let acme = |user: &str| ACME.replace("user: ada@acme.example", &format!("user: {user}"));
    let world = World::applied(&acme("ada@acme.example"));
    world.write("acme.yaml", &acme("tester@acme.example\n      previousName: ada@acme.example"));
    let access = world.argus(&["policy", "input", "-O", "acme"]).ends(0).json()["access"].clone();
    let owner = |person: &str| json!([{ "person": person, "project": null, "role": "owner", "team": null, "permissions": ["*"] }]);
    assert_eq!(access["gained"], owner("tester@acme.example"));
    assert_eq!(access["lost"], owner("ada@acme.example"));
    let mut plan = world.command(&["plan", "--policies", &shipped()]);
    plan.env("ARGUS_ACTOR", "Tester@acme.example");
    run(plan).ends(0).says("denied[ARG3101] own-role: `tester@acme.example` would make themselves `owner`");
    // Somebody else may do it, as where an address changes.
    world.argus(&["plan", "--policies", &shipped()]).ends(0).does_not_say("own-role");
}

#[test]
fn a_rule_that_no_test_shows_both_ways_is_a_flaw() {
    let folder = good();
    folder.policy(&["check"]).ends(0).says("Well: 3 rules and 6 tests in 2 files.");
    let without = |name: &str| {
        let kept = TESTS.split("\n\n").filter(|part| !part.starts_with(&format!("test_{name} ")));
        folder.write("size_test.rego", &kept.collect::<Vec<_>>().join("\n\n"));
        folder.policy(&["check"]).ends(1)
    };
    without("large").says("`argus.size.deny_large`: no test shows it speak").says("--> policies/size.rego:8:1");
    without("small")
        .says("`argus.size.deny_large`: no test shows it silent")
        .says("8 | deny_large contains finding if {");
    without("odd").says("`argus.size.hold_odd`: no test shows it speak").says("1 flaw: 3 rules and 5 tests");
    folder.write("size_test.rego", "package argus.size_test\n");
    let list = folder.policy(&["check", "-o", "json"]).ends(1).json();
    assert_eq!(list.as_array().map(Vec::len), Some(3));
    assert_eq!(list[0]["warnings"][0]["msg"], "`argus.size.deny_large`: no test asks for it");
    // Whether there are tests does not keep policies from judging.
    folder.told(&["eval", "--input", "-", "--fail"], &input("acme", "large")).ends(3);
}

#[test]
fn a_rule_that_nothing_uses_is_a_flaw_and_a_warning_of_the_tests() {
    let folder = good();
    folder.write("more.rego", "package argus.more\n\nforgotten := 1\n");
    folder
        .policy(&["check"])
        .ends(1)
        .says("warning[ARG3113]")
        .says("--> policies/more.rego:3:1")
        .says("3 | forgotten := 1");
    folder
        .policy(&["test"])
        .ends(0)
        .says("WARN - policies/more.rego:3")
        .says("7 tests, 6 passed, 1 warning, 0 failures");
    folder.policy(&["test", "--fail-on-warn"]).ends(1);
}

#[test]
fn a_folder_without_a_rule_judges_nothing() {
    let folder = Folder::with(&[("size_test.rego", "package argus.size_test\n\ntest_nothing if true\n")]);
    folder.policy(&["test"]).ends(0).says("1 test, 1 passed");
    folder.policy(&["check"]).ends(1).says("policies holds no rule that judges anything");
    folder.told(&["eval", "--input", "-"], "{}").ends(1).says("holds no rule that judges anything");
}

#[test]
fn the_policies_that_ship_are_tested_both_ways_and_nothing_of_them_is_idle() {
    run(bare(&["policy", "check", &shipped()])).ends(0).says("Well: 23 rules and ");
}

#[test]
fn what_the_documentation_shows_of_rules_and_tests_works() {
    let text = include_str!("../../../docs/policies.md");
    let blocks: Vec<&str> =
        text.split("```rego\n").skip(1).map(|rest| rest.split("```").next().expect("an end")).collect();
    let [rule, exception, test] = blocks[..] else { panic!("{} blocks of Rego", blocks.len()) };
    let excused = "test_excused if {\n\tplan := {\"organization\": \"sandbox\", \"changes\": []}\n\t\
                   roles.exception == {[\"wildcard\"]} with input as plan\n}\n";
    let lib = |name: &str| std::fs::read_to_string(format!("{}/lib/{name}", shipped())).expect("a file");
    let folder = Folder::with(&[
        ("roles.rego", &format!("{rule}\n{exception}")),
        ("roles_test.rego", &format!("{test}\n{excused}")),
        ("fixtures_test.rego", &lib("fixtures_test.rego")),
    ]);
    folder.policy(&["test"]).ends(0).says("2 tests, 2 passed, 0 warnings");
}

#[test]
fn no_link_on_the_way_to_the_policies_is_followed() {
    let world = World::with(ACME);
    let outside = scratch("outside");
    std::fs::create_dir_all(outside.join("p")).expect("a folder");
    std::fs::write(outside.join("p/a.rego"), "package a\n\nwarn contains \"from outside\"\n").expect("a file");
    std::os::unix::fs::symlink(&outside, world.path("l")).expect("a link");
    world.write("argus.yaml", "paths: [acme.yaml]\npolicies: l/p\n");
    world.plan().ends(1).says("ARG3110").says("it is a symbolic link").says("--> l").does_not_say("from outside");
    world.apply().ends(1);
    // What the machine names is the machine's affair.
    let named = world.path("l/p").display().to_string();
    world.argus(&["plan", "--policies", &named]).ends(0).says("from outside");
    std::fs::remove_dir_all(&outside).expect("it can be removed");
}
