//! The verdict: what guards, policies and brakes say of a plan together. Only what it approves can be applied.
//!
//! In this order, the first that speaks decides: an error in the plan blocks, a policy denies, a brake stops, a hold
//! waits for people. `--force` passes by guards and by the brakes that yield to it, never by an error or a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approval::{self, Approval, Bound, Need};
use crate::brake::{Brakes, Mode, Windows};
use crate::guard::{self, Guards};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::plan::{OrganizationPlan, Plan};
use crate::policy::judgement::{Hold, Judgement, Judgements, Tie};

/// So many organizations that the change of the tiers waits for are told one by one.
const WAITED_FOR_TOLD_MAX: usize = 20;

/// What a source says of how its plans are judged, beside its policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// What the source does.
    pub mode: Mode,
    /// What must not happen unseen.
    pub guards: Guards,
    /// What lifts a hold of which nothing else is said.
    pub approvals: Need,
    /// When plans may be applied.
    pub windows: Windows,
}

/// All that a plan is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// The terms of the source.
    pub terms: &'a Terms,
    /// What the policies say.
    pub policies: &'a Judgements,
    /// What stops plans now beside the mode and the windows of the terms, which always count.
    pub brakes: &'a Brakes,
    /// The approvals that were given, whatever for.
    pub approvals: &'a [Approval],
    /// Whose plan it is, by all names, lower case.
    pub authors: &'a BTreeSet<String>,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// Whether somebody said `--force`.
    pub force: bool,
}

/// A plan of one organization that may be applied. Only [`judge`] makes one, so that nothing unchecked is ever
/// applied.
#[derive(Clone, Debug)]
pub struct Approved {
    plan: Arc<OrganizationPlan>,
    approvals: BTreeMap<i64, String>,
    rules_digest: Arc<str>,
    tie: Tie,
}

impl Approved {
    /// The plan.
    pub fn plan(&self) -> &OrganizationPlan {
        &self.plan
    }

    /// The approvals that let it through, by number and with the names of those who gave them. Applying it uses them up.
    pub fn approvals(&self) -> &BTreeMap<i64, String> {
        &self.approvals
    }

    /// Whoever agreed with it.
    pub fn approved_by(&self) -> BTreeSet<&str> {
        self.approvals.values().map(String::as_str).collect()
    }

    /// Why it must not be applied, where what all organizations share was not: it was let through as one that has the
    /// changed tier.
    pub fn waits(&self) -> Option<Finding> {
        (self.tie != Tie::Free).then(|| waits_for_shared(&self.plan.organization))
    }

    /// The digest of the rules that let it through.
    pub fn rules_digest(&self) -> &str {
        &self.rules_digest
    }
}

/// A verdict: what may be applied, and what is said of the rest.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What may be applied.
    pub approved: Vec<Approved>,
    /// What people are told.
    pub told: Told,
}

/// Why an organization is held, what lifts that, and how far it is lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// Why.
    pub finding: Finding,
    /// What lifts it.
    pub need: Need,
    /// Those of them who agree by now.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub agreed: BTreeSet<String>,
}

impl Held {
    /// A hold, as far as these approvals lift it.
    pub fn new(hold: Hold, approvals: &[Approval], bound: &Bound<'_>) -> Held {
        let Hold { finding, need } = hold;
        let agreed = approval::agreeing(&need, approvals, bound).into_iter().map(str::to_owned).collect();
        Held { finding, need, agreed }
    }

    /// How many people are missing.
    pub fn missing(&self) -> usize {
        self.need.people().saturating_sub(self.agreed.len())
    }
}

/// What people are told of a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// The digest of the rules that judged, which approvals are bound to.
    pub rules_digest: String,
    /// What needs people to agree, by organization: why, and what lifts it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Vec<Held>>")]
    pub held: BTreeMap<OrganizationName, Vec<Held>>,
    /// What policies deny, by organization.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Vec<Finding>>")]
    pub denied: BTreeMap<OrganizationName, Vec<Finding>>,
    /// What the brakes stop, by organization.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Vec<Finding>>")]
    pub stopped: BTreeMap<OrganizationName, Vec<Finding>>,
    /// What an error forbids, by organization.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Vec<Finding>>")]
    pub blocked: BTreeMap<OrganizationName, Vec<Finding>>,
    /// What policies warn of, by organization, whatever else is said of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Vec<Finding>>")]
    pub warned: BTreeMap<OrganizationName, Vec<Finding>>,
}

