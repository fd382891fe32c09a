//! Approving: which plans wait, what people have said to them by now, and who may still say something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Applying;
use super::ground::View;
use crate::approval::{Approval, Approver, Bound, Given};
use crate::identity::{Approvers, Unverified};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::plan::{OrganizationPlan, Plan};
use crate::policy::judgement::Hold;
use crate::render::inert;
use crate::store::Store;
use crate::store::approvals::{Approving, HeldPlan, Keeping, Open, PlanKey, RecordError, ToKeep, Which};
use crate::store::error::StoreError;
use crate::verdict::{Held, Told};

/// The fewest digits of a digest that name a plan.
const DIGEST_DIGITS_MIN: usize = 8;

/// What is known of approvals as of one moment.
#[derive(Clone, Debug)]
pub struct Known {
    /// Those whose giver was verified, and is none of those who kept the plan.
    pub approvals: Vec<Approval>,
    /// The database role that asks, in lower case: whoever logs in to apply does not count as somebody else.
    pub role: String,
    /// The moment, by the clock of the database: it decides when an approval begins and ends.
    pub now: DateTime<Utc>,
}

/// The approvals that may count for some plans; none where none of them holds anything. Each is verified from its row,
/// by the settings of this machine.
pub async fn known<'a>(
    planning: &mut View,
    plans: impl Iterator<Item = &'a OrganizationPlan>,
    approvers: &Approvers,
) -> Result<Option<Known>, StoreError> {
    let of: Vec<PlanKey> =
        plans.filter(|plan| !plan.is_settled()).map(|plan| (plan.organization.clone(), plan.digest.clone())).collect();
    if of.is_empty() {
        return Ok(None);
    }
    let Some(open) = planning.open_approvals(&of).await? else { return Ok(None) };
    let approvals = by_others(&open, approvers);
    Ok(Some(Known { approvals, role: open.role.to_lowercase(), now: open.now }))
}

/// Those approvals that are verified, and given by others than those whose plan it is.
fn by_others(open: &Open, approvers: &Approvers) -> Vec<Approval> {
    let verified = |given: &Given| match approvers.verify(given, &open.database) {
        Ok(approval) => Some(approval),
        Err(why) => {
            tracing::warn!(approval = given.id, %why, "approval {} counts for nothing: {why}", given.id);
            None
        }
    };
    let by_another = |given: &Given| {
        let approval = verified(given)?;
        let own = open.authors.get(&given.plan()).is_some_and(|authors| approval.approver.is_among(authors));
        (!own).then_some(approval)
    };
    open.given.iter().filter_map(by_another).collect()
}

/// Keeps the plans that are held, so that people can look at them and approve. Gives what could not be kept.
pub async fn keep(
    store: &Store,
    plan: &Plan,
    told: &Told,
    applying: &Applying,
) -> Result<BTreeMap<OrganizationName, Finding>, StoreError> {
    let held = |organization: &&Arc<OrganizationPlan>| told.held.contains_key(&organization.organization);
    let held: Vec<Arc<OrganizationPlan>> = plan.organizations.iter().filter(held).cloned().collect();
    if held.is_empty() {
        return Ok(BTreeMap::new());
    }
    // A plan may hold what stands in rows; what looks like a secret there is not written down a second time.
    let shown = inert::plan(&Plan { organizations: held, findings: Vec::new(), ..plan.clone() });
    let mut unkept: Vec<(OrganizationName, String)> = Vec::new();
    let mut to_keep = Vec::new();
    for plan in shown.organizations {
        if plan.compute_digest() != plan.digest {
            unkept.push((plan.organization.clone(), "it would write what looks like a secret".into()));
            continue;
        }
        let holds = told.held.get(&plan.organization).into_iter().flatten();
        let holds = holds.map(|held| Hold { finding: held.finding.clone(), need: held.need.clone() }).collect();
        to_keep.push(ToKeep { plan: (*plan).clone(), holds });
    }
    let keeping = Keeping {
        run: &applying.run,
        run_digest: &plan.digest,
        rules_digest: &told.rules_digest,
        source: &plan.source,
        actor: &applying.actor,
        authors: &applying.authors,
        terms: &applying.terms,
    };
    unkept.extend(store.keep(&keeping, &to_keep).await?);
    let finding = |(organization, why): (OrganizationName, String)| {
        let message = format!("the plan of `{organization}` cannot be kept for approval: {why}");
        let finding = Finding::warning(Code::CannotApprove, message).about(&organization);
        (organization, finding.hint("make the change smaller, or carry it out in parts"))
    };
    Ok(unkept.into_iter().map(finding).collect())
}

