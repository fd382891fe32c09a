//! One pass, the whole path: the world that was read, compared with PostgreSQL, becomes a plan; what the guards let
//! through is applied, one transaction per organization.

pub mod approving;
mod attribute;
pub mod ground;
pub mod hearing;
pub mod judging;
pub mod notifying;
mod outcome;
pub mod picture;
pub mod provenance;
pub mod relay;
pub mod reporting;
pub mod rollback;
pub mod scope;
pub mod sealing;
mod telling;
pub mod verifying;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tracing::Instrument as _;

pub use outcome::{Outcome, Refusal};
pub use scope::Targets;

use crate::access::Access;
use crate::diff;
use crate::engine::ground::{Ground, View};
use crate::engine::hearing::{Bench, Case, Hearing};
use crate::engine::provenance::History;
use crate::event::content::Cause;
use crate::guard::{self, Guards};
use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kinds;
use crate::model::resource::ResourceId;
use crate::model::state::{Applied, Desired, Live, World};
use crate::model::value::Value;
use crate::plan::{Action, OrganizationPlan, Plan};
use crate::policy::judgement::Judgements;
use crate::store::Store;
use crate::store::apply::ApplyContext;
use crate::store::error::{ApplyError, StoreError};
use crate::store::planning::OrganizationState;
use crate::store::queue::Holder;
use crate::store::run::{RollsBack, RunEnd, RunId, RunStart};
use crate::trace;
use crate::verdict::{Approved, Terms, Verdict};

/// How many organizations are read and compared at a time: enough to keep the cores busy, few enough to hold.
const ORGANIZATIONS_PER_READ: usize = 500;

/// What a pass is told.
#[derive(Clone, Debug)]
pub struct Pass<'a> {
    /// The name under which the source owns what it applies.
    pub source: &'a str,
    /// Whether drift is corrected, or only reported.
    pub correct_drift: bool,
    /// Whether to read organizations of which nothing has moved.
    pub full: bool,
    /// What must not happen unseen.
    pub guards: &'a Guards,
    /// What judges the plan.
    pub bench: &'a Bench<'a>,
    /// What the pass is limited to.
    pub targets: &'a Targets,
    /// Where it comes from, if the source has a history.
    pub history: Option<&'a History<'a>>,
    /// What is due anyway, where only what goes beyond that is of interest.
    pub due: Option<&'a Plan>,
    /// When it happens.
    pub now: DateTime<Utc>,
}

/// Told how far a pass has come: how many of how many organizations.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A plan, and what the policies say of it.
#[derive(Debug)]
pub struct Heard {
    /// The plan.
    pub plan: Plan,
    /// What the policies say.
    pub judgements: Judgements,
    /// What people gain and lose, by organization with changes; nothing where nobody asked for it.
    pub access: BTreeMap<OrganizationName, Access>,
    /// The organizations that stay as they are because part of what describes them cannot be used.
    pub unseen: BTreeSet<OrganizationName>,
    /// What was known of the organizations that the pass was limited to, or of all, when it was planned.
    pub states: BTreeMap<OrganizationName, OrganizationState>,
}