impl Told {
    /// The verdict on all of them in a word: the gravest that is said of any.
    pub fn gravest(&self) -> &'static str {
        match () {
            () if !self.blocked.is_empty() => "blocked",
            () if !self.denied.is_empty() => "denied",
            () if !self.stopped.is_empty() => "stopped",
            () if !self.held.is_empty() => "held",
            () => "allowed",
        }
    }

    /// The verdict on one organization in a word.
    pub fn word(&self, organization: &str) -> &'static str {
        let in_any = |map: &BTreeMap<OrganizationName, Vec<Finding>>| map.contains_key(organization);
        match () {
            () if in_any(&self.blocked) => "blocked",
            () if in_any(&self.denied) => "denied",
            () if in_any(&self.stopped) => "stopped",
            () if self.held.contains_key(organization) => "held",
            () => "allowed",
        }
    }
}

/// Judges a plan.
pub fn judge(plan: &Plan, judging: &Judging<'_>) -> Verdict {
    let rules_digest: Arc<str> = judging.policies.rules_digest.as_str().into();
    let mut told = Told { rules_digest: rules_digest.to_string(), ..Told::default() };
    let mut approved = Vec::new();
    let Terms { mode, windows, guards: _, approvals: _ } = judging.terms;
    let settings = Brakes::of_settings(*mode, windows, judging.now);
    let mut standings = Vec::with_capacity(plan.organizations.len());
    for organization in &plan.organizations {
        let judgement = judgement(organization, judging.policies);
        if !judgement.warnings.is_empty() {
            told.warned.insert(organization.organization.clone(), judgement.warnings.clone());
        }
        let standing = stand(organization, &judgement, &settings, judging);
        standings.push((organization, judgement.tie, standing));
    }
    tie(&mut standings);
    for (organization, tie, standing) in standings {
        let name = organization.organization.clone();
        match standing {
            Standing::Blocked(errors) => drop(told.blocked.insert(name, errors)),
            Standing::Denied(denials) => drop(told.denied.insert(name, denials)),
            Standing::Stopped(stops) => drop(told.stopped.insert(name, stops)),
            Standing::Waiting => {}
            Standing::Held(holds) => drop(told.held.insert(name, holds)),
            Standing::Approved(approvals) => {
                let rules_digest = rules_digest.clone();
                approved.push(Approved { plan: organization.clone(), approvals, rules_digest, tie });
            }
        }
    }
    Verdict { approved, told }
}

enum Standing {
    Blocked(Vec<Finding>),
    Denied(Vec<Finding>),
    Stopped(Vec<Finding>),
    /// It holds nothing but bookkeeping, which waits for the brakes as well, and is not worth a word.
    Waiting,
    Held(Vec<Held>),
    Approved(BTreeMap<i64, String>),
}

/// Organizations that were judged by changed tiers, and the change of the tiers, pass together or not at all: each of
/// them is a plan of its own, and what was said of one counts on the other.
fn tie(standings: &mut [(&Arc<OrganizationPlan>, Tie, Standing)]) {
    let passes = |standing: &Standing| matches!(standing, Standing::Approved(_));
    let stays =
        |(_, tie, standing): &&(&Arc<OrganizationPlan>, Tie, Standing)| *tie == Tie::Spares && !passes(standing);
    let staying: Vec<OrganizationName> =
        standings.iter().filter(stays).map(|(plan, ..)| plan.organization.clone()).collect();
    let shared = standings.iter_mut().find(|(plan, ..)| &*plan.organization == GLOBAL && !plan.is_empty());
    let Some((.., shared)) = shared else { return };
    if passes(shared) && !staying.is_empty() {
        *shared = Standing::Stopped(staying.iter().take(WAITED_FOR_TOLD_MAX).map(waits_for_one).collect());
    }
    if passes(shared) {
        return;
    }
    for (plan, tie, standing) in standings {
        if *tie != Tie::Free && passes(standing) {
            *standing = Standing::Stopped(vec![waits_for_shared(&plan.organization)]);
        }
    }
}