/// A plan that waits, and how far what holds it is lifted.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The plan, without the plan itself.
    pub plan: HeldPlan,
    /// Why it is held, what lifts that, and who agrees.
    pub held: Vec<Held>,
}

impl Waiting {
    /// Whether enough people agree.
    pub fn is_met(&self) -> bool {
        self.held.iter().all(|held| held.missing() == 0)
    }
}

/// Why somebody cannot approve, or cannot find what to approve.
#[derive(Debug, thiserror::Error)]
pub enum ApprovingError {
    /// What was given is no digest.
    #[error("`{0}` is no digest: it has {DIGEST_DIGITS_MIN} to 64 of the digits 0-9 and a-f")]
    NoDigest(String),
    /// No plan that is held begins so.
    #[error("no plan is held whose digest begins with `{0}`")]
    NoSuchPlan(String),
    /// Several do.
    #[error("several plans are held whose digests begin with `{begins}`: {}", digests.join(", "))]
    Ambiguous {
        /// What was given.
        begins: String,
        /// The digests that begin so.
        digests: Vec<String>,
    },
    /// What is kept is not what its digest says.
    #[error("the plan of `{organization}` that is kept as {digest} is damaged, or of another version of Argus")]
    Damaged {
        /// The organization.
        organization: String,
        /// The digest.
        digest: String,
    },
    /// It is not known who wants to approve.
    #[error("it cannot be verified who you are: {0}")]
    Unverified(#[from] Unverified),
    /// They want to approve what is their own.
    #[error("the plan of `{organization}` is your own, {name}: it was made or applied by {}", authors.join(", "))]
    Own {
        /// The organization.
        organization: String,
        /// The approver.
        name: String,
        /// Whose it is.
        authors: Vec<String>,
    },
    /// Nothing about it can be approved this way.
    #[error("{0}")]
    Cannot(String),
    /// It was not recorded.
    #[error("the approval was not recorded: {0}")]
    Record(RecordError),
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RecordError> for ApprovingError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Store(error) => ApprovingError::Store(error),
            other => ApprovingError::Record(other),
        }
    }
}

impl ApprovingError {
    /// As a finding.
    pub fn finding(&self) -> Finding {
        let (code, hint) = match self {
            ApprovingError::Store(error) => return error.finding(),
            ApprovingError::NoDigest(_) | ApprovingError::NoSuchPlan(_) | ApprovingError::Damaged { .. } => (
                Code::NoSuchPlan,
                "`argus apply` keeps what it holds, and `argus get held` lists what waits; a plan that has changed since \
                 has another digest",
            ),
            ApprovingError::Ambiguous { .. } => (Code::NoSuchPlan, "give more of its digits"),
            ApprovingError::Unverified(_) => (
                Code::UnverifiedIdentity,
                "the settings of the machine (--config FILE) list under `approvers` who may approve; log in with your \
                 own database role, or sign what `argus approve DIGEST --statement` prints",
            ),
            ApprovingError::Own { .. } => (Code::CannotApprove, "let somebody else approve it"),
            ApprovingError::Cannot(_) => (Code::CannotApprove, "`argus approve --help` tells how"),
            ApprovingError::Record(RecordError::NotHeld) => {
                (Code::NoSuchPlan, "it was applied or has changed since; `argus get held` lists what waits")
            }
            ApprovingError::Record(_) => (Code::CannotApprove, "`argus get approvals` lists what was recorded"),
        };
        Finding::error(code, self.to_string()).hint(hint)
    }
}

