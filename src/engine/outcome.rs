//! What an apply did: how every organization of the plan ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::plan::{Plan, Summary};
use crate::store::error::ApplyError;
use crate::verdict::{Approved, Held, Told, Verdict};

/// Why an organization was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// An error in what describes it.
    Blocked,
    /// The database refused it, or could not be reached.
    Failed,
    /// A row that it touches has moved since the plan.
    Stale,
    /// A policy denies it.
    Denied,
    /// People have to agree first.
    Held,
    /// A brake is on.
    Stopped,
    /// The source only observes.
    Observed,
}

impl Refusal {
    /// In one word, for the history.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Blocked => "blocked",
            Refusal::Failed => "failed",
            Refusal::Stale => "stale",
            Refusal::Denied => "denied",
            Refusal::Held => "held",
            Refusal::Stopped => "stopped",
            Refusal::Observed => "observed",
        }
    }
}

/// What an apply did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run.
    pub run: String,
    /// The organizations that were applied, with their plans, by name.
    pub applied: BTreeMap<Arc<str>, Approved>,
    /// The others, and why.
    pub refused: BTreeMap<Arc<str>, (Refusal, Vec<Finding>)>,
    /// What lifts the holds of those that are held.
    pub held: BTreeMap<Arc<str>, Vec<Held>>,
    /// Whether the commit does not lead on from what was applied, and nobody has insisted: it does not count as applied.
    pub is_rewound: bool,
}

impl Outcome {
    /// What is certain before anything is written. `unkept` tells which plans that are held cannot be approved.
    pub fn new(run: &str, verdict: &Verdict, mut unkept: BTreeMap<Arc<str>, Finding>) -> Self {
        let Told { rules_digest: _, held, denied, stopped, blocked, warned: _ } = &verdict.told;
        let mut refused = BTreeMap::new();
        for (refusal, why) in [(Refusal::Blocked, blocked), (Refusal::Denied, denied)] {
            refused.extend(why.iter().map(|(name, why)| (name.clone(), (refusal, why.clone()))));
        }
        // A source that observes does what it should.
        let stop = |why: &[Finding]| match why.iter().any(|finding| finding.code == Code::Observing) {
            true => Refusal::Observed,
            false => Refusal::Stopped,
        };
        refused.extend(stopped.iter().map(|(name, why)| (name.clone(), (stop(why), why.clone()))));
        refused.extend(held.iter().map(|(name, holds)| {
            let reasons = holds.iter().map(|hold| hold.finding.clone()).chain(unkept.remove(name));
            (name.clone(), (Refusal::Held, reasons.collect()))
        }));
        Outcome { run: run.into(), applied: BTreeMap::new(), refused, held: held.clone(), is_rewound: false }
    }

    /// Refuses those that were let through only together with what all organizations share, and gives the others.
    pub fn hold_back(&mut self, approved: Vec<Approved>) -> Vec<Approved> {
        let mut others = Vec::with_capacity(approved.len());
        for approved in approved {
            match approved.waits() {
                Some(why) => {
                    let name = approved.plan().organization.clone();
                    self.refused.insert(name, (Refusal::Stopped, vec![why]));
                }
                None => others.push(approved),
            }
        }
        others
    }

    /// How one organization ended.
    pub fn note(&mut self, approved: Approved, result: Result<(), ApplyError>) {
        let name = approved.plan().organization.clone();
        match result {
            Ok(()) => {
                self.applied.insert(name, approved);
            }
            Err(error) => {
                let refusal = match error.code() {
                    Code::Stale => Refusal::Stale,
                    Code::Suspended => Refusal::Stopped,
                    // People have to agree anew.
                    Code::ApprovalGone => Refusal::Held,
                    _ => Refusal::Failed,
                };
                // Whoever asked for the apply tells it as a finding.
                tracing::info!(organization = %name, %error, "organization {name} was not applied");
                self.refused.insert(name.clone(), (refusal, vec![error.finding().about(name)]));
            }
        }
    }

    /// The worst that happened, if anything did.
    pub fn worst(&self) -> Option<Refusal> {
        self.refused.values().map(|(refusal, _)| *refusal).min()
    }

    /// The outcome in one word, for the history.
    pub fn word(&self) -> &'static str {
        match (self.worst(), self.applied.is_empty()) {
            (None, _) if self.is_rewound => Refusal::Held.word(),
            (None, _) => "succeeded",
            (Some(worst), true) => worst.word(),
            (Some(_), false) => "partial",
        }
    }

    /// How many resources were written.
    pub fn summary(&self) -> Summary {
        Plan::count(self.applied.values().map(Approved::plan))
    }
}
