//! `argus apply`: plan, ask, apply; or apply a saved plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::context::{Context, Database, Done, Failure};
use super::credentials;
use super::judges::{Judges, NONE};
use super::place::{Found, Place};
use super::progress::Progress;
use super::report::{draw, from_here};
use super::show::Saved;
use super::{audit, held, output, plan, show};
use crate::cli::{Apply, Face, Format, Manifests, Planning};
use crate::engine::ground::Ground;
use crate::engine::{self, Applying, Heard, Outcome, Refusal, hearing, rollback};
use crate::event::telling;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::plan::Plan;
use crate::policy::judgement::Judgements;
use crate::render::checks::{self, Check};
use crate::render::excerpt::Excerpts;
use crate::render::json::{self, HeldOutcome, OutcomeDocument};
use crate::render::text;
use crate::settings::{SOURCE_FILE, Source};
use crate::source::git::settings::Verify;
use crate::store::run::{RunId, SourceLock};
use crate::telemetry::measure;
use crate::verdict::{Held, Terms, Verdict, tells_of_all};

/// Everything that is needed to apply.
struct Prepared {
    database: Database,
    /// Held from before the rows are read, so that a run that waited for another one sees what that has written.
    lock: SourceLock,
    plan: Plan,
    judges: Judges,
    judgements: Judgements,
    /// What is said of the manifests, and where they are.
    said: Vec<Check>,
    place: Rc<Place>,
    /// Whether part of the manifests is wrong.
    failed: bool,
}

/// Applies what the guards let through.
pub async fn run(context: &Context, args: &Apply) -> Done {
    // From here on, so that all that is logged says which run it is of.
    let run = context.new_run()?;
    let prepared = prepare(context, args).await;
    if context.is_of_repository(&args.manifests) {
        tell_of_source(context, args, &prepared).await;
    }
    let Prepared { database, lock, plan, judges, judgements, mut said, place, failed } = prepared?;
    let verdict = plan::judge(context, &database.store, &plan, &judges, &judgements, args.force).await?;
    match args.format {
        Face::Whole(Format::Json) | Face::Findings(_) => {}
        Face::Whole(format) => {
            if format == Format::Text {
                output::print(&show::heading(&plan))?;
            }
            output::print(&plan::show(context, &plan, &judges, &verdict.told, format))?;
        }
    }
    let failed = failed || plan.findings.iter().any(Finding::is_error);
    if verdict.approved.iter().any(|approved| !approved.plan().is_empty()) && !agreed(args)? {
        return output::report("Apply cancelled: nothing was written.\n", ExitCode::Failed);
    }
    let policed = judges.folder.as_deref().is_some_and(|folder| folder != NONE) || judgements.by_organization.is_some();
    let warned = verdict.told.warned.clone();
    let outcome = carry_out(context, &database, &plan, &judges, verdict, (run, args), policed).await;
    lock.release().await;
    let outcome = outcome?;
    audit::after_work(context, &database.store).await;
    if let Some(file) = &args.invitations {
        invite(context, &database, file).await?;
    }
    let code = exit_code(&plan, &outcome, failed);
    match args.format {
        Face::Whole(format) => tell(context, &plan, &outcome, format)?,
        Face::Findings(form) => {
            said.extend(what_came_of_it(&plan, &warned, &outcome));
            output::print(&draw(context, &from_here(said, &place), form, code))?;
        }
    }
    Ok(code)
}

/// Tells whether the repository of a source can be read and trusted. Where that cannot be told, applying does not fail
/// for it.
async fn tell_of_source(context: &Context, args: &Apply, prepared: &Result<Prepared, Failure>) {
    let (source, actor) = (context.source_name(&args.manifests), context.actor());
    let told = match prepared {
        Ok(prepared) => {
            let recovered = telling::recovered(&prepared.plan.source, &actor);
            prepared.database.store.tell_source(&prepared.plan.source, None, &recovered).await
        }
        Err(failure) if failure.findings.iter().any(|finding| finding.code.is_of_repository()) => {
            let Ok(database) = context.database().await else { return };
            let stalled = telling::stalled(&source, &actor, &failure.findings);
            let recovered = telling::recovered(&source, &actor);
            database.store.tell_source(&source, Some(&stalled), &recovered).await
        }
        Err(_) => return,
    };
    if let Err(error) = told {
        tracing::warn!(%error, "whether the source can be read is not told: {error}");
    }
}