/// Compares a world with PostgreSQL, or with a picture of it, and asks the policies. Writes nothing: the transaction is
/// read-only and its role cannot write.
#[tracing::instrument(name = "plan", skip_all, fields(
    argus.source = pass.source,
    vcs.ref.head.revision = pass.history.map(|history| &*history.checkout.revision.commit.id),
))]
pub async fn plan<'a>(
    world: &World,
    ground: impl Into<Ground<'a>>,
    pass: &Pass<'_>,
    progress: Progress<'_>,
) -> Result<Heard, StoreError> {
    let mut planning = ground.into().view(world, pass.now).await?;
    let states = planning.states(pass.source, scope::concerned(world, pass.targets).as_ref()).await?;
    let owns_shared = scope::owns_shared(world, &mut planning, pass.source).await?;
    let gone = scope::no_longer_described(world, &states, pass.source, owns_shared);
    let scope = scope::Scope::new(world, &gone, &states, &mut planning, pass).await?;
    let tiers = scope::tiers(&mut planning, pass.targets).await?;
    let declared_tiers = scope::declared_tiers(world);
    let rules = diff::Rules {
        source: pass.source,
        correct_drift: pass.correct_drift,
        now: pass.now,
        tiers: &tiers,
        declared_tiers: &declared_tiers,
        targeted: &|id| pass.targets.cover(id),
    };
    let mut hearing = Hearing::begin(&mut planning, pass.bench, pass.source, pass.now).await?;
    let due = |name: &str| pass.due?.organizations.iter().find(|plan| &*plan.organization == name);
    let beyond = |plan: OrganizationPlan| {
        let due = due(&plan.organization);
        plan.beyond(due.map(|due| &**due))
    };
    let mut organizations: Vec<OrganizationPlan> = scope.unmoved.into_iter().map(beyond).collect();
    let mut findings = planning.findings();
    findings.extend(scope.findings);
    findings.extend(pass.history.iter().flat_map(|history| history.findings()));
    for (done, chunk) in scope.moved.chunks(ORGANIZATIONS_PER_READ).enumerate() {
        progress(done * ORGANIZATIONS_PER_READ, scope.moved.len());
        let read = read(&mut planning, chunk).await?;
        findings.extend(read.iter().flat_map(|read| read.missing_targets(pass.targets)));
        let mut plans = compare(&read, &rules, &states);
        if let Some(audit) = planning.database() {
            attribute::movers(audit, &mut plans).await?;
        }
        if let Some(history) = pass.history {
            findings.extend(history.explain(&mut plans));
        }
        plans = plans.into_iter().map(beyond).collect();
        if pass.guards.empty_source && scope.empties_itself > 0 {
            let hold = guard::empty_source(pass.source, scope.empties_itself);
            plans.iter_mut().filter(|plan| !plan.is_empty()).for_each(|plan| plan.holds.push(hold.clone()));
        }
        // Now everything is there that approvals are bound to.
        let plans: Vec<OrganizationPlan> = plans.into_iter().map(OrganizationPlan::sealed).collect();
        let cases: Vec<Case<'_>> = plans.iter().zip(&read).map(|(plan, read)| read.case(plan)).collect();
        hearing.hear(&mut planning, &cases).await?;
        organizations.extend(plans);
    }
    if let Some(due) = pass.due {
        // Where nothing is done any more, what was due is taken back.
        let known: BTreeSet<OrganizationName> = organizations.iter().map(|plan| plan.organization.clone()).collect();
        let left = due.organizations.iter().filter(|plan| !known.contains(&plan.organization));
        let left: Vec<OrganizationPlan> =
            left.map(|plan| OrganizationPlan::unchanged(&plan.organization, Vec::new()).beyond(Some(plan))).collect();
        organizations.extend(left);
    }
    let read: usize = world.organizations.values().map(|desired| desired.resources.len()).sum();
    let resources = read + world.unread.values().map(|unread| unread.resources).sum::<usize>();
    let seen = world.organizations.keys().filter(|name| &***name != GLOBAL).count() + world.unread.len();
    organizations.retain(OrganizationPlan::has_something_to_tell);
    let revision = pass.history.map(|history| history.checkout.revision.clone());
    let lineage = pass.history.and_then(|history| history.lineage(pass.targets, scope.unseen.clone()));
    let beyond = pass.due.and_then(|due| due.revision.clone());
    let plan = Plan { revision, lineage, beyond, ..Plan::new(pass.source, (seen, resources), organizations, findings) };
    let access = hearing.take_access();
    let judgements = hearing.end(&mut planning, &plan.organizations).await?;
    Ok(Heard { plan, judgements, access, unseen: scope.unseen, states })
}

/// One organization with its three states and the digest of what is said of it.
struct Read<'a> {
    subject: &'a scope::Subject<'a>,
    live: Live,
    applied: Applied,
}

impl Read<'_> {
    /// The same, to be heard with the plan that came of it.
    fn case<'a>(&'a self, plan: &'a OrganizationPlan) -> Case<'a> {
        Case { plan, live: &self.live, applied: &self.applied }
    }

    /// What was asked for by name and is neither declared nor there.
    fn missing_targets(&self, targets: &Targets) -> Vec<Finding> {
        let desired = self.subject.desired;
        let missing = targets.resources(&desired.organization).filter(|id| {
            let local = (id.kind, id.name.clone());
            desired.get(&local).is_none()
                && !self.live.rows.contains_key(&local)
                && !self.applied.rows.contains_key(&local)
        });
        let finding = |id: &ResourceId| Finding::error(Code::NoSuchTarget, format!("there is no {id}"));
        missing.map(|id| finding(id).hint("neither the manifests nor the database know it")).collect()
    }
}

