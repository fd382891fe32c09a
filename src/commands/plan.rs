//! `argus plan`: what would change, and why, and what is said of it. Writes nothing but the file of `-o`.

use super::context::{Context, Done, Failure, Reading};
use super::credentials;
use super::judges::{Judges, NONE};
use super::output::{self, report};
use super::place::{Named, Place};
use super::progress::Progress;
use super::report::{draw, from_here};
use super::snapshot::Base;
use crate::cli::{Face, Format, Judging, Manifests, Plan as Args, Planning};
use crate::engine::ground::Ground;
use crate::engine::judging::{self, Asking};
use crate::engine::provenance::{History, Knowing};
use crate::engine::{self, Heard, Pass, Targets};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::plan::Plan;
use crate::policy::judgement::Judgements;
use crate::render::checks::{self, Check};
use crate::render::markdown::{self, Beside, Links};
use crate::render::{json, text};
use crate::signature::Signers;
use crate::source::git::Checkout;
use crate::source::git::lineage::Since;
use crate::source::git::settings::Verify;
use crate::source::names::{POLICIES_DIRECTORY, SETTINGS_FILE};
use crate::store::Store;
use crate::store::baselines::Baselines;
use crate::telemetry::measure;
use crate::verdict::{Told, Verdict};

/// Plans, prints the plan, and saves it if asked. Where there is none, a comment says so: it takes the place of the one of
/// yesterday.
pub async fn run(context: &Context, args: &Args) -> Done {
    let done = planned(context, args).await;
    if let (Err(failure), Face::Whole(Format::Markdown)) = (&done, args.format) {
        let named = |file: &str| file.to_owned();
        let links = args.links.links(&named).unwrap_or_default();
        output::print(&markdown::failed(&context.source_name(&args.manifests), &failure.findings, &links))?;
    }
    done
}

async fn planned(context: &Context, args: &Args) -> Done {
    let (Asked { reading, due, told, mut judges }, base) = asked(context, args).await?;
    judges.tells_access = matches!(args.format, Face::Whole(Format::Markdown));
    let (Heard { plan, access, .. }, told) =
        judged(context, base.ground(), &args.planning, &reading, due.as_ref().map(|due| (due, told)), &mut judges)
            .await?;
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
            report(
                &markdown::comment(
                    &plan,
                    &told,
                    &Beside { access: Some(&access), said: &reading.world.findings, links },
                ),
                code,
            )
        }
        Face::Whole(format) => report(&show(context, &plan, &judges, &told, format), code),
        Face::Findings(form) => {
            let mut checks: Vec<Check> = reading.world.findings.iter().map(Check::of).collect();
            checks.extend(checks::of_plan(&plan, &told));
            report(&draw(context, &from_here(checks, &reading.place), form, code), code)
        }
    }
}

/// Plans, what is due anyway left out of a branch, and judges that.
async fn judged(
    context: &Context,
    ground: Ground<'_>,
    planning: &Planning,
    reading: &Reading,
    branch: Option<(&Reading, Vec<Finding>)>,
    judges: &mut Judges,
) -> Result<(Heard, Told), Failure> {
    let (due, told) = branch.unzip();
    let due = match due {
        None => None,
        Some(due) => Some(make(context, ground, due, &mut unjudged(context, due), planning).await?.plan),
    };
    let targets = Targets::parse(&planning.target)?;
    let heard = make_beyond(context, ground, reading, judges, (planning, targets), due.as_ref().zip(told)).await?;
    let told = judge(context, ground, &heard.plan, judges, &heard.judgements, false).await?.told;
    Ok((heard, told))
}

/// What is said of a branch.
pub struct Comment {
    /// The comment.
    pub text: String,
    /// The commit that the branch ends with.
    pub commit: String,
    /// The verdict in a word: `allowed`, `held`, `denied`, `blocked`, `stopped`.
    pub word: &'static str,
    /// What would be done, in a sentence.
    pub summary: String,
}

