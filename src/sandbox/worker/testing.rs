//! Tests in a worker: whether they hold, where they stop, and which rules they made speak.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use regorus::unstable::{Module, Rule as Clause};
use regorus::{Engine, Value};

use super::super::Limits;
use super::super::check;
use super::super::check::names::{Head, path_of, written};
use super::super::test::{Outcome, Ran, TestName};
use super::rego::{Clock, is_late, said};
use crate::model::finding::Finding;
use crate::policy::PolicyFile;
use crate::policy::judgement::Failure;
use crate::policy::rule::Rule;

/// The most that is kept of what a test prints, in bytes.
const PRINTS_BYTES_MAX: usize = 64 * 1024;

/// The lines of a file that were evaluated.
type Covered = BTreeMap<String, BTreeSet<u32>>;

/// Policies together with their tests.
pub struct Testing {
    engine: Engine,
    /// The same policies once more, with the heads of rules in lines of their own: what was evaluated is known by
    /// lines, and a head is evaluated only where its body holds.
    split: Option<Engine>,
    clauses: Vec<Lines>,
}

/// Where the clause of a rule stands.
struct Lines {
    /// The number of the rule.
    rule: usize,
    file: String,
    /// The line of what it says, if no part of its body stands in it.
    head: Option<u32>,
    body: BTreeSet<u32>,
}

impl Testing {
    /// Loads all files.
    pub fn load(files: &[PolicyFile], rules: &[Rule]) -> Result<Testing, Vec<Finding>> {
        let mut engine = check::engine(files.iter())?;
        engine.set_gather_prints(true);
        engine.set_enable_coverage(true);
        let split: Vec<PolicyFile> = files.iter().map(|file| split(&mut engine, file)).collect();
        let mut testing = Testing { engine, split: None, clauses: Vec::new() };
        // Without them the tests run all the same.
        if let Ok(mut split) = check::engine(split.iter()) {
            split.set_gather_prints(true);
            split.set_enable_coverage(true);
            for module in split.get_modules().clone() {
                testing.clauses.extend(lines(&module, rules));
            }
            testing.split = Some(split);
        }
        Ok(testing)
    }

    /// Runs a test.
    pub fn run(&mut self, test: &TestName, limits: Limits) -> Result<Ran, Failure> {
        let clock = Clock::start(limits);
        let value = evaluate(&mut self.engine, test, &clock);
        let duration = clock.elapsed();
        let mut prints = self.engine.take_prints().unwrap_or_default();
        let mut bytes = 0;
        prints.retain(|line| {
            bytes += line.len();
            bytes <= PRINTS_BYTES_MAX
        });
        let outcome = match value {
            _ if clock.is_over() => return Err(clock.failure()),
            Err(error) if is_late(&error) => return Err(clock.failure()),
            Err(error) => Outcome::Errored(said(&error)),
            Ok(Value::Bool(true)) => Outcome::Passed,
            Ok(_) => Outcome::Failed,
        };
        let stopped_at = (outcome == Outcome::Failed).then(|| self.stopped(test)).flatten();
        let (spoke, silent) = self.asked(test, &clock);
        Ok(Ran { outcome, duration, prints, stopped_at, spoke, silent })
    }

    /// The line of the last statement of a test that was evaluated.
    fn stopped(&mut self, test: &TestName) -> Option<u32> {
        let covered = covered(&self.engine).remove(&*test.file)?;
        let modules = self.engine.get_modules().clone();
        let module = modules.iter().find(|module| **module.package.span.source.file() == *test.file)?;
        let named = module.policy.iter().filter(|clause| path_of(Head::of(clause).refr) == [test.name.as_str()]);
        let evaluated =
            named.flat_map(|clause| statements(clause)).filter(|lines| covered.range(lines.clone()).next().is_some());
        evaluated.map(|lines| *lines.start()).max()
    }

