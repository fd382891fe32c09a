//! `argus drift`: what has been changed behind the manifests' back, by whom, when and through what.

use super::context::{Context, Done};
use super::output::report;
use super::plan;
use super::report::{draw, from_here};
use crate::cli::{Drift, Face, Format, Planning};
use crate::engine::Heard;
use crate::exit_code::ExitCode;
use crate::render::checks::{self, Check};
use crate::render::{json, markdown, text};
use crate::source::patch;
use crate::verdict::Told;

/// Prints the drift, or a patch that adopts it.
pub async fn run(context: &Context, args: &Drift) -> Done {
    let target = args.target.clone();
    let how = Planning { target, no_drift: false, full: false, judging: args.judging.clone() };
    let (reading, database) = context.read_and_connect(&args.manifests, &how).await?;
    let mut judges = plan::judges(context, &reading, &args.judging).await?;
    let Heard { plan, judgements, .. } = plan::make(context, &database.store, &reading, &mut judges, &how).await?;
    let failed = plan::has_errors(&reading, &plan);
    let code = match (failed, args.detailed_exitcode && plan.has_drift()) {
        (true, _) => ExitCode::Failed,
        (false, true) => ExitCode::Differences,
        (false, false) => ExitCode::Done,
    };
    if args.emit_patch {
        let adopted =
            patch::adopt(&|file| reading.place.text(file), &reading.place.patch_prefix(), &reading.world, &plan);
        context.complain(&adopted.findings, &Default::default());
        return report(&adopted.patch, code);
    }
    let shown = match args.format {
        Face::Whole(Format::Text) => text::plan(&plan, &Told::default(), text::Part::Drift, context.paint()),
        Face::Whole(Format::Markdown) => markdown::drift(&plan),
        Face::Whole(Format::Json) => {
            let drift = plan.only_drift();
            let verdict = plan::judge(context, &database.store, &drift, &judges, &judgements, false).await?;
            let folder = judges.folder.as_deref();
            json::pretty(&json::shown_plan_document(&drift, &judges.terms, folder, &verdict.told))
        }
        Face::Findings(form) => {
            let mut checks: Vec<Check> = reading.world.findings.iter().map(Check::of).collect();
            checks.extend(checks::drift::checks(&plan));
            draw(context, &from_here(checks, &reading.place), form, code)
        }
    };
    report(&shown, code)
}
