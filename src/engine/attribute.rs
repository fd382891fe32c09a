//! Who moved what: the audit tells of each drifted field and of each extra or missing row.

use crate::model::resource::ResourceId;
use crate::plan::{Action, Attribution, Cause, Change, OrganizationPlan};
use crate::store::error::StoreError;
use crate::store::history::{AuditRow, last_to_move};
use crate::store::planning::Planning;

/// Fills in who moved live, wherever live has moved.
pub async fn movers(planning: &mut Planning, plans: &mut [OrganizationPlan]) -> Result<(), StoreError> {
    let id = |plan: &OrganizationPlan, change: &Change| ResourceId {
        organization: plan.organization.clone(),
        kind: change.kind,
        name: change.previous_name.as_ref().unwrap_or(&change.name).clone(),
    };
    let wanted: Vec<ResourceId> =
        plans.iter().flat_map(|plan| plan.drift().map(|change| id(plan, change)).collect::<Vec<_>>()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let audit = planning.attributions(&wanted).await?;
    for plan in plans {
        let ids: Vec<ResourceId> = plan.changes.iter().chain(&plan.left).map(|change| id(plan, change)).collect();
        for (change, id) in
            plan.changes.iter_mut().chain(&mut plan.left).zip(ids).filter(|(change, _)| change.drifted())
        {
            attribute(change, audit.get(&id).map(Vec::as_slice).unwrap_or_default());
        }
    }
    Ok(())
}

/// The audit rows come with the newest first.
fn attribute(change: &mut Change, audit: &[AuditRow]) {
    let by = |row: Option<&AuditRow>| row.map_or_else(unattributed, AuditRow::attribution);
    if change.action == Action::Create {
        // The row is gone: only what took it away, or took its name away, tells who did it.
        let own = audit.iter().find(|row| row.is_of_main_table());
        change.moved_by = Some(by(own.filter(|row| row.takes_away(&change.name))));
        return;
    }
    if change.extra {
        change.moved_by = Some(by(audit.first()));
        return;
    }
    let kind = change.kind;
    for field in change.fields.iter_mut().filter(|field| field.cause != Cause::Change) {
        let paths = kind.get().fields.iter().map(|known| known.path);
        let path = paths.into_iter().find(|path| {
            field.path == *path || field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        });
        field.moved_by = Some(by(path.and_then(|path| last_to_move(audit, kind, path))));
    }
}

fn unattributed() -> Attribution {
    Attribution { actor: "unattributed".into(), via: "unknown".into(), at: "unknown".into() }
}
