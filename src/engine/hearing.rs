//! Hearings: the policies are asked about every organization with changes, and about those that a change of their
//! tier concerns.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Heard;
use super::approving::{self, Known};
use super::ground::View;
use crate::access::Access;
use crate::approval::{Approval, Bound, Need};
use crate::diff;
use crate::diff::rows::{self, Rows};
use crate::identity::Approvers;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::KindId;
use crate::model::kinds;
use crate::model::resource::Spec;
use crate::model::revision::Revision;
use crate::model::state::{Applied, Live};
use crate::model::value::Value;
use crate::plan::{Change, OrganizationPlan, Plan};
use crate::policy::input::{self, Around, Input, Parts, Worlds};
use crate::policy::judgement::{self, Hold, Judgement, Judgements, Tie};
use crate::sandbox::Sandbox;
use crate::store::Store;
use crate::store::error::StoreError;

/// How many organizations are read and heard at a time.
const ORGANIZATIONS_PER_HEARING: usize = 500;

/// So many organizations that a change of their tier breaks are told one by one.
const BROKEN_TOLD_MAX: usize = 20;

/// What judges the plans of a source.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'a> {
    /// The policies.
    pub policies: Policies<'a>,
    /// The digest of policies and terms.
    pub rules_digest: &'a str,
    /// What lifts a hold of which nothing else is said.
    pub need: &'a Need,
    /// What happens to drift: `enforce`, `apply` or `observe`.
    pub mode: &'a str,
    /// Whose plan it is, by all names, lower case.
    pub authors: &'a BTreeSet<String>,
    /// Who may approve.
    pub approvers: &'a Approvers,
    /// The commit of the manifests, if they have one.
    pub revision: Option<&'a Revision>,
    /// Whether somebody wants to know what people gain and lose, beside the policies.
    pub tells_access: bool,
}

/// The policies of a source.
#[derive(Clone, Copy, Debug)]
pub enum Policies<'a> {
    /// There are none, and that is meant.
    None,
    /// Nobody has said that there should be none. If there were some before, they are gone.
    Absent,
    /// These.
    Loaded(&'a Sandbox),
}

/// One organization to be heard.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Its plan.
    pub plan: &'a OrganizationPlan,
    /// Its rows.
    pub live: &'a Live,
    /// Its ownership records.
    pub applied: &'a Applied,
}

/// What the policies have said so far of a plan.
pub struct Hearing<'a> {
    bench: &'a Bench<'a>,
    source: &'a str,
    now: DateTime<Utc>,
    /// The tier catalogue as it is.
    tiers_before: Rows,
    /// And as it will be.
    tiers: Rows,
    /// The tiers that change, come or go, by all names.
    changed: BTreeSet<Arc<str>>,
    /// What all organizations share that gets another name: whoever refers to it follows.
    renamed: Vec<Change>,
    /// The approvals of those that are heard.
    known: Option<Known>,
    heard: BTreeMap<OrganizationName, Judgement>,
    access: BTreeMap<OrganizationName, Access>,
    /// The organizations that will have what their plans bring, as far as plans and policies can tell, by the names of
    /// their rows. All others stay as they are.
    moving: BTreeSet<OrganizationName>,
}

