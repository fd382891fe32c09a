//! The brakes: what stops a plan whatever it holds, and no approval lifts. Windows in time, suspensions, and sources
//! that only observe.

use chrono::{DateTime, Utc};

use crate::model::finding::Finding;

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
    pub organizations: std::collections::BTreeMap<crate::model::id::OrganizationName, Vec<Stop>>,
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
    /// Everything that stops one organization.
    pub fn of(&self, organization: &str) -> impl Iterator<Item = &Stop> {
        self.all.iter().chain(self.organizations.get(organization).into_iter().flatten())
    }
}

/// When plans may be applied: in an `allow` window, if there are any, and never in a `deny` window.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Windows(pub Vec<Window>);

/// A window in time that comes again and again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Whether plans may or may not be applied in it.
    pub kind: WindowKind,
    /// When it opens: a cron schedule of five fields, in its time zone.
    pub schedule: String,
    /// How long it stays open: `8h`.
    pub duration: String,
    /// The IANA time zone of the schedule.
    #[serde(default = "utc")]
    pub time_zone: String,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// Plans are applied in it and, as soon as there is one such window, only then.
    Allow,
    /// No plan is applied in it.
    Deny,
}

fn utc() -> String {
    "UTC".into()
}
