//! `argus plan`: what would change, and why. Writes nothing but the file of `-o`.

use super::context::{Context, Done, Failure, Reading};
use super::output::{self, report};
use super::progress::Progress;
use crate::cli::{Format, Plan as Args, Planning};
use crate::engine::judging::{self, Asking};
use crate::engine::{self, Pass, Targets};
use crate::exit_code::ExitCode;
use crate::plan::Plan;
use crate::policy::judgement::Judgements;
use crate::render::{json, markdown, text};
use crate::settings::Mode;
use crate::store::Store;
use crate::verdict::{Terms, Told, Verdict};

/// Plans, prints the plan, and saves it if asked.
pub async fn run(context: &Context, args: &Args) -> Done {
    let reading = context.read(&args.manifests)?;
    context.draw(&reading);
    let database = context.database().await?;
    let plan = make(context, &database.store, &reading, &args.planning).await?;
    let terms = reading.settings.terms();
    let verdict = judge(context, &database.store, &plan, &terms, false).await?;
    if let Some(file) = &args.output {
        output::write_file(file, &json::pretty(&json::plan_document(&plan, &terms, &verdict.told)), true)?;
    }
    let failed = has_errors(&reading, &plan);
    let code = match (failed, args.detailed_exitcode && !plan.is_empty()) {
        (true, _) => ExitCode::Failed,
        (false, true) => ExitCode::Differences,
        (false, false) => ExitCode::Done,
    };
    report(&show(context, &plan, &terms, &verdict.told, args.format), code)
}

/// Whether part of the manifests or of the plan cannot be carried out.
pub fn has_errors(reading: &Reading, plan: &Plan) -> bool {
    reading.world.findings.iter().chain(plan.all_findings()).any(|finding| finding.is_error())
}

/// Plans with the settings of the source and the options of the command line.
pub async fn make(context: &Context, store: &Store, reading: &Reading, how: &Planning) -> Result<Plan, Failure> {
    let targets = Targets::parse(&how.target)?;
    let pass = Pass {
        source: &reading.settings.source,
        correct_drift: reading.settings.mode == Mode::Enforce && !how.no_drift,
        full: how.full,
        guards: &reading.settings.guards,
        targets: &targets,
        now: context.now(),
    };
    let progress = Progress::new("comparing");
    Ok(engine::plan(&reading.world, store, &pass, &|done, total| progress.tell(done, total)).await?)
}

/// The verdict on a plan as of now.
pub async fn judge(
    context: &Context,
    store: &Store,
    plan: &Plan,
    terms: &Terms,
    force: bool,
) -> Result<Verdict, Failure> {
    let policies = Judgements::none(terms);
    let authors = context.authors();
    let asking = Asking {
        terms,
        policies: &policies,
        approvers: context.approvers(),
        authors: &authors,
        now: context.now(),
        force,
    };
    Ok(judging::judge(store, plan, &asking).await?)
}

/// The plan in the format that was asked for.
pub fn show(context: &Context, plan: &Plan, terms: &Terms, told: &Told, format: Format) -> String {
    match format {
        Format::Text => text::plan(plan, told, text::Part::All, context.paint()),
        Format::Markdown => markdown::plan(plan, told),
        Format::Json => json::pretty(&json::shown_plan_document(plan, terms, told)),
    }
}
