//! GitLab's Code Quality report, which shows what is new beside the lines of a merge request. What passed is left out.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Check, NOWHERE, Outcome};
use crate::render::inert::line;

#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// All checks that did not pass, as one list.
pub fn draw(checks: &[Check]) -> String {
    let mut alike: BTreeMap<[&str; 5], usize> = BTreeMap::new();
    let issues = checks.iter().filter_map(|check| {
        let severity = severity(check.outcome)?;
        // Without the line: what moves with the lines above it is nothing new.
        let known_by = [&*check.file, &check.namespace, &check.name, &check.id, &check.message];
        let earlier = alike.entry(known_by).or_default();
        let fingerprint = fingerprint(known_by, *earlier);
        *earlier += 1;
        let file = if check.file.is_empty() { NOWHERE } else { &check.file };
        let said = std::iter::once(&check.message).chain(&check.detail).map(|text| line(text));
        Some(Issue {
            description: said.collect::<Vec<_>>().join("\n"),
            check_name: line(&check.id),
            fingerprint,
            severity,
            location: Location { path: line(file), lines: Lines { begin: check.line.max(1) } },
        })
    });
    crate::render::json::pretty(&issues.collect::<Vec<_>>())
}

fn severity(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Failed => Some("critical"),
        Outcome::Warned => Some("minor"),
        Outcome::Noted | Outcome::Excepted => Some("info"),
        Outcome::Passed | Outcome::Skipped => None,
    }
}

/// By which GitLab knows an issue again; two of one report have to differ in it.
fn fingerprint(known_by: [&str; 5], earlier: usize) -> String {
    let text = serde_json::to_string(&(known_by, earlier)).unwrap_or_default();
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::some;
    use super::*;

    fn drawn(checks: &[Check]) -> Vec<Value> {
        serde_json::from_str(&draw(checks)).expect("a list")
    }

    #[test]
    fn what_did_not_pass_is_an_issue_at_its_line() {
        let issues = drawn(&some());
        assert_eq!(issues.len(), 2);
        assert_eq!(issues[0]["severity"], "critical");
        assert_eq!(issues[0]["location"], json!({ "path": "policies/a,b_test.rego", "lines": { "begin": 7 } }));
        let mut second = issues[1].clone();
        second["fingerprint"] = Value::Null;
        assert_eq!(
            second,
            json!({
                "description": "nothing uses it",
                "check_name": "ARG3113",
                "fingerprint": null,
                "severity": "minor",
                "location": { "path": "policies/a.rego", "lines": { "begin": 1 } },
            })
        );
    }

    #[test]
    fn an_issue_keeps_its_fingerprint_where_lines_move_and_no_two_have_the_same() {
        let prints = |checks: &[Check]| -> Vec<Value> {
            drawn(checks).into_iter().map(|issue| issue["fingerprint"].clone()).collect()
        };
        let twice = [some(), some()].concat();
        let moved: Vec<Check> = twice.iter().map(|check| Check { line: check.line + 3, ..check.clone() }).collect();
        assert_eq!(prints(&twice), prints(&moved));
        let mut different = prints(&twice);
        different.sort_by_key(Value::to_string);
        different.dedup();
        assert_eq!(different.len(), 4);
    }

    #[test]
    fn what_stands_in_no_file_gets_one_because_there_must_be_one() {
        let nowhere = Check { file: "".into(), line: 0, ..some().remove(3) };
        let issues = drawn(&[nowhere]);
        assert_eq!(issues[0]["location"], json!({ "path": "argus.yaml", "lines": { "begin": 1 } }));
    }
}
