//! What whoever asks and a worker say to each other.

use serde::{Deserialize, Serialize};

use super::test::{Ran, TestName};
use super::{INPUT_BYTES_MAX, Limits, QueryError, frame};
use crate::model::finding::Finding;
use crate::policy::PolicyFile;
use crate::policy::input::Parts;
use crate::policy::judgement::{Answer, Failure};
use crate::policy::rule::Rule;

/// The longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;

/// The longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = INPUT_BYTES_MAX + QUERY_BYTES_MAX + 1024;

/// The longest answer to one input, in bytes. People read a hundred messages of a rule, and no million.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest reply of any sort, in bytes.
pub const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

const LOAD: u8 = 1;
const JUDGE: u8 = 2;
const QUERY: u8 = 3;
const TEST: u8 = 4;
const PREPARE: u8 = 5;

const LOADING: u8 = 11;
const LOADED: u8 = 12;
const ANSWERS: u8 = 13;
const RESULT: u8 = 14;
const RAN: u8 = 15;
const FAILED: u8 = 16;
const READY: u8 = 17;

/// What a worker is asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// To load policies. The first that it is asked, and only once.
    Load(Load),
    /// What the rules say of an input, which is JSON.
    Judge(Vec<u8>),
    /// The result of a query against an input; an empty one is none.
    Query {
        /// The query.
        query: String,
        /// The input, JSON.
        input: Vec<u8>,
    },
    /// To run a test.
    Test(TestName),
    /// To get ready for more than judging, which takes time that no single request should pay.
    Prepare(Purpose),
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// To judge, for which it was loaded.
    Judging,
    /// To answer queries.
    Asking,
    /// To run tests.
    Testing,
}

/// What to load, and under which limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// The files.
    pub files: Vec<PolicyFile>,
    /// The limits.
    pub limits: Limits,
    /// The rules to answer for, where they are known; otherwise they are found, and what is wrong with the files.
    pub rules: Option<Vec<Rule>>,
}

/// What was loaded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Loaded {
    /// The rules that have a say.
    pub rules: Vec<Rule>,
    /// What they look at.
    pub parts: Parts,
    /// What is odd about the policies.
    pub flaws: Vec<Finding>,
    /// The tests.
    pub tests: Vec<TestName>,
}

/// What a worker says.
#[derive(Debug)]
pub enum Reply {
    /// It is about to load the file of this number: if it dies, that was why.
    Loading(u32),
    /// Policies are loaded, or what is wrong with them.
    Loaded(Result<Loaded, Vec<Finding>>),
    /// The answers of all rules, JSON still.
    Answers(Vec<u8>),
    /// The result of a query, or why there is none.
    Result(Result<serde_json::Value, String>),
    /// A test was run.
    Ran(Ran),
    /// It was too much, and the worker lives on.
    Failed(Failure),
    /// It got ready, as well as it could: what does not load is told to whoever asks for it.
    Ready,
}

