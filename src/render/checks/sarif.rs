//! SARIF 2.1.0, which code scanning reads. What passed is left out: code scanning would show it as an alert.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Check, NOWHERE, Outcome, Tally};
use crate::render::inert::line;

/// Where the form of the document is told.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// All checks that did not pass, as one run that ended with this code.
pub fn draw(checks: &[Check], exit_code: u8) -> String {
    let told: Vec<&Check> = checks.iter().filter(|check| level(check.outcome).is_some()).collect();
    let ids: BTreeMap<&str, &Check> = told.iter().map(|check| (check.id.as_str(), *check)).collect();
    let rules: Vec<Value> = ids
        .iter()
        .map(|(id, check)| json!({ "id": line(id), "shortDescription": { "text": line(&check.title) } }))
        .collect();
    let place = |check: &Check| ids.keys().position(|id| *id == check.id);
    let results: Vec<Value> = told.iter().map(|check| result(check, place(check))).collect();
    let Tally { failures, warnings, .. } = Tally::of(checks);
    let outcome = match (failures, warnings) {
        (1.., _) => "Policy violations found",
        (_, 1..) => "Policy warnings found",
        _ => "No policy violations found",
    };
    let run = json!({
        "tool": { "driver": { "name": "argus", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
        "invocations": [{
            "executionSuccessful": true,
            "exitCode": exit_code,
            "exitCodeDescription": outcome,
        }],
        "columnKind": "unicodeCodePoints",
        "results": results,
    });
    crate::render::json::pretty(&json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] }))
}

fn level(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Failed => Some("error"),
        Outcome::Warned => Some("warning"),
        Outcome::Noted | Outcome::Excepted => Some("note"),
        Outcome::Passed | Outcome::Skipped => None,
    }
}

fn result(check: &Check, rule: Option<usize>) -> Value {
    let said = std::iter::once(&check.message).chain(&check.detail).map(|text| line(text));
    let mut result = json!({
        "ruleId": line(&check.id),
        "ruleIndex": rule,
        "level": level(check.outcome),
        "message": { "text": said.collect::<Vec<_>>().join("\n") },
    });
    let file = if check.file.is_empty() { NOWHERE } else { &check.file };
    let mut physical = json!({ "artifactLocation": { "uri": uri(file) } });
    if check.line > 0 {
        physical["region"] = json!({ "startLine": check.line });
    }
    let mut location = json!({ "physicalLocation": physical });
    if !check.name.is_empty() {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": line(&check.name) }]);
    }
    result["locations"] = json!([location]);
    result
}

/// A path as a URI takes it.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::super::tests::some;
    use super::*;

    #[test]
    fn what_did_not_pass_is_a_result_with_its_place() {
        let document: Value = serde_json::from_str(&draw(&some(), 1)).expect("JSON");
        let run = &document["runs"][0];
        assert_eq!(run["invocations"][0]["exitCode"], 1);
        assert_eq!(run["invocations"][0]["exitCodeDescription"], "Policy violations found");
        let results = run["results"].as_array().expect("results");
        let levels: Vec<&Value> = results.iter().map(|result| &result["level"]).collect();
        assert_eq!(levels, ["error", "warning"]);
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "policies/a%2Cb_test.rego");
        assert_eq!(place["region"]["startLine"], 7);
        let rule = results[0]["ruleIndex"].as_u64().expect("an index");
        assert_eq!(run["tool"]["driver"]["rules"][rule as usize]["id"], results[0]["ruleId"]);
    }
}
