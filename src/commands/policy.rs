//! `argus policy`: policies are tested, checked and asked.

mod check;
mod eval;
mod input;
mod test;

use super::context::{Context, Done};
use crate::cli::{Policy, PolicyCommand, Report};
use crate::exit_code::ExitCode;
use crate::render::checks::{self, Check};

/// Does what was asked for.
pub async fn run(context: &Context, args: &Policy) -> Done {
    match &args.command {
        PolicyCommand::Test(args) => test::run(context, args).await,
        PolicyCommand::Eval(args) => eval::run(context, args).await,
        PolicyCommand::Check(args) => check::run(context, args).await,
        PolicyCommand::Input(args) => input::run(context, args).await,
    }
}

/// Checks in the format that was asked for.
fn draw(context: &Context, checks: &[Check], format: Report, code: ExitCode) -> String {
    match format {
        Report::Stdout => checks::standard::draw(checks, context.paint()),
        Report::Json => checks::json::draw(checks),
        Report::Tap => checks::tap::draw(checks),
        Report::Table => checks::table::draw(checks),
        Report::Junit => checks::junit::draw(checks),
        Report::Github => checks::github::draw(checks),
        Report::Sarif => checks::sarif::draw(checks, code as u8),
    }
}
