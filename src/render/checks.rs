//! Checks and what came of them, in the formats of conftest: for people, for other programs and for CI systems.

pub mod drift;
pub mod github;
pub mod gitlab;
pub mod json;
pub mod junit;
pub mod sarif;
pub mod standard;
pub mod table;
pub mod tap;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::plan::Plan;
use crate::render::text::Paint;
use crate::verdict::Told;

/// A format of checks.
#[derive(Debug)]
pub struct Form {
    /// Its name, and other names for it.
    pub names: &'static [&'static str],
    /// What it is for.
    pub about: &'static str,
    /// Whether it is for CI systems: the findings of everything can be told in it, those of manifests and plans too.
    pub is_for_ci: bool,
    draw: fn(&[Check], Around) -> String,
}

/// What a format may tell beside the checks.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Whether there is colour.
    pub paint: Paint,
    /// How the command ends.
    pub exit_code: u8,
}

/// The formats of checks, the one for people first.
#[rustfmt::skip]
pub static FORMS: &[Form] = &[
    Form { names: &["stdout", "text"], about: "For people: what did not pass, and a summary", is_for_ci: false, draw: |checks, around| standard::draw(checks, around.paint) },
    Form { names: &["json"], about: "For programs", is_for_ci: false, draw: |checks, _| json::draw(checks) },
    Form { names: &["tap"], about: "The Test Anything Protocol", is_for_ci: false, draw: |checks, _| tap::draw(checks) },
    Form { names: &["table"], about: "A table", is_for_ci: false, draw: |checks, _| table::draw(checks) },
    Form { names: &["sarif"], about: "SARIF, for code scanning", is_for_ci: true, draw: |checks, around| sarif::draw(checks, around.exit_code) },
    Form { names: &["junit"], about: "JUnit's XML, for CI systems", is_for_ci: true, draw: |checks, _| junit::draw(checks) },
    Form { names: &["github"], about: "GitHub's notes beside the lines of a pull request", is_for_ci: true, draw: |checks, _| github::draw(checks) },
    Form { names: &["gitlab"], about: "GitLab's Code Quality report, for notes beside the lines of a merge request", is_for_ci: true, draw: |checks, _| gitlab::draw(checks) },
];

impl Form {
    /// Checks in this format.
    pub fn draw(&self, checks: &[Check], around: Around) -> String {
        (self.draw)(checks, around)
    }

    /// Whether this is the format for people.
    pub fn is_for_people(&self) -> bool {
        std::ptr::eq(self, &FORMS[0])
    }
}

/// The file of what stands in none, for CI systems that take no note without one.
const NOWHERE: &str = "argus.yaml";

/// What speaks where a test fails.
pub const TEST: &str = "policy-test";

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// As it should, and something of it is worth knowing.
    Noted,
    /// Somebody should look.
    Warned,
    /// Not as it should.
    Failed,
    /// It would have failed, and an exception excuses it.
    Excepted,
    /// It was not tried.
    Skipped,
}

impl Outcome {
    /// The word of conftest's table and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "success",
            Outcome::Noted => "note",
            Outcome::Warned => "warning",
            Outcome::Failed => "failure",
            Outcome::Excepted => "exception",
            Outcome::Skipped => "skipped",
        }
    }
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// The file that it stands in or is about; empty where it is about none.
    pub file: Arc<str>,
    /// The line; 0 where none is known.
    pub line: u32,
    /// What it belongs to: the package of a test, the organization of a finding.
    pub namespace: String,
    /// What was checked.
    pub name: String,
    /// What speaks: a code or a rule.
    pub id: String,
    /// What that is called.
    pub title: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What is said of it; unused where it passed.
    pub message: String,
    /// What is known beside it, a line each.
    pub detail: Vec<String>,
    /// What it printed.
    pub prints: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

impl Check {
    /// One of something of which nothing is said.
    fn well(namespace: &str, name: &str) -> Check {
        Check {
            file: Arc::default(),
            line: 0,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            id: String::new(),
            title: String::new(),
            outcome: Outcome::Passed,
            message: String::new(),
            detail: Vec::new(),
            prints: Vec::new(),
            duration: Duration::ZERO,
        }
    }

    /// What is said of it, with the code or the rule that says it.
    fn said(&self) -> String {
        match self.id.as_str() {
            "" | TEST => self.message.clone(),
            id => format!("{id}: {}", self.message),
        }
    }