impl Request {
    /// Appends the request as a frame.
    pub fn write(&self, into: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Request::Load(load) => append_json(LOAD, load, into),
            Request::Judge(input) => append(JUDGE, &[input], into),
            Request::Query { query, input } => {
                let length = u32::try_from(query.len()).unwrap_or(u32::MAX).to_le_bytes();
                append(QUERY, &[&length, query.as_bytes(), input], into)
            }
            Request::Test(name) => append_json(TEST, name, into),
            Request::Prepare(purpose) => append_json(PREPARE, purpose, into),
        }
    }

    /// The request that a frame holds.
    pub fn read(tag: u8, content: Vec<u8>) -> Option<Request> {
        Some(match tag {
            LOAD => Request::Load(serde_json::from_slice(&content).ok()?),
            JUDGE => Request::Judge(content),
            QUERY => {
                let (length, rest) = content.split_first_chunk::<4>()?;
                let (query, input) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                Request::Query { query: String::from_utf8(query.to_vec()).ok()?, input: input.to_vec() }
            }
            TEST => Request::Test(serde_json::from_slice(&content).ok()?),
            PREPARE => Request::Prepare(serde_json::from_slice(&content).ok()?),
            _ => return None,
        })
    }

    /// How many bytes it holds that it was given.
    pub fn bytes(&self) -> usize {
        match self {
            Request::Judge(input) => input.len(),
            Request::Query { query, input } => query.len() + input.len(),
            Request::Load(_) | Request::Test(_) | Request::Prepare(_) => 0,
        }
    }

    /// What a worker must be ready for.
    pub fn purpose(&self) -> Purpose {
        match self {
            Request::Load(_) | Request::Judge(_) => Purpose::Judging,
            Request::Query { .. } => Purpose::Asking,
            Request::Test(_) => Purpose::Testing,
            Request::Prepare(purpose) => *purpose,
        }
    }

    /// Why it cannot be asked, if it cannot.
    pub fn fault(&self) -> Option<Failure> {
        let (query, input): (&str, &[u8]) = match self {
            Request::Judge(input) => ("", input),
            Request::Query { query, input } => (query, input),
            Request::Load(_) | Request::Test(_) | Request::Prepare(_) => return None,
        };
        let too_large = input.len() > INPUT_BYTES_MAX || query.len() > QUERY_BYTES_MAX;
        too_large.then_some(Failure::TooLarge(input.len().max(query.len())))
    }
}

impl Reply {
    /// Appends the reply as a frame.
    pub fn write(&self, into: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Reply::Loading(number) => append(LOADING, &[&number.to_le_bytes()], into),
            Reply::Loaded(loaded) => append_json(LOADED, loaded, into),
            Reply::Answers(answers) => append(ANSWERS, &[answers], into),
            Reply::Result(result) => append_json(RESULT, result, into),
            Reply::Ran(ran) => append_json(RAN, ran, into),
            Reply::Failed(failure) => append_json(FAILED, failure, into),
            Reply::Ready => append(READY, &[], into),
        }
    }

    /// The reply that a frame holds.
    pub fn read(tag: u8, content: Vec<u8>) -> Option<Reply> {
        Some(match tag {
            LOADING => Reply::Loading(u32::from_le_bytes(content.try_into().ok()?)),
            LOADED => Reply::Loaded(serde_json::from_slice(&content).ok()?),
            ANSWERS => Reply::Answers(content),
            RESULT => Reply::Result(serde_json::from_slice(&content).ok()?),
            RAN => Reply::Ran(serde_json::from_slice(&content).ok()?),
            FAILED => Reply::Failed(serde_json::from_slice(&content).ok()?),
            READY => Reply::Ready,
            _ => return None,
        })
    }

    /// The answers that it brings.
    pub fn answers(self) -> Result<Vec<Answer>, Failure> {
        match self {
            Reply::Answers(answers) => serde_json::from_slice(&answers).map_err(|error| garbled(&error)),
            Reply::Failed(failure) => Err(failure),
            _ => Err(garbled(&"it answers another question")),
        }
    }

    /// The result of a query that it brings.
    pub fn result(self) -> Result<serde_json::Value, QueryError> {
        match self {
            Reply::Result(result) => result.map_err(QueryError::Rego),
            Reply::Failed(failure) => Err(QueryError::Failed(failure)),
            _ => Err(QueryError::Failed(garbled(&"it answers another question"))),
        }
    }

    /// How a test ran.
    pub fn ran(self) -> Result<Ran, Failure> {
        match self {
            Reply::Ran(ran) => Ok(ran),
            Reply::Failed(failure) => Err(failure),
            _ => Err(garbled(&"it answers another question")),
        }
    }
}

fn garbled(why: &impl std::fmt::Display) -> Failure {
    Failure::Garbled(why.to_string())
}

fn append(tag: u8, parts: &[&[u8]], into: &mut Vec<u8>) -> std::io::Result<()> {
    into.extend(frame::header(tag, parts.iter().map(|part| part.len()).sum())?);
    parts.iter().for_each(|part| into.extend(*part));
    Ok(())
}

fn append_json(tag: u8, value: &impl Serialize, into: &mut Vec<u8>) -> std::io::Result<()> {
    append(tag, &[&serde_json::to_vec(value)?], into)
}
