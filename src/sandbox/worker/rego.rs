//! Rego in a worker: policies in an engine, and what they say of an input.

use std::io;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde::Serialize;

use super::super::Limits;
use super::super::check;
use super::super::messages::{ANSWER_BYTES_MAX, Load, Loaded, Purpose, Reply};
use super::super::test::{Outcome, Ran, TestName};
use super::testing::Testing;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::policy::PolicyFile;
use crate::policy::judgement::Failure;
use crate::policy::rule::Rule;

/// After how many steps the engine looks at the clock.
const STEPS_PER_LOOK: NonZeroU32 = NonZeroU32::new(256).unwrap();

/// Policies that are ready to judge.
pub struct Policies {
    judging: Engine,
    /// What the engine calls the rules.
    paths: Vec<String>,
    limits: Limits,
    files: Vec<PolicyFile>,
    rules: Vec<Rule>,
    /// The same without what asks all rules at once, for queries, which may ask for all of `data`; or why there is none.
    asking: Option<Result<Engine, String>>,
    /// The same with the tests among them, which must not change what judges; or why there is none.
    testing: Option<Result<Testing, String>>,
}

impl Policies {
    /// Loads them; `told` hears the number of each file before it is read.
    pub fn load(
        load: Load,
        told: &mut dyn FnMut(u32) -> io::Result<()>,
    ) -> io::Result<Result<(Policies, Loaded), Vec<Finding>>> {
        let Load { files, limits, rules } = load;
        let checked = match rules {
            None => check::check(&files, told)?,
            Some(rules) => {
                let judged = files.iter().filter(|file| !file.is_test());
                check::engine(judged).map(|engine| (engine, Loaded { rules, ..Loaded::default() }))
            }
        };
        let (mut judging, loaded) = match checked {
            Ok(checked) => checked,
            Err(findings) => return Ok(Err(findings)),
        };
        judging.set_gather_prints(true);
        let rules = loaded.rules.clone();
        let paths: Vec<String> = rules.iter().map(check::path).collect();
        if let Err(error) = judging.add_policy(ALL_PACKAGE.into(), all_at_once(&paths)) {
            return Ok(Err(vec![Finding::error(Code::BadPolicy, said(&error))]));
        }
        // Getting ready counts as loading, and not as judging the first input.
        if let Err(finding) = check::prepared(&mut judging, &files) {
            return Ok(Err(vec![*finding]));
        }
        Ok(Ok((Policies { judging, paths, limits, files, rules, asking: None, testing: None }, loaded)))
    }

    /// The limits that they are loaded under.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes what a purpose needs, once.
    pub fn prepare(&mut self, purpose: Purpose) {
        let why =
            |findings: Vec<Finding>| findings.into_iter().next().map(|finding| finding.message).unwrap_or_default();
        match purpose {
            Purpose::Judging => {}
            Purpose::Asking => {
                let judged = self.files.iter().filter(|file| !file.is_test());
                let silent = |mut engine: Engine| {
                    engine.set_gather_prints(true);
                    engine
                };
                self.asking = Some(check::engine(judged).map(silent).map_err(why));
            }
            Purpose::Testing => self.testing = Some(Testing::load(&self.files, &self.rules).map_err(why)),
        }
    }

    /// What the rules say of an input.
    pub fn judge(&mut self, input: Vec<u8>) -> Reply {
        let clock = Clock::start(self.limits);
        let input = match value(&input) {
            Ok(input) => input,
            Err(error) => return Reply::Failed(Failure::Garbled(format!("the input is no JSON: {error}"))),
        };
        self.judging.set_input(input);
        clock.limit(&mut self.judging);
        let answers = match self.judging.eval_rule(format!("data.{ALL_PACKAGE}.answers")) {
            _ if clock.is_over() => return clock.late(),
            Err(error) if is_late(&error) => return clock.late(),
            // An error does not say whose it is: each is asked by itself.
            Err(_) => match self.one_by_one(&clock) {
                Ok(answers) => answers,
                Err(reply) => return reply,
            },
            Ok(value) => match each_alone(value, self.paths.len()) {
                Some(answers) => answers,
                None => return Reply::Failed(Failure::Garbled("it has not an answer for each rule".into())),
            },
        };
        self.forget();
        match bounded_json(&answers) {
            Some(json) => Reply::Answers(json),
            None => too_much(),
        }
    }

