//! Who moved what: the audit tells of each drifted field and of each extra or missing row.

use std::collections::BTreeMap;

use crate::model::id::OrganizationName;
use crate::model::kind::KindId;
use crate::plan::{Attribution, Cause, Change, OrganizationPlan};
use crate::store::{AuditRow, Planning, StoreError};

/// Fills in who moved live, wherever live has moved.
pub async fn movers(planning: &mut Planning, plans: &mut [OrganizationPlan]) -> Result<(), StoreError> {
    let wanted: Vec<(OrganizationName, KindId, std::sync::Arc<str>)> = plans
        .iter()
        .flat_map(|plan| plan.drift().map(|change| (plan.organization.clone(), change.kind, change.name.clone())))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let audit = planning.attributions(&wanted).await?;
    for plan in plans {
        let organization = plan.organization.clone();
        for change in plan.changes.iter_mut().chain(&mut plan.left).filter(|change| change.drifted()) {
            let key = (organization.clone(), change.kind, change.name.clone());
            attribute(change, audit.get(&key).map(Vec::as_slice).unwrap_or_default());
        }
    }
    Ok(())
}

/// The audit rows come with the newest first.
fn attribute(change: &mut Change, audit: &[AuditRow]) {
    if change.cause == Cause::Drift && change.fields.is_empty() || change.action == crate::plan::Action::Create {
        change.moved_by = Some(audit.first().map_or_else(unattributed, AuditRow::attribution));
        if change.action == crate::plan::Action::Create {
            return;
        }
    }
    let kind = change.kind.get();
    let mut last_writers: BTreeMap<&str, Attribution> = BTreeMap::new();
    for field in change.fields.iter().filter(|field| field.cause != Cause::Change) {
        let declared = kind.fields.iter().find(|known| {
            field.path == known.path || field.path.strip_prefix(known.path).is_some_and(|rest| rest.starts_with('.'))
        });
        let writer = declared.and_then(|declared| audit.iter().find(|row| row.touches(declared)));
        last_writers.insert(&field.path, writer.map_or_else(unattributed, AuditRow::attribution));
    }
    let last_writers: BTreeMap<String, Attribution> =
        last_writers.into_iter().map(|(path, by)| (path.to_owned(), by)).collect();
    for field in &mut change.fields {
        field.moved_by = last_writers.get(&field.path).cloned();
    }
}

fn unattributed() -> Attribution {
    Attribution { actor: "unattributed".into(), via: "unknown".into(), at: "unknown".into() }
}
