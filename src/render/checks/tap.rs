//! TAP, the Test Anything Protocol, version 12 as conftest writes it; one plan for all checks.

use std::fmt::Write;

use super::{Check, Outcome};
use crate::render::inert::line;

/// All checks as one stream.
pub fn draw(checks: &[Check]) -> String {
    let mut out = format!("1..{}\n", checks.len());
    for (number, check) in (1..).zip(checks) {
        let (ok, text, directive) = match check.outcome {
            Outcome::Passed => ("ok", check.name.clone(), ""),
            Outcome::Noted | Outcome::Excepted => ("ok", check.said(), ""),
            Outcome::Skipped => ("ok", check.name.clone(), " # SKIP"),
            Outcome::Warned | Outcome::Failed => ("not ok", check.said(), ""),
        };
        let parts = [&*check.file, &check.namespace, &text].map(plain);
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let _ = writeln!(out, "{ok} {number} - {}{directive}", parts.join(" - "));
        for detail in check.detail.iter().chain(&check.prints) {
            let _ = writeln!(out, "# {}", line(detail));
        }
    }
    out
}

/// A description without what begins a directive.
fn plain(text: &str) -> String {
    line(text).replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::super::tests::some;
    use super::*;

    #[test]
    fn a_line_for_each_check_and_the_number_of_them_first() {
        assert_eq!(
            draw(&some()),
            "1..4\n\
             ok 1 - policies/a,b_test.rego - argus.a_test - data.argus.a_test.test_good\n\
             not ok 2 - policies/a,b_test.rego - argus.a_test - data.argus.a_test.test_bad\\n::error::<b> & \"100%\" ********\n\
             # 9 | x == \\u{202e}1\n\
             # policies/a,b_test.rego:8: <x> 100%\n\
             ok 3 - policies/a,b_test.rego - argus.a_test - data.argus.a_test.todo_test_later # SKIP\n\
             not ok 4 - policies/a.rego - argus.a - ARG3113: nothing uses it\n"
        );
    }
}