/// Plans a branch as `argus plan --base --head` does, for a comment. `files` says where the files of a commit can be looked at.
pub async fn comment_on(
    context: &Context,
    store: &Store,
    manifests: &Manifests,
    (base, head): (&str, &str),
    files: &dyn Fn(&str) -> Option<String>,
) -> Result<Comment, Failure> {
    let planning = as_set_up();
    let Asked { reading, due, told, mut judges } = branch(context, manifests, &planning.judging, base, head).await?;
    judges.tells_access = true;
    let due = due.as_ref().map(|due| (due, told));
    let (Heard { plan, access, .. }, told) =
        judged(context, store.into(), &planning, &reading, due, &mut judges).await?;
    let commit = reading.place.revision().map(|revision| revision.commit.id.clone()).unwrap_or_default();
    let (named, files) = (|file: &str| reading.place.called_here(file), files(&commit));
    let links = Links { files: files.as_deref(), named: Some(&named), codes: None };
    let beside = Beside { access: Some(&access), said: &reading.world.findings, links };
    let word = if has_errors(&reading, &plan) { "blocked" } else { told.gravest() };
    let summary = text::summary(&plan.summary());
    Ok(Comment { text: markdown::comment(&plan, &told, &beside), commit, word, summary })
}

/// Planning as the settings have it.
fn as_set_up() -> Planning {
    Planning { target: Vec::new(), no_drift: false, full: false, judging: Judging::default() }
}

/// What is planned.
struct Asked {
    reading: Reading,
    /// What is due without the branch, if it is a branch.
    due: Option<Reading>,
    /// What is told of the branch beside what it changes.
    told: Vec<Finding>,
    judges: Judges,
}

async fn asked(context: &Context, args: &Args) -> Result<(Asked, Base), Failure> {
    let Args { manifests, planning, snapshotted, base, head, .. } = args;
    if let (Some(_), Some(git)) = (&snapshotted.snapshot, Named::by(manifests)?.git) {
        let other = Named::by_whom("--git", Manifests::ADDRESS_VARIABLE, Some(git));
        return Err(Named::both("--snapshot", other, "with a snapshot no network is touched"));
    }
    let Some(base) = base else {
        let (mut reading, ground) = match &snapshotted.snapshot {
            None => {
                let (reading, database) = context.read_and_connect(manifests, planning).await?;
                (reading, Base::Database(Box::new(database)))
            }
            Some(_) => {
                let place = context.vouched_place(manifests)?;
                let settings = context.source_settings(&place, manifests)?;
                let reading = context.read_at(place, settings, None)?;
                context.draw(&reading);
                let ground = Base::of(context, snapshotted, &reading.settings.source).await?;
                (reading, ground)
            }
        };
        if reading.place.checkout().is_none() {
            context.tell_of_unknown_authors(&mut reading.world.findings);
        }
        let judges = judges(context, &reading, &planning.judging).await?;
        return Ok((Asked { reading, due: None, told: Vec::new(), judges }, ground));
    };
    let asked = branch(context, manifests, &planning.judging, base, head).await?;
    context.draw(&asked.reading);
    let ground = Base::of(context, snapshotted, &asked.reading.settings.source).await?;
    Ok((asked, ground))
}

/// A branch, and what is due without it.
async fn branch(
    context: &Context,
    manifests: &Manifests,
    judging: &Judging,
    base: &str,
    head: &str,
) -> Result<Asked, Failure> {
    let request = Place::of_request(context, manifests, base, head)?;
    // What the branch says of its own settings and policies counts when it is merged, and not before.
    let settings = context.source_settings(&request.base, manifests)?;
    let head = request.head()?;
    let base = request.base;
    let mut judges = Judges::new(context, &base, judging, &settings).await?;
    let mut told = Vec::new();
    if let (Some(base), Some(head)) = (base.checkout(), head.checkout()) {
        judges.revision = Some(head.revision.clone());
        let since = head.since(Some(&base.revision.commit.id))?;
        judges.add_authors(since.brought().iter());
        judges.add_authors([&head.revision.commit].into_iter());
        told.extend(unsigned(context, head, &since)?);
        let own_policies = context.policies(judging.policies.as_deref()).is_none();
        told.extend(rules_changed(base, head, settings.policies.as_deref().filter(|_| own_policies), own_policies));
    }
    let due = context.read_at(base, settings.clone(), None)?;
    let reading = context.read_at(head, settings, None)?;
    Ok(Asked { reading, due: Some(due), told, judges })
}

/// What of a branch would be refused once it is read, because it is not signed as it should be.
fn unsigned(context: &Context, head: &Checkout, since: &Since) -> Result<Vec<Finding>, Failure> {
    let verify = context.git().verify;
    if since.brought().is_empty() || matches!(verify, Verify::None | Verify::Tag) {
        return Ok(Vec::new());
    }
    let (signers, now) = (credentials::signers(context.git())?, context.now());
    let refused = match verify {
        Verify::Head => head.clone().verify(verify, &signers, now).map_err(|finding| {
            vec![finding.hint("sign it, or merge it by a commit that is signed: that one is read then")]
        }),
        _ => head.verify_since(since, None, &signers, now),
    };
    let warning = |finding| Finding { severity: Severity::Warning, ..finding };
    Ok(refused.err().into_iter().flatten().map(warning).collect())
}

