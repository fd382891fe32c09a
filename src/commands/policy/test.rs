//! `argus policy test`: the tests of policies are run and reported as conftest reports them.

use regex::Regex;

use crate::cli::policy::PolicyTest;
use crate::commands::context::{Context, Done, Failure};
use crate::commands::report::draw;
use crate::commands::{output, policies};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::policy::PolicyFile;
use crate::render::checks::{Check, Outcome, TEST, Tally};
use crate::sandbox::{Outcome as Ended, Sandbox, TestResult};

/// The longest regular expression, compiled, in bytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Runs the tests and reports them.
pub async fn run(context: &Context, args: &PolicyTest) -> Done {
    let chosen = args.run.as_deref().map(regex).transpose()?;
    let files = policies::read_as_named(&args.folder)?;
    let sandbox = policies::load(context, files.clone()).await?;
    let checks = checks(&sandbox, &files, chosen.as_ref()).await;
    let tally = Tally::of(&checks);
    let code = match (args.fail_on_warn, tally.failures, tally.warnings) {
        (true, 1.., _) => ExitCode::Differences,
        (false, 1.., _) | (true, 0, 1..) => ExitCode::Failed,
        _ => ExitCode::Done,
    };
    if !args.quiet || code != ExitCode::Done {
        output::print(&draw(context, &checks, args.format, code))?;
    }
    Ok(if args.no_fail { ExitCode::Done } else { code })
}

fn regex(text: &str) -> Result<Regex, Failure> {
    regex::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(|error| {
        let message = format!("--run is no regular expression: {error}");
        Failure::from(Finding::error(Code::BadSettings, message))
    })
}

/// The tests, in the order of files and lines, and behind them what is wrong with the policies themselves.
async fn checks(sandbox: &Sandbox, files: &[PolicyFile], chosen: Option<&Regex>) -> Vec<Check> {
    let is_chosen = |name: &str| chosen.is_none_or(|chosen| chosen.is_match(name));
    let tests = sandbox.test_where(&is_chosen).await;
    let mut checks: Vec<Check> = tests.into_iter().map(|test| check(test, files)).collect();
    if chosen.is_none() {
        checks.extend(sandbox.flaws().iter().map(Check::of));
    }
    checks
}

fn check(test: TestResult, files: &[PolicyFile]) -> Check {
    let TestResult { package, name, file, line, outcome, duration, prints, stopped_at, spoke: _, silent: _ } = test;
    let name = format!("data.{package}.{name}");
    let stopped = stopped_at.and_then(|at| Some(format!("{at} | {}", policies::line(files, &file, at)?.trim())));
    let (outcome, message) = match outcome {
        Ended::Passed => (Outcome::Passed, String::new()),
        Ended::Failed => (Outcome::Failed, name.clone()),
        Ended::Skipped => (Outcome::Skipped, name.clone()),
        Ended::Errored(error) => (Outcome::Failed, format!("{name}: {error}")),
    };
    Check {
        file,
        line,
        namespace: package,
        name,
        id: TEST.into(),
        title: "A test of the policies".into(),
        outcome,
        message,
        detail: stopped.into_iter().collect(),
        prints,
        duration,
    }
}