/// What came of a plan, as checks.
pub fn what_came_of_it(
    plan: &Plan,
    warned: &BTreeMap<OrganizationName, Vec<Finding>>,
    outcome: &Outcome,
) -> Vec<Check> {
    let refused = |name: &str| outcome.refused.get(name).map_or(&[][..], |(_, why)| why.as_slice());
    checks::of_outcome(plan, warned, &refused)
}

/// How a command ends that has applied something.
pub fn exit_code(plan: &Plan, outcome: &Outcome, failed: bool) -> ExitCode {
    match outcome.worst() {
        // Whoever rolls back wants more than a report.
        Some(Refusal::Observed) if plan.rolls_back.is_some() && !failed => ExitCode::Held,
        Some(Refusal::Blocked | Refusal::Failed) => ExitCode::Failed,
        _ if failed => ExitCode::Failed,
        Some(Refusal::Stale) => ExitCode::Stale,
        Some(Refusal::Denied) => ExitCode::Denied,
        Some(Refusal::Held | Refusal::Stopped) => ExitCode::Held,
        None if outcome.is_rewound => ExitCode::Held,
        // Reporting is all that a source that observes should do.
        Some(Refusal::Observed) | None => ExitCode::Done,
    }
}

/// The plan: the saved one, or a new one.
async fn prepare(context: &Context, args: &Apply) -> Result<Prepared, Failure> {
    let timeout = Duration::from_secs(args.lock_timeout.into());
    if let Some(saved) = args.manifests.path.as_deref().filter(|path| is_saved_plan(path)) {
        let Saved { plan, terms, policies, told } = show::read(saved)?;
        let other_source = args.manifests.source.as_ref().is_some_and(|source| *source != plan.source);
        let Planning { target, no_drift, full, judging: _ } = &args.planning;
        if !target.is_empty() || *no_drift || *full || other_source {
            let finding = Finding::error(Code::BadSettings, "a saved plan is applied as it is");
            let hint = "give --source, --target, --no-drift and --full to `argus plan -o FILE`";
            return Err(Failure::from(finding.hint(hint)));
        }
        if plan.revision.is_none() {
            context.refuse_unsigned("this plan was not made of a commit", "plan with `--ref HEAD`")?;
        }
        let database = context.database().await?;
        let lock = database.store.source_lock(&plan.source, timeout).await?;
        // Whatever was said of it when it was made: what counts is what is said of it now.
        let at = place_now(context, args, &plan)?;
        signed_as_asked(context, &database, at.as_ref(), &plan).await?;
        let (found, there) = rules_now(context, args, saved, at.as_ref(), &plan, policies.as_deref())?;
        let mut judges = Judges::of(context, found, plan.revision.clone(), terms).await?;
        judges.add_names(plan.lineage.iter().flat_map(|lineage| &lineage.authors));
        same_rules(&judges, there.as_ref(), &told.rules_digest)?;
        let heard = hearing::hear_again(&database.store, &plan, &judges.bench(), context.now()).await?;
        let Heard { plan, judgements, .. } = heard;
        let mut said = Vec::new();
        if plan.revision.is_none() && plan.rolls_back.is_none() {
            context.tell_of_unknown_authors(&mut said);
        }
        let (said, place) = (said.iter().map(Check::of).collect(), Rc::new(Place::Folder(PathBuf::new())));
        return Ok(Prepared { database, lock, plan, judges, judgements, said, place, failed: false });
    }
    let (mut reading, database) = context.read_and_connect(&args.manifests, &args.planning).await?;
    if reading.place.checkout().is_none() {
        context.tell_of_unknown_authors(&mut reading.world.findings);
    }
    let mut judges = plan::judges(context, &reading, &args.planning.judging).await?;
    let lock = database.store.source_lock(&reading.settings.source, timeout).await?;
    let Heard { plan, judgements, .. } =
        plan::make(context, &database.store, &reading, &mut judges, &args.planning).await?;
    let failed = plan::has_errors(&reading, &plan);
    let said = reading.world.findings.iter().map(Check::of).collect();
    Ok(Prepared { database, lock, plan, judges, judgements, said, place: reading.place.clone(), failed })
}

