//! Rolling back a run: what undoes it is read, compared with what is there now, and becomes a plan like any other.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Targets;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::resource::ResourceId;
use crate::model::state::LocalId;
use crate::plan::{Attribution, OrganizationPlan, Plan};
use crate::rollback::undo::Undo;
use crate::rollback::{self, Ground, Inverse, Since};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::history::{AuditRow, RunRow};
use crate::store::planning::Planning;
use crate::store::run::{RollsBack, RunId};
use crate::store::undo::{Rollback as Row, Wrote};

/// How many organizations are turned around at a time.
const ORGANIZATIONS_PER_READ: usize = 200;

/// What is to be rolled back.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The run.
    pub run: &'a str,
    /// Only in these organizations; in all of them where none is named.
    pub organizations: &'a [String],
    /// Only these resources.
    pub targets: &'a Targets,
    /// The present moment.
    pub now: DateTime<Utc>,
}

/// A plan that undoes a run.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// The run that it undoes.
    pub rolls_back: RollsBack,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The run cannot be rolled back.
    #[error("{}", .0.message)]
    Refused(Box<Finding>),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn refused(message: String, hint: &str) -> RollbackError {
    RollbackError::Refused(Box::new(Finding::error(Code::CannotRollBack, message).hint(hint)))
}

/// The run as it was noted; an error where there is none.
pub async fn run(store: &Store, run: &str) -> Result<RunRow, RollbackError> {
    let row = store.planning().await?.run(run).await?;
    row.ok_or_else(|| refused(format!("there is no run `{run}`"), "`argus get runs` lists the runs"))
}

/// Plans to undo a run. Writes nothing.
pub async fn plan(store: &Store, asked: &Asked<'_>) -> Result<Planned, RollbackError> {
    let run = run(store, asked.run).await?;
    let mut planning = store.planning().await?;
    let wrote = wrote(&mut planning, asked).await?;
    let rolls_back = rolls_back(&mut planning, asked.run).await?;
    let versions: Vec<(OrganizationName, i64)> =
        wrote.iter().map(|(wrote, _)| (wrote.organization.clone(), wrote.version)).collect();
    let since = planning.rollbacks_since(&versions).await?;
    let mut organizations: Vec<OrganizationPlan> = Vec::new();
    let mut done_by: BTreeMap<OrganizationName, BTreeSet<String>> = BTreeMap::new();
    for chunk in wrote.chunks(ORGANIZATIONS_PER_READ) {
        let names: Vec<OrganizationName> = chunk.iter().map(|(wrote, _)| wrote.organization.clone()).collect();
        let (mut live, mut applied) = (planning.live(&names).await?, planning.applied(&names).await?);
        let mut inverses: Vec<Inverse> = Vec::new();
        for (wrote, undo) in chunk {
            let name = &wrote.organization;
            let since = since.get(name).map(|rows| chain(asked.run, rows)).unwrap_or_default();
            let inverse = rollback::invert(&Ground {
                organization: name,
                source: &run.source,
                undo,
                version: wrote.version,
                since: &since,
                live: &live.remove(name).unwrap_or_default(),
                applied: &applied.remove(name).unwrap_or_default(),
                now: asked.now,
                targeted: &|id| asked.targets.cover(id),
            });
            if !inverse.done_by.is_empty() {
                done_by.insert(name.clone(), inverse.done_by.clone());
            }
            inverses.push(inverse);
        }
        let writers = writers(&mut planning, &inverses).await?;
        organizations.extend(inverses.into_iter().map(|inverse| match inverse.obstacles.is_empty() {
            true => inverse.plan,
            false => rollback::refused(&inverse, &of(&writers, &inverse.plan.organization)),
        }));
    }
    let seen = organizations.len();
    organizations.retain(OrganizationPlan::has_something_to_tell);
    if organizations.is_empty() && !done_by.is_empty() {
        let by: BTreeSet<String> = done_by.into_values().flatten().collect();
        let by = by.into_iter().collect::<Vec<_>>().join("`, `");
        let hint = "to bring it back, roll back that run";
        return Err(refused(format!("the run `{}` has been rolled back already, by `{by}`", asked.run), hint));
    }
    let done = done_by.into_iter().map(|(name, by)| {
        let by = by.into_iter().collect::<Vec<_>>().join("`, `");
        Finding::note(Code::CannotRollBack, format!("some of it has been rolled back already, by `{by}`")).about(name)
    });
    let plan = Plan::new(&run.source, (seen, 0), organizations, done.collect());
    Ok(Planned { plan: Plan { rolls_back: Some(asked.run.to_owned()), ..plan }, rolls_back })
}

