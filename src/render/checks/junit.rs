//! JUnit's XML, which CI systems show beside a build: a suite for each namespace. It keeps to the elements and attributes
//! that the strictest readers take; so a case has no file and line but those in what is said of it.

use std::fmt::Write;

use super::{Check, Outcome, Tally, groups};
use crate::render::inert::line;

/// All checks as one document.
pub fn draw(checks: &[Check]) -> String {
    let tally = Tally::of(checks);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let failures = tally.failures + tally.warnings;
    let _ = writeln!(out, "<testsuites tests=\"{}\" failures=\"{failures}\">", tally.total());
    for group in groups(checks) {
        let Some(first) = group.first() else { continue };
        let tally = Tally::of(group);
        let seconds: f64 = group.iter().map(|check| check.duration.as_secs_f64()).sum();
        let name = if first.namespace.is_empty() { &*first.file } else { &first.namespace };
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" file=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{seconds:.3}\">",
            text(name),
            text(&first.file),
            tally.total(),
            tally.failures + tally.warnings,
            tally.skipped
        );
        group.iter().for_each(|check| case(&mut out, check, name));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(out: &mut String, check: &Check, suite: &str) {
    let name = if check.name.is_empty() { &check.message } else { &check.name };
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        text(suite),
        text(name),
        check.duration.as_secs_f64()
    );
    let detail = || {
        let said = line(&check.said());
        let place = match check.file.is_empty() {
            true => said,
            false => format!("{}:{}: {said}", line(&check.file), check.line),
        };
        let lines = check.detail.iter().chain(&check.prints).map(|detail| line(detail));
        text(&std::iter::once(place).chain(lines).collect::<Vec<_>>().join("\n"))
    };
    let message = text(&check.said());
    let _ = match check.outcome {
        Outcome::Passed => writeln!(out, "/>"),
        // It has passed, and readers show what stands in the output of a case all the same.
        Outcome::Noted | Outcome::Excepted => {
            writeln!(out, ">\n      <system-out>{}</system-out>\n    </testcase>", detail())
        }
        Outcome::Skipped => writeln!(out, ">\n      <skipped/>\n    </testcase>"),
        Outcome::Warned | Outcome::Failed => writeln!(
            out,
            ">\n      <failure message=\"{message}\" type=\"{}\">{}</failure>\n    </testcase>",
            check.outcome.word(),
            detail()
        ),
    };
}

/// Text as XML takes it, in an element or an attribute; line ends stay.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for (at, part) in plain.split('\n').enumerate() {
        if at > 0 {
            out.push_str("&#10;");
        }
        for c in line(part).chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&apos;"),
                c => out.push(c),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{note, some};
    use super::*;

    #[test]
    fn a_note_is_a_case_that_has_passed_with_what_it_says() {
        let xml = draw(&[note()]);
        assert!(xml.contains("<testsuites tests=\"1\" failures=\"0\">"), "{xml}");
        assert!(
            xml.contains(
                "<system-out>acme.yaml:12: ARG2006: the removal is done\\n::error::&lt;b&gt; &amp; ******** \\u{202e}&#10;hint: delete it</system-out>"
            ),
            "{xml}"
        );
    }

    #[test]
    fn a_suite_for_each_namespace_and_a_case_for_each_check() {
        let xml = draw(&some());
        assert!(xml.contains("<testsuites tests=\"4\" failures=\"2\">"), "{xml}");
        assert!(xml.contains("<testsuite name=\"argus.a_test\" file=\"policies/a,b_test.rego\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"0.015\">"), "{xml}");
        assert!(
            xml.contains("<testcase classname=\"argus.a_test\" name=\"data.argus.a_test.test_good\" time=\"0.005\"/>"),
            "{xml}"
        );
        assert!(xml.contains("<failure message=\"data.argus.a_test.test_bad&#10;::error::&lt;b&gt; &amp; &quot;100%&quot; ********\" type=\"failure\">"), "{xml}");
        assert!(xml.contains("<skipped/>"), "{xml}");
        assert!(
            xml.contains(
                "<failure message=\"ARG3113: nothing uses it\" type=\"warning\">policies/a.rego:1: ARG3113: nothing uses it</failure>"
            ),
            "{xml}"
        );
    }
}
