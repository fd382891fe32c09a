//! Reports for programs: versioned JSON with a schema.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::finding::Finding;
use crate::model::kind::KindId;
use crate::model::value::Value;
use crate::plan::{Plan, Summary};
use crate::policy::judgement::{Answer, Hold};
use crate::render::inert;
use crate::verdict::{Held, Terms, Told};

/// The version of the JSON of findings.
pub const FINDINGS_FORMAT: u32 = 1;

/// The version of the JSON of an outcome.
pub const OUTCOME_FORMAT: u32 = 1;

/// The version of the JSON of a judgement.
pub const JUDGEMENT_FORMAT: u32 = 1;

/// The version of the JSON of lists.
pub const LIST_FORMAT: u32 = 1;

/// A plan as `plan --format json` prints it and `plan -o` saves it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlanDocument {
    /// Always `argus.plan`.
    pub document: String,
    /// The SHA-256 of the plan, its terms and its verdict, so that a damaged file is not taken for a plan.
    pub seal: String,
    /// How much would change.
    pub summary: Summary,
    /// What was said of it when it was made; it is judged again before it is applied.
    pub verdict: Told,
    /// The terms that it was made under; it is judged by them wherever it is applied.
    pub terms: Terms,
    /// The folder of the policies that judged it, `none`, or null where nobody had said anything.
    pub policies: Option<String>,
    /// The plan.
    pub plan: Plan,
}

/// The findings of `validate`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FindingsDocument {
    /// Always `argus.findings`.
    pub document: String,
    /// The version of this form.
    pub format: u32,
    /// How many files were read.
    pub files: usize,
    /// How many resources they hold.
    pub resources: usize,
    /// What was found, by place.
    pub findings: Vec<Finding>,
}

/// What an apply did, as `apply --format json` prints it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeDocument {
    /// Always `argus.outcome`.
    pub document: String,
    /// The version of this form.
    pub format: u32,
    /// The run.
    pub run: String,
    /// The digest of the plan.
    pub plan: String,
    /// How many resources were written.
    pub summary: Summary,
    /// The organizations that were applied.
    pub applied: Vec<String>,
    /// Whoever agreed with those of them that were held, by organization.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approved_by: BTreeMap<String, BTreeSet<String>>,
    /// The organizations that were not, and why.
    pub not_applied: BTreeMap<String, Vec<Finding>>,
    /// Those of them that wait for people, by organization.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, HeldOutcome>,
}

/// An organization that waits for people.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldOutcome {
    /// The digest of its plan, which `argus approve` takes.
    pub plan: String,
    /// Why it is held, what lifts that, and who agrees.
    pub held: Vec<Held>,
}

/// What policies say of one input, as `policy eval --format json` prints it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JudgementDocument {
    /// Always `argus.judgement`.
    pub document: String,
    /// The version of this form.
    pub format: u32,
    /// The organization; empty for what all share.
    pub organization: String,
    /// Why the plan is refused.
    pub denials: Vec<Finding>,
    /// Why it is held, and what lifts each hold.
    pub holds: Vec<Hold>,
    /// What somebody should look at, and which denials are excused.
    pub warnings: Vec<Finding>,
    /// What each rule said, by its name in a query: `{"value": ...}`, `"undefined"` or `{"error": "..."}`.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub answers: BTreeMap<String, Answer>,
}

/// Several of one sort: the rows of `get -o json` (`argus.rows`), its sources (`argus.sources`), what
/// waits for the controller (`argus.work`), runs (`argus.runs`), suspensions (`argus.suspensions`), plans that wait (`argus.held`) and approvals (`argus.approvals`), and what `history --format
/// json` tells (`argus.history`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListDocument<T> {
    /// What is listed, as named above.
    pub document: String,
    /// The version of this form.
    pub format: u32,
    /// The items.
    pub items: Vec<T>,
}

impl<T> ListDocument<T> {
    /// A list of the items of this document name.
    pub fn new(document: &str, items: Vec<T>) -> Self {
        ListDocument { document: document.into(), format: LIST_FORMAT, items }
    }
}

/// A live resource.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RowItem {
    /// The kind.
    pub kind: KindId,
    /// The organization; empty for what all share.
    pub organization: String,
    /// The name; a member's is the email address.
    pub name: String,
    /// The version of the row.
    pub version: i64,
    /// Every stored field, by path.
    pub spec: Value,
}

/// A plan that waits for people.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldItem {
    /// The organization; empty for what all share.
    pub organization: String,
    /// The digest of its plan.
    pub plan: String,
    /// The digest of the rules that hold it.
    pub rules: String,
    /// The digests of the plans of the runs that held it, the newest first.
    pub run_plans: Vec<String>,
    /// The source.
    pub source: String,
    /// The run that held it last.
    pub run: String,
    /// Who started that run.
    pub actor: String,
    /// Whose doing it is, by all names, lower case: none of them approves it.
    pub authors: BTreeSet<String>,
    /// When that run held it.
    #[schemars(with = "String")]
    pub held_at: DateTime<Utc>,
    /// Why it is held, what lifts that, and who agrees.
    pub held: Vec<Held>,
}

/// An approval.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalItem {
    /// Its number.
    pub id: i64,
    /// The organization; empty for what all share.
    pub organization: String,
    /// The digest of its plan.
    pub plan: String,
    /// The digest of the rules that held it.
    pub rules: String,
    /// Whoever gave it, as far as the settings of this machine can tell.
    pub approver: Option<String>,
    /// Why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified: Option<String>,
    /// How it was given: `role` or `signature`.
    pub way: String,
    /// The database role that recorded it.
    pub role: String,
    /// When it was recorded.
    #[schemars(with = "String")]
    pub at: DateTime<Utc>,
    /// When it ends.
    #[schemars(with = "String")]
    pub expires_at: DateTime<Utc>,
    /// `open`; or why it counts no more or not at all: `used`, `revoked`, `ended`, `unverified`, `own`.
    pub state: String,
    /// The run that used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
    /// The database role that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// What was said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The document name of a plan.
pub const PLAN_DOCUMENT: &str = "argus.plan";

/// A plan as a document.
pub fn plan_document(plan: &Plan, terms: &Terms, policies: Option<&str>, told: &Told) -> PlanDocument {
    PlanDocument {
        document: PLAN_DOCUMENT.into(),
        seal: seal(plan, terms, policies, told),
        summary: plan.summary(),
        verdict: told.clone(),
        terms: terms.clone(),
        policies: policies.map(str::to_owned),
        plan: plan.clone(),
    }
}

/// A plan as a document that is printed: without secrets that stand in rows. One that shows all there is is the same
/// as the saved one.
pub fn shown_plan_document(plan: &Plan, terms: &Terms, policies: Option<&str>, told: &Told) -> PlanDocument {
    PlanDocument { plan: inert::plan(plan), ..plan_document(plan, terms, policies, told) }
}

/// The SHA-256 of all of a plan, of the terms that it was made under and of what was said of it.
fn seal(plan: &Plan, terms: &Terms, policies: Option<&str>, told: &Told) -> String {
    crate::plan::sha256_hex(serde_json::to_string(&(terms, policies, told, plan)).unwrap_or_default().as_bytes())
}

/// A document as indented JSON with a line end.
pub fn pretty(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}

/// The JSON Schema of a document.
pub fn schema<T: JsonSchema>() -> String {
    pretty(&schemars::schema_for!(T))
}
