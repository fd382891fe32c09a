//! Approvals: what a hold asks for, what people have given, and whether the one meets the other.
//!
//! An approval is bound to the digest of a plan, to the digest of the rules that judged it, to whoever gave it and to
//! a moment at which it ends. Nobody approves what is their own.

pub mod statement;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::id::OrganizationName;

/// How long an approval holds when nobody says so.
pub const LASTS: TimeDelta = TimeDelta::hours(24);

/// The shortest time that an approval may hold.
pub const LASTS_MIN: TimeDelta = TimeDelta::minutes(1);

/// The longest time that an approval may hold.
pub const LASTS_MAX: TimeDelta = TimeDelta::days(30);

/// The most people that a hold may ask for.
pub const QUORUM_MAX: u32 = 100;

/// The most groups that a hold may name.
pub const GROUPS_MAX: usize = 50;

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

impl Need {
    /// Says in words what is wrong with it, if anything.
    pub fn fault(&self) -> Option<String> {
        match (self.quorum, self.groups.len()) {
            (0, _) => Some("a quorum of 0 would hold nothing back; 1 is the least".into()),
            (quorum, _) if quorum > QUORUM_MAX => Some(format!("a quorum of {quorum}; {QUORUM_MAX} is the most")),
            (_, groups) if groups > GROUPS_MAX => Some(format!("{groups} groups; {GROUPS_MAX} is the most")),
            _ => None,
        }
    }

    /// How many people must agree: a quorum of none would let through what the rule means to hold.
    pub fn people(&self) -> usize {
        self.quorum.max(1) as usize
    }

    /// Whether somebody is one of those who must agree.
    pub fn takes(&self, approver: &Approver) -> bool {
        self.groups.is_empty() || !self.groups.is_disjoint(&approver.groups)
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

/// An approval as it is stored, before anybody has verified who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its number in the store.
    pub id: i64,
    /// The organization.
    pub organization: OrganizationName,
    /// The digest of its plan.
    pub plan_digest: String,
    /// The digest of the rules that held it.
    pub rules_digest: String,
    /// The database role that recorded it, as the database itself noted.
    pub role: String,
    /// What was signed, where it does not stand on the role.
    pub signed: Option<Signed>,
    /// What was said with it.
    pub comment: Option<String>,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// What became of it.
    pub end: Option<End>,
}

impl Given {
    /// The plan that it is of: organization and digest.
    pub fn plan(&self) -> (OrganizationName, String) {
        (self.organization.clone(), self.plan_digest.clone())
    }
}

/// A statement and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The text that was signed.
    pub statement: String,
    /// The signature, armoured as `ssh-keygen` writes it.
    pub signature: String,
}

/// How an approval came to its end before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A run used it.
    Used {
        /// The run.
        run: String,
        /// Whose approval it was found to be.
        name: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Somebody took it back.
    Revoked {
        /// The database role that did.
        role: String,
        /// When.
        at: DateTime<Utc>,
    },
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

/// The people who agree, as far as one need goes. Somebody who approves twice is still one person.
pub fn agreeing<'a>(need: &Need, approvals: &'a [Approval], bound: &Bound<'_>) -> BTreeSet<&'a str> {
    let counting = approvals.iter().filter(|approval| bound.counts(approval) && need.takes(&approval.approver));
    counting.map(|approval| approval.approver.name.as_str()).collect()
}

/// The approvals that meet every need, by number and with the name of whoever gave them; or the first need that is not
/// met and how many people of it agree.
///
/// All that agree are used, also those beyond the quorum and the second one of the same person: what is left over
/// could let the same change through once more, without anybody having been asked.
pub fn meet<'a>(
    needs: impl IntoIterator<Item = &'a Need>,
    approvals: &[Approval],
    bound: &Bound<'_>,
) -> Result<BTreeMap<i64, String>, (&'a Need, usize)> {
    let mut used = BTreeMap::new();
    for need in needs {
        let people = agreeing(need, approvals, bound);
        if people.len() < need.people() {
            return Err((need, people.len()));
        }
        let agree = approvals.iter().filter(|approval| bound.counts(approval) && need.takes(&approval.approver));
        used.extend(agree.map(|approval| (approval.id, approval.approver.name.clone())));
    }
    Ok(used)
}
