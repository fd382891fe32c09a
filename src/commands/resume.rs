//! `argus resume`: what has drifted while nothing was written, and the end of a suspension before its time.

use super::context::{Context, Done, Failure, Reading};
use super::judges::Judges;
use super::output::{self, report};
use super::plan;
use super::suspend::{Subject, line};
use crate::brake::REASON_CHARS_MAX;
use crate::cli::brakes::Resume;
use crate::cli::{Judging, Manifests, Planning};
use crate::engine::Heard;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::excerpt::Excerpts;
use crate::render::{inert, text};
use crate::store::Store;
use crate::verdict::Told;

/// Reports the drift that has piled up, then lifts every suspension of just this.
pub async fn run(context: &Context, args: &Resume) -> Done {
    let subject = Subject::read(&args.what)?;
    let reason = line("reason", &args.reason, REASON_CHARS_MAX)?;
    let database = context.database().await?;
    if !args.no_report {
        drift(context, &database.store, &subject).await?;
    }
    let lifted = database.store.resume(subject.suspended(), &context.actor(), reason).await?;
    if lifted.is_empty() {
        let message = format!("{} is not suspended", inert::line(&subject.words()));
        let finding = Finding::error(Code::NoSuchTarget, message);
        return Err(Failure::from(
            finding.hint("`argus get suspensions` lists what is suspended, and for which source"),
        ));
    }
    let mut text = String::new();
    for suspension in &lifted {
        text.push_str(&format!(
            "Resumed: {} ({}).\n",
            inert::line(&suspension.subject()),
            inert::line(&suspension.reason)
        ));
    }
    still_suspended(context, &database.store, &subject).await?;
    report(&text, ExitCode::Done)
}

/// Prints what others have written to what is resumed, so that nobody is surprised when it is corrected.
async fn drift(context: &Context, store: &Store, subject: &Subject) -> Result<(), Failure> {
    let source = subject.source().map(str::to_owned);
    let manifests =
        Manifests { path: Some(subject.path.clone()), source, git: None, reference: None, only: Vec::new() };
    let reading = context.read(&manifests)?;
    context.draw(&reading);
    comparable(&reading, subject)?;
    let target = subject.organization().map(str::to_owned).into_iter().collect();
    // Nothing is applied and nothing is said of it: no policy has to be asked.
    let mut judges = Judges::terms_alone(context, reading.settings.terms());
    let how = Planning { target, no_drift: false, full: false, judging: Judging::default() };
    let Heard { plan, .. } = plan::make(context, store, &reading, &mut judges, &how).await?;
    context.complain(&plan.findings, &Excerpts::default());
    if plan::has_errors(&reading, &plan) {
        return Err(unknown("part of it cannot be compared"));
    }
    output::print(&text::plan(&plan, &Told::default(), text::Part::Drift, context.paint()))
}

/// Fails where the manifests do not tell of what is resumed: that nothing has drifted would not be known.
fn comparable(reading: &Reading, subject: &Subject) -> Result<(), Failure> {
    if reading.world.findings.iter().any(Finding::is_error) {
        return Err(unknown("the manifests have errors"));
    }
    let described = &reading.world.organizations;
    match subject.organization() {
        Some(name) if !described.contains_key(name) => {
            Err(unknown(&format!("these manifests do not describe `{}`", inert::line(name))))
        }
        None if described.is_empty() => Err(unknown("these manifests describe nothing")),
        _ => Ok(()),
    }
}

fn unknown(why: &str) -> Failure {
    let finding = Finding::error(Code::HeldOrganization, format!("what has drifted is not known: {why}"));
    Failure::from(finding.hint("nothing was resumed; name the folder of the manifests, mend them, or give --no-report"))
}

/// Says what still stops what was resumed: suspensions overlap.
async fn still_suspended(context: &Context, store: &Store, subject: &Subject) -> Result<(), Failure> {
    let left = store.planning().await?.suspensions(subject.source()).await?;
    let touches = left.iter().filter(|left| match (subject.organization(), left.organization.as_deref()) {
        (Some(name), Some(other)) => name == other,
        _ => true,
    });
    let findings: Vec<Finding> = touches.map(|suspension| suspension.stop().finding).collect();
    context.complain(&findings, &Excerpts::default());
    Ok(())
}
