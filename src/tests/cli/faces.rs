//! Findings of manifests, plans, drift and applies in the formats of CI systems, each valid by its own rules.

mod junit;

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{ACME, Ran, World};

/// The schema of the standard.
static SARIF: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../fixtures/schemas/sarif-2.1.0.json")).expect("a schema");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema")
});

/// What GitLab's documentation asks of a Code Quality report.
static GITLAB: LazyLock<Validator> = LazyLock::new(|| {
    let text = json!({ "type": "string", "minLength": 1 });
    let schema = json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["description", "check_name", "fingerprint", "severity", "location"],
            "properties": {
                "description": text,
                "check_name": text,
                "fingerprint": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
                "severity": { "enum": ["info", "minor", "major", "critical", "blocker"] },
                "location": {
                    "type": "object",
                    "required": ["path", "lines"],
                    "properties": {
                        "path": { "type": "string", "pattern": "^[^./]" },
                        "lines": {
                            "type": "object",
                            "required": ["begin"],
                            "properties": { "begin": { "type": "integer", "minimum": 1 } },
                        },
                    },
                },
            },
        },
    });
    jsonschema::validator_for(&schema).expect("a schema")
});

/// A world whose policies deny what is named badly and warn of the rest.
fn judged() -> World {
    let world = World::with(&format!("{ACME}  teams:\n    - name: bad\n    - name: odd\n"));
    world.write(
        "policies/names.rego",
        "package argus.names\n\n\
         # METADATA\n# custom:\n#   id: name-bad\n\
         deny contains finding if {\n\
         \tsome change in input.changes\n\tchange.name == \"bad\"; finding := {\"msg\": \"no, 100% no\", \"origin\": change.origin}\n}\n\n\
         warn contains finding if {\n\
         \tsome change in input.changes\n\tchange.name == \"odd\"; finding := {\"msg\": \"odd\", \"origin\": change.origin}\n}\n",
    );
    world
}

