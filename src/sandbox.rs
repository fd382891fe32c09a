//! The sandbox: Rego is evaluated in worker processes of this binary, under limits on memory, processor time and time.
//! A policy that recurses or allocates without end costs its worker, never whoever asked.
//!
//! A worker is this binary again, told so by its first argument. It limits itself, reads requests from its standard
//! input and answers on its standard output, in frames; it sees no environment, opens no file and ends when whoever
//! started it does.

mod check;
mod frame;
mod messages;
mod pool;
mod process;
mod test;
pub mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::policy::PolicyFile;
use crate::policy::input::Parts;
use crate::policy::judgement::{Answers, Failure};
use crate::policy::rule::Rule;
use messages::{Loaded, Request};
use pool::Pool;
pub use test::{Outcome, TestResult};

/// The largest input document, in bytes.
pub const INPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most workers of one sandbox.
pub const WORKERS_MAX: usize = 64;

/// What a worker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// The most memory of a worker, in MiB.
    pub memory_mib: u32,
    /// The most processor time for one input, in seconds.
    pub cpu_seconds: u32,
    /// The most time for one input; in settings, `wallMilliseconds`.
    #[serde(rename = "wallMilliseconds", with = "milliseconds")]
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_mib: 512, cpu_seconds: 2, wall: Duration::from_secs(2) }
    }
}

impl Limits {
    /// What is wrong with them, if anything is.
    pub fn fault(&self) -> Option<String> {
        let Limits { memory_mib, cpu_seconds, wall } = self;
        let wall_ms = wall.as_millis();
        match () {
            () if !(64..=65_536).contains(memory_mib) => Some(format!("memoryMib is {memory_mib}, not 64 to 65536")),
            () if !(1..=3_600).contains(cpu_seconds) => Some(format!("cpuSeconds is {cpu_seconds}, not 1 to 3600")),
            () if !(10..=3_600_000).contains(&wall_ms) => {
                Some(format!("wallMilliseconds is {wall_ms}, not 10 to 3600000"))
            }
            () => None,
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(wall: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Why a query has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no query, or evaluating it ended with an error.
    #[error("{0}")]
    Rego(String),
    /// The worker did not finish.
    #[error("{0}")]
    Failed(Failure),
}

/// Policies, loaded and ready to judge, and the workers that they are loaded in.
#[derive(Debug)]
pub struct Sandbox {
    loaded: Loaded,
    pool: Arc<Pool>,
}

impl Sandbox {
    /// Loads policies into workers of this very binary, at most so many at once. What is wrong with the policies is
    /// found once, in the first of them; the others start when there is work for them.
    pub async fn load(files: Vec<PolicyFile>, limits: Limits, workers: usize) -> Result<Sandbox, Vec<Finding>> {
        // The link leads to the very file that runs, even where another one has been put in its place since.
        Sandbox::load_with(Path::new("/proc/self/exe"), files, limits, workers).await
    }

    /// The same with the workers of another binary, which must be of the same version.
    pub async fn load_with(
        program: &Path,
        files: Vec<PolicyFile>,
        limits: Limits,
        workers: usize,
    ) -> Result<Sandbox, Vec<Finding>> {
        if let Some(fault) = limits.fault() {
            return Err(vec![Finding::error(Code::BadSettings, format!("policyLimits: {fault}"))]);
        }
        let program: PathBuf = program.into();
        let (pool, loaded) = Pool::load(program, files, limits, workers.clamp(1, WORKERS_MAX)).await?;
        Ok(Sandbox { loaded, pool: Arc::new(pool) })
    }

    /// The rules that have a say, by package and name: those of all files but tests.
    pub fn rules(&self) -> &[Rule] {
        &self.loaded.rules
    }

    /// The parts of the input that any rule looks at.
    pub fn parts(&self) -> Parts {
        self.loaded.parts
    }

    /// What keeps the policies from doing what they look like, but not from judging.
    pub fn flaws(&self) -> &[Finding] {
        &self.loaded.flaws
    }

    /// The answers for each input, in order. What dies or takes too long has failed; all others are answered.
    pub async fn judge(&self, inputs: Vec<Vec<u8>>) -> Vec<Answers> {
        if self.loaded.rules.is_empty() {
            return inputs.iter().map(|_| Answers::Given(Vec::new())).collect();
        }
        let requests = inputs.into_iter().map(Request::Judge).collect();
        let replies = Pool::ask(&self.pool, requests).await;
        replies.into_iter().map(|reply| reply.and_then(|reply| reply.answers()).into()).collect()
    }

    /// The result of one query against an input, as `opa eval` gives it.
    pub async fn query(&self, input: Vec<u8>, query: String) -> Result<serde_json::Value, QueryError> {
        let mut replies = Pool::ask(&self.pool, vec![Request::Query { query, input }]).await;
        let reply = replies.pop().unwrap_or_else(|| Err(Failure::Garbled("there is none".into())));
        reply.map_err(QueryError::Failed)?.result()
    }

    /// Runs the tests whose `package.name` holds the filter: rules called `test_*` in files called `*_test.rego`.
    /// Those called `todo_test_*` are skipped. In the order of files and lines.
    pub async fn test(&self, filter: Option<String>) -> Vec<TestResult> {
        self.test_where(&|name| filter.as_ref().is_none_or(|filter| name.contains(filter))).await
    }

    /// The same with those tests whose `package.name` is chosen.
    pub async fn test_where(&self, is_chosen: &(dyn Fn(&str) -> bool + Sync)) -> Vec<TestResult> {
        test::run(&self.pool, &self.loaded, is_chosen).await
    }
}