    /// The rules that a test asked: those that spoke, and those that did not.
    fn asked(&mut self, test: &TestName, clock: &Clock) -> (Vec<usize>, Vec<usize>) {
        let Some(split) = &mut self.split else { return Default::default() };
        // What has taken most of its time already is not evaluated once more.
        if clock.elapsed() > clock.wall() / 3 {
            return Default::default();
        }
        if evaluate(split, test, clock).is_err() {
            return Default::default();
        }
        let _ = split.take_prints();
        let covered = covered(split);
        let mut asked: BTreeMap<usize, bool> = BTreeMap::new();
        // The engine evaluates whole packages where one rule of them is asked for.
        for Lines { rule, file, head, body } in self.clauses.iter().filter(|lines| test.asks.contains(&lines.rule)) {
            let Some(lines) = covered.get(file) else { continue };
            let spoke = head.is_some_and(|line| lines.contains(&line));
            if spoke || !body.is_disjoint(lines) {
                *asked.entry(*rule).or_default() |= spoke;
            }
        }
        let with = |wanted: bool| asked.iter().filter(|(_, spoke)| **spoke == wanted).map(|(rule, _)| *rule).collect();
        (with(true), with(false))
    }
}

fn evaluate(engine: &mut Engine, test: &TestName, clock: &Clock) -> Result<Value, String> {
    engine.clear_coverage_data();
    engine.set_input(Value::Undefined);
    clock.limit(engine);
    engine.eval_rule(test.path.clone()).map_err(|error| error.to_string())
}

fn covered(engine: &Engine) -> Covered {
    let report = engine.get_coverage_report();
    report.map(|report| report.files.into_iter().map(|file| (file.path, file.covered)).collect()).unwrap_or_default()
}

/// The lines of each statement of a clause.
fn statements(clause: &Clause) -> impl Iterator<Item = RangeInclusive<u32>> {
    let bodies = match clause {
        Clause::Spec { bodies, .. } => bodies.as_slice(),
        Clause::Default { .. } => &[],
    };
    bodies.iter().flat_map(|body| &body.query.stmts).map(|statement| {
        let further = statement.span.text().matches('\n').count();
        statement.span.line..=statement.span.line.saturating_add(u32::try_from(further).unwrap_or(u32::MAX))
    })
}

/// The file with the heads of the rules that judge in lines of their own.
fn split(engine: &mut Engine, file: &PolicyFile) -> PolicyFile {
    let modules = engine.get_modules().clone();
    let Some(module) = modules.iter().find(|module| **module.package.span.source.file() == *file.path) else {
        return file.clone();
    };
    let mut cuts: Vec<(usize, &str)> = Vec::new();
    for clause in module.policy.iter().filter(|_| !file.is_test()) {
        let Clause::Spec { bodies, .. } = clause.as_ref() else { continue };
        let head = Head::of(clause);
        if !bodies.is_empty() {
            // A head without a value is true, and has nothing that could be evaluated.
            let value =
                if head.is_set || head.value.is_some() || head.arguments.is_some() { "\n" } else { " := true\n" };
            // The engine counts the quotes of a text to neither side.
            let end = head.span.end as usize;
            let quote = file.text.get(end..).is_some_and(|rest| rest.starts_with(['"', '`']));
            cuts.push((end + usize::from(quote), value));
        }
    }
    cuts.sort_unstable();
    let mut text = String::with_capacity(file.text.len() + cuts.len());
    let mut from = 0;
    for (at, value) in cuts {
        // A head that cannot be cut stays as it is.
        let Some(part) = file.text.get(from..at) else { return file.clone() };
        text.push_str(part);
        text.push_str(value);
        from = at;
    }
    text.push_str(&file.text[from..]);
    PolicyFile { path: file.path.clone(), text }
}

fn lines(module: &Module, rules: &[Rule]) -> Vec<Lines> {
    let file = module.package.span.source.file();
    let package = written(&path_of(&module.package.refr));
    let mut lines = Vec::new();
    for clause in &module.policy {
        let Clause::Spec { bodies, .. } = clause.as_ref() else { continue };
        let head = Head::of(clause);
        let name = path_of(head.refr);
        let is = |rule: &Rule| rule.package == package && [rule.name.as_str()] == *name;
        let Some(rule) = rules.iter().position(is) else { continue };
        let first = bodies.first().into_iter().flat_map(|body| body.query.stmts.iter());
        let body: BTreeSet<u32> = first.map(|statement| statement.span.line).collect();
        let said = head.key.or(head.value).map(|said| said.span().line);
        lines.push(Lines { rule, file: file.clone(), head: said.filter(|line| !body.contains(line)), body });
    }
    lines
}
