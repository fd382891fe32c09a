//! What there is to tell of a plan, before and after it was applied.

use super::content::{Cause, DriftIgnored, HeadTold, PlanTold, Reason, ResourceTold, SourceTold};
use super::{
    AUDIT_HEAD, DRIFT_CORRECTED, DRIFT_DETECTED, DRIFT_IGNORED, Draft, EventType, PLAN_DENIED, PLAN_HELD,
    RESOURCE_ADOPTED, RESOURCE_CREATED, RESOURCE_DELETED, RESOURCE_RELEASED, RESOURCE_UPDATED, SOURCE_RECOVERED,
    SOURCE_STALLED,
};
use crate::audit::head::Signed;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::plan::{self, Action, Change, OrganizationPlan, sha256_hex};

/// Something that lasts: it is told when it begins and when it has become something else.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    /// What of the organization.
    pub matter: String,
    /// What tells whether it is still the same.
    pub digest: String,
    /// What is told.
    pub draft: Draft,
}

impl Lasting {
    fn new(matter: String, same_while: &str, draft: Draft) -> Lasting {
        // The path of a file may be longer; it is told apart by its digest.
        let matter = if matter.chars().count() > MATTER_CHARS_MAX { sha256_hex(matter.as_bytes()) } else { matter };
        Lasting { matter, digest: sha256_hex(same_while.as_bytes()), draft }
    }
}

/// The longest matter. Every kind with every name fits.
const MATTER_CHARS_MAX: usize = 500;

/// What matters of drift begin with.
pub const DRIFT: &str = "drift/";

/// What matters of plans begin with.
pub const PLAN: &str = "plan/";

/// The matter of a source.
pub const SOURCE: &str = "source";

fn subject(change: &Change) -> String {
    format!("{}/{}", change.kind, change.name)
}

fn is_drift(change: &Change) -> bool {
    change.cause != plan::Cause::Change || change.fields.iter().any(|field| field.cause != plan::Cause::Change)
}

/// What is told in the transaction that carries a plan out.
pub fn applied(plan: &OrganizationPlan, by: &Cause) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(plan.changes.len());
    for change in &plan.changes {
        let of: &EventType = match change.action {
            Action::Create => &RESOURCE_CREATED,
            Action::Update => &RESOURCE_UPDATED,
            Action::Adopt => &RESOURCE_ADOPTED,
            Action::Release => &RESOURCE_RELEASED,
            Action::Delete => &RESOURCE_DELETED,
        };
        let content = ResourceTold::of(&plan.organization, change, &plan.digest, by);
        drafts.push(Draft::new(of, subject(change), &content));
        if is_drift(change) && !matches!(change.action, Action::Adopt | Action::Release) {
            drafts.push(Draft::new(&DRIFT_CORRECTED, subject(change), &content));
        }
    }
    drafts
}

/// What lasts of an organization: drift that nobody corrects, and rules that leave something out.
pub fn lasting(plan: &OrganizationPlan, by: &Cause) -> Vec<Lasting> {
    let drift = plan.left.iter().map(|change| {
        let content = ResourceTold::of(&plan.organization, change, "", by);
        let differs = serde_json::to_string(&(&change.action, &change.fields, &change.set)).unwrap_or_default();
        let draft = Draft::new(&DRIFT_DETECTED, subject(change), &content);
        Lasting::new(format!("{DRIFT}{}", subject(change)), &differs, draft)
    });
    let rules = plan.findings.iter().filter(|finding| finding.code == Code::Ignored).map(|finding| {
        let content = DriftIgnored {
            organization: plan.organization.to_string(),
            message: finding.message.clone(),
            origin: finding.origin.clone(),
            by: by.clone(),
        };
        let place = finding.origin.as_ref().map(ToString::to_string).unwrap_or_default();
        let draft = Draft::new(&DRIFT_IGNORED, place.as_str(), &content);
        Lasting::new(format!("ignored/{place}"), &finding.message, draft)
    });
    drift.chain(rules).collect()
}

/// The matters of drift that the plan would correct: until it has, they are still there.
pub fn correctable(plan: &OrganizationPlan) -> impl Iterator<Item = String> {
    plan.changes.iter().filter(|change| is_drift(change)).map(|change| format!("{DRIFT}{}", subject(change)))
}

/// That a source cannot be read or trusted.
pub fn stalled(source: &str, actor: &str, why: &[Finding]) -> Lasting {
    let content = SourceTold { source: source.into(), why: Reason::all(why), actor: actor.into() };
    let codes: Vec<String> = why.iter().map(|finding| finding.code.to_string()).collect();
    Lasting::new(SOURCE.into(), &codes.join(" "), Draft::new(&SOURCE_STALLED, source, &content))
}

/// That it can be again.
pub fn recovered(source: &str, actor: &str) -> Draft {
    let content = SourceTold { source: source.into(), why: Vec::new(), actor: actor.into() };
    Draft::new(&SOURCE_RECOVERED, source, &content)
}

/// That the end of an organization's chain was signed.
pub fn signed_head(organization: &str, sequence: i64, hash: &[u8], signed: &Signed) -> Draft {
    let content = HeadTold {
        organization: organization.into(),
        sequence,
        hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        statement: signed.statement.clone(),
        signature: signed.signature.clone(),
    };
    Draft::new(&AUDIT_HEAD, organization, &content)
}

/// That a plan is held or denied.
pub fn refused(plan: &OrganizationPlan, rules_digest: &str, held: bool, why: &[Finding], by: &Cause) -> Lasting {
    let content = PlanTold {
        organization: plan.organization.to_string(),
        plan_digest: plan.digest.clone(),
        rules_digest: rules_digest.into(),
        why: Reason::all(why),
        expires_at: None,
        actor: by.actor.clone(),
        run: Some(by.run.clone()),
        source: Some(by.source.clone()),
        revision: by.revision.clone(),
    };
    let of = if held { &PLAN_HELD } else { &PLAN_DENIED };
    let same_while = format!("{}/{}/{rules_digest}", of.name, plan.digest);
    Lasting::new(PLAN.into(), &same_while, Draft::new(of, plan.digest.as_str(), &content))
}
