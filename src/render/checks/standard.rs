//! For people: a line for each check of which something is said, what is known of it below, and the summary.

use std::fmt::Write;

use super::{Check, Outcome, Tally};
use crate::render::inert::line;
use crate::render::text::Paint;

/// Draws what is said, and the summary.
pub fn draw(checks: &[Check], paint: Paint) -> String {
    let mut out = String::new();
    for text in checks.iter().flat_map(|check| &check.prints) {
        let _ = writeln!(out, "{}  {}", paint.wrap("34", "PRNT"), line(text));
    }
    for check in checks {
        let (code, word) = match check.outcome {
            Outcome::Warned => ("33", "WARN"),
            Outcome::Failed => ("31", "FAIL"),
            Outcome::Excepted => ("36", "EXCP"),
            Outcome::Noted => ("36", "NOTE"),
            Outcome::Passed | Outcome::Skipped => continue,
        };
        let place = match check.line {
            0 => line(&check.file),
            number => format!("{}:{number}", line(&check.file)),
        };
        let parts = [place, line(&check.namespace), line(&check.said())];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let _ = writeln!(out, "{} - {}", paint.wrap(code, word), parts.join(" - "));
        for detail in &check.detail {
            let _ = writeln!(out, "       {}", line(detail));
        }
    }
    let tally = Tally::of(checks);
    let code = match tally {
        Tally { failures: 1.., .. } => "31",
        Tally { warnings: 1.., .. } => "33",
        Tally { exceptions: 1.., .. } => "36",
        _ => "32",
    };
    let _ = writeln!(out, "\n{}", paint.wrap(code, &tally.line()));
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::some;
    use super::*;

    #[test]
    fn what_did_not_pass_is_a_line_each() {
        assert_eq!(
            draw(&some(), Paint { color: false }),
            "PRNT  policies/a,b_test.rego:8: <x> 100%\n\
             FAIL - policies/a,b_test.rego:7 - argus.a_test - data.argus.a_test.test_bad\\n::error::<b> & \"100%\" ********\n       \
             9 | x == \\u{202e}1\n\
             WARN - policies/a.rego:1 - argus.a - ARG3113: nothing uses it\n\
             \n4 tests, 1 passed, 1 warning, 1 failure, 0 exceptions, 1 skipped\n"
        );
        assert!(draw(&some(), Paint { color: true }).starts_with("\u{1b}[34mPRNT\u{1b}[0m  "));
    }
}
