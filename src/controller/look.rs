//! A look at a source: is it there, can it be trusted, and of which organizations has something moved?

use super::Desk;
use crate::brake::Mode;
use crate::cli::Manifests;
use crate::commands::context::Failure;
use crate::commands::{credentials, plan};
use crate::digest;
use crate::engine::Targets;
use crate::engine::ground::Ground;
use crate::engine::provenance::{History, Knowing};
use crate::engine::scope::census;
use crate::event::telling;
use crate::model::finding::Finding;
use crate::model::state::Unread;
use crate::source::git::settings::Verify;
use crate::store::Store;
use crate::store::queue::{Found, Moved};

/// Nothing but what the settings of the machine say.
pub fn as_set_up() -> Manifests {
    Manifests { path: None, source: None, git: None, reference: None, only: Vec::new() }
}

/// Fetches the source and compares what it says with what was last asked for.
#[tracing::instrument(name = "look", skip_all, fields(argus.source = desk.settings.name))]
pub async fn look(desk: &Desk, store: &Store, full: bool) -> Result<Found, Failure> {
    if let Some(office) = &desk.office {
        return office.look(desk, store, full).await;
    }
    let (context, name) = (&desk.context, &desk.settings.name);
    let place = context.vouched_place(&as_set_up())?;
    let id = place.revision().map(|revision| revision.commit.id.to_string());
    let its_fault = |failure: Failure| failure.of_commit(id.as_deref());
    let settings = context.source_settings(&place, &as_set_up()).map_err(its_fault)?;
    let correct_drift = settings.mode == Mode::Enforce;
    let known = store.asked_for(name, None).await?;
    let is_known = |organization: &str, said: &str| known.get(organization).is_some_and(|(known, _)| known == said);
    let settled = |organization: &str, unread: &Unread| {
        is_known(organization, &digest::of(&unread.said, &unread.places, correct_drift))
    };
    let reading = context.read_at(place, settings, (!full).then_some(&settled)).map_err(its_fault)?;
    let mut findings = reading.world.findings.clone();
    let mut commit = None;
    if let Some(checkout) = reading.place.checkout() {
        let ground = Ground::from(store);
        let baselines = ground.baselines(name).await?;
        let verify = context.git().verify;
        let signers = (verify != Verify::None).then(|| credentials::signers(context.git())).transpose()?;
        if let Some(signers) = signers.as_ref().filter(|_| verify == Verify::AllSinceApplied) {
            plan::verify_brought(context, ground, checkout, name, &baselines, signers).await.map_err(its_fault)?;
        }
        let knowing = Knowing { signers: signers.as_ref(), approvers: context.approvers(), now: context.now() };
        let history = History::new(checkout, baselines, knowing)?;
        findings.extend(history.findings());
        let lineage = history.lineage(&Targets::default(), Default::default());
        let leads_on = lineage.is_none_or(|lineage| lineage.whole.leads_on);
        commit = leads_on.then(|| checkout.revision.commit.id.clone());
    }
    let mut planning = store.planning().await?.into();
    let mut census = census(&reading.world, &mut planning, name, correct_drift, None).await?;
    // What it owns and may describe no longer stays as it is.
    census.retain(|(organization, ..)| context.bound().is_none_or(|bound| bound.binding.covers(organization)));
    let all = full.then(|| census.iter().map(|(organization, ..)| organization.clone()).collect());
    let moved = census.into_iter().filter(|(organization, said, _)| full || !is_known(organization, said));
    let moved = moved.map(|(organization, said, version)| Moved { organization, said, version }).collect();
    let revision = reading.place.revision().map(ToString::to_string);
    Ok(Found { revision, full, findings, moved, all, commit })
}

/// Tells that a source can be read, where it could not before.
pub async fn tell(desk: &Desk, store: &Store, findings: &[Finding], failed_before: bool) {
    for finding in findings.iter().filter(|finding| finding.is_error()) {
        let (code, message) = (finding.code, &finding.message);
        tracing::warn!(source = desk.settings.name, %code, "{}: {message}", desk.settings.name);
    }
    if failed_before {
        let recovered = telling::recovered(&desk.settings.name, &desk.context.actor());
        told(store.tell_source(&desk.settings.name, None, &recovered).await);
    }
}

/// Tells that a source cannot be read or trusted.
pub async fn tell_stalled(desk: &Desk, store: &Store, findings: &[Finding]) {
    for finding in findings {
        let (code, message) = (finding.code, &finding.message);
        tracing::warn!(source = desk.settings.name, %code, "{} is stalled: {message}", desk.settings.name);
    }
    let (name, actor) = (&desk.settings.name, desk.context.actor());
    let (stalled, recovered) = (telling::stalled(name, &actor, findings), telling::recovered(name, &actor));
    told(store.tell_source(name, Some(&stalled), &recovered).await);
}

fn told(told: Result<(), crate::store::error::StoreError>) {
    if let Err(error) = told {
        tracing::warn!(%error, "whether the source can be read is not told: {error}");
    }
}