/// A document that is as it has to be.
#[track_caller]
fn valid(validator: &Validator, ran: &Ran) -> Value {
    let document = ran.json();
    let faults: Vec<String> =
        validator.iter_errors(&document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{ran}");
    document
}

/// The line of a file of the repo; empty where there is none of this number.
fn line(world: &World, file: &str, number: &Value) -> String {
    // What stands in no file is put there, where GitLab has no line without a file.
    let nowhere = file == "argus.yaml" && !world.path(file).exists();
    let Some(number) = number.as_u64().filter(|_| !nowhere) else { return String::new() };
    let text = std::fs::read_to_string(world.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines().nth(number as usize - 1).expect("a line of the file").trim().to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The results of a valid SARIF document: rule, level, and what stands in the line that each is about.
#[track_caller]
fn results(world: &World, ran: &Ran) -> Vec<(String, String, String)> {
    let sarif = valid(&SARIF, ran);
    let run = &sarif["runs"][0];
    assert_eq!(run["invocations"][0]["exitCode"], json!(ran.code), "{ran}");
    let result = |result: &Value| {
        let place = &result["locations"][0]["physicalLocation"];
        let rule = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
        let line = line(world, &text(&place["artifactLocation"]["uri"]), &place["region"]["startLine"]);
        (text(&result["ruleId"]), text(&result["level"]), line)
    };
    run["results"].as_array().expect("results").iter().map(result).collect()
}

/// The issues of a valid Code Quality report: rule, severity, and what stands in the line that each is about.
#[track_caller]
fn issues(world: &World, ran: &Ran) -> Vec<(String, String, String)> {
    let issue = |issue: &Value| {
        let place = &issue["location"];
        let line = line(world, &text(&place["path"]), &place["lines"]["begin"]);
        (text(&issue["check_name"]), text(&issue["severity"]), line)
    };
    valid(&GITLAB, ran).as_array().expect("a list").iter().map(issue).collect()
}

fn expected<const N: usize>(list: [(&str, &str, &str); N]) -> Vec<(String, String, String)> {
    list.map(|(rule, level, line)| (rule.to_owned(), level.to_owned(), line.to_owned())).to_vec()
}

#[test]
fn the_schema_of_the_standard_refuses_what_is_no_sarif() {
    let run = json!({ "tool": { "driver": { "name": "argus" } }, "results": [] });
    let good = json!({ "version": "2.1.0", "runs": [run] });
    assert!(SARIF.is_valid(&good));
    let mut bad = vec![json!({ "version": "2.1.0" }), json!({ "version": "2.0.0", "runs": [] })];
    for (pointer, value) in [
        ("/runs/0/results", json!([{ "message": {} }])),
        ("/runs/0/results", json!([{ "message": { "text": "x" }, "level": "fatal" }])),
        ("/runs/0/results", json!([{ "message": { "text": "x" }, "line": 3 }])),
        ("/runs/0/tool", json!({})),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).expect("a place") = value;
        bad.push(wrong);
    }
    let places =
        json!([{ "physicalLocation": { "region": { "startLine": 0 }, "artifactLocation": { "uri": "a b" } } }]);
    let result = json!([{ "message": { "text": "x" }, "locations": places }]);
    *bad[2].pointer_mut("/runs/0/results").expect("a place") = result;
    for document in bad {
        assert!(!SARIF.is_valid(&document), "{document}");
    }
}

#[test]
fn a_plan_that_is_denied_is_told_by_rule_and_line() {
    let world = judged();
    let ran = world.argus(&["plan", "--format", "sarif"]).ends(0);
    assert_eq!(
        results(&world, &ran),
        expected([("name-bad", "error", "- name: bad"), ("argus.names.warn", "warning", "- name: odd")])
    );
    let ran = world.argus(&["plan", "--format", "gitlab"]).ends(0);
    assert_eq!(
        issues(&world, &ran),
        expected([("name-bad", "critical", "- name: bad"), ("argus.names.warn", "minor", "- name: odd")])
    );
}

#[test]
fn a_plan_is_noted_beside_the_lines_of_a_pull_request() {
    let world = judged();
    let out = world.argus(&["plan", "--format", "github"]).ends(0).out;
    assert!(out.contains("\n::error file=acme.yaml,line=11::name-bad: no, 100%25 no\n"), "{out}");
    assert!(out.contains("\n::warning file=acme.yaml,line=12::argus.names.warn: odd\n"), "{out}");
    let folder = world.root.file_name().expect("a name").to_string_lossy().into_owned();
    let mut above = world.command(&["plan", &folder, "--format", "github"]);
    above.current_dir(world.root.parent().expect("a parent"));
    super::run(above).ends(0).says(&format!("::error file={folder}/acme.yaml,line=11::"));
}

#[test]
fn an_organization_of_which_nothing_is_said_passes() {
    let world = World::with(ACME);
    let ran = world.argus(&["plan", "--format", "junit"]).ends(0);
    assert_eq!(junit::cases(&ran), [("acme", "plan", "")].map(junit::Case::from));
    let ran = judged().argus(&["plan", "--format", "junit"]).ends(0);
    assert_eq!(
        junit::cases(&ran),
        [("acme", "acme", "name-bad: no, 100% no"), ("acme", "acme", "argus.names.warn: odd")].map(junit::Case::from)
    );
    ran.says("<failure message=\"name-bad: no, 100% no\" type=\"failure\">acme.yaml:11: name-bad");
}

#[test]
fn mistakes_in_manifests_are_told_by_code_and_line() {
    let world = World::with(&ACME.replace("role: owner", "roel: owner"));
    let ran = world.argus(&["validate", "--format", "sarif"]).ends(1);
    let wrong = expected([("ARG1042", "error", "roel: owner")]);
    assert!(results(&world, &ran).contains(&wrong[0]), "{ran}");
    let rules = ran.json()["runs"][0]["tool"]["driver"]["rules"].clone();
    let rule = json!({ "id": "ARG1042", "shortDescription": { "text": "Unknown field" } });
    assert!(rules.as_array().expect("rules").contains(&rule), "{rules}");
    let ran = world.argus(&["validate", "--format", "gitlab"]).ends(1);
    assert!(issues(&world, &ran).contains(&expected([("ARG1042", "critical", "roel: owner")])[0]), "{ran}");
    world.argus(&["validate", "--format", "github"]).ends(1).says("::error file=acme.yaml,line=9::ARG1042: ");
    let ran = world.argus(&["validate", "--format", "junit"]).ends(1).says("type=\"failure\">acme.yaml:9: ARG1042: ");
    assert!(junit::cases(&ran).iter().any(|case| case.failure.contains("ARG1042")));
    let good = World::with(ACME);
    let ran = good.argus(&["validate", "--format", "junit"]).ends(0);
    assert_eq!(junit::cases(&ran), [("", "2 resources", "")].map(junit::Case::from));
    assert_eq!(results(&good, &good.argus(&["validate", "--format", "sarif"]).ends(0)), []);
    assert_eq!(issues(&good, &good.argus(&["validate", "--format", "gitlab"]).ends(0)), []);
}

/// What is worth knowing and nothing to mend is no failure: nothing has drifted, and the job is green.
#[test]
fn a_note_is_no_failure() {
    let text = format!("{ACME}  teams: [{{name: core}}]\n");
    let removal =
        "  removals:\n    - name: drop-core\n      target: {kind: Team, name: core}\n      reason: replaced\n";
    let world = World::applied(&text);
    world.write("acme.yaml", &format!("{ACME}{removal}")).apply().ends(0);
    let ran = world.argus(&["drift", "--format", "junit", "--detailed-exitcode"]).ends(0);
    let cases = junit::cases(&ran);
    assert!(cases.iter().all(|case| case.failure.is_empty()), "{cases:?}");
    assert!(cases.iter().any(|case| case.output.contains("ARG2006")), "{cases:?}");
    let told = world.argus(&["plan", "--format", "sarif"]).ends(0);
    assert!(results(&world, &told).iter().any(|(rule, level, _)| rule == "ARG2006" && level == "note"), "{told}");
    let told = world.argus(&["plan", "--format", "gitlab"]).ends(0);
    assert!(issues(&world, &told).iter().any(|(rule, level, _)| rule == "ARG2006" && level == "info"), "{told}");
    world.argus(&["plan", "--format", "github"]).ends(0).says("::notice").does_not_say("::warning");
}

/// Where no policy is tested, nothing speaks of policies.
#[test]
fn manifests_are_not_tested_against_policies() {
    let world = World::with(ACME);
    world.argus(&["validate", "--format", "github"]).ends(0).says("1 test, 1 passed").does_not_say("policies");
    world.write("acme.yaml", &ACME.replace("role: owner", "roel: owner"));
    let ran = world.argus(&["validate", "--format", "github"]).ends(1);
    ran.says("::group::acme.yaml\n")
        .says("\n::error file=acme.yaml,line=9::")
        .does_not_say("policies")
        .does_not_say("successful");
}

#[test]
fn each_field_that_has_drifted_is_told_at_the_line_where_it_is_written() {
    let text =
        ACME.replace("displayName: Acme\n", "displayName: Acme\n  description: We\n  billingEmail: a@acme.example\n");
    let world = World::applied(&format!("{text}  teams:\n    - name: core\n    - name: web\n"));
    let clean = world.argus(&["drift", "--format", "junit"]).ends(0);
    assert_eq!(junit::cases(&clean), [("", "drift", "")].map(junit::Case::from));
    assert_eq!(results(&world, &world.argus(&["drift", "--format", "sarif"]).ends(0)), []);
    world.mallory(
        "night shift",
        "UPDATE argus.organization SET display_name = 'Mine', description = 'argus_sk_canary1234canary1234';
         DELETE FROM argus.team WHERE name = 'web';
         INSERT INTO argus.member (organization, email) VALUES ('acme', 'mallory@acme.example')",
    );
    // What has moved on both sides is a conflict.
    world
        .write("acme.yaml", &std::fs::read_to_string(world.path("acme.yaml")).expect("a file").replace(": We", ": Us"));
    let ran = world.argus(&["drift", "--format", "sarif", "--detailed-exitcode"]).ends(2).does_not_say("canary");
    let mut found = results(&world, &ran);
    found.sort();
    assert_eq!(
        found,
        expected([
            ("conflict", "warning", "description: Us"),
            ("drift", "warning", ""),
            ("drift", "warning", "- name: web"),
            ("drift", "warning", "displayName: Acme"),
        ])
    );
    let told = ran.json()["runs"][0]["results"].to_string();
    for said in [
        "Organization/acme has `displayName: \\\"Mine\\\"`, and the manifest says \\\"Acme\\\"\\nchanged by mallory via night shift",
        "Team/web is declared, and its row was deleted\\ndeleted by mallory",
        "Member/mallory@acme.example is not declared, and somebody made a row of it\\nlast written by mallory",
    ] {
        assert!(told.contains(said), "{said}\n{told}");
    }
    world
        .argus(&["drift", "--format", "github"])
        .ends(0)
        .says("::warning file=acme.yaml,line=6::drift: Organization/acme");
    let ran = world.argus(&["drift", "--format", "junit"]).ends(0);
    assert_eq!(junit::cases(&ran).iter().filter(|case| !case.failure.is_empty()).count(), 4);
    assert_eq!(issues(&world, &world.argus(&["drift", "--format", "gitlab"]).ends(0)).len(), 4);
}

#[test]
fn a_saved_plan_and_one_that_waits_are_shown_in_every_format() {
    let world = judged();
    world.argus(&["plan", "-o", "next.plan"]).ends(0);
    let ran = world.argus(&["show", "next.plan", "--format", "sarif"]).ends(0);
    assert_eq!(results(&world, &ran), results(&world, &world.argus(&["plan", "--format", "sarif"])));
    assert_eq!(issues(&world, &world.argus(&["show", "next.plan", "--format", "gitlab"]).ends(0)).len(), 2);
    world.argus(&["show", "next.plan", "--format", "github"]).ends(0).says("::error file=acme.yaml,line=11::");
    let members: String = (0..9).map(|n| format!("    - {{user: m{n}@acme.example, role: member}}\n")).collect();
    let world = World::applied(&format!("{ACME}{members}"));
    world.write("acme.yaml", ACME).apply().ends(4);
    let held = world.argus(&["get", "held", "-o", "json"]).ends(0).json();
    let digest = text(&held["items"][0]["plan"]);
    let ran = world.argus(&["show", &digest, "--format", "sarif"]).ends(0);
    assert!(results(&world, &ran).contains(&expected([("ARG3001", "warning", "")])[0]), "{ran}");
    let ran = world.argus(&["show", &digest, "--format", "junit"]).ends(0);
    assert!(junit::cases(&ran).iter().any(|case| case.failure.starts_with("ARG3001: ")), "{ran}");
}

#[test]
fn an_apply_tells_why_an_organization_was_left_as_it_was() {
    let world = judged();
    let apply = |format: &str| world.argus(&["apply", "--auto-approve", "--format", format]);
    let ran = apply("sarif").ends(3);
    assert_eq!(
        results(&world, &ran),
        expected([("name-bad", "error", "- name: bad"), ("argus.names.warn", "warning", "- name: odd")])
    );
    assert_eq!(issues(&world, &apply("gitlab").ends(3)).len(), 2);
    apply("github").ends(3).says("\n::error file=acme.yaml,line=11::name-bad: no, 100%25 no\n");
    world.write("acme.yaml", ACME);
    world.argus(&["plan", "-o", "next.plan"]).ends(0);
    assert_eq!(junit::cases(&apply("junit").ends(0)), [("acme", "apply", "")].map(junit::Case::from));
    // What went wrong only when it was written is told as well.
    let ran = world.argus(&["apply", "next.plan", "--auto-approve", "--format", "sarif"]).ends(5);
    assert_eq!(results(&world, &ran), expected([("ARG4001", "error", "")]));
    // Of manifests that cannot be read, too.
    world.write("acme.yaml", &ACME.replace("role: owner", "roel: owner"));
    let ran = apply("sarif").ends(1);
    assert!(results(&world, &ran).contains(&expected([("ARG1042", "error", "roel: owner")])[0]), "{ran}");
}

#[test]
fn a_rollback_tells_what_is_in_its_way() {
    let world = World::applied(ACME);
    world.write("acme.yaml", &format!("{ACME}  teams: [{{name: core}}]\n")).apply().ends(0);
    let run = world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    let roll = |more: &[&str]| world.argus(&[&["rollback", &run, "--auto-approve", "--format"], more].concat());
    assert_eq!(results(&world, &roll(&["sarif", "--plan"]).ends(0)), []);
    world.sql("UPDATE argus.team SET description = 'theirs'");
    let in_the_way = expected([("ARG3205", "error", "")]);
    assert_eq!(results(&world, &roll(&["sarif", "--plan"]).ends(1)), in_the_way);
    assert_eq!(results(&world, &roll(&["sarif"]).ends(1)), in_the_way);
    assert_eq!(issues(&world, &roll(&["gitlab"]).ends(1)), expected([("ARG3205", "critical", "")]));
    world.sql("UPDATE argus.team SET description = NULL");
    let cases = junit::cases(&roll(&["junit"]));
    assert_eq!(cases.len(), 1, "{cases:?}");
}

#[test]
fn tests_of_policies_are_told_in_the_same_formats() {
    let world = World::new();
    world.write(
        "policies/a.rego",
        "package argus.a\n\ndeny contains \"no\" if {\n\tinput.organization == \"acme\"\n}\n",
    );
    world.write("policies/a_test.rego", "package argus.a_test\n\ntest_no if {\n\t1 == 2\n}\n\ntest_yes if true\n");
    let test = |format: &str| world.argus(&["policy", "test", "--format", format]).ends(1);
    assert_eq!(results(&world, &test("sarif")), expected([("policy-test", "error", "test_no if {")]));
    assert_eq!(issues(&world, &test("gitlab")), expected([("policy-test", "critical", "test_no if {")]));
    let cases = junit::cases(&test("junit"));
    assert_eq!(cases.iter().filter(|case| case.failure.is_empty()).count(), 1);
    assert_eq!(cases.len(), 2);
    test("github").says("::error file=policies/a_test.rego,line=3::");
}
