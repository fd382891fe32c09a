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
        let _ = writeln!(out, "::group::Testing \"{}\" against {} policies{}", data(&file), group.len(), data(&of));
        group.iter().for_each(|check| note(&mut out, check));
        let passed = Tally::of(group).passed;
        let _ = writeln!(out, "::notice file={},line=1::Number of successful checks: {passed}", property(&file));
        out.push_str("::endgroup::\n");
    }
    let _ = writeln!(out, "{}", Tally::of(checks).line());
    out
}

fn note(out: &mut String, check: &Check) {
    let (level, lead) = match check.outcome {
        Outcome::Failed => ("error", ""),
        Outcome::Warned => ("warning", ""),
        Outcome::Excepted => ("notice", ""),
        Outcome::Skipped => ("notice", "Test was skipped: "),
        Outcome::Passed => return,
    };
    let said = std::iter::once(&check.message).chain(&check.detail).chain(&check.prints).map(|text| line(text));
    let said = said.collect::<Vec<_>>().join("\n");
    let file = property(&line(&check.file));
    let _ = writeln!(out, "::{level} file={file},line={}::{lead}{}", check.line.max(1), data(&said));
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
             ::warning file=policies/a.rego,line=1::nothing uses it\n\
             ::notice file=policies/a.rego,line=1::Number of successful checks: 0\n\
             ::endgroup::\n\
             4 tests, 1 passed, 1 warning, 1 failure, 0 exceptions, 1 skipped\n"
        );
    }
}
