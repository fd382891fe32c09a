//! `argus drift`: what has been changed behind the manifests' back, by whom, when and through what.

use super::context::{Context, Done, print};
use super::plan;
use crate::cli::{Drift, Format, Planning};
use crate::exit_code::ExitCode;
use crate::guard::{self, Verdict};
use crate::render::{json, markdown, text};
use crate::source::patch;

/// Prints the drift, or a patch that adopts it.
pub async fn run(context: &Context, args: &Drift) -> Done {
    let reading = context.read(&args.manifests)?;
    context.draw(&reading);
    let database = context.database().await?;
    let how = Planning { target: args.target.clone(), no_drift: false, full: false };
    let plan = plan::make(context, &database.store, &reading, &how).await?;
    let failed = plan::has_errors(&reading, &plan);
    let code = match (failed, args.detailed_exitcode && plan.has_drift()) {
        (true, _) => ExitCode::Failed,
        (false, true) => ExitCode::Differences,
        (false, false) => ExitCode::Done,
    };
    if args.emit_patch {
        let adopted = patch::adopt(&reading.root, &reading.world, &plan);
        context.complain(&adopted.findings, &Default::default());
        return print(&adopted.patch, code);
    }
    let shown = match args.format {
        Format::Text => text::plan(&plan, &Verdict::default(), text::Part::Drift, context.paint()),
        Format::Markdown => markdown::drift(&plan),
        Format::Json => {
            let drift = plan.only_drift();
            let guards = &reading.settings.guards;
            json::pretty(&json::plan_document(&drift, guards, &guard::judge(&drift, guards, false)))
        }
    };
    print(&shown, code)
}
