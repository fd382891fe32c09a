//! Work on some organizations of a source: plan, judge, apply, and say what came of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::look::as_set_up;
use super::{Desk, cluster};
use crate::agenda::Backoff;
use crate::cli::Judging;
use crate::commands::context::{Context, Failure, Reading};
use crate::commands::judges::{Judges, NONE};
use crate::commands::place::Place;
use crate::commands::{audit, plan};
use crate::engine::{self, Applying, Heard, Lease, Outcome, Refusal};
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::revision::Revision;
use crate::model::state::{Unread, World};
use crate::plan::{Action, Attribution, Change, OrganizationPlan};
use crate::store::Store;
use crate::store::queue::{AGAIN, Batch, Item, Settled, Undone};
use crate::store::run::RunId;
use crate::telemetry::measure;
use crate::trace;
use crate::verdict::Verdict;

/// How long something is left alone that has moved under the plan.
const STALE_BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// How often it is looked again whether what waits for people, or for a window, may go on: whoever lets it through
/// wakes it as well.
const HELD: Duration = Duration::from_secs(900);
const STOPPED: Duration = Duration::from_secs(60);

/// How many organizations of a batch are applied at the same time.
const AT_ONCE: usize = 4;

/// What came of a batch.
pub struct Done {
    /// The run, if something was to be done.
    pub run: Option<RunId>,
    /// The digest of its plan.
    pub digest: String,
    /// How many resources it has changed.
    pub changes: usize,
    /// What came of each organization.
    pub settled: BTreeMap<OrganizationName, Settled>,
}

/// Works on a batch.
#[tracing::instrument(name = "reconcile", skip_all, fields(
    argus.source = batch.source,
    argus.organizations = batch.items.len(),
))]
pub async fn work(desk: &Desk, store: &Store, batch: &Batch) -> Result<Done, Failure> {
    if let Some(office) = &desk.office {
        return cluster::work(desk, office, store, batch).await;
    }
    let context = &desk.context;
    let reading = read(context, batch)?;
    let mut judges = plan::judges(context, &reading, &Judging::default()).await?;
    let heard = plan::make_for(context, store, &reading, &mut judges, batch.items.keys().cloned()).await?;
    let verdict = plan::judge(context, store, &heard.plan, &judges, &heard.judgements, false).await?;
    if let Some(settled) = come_to_the_same(store, batch, &reading.world, &heard, &verdict).await? {
        return Ok(Done { run: None, digest: String::new(), changes: 0, settled });
    }
    carry_out(context, store, batch, &reading.world, &judges, &heard, verdict).await
}

/// What came of each organization, where nothing is to be done, and those that are refused were only tried again and are refused
/// as they were the last time: that stands in the history already. What is held has to be kept still, for whoever approves it.
async fn come_to_the_same(
    store: &Store,
    batch: &Batch,
    world: &World,
    heard: &Heard,
    verdict: &Verdict,
) -> Result<Option<BTreeMap<OrganizationName, Settled>>, Failure> {
    let to_do = verdict.approved.iter().any(|approved| !approved.plan().is_settled());
    let outcome = Outcome::new("", verdict, BTreeMap::new());
    let settled = settle(batch, world, heard, &outcome);
    let is_as_before = |name: &OrganizationName| {
        let before = batch.items.get(name).and_then(|item| item.before.as_ref());
        before.zip(settled.get(name)).is_some_and(|(before, now)| before.is(now, batch.revision.as_deref()))
    };
    if to_do || outcome.refused.is_empty() || !outcome.refused.keys().all(is_as_before) {
        return Ok(None);
    }
    let plans = heard.plan.organizations.iter().filter(|plan| outcome.held.contains_key(&plan.organization));
    let held: Vec<(&str, &str)> = plans.map(|plan| (&*plan.organization, plan.digest.as_str())).collect();
    Ok(store.keeps(&held, &verdict.told.rules_digest).await?.then_some(settled))
}

/// Applies what the verdict lets through, and says what came of each organization.
pub async fn carry_out(
    context: &Context,
    store: &Store,
    batch: &Batch,
    world: &World,
    judges: &Judges,
    heard: &Heard,
    verdict: Verdict,
) -> Result<Done, Failure> {
    let to_do = verdict.approved.iter().any(|approved| !approved.plan().is_settled());
    let outcome = Outcome::new("", &verdict, BTreeMap::new());
    if !to_do && outcome.refused.is_empty() {
        let settled = settle(batch, world, heard, &outcome);
        return Ok(Done { run: None, digest: String::new(), changes: 0, settled });
    }
    let run = context.one_of_many_runs()?;
    let policed =
        judges.folder.as_deref().is_some_and(|folder| folder != NONE) || heard.judgements.by_organization.is_some();
    let fences = batch.items.iter().map(|(name, item)| (name.clone(), item.fence)).collect();
    let applying = Applying {
        run: run.clone(),
        actor: context.actor(),
        authors: judges.authors.clone(),
        terms: judges.terms.clone(),
        forced: false,
        policed,
        at_once: AT_ONCE.min(context.connections() as usize / 2).max(1),
        rolls_back: None,
        whole: true,
        lease: Some(Lease { holder: batch.holder.clone(), fences: Arc::new(fences) }),
    };
    let outcome = engine::apply(store, &heard.plan, verdict, &applying, &|_, _| {}).await?;
    measure::changed(context.metrics(), &heard.plan, &outcome);
    audit::after_work(context, store).await;
    if outcome.worst().is_some_and(|worst| worst == Refusal::Failed) {
        trace::failed(&tracing::Span::current(), "an organization has failed");
    }
    let changes = outcome.applied.values().map(|approved| approved.plan().changes.len()).sum();
    let settled = settle(batch, world, heard, &outcome);
    Ok(Done { run: Some(run), digest: heard.plan.digest.clone(), changes, settled })
}