impl<'a> Hearing<'a> {
    /// Begins, with the catalogue as it is.
    pub async fn begin(
        planning: &mut View,
        bench: &'a Bench<'a>,
        source: &'a str,
        now: DateTime<Utc>,
    ) -> Result<Hearing<'a>, StoreError> {
        let shared = planning.live(&[GLOBAL.into()]).await?;
        let tiers = shared.get(GLOBAL).map(|live| rows::before(live, &[])).unwrap_or_default();
        let tiers_before = tiers.clone();
        Ok(Hearing {
            bench,
            source,
            now,
            tiers_before,
            tiers,
            changed: BTreeSet::new(),
            renamed: Vec::new(),
            known: None,
            heard: BTreeMap::new(),
            access: BTreeMap::new(),
            moving: BTreeSet::new(),
        })
    }

    /// Hears those that have changes. What all organizations share has to come first: its tiers are those by which the
    /// others are judged.
    #[tracing::instrument(name = "ask policies", skip_all, fields(argus.organizations = cases.len()))]
    pub async fn hear(&mut self, planning: &mut View, cases: &[Case<'_>]) -> Result<(), StoreError> {
        self.note_tiers(cases);
        if matches!(self.bench.policies, Policies::Loaded(_)) {
            self.note_approvals(planning, cases).await?;
        }
        let changing: Vec<Case<'_>> = cases.iter().filter(|case| !case.plan.is_empty()).copied().collect();
        let (judgements, access) = self.judge(&changing).await;
        let told = changing.iter().map(|case| case.plan.organization.clone()).zip(access);
        self.access.extend(told.filter_map(|(name, access)| Some((name, access?))));
        let lets_through = |(case, judgement): &(&Case<'_>, &Judgement)| {
            let is_held = !judgement.holds.is_empty() || !case.plan.holds.is_empty();
            judgement.denials.is_empty() && !is_held && !case.plan.is_blocked()
        };
        let moving = changing.iter().zip(&judgements).filter(lets_through).map(|(case, _)| row_name(case.plan));
        self.moving.extend(moving);
        for (case, mut judgement) in changing.iter().zip(judgements) {
            judgement.tie = self.tie(case);
            self.heard.insert(case.plan.organization.clone(), judgement);
        }
        Ok(())
    }

    async fn note_approvals(&mut self, planning: &mut View, cases: &[Case<'_>]) -> Result<(), StoreError> {
        let plans = cases.iter().map(|case| case.plan);
        self.known = approving::known(planning, plans, self.bench.approvers).await?;
        Ok(())
    }

    fn note_tiers(&mut self, cases: &[Case<'_>]) {
        if let Some(shared) = cases.iter().find(|case| &*case.plan.organization == GLOBAL) {
            self.tiers_before = rows::before(shared.live, &shared.plan.changes);
            self.tiers = rows::after(&self.tiers_before, &shared.plan.changes);
            let names =
                shared.plan.changes.iter().flat_map(|change| [Some(&change.name), change.previous_name.as_ref()]);
            self.changed = names.flatten().cloned().collect();
            let renamed = shared.plan.changes.iter().filter(|change| change.previous_name.is_some());
            self.renamed = renamed.cloned().collect();
        }
    }

    /// Whether an organization was judged by a tier that changes, be it the one that it has or the one that it gets.
    fn tie(&self, case: &Case<'_>) -> Tie {
        if &*case.plan.organization == GLOBAL || self.changed.is_empty() {
            return Tie::Free;
        }
        let kind = KindId::of(&kinds::organization::KIND);
        let at = kinds::organization::KIND.field_at("tier");
        let name = row_name(case.plan);
        let had = case.live.rows.get(&(kind, name.clone())).and_then(|row| row.spec.value(at?));
        let gets = case.plan.changes.iter().filter(|change| change.kind == kind);
        let mut tiers = had.into_iter().chain(gets.filter_map(|change| change.set.get("tier")));
        let is_changed = |tier: &Value| tier.as_text().is_some_and(|tier| self.changed.contains(tier));
        match (tiers.any(is_changed), self.moving.contains(&name)) {
            (false, _) => Tie::Free,
            (true, false) => Tie::Leans,
            (true, true) => Tie::Spares,
        }
    }

    /// What people gain and lose by what was heard so far, if somebody wants to know.
    pub fn take_access(&mut self) -> BTreeMap<OrganizationName, Access> {
        std::mem::take(&mut self.access)
    }

    /// What the policies say of each, and what people gain and lose by it, if somebody wants to know.
    async fn judge(&self, cases: &[Case<'_>]) -> (Vec<Judgement>, Vec<Option<Access>>) {
        let parts = match self.bench.policies {
            Policies::Loaded(sandbox) => Some(sandbox.parts()),
            Policies::None | Policies::Absent => None,
        };
        if parts.is_none() && !self.bench.tells_access {
            return (Vec::new(), Vec::new());
        }
        let (inputs, access) = self.inputs(cases, parts.unwrap_or_default()).into_iter().unzip();
        let Policies::Loaded(sandbox) = self.bench.policies else { return (Vec::new(), access) };
        let answers = sandbox.judge(inputs).await;
        let judge =
            |(case, answers): (&Case<'_>, _)| judgement::judge(sandbox.rules(), answers, case.plan, self.bench.need);
        (cases.iter().zip(&answers).map(judge).collect(), access)
    }

    /// The rows of an organization, with what they refer to under the names that it will have.
    fn followed<'c>(&self, case: &Case<'c>) -> Cow<'c, Live> {
        if self.renamed.is_empty() {
            return Cow::Borrowed(case.live);
        }
        let mut live = case.live.clone();
        rows::follow(&mut live, &self.renamed);
        Cow::Owned(live)
    }

    /// The input documents, made on all cores, and what people gain and lose, if somebody wants to know.
    fn inputs(&self, cases: &[Case<'_>], parts: Parts) -> Vec<(Vec<u8>, Option<Access>)> {
        // Found once, for the policies and for whoever reads the plan.
        let parts = Parts { access: parts.access || self.bench.tells_access, ..parts };
        let kind = KindId::of(&kinds::tier::KIND);
        let view = |(name, spec)| (String::clone(name), tier(kind, name, spec));
        let tiers: BTreeMap<String, input::View<'_>> = self.tiers.get(&kind).into_iter().flatten().map(view).collect();
        let before = self.tiers_before.get(&kind).into_iter().flatten();
        let moves = |(name, spec): &(&String, &Spec)| tiers.get(*name).is_none_or(|view| *view.spec != **spec);
        let tiers_before: BTreeMap<String, input::View<'_>> = before.filter(moves).map(view).collect();
        let around = Around {
            source: self.source,
            mode: self.bench.mode,
            revision: self.bench.revision,
            authors: self.bench.authors,
            tiers: &tiers,
            tiers_before: &tiers_before,
            now: self.now,
        };
        let role = self.known.iter().map(|known| known.role.clone());
        let all: BTreeSet<String> = self.bench.authors.iter().cloned().chain(role).collect();
        let input = |case: &Case<'_>| {
            let live = self.followed(case);
            let authors = case.plan.authors_among(&all);
            let told = case.plan.authors_among(self.bench.authors);
            let around = Around { authors: &told, ..around.clone() };
            let worlds = Worlds::new(case.plan, &live, case.applied);
            let bound = |now| Bound {
                plan_digest: &case.plan.digest,
                rules_digest: self.bench.rules_digest,
                authors: &authors,
                now,
            };
            let known =
                self.known.iter().flat_map(|known| known.approvals.iter().map(|approval| (approval, known.now)));
            let counting = known.filter(|(approval, now)| bound(*now).counts(approval));
            let approvals: Vec<&Approval> = counting.map(|(approval, _)| approval).collect();
            let input = Input::new(&worlds, &approvals, &around, parts);
            (input.to_json(), input.access.filter(|_| self.bench.tells_access))
        };
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let share = cases.len().div_ceil(cores).max(1);
        std::thread::scope(|threads| {
            let shares: Vec<_> = cases
                .chunks(share)
                .map(|share| threads.spawn(|| share.iter().map(input).collect::<Vec<_>>()))
                .collect();
            let joined = shares.into_iter().map(|share| share.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            joined.flatten().collect()
        })
    }

    /// Hears the organizations that a change of their tier concerns, as they are, and ends. What the policies deny there
    /// denies the change of the tiers, for that is what would break them.
    ///
    /// This leaves out those whose own changes pass under the new tiers. Those whose changes do not pass are heard
    /// again, without their changes: they stay as they are, and the tier would change under them all the same, since
    /// each organization is written by itself. So nothing that a tenant does spares a change of the tier its hearing,
    /// and no mistake of a tenant denies it that is not there without it.
    pub async fn end(mut self, planning: &mut View, plans: &[Arc<OrganizationPlan>]) -> Result<Judgements, StoreError> {
        let rules_digest = self.bench.rules_digest.to_owned();
        match self.bench.policies {
            Policies::None => return Ok(Judgements { rules_digest, by_organization: None }),
            Policies::Absent if !planning.was_policed(self.source).await? => {
                return Ok(Judgements { rules_digest, by_organization: None });
            }
            Policies::Absent => {
                let denied = plans.iter().filter(|plan| !plan.is_empty()).map(|plan| {
                    let finding = Finding::error(Code::PoliciesGone, "the policies that judged this source are gone");
                    let hint = "bring the folder back, or say `policies: none` in argus.yaml";
                    let denials = vec![finding.hint(hint).about(&plan.organization)];
                    (plan.organization.clone(), Judgement { denials, ..Judgement::default() })
                });
                return Ok(Judgements { rules_digest, by_organization: Some(denied.collect()) });
            }
            Policies::Loaded(_) => {}
        }
        let shared = plans.iter().find(|plan| &*plan.organization == GLOBAL);
        let shared = shared.map(|plan| plan.changes.as_slice()).unwrap_or_default();
        let concerned = self.concerned(planning, shared).await?;
        let mut broken = Judgement::default();
        let concerned = Vec::from_iter(concerned);
        for names in concerned.chunks(ORGANIZATIONS_PER_HEARING) {
            let unchanged: Vec<OrganizationPlan> =
                names.iter().map(|name| OrganizationPlan::unchanged(name, Vec::new())).collect();
            let plans: Vec<&OrganizationPlan> = unchanged.iter().collect();
            let rows = Read::of(planning, &plans).await?;
            for (plan, judgement) in plans.iter().zip(self.judge(&rows.cases(&plans)).await.0) {
                let of = |finding: Finding| of_one(&plan.organization, finding);
                broken.denials.extend(judgement.denials.into_iter().map(of));
                let holds = judgement.holds.into_iter();
                broken.holds.extend(holds.map(|hold| Hold { finding: of(hold.finding), need: hold.need }));
                broken.warnings.extend(judgement.warnings.into_iter().map(of));
            }
        }
        if let Some(shared) = self.heard.get_mut(GLOBAL) {
            shared.denials.extend(few(broken.denials, |more| {
                let message = format!("and {more} more that the changed tiers would break");
                Finding::error(Code::PolicyDenied, message)
            }));
            shared.holds.extend(few_holds(broken.holds));
            shared.warnings.extend(few(broken.warnings, |more| {
                let message = format!("and {more} more warnings about organizations of the changed tiers");
                Finding::warning(Code::PolicyWarned, message)
            }));
        }
        Ok(Judgements { rules_digest, by_organization: Some(self.heard) })
    }

    /// The organizations that stay as they are while their tier changes.
    async fn concerned(
        &self,
        planning: &mut View,
        shared: &[Change],
    ) -> Result<BTreeSet<OrganizationName>, StoreError> {
        if shared.is_empty() {
            return Ok(BTreeSet::new());
        }
        let users = planning.tier_users().await?;
        let of_tier = |change: &Change| {
            let name = change.previous_name.as_ref().unwrap_or(&change.name);
            users.get(name).into_iter().flatten().cloned()
        };
        let mut concerned: BTreeSet<OrganizationName> = shared.iter().flat_map(of_tier).collect();
        // Whoever plans with a picture cannot ask about those of others.
        concerned.retain(|name| !self.moving.contains(name) && planning.holds(name));
        Ok(concerned)
    }
}

/// The input documents of these plans, for people who want to see what policies are told.
pub async fn documents(
    store: &Store,
    source: &str,
    plans: &[&OrganizationPlan],
    bench: &Bench<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<(OrganizationName, Vec<u8>)>, StoreError> {
    let mut planning = View::from(store.planning().await?);
    let mut hearing = Hearing::begin(&mut planning, bench, source, now).await?;
    let mut documents = Vec::new();
    for plans in plans.chunks(ORGANIZATIONS_PER_HEARING) {
        let rows = Read::of(&mut planning, plans).await?;
        let cases = rows.cases(plans);
        hearing.note_tiers(&cases);
        hearing.note_approvals(&mut planning, &cases).await?;
        let names = cases.iter().map(|case| case.plan.organization.clone());
        let inputs = hearing.inputs(&cases, Parts::ALL).into_iter().map(|(document, _)| document);
        documents.extend(names.zip(inputs));
    }
    Ok(documents)
}

/// Hears a plan that was made before: its rows are read again, and what the guards look at is counted again.
pub async fn hear_again(
    store: &Store,
    plan: &Plan,
    bench: &Bench<'_>,
    now: DateTime<Utc>,
) -> Result<Heard, StoreError> {
    let mut planning = View::from(store.planning().await?);
    let mut hearing = Hearing::begin(&mut planning, bench, &plan.source, now).await?;
    let mut counts = BTreeMap::new();
    let changing: Vec<&OrganizationPlan> =
        plan.organizations.iter().map(|plan| &**plan).filter(|plan| !plan.is_empty()).collect();
    for plans in changing.chunks(ORGANIZATIONS_PER_HEARING) {
        let rows = Read::of(&mut planning, plans).await?;
        let cases = rows.cases(plans);
        hearing.hear(&mut planning, &cases).await?;
        counts.extend(cases.iter().map(|case| {
            // What was counted then still holds it back: who knows what has moved.
            let mut counts = case.plan.counts.clone();
            let now = diff::counts(case.live, &case.plan.changes, now);
            counts.extend(now.into_iter().filter(|count| !case.plan.counts.contains(count)));
            (case.plan.organization.clone(), counts)
        }));
    }
    let access = hearing.take_access();
    let judgements = hearing.end(&mut planning, &plan.organizations).await?;
    let counted = |organization: &Arc<OrganizationPlan>| match counts.remove(&organization.organization) {
        Some(counts) => Arc::new(OrganizationPlan { counts, ..(**organization).clone() }),
        None => organization.clone(),
    };
    let organizations = plan.organizations.iter().map(counted).collect();
    let plan = Plan { organizations, findings: plan.findings.clone(), ..plan.clone() };
    Ok(Heard { plan, judgements, access, unseen: BTreeSet::new(), states: BTreeMap::new() })
}

/// The name under which the rows of an organization stand now: the old one, where it is renamed.
fn row_name(plan: &OrganizationPlan) -> OrganizationName {
    let root = plan.changes.iter().find(|change| change.kind.is(&kinds::organization::KIND));
    root.and_then(|change| change.previous_name.clone()).unwrap_or_else(|| plan.organization.clone())
}

/// What was read of some organizations.
struct Read {
    live: BTreeMap<OrganizationName, Live>,
    applied: BTreeMap<OrganizationName, Applied>,
}

impl Read {
    async fn of(planning: &mut View, plans: &[&OrganizationPlan]) -> Result<Read, StoreError> {
        let names: Vec<OrganizationName> = plans.iter().map(|plan| row_name(plan)).collect();
        Ok(Read { live: planning.live(&names).await?, applied: planning.applied(&names).await? })
    }

    fn cases<'a>(&'a self, plans: &[&'a OrganizationPlan]) -> Vec<Case<'a>> {
        let case = |plan: &&'a OrganizationPlan| {
            let name = row_name(plan);
            Some(Case { plan, live: self.live.get(&name)?, applied: self.applied.get(&name)? })
        };
        plans.iter().filter_map(case).collect()
    }
}

fn tier<'a>(kind: KindId, name: &'a str, spec: &'a Spec) -> input::View<'a> {
    input::View { kind, name: Cow::Borrowed(name), origin: None, spec: Cow::Borrowed(spec) }
}

/// What is said of a tier because of one organization says of which.
fn of_one(organization: &OrganizationName, finding: Finding) -> Finding {
    Finding { message: format!("in `{organization}`: {}", finding.message), ..finding }
}

/// The first of many findings, and what tells how many there are beside them.
fn few(mut findings: Vec<Finding>, tells: impl FnOnce(usize) -> Finding) -> Vec<Finding> {
    let more = findings.len().saturating_sub(BROKEN_TOLD_MAX);
    findings.truncate(BROKEN_TOLD_MAX);
    if more > 0 {
        findings.push(tells(more));
    }
    findings
}

/// The first of many holds, and how many there are beside them, by what lifts them: none of that may be lost.
fn few_holds(mut holds: Vec<Hold>) -> Vec<Hold> {
    let more = holds.split_off(holds.len().min(BROKEN_TOLD_MAX));
    let mut needs: Vec<(Need, usize)> = Vec::new();
    for Hold { need, .. } in more {
        match needs.iter_mut().find(|(known, _)| *known == need) {
            Some((_, count)) => *count += 1,
            None => needs.push((need, 1)),
        }
    }
    holds.extend(needs.into_iter().map(|(need, count)| {
        let message = format!("and {count} more that hold the changed tiers for the same people");
        Hold { finding: Finding::warning(Code::PolicyHeld, message), need }
    }));
    holds
}
