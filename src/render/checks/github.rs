//! The commands of GitHub's workflows, which put a note beside the line of a pull request.

use std::fmt::Write;

use super::{Check, Outcome, TEST, Tally, groups};
use crate::render::inert::line;

/// All checks, a foldable group for each file: of tests of policies in the words of conftest, of all else with nothing but
/// what is said.
pub fn draw(checks: &[Check]) -> String {
    let mut out = String::new();
    for group in groups(checks) {
        let Some(first) = group.first() else { continue };
        let (file, namespace) = (line(&first.file), line(&first.namespace));
        let mut notes = String::new();
        group.iter().for_each(|check| note(&mut notes, check));
        let title = match group.iter().any(|check| check.id == TEST) {
            true => {
                let place = if file.is_empty() { String::new() } else { format!(" file={},line=1", property(&file)) };
                let passed = Tally::of(group).passed;
                let _ = writeln!(notes, "::notice{place}::Number of successful checks: {passed}");
                let of = if namespace.is_empty() { String::new() } else { format!(" in namespace \"{namespace}\"") };
                format!("Testing \"{file}\" against {} policies{of}", group.len())
            }
            false => {
                let named: Vec<String> = [namespace, file].into_iter().filter(|name| !name.is_empty()).collect();
                if named.is_empty() { "Manifests".to_owned() } else { named.join(", ") }
            }
        };
        if !notes.is_empty() {
            let _ = write!(out, "::group::{}\n{notes}::endgroup::\n", data(&title));
        }
    }
    let _ = writeln!(out, "{}", Tally::of(checks).line());
    out
}

fn note(out: &mut String, check: &Check) {
    let (level, lead) = match check.outcome {
        Outcome::Failed => ("error", ""),
        Outcome::Warned => ("warning", ""),
        Outcome::Noted | Outcome::Excepted => ("notice", ""),
        Outcome::Skipped => ("notice", "Test was skipped: "),
        Outcome::Passed => return,
    };
    let said = std::iter::once(&check.said())
        .chain(&check.detail)
        .chain(&check.prints)
        .map(|text| line(text))
        .collect::<Vec<_>>();
    let place = match check.file.is_empty() {
        true => String::new(),
        false => format!(" file={},line={}", property(&line(&check.file)), check.line.max(1)),
    };
    let _ = writeln!(out, "::{level}{place}::{lead}{}", data(&said.join("\n")));
}

/// Text behind a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text within a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{note, some};
    use super::*;

    #[test]
    fn what_stands_in_no_file_has_no_place() {
        let check = Check { file: "".into(), namespace: "acme".into(), ..some().remove(3) };
        let text = draw(&[check]);
        assert!(text.starts_with("::group::acme\n::warning::ARG3113: nothing uses it\n::endgroup::\n"), "{text}");
    }

    #[test]
    fn where_no_policy_is_tested_nothing_speaks_of_one() {
        let well = Check::well("", "2 resources");
        assert_eq!(draw(&[well]), "1 test, 1 passed, 0 warnings, 0 failures, 0 exceptions, 0 skipped\n");
        assert_eq!(
            draw(&[note()]),
            "::group::acme, acme.yaml\n\
             ::notice file=acme.yaml,line=12::ARG2006: the removal is done\\n::error::<b> & ******** \\u{202e}%0Ahint: delete it\n\
             ::endgroup::\n\
             1 test, 1 passed, 0 warnings, 0 failures, 0 exceptions, 0 skipped\n"
        );
    }

    #[test]
    fn failures_are_noted_at_their_lines_and_nothing_in_them_is_a_command() {
        assert_eq!(
            draw(&some()),
            "::group::Testing \"policies/a,b_test.rego\" against 3 policies in namespace \"argus.a_test\"\n\
             ::error file=policies/a%2Cb_test.rego,line=7::data.argus.a_test.test_bad\\n::error::<b> & \"100%25\" \
             ********%0A9 | x == \\u{202e}1%0Apolicies/a,b_test.rego:8: <x> 100%25\n\
             ::notice file=policies/a%2Cb_test.rego,line=12::Test was skipped: data.argus.a_test.todo_test_later\n\
             ::notice file=policies/a%2Cb_test.rego,line=1::Number of successful checks: 1\n\
             ::endgroup::\n\
             ::group::argus.a, policies/a.rego\n\
             ::warning file=policies/a.rego,line=1::ARG3113: nothing uses it\n\
             ::endgroup::\n\
             4 tests, 1 passed, 1 warning, 1 failure, 0 exceptions, 1 skipped\n"
        );
    }
}
