//! Judging: everything that a verdict stands on is gathered here, and the verdict is asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::approving::{self, Known};
use super::ground::{Ground, View};
use crate::brake::{Brakes, Stop};
use crate::identity::Approvers;
use crate::model::id::OrganizationName;
use crate::plan::Plan;
use crate::policy::judgement::Judgements;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::undo::RolledBack;
use crate::verdict::{self, Judging, Terms, Verdict};

/// What a verdict is asked with, beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The terms of the source.
    pub terms: &'a Terms,
    /// What the policies say.
    pub policies: &'a Judgements,
    /// Who may approve.
    pub approvers: &'a Approvers,
    /// Whose plan it is, by all names, lower case.
    pub authors: &'a BTreeSet<String>,
    /// The present moment; where anything is held back or let through, the database's own counts.
    pub now: DateTime<Utc>,
    /// Whether somebody said `--force`.
    pub force: bool,
}

/// The verdict on a plan, under the brakes and with the approvals of this moment; a picture knows of neither.
#[tracing::instrument(name = "judge", skip_all, fields(argus.source = plan.source))]
pub async fn judge<'a>(ground: impl Into<Ground<'a>>, plan: &Plan, asking: &Asking<'_>) -> Result<Verdict, StoreError> {
    let Asking { terms, policies, approvers, authors, now, force } = *asking;
    let (brakes, known) = match ground.into() {
        Ground::Picture(_) => (Brakes::default(), None),
        Ground::Database(store) => {
            let brakes = brakes(store, plan).await?;
            let plans = plan.organizations.iter().map(|plan| &**plan);
            (brakes, approving::known(&mut View::from(store.planning().await?), plans, approvers).await?)
        }
    };
    let Known { approvals, role, now } = known.unwrap_or(Known { approvals: Vec::new(), role: String::new(), now });
    let authors: BTreeSet<String> = authors.iter().cloned().chain([role]).collect();
    let judging = Judging { terms, policies, brakes: &brakes, approvals: &approvals, authors: &authors, now, force };
    Ok(verdict::judge(plan, &judging))
}

/// What stops the plan beside its terms, as the database knows it.
async fn brakes(store: &Store, plan: &Plan) -> Result<Brakes, StoreError> {
    let mut brakes = Brakes::default();
    // Where there is nothing to write no brake speaks.
    if plan.organizations.iter().any(|organization| !organization.is_settled()) {
        let mut planning = store.planning().await?;
        planning.suspensions(Some(&plan.source)).await?.iter().for_each(|suspension| brakes.suspend(suspension));
        let mut notes: BTreeMap<(OrganizationName, String), RolledBack> = BTreeMap::new();
        for note in planning.rolled_back(&plan.source).await? {
            // The newest comes first.
            notes.entry((note.organization.clone(), note.said.clone())).or_insert(note);
        }
        for organization in plan.organizations.iter().filter(|_| !notes.is_empty()) {
            let name = &organization.organization;
            let said = organization.said.clone();
            if let Some(RolledBack { run, by_run, at, .. }) = said.and_then(|said| notes.get(&(name.clone(), said))) {
                brakes.stop(name, Stop::rolled_back(name, run, by_run, at));
            }
        }
    }
    Ok(brakes)
}
