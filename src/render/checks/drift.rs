//! Drift as checks: a warning at the line of each field that somebody changed behind the manifests' back.

use std::sync::Arc;

use super::{Check, Outcome};
use crate::model::origin::Origin;
use crate::plan::{Action, Attribution, Cause, Change, FieldChange, OrganizationPlan, Plan};
use crate::render::inert;
use crate::render::text::attribution;

/// What speaks where live has moved, and what that is called.
const DRIFT: (&str, &str) = ("drift", "A row was changed behind the manifests' back");

/// What speaks where the manifests have moved as well.
const CONFLICT: (&str, &str) = ("conflict", "A row and its manifest were both changed");

/// A warning for each field that has drifted, or for a row that came or went, and a check for each organization of which
/// there is none.
pub fn checks(plan: &Plan) -> Vec<Check> {
    let mut checks: Vec<Check> = plan.findings.iter().map(Check::of).collect();
    for organization in &plan.organizations {
        let findings = organization.findings.iter().map(Check::of);
        let drifted = organization.drift().flat_map(|change| of_change(organization, change));
        let name = &organization.organization;
        let mut of_it: Vec<Check> =
            findings.chain(drifted).map(|check| Check { namespace: name.to_string(), ..check }).collect();
        if of_it.is_empty() {
            of_it.push(Check::well(name, "drift"));
        }
        checks.append(&mut of_it);
    }
    if checks.is_empty() {
        checks.push(Check::well("", "drift"));
    }
    checks
}

fn of_change(plan: &OrganizationPlan, change: &Change) -> Vec<Check> {
    let whole = |what: &str| vec![of_row(plan, change, change.moved_by.as_ref(), what)];
    match change.action {
        Action::Create => whole("is declared, and its row was deleted"),
        Action::Delete | Action::Release if change.extra => whole("is not declared, and somebody made a row of it"),
        Action::Delete | Action::Release => whole("is no longer declared, and its row was changed"),
        Action::Update | Action::Adopt => {
            let moved = change.fields.iter().filter(|field| field.cause != Cause::Change);
            moved.map(|field| of_field(plan, change, field)).collect()
        }
    }
}

fn of_row(plan: &OrganizationPlan, change: &Change, by: Option<&Attribution>, what: &str) -> Check {
    let row = format!("{}/{}", change.kind, change.name);
    let name = if plan.organization.is_empty() { row.clone() } else { format!("{}/{row}", plan.organization) };
    let verb = match change.action {
        Action::Create => "deleted",
        Action::Delete | Action::Release => "last written",
        Action::Update | Action::Adopt => "changed",
    };
    let by = by.map(|by| format!("{verb} by {}", attribution(by)));
    let is_left = plan.left.iter().any(|left| (left.kind, &left.name) == (change.kind, &change.name));
    let then = if is_left { "it is left as it is" } else { "`argus apply` changes it back" };
    let check = Check {
        name,
        outcome: Outcome::Warned,
        message: format!("{row} {what}"),
        detail: by.into_iter().chain([then.to_owned()]).collect(),
        ..Check::well("", "")
    };
    placed(check, change.cause, change.origin.as_ref())
}

fn of_field(plan: &OrganizationPlan, change: &Change, field: &FieldChange) -> Check {
    let shown = inert::field(change.kind, field);
    let (before, after) = (inert::value(&shown.before), inert::value(&shown.after));
    let what = format!("has `{}: {before}`, and the manifest says {after}", shown.path);
    let by = field.moved_by.as_ref().or(change.moved_by.as_ref());
    let check = of_row(plan, change, by, &what);
    let check = Check { name: format!("{}.{}", check.name, shown.path), ..check };
    placed(check, field.cause, field.origin.as_ref().or(change.origin.as_ref()))
}

fn placed(check: Check, cause: Cause, origin: Option<&Origin>) -> Check {
    let (id, title) = if cause == Cause::Conflict { CONFLICT } else { DRIFT };
    Check {
        file: origin.map(|origin| Arc::clone(&origin.file)).unwrap_or_default(),
        line: origin.map_or(0, |origin| origin.line),
        id: id.to_owned(),
        title: title.to_owned(),
        ..check
    }
}