fn waits_for_shared(organization: &OrganizationName) -> Finding {
    let message = "it was judged by its tier as that would be, and the change of the tiers is not carried out";
    let hint = "it goes on with the change of the tiers, or without it: mend that, let somebody approve it, or take it \
                back";
    Finding::error(Code::Waits, message).about(organization).hint(hint)
}

fn waits_for_one(organization: &OrganizationName) -> Finding {
    let message = format!("`{organization}` was judged with changes of its own, and these are not carried out");
    let hint = "what the changed tiers do to it as it is was not asked: let its changes pass, or change the tiers without \
                them";
    Finding::error(Code::Waits, message).hint(hint)
}

fn stand(plan: &OrganizationPlan, judgement: &Judgement, settings: &Brakes, judging: &Judging<'_>) -> Standing {
    if plan.is_blocked() {
        return Standing::Blocked(plan.findings.iter().filter(|finding| finding.is_error()).cloned().collect());
    }
    if !judgement.denials.is_empty() {
        return Standing::Denied(judgement.denials.clone());
    }
    if plan.is_settled() {
        return Standing::Approved(BTreeMap::new());
    }
    // While it gets another name, what was said of the old one still counts.
    let names = [Some(&*plan.organization), plan.renamed_from()];
    let special = names.into_iter().flatten().flat_map(|name| judging.brakes.of(name));
    let stops = settings.of(&plan.organization).chain(special);
    let stops = stops.filter(|stop| !(judging.force && stop.yields_to_force));
    let mut stops: Vec<Finding> = stops.map(|stop| stop.finding.clone().about(&plan.organization)).collect();
    stops.dedup();
    if !stops.is_empty() {
        return if plan.is_empty() { Standing::Waiting } else { Standing::Stopped(stops) };
    }
    let holds = holds(plan, judgement, judging);
    let authors = plan.authors_among(judging.authors);
    let bound = Bound {
        plan_digest: &plan.digest,
        rules_digest: &judging.policies.rules_digest,
        authors: &authors,
        now: judging.now,
    };
    match approval::meet(holds.iter().map(|hold| &hold.need), judging.approvals, &bound) {
        Ok(approvals) => Standing::Approved(approvals),
        Err(_) => {
            let held = holds.into_iter().map(|hold| Held::new(hold, judging.approvals, &bound));
            Standing::Held(held.collect())
        }
    }
}

/// What policy says of an organization. Where there are policies, silence is not consent.
fn judgement(plan: &OrganizationPlan, policies: &Judgements) -> Judgement {
    let Some(judgements) = &policies.by_organization else { return Judgement::default() };
    match judgements.get(&plan.organization) {
        Some(judgement) => judgement.clone(),
        None if plan.is_empty() => Judgement::default(),
        None => {
            let unjudged = Finding::error(Code::PolicyFailed, "the policies were not asked about this plan");
            Judgement { denials: vec![unjudged.about(&plan.organization)], ..Judgement::default() }
        }
    }
}

fn holds(plan: &OrganizationPlan, judgement: &Judgement, judging: &Judging<'_>) -> Vec<Hold> {
    let guards = if judging.force { Vec::new() } else { guard::holds(plan, &judging.terms.guards) };
    let guards = guards.into_iter().map(|finding| Hold { finding, need: judging.terms.approvals.clone() });
    guards.chain(judgement.holds.iter().cloned()).collect()
}

/// Whether a finding tells of many organizations alike, so that telling it once is enough.
pub fn tells_of_all(finding: &Finding) -> bool {
    matches!(finding.code, Code::EmptySource | Code::Observing | Code::WindowClosed | Code::Suspended)
}