/// The policies that judge a saved plan now, and the terms of its source as they are now: those of the commit at hand, if
/// it was made of a commit.
fn rules_now(
    context: &Context,
    args: &Apply,
    saved: &Path,
    place: Option<&Place>,
    plan: &Plan,
    policies: Option<&str>,
) -> Result<(Found, Option<Terms>), Failure> {
    let machine = context.policies(args.planning.judging.policies.as_deref());
    if let Some(place) = place {
        let settings = context.source_settings(place, &without_path(args))?;
        let found = place.policies(machine.as_deref(), settings.policies.as_deref())?;
        return Ok((found, Some(settings.terms()).filter(|_| settings.source == plan.source)));
    }
    let machine = machine.map(|folder| folder.display().to_string());
    let there = settings_now(saved, policies, &plan.source)?;
    Ok((Found::of_saved(machine.as_deref().or(policies))?, there))
}

/// The repository of a saved plan as it is now, if it was made of a commit.
fn place_now(context: &Context, args: &Apply, plan: &Plan) -> Result<Option<Place>, Failure> {
    plan.revision.as_ref().map(|_| Place::new(context, &without_path(args))).transpose()
}

/// Where the command line says that the manifests are, where its path is a saved plan.
fn without_path(args: &Apply) -> Manifests {
    Manifests { path: None, ..args.manifests.clone() }
}

/// Refuses a saved plan of a commit that would be refused if it were planned here and now.
async fn signed_as_asked(
    context: &Context,
    database: &Database,
    place: Option<&Place>,
    plan: &Plan,
) -> Result<(), Failure> {
    let verify = context.git().verify;
    if verify == Verify::None {
        return Ok(());
    }
    let refused = |message: &str, hint: &str| Failure::from(Finding::error(Code::Unsigned, message).hint(hint));
    let Some((revision, checkout)) = plan.revision.as_ref().zip(place.and_then(Place::checkout)) else {
        let hint =
            "plan a commit, and name its repository where the plan is applied: `git.url` in the settings, or `--ref`";
        return Err(refused("commits have to be signed, and what this plan was made of cannot be seen here", hint));
    };
    let planned = match verify {
        Verify::Tag => &revision.reference,
        _ => &revision.commit.id,
    };
    let mut planned = checkout.other(planned)?;
    if planned.revision.commit.id != revision.commit.id {
        let hint = "nothing was written; plan again";
        return Err(refused("the tag leads to another commit than the one that this plan was made of", hint));
    }
    let (signers, now) = (credentials::signers(context.git())?, context.now());
    planned.verify(verify, &signers, now)?;
    if verify == Verify::AllSinceApplied {
        let ground = Ground::from(&database.store);
        let baselines = ground.baselines(&plan.source).await?;
        plan::verify_brought(context, ground, &planned, &plan.source, &baselines, &signers).await?;
    }
    Ok(())
}

/// The terms of the source of a saved plan as its settings are now, if they are beside its policies, beside the plan or in
/// this folder.
fn settings_now(saved: &Path, policies: Option<&str>, source: &str) -> Result<Option<Terms>, Failure> {
    let beside = |path: &Path| path.parent().map(Path::to_path_buf);
    let policies = policies.filter(|folder| *folder != NONE).and_then(|folder| beside(Path::new(folder)));
    for folder in policies.into_iter().chain(beside(saved)).chain([PathBuf::new()]) {
        if folder.join(SOURCE_FILE).symlink_metadata().is_ok() {
            let settings = Source::read(&folder)?;
            if settings.source == source {
                return Ok(Some(settings.terms()));
            }
        }
    }
    Ok(None)
}

/// Refuses a saved plan whose rules have changed since: what was reviewed, and approved, was judged by others.
fn same_rules(judges: &Judges, there: Option<&Terms>, rules_digest: &str) -> Result<(), Failure> {
    let changed = match there {
        Some(terms) if *terms != judges.terms => "the settings of its source have changed",
        _ if judges.bench().rules_digest != rules_digest => "the policies are not those that judged it",
        _ => return Ok(()),
    };
    let finding = Finding::error(Code::Stale, format!("this plan is stale: {changed}"));
    let failure = Failure::from(finding.hint("nothing was written; plan again and look at what is said of it now"));
    Err(Failure { code: ExitCode::Stale, ..failure })
}

/// A saved plan is a JSON file that says so at its beginning; manifests never do.
fn is_saved_plan(path: &Path) -> bool {
    use std::io::Read as _;
    // Opening a pipe would wait for somebody to write into it.
    if !path.is_file() {
        return false;
    }
    let mut head = [0; 64];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut head));
    read.is_ok_and(|read| String::from_utf8_lossy(&head[..read]).contains(json::PLAN_DOCUMENT))
}

