//! The commands of GitHub's workflows, which put a note beside the line of a pull request.

use std::fmt::Write;

use super::{Check, Outcome, Tally, groups};
use crate::render::inert::line;

/// All checks, a foldable group for each file.
pub fn draw(checks: &[Check]) -> String {
    let mut out = String::new();
    for group in groups(checks) {
        let Some(first) = group.first() else { continue };
        let (file, namespace) = (line(&first.file), line(&first.namespace));
        let of = if namespace.is_empty() { String::new() } else { format!(" in namespace \"{namespace}\"") };
        let place = if file.is_empty() { String::new() } else { format!(" file={},line=1", property(&file)) };
        let _ = writeln!(out, "::group::Testing \"{}\" against {} policies{}", data(&file), group.len(), data(&of));
        group.iter().for_each(|check| note(&mut out, check));
        let passed = Tally::of(group).passed;
        let _ = writeln!(out, "::notice{place}::Number of successful checks: {passed}");
        out.push_str("::endgroup::\n");
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
    use super::super::tests::some;
    use super::*;

    #[test]
    fn what_stands_in_no_file_has_no_place() {
        let check = Check { file: "".into(), namespace: "acme".into(), ..some().remove(3) };
        let text = draw(&[check]);
        assert!(text.contains("\n::warning::ARG3113: nothing uses it\n::notice::Number"), "{text}");
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
             ::group::Testing \"policies/a.rego\" against 1 policies in namespace \"argus.a\"\n\
             ::warning file=policies/a.rego,line=1::ARG3113: nothing uses it\n\
             ::notice file=policies/a.rego,line=1::Number of successful checks: 0\n\
             ::endgroup::\n\
             4 tests, 1 passed, 1 warning, 1 failure, 0 exceptions, 1 skipped\n"
        );
    }
}