/// Whether a text may be a digest, or the beginning of one.
pub fn is_digest(text: &str) -> bool {
    (DIGEST_DIGITS_MIN..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The plan of one organization, or all that one run held: whatever is held under a digest that begins so.
pub async fn find(
    approving: &mut Approving,
    approvers: &Approvers,
    begins: &str,
    organization: Option<&str>,
) -> Result<Vec<Waiting>, ApprovingError> {
    if !is_digest(begins) {
        return Err(ApprovingError::NoDigest(inert::line(begins)));
    }
    let held = approving.held(begins, organization).await?;
    let own = held.iter().map(|plan| &plan.plan_digest);
    let meant: BTreeSet<&String> =
        own.chain(held.iter().flat_map(|plan| &plan.run_digests)).filter(|digest| digest.starts_with(begins)).collect();
    let digest = match meant.len() {
        0 => return Err(ApprovingError::NoSuchPlan(begins.into())),
        1 => meant.into_iter().next().cloned().unwrap_or_default(),
        _ => {
            let digests = meant.into_iter().take(10).cloned().collect();
            return Err(ApprovingError::Ambiguous { begins: begins.into(), digests });
        }
    };
    let held: Vec<HeldPlan> =
        held.into_iter().filter(|plan| plan.plan_digest == digest || plan.run_digests.contains(&digest)).collect();
    let mut waiting = waiting(approving, approvers, newest(held)).await?;
    waiting.sort_by(|a, b| a.plan.organization.cmp(&b.plan.organization));
    Ok(waiting)
}

/// The same plan may have been held by other rules before: of those that come with the newest first, the newest rules
/// count. Whose doing it was then it still is.
fn newest(held: Vec<HeldPlan>) -> Vec<HeldPlan> {
    let mut newest: Vec<HeldPlan> = Vec::new();
    let mut at: BTreeMap<PlanKey, usize> = BTreeMap::new();
    for plan in held {
        match at.get(&(plan.organization.clone(), plan.plan_digest.clone())) {
            Some(at) => newest[*at].authors.extend(plan.authors),
            None => {
                at.insert((plan.organization.clone(), plan.plan_digest.clone()), newest.len());
                newest.push(plan);
            }
        }
    }
    newest
}

/// How far what holds some plans is lifted by now.
pub async fn waiting(
    approving: &mut Approving,
    approvers: &Approvers,
    plans: Vec<HeldPlan>,
) -> Result<Vec<Waiting>, StoreError> {
    let of: Vec<PlanKey> = plans.iter().map(|plan| (plan.organization.clone(), plan.plan_digest.clone())).collect();
    let approvals = by_others(&approving.open_approvals(&of).await?, approvers);
    let now = approving.now;
    let waiting = plans.into_iter().map(|plan| {
        let bound =
            Bound { plan_digest: &plan.plan_digest, rules_digest: &plan.rules_digest, authors: &plan.authors, now };
        let held = plan.holds.iter().map(|hold| Held::new(hold.clone(), &approvals, &bound)).collect();
        Waiting { plan, held }
    });
    Ok(waiting.collect())
}

/// Fails if one of these plans is their own.
pub fn refuse_own(approver: &Approver, plans: &[Waiting]) -> Result<(), ApprovingError> {
    match plans.iter().find(|each| approver.is_among(&each.plan.authors)) {
        None => Ok(()),
        Some(own) => Err(ApprovingError::Own {
            organization: own.plan.organization.to_string(),
            name: approver.name.clone(),
            authors: own.plan.authors.iter().map(|author| inert::line(author)).collect(),
        }),
    }
}

/// What is known of an approval, for a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The approval.
    pub given: Given,
    /// Whose it is, or why that is not known.
    pub by: Result<String, Unverified>,
    /// Whether it is of a plan of theirs.
    pub own: bool,
}

/// The newest approvals, whatever became of them.
pub async fn list(
    approving: &mut Approving,
    approvers: &Approvers,
    which: &Which<'_>,
) -> Result<Vec<Listed>, StoreError> {
    let given = approving.given(which).await?;
    let authors = approving.authors(&given).await?;
    let database = approving.database.clone();
    let listed = given.into_iter().map(|given| {
        let verified = approvers.verify(&given, &database);
        let own = verified.as_ref().is_ok_and(|approval| {
            authors.get(&given.plan()).is_some_and(|authors| approval.approver.is_among(authors))
        });
        Listed { by: verified.map(|approval| approval.approver.name), own, given }
    });
    Ok(listed.collect())
}