/// Reads the organizations of a batch, and no others where that can be avoided.
fn read(context: &Context, batch: &Batch) -> Result<Reading, Failure> {
    let place = match batch.revision.as_deref().and_then(Revision::parts) {
        Some((called, commit)) => Place::seen(context, commit, called)?,
        None => context.vouched_place(&as_set_up())?,
    };
    let settings = context.source_settings(&place, &as_set_up())?;
    let not_asked_for = |name: &str, _: &Unread| !batch.items.contains_key(name);
    let mut reading = context.read_at(place, settings, Some(&not_asked_for))?;
    if let Some(bound) = context.bound() {
        // What was asked for while it might be described, and may no longer be, stays as it is.
        let beyond = batch.items.keys().filter(|name| !bound.binding.covers(name));
        reading.world.blocked.extend(beyond.cloned());
    }
    Ok(reading)
}

/// What came of each organization of a batch, and when it is looked at again.
fn settle(batch: &Batch, world: &World, heard: &Heard, outcome: &Outcome) -> BTreeMap<OrganizationName, Settled> {
    let one = |(name, item): (&OrganizationName, &Item)| {
        let plan = heard.plan.organizations.iter().find(|plan| plan.organization == *name);
        let state = heard.states.get(name);
        let settled = if heard.unseen.contains(name) {
            let about = |finding: &&Finding| finding.subject.as_deref() == Some(&**name);
            let findings = world.findings.iter().chain(&heard.plan.findings).filter(about);
            failed(Refusal::Blocked, findings.cloned().collect(), item, name)
        } else if let Some((refusal, why)) = outcome.refused.get(name) {
            failed(*refusal, why.clone(), item, name)
        } else if let Some(approved) = outcome.applied.get(name) {
            let undone = approved.plan().changes.iter().find(|change| change.drifted()).map(undone);
            let findings = approved.plan().findings.clone();
            Settled { undone, findings, ..done(if approved.plan().is_empty() { "unchanged" } else { "applied" }) }
        } else {
            Settled { findings: plan.map(|plan| plan.findings.clone()).unwrap_or_default(), ..done("unchanged") }
        };
        let there = world.describes(name) || state.is_some_and(|state| state.exists && is_left(plan, &settled));
        (
            name.clone(),
            Settled { version: state.map(|state| state.version), gone: !there && settled.again.is_none(), ..settled },
        )
    };
    batch.items.iter().map(one).collect()
}

/// Whether something of an organization that is no longer described is still there.
fn is_left(plan: Option<&Arc<OrganizationPlan>>, settled: &Settled) -> bool {
    let goes = |plan: &Arc<OrganizationPlan>| {
        plan.changes.iter().any(|change| matches!(change.action, Action::Delete | Action::Release))
    };
    settled.outcome != "applied" || !plan.is_some_and(goes)
}

fn done(outcome: &'static str) -> Settled {
    Settled { outcome, findings: Vec::new(), again: None, failed: false, gone: false, version: None, undone: None }
}

fn failed(refusal: Refusal, findings: Vec<Finding>, item: &Item, name: &str) -> Settled {
    let failures = item.failures + 1;
    let (again, failed) = match refusal {
        // Reporting is all that the source asks for.
        Refusal::Observed => (None, false),
        Refusal::Denied | Refusal::Held => (Some(HELD), false),
        Refusal::Stopped => (Some(STOPPED), false),
        Refusal::Stale => (Some(STALE_BACKOFF.after(failures, name)), true),
        Refusal::Blocked | Refusal::Failed => (Some(AGAIN.after(failures, name)), true),
    };
    Settled { again, failed, findings, ..done(refusal.word()) }
}

/// What somebody else had done that was taken back.
fn undone(change: &Change) -> Undone {
    let by = change.moved_by.as_ref().or_else(|| change.fields.iter().find_map(|field| field.moved_by.as_ref()));
    let who = |by: &Attribution| format!("{} through {}", by.actor, by.via);
    Undone { what: format!("{}/{}", change.kind.get().name, change.name), by: by.map_or_else(String::new, who) }
}
