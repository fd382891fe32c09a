//! The input document: all that a rule is told of the plan of one organization. It is a contract with every policy
//! that was ever written, so it has a version and a JSON Schema, and only ever grows within a version.
//!
//! Nothing in it looks like a secret, even where a row holds one: policies see what people see.

mod resources;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{self, Access};
use crate::approval::Approval;
use crate::model::origin::Origin;
use crate::model::revision::{Authorship, Revision};
use crate::model::value::Value;
use crate::plan::{Action, Attribution, Cause, Plan, Summary};
pub use resources::{Resources, View};
pub use worlds::Worlds;

/// The version of the contract.
pub const INPUT_VERSION: u32 = 1;

/// The parts that cost something to make, and that are left out where no rule looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// `input.desired`.
    pub desired: bool,
    /// `input.live`.
    pub live: bool,
    /// `input.after`.
    pub after: bool,
    /// `input.access`.
    pub access: bool,
}

impl Parts {
    /// All of them.
    pub const ALL: Parts = Parts { desired: true, live: true, after: true, access: true };
}

/// What the input says beside the plan.
#[derive(Clone, Debug)]
pub struct Around<'a> {
    /// The source.
    pub source: &'a str,
    /// What happens to its drift: `enforce`, `apply` or `observe`.
    pub mode: &'a str,
    /// Where the manifests come from, if that is a revision of something.
    pub revision: Option<&'a Revision>,
    /// Whoever runs this, by all names that are known.
    pub authors: &'a BTreeSet<String>,
    /// The tiers as they will be, by name.
    pub tiers: &'a BTreeMap<String, View<'a>>,
    /// Those that change or go, as they are.
    pub tiers_before: &'a BTreeMap<String, View<'a>>,
    /// The present moment.
    pub now: DateTime<Utc>,
}

/// What rules are told of one organization.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Input of a policy", deny_unknown_fields)]
pub struct Input<'a> {
    /// The version of this contract.
    pub version: u32,
    /// The organization; empty for what all organizations share.
    pub organization: &'a str,
    /// The present moment, RFC 3339 in UTC.
    pub time: String,
    /// Where the manifests come from.
    pub source: SourcePart<'a>,
    /// The commit of the manifests; null where the source has no history.
    pub commit: Option<&'a str>,
    /// Whoever wrote that commit.
    pub author: Option<&'a str>,
    /// Whoever signed that commit, if the signature was verified.
    pub signer: Option<&'a str>,
    /// Everybody whose doing the plan is, by every name that is known of them, in lower case: whoever runs it, and
    /// whoever wrote the commit.
    pub authors: &'a BTreeSet<String>,
    /// The plan as a whole.
    pub plan: PlanPart<'a>,
    /// What would happen to each resource, in order.
    pub changes: Vec<ChangePart<'a>>,
    /// What the manifests say, by kind and name: the fields that they name.
    pub desired: Option<Resources<'a>>,
    /// The rows as they are, by kind and name: every field.
    pub live: Option<Resources<'a>>,
    /// The rows as they would be.
    pub after: Option<Resources<'a>>,
    /// What people gain and lose by it.
    pub access: Option<Access>,
    /// The tier catalogue as it would be, by name.
    pub tiers: &'a BTreeMap<String, View<'a>>,
    /// The tiers that change or go, as they are, by name. Where a tier changes, the organizations of it are judged too,
    /// although nothing of them changes: what is denied there denies the change of the tier.
    pub tiers_before: &'a BTreeMap<String, View<'a>>,
    /// The approvals that this plan has by now.
    pub approvals: Vec<ApprovalPart<'a>>,
}

/// A source.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SourcePart<'a> {
    /// Its name.
    pub name: &'a str,
    /// What happens to its drift: `enforce`, `apply` or `observe`.
    pub mode: &'a str,
}

/// A plan.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PlanPart<'a> {
    /// What approvals are bound to.
    pub digest: &'a str,
    /// How much changes.
    pub summary: Summary,
}

/// One change.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ChangePart<'a> {
    /// The kind: `Member`, `ApiKey`.
    pub kind: &'static str,
    /// The name; a member's is the email address.
    pub name: &'a str,
    /// The name before, where it is renamed.
    pub previous_name: Option<&'a str>,
    /// `create`, `update`, `adopt`, `release` or `delete`.
    pub action: Action,
    /// Why: `change` (the manifests moved), `drift` (the row moved) or `conflict` (both).
    pub cause: Cause,
    /// Whether it is a row that nobody declared in a collection where all are declared.
    pub extra: bool,
    /// The resource as it is; null where there is none.
    pub before: Option<View<'a>>,
    /// The resource as it would be; null where it goes.
    pub after: Option<View<'a>>,
    /// The fields that differ; none where the row comes or goes, for then all of them do.
    pub fields: Vec<FieldPart<'a>>,
    /// Where it is written; null where nobody declares it.
    pub origin: Option<&'a Origin>,
    /// Who wrote it there, or took it away from there; null where the source has no history.
    pub written_by: Option<&'a Authorship>,
    /// Who moved the row, where it moved; null where it did not.
    pub moved_by: Option<&'a Attribution>,
}

/// One differing field.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FieldPart<'a> {
    /// The path.
    pub path: &'a str,
    /// What the row holds.
    pub before: Value,
    /// What it would hold.
    pub after: Value,
    /// Why it differs.
    pub cause: Cause,
    /// Where the value is written.
    pub origin: Option<&'a Origin>,
}

/// One approval.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ApprovalPart<'a> {
    /// Whoever gave it.
    pub approver: &'a str,
    /// The groups that they belong to.
    pub groups: &'a BTreeSet<String>,
    /// When they gave it.
    pub at: String,
    /// When it ends.
    pub expires_at: String,
}

impl<'a> Input<'a> {
    /// The input of one organization: `approvals` are those that count for its plan by now.
    pub fn new(worlds: &'a Worlds<'a>, approvals: &[&'a Approval], around: &Around<'a>, parts: Parts) -> Input<'a> {
        let plan = worlds.plan;
        Input {
            version: INPUT_VERSION,
            organization: &plan.organization,
            time: moment(around.now),
            source: SourcePart { name: around.source, mode: around.mode },
            commit: around.revision.map(|revision| revision.commit.id.as_str()),
            author: around.revision.map(|revision| revision.commit.author.email.as_str()),
            signer: around.revision.and_then(|revision| revision.commit.signer.as_deref()),
            authors: around.authors,
            plan: PlanPart { digest: &plan.digest, summary: Plan::count(std::iter::once(plan)) },
            changes: plan.changes.iter().map(|change| worlds.change(change)).collect(),
            desired: parts.desired.then(|| worlds.desired()),
            live: parts.live.then(|| worlds.live()),
            after: parts.after.then(|| worlds.after()),
            access: parts.access.then(|| access::difference(&worlds.before_by_person(), &worlds.after, around.now)),
            tiers: around.tiers,
            tiers_before: around.tiers_before,
            approvals: approvals.iter().map(|approval| ApprovalPart::new(approval)).collect(),
        }
    }

    /// The document as bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl<'a> ApprovalPart<'a> {
    fn new(approval: &'a Approval) -> Self {
        ApprovalPart {
            approver: &approval.approver.name,
            groups: &approval.approver.groups,
            at: moment(approval.at),
            expires_at: moment(approval.expires_at),
        }
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