/// The run that a plan from a file takes back, if it does, as the database knows it.
pub async fn of_plan(store: &Store, plan: &Plan) -> Result<Option<RollsBack>, RollbackError> {
    let Some(name) = &plan.rolls_back else { return Ok(None) };
    let row = run(store, name).await?;
    if row.source != plan.source {
        let message =
            format!("the run `{name}` was of the source `{}`, and the plan is of `{}`", row.source, plan.source);
        return Err(refused(message, "plan the rollback again"));
    }
    Ok(Some(rolls_back(&mut store.planning().await?, name).await?))
}

async fn rolls_back(planning: &mut Planning, run: &str) -> Result<RollsBack, StoreError> {
    let depth = planning.rollback_depth(run).await?;
    Ok(RollsBack { run: RunId::new(run), brings_back: depth % 2 == 1 })
}

/// What the run wrote, in the organizations that are meant.
async fn wrote(planning: &mut Planning, asked: &Asked<'_>) -> Result<Vec<(Wrote, Undo)>, RollbackError> {
    let all = planning.wrote(asked.run).await?;
    let unknown = |name: &str| {
        let message = format!("the run `{}` wrote nothing to `{name}`", asked.run);
        refused(message, "`argus history ORG` shows which run wrote what")
    };
    let knows = |name: &str| all.iter().any(|wrote| &*wrote.organization == name);
    if let Some(name) = asked.organizations.iter().find(|name| !knows(name)) {
        return Err(unknown(name));
    }
    if let Some(name) = asked.targets.unmatched(&knows).next() {
        return Err(unknown(name));
    }
    let meant = |name: &str| {
        let named = asked.organizations.is_empty() || asked.organizations.iter().any(|wanted| wanted == name);
        named && asked.targets.touch(name)
    };
    let applied = all.len();
    let meant = all.into_iter().filter(|wrote| meant(&wrote.organization));
    let wrote: Vec<(Wrote, Undo)> = meant.filter_map(|mut wrote| wrote.undo.take().map(|undo| (wrote, undo))).collect();
    if wrote.is_empty() {
        let hint = match applied {
            0 => "nothing of it was applied; `argus get runs` lists the runs",
            _ => "there was nothing to change, or it was made by an Argus that did not keep what undoes it",
        };
        return Err(refused(format!("the run `{}` wrote nothing that could be rolled back", asked.run), hint));
    }
    Ok(wrote)
}

/// The rollbacks in an organization since the run, each with whether it takes the run back or brings it back.
fn chain(run: &str, rows: &[Row]) -> Vec<Since> {
    let mut takes_back: BTreeMap<&str, bool> = BTreeMap::new();
    let mut chain = Vec::with_capacity(rows.len());
    for row in rows {
        let this = match row.rolls_back == run {
            true => Some(true),
            false => takes_back.get(row.rolls_back.as_str()).map(|other| !other),
        };
        if let Some(this) = this {
            takes_back.insert(&row.run, this);
        }
        chain.push(Since {
            run: row.run.clone(),
            version: row.version,
            takes_back: this,
            wrote: row.wrote.clone(),
            of: row.of.clone(),
        });
    }
    chain
}

/// Who wrote last what is in the way.
async fn writers(
    planning: &mut Planning,
    inverses: &[Inverse],
) -> Result<BTreeMap<ResourceId, Attribution>, StoreError> {
    let ids = inverses.iter().flat_map(|inverse| {
        let organization = &inverse.plan.organization;
        let written = inverse.obstacles.iter().filter(|obstacle| obstacle.written);
        written.map(|obstacle| id(organization, &obstacle.row)).collect::<Vec<_>>()
    });
    let ids: Vec<ResourceId> = ids.collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let audit = planning.attributions(&ids).await?;
    let last = |(id, rows): (ResourceId, Vec<AuditRow>)| {
        let row = rows.first()?;
        let by = row.attribution();
        let via = row.run.as_ref().map_or(by.via.clone(), |run| format!("{} in the run {run}", by.via));
        Some((id, Attribution { via, ..by }))
    };
    Ok(audit.into_iter().filter_map(last).collect())
}

fn id(organization: &OrganizationName, (kind, name): &LocalId) -> ResourceId {
    ResourceId { organization: organization.clone(), kind: *kind, name: name.clone() }
}

fn of(writers: &BTreeMap<ResourceId, Attribution>, organization: &str) -> BTreeMap<LocalId, Attribution> {
    let ours = writers.iter().filter(|(id, _)| &*id.organization == organization);
    ours.map(|(id, by)| ((id.kind, id.name.clone()), by.clone())).collect()
}