fn agreed(args: &Apply) -> Result<bool, Failure> {
    let question = "Apply these changes? Only `yes` is taken for a yes: ";
    let instead = "add --auto-approve, or apply a saved plan that somebody has read";
    Ok(args.auto_approve || asked(question, "nothing was written", instead)?)
}

/// Asks whoever watches. Where nobody does, that is an error, which says what was left undone and what to do instead.
pub(super) fn asked(question: &str, left: &str, instead: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let finding = Finding::error(Code::BadSettings, format!("nobody is here to be asked: {left}"));
        return Err(Failure::from(finding.hint(instead)));
    }
    output::print(question)?;
    let mut answer = String::new();
    Ok(std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes")
}

async fn carry_out(
    context: &Context,
    database: &Database,
    plan: &Plan,
    judges: &Judges,
    verdict: Verdict,
    (run, args): (RunId, &Apply),
    policed: bool,
) -> Result<Outcome, Failure> {
    let applying = Applying {
        run,
        actor: context.actor(),
        authors: judges.authors.clone(),
        terms: judges.terms.clone(),
        forced: args.force,
        policed,
        at_once: (context.connections() as usize / 2).max(1),
        rolls_back: rollback::of_plan(&database.store, plan).await?,
        whole: args.planning.target.is_empty() && !args.manifests.path.as_deref().is_some_and(is_saved_plan),
        lease: None,
    };
    let progress = Progress::new("applying");
    let tell = |done, total| progress.tell(done, total);
    let outcome = engine::apply(&database.store, plan, verdict, &applying, &tell).await?;
    measure::applied(context.metrics(), plan, &outcome);
    let _ = context.outcome.set(outcome.word());
    Ok(outcome)
}

/// Issues the tokens of invitations that have none yet. The file is the only place where they ever stand.
async fn invite(context: &Context, database: &Database, file: &Path) -> Result<(), Failure> {
    let mut system = context.random()?;
    let issued = database.store.issue_invitations(|| system.draw()).await?;
    let lines: String = issued.iter().map(|i| format!("{},{},{}\n", i.organization, i.email, i.token)).collect();
    output::write_file(file, &format!("organization,email,token\n{lines}"), true)
}

/// Tells what was done and what was not.
pub fn tell(context: &Context, plan: &Plan, outcome: &Outcome, format: Format) -> Result<(), Failure> {
    let refused = once(outcome.refused.values().flat_map(|(_, why)| why));
    let approved = outcome.applied.iter().map(|(name, approved)| (name, approved.approved_by()));
    let approved = approved.filter(|(_, people)| !people.is_empty());
    if format == Format::Json {
        let not_applied: BTreeMap<String, Vec<Finding>> =
            outcome.refused.iter().map(|(name, (_, why))| (name.to_string(), why.clone())).collect();
        return output::print(&json::pretty(&OutcomeDocument {
            document: "argus.outcome".into(),
            format: json::OUTCOME_FORMAT,
            run: outcome.run.clone(),
            plan: plan.digest.clone(),
            summary: outcome.summary(),
            applied: outcome.applied.keys().map(ToString::to_string).collect(),
            approved_by: approved
                .map(|(name, people)| (name.to_string(), people.into_iter().map(str::to_owned).collect()))
                .collect(),
            not_applied,
            held: outcome
                .held
                .iter()
                .filter_map(|(name, held)| Some((name.to_string(), waits(plan, name, held)?)))
                .collect(),
        }));
    }
    context.complain(&refused, &Excerpts::default());
    let lines = approved.map(|(name, people)| {
        format!("{}: approved by {}.\n", held::shown_organization(name), text::names(people.iter()))
    });
    output::print(&lines.collect::<String>())?;
    output::print(&text::outcome(&outcome.summary(), outcome.applied.len(), outcome.refused.len()))
}

fn waits(plan: &Plan, name: &str, held: &[Held]) -> Option<HeldOutcome> {
    let of = plan.organizations.iter().find(|each| &*each.organization == name)?;
    Some(HeldOutcome { plan: of.digest.clone(), held: held.to_vec() })
}

/// What there is to tell, without what is the same for many organizations again and again.
fn once<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<Finding> {
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut kept = Vec::new();
    for finding in findings {
        match tells_of_all(finding) {
            false => kept.push(finding.clone()),
            true if told.insert(finding.message.clone()) => kept.push(Finding { subject: None, ..finding.clone() }),
            true => {}
        }
    }
    kept
}
