//! `argus plan`: what would change, and why, and what is said of it. Writes nothing but the file of `-o`.

use super::context::{Context, Done, Failure, Reading};
use super::judges::Judges;
use super::output::{self, report};
use super::place::{self, Place, Request};
use super::progress::Progress;
use super::report::{draw, from_here};
use super::snapshot::Base;
use crate::cli::{Face, Format, Judging, Plan as Args, Planning};
use crate::engine::ground::Ground;
use crate::engine::judging::{self, Asking};
use crate::engine::provenance::History;
use crate::engine::{self, Heard, Pass, Targets};
use crate::exit_code::ExitCode;
use crate::plan::Plan;
use crate::policy::judgement::Judgements;
use crate::render::checks::{self, Check};
use crate::render::markdown::{self, Beside};
use crate::render::{json, text};
use crate::source::git::lineage::Since;
use crate::source::git::settings::Verify;
use crate::verdict::{Told, Verdict};

/// Plans, prints the plan, and saves it if asked.
pub async fn run(context: &Context, args: &Args) -> Done {
    let Asked { reading, due, mut judges, base } = asked(context, args).await?;
    judges.tells_access = matches!(args.format, Face::Whole(Format::Markdown));
    let due = match &due {
        None => None,
        Some(due) => Some(make(context, base.ground(), due, &mut unjudged(context, due), &args.planning).await?.plan),
    };
    let planning = &args.planning;
    let Heard { plan, judgements, access } =
        make_beyond(context, base.ground(), &reading, &mut judges, planning, due.as_ref()).await?;
    let told = judge(context, base.ground(), &plan, &judges, &judgements, false).await?.told;
    if let Some(file) = &args.output {
        let document = json::plan_document(&plan, &judges.terms, judges.folder.as_deref(), &told);
        output::write_file(file, &json::pretty(&document), true)?;
    }
    let failed = has_errors(&reading, &plan);
    let code = match (failed, args.detailed_exitcode && !plan.is_empty()) {
        (true, _) => ExitCode::Failed,
        (false, true) => ExitCode::Differences,
        (false, false) => ExitCode::Done,
    };
    match args.format {
        Face::Whole(Format::Markdown) => {
            let named = |file: &str| reading.place.called_here(file);
            let links = args.links.links(&named)?;
            report(&markdown::comment(&plan, &told, &Beside { access: Some(&access), links }), code)
        }
        Face::Whole(format) => report(&show(context, &plan, &judges, &told, format), code),
        Face::Findings(form) => {
            let mut checks: Vec<Check> = reading.world.findings.iter().map(Check::of).collect();
            checks.extend(checks::of_plan(&plan, &told));
            report(&draw(context, &from_here(checks, &reading.place), form, code), code)
        }
    }
}

/// What is planned.
struct Asked {
    reading: Reading,
    /// What is due without the branch, if it is a branch.
    due: Option<Reading>,
    judges: Judges,
    base: Base,
}

async fn asked(context: &Context, args: &Args) -> Result<Asked, Failure> {
    let Args { manifests, planning, snapshotted, base, head, .. } = args;
    let Some(base) = base else {
        let (reading, ground) = match &snapshotted.snapshot {
            None => {
                let (reading, database) = context.read_and_connect(manifests, planning).await?;
                (reading, Base::Database(Box::new(database)))
            }
            Some(_) => {
                let reading = context.read(manifests)?;
                context.draw(&reading);
                let ground = Base::of(context, snapshotted, &reading.settings.source).await?;
                (reading, ground)
            }
        };
        let judges = judges(context, &reading, &planning.judging).await?;
        return Ok(Asked { reading, due: None, judges, base: ground });
    };
    let Request { base, head } = Place::of_request(context, manifests, base, head)?;
    // What the branch says of its own settings and policies counts when it is merged, and not before.
    let settings = context.source_settings(&base, manifests)?;
    let mut judges = Judges::new(context, &base, &planning.judging, &settings).await?;
    if let (Some(base), Some(head)) = (base.revision(), head.checkout()) {
        judges.revision = Some(head.revision.clone());
        if let Since::Ahead(commits) = head.since(Some(&base.commit.id))? {
            judges.add_authors(commits.iter());
        }
        judges.add_authors([&head.revision.commit].into_iter());
    }
    let due = context.read_at(base, settings.clone(), None)?;
    let reading = context.read_at(head, settings, None)?;
    context.draw(&reading);
    let ground = Base::of(context, snapshotted, &reading.settings.source).await?;
    Ok(Asked { reading, due: Some(due), judges, base: ground })
}