    /// A finding as a check. Errors and warnings did not pass; notes that excuse a denial are exceptions, other notes are
    /// worth knowing and no more.
    pub fn of(finding: &Finding) -> Check {
        let outcome = match (finding.severity, finding.code) {
            (Severity::Error, _) => Outcome::Failed,
            (_, Code::PolicyExcused) => Outcome::Excepted,
            (Severity::Warning, _) => Outcome::Warned,
            (Severity::Note, _) => Outcome::Noted,
        };
        let origin = finding.origin.as_ref();
        Check {
            file: origin.map(|origin| origin.file.clone()).unwrap_or_default(),
            line: origin.map_or(0, |origin| origin.line),
            namespace: String::new(),
            name: finding.subject.clone().unwrap_or_default(),
            id: finding.rule.clone().unwrap_or_else(|| finding.code.to_string()),
            title: finding.code.title().to_owned(),
            outcome,
            message: finding.message.clone(),
            detail: finding.hint.iter().map(|hint| format!("hint: {hint}")).collect(),
            prints: Vec::new(),
            duration: Duration::ZERO,
        }
    }
}

/// What is said of manifests: a check for each finding, or one that all is well.
pub fn of_findings<'a>(findings: impl IntoIterator<Item = &'a Finding>, all: &str) -> Vec<Check> {
    let checks: Vec<Check> = findings.into_iter().map(Check::of).collect();
    if checks.is_empty() { vec![Check::well("", all)] } else { checks }
}

/// What is said of a plan and of its verdict: a check for each finding, and one for each organization of which nothing
/// is said.
pub fn of_plan(plan: &Plan, told: &Told) -> Vec<Check> {
    let Told { rules_digest: _, held, denied, stopped, warned, blocked: _ } = told;
    let of = |map: &BTreeMap<OrganizationName, Vec<Finding>>, name: &OrganizationName| {
        map.get(name).cloned().unwrap_or_default()
    };
    of_organizations(plan, "plan", &|name| {
        // What blocks stands among the findings of the plan.
        let held = held.get(name).into_iter().flatten().map(|held| held.finding.clone());
        of(denied, name).into_iter().chain(of(stopped, name)).chain(held).chain(of(warned, name)).collect()
    })
}

/// What came of applying a plan: a check for each reason why an organization was left as it was and for each warning,
/// and one for each organization of which nothing is said.
pub fn of_outcome<'a>(
    plan: &Plan,
    warned: &BTreeMap<OrganizationName, Vec<Finding>>,
    refused: &dyn Fn(&str) -> &'a [Finding],
) -> Vec<Check> {
    of_organizations(plan, "apply", &|name| {
        refused(name).iter().chain(warned.get(name).into_iter().flatten()).cloned().collect()
    })
}

/// A check for each finding of a plan and for all else that is said of its organizations.
fn of_organizations(plan: &Plan, well: &str, said: &dyn Fn(&OrganizationName) -> Vec<Finding>) -> Vec<Check> {
    let mut checks: Vec<Check> = plan.findings.iter().map(Check::of).collect();
    for organization in &plan.organizations {
        let name = &organization.organization;
        let mut all = organization.findings.clone();
        for finding in said(name) {
            if !all.contains(&finding) {
                all.push(finding);
            }
        }
        if all.is_empty() {
            checks.push(Check::well(name, well));
        }
        checks.extend(all.iter().map(|finding| Check { namespace: name.to_string(), ..Check::of(finding) }));
    }
    checks
}

/// How many checks ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// As they should.
    pub passed: usize,
    /// With a warning.
    pub warnings: usize,
    /// With a failure.
    pub failures: usize,
    /// With an exception.
    pub exceptions: usize,
    /// Not tried.
    pub skipped: usize,
}

impl Tally {
    /// Counts.
    pub fn of<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Tally {
        let mut tally = Tally::default();
        for check in checks {
            match check.outcome {
                Outcome::Passed | Outcome::Noted => tally.passed += 1,
                Outcome::Warned => tally.warnings += 1,
                Outcome::Failed => tally.failures += 1,
                Outcome::Excepted => tally.exceptions += 1,
                Outcome::Skipped => tally.skipped += 1,
            }
        }
        tally
    }

