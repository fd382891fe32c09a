//! `argus policy`: policies are tested, checked and asked.

mod check;
mod eval;
mod input;
mod test;

use super::context::{Context, Done};
use crate::cli::policy::{Policy, PolicyCommand};

/// Does what was asked for.
pub async fn run(context: &Context, args: &Policy) -> Done {
    match &args.command {
        PolicyCommand::Test(args) => test::run(context, args).await,
        PolicyCommand::Eval(args) => eval::run(context, args).await,
        PolicyCommand::Check(args) => check::run(context, args).await,
        PolicyCommand::Input(args) => input::run(context, args).await,
    }
}
