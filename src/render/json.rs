//! Reports for programs: versioned JSON with a schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::finding::Finding;
use crate::model::kind::KindId;
use crate::model::value::Value;
use crate::plan::{Plan, Summary};
use crate::render::inert;
use crate::verdict::{Terms, Told};

/// The version of the JSON of findings.
pub const FINDINGS_FORMAT: u32 = 1;

/// The version of the JSON of an outcome.
pub const OUTCOME_FORMAT: u32 = 1;

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
    /// The organizations that were not, and why.
    pub not_applied: BTreeMap<String, Vec<Finding>>,
}

/// Several of one sort: the rows of `get -o json` (`argus.rows`), its runs (`argus.runs`) and suspensions
/// (`argus.suspensions`), and what `history --format json` tells (`argus.history`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListDocument<T> {
    /// What is listed: `argus.rows`, `argus.runs`, `argus.suspensions` or `argus.history`.
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
