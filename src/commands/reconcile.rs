//! `argus reconcile`: ask the controller to look at a source now, and wait for what comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::{Context, Done, Failure};
use super::output::report;
use crate::cli::controller::Reconcile;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::time::parse_duration;
use crate::render::excerpt::Excerpts;
use crate::render::inert;
use crate::render::text::counted;
use crate::store::Store;
use crate::store::queue::{Asked, Progress};

/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_millis(250);

/// Asks, and waits if that is wanted.
pub async fn run(context: &Context, args: &Reconcile) -> Done {
    let timeout = parse_duration(&args.timeout).ok().and_then(|timeout| timeout.to_std().ok()).ok_or_else(|| {
        let why = format!("`{}` is no length of time", args.timeout);
        Failure::from(Finding::error(Code::BadSettings, why).hint("write `--timeout 10m`"))
    })?;
    let database = context.database().await?;
    let store = &database.store;
    let Some(asked) = store.ask(&args.source, args.organization.as_deref()).await? else {
        return Err(unknown(store, args).await?);
    };
    if !asked.somebody_is_there {
        let message = "no controller is running that would hear this";
        context.complain(&[Finding::warning(Code::NobodyThere, message)], &Excerpts::default());
    }
    let name = inert::line(args.organization.as_deref().unwrap_or(&args.source));
    if !args.wait {
        return report(&format!("Asked for {name}.\n"), ExitCode::Done);
    }
    let waiting = async {
        loop {
            let progress = store.progress(&asked).await?;
            if progress.done {
                return Ok::<Progress, Failure>(progress);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let progress = tokio::time::timeout(timeout, waiting).await.map_err(|_| too_long(&asked, args))??;
    tell(context, &name, &progress)
}

fn tell(context: &Context, name: &str, progress: &Progress) -> Done {
    context.complain(&progress.findings, &Excerpts::default());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, outcome) in &progress.outcomes {
        *counts.entry(outcome).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let what = if parts.is_empty() { "nothing was to be done".to_owned() } else { parts.join(", ") };
    let total = counted(progress.outcomes.len(), "organization");
    report(&format!("Reconciled {name}: {total}; {what}.\n"), exit_code(progress))
}

/// How it ends: the worst that came of anything.
fn exit_code(progress: &Progress) -> ExitCode {
    let any = |of: &[&str]| progress.outcomes.iter().any(|(_, outcome)| of.contains(&outcome.as_str()));
    match () {
        () if progress.failed || any(&["blocked", "failed"]) => ExitCode::Failed,
        () if any(&["stale"]) => ExitCode::Stale,
        () if any(&["denied"]) => ExitCode::Denied,
        () if any(&["held", "stopped"]) => ExitCode::Held,
        () => ExitCode::Done,
    }
}

async fn unknown(store: &Store, args: &Reconcile) -> Result<Failure, Failure> {
    let known = store.sources().await?.sources;
    let finding = match (&args.organization, known.contains_key(&args.source)) {
        (Some(organization), true) => {
            let message = format!("the source `{}` knows no organization `{}`", args.source, inert::line(organization));
            Finding::error(Code::NoSuchTarget, message).hint("without --organization the source itself is looked at")
        }
        _ => {
            let message = format!("no controller looks at a source `{}`", inert::line(&args.source));
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            Finding::error(Code::NoSuchTarget, message).hint(format!("there are: {}", known.join(", ")))
        }
    };
    Ok(Failure::from(finding))
}

fn too_long(asked: &Asked, args: &Reconcile) -> Failure {
    let message = format!("`{}` was not through within {}", asked.source, args.timeout);
    let hint = "it goes on; `argus get sources` and `argus get work` tell how far it is";
    Failure { code: ExitCode::Locked, ..Failure::from(Finding::error(Code::NobodyThere, message).hint(hint)) }
}
