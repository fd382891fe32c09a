//! The command line of `argus policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Manifests, Planning, Report};

/// `argus policy`
#[derive(Args, Debug)]
pub struct Policy {
    /// What to do with policies.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Run the tests of policies: the rules `test_*` in the files `*_test.rego`
    Test(PolicyTest),
    /// Ask policies about an input document
    Eval(PolicyEval),
    /// Check that policies load, that all of them is used, and that every rule is tested both ways
    Check(PolicyCheck),
    /// Print what policies are told of a plan
    Input(PolicyInput),
}

/// `argus policy test`
#[derive(Args, Debug)]
pub struct PolicyTest {
    /// The folder of the policies and their tests
    #[arg(value_name = "DIR", default_value = "policies")]
    pub folder: PathBuf,
    /// Only tests whose `package.name` this regular expression matches
    #[arg(short, long, value_name = "REGEX")]
    pub run: Option<String>,
    /// Flaws of the policies are failures as well: end with 1 on warnings, with 2 on failures
    #[arg(long)]
    pub fail_on_warn: bool,
    /// End with 0 although tests fail
    #[arg(long)]
    pub no_fail: bool,
    /// Print nothing where all is well
    #[arg(short, long)]
    pub quiet: bool,
    /// How to write the report
    #[arg(short = 'o', long, visible_alias = "output", value_enum, default_value_t)]
    pub format: Report,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Answer {
    /// For people.
    #[default]
    #[value(alias = "pretty")]
    Text,
    /// For programs; of a query, what `opa eval` prints.
    Json,
    /// The values of a query alone, as `opa eval` prints them.
    Values,
}

/// `argus policy eval`
#[derive(Args, Debug)]
pub struct PolicyEval {
    /// A query, such as `data.argus.tiers.deny_count`; without one, the judgement of all rules
    pub query: Option<String>,
    /// The folder of the policies
    #[arg(long, value_name = "DIR", env = "ARGUS_POLICIES", default_value = "policies")]
    pub policies: PathBuf,
    /// The input document, as `argus policy input` prints it; `-` is standard input. A query can do without
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// End with 3 where the plan is denied and with 4 where it is held; of a query, with 1 where it has no result
    #[arg(long)]
    pub fail: bool,
    /// How to write the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub format: Answer,
}

/// `argus policy check`
#[derive(Args, Debug)]
pub struct PolicyCheck {
    /// The folder of the policies and their tests
    #[arg(value_name = "DIR", default_value = "policies")]
    pub folder: PathBuf,
    /// How to write what is found
    #[arg(short = 'o', long, visible_alias = "output", value_enum, default_value_t)]
    pub format: Report,
}

/// `argus policy input`
#[derive(Args, Debug)]
pub struct PolicyInput {
    /// Where the manifests are.
    #[command(flatten)]
    pub manifests: Manifests,
    /// How to plan.
    #[command(flatten)]
    pub planning: Planning,
    /// Only that of this organization; without one, of all that have changes
    #[arg(short = 'O', long, value_name = "NAME")]
    pub organization: Option<String>,
    /// Write a file per organization into this directory
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}
