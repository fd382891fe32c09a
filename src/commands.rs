//! One file per command; here what they share: where they print, which database they talk to, how they fail.

pub mod apply;
pub mod approve;
pub mod audit;
pub mod context;
pub mod crds;
pub mod credentials;
pub mod db;
pub mod diff;
pub mod doctor;
pub mod drift;
pub mod events;
pub mod explain;
pub mod export;
pub mod get;
pub mod held;
pub mod history;
pub mod judges;
pub mod manual;
pub mod notify;
pub mod output;
pub mod place;
pub mod plan;
pub mod policies;
pub mod policy;
pub mod progress;
pub mod reconcile;
pub mod relay;
pub mod report;
pub mod resume;
pub mod rollback;
pub mod schema;
pub mod show;
pub mod snapshot;
pub mod suspend;
pub mod validate;

use std::time::Instant;

use tracing::Instrument as _;

use crate::cli::Command;
use crate::cli::controller::Controller;
use crate::exit_code::ExitCode;
use crate::metrics::Form;
use crate::telemetry::measure;
use crate::trace;
use context::{Context, Done, Failure};

/// Runs the command that was asked for. The controller stands above the commands, and comes in as a value.
pub async fn run(
    context: &Context,
    command: Command,
    controller: impl AsyncFn(&Context, &Controller) -> Done,
) -> ExitCode {
    let name = command.name();
    // What goes on for days is no step of anything: each delivery is told of in the trace of its event.
    let began = Instant::now();
    let code = match name {
        "relay" | "controller" => carried_out(context, command, controller).await,
        name => {
            let span = trace::command(name);
            let code = carried_out(context, command, controller).instrument(span.clone()).await;
            span.record("argus.exit_code", code as u8);
            if code == ExitCode::Failed {
                trace::failed(&span, "the command has failed");
            }
            code
        }
    };
    let metrics = context.metrics();
    if let Some(source) = context.source().filter(|_| measure::RUNS.contains(&name)) {
        let now = context.now().timestamp_millis() as f64 / 1000.0;
        let outcome = context.outcome.get().copied().unwrap_or(code.word());
        measure::ended(metrics, name, source, outcome, began.elapsed(), now);
    }
    match &context.global.metrics_file {
        Some(file) => match output::write_file(file, &metrics.text(Form::Text), false) {
            Ok(()) => code,
            Err(failure) if code == ExitCode::Done => failure.tell(context),
            // How the command ended says more.
            Err(failure) => {
                failure.tell(context);
                code
            }
        },
        None => code,
    }
}

async fn carried_out(
    context: &Context,
    command: Command,
    controller: impl AsyncFn(&Context, &Controller) -> Done,
) -> ExitCode {
    let done = match command {
        Command::Validate(args) => validate::run(context, &args),
        Command::Plan(args) => plan::run(context, &args).await,
        Command::Apply(args) => apply::run(context, &args).await,
        Command::Rollback(args) => rollback::run(context, &args).await,
        Command::Suspend(args) => suspend::run(context, &args).await,
        Command::Resume(args) => resume::run(context, &args).await,
        Command::Controller(args) => controller(context, &args).await,
        Command::Events(args) => events::run(context, &args).await,
        Command::Reconcile(args) => reconcile::run(context, &args).await,
        Command::Snapshot(args) => snapshot::run(context, &args).await,
        Command::Doctor => doctor::run(context).await,
        Command::Notify(args) => notify::run(context, &args).await,
        Command::Relay(args) => relay::run(context, &args).await,
        Command::Show(args) => show::run(context, &args).await,
        Command::Approve(args) => approve::run(context, &args).await,
        Command::Drift(args) => drift::run(context, &args).await,
        Command::Diff(args) => diff::run(context, &args).await,
        Command::Export(args) => export::run(context, &args).await,
        Command::Get(args) => get::run(context, &args).await,
        Command::Explain(args) => explain::run(context, &args),
        Command::History(args) => history::run(context, &args).await,
        Command::Audit(args) => audit::run(context, &args).await,
        Command::Policy(args) => policy::run(context, &args).await,
        Command::Db(args) => db::run(context, &args).await,
        Command::Schema(args) => schema::run(context, &args),
        Command::Crds(args) => crds::run(context, &args),
        Command::Completions(args) => manual::completions(context, &args),
        Command::Man => manual::page(context),
    };
    done.unwrap_or_else(|failure: Failure| failure.tell(context))
}
