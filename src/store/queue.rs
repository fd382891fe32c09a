//! The queue of the controller: sources to look at, organizations to work on, and the leases of those who do.
//!
//! `presence` says who is there, `looking` takes sources and puts what has moved into the queue, `working` takes that out of it,
//! `asking` is for whoever wants something to be done, `listed` and `standing` for whoever watches.

mod asking;
pub mod listed;
mod looking;
mod presence;
mod standing;
mod working;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

pub use asking::{Asked, Progress};
pub use looking::{Claim, Found, Look, Moved, SourceState, Sources};
pub use presence::Holder;
pub use standing::{Outcomes, Standing};
pub use working::{AGAIN, Batch, FIGHT_ROUNDS, Item, Settled, Undone};

use super::error::StoreError;
use crate::model::finding::Finding;

/// The most findings that are kept of a source or an organization.
const FINDINGS_MAX: usize = 20;

/// Findings as a column holds them.
fn read_findings(row: &PgRow, column: usize) -> Result<Vec<Finding>, StoreError> {
    let text: String = row.try_get(column)?;
    // What another version has written may look different; that it failed is told all the same.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// The first of some findings, as the columns hold them.
fn some(findings: &[Finding]) -> String {
    let first = &findings[..findings.len().min(FINDINGS_MAX)];
    serde_json::to_string(first).unwrap_or_else(|_| "[]".into())
}
