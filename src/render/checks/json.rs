//! For other programs: the list that conftest prints, an object for each check, with the name, line and time of each
//! beside it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Check, Outcome};
use crate::render::inert::line;

#[derive(Serialize)]
struct Item {
    filename: String,
    namespace: String,
    name: String,
    line: u32,
    milliseconds: f64,
    successes: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Result>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<Result>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Result>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Result>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exceptions: Vec<Result>,
}

#[derive(Serialize)]
struct Result {
    msg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    loc: Option<Location>,
    metadata: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<String>,
}

#[derive(Serialize)]
struct Location {
    file: String,
    line: u32,
}

/// All checks as one list.
pub fn draw(checks: &[Check]) -> String {
    let items: Vec<Item> = checks.iter().map(item).collect();
    crate::render::json::pretty(&items)
}

fn item(check: &Check) -> Item {
    let of = |outcome: Outcome| if check.outcome == outcome { vec![result(check)] } else { Vec::new() };
    Item {
        filename: line(&check.file),
        namespace: line(&check.namespace),
        name: line(&check.name),
        line: check.line,
        milliseconds: check.duration.as_secs_f64() * 1_000.0,
        successes: usize::from(matches!(check.outcome, Outcome::Passed | Outcome::Noted)),
        notes: of(Outcome::Noted),
        skipped: of(Outcome::Skipped),
        warnings: of(Outcome::Warned),
        failures: of(Outcome::Failed),
        exceptions: of(Outcome::Excepted),
    }
}

fn result(check: &Check) -> Result {
    let loc = (check.line > 0).then(|| Location { file: line(&check.file), line: check.line });
    let detail = check.detail.iter().map(|detail| line(detail)).collect::<Vec<_>>().join("\n");
    let metadata = [("query", line(&check.name)), ("rule", line(&check.id)), ("details", detail)];
    Result {
        msg: line(&check.message),
        loc,
        metadata: metadata.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
        outputs: check.prints.iter().map(|print| line(print)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::some;
    use super::*;

    #[test]
    fn every_check_is_an_object_of_conftests_form() {
        let list: serde_json::Value = serde_json::from_str(&draw(&some())).expect("JSON");
        assert_eq!(list.as_array().map(Vec::len), Some(4));
        assert_eq!((&list[0]["successes"], &list[0]["failures"]), (&1.into(), &serde_json::Value::Null));
        assert_eq!(list[1]["filename"], "policies/a,b_test.rego");
        assert_eq!(list[1]["failures"][0]["metadata"]["query"], "data.argus.a_test.test_bad");
        assert_eq!(list[1]["failures"][0]["loc"]["line"], 7);
        assert_eq!(list[2]["skipped"][0]["msg"], "data.argus.a_test.todo_test_later");
        assert_eq!(list[3]["warnings"][0]["msg"], "nothing uses it");
    }
}