async fn read<'a>(planning: &mut View, chunk: &'a [scope::Subject<'a>]) -> Result<Vec<Read<'a>>, StoreError> {
    let names: Vec<OrganizationName> = chunk.iter().map(|subject| subject.row_name.clone()).collect();
    let mut live = planning.live(&names).await?;
    let mut applied = planning.applied(&names).await?;
    let read = |subject: &'a scope::Subject<'a>| Read {
        subject,
        live: live.remove(&subject.row_name).unwrap_or_default(),
        applied: applied.remove(&subject.row_name).unwrap_or_default(),
    };
    Ok(chunk.iter().map(read).collect())
}

/// Compares on all cores; the result does not depend on how the work was shared.
fn compare(
    read: &[Read<'_>],
    rules: &diff::Rules<'_>,
    states: &BTreeMap<OrganizationName, OrganizationState>,
) -> Vec<OrganizationPlan> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let share = read.len().div_ceil(cores).max(1);
    std::thread::scope(|threads| {
        let shares = read.chunks(share).map(|share| {
            threads.spawn(move || share.iter().map(|read| compare_one(read, rules, states)).collect::<Vec<_>>())
        });
        let shares: Vec<_> = shares.collect();
        shares
            .into_iter()
            .flat_map(|share| share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn compare_one(
    read: &Read<'_>,
    rules: &diff::Rules<'_>,
    states: &BTreeMap<OrganizationName, OrganizationState>,
) -> OrganizationPlan {
    let mut plan = diff::organization(read.subject.desired, &read.live, &read.applied, rules);
    let pass = states.get(&plan.organization).and_then(|state| state.pass.as_ref());
    let known = pass.is_some_and(|pass| pass.digest == read.subject.digest && *pass.source == *rules.source);
    let clock = states.get(&plan.organization).map(|state| state.version);
    plan.read_at = clock.or(Some(0));
    plan.said = Some(read.subject.said.clone());
    let settled_now = known && pass.map(|pass| pass.version) == clock;
    // What is left, held back, targeted out, wrong or worth a warning is not settled: the next pass must look again.
    // Nor is a declaration that does its work now: the next pass has to say that it is done.
    let working = declares_at_work(read.subject.desired, &plan);
    if plan.left.is_empty()
        && plan.holds.is_empty()
        && !plan.findings.iter().any(|finding| finding.severity != Severity::Note)
        && read.subject.whole
        && !settled_now
        && !working
    {
        plan.settles = Some(read.subject.digest.clone());
    }
    plan
}

/// Whether a rename or a removal is carried out by this plan.
fn declares_at_work(desired: &Desired, plan: &OrganizationPlan) -> bool {
    let removes = desired.resources.iter().any(|resource| resource.id.kind.is(&kinds::removal::KIND));
    plan.changes.iter().any(|change| match change.action {
        Action::Delete | Action::Release => removes,
        Action::Create | Action::Update | Action::Adopt => change.previous_name.is_some(),
    })
}

/// What an apply is told beside the plan.
#[derive(Clone, Debug)]
pub struct Applying {
    /// The id of the run.
    pub run: RunId,
    /// Who does it.
    pub actor: String,
    /// Whose plan it is, by all names, lower case.
    pub authors: BTreeSet<String>,
    /// The terms of the source, which what is held is kept with.
    pub terms: Terms,
    /// Whether guards were overruled.
    pub forced: bool,
    /// Whether there are policies, or should be.
    pub policed: bool,
    /// How many organizations are applied at the same time.
    pub at_once: usize,
    /// The run that this one rolls back, if it is a rollback.
    pub rolls_back: Option<RollsBack>,
    /// Whether the plan was made now, and of everything that there is of its organizations: what it does not tell of them is
    /// not there.
    pub whole: bool,
    /// By what right, where several share the work: whoever has lost it writes nothing.
    pub lease: Option<Lease>,
}

/// What a replica holds.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Who it is.
    pub holder: Holder,
    /// The fences of the organizations that it holds.
    pub fences: Arc<BTreeMap<OrganizationName, i64>>,
}

/// Applies what the guards let through. What fails in one organization stays in that organization.
#[tracing::instrument(name = "apply", skip_all, fields(
    argus.source = plan.source,
    argus.run = applying.run.as_str(),
    argus.organizations = verdict.approved.len(),
    vcs.ref.head.revision = plan.revision.as_ref().map(|revision| &*revision.commit.id),
    vcs.ref.head.name = plan.revision.as_ref().map(|revision| &*revision.reference),
))]
pub async fn apply(
    store: &Store,
    plan: &Plan,
    verdict: Verdict,
    applying: &Applying,
    progress: Progress<'_>,
) -> Result<Outcome, StoreError> {
    let Applying { run, actor, authors: _, terms: _, forced, policed, at_once, rolls_back, whole, lease: _ } = applying;
    let by = Cause::new(run.as_str(), &plan.source, actor, plan.revision.as_ref());
    let start = RunStart {
        run,
        source: &plan.source,
        actor,
        plan_digest: &plan.digest,
        rules_digest: &verdict.told.rules_digest,
        policed: *policed,
        forced: *forced,
        rolls_back: rolls_back.as_ref().map(|rolls_back| &rolls_back.run),
        revision: plan.revision.as_ref(),
    };
    store.begin_run(&start).await?;
    let unkept = approving::keep(store, plan, &verdict.told, applying).await?;
    let mut outcome = Outcome::new(run.as_str(), &verdict, unkept);
    let rules_digest = verdict.told.rules_digest.clone();
    let total = verdict.approved.len();
    let (shared, mut rest): (Vec<_>, Vec<_>) = verdict
        .approved
        .into_iter()
        .filter(|approved| !approved.plan().is_settled())
        .partition(|approved| &*approved.plan().organization == GLOBAL);
    // What all share comes first: organizations refer to it. Only when a rollback takes it away they let go of it before.
    let goes = |approved: &Approved| approved.plan().changes.iter().any(|change| change.action == Action::Delete);
    let (last, first): (Vec<_>, Vec<_>) = shared.into_iter().partition(|shared| rolls_back.is_some() && goes(shared));
    for approved in first {
        let result = apply_one(store, &by, applying, &approved).await;
        if result.is_err() {
            rest = outcome.hold_back(rest);
        }
        outcome.note(approved, result);
    }
    let mut under_way = JoinSet::new();
    rest.reverse();
    loop {
        while under_way.len() < *at_once
            && let Some(approved) = rest.pop()
        {
            let (store, by, applying) = (store.clone(), by.clone(), applying.clone());
            let apply = async move {
                let result = apply_one(&store, &by, &applying, &approved).await;
                (approved, result)
            };
            under_way.spawn(apply.in_current_span());
        }
        let Some(done) = under_way.join_next().await else { break };
        let (approved, result) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        outcome.note(approved, result);
        progress(total - rest.len() - under_way.len(), total);
    }
    for approved in last {
        let result = apply_one(store, &by, applying, &approved).await;
        outcome.note(approved, result);
    }
    for (organization, (refusal, why)) in &outcome.refused {
        let message = why.first().map(|finding| finding.message.as_str()).unwrap_or_default();
        let lasting = telling::refusal(plan, organization, *refusal, why, &rules_digest, &by);
        let told = lasting.as_ref().map(|lasting| (&*plan.source, lasting));
        store.note_organization(run, organization, refusal.word(), message, told).await?;
    }
    telling::lasting(store, plan, *whole, &by).await?;
    let summary = serde_json::to_value(outcome.summary()).unwrap_or_default();
    let moves = provenance::moves(plan, &outcome, *forced);
    outcome.is_rewound = plan.lineage.as_ref().is_some_and(|lineage| !lineage.whole.leads_on) && !forced;
    let told = telling::run(plan, &outcome, *forced, rolls_back.as_ref(), by);
    let summary = Value::from(&summary);
    let end = RunEnd { outcome: outcome.word(), summary: &summary, moves: moves.as_ref(), told: &told };
    store.finish_run(run, &end).await?;
    Ok(outcome)
}

#[tracing::instrument(name = "apply organization", skip_all, fields(
    otel.kind = "client",
    db.system.name = "postgresql",
    argus.organization = &*approved.plan().organization,
    argus.run = applying.run.as_str(),
    argus.changes = approved.plan().changes.len(),
    vcs.ref.head.revision = by.revision.as_deref().and_then(|revision| revision.rsplit(':').next()),
))]
async fn apply_one(store: &Store, by: &Cause, applying: &Applying, approved: &Approved) -> Result<(), ApplyError> {
    let Applying {
        run,
        actor: _,
        rolls_back,
        authors: _,
        terms: _,
        forced: _,
        policed: _,
        at_once: _,
        whole: _,
        lease,
    } = applying;
    let read_at = approved.plan().read_at;
    // What is not held at all is held under no fence that there is.
    let fence = |lease: &Lease| lease.fences.get(&approved.plan().organization).copied().unwrap_or(-1);
    let lease = lease.as_ref().map(|lease| (&lease.holder, fence(lease)));
    let context = ApplyContext { run, by, read_at, rolls_back: rolls_back.as_ref(), lease };
    let applied = store.apply(approved, &context).await.map(drop);
    if let Err(error) = &applied {
        // The code alone: what the database says may hold values.
        trace::failed(&tracing::Span::current(), error.code());
    }
    applied
}
