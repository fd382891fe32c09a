//! What a run tells of, beside what it wrote: what it could not apply, what drifts on, and what it came to.

use std::collections::BTreeMap;

use super::outcome::{Outcome, Refusal};
use crate::event::content::{Cause, ResourceTold, RunTold};
use crate::event::telling::{self, Lasting};
use crate::event::{DRIFT_RESOLVED, Draft, RUN_FAILED, RUN_SUCCEEDED};
use crate::model::finding::Finding;
use crate::plan::Plan;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::events::Teller;
use crate::store::run::RollsBack;

/// What is told of an organization that was not applied. What failed is told by the run as a whole.
pub(super) fn refusal(
    plan: &Plan,
    organization: &str,
    refusal: Refusal,
    why: &[Finding],
    rules_digest: &str,
    by: &Cause,
) -> Option<Lasting> {
    let held = match refusal {
        Refusal::Held => true,
        Refusal::Denied => false,
        Refusal::Blocked | Refusal::Failed | Refusal::Stale | Refusal::Stopped | Refusal::Observed => return None,
    };
    let plan = plan.organizations.iter().find(|plan| &*plan.organization == organization)?;
    Some(telling::refused(plan, rules_digest, held, why, by))
}

/// Tells of drift that is left, and, where the plan has looked at all of it, of drift that was told and is there no more.
pub(super) async fn lasting(store: &Store, plan: &Plan, whole: bool, by: &Cause) -> Result<(), StoreError> {
    let resolved = |organization: &str, subject: &str| {
        let (kind, name) = subject.split_once('/').unwrap_or((subject, ""));
        let content = ResourceTold::resolved(organization, kind, name, by);
        Draft::new(&DRIFT_RESOLVED, subject, &content)
    };
    let teller = |organization| Teller { run: Some(&by.run), source: &by.source, organization };
    let (told, nothing) = (store.told(&by.source).await?, BTreeMap::new());
    for plan in &plan.organizations {
        let lasting = telling::lasting(plan, by);
        let still: Vec<String> = telling::correctable(plan).collect();
        let told = told.get(&*plan.organization).unwrap_or(&nothing);
        // A plan that compared nothing knows nothing of drift that is gone.
        let whole = whole && plan.said.is_some();
        let lasts = |matter: &String| still.contains(matter) || lasting.iter().any(|lasting| lasting.matter == *matter);
        let gone = whole && told.keys().any(|matter| matter.starts_with(telling::DRIFT) && !lasts(matter));
        if !gone && lasting.iter().all(|lasting| told.get(&lasting.matter) == Some(&lasting.digest)) {
            continue;
        }
        let teller = teller(&plan.organization);
        let resolved = |subject: &str| resolved(&plan.organization, subject);
        match whole {
            true => store.tell_all_lasting(&teller, &lasting, &still, resolved).await?,
            false => store.tell_lasting(&teller, &lasting).await?,
        }
    }
    // What has been found settled since has no drift, whatever was looked at now.
    for organization in &store.told_and_settled(&by.source).await? {
        store.tell_all_lasting(&teller(organization), &[], &[], |subject| resolved(organization, subject)).await?;
    }
    Ok(())
}

/// What a run came to.
pub(super) fn run(plan: &Plan, outcome: &Outcome, forced: bool, rolls_back: Option<&RollsBack>, by: Cause) -> Draft {
    let summary = outcome.summary();
    let failed = |refusal: Refusal| match refusal {
        Refusal::Blocked | Refusal::Failed | Refusal::Stale | Refusal::Denied => true,
        Refusal::Held | Refusal::Stopped | Refusal::Observed => false,
    };
    let of = if outcome.refused.values().any(|(refusal, _)| failed(*refusal)) { &RUN_FAILED } else { &RUN_SUCCEEDED };
    let subject = by.run.clone();
    let content = RunTold {
        outcome: outcome.word().into(),
        plan_digest: plan.digest.clone(),
        applied: outcome.applied.len(),
        refused: outcome.refused.len(),
        created: summary.add,
        updated: summary.change,
        deleted: summary.destroy,
        forced,
        rolls_back: rolls_back.map(|rolls_back| rolls_back.run.to_string()),
        by,
    };
    Draft::new(of, subject, &content)
}
