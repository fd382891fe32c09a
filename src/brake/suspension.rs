//! Suspensions: somebody has stopped an organization or a source, for a reason and until a moment.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Brakes, Stop};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::time::parse_time;

/// How far ahead a suspension may end, in days.
pub const SUSPENSION_DAYS_MAX: i64 = 90;

/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// A suspension that is neither lifted nor over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Suspension {
    /// Its number.
    pub id: i64,
    /// The source that is stopped; none for any.
    pub source: Option<String>,
    /// The organization that is stopped; none for all of the source.
    #[schemars(with = "Option<String>")]
    pub organization: Option<OrganizationName>,
    /// Why.
    pub reason: String,
    /// Whom to ask.
    pub owner: String,
    /// When it ends by itself, RFC 3339.
    pub until: String,
    /// When it began, RFC 3339.
    pub created_at: String,
    /// Who began it, as they said.
    pub created_by: String,
    /// The database role that they logged in with.
    pub created_role: String,
}

impl Suspension {
    /// What is stopped, in words.
    pub fn subject(&self) -> String {
        match (&self.organization, &self.source) {
            (Some(organization), None) => format!("`{organization}`"),
            (Some(organization), Some(source)) => format!("`{organization}` of the source `{source}`"),
            (None, source) => format!("the source `{}`", source.as_deref().unwrap_or_default()),
        }
    }

    /// As what stops a plan.
    pub fn stop(&self) -> Stop {
        let Suspension { reason, owner, until, .. } = self;
        let message = format!("{} is suspended until {until}: {reason}", self.subject());
        let what = match (&self.organization, &self.source) {
            (Some(organization), _) => organization.to_string(),
            (None, source) => format!("--all --source {}", source.as_deref().unwrap_or_default()),
        };
        let finding = Finding::warning(Code::Suspended, message)
            .hint(format!("{owner} knows more; `argus resume {what}` ends it before its time"));
        Stop { finding, until: parse_time(until).ok(), yields_to_force: false }
    }
}

impl Brakes {
    /// Adds what a suspension stops.
    pub fn suspend(&mut self, suspension: &Suspension) {
        match &suspension.organization {
            None => self.all.push(suspension.stop()),
            Some(organization) => self.stop(organization, suspension.stop()),
        }
    }
}
