//! Findings of manifests, plans and verdicts in the formats of CI systems.

use serde_json::{Value, json};

use super::{ACME, World};

/// A world whose policies deny what is named badly and warn of the rest.
fn judged() -> World {
    let world = World::with(&format!("{ACME}  teams:\n    - name: bad\n    - name: odd\n"));
    world.write(
        "policies/names.rego",
        "package argus.names\n\n\
         # METADATA\n# custom:\n#   id: name-bad\n\
         deny contains {\"msg\": \"no, 100% no\", \"origin\": change.origin} if {\n\
         \tsome change in input.changes\n\tchange.name == \"bad\"\n}\n\n\
         warn contains {\"msg\": \"odd\", \"origin\": change.origin} if {\n\
         \tsome change in input.changes\n\tchange.name == \"odd\"\n}\n",
    );
    world
}

fn results(sarif: &Value) -> Vec<(String, String, i64)> {
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let place =
        |result: &Value| result["locations"][0]["physicalLocation"]["region"]["startLine"].as_i64().unwrap_or(0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    results.iter().map(|result| (text(&result["ruleId"]), text(&result["level"]), place(result))).collect()
}

#[test]
fn a_plan_that_is_denied_is_told_to_code_scanning_by_rule_and_line() {
    let world = judged();
    let sarif = world.argus(&["plan", "--format", "sarif"]).ends(0).json();
    let expected = [("name-bad", "error", 11), ("argus.names.warn", "warning", 12)]
        .map(|(a, b, c)| (a.to_owned(), b.to_owned(), c));
    assert_eq!(results(&sarif), expected);
    assert_eq!(
        sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        "acme.yaml"
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
    let junit = world.argus(&["plan", "--format", "junit"]).ends(0).out;
    assert!(junit.contains("<testsuites tests=\"1\" failures=\"0\">"), "{junit}");
    assert!(junit.contains("<testcase classname=\"acme\" name=\"plan\" "), "{junit}");
    let junit = judged().argus(&["plan", "--format", "junit"]).ends(0).out;
    assert!(junit.contains("<testsuites tests=\"2\" failures=\"2\">"), "{junit}");
    assert!(
        junit.contains("<failure message=\"name-bad: no, 100% no\" type=\"failure\">acme.yaml:11: name-bad"),
        "{junit}"
    );
}

#[test]
fn mistakes_in_manifests_are_told_by_code_and_line() {
    let world = World::with(&ACME.replace("role: owner", "roel: owner"));
    let sarif = world.argus(&["validate", "--format", "sarif"]).ends(1).json();
    assert!(results(&sarif).contains(&("ARG1042".to_owned(), "error".to_owned(), 9)), "{sarif}");
    assert_eq!(sarif["runs"][0]["invocations"][0]["exitCode"], 1);
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    assert!(rules.contains(&json!({ "id": "ARG1042", "shortDescription": { "text": "Unknown field" } })), "{rules:?}");
    world.argus(&["validate", "--format", "github"]).ends(1).says("::error file=acme.yaml,line=9::ARG1042: ");
    world.argus(&["validate", "--format", "junit"]).ends(1).says("type=\"failure\">acme.yaml:9: ARG1042: ");
    let good = World::with(ACME);
    good.argus(&["validate", "--format", "junit"]).ends(0).says("name=\"2 resources\"");
    assert_eq!(results(&good.argus(&["validate", "--format", "sarif"]).ends(0).json()), []);
}