    /// All of them.
    pub fn total(self) -> usize {
        let Tally { passed, warnings, failures, exceptions, skipped } = self;
        passed + warnings + failures + exceptions + skipped
    }

    /// `3 tests, 2 passed, 0 warnings, 1 failure, 0 exceptions, 0 skipped`, in the words of conftest.
    pub fn line(self) -> String {
        use super::text::counted;
        format!(
            "{}, {} passed, {}, {}, {}, {} skipped",
            counted(self.total(), "test"),
            self.passed,
            counted(self.warnings, "warning"),
            counted(self.failures, "failure"),
            counted(self.exceptions, "exception"),
            self.skipped
        )
    }
}

/// Checks of the same file and namespace that follow each other.
fn groups(checks: &[Check]) -> impl Iterator<Item = &[Check]> {
    checks.chunk_by(|a, b| a.file == b.file && a.namespace == b.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tests and a flaw, with all that a format has to make harmless.
    pub(super) fn some() -> Vec<Check> {
        let check = |name: &str, line, outcome, message: &str| Check {
            file: "policies/a,b_test.rego".into(),
            line,
            namespace: "argus.a_test".into(),
            name: format!("data.argus.a_test.{name}"),
            id: TEST.into(),
            title: "A test of the policies".into(),
            outcome,
            message: message.into(),
            detail: Vec::new(),
            prints: Vec::new(),
            duration: Duration::from_millis(5),
        };
        vec![
            check("test_good", 3, Outcome::Passed, ""),
            Check {
                detail: vec!["9 | x == \u{202E}1".into()],
                prints: vec!["policies/a,b_test.rego:8: <x> 100%".into()],
                ..check(
                    "test_bad",
                    7,
                    Outcome::Failed,
                    "data.argus.a_test.test_bad\n::error::<b> & \"100%\" argus_sk_canary1234canary1234",
                )
            },
            check("todo_test_later", 12, Outcome::Skipped, "data.argus.a_test.todo_test_later"),
            Check {
                file: "policies/a.rego".into(),
                namespace: "argus.a".into(),
                id: "ARG3113".into(),
                ..check("x", 1, Outcome::Warned, "nothing uses it")
            },
        ]
    }

    /// What is worth knowing of a manifest, with all that a format has to make harmless.
    pub(super) fn note() -> Check {
        Check {
            file: "acme.yaml".into(),
            line: 12,
            name: "acme/Project/legacy".into(),
            id: "ARG2006".into(),
            title: "Done, may be deleted".into(),
            outcome: Outcome::Noted,
            message: "the removal is done\n::error::<b> & argus_sk_canary1234canary1234 \u{202E}".into(),
            detail: vec!["hint: delete it".into()],
            ..Check::well("acme", "")
        }
    }

    #[test]
    fn every_format_keeps_secrets_and_control_codes_to_itself() {
        let checks = [some(), vec![note()]].concat();
        let around = Around { paint: Paint { color: false }, exit_code: 1 };
        for form in FORMS {
            let text = form.draw(&checks, around);
            assert!(!text.contains("canary1234"), "{text}");
            assert!(!text.contains('\u{202E}'), "{text}");
            assert!(!text.contains("\n::error::"), "{text}");
        }
    }

    #[test]
    fn a_note_is_told_and_has_passed() {
        let finding = Finding::note(Code::DoneDeclaration, "the removal is done");
        assert_eq!(Check::of(&finding).outcome, Outcome::Noted);
        assert_eq!(Tally::of(&[note()]), Tally { passed: 1, ..Tally::default() });
        for form in FORMS {
            let text = form.draw(&[note()], Around { paint: Paint { color: false }, exit_code: 0 });
            assert!(text.contains("the removal is done"), "{}: {text}", form.names[0]);
        }
    }

    #[test]
    fn the_summary_is_that_of_conftest() {
        assert_eq!(Tally::default().line(), "0 tests, 0 passed, 0 warnings, 0 failures, 0 exceptions, 0 skipped");
        assert_eq!(Tally::of(&some()).line(), "4 tests, 1 passed, 1 warning, 1 failure, 0 exceptions, 1 skipped");
        let one = Tally { exceptions: 1, ..Tally::default() };
        assert_eq!(one.line(), "1 test, 0 passed, 0 warnings, 0 failures, 1 exception, 0 skipped");
    }
}
