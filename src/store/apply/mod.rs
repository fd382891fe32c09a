//! Applying: an approved plan of one organization, carried out in one transaction, exactly and wholly or not at all.

use super::Store;
use super::error::ApplyError;
use super::run::RunId;
use crate::guard::Approved;

/// Who applies what for.
#[derive(Clone, Copy, Debug)]
pub struct ApplyContext<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Who started it.
    pub actor: &'a str,
    /// The source.
    pub source: &'a str,
    /// The organization's version when its rows were read for this plan. Only if nobody has written in between can
    /// the pass be remembered as settled; with none it is not.
    pub read_at: Option<i64>,
}

/// What applying an organization came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The organization's version afterwards.
    pub version: i64,
    /// Whether the pass was remembered as settled.
    pub settled: bool,
    /// How many tries it took.
    pub attempts: u32,
}

impl Store {
    /// Carries out an approved plan.
    pub async fn apply(&self, approved: &Approved, context: &ApplyContext<'_>) -> Result<Outcome, ApplyError> {
        let _ = (&self.pool, context);
        let organization = approved.plan().organization.to_string();
        Err(ApplyError::BadPlan { organization, why: "unfinished".into() })
    }
}
