//! Tests of policies: the rules called `test_*` in the files called `*_test.rego`, one run at a time, so that one that
//! brings its worker down fails alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::messages::{Loaded, Request};
use super::pool::Pool;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is true.
    Passed,
    /// It is undefined, false or something else.
    Failed,
    /// It is still to be written (`todo_test_*`).
    Skipped,
    /// Evaluating it ended with this error, or not at all.
    Errored(String),
}

/// A test and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The package, `argus.tiers_test`.
    pub package: String,
    /// The name of the rule.
    pub name: String,
    /// The file that it stands in.
    pub file: Arc<str>,
    /// And the line.
    pub line: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: Duration,
    /// What it printed, each with the place of the `print`.
    pub prints: Vec<String>,
    /// Where a test that failed went no further: the line.
    pub stopped_at: Option<u32>,
    /// The rules that were asked and had something to say: their places in [`super::Sandbox::rules`].
    pub spoke: Vec<usize>,
    /// The rules that were asked and had nothing to say.
    pub silent: Vec<usize>,
}

/// A test that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestName {
    pub package: String,
    pub name: String,
    /// What it is called by in a query, `data.argus.tiers_test.test_limit`.
    pub path: String,
    pub file: Arc<str>,
    pub line: u32,
    /// The rules with a say that it leads to, by their numbers.
    pub asks: BTreeSet<usize>,
}

impl TestName {
    /// Whether it is only announced.
    pub fn is_todo(&self) -> bool {
        self.name.starts_with("todo_")
    }
}

/// What a worker says of a test that it ran.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ran {
    pub outcome: Outcome,
    pub duration: Duration,
    pub prints: Vec<String>,
    pub stopped_at: Option<u32>,
    pub spoke: Vec<usize>,
    pub silent: Vec<usize>,
}

impl Ran {
    pub fn ended(outcome: Outcome) -> Ran {
        Ran {
            outcome,
            duration: Duration::ZERO,
            prints: Vec::new(),
            stopped_at: None,
            spoke: Vec::new(),
            silent: Vec::new(),
        }
    }
}

/// Whether a rule of this name is a test.
pub fn is_test(name: &str) -> bool {
    name.strip_prefix("todo_").unwrap_or(name).starts_with("test_")
}

/// Runs all tests that are chosen.
pub async fn run(pool: &Arc<Pool>, loaded: &Loaded, is_chosen: &(dyn Fn(&str) -> bool + Sync)) -> Vec<TestResult> {
    let fits = |test: &&TestName| is_chosen(&format!("{}.{}", test.package, test.name));
    let tests: Vec<&TestName> = loaded.tests.iter().filter(fits).collect();
    let asked: Vec<Request> =
        tests.iter().filter(|test| !test.is_todo()).map(|test| Request::Test((*test).clone())).collect();
    let mut replies = Pool::ask(pool, asked).await.into_iter();
    let ran = tests.iter().map(|test| match test.is_todo() {
        true => Ran::ended(Outcome::Skipped),
        false => match replies.next().map(|reply| reply.and_then(|reply| reply.ran())) {
            Some(Ok(ran)) => ran,
            Some(Err(failure)) => Ran::ended(Outcome::Errored(failure.to_string())),
            None => Ran::ended(Outcome::Errored("it was not run".into())),
        },
    });
    tests.iter().zip(ran).map(|(test, ran)| result(test, ran)).collect()
}

fn result(test: &TestName, ran: Ran) -> TestResult {
    let TestName { package, name, path: _, file, line, asks: _ } = test.clone();
    let Ran { outcome, duration, prints, stopped_at, spoke, silent } = ran;
    TestResult { package, name, file, line, outcome, duration, prints, stopped_at, spoke, silent }
}
