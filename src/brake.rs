//! The brakes: what stops a plan whatever it holds, and no approval lifts. Windows in time, suspensions, and sources
//! that only observe.

mod suspension;
mod windows;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
pub use suspension::{REASON_CHARS_MAX, SUSPENSION_DAYS_MAX, Suspension};
pub use windows::{WINDOWS_MAX, Window, WindowKind, Windows};

/// What a source does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Apply changes and correct drift.
    #[default]
    Enforce,
    /// Apply changes, report drift.
    Apply,
    /// Report only.
    Observe,
}

impl Mode {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Apply => "apply",
            Mode::Observe => "observe",
        }
    }
}

/// The brakes that are on for a source, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Brakes {
    /// What stops every organization.
    pub all: Vec<Stop>,
    /// What stops single ones, by name.
    pub organizations: BTreeMap<OrganizationName, Vec<Stop>>,
}

/// Why nothing is applied now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What to tell.
    pub finding: Finding,
    /// When it ends by itself, where that is known.
    pub until: Option<DateTime<Utc>>,
    /// Whether `--force` passes by it.
    pub yields_to_force: bool,
}

impl Brakes {
    /// What the settings of a source say: its mode and its windows.
    pub fn of_settings(mode: Mode, windows: &Windows, now: DateTime<Utc>) -> Brakes {
        let observing = (mode == Mode::Observe).then(Stop::observing);
        Brakes { all: observing.into_iter().chain(windows.stop(now)).collect(), organizations: BTreeMap::new() }
    }

    /// Adds what stops one organization.
    pub fn stop(&mut self, organization: &OrganizationName, stop: Stop) {
        self.organizations.entry(organization.clone()).or_default().push(stop);
    }

    /// Everything that stops one organization.
    pub fn of(&self, organization: &str) -> impl Iterator<Item = &Stop> {
        self.all.iter().chain(self.organizations.get(organization).into_iter().flatten())
    }
}

impl Stop {
    /// The source still says what was rolled back.
    pub fn rolled_back(organization: &str, run: &str, by_run: &str, at: &str) -> Stop {
        let what = if organization.is_empty() { "what all share".to_owned() } else { format!("`{organization}`") };
        let message = format!(
            "{what} was rolled back at {at} (the run {by_run} took back {run}), and the source still says the same"
        );
        let finding = Finding::warning(Code::RolledBack, message)
            .hint("it is applied again as soon as the source says something else; --force applies it as it is");
        Stop { finding, until: None, yields_to_force: true }
    }

    /// The source only observes.
    fn observing() -> Stop {
        let finding = Finding::note(Code::Observing, "the source only observes: nothing is written")
            .hint("set `mode: apply` or `mode: enforce` in argus.yaml when it is to write");
        Stop { finding, until: None, yields_to_force: false }
    }
}
