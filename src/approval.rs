//! Approvals: what a hold asks for, what people have given, and whether the one meets the other.
//!
//! An approval is bound to the digest of a plan, to the digest of the rules that judged it, to whoever gave it and to
//! a moment at which it ends. Nobody approves what is their own.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What lifts a hold: so many people, each of one of these groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Need {
    /// How many people must agree.
    pub quorum: u32,
    /// The groups that they must belong to, one of them each; none takes anybody who may approve.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
}

impl Default for Need {
    fn default() -> Self {
        Need { quorum: 1, groups: BTreeSet::new() }
    }
}

/// Who gave an approval, as far as it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// The name in the settings of the machine.
    pub name: String,
    /// The groups that the settings put them in.
    pub groups: BTreeSet<String>,
    /// Everything else that they go by: email addresses, database roles. Lower case.
    pub also: BTreeSet<String>,
}

impl Approver {
    /// Whether they are one of these people, under any of their names.
    pub fn is_among(&self, people: &BTreeSet<String>) -> bool {
        people.contains(&self.name.to_lowercase()) || self.also.iter().any(|name| people.contains(name))
    }
}

/// One approval whose giver was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Its number in the store.
    pub id: i64,
    /// The digest of the plan of one organization.
    pub plan_digest: String,
    /// The digest of the rules that held it.
    pub rules_digest: String,
    /// Who gave it.
    pub approver: Approver,
    /// When it was given.
    pub at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// What approvals are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The digest of the plan of the organization.
    pub plan_digest: &'a str,
    /// The digest of the rules that judge it now.
    pub rules_digest: &'a str,
    /// Whose plan it is, under all names, lower case: none of them approves it.
    pub authors: &'a BTreeSet<String>,
    /// The present moment.
    pub now: DateTime<Utc>,
}

impl Bound<'_> {
    /// Whether an approval counts for this plan.
    pub fn counts(&self, approval: &Approval) -> bool {
        approval.plan_digest == self.plan_digest
            && approval.rules_digest == self.rules_digest
            && approval.at <= self.now
            && self.now < approval.expires_at
            && !approval.approver.is_among(self.authors)
    }
}

/// The approvals that meet every need, by number; or the first need that is not met and how many people of it agree.
pub fn meet<'a>(
    needs: impl IntoIterator<Item = &'a Need>,
    approvals: &[Approval],
    bound: &Bound<'_>,
) -> Result<BTreeSet<i64>, (&'a Need, usize)> {
    let counting: Vec<&Approval> = approvals.iter().filter(|approval| bound.counts(approval)).collect();
    let mut used = BTreeSet::new();
    for need in needs {
        let fits = |approval: &&&Approval| {
            need.groups.is_empty() || approval.approver.groups.intersection(&need.groups).next().is_some()
        };
        let mut people = BTreeSet::new();
        for approval in counting.iter().filter(fits) {
            // Somebody who approves twice is still one person.
            if people.insert(approval.approver.name.as_str()) {
                used.insert(approval.id);
            }
        }
        // A quorum of none would let through what the rule means to hold.
        if people.len() < need.quorum.max(1) as usize {
            return Err((need, people.len()));
        }
    }
    Ok(used)
}
