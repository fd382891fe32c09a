//! One file per command; here what they share: where they print, which database they talk to, how they fail.

pub mod apply;
pub mod approve;
pub mod audit;
pub mod context;
pub mod crds;
pub mod db;
pub mod diff;
pub mod doctor;
pub mod drift;
pub mod explain;
pub mod export;
pub mod get;
pub mod held;
pub mod history;
pub mod judges;
pub mod manual;
pub mod output;
mod place;
pub mod plan;
pub mod policies;
pub mod policy;
pub mod progress;
pub mod relay;
pub mod report;
pub mod resume;
pub mod rollback;
pub mod schema;
pub mod show;
pub mod snapshot;
pub mod suspend;
pub mod validate;

use crate::cli::{Cli, Command};
use crate::exit_code::ExitCode;
use context::{Context, Failure};

/// Runs the command that was asked for.
pub async fn run(cli: Cli) -> ExitCode {
    let context = match Context::new(cli.global) {
        Ok(context) => context,
        Err(failure) => return failure.tell_without_context(),
    };
    let done = match cli.command {
        Command::Validate(args) => validate::run(&context, &args),
        Command::Plan(args) => plan::run(&context, &args).await,
        Command::Apply(args) => apply::run(&context, &args).await,
        Command::Rollback(args) => rollback::run(&context, &args).await,
        Command::Suspend(args) => suspend::run(&context, &args).await,
        Command::Resume(args) => resume::run(&context, &args).await,
        Command::Snapshot(args) => snapshot::run(&context, &args).await,
        Command::Doctor => doctor::run(&context).await,
        Command::Relay(args) => relay::run(&context, &args).await,
        Command::Show(args) => show::run(&context, &args).await,
        Command::Approve(args) => approve::run(&context, &args).await,
        Command::Drift(args) => drift::run(&context, &args).await,
        Command::Diff(args) => diff::run(&context, &args).await,
        Command::Export(args) => export::run(&context, &args).await,
        Command::Get(args) => get::run(&context, &args).await,
        Command::Explain(args) => explain::run(&context, &args),
        Command::History(args) => history::run(&context, &args).await,
        Command::Audit(args) => audit::run(&context, &args).await,
        Command::Policy(args) => policy::run(&context, &args).await,
        Command::Db(args) => db::run(&context, &args).await,
        Command::Schema(args) => schema::run(&context, &args),
        Command::Crds(args) => crds::run(&context, &args),
        Command::Completions(args) => manual::completions(&context, &args),
        Command::Man => manual::page(&context),
    };
    done.unwrap_or_else(|failure: Failure| failure.tell(&context))
}
