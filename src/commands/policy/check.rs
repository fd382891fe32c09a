//! `argus policy check`: policies load, all of them is used, and each rule is tested both ways.

use std::collections::BTreeSet;

use crate::cli::policy::PolicyCheck;
use crate::commands::context::{Context, Done};
use crate::commands::report::draw;
use crate::commands::{output, policies};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::{Finding, in_order};
use crate::model::origin::{Origin, Position};
use crate::policy::rule::{Rule, Sort};
use crate::render::checks::Check;
use crate::render::text::counted;
use crate::sandbox::{Sandbox, TestResult};

/// Checks and prints what is wrong.
pub async fn run(context: &Context, args: &PolicyCheck) -> Done {
    let files = policies::read_as_named(&args.folder)?;
    let sandbox = policies::load(context, files.clone()).await?;
    policies::must_judge(&sandbox, &args.folder.display().to_string())?;
    let tests = sandbox.test(None).await;
    let mut findings = sandbox.flaws().to_vec();
    findings.extend(untested(&sandbox, &tests));
    let findings = in_order(findings);
    let code = if findings.is_empty() { ExitCode::Done } else { ExitCode::Failed };
    if args.format.0.is_for_people() {
        context.complain(&findings, &policies::excerpts(&files, &findings));
        let rules = counted(sandbox.rules().len(), "rule");
        let tests = counted(tests.len(), "test");
        let said = if findings.is_empty() { "Well".to_owned() } else { counted(findings.len(), "flaw") };
        return output::report(&format!("{said}: {rules} and {tests} in {}.\n", counted(files.len(), "file")), code);
    }
    let checks: Vec<Check> = findings.iter().map(Check::of).collect();
    output::report(&draw(context, &checks, args.format, code), code)
}

/// The rules that no test shows to speak, and those that none shows to be silent.
fn untested(sandbox: &Sandbox, tests: &[TestResult]) -> Vec<Finding> {
    let shown =
        |of: fn(&TestResult) -> &Vec<usize>| -> BTreeSet<usize> { tests.iter().flat_map(of).copied().collect() };
    let (spoke, silent) = (shown(|test| &test.spoke), shown(|test| &test.silent));
    let lacking = |(number, rule): (usize, &Rule)| {
        let what = match (spoke.contains(&number), silent.contains(&number)) {
            (true, true) => return None,
            (false, false) => "no test asks for it",
            (false, true) => "no test shows it speak",
            (true, false) => "no test shows it silent",
        };
        let origin = Origin::new(&rule.file, Position::new(rule.line, 1));
        let finding = Finding::warning(Code::PolicyFlaw, format!("`{}.{}`: {what}", rule.package, rule.name));
        Some(finding.at(origin).hint(hint(rule)))
    };
    sandbox.rules().iter().enumerate().filter_map(lacking).collect()
}

fn hint(rule: &Rule) -> &'static str {
    match rule.sort {
        Sort::Exception => "write a test in which it excuses something, and one in which it does not",
        Sort::Deny | Sort::Hold | Sort::Warn => {
            "write a test with an input that it is against, and one that it lets pass"
        }
    }
}