    /// Asks rule after rule, which works out again for each what they share.
    fn one_by_one(&mut self, clock: &Clock) -> Result<Vec<Said>, Reply> {
        let mut answers = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            clock.limit(&mut self.judging);
            match self.judging.eval_rule(path.clone()) {
                Err(error) if is_late(&error) => return Err(clock.late()),
                Err(error) => answers.push(Said::Error(said(&error))),
                Ok(Value::Undefined) => answers.push(Said::Undefined),
                Ok(value) => answers.push(Said::Value(value)),
            }
            if clock.is_over() {
                return Err(clock.late());
            }
        }
        Ok(answers)
    }

    /// The result of a query.
    pub fn query(&mut self, query: String, input: Vec<u8>) -> Reply {
        let clock = Clock::start(self.limits);
        if let Some(fault) = check::query(&query) {
            return Reply::Result(Err(fault));
        }
        let input = if input.is_empty() { Ok(Value::Undefined) } else { value(&input) };
        let input = match input {
            Ok(input) => input,
            Err(error) => return Reply::Result(Err(format!("the input is no JSON: {error}"))),
        };
        let asking = match &mut self.asking {
            Some(Ok(asking)) => asking,
            Some(Err(said)) => return Reply::Result(Err(said.clone())),
            None => return Reply::Result(Err("nobody got ready for queries".into())),
        };
        asking.set_input(input);
        clock.limit(asking);
        let result = asking.eval_query(query, false);
        asking.set_input(Value::Undefined);
        let _ = asking.take_prints();
        match result {
            _ if clock.is_over() => clock.late(),
            Err(error) if is_late(&error) => clock.late(),
            Err(error) => Reply::Result(Err(said(&error))),
            Ok(results) => match bounded_json(&results).map(|json| serde_json::from_slice(&json)) {
                None => too_much(),
                Some(Ok(result)) => Reply::Result(Ok(result)),
                Some(Err(error)) => Reply::Result(Err(error.to_string())),
            },
        }
    }

    /// Runs a test.
    pub fn test(&mut self, test: &TestName) -> Reply {
        match &mut self.testing {
            Some(Ok(testing)) => testing.run(test, self.limits).map_or_else(Reply::Failed, Reply::Ran),
            Some(Err(said)) => Reply::Ran(Ran::ended(Outcome::Errored(said.clone()))),
            None => Reply::Ran(Ran::ended(Outcome::Errored("nobody got ready for tests".into()))),
        }
    }

    /// Lets go of what one input left behind.
    fn forget(&mut self) {
        self.judging.set_input(Value::Undefined);
        let _ = self.judging.take_prints();
    }
}

/// The package that asks all rules at once.
const ALL_PACKAGE: &str = "system.argus.judging";

/// A module with one rule that gives the answers of all others, so that what they share is worked out once. What is
/// undefined stands there as an empty list.
fn all_at_once(paths: &[String]) -> String {
    let answers: Vec<String> = paths.iter().map(|path| format!("\t[answer | answer := {path}],\n")).collect();
    format!("package {ALL_PACKAGE}\n\nimport rego.v1\n\nanswers := [\n{}]\n", answers.concat())
}

fn each_alone(value: Value, rules: usize) -> Option<Vec<Said>> {
    let answers = value.as_array().ok()?;
    let said = |answer: &Value| match answer.as_array().ok()?.iter().next() {
        Some(value) => Some(Said::Value(value.clone())),
        None => Some(Said::Undefined),
    };
    let said: Vec<Said> = answers.iter().map(said).collect::<Option<_>>()?;
    (said.len() == rules).then_some(said)
}

/// The time that one request has.
pub struct Clock {
    began: Instant,
    limits: Limits,
}

impl Clock {
    /// Starts it.
    pub fn start(limits: Limits) -> Clock {
        Clock { began: Instant::now(), limits }
    }

    /// How long it may run.
    pub fn wall(&self) -> Duration {
        self.limits.wall
    }

    /// How long it runs.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn left(&self) -> Duration {
        self.limits.wall.saturating_sub(self.elapsed())
    }

    /// Tells the engine how long it may work on.
    pub fn limit(&self, engine: &mut Engine) {
        let config = ExecutionTimerConfig { limit: self.left(), check_interval: STEPS_PER_LOOK };
        engine.set_execution_timer_config(config);
    }

    /// The engine does not always notice.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// What is said when it is over.
    pub fn failure(&self) -> Failure {
        Failure::Wall(self.limits.wall)
    }

    fn late(&self) -> Reply {
        Reply::Failed(self.failure())
    }
}

/// An answer, as [`crate::policy::judgement::Answer`] is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Said {
    /// Sets are written as lists, and keys that are no texts as their JSON.
    Value(Value),
    Undefined,
    Error(String),
}

fn value(json: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
    Value::from_json_str(text).map_err(|error| error.to_string())
}

fn too_much() -> Reply {
    let most = ANSWER_BYTES_MAX / 1024 / 1024;
    Reply::Failed(Failure::Garbled(format!("it has more than {most} MiB")))
}

/// The engine passes its errors on as texts.
pub fn is_late(error: &impl std::fmt::Display) -> bool {
    error.to_string().contains("execution exceeded time limit")
}

/// What an error says, and where.
pub fn said(error: &impl std::fmt::Display) -> String {
    let error = error.to_string();
    let plain = check::plain_error(&error);
    check::place_of(&error).map_or_else(|| plain.clone(), |place| format!("{plain} ({place})"))
}

/// JSON, unless there is too much of it.
fn bounded_json(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut bounded = Bounded(Vec::new());
    serde_json::to_writer(&mut bounded, value).ok()?;
    Some(bounded.0)
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("too much"));
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