/// What is due without a branch was judged when it was merged.
fn unjudged(context: &Context, reading: &Reading) -> Judges {
    Judges::terms_alone(context, reading.settings.terms())
}

/// What judges the plans of this source.
pub async fn judges(context: &Context, reading: &Reading, judging: &Judging) -> Result<Judges, Failure> {
    Judges::new(context, &reading.place, judging, &reading.settings).await
}

/// Whether part of the manifests or of the plan cannot be carried out.
pub fn has_errors(reading: &Reading, plan: &Plan) -> bool {
    reading.world.findings.iter().chain(plan.all_findings()).any(|finding| finding.is_error())
}

/// Plans with the settings of the source and the options of the command line.
pub async fn make<'a>(
    context: &Context,
    ground: impl Into<Ground<'a>>,
    reading: &Reading,
    judges: &mut Judges,
    how: &Planning,
) -> Result<Heard, Failure> {
    make_beyond(context, ground.into(), reading, judges, how, None).await
}

/// The same, of what is not due anyway.
async fn make_beyond(
    context: &Context,
    ground: Ground<'_>,
    reading: &Reading,
    judges: &mut Judges,
    how: &Planning,
    due: Option<&Plan>,
) -> Result<Heard, Failure> {
    let targets = Targets::parse(&how.target)?;
    let history = history(context, ground, reading, due.is_some()).await?;
    if let Some(Since::Ahead(commits)) = history.as_ref().map(|history| &history.since) {
        judges.add_authors(commits.iter());
    }
    let bench = judges.bench();
    let pass = Pass {
        source: &reading.settings.source,
        correct_drift: how.corrects_drift(judges.terms.mode),
        full: how.full,
        guards: &reading.settings.guards,
        bench: &bench,
        targets: &targets,
        history: history.as_ref(),
        due,
        now: context.now(),
    };
    let progress = Progress::new("comparing");
    Ok(engine::plan(&reading.world, ground, &pass, &|done, total| progress.tell(done, total)).await?)
}

/// How the commit at hand stands to the one that was applied last.
async fn history<'a>(
    context: &Context,
    ground: Ground<'_>,
    reading: &'a Reading,
    preview: bool,
) -> Result<Option<History<'a>>, Failure> {
    let Some(checkout) = reading.place.checkout() else { return Ok(None) };
    if preview {
        // A branch is not what was applied, and need not lead on from it before it is merged.
        return Ok(Some(History { checkout, applied: None, since: Since::Nothing }));
    }
    let applied = ground.last_commit(&reading.settings.source).await?;
    let since = checkout.since(applied.as_deref())?;
    if context.git().verify == Verify::AllSinceApplied {
        let signers = place::signers(context.git())?;
        let verified = checkout.verify_since(&since, applied.as_deref(), &signers, context.now());
        verified.map_err(Failure::from_findings)?;
    }
    Ok(Some(History { checkout, applied, since }))
}

/// The verdict on a plan as of now.
pub async fn judge<'a>(
    context: &Context,
    ground: impl Into<Ground<'a>>,
    plan: &Plan,
    judges: &Judges,
    policies: &Judgements,
    force: bool,
) -> Result<Verdict, Failure> {
    let Judges { terms, authors, approvers, .. } = judges;
    let asking = Asking { terms, policies, approvers, authors, now: context.now(), force };
    Ok(judging::judge(ground, plan, &asking).await?)
}

/// The plan in the format that was asked for.
pub fn show(context: &Context, plan: &Plan, judges: &Judges, told: &Told, format: Format) -> String {
    match format {
        Format::Text => text::plan(plan, told, text::Part::All, context.paint()),
        Format::Markdown => markdown::plan(plan, told),
        Format::Json => json::pretty(&json::shown_plan_document(plan, &judges.terms, judges.folder.as_deref(), told)),
    }
}
