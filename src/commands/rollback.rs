//! `argus rollback`: what a run has written is taken back, through the same guards, policies and brakes as any change.

use std::time::Duration;

use super::apply;
use super::audit;
use super::context::{Context, Done, Failure};
use super::judges::{Judges, NONE};
use super::output;
use super::plan;
use super::progress::Progress;
use super::report::draw;
use crate::cli::{Face, Format, Rollback};
use crate::engine::rollback::{self, Asked, Planned, RollbackError};
use crate::engine::{self, Applying, Heard, Targets, hearing};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::{checks, inert};
use crate::store::history::RunRow;
use crate::telemetry::measure;

impl From<RollbackError> for Failure {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::Refused(finding) => Failure::from(finding),
            RollbackError::Store(error) => Failure::from(error),
        }
    }
}

/// Plans to undo the run, asks, and does it.
pub async fn run(context: &Context, args: &Rollback) -> Done {
    let new_run = context.new_run()?;
    let targets = Targets::parse(&args.target)?;
    let place = context.vouched_place(&args.manifests)?;
    let settings = context.source_settings(&place, &args.manifests)?;
    let database = context.database().await?;
    let row = rollback::run(&database.store, &args.run).await?;
    if row.source != settings.source {
        return Err(other_source(&row, &settings.source));
    }
    let judges = Judges::new(context, &place, &args.judging, &settings).await?;
    let lock = match args.plan {
        true => None,
        false => Some(database.store.source_lock(&row.source, Duration::from_secs(args.lock_timeout.into())).await?),
    };
    let now = context.now();
    let asked = Asked { run: &args.run, organizations: &args.organizations, targets: &targets, now };
    let Planned { plan, rolls_back } = rollback::plan(&database.store, &asked).await?;
    let Heard { plan, judgements, .. } = hearing::hear_again(&database.store, &plan, &judges.bench(), now).await?;
    let verdict = plan::judge(context, &database.store, &plan, &judges, &judgements, args.force).await?;
    match args.format {
        Face::Whole(Format::Json) if !args.plan => {}
        Face::Whole(format) => {
            if format == Format::Text {
                output::print(&heading(&row))?;
            }
            output::print(&plan::show(context, &plan, &judges, &verdict.told, format))?;
        }
        Face::Findings(_) => {}
    }
    let failed = plan.all_findings().any(Finding::is_error);
    if args.plan {
        let code = if failed { ExitCode::Failed } else { ExitCode::Done };
        if let Face::Findings(form) = args.format {
            output::print(&draw(context, &checks::of_plan(&plan, &verdict.told), form, code))?;
        }
        return Ok(code);
    }
    if verdict.approved.iter().any(|approved| !approved.plan().is_settled()) && !agreed(args)? {
        return output::report("Rollback cancelled: nothing was written.\n", ExitCode::Failed);
    }
    let applying = Applying {
        run: new_run,
        actor: context.actor(),
        authors: judges.authors.clone(),
        terms: judges.terms.clone(),
        forced: args.force,
        policed: judges.folder.as_deref().is_some_and(|folder| folder != NONE) || judgements.by_organization.is_some(),
        at_once: (context.connections() as usize / 2).max(1),
        rolls_back: Some(rolls_back),
        whole: false,
        lease: None,
    };
    let warned = verdict.told.warned.clone();
    let progress = Progress::new("rolling back");
    let tell = |done, total| progress.tell(done, total);
    let outcome = engine::apply(&database.store, &plan, verdict, &applying, &tell).await;
    if let Some(lock) = lock {
        lock.release().await;
    }
    let outcome = outcome?;
    measure::applied(context.metrics(), &plan, &outcome);
    let _ = context.outcome.set(outcome.word());
    audit::after_work(context, &database.store).await;
    let code = apply::exit_code(&plan, &outcome, failed);
    match args.format {
        Face::Whole(format) => apply::tell(context, &plan, &outcome, format)?,
        Face::Findings(form) => {
            let checks = apply::what_came_of_it(&plan, &warned, &outcome);
            output::print(&draw(context, &checks, form, code))?;
        }
    }
    Ok(code)
}

fn agreed(args: &Rollback) -> Result<bool, Failure> {
    let question = "Take this back? Only `yes` is taken for a yes: ";
    Ok(args.auto_approve || apply::asked(question, "nothing was written", "add --auto-approve")?)
}

fn heading(row: &RunRow) -> String {
    let RunRow { id, source, actor, started_at, .. } = row;
    let (id, source, actor) = (inert::line(id), inert::line(source), inert::line(actor));
    format!("Rolling back the run {id} of the source `{source}`, by {actor} at {started_at}.\n\n")
}

/// What was applied under the terms of one source is not taken back under those of another.
fn other_source(row: &RunRow, here: &str) -> Failure {
    let (run, source) = (inert::line(&row.id), inert::line(&row.source));
    let message = format!("the run `{run}` was of the source `{source}`, and here is the source `{here}`");
    let finding = Finding::error(Code::CannotRollBack, message);
    Failure::from(finding.hint("name the directory with that source's argus.yaml: `argus rollback RUN PATH`"))
}