/// Says that a branch changes what judges it: a plan under the rules of its base does not show that.
fn rules_changed(base: &Checkout, head: &Checkout, policies: Option<&str>, own_policies: bool) -> Option<Finding> {
    let folder = policies.unwrap_or(POLICIES_DIRECTORY);
    let settings = !head.agrees_with(base, SETTINGS_FILE);
    let policies = own_policies && folder != NONE && !head.agrees_with(base, folder);
    let what = match (settings, policies) {
        (false, false) => return None,
        (true, false) => "argus.yaml",
        (false, true) => "policies",
        (true, true) => "argus.yaml and policies",
    };
    let message = format!("this branch changes {what}; that counts once it is merged, and this plan does not show it");
    let hint = format!("`argus plan --ref {}` plans with it", head.revision.reference);
    Some(Finding::note(Code::BranchRules, message).hint(hint))
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
    let targets = Targets::parse(&how.target)?;
    make_beyond(context, ground.into(), reading, judges, (how, targets), None).await
}

/// Plans for some organizations, and everything of each, as a source is set up.
pub async fn make_for(
    context: &Context,
    store: &Store,
    reading: &Reading,
    judges: &mut Judges,
    organizations: impl IntoIterator<Item = OrganizationName>,
) -> Result<Heard, Failure> {
    let how = as_set_up();
    make_beyond(context, store.into(), reading, judges, (&how, Targets::organizations(organizations)), None).await
}

/// Refuses a commit if one that it brings is not signed as the machine asks.
pub async fn verify_brought(
    context: &Context,
    ground: Ground<'_>,
    checkout: &Checkout,
    source: &str,
    baselines: &Baselines,
    signers: &Signers,
) -> Result<(), Failure> {
    let since = match (&baselines.whole, baselines.is_empty()) {
        (Some(whole), _) => checkout.since(Some(whole))?,
        (None, false) => checkout.since_any(&baselines.commits())?,
        // The repository names the source, and so may give it a name under which nothing was applied yet.
        (None, true) => checkout.since_any_of_here(&ground.commits_of_others(source).await?)?,
    };
    let verified = checkout.verify_since(&since, baselines.whole.as_deref(), signers, context.now());
    verified.map_err(Failure::from_findings)
}

/// The same of a branch: what is not due anyway, with what is told of it.
async fn make_beyond(
    context: &Context,
    ground: Ground<'_>,
    reading: &Reading,
    judges: &mut Judges,
    (how, targets): (&Planning, Targets),
    branch: Option<(&Plan, Vec<Finding>)>,
) -> Result<Heard, Failure> {
    let (due, told) = branch.unzip();
    let verify = context.git().verify;
    let signers =
        (verify != Verify::None && reading.place.checkout().is_some()).then(|| credentials::signers(context.git()));
    let signers = signers.transpose()?;
    let approvers = context.approvers();
    let knowing = Knowing { signers: signers.as_ref(), approvers, now: context.now() };
    let history = match (reading.place.checkout(), told) {
        (None, _) => None,
        // A branch is not what was applied, and need not lead on from it before it is merged.
        (Some(checkout), Some(told)) => Some(History::of_request(checkout, told, knowing)),
        (Some(checkout), None) => {
            let source = &reading.settings.source;
            let baselines = ground.baselines(source).await?;
            if let Some(signers) = signers.as_ref().filter(|_| verify == Verify::AllSinceApplied) {
                verify_brought(context, ground, checkout, source, &baselines, signers).await?;
            }
            Some(History::new(checkout, baselines, knowing)?)
        }
    };
    judges.add_names(history.iter().flat_map(|history| &history.authors));
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
    let heard = engine::plan(&reading.world, ground, &pass, &|done, total| progress.tell(done, total)).await?;
    measure::planned(context.metrics(), &heard.plan);
    Ok(heard)
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
    let verdict = judging::judge(ground, plan, &asking).await?;
    measure::judged(context.metrics(), &verdict.told);
    Ok(verdict)
}

/// The plan in the format that was asked for.
pub fn show(context: &Context, plan: &Plan, judges: &Judges, told: &Told, format: Format) -> String {
    match format {
        Format::Text => text::plan(plan, told, text::Part::All, context.paint()),
        Format::Markdown => markdown::plan(plan, told),
        Format::Json => json::pretty(&json::shown_plan_document(plan, &judges.terms, judges.folder.as_deref(), told)),
    }
}
