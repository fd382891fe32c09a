//! A rule of a policy: what its name makes it, and what its METADATA says of it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approval::Need;

/// What a rule's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The plan of the organization is refused.
    Deny,
    /// The plan needs approval.
    Hold,
    /// Somebody should look.
    Warn,
    /// The rules of the same package that it names are excused.
    Exception,
}

impl Sort {
    /// All of them, with the word that a rule's name begins with.
    pub const ALL: &'static [(&'static str, Sort)] =
        &[("deny", Sort::Deny), ("hold", Sort::Hold), ("warn", Sort::Warn), ("exception", Sort::Exception)];

    /// What a rule of this name is: `deny` and `deny_no_wildcard_roles` deny; others only help.
    pub fn of(name: &str) -> Option<Sort> {
        let fits = |word: &str| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        Sort::ALL.iter().find(|(word, _)| fits(word)).map(|(_, sort)| *sort)
    }

    /// The word.
    pub fn word(self) -> &'static str {
        Sort::ALL.iter().find(|(_, sort)| *sort == self).map_or("", |(word, _)| word)
    }
}

/// How much a rule matters, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Tidiness.
    Low,
    /// What one would rather not have.
    Medium,
    /// What does harm.
    High,
    /// What must never happen.
    Critical,
}

/// What the METADATA above a rule says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its id (`custom.id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How much it matters (`custom.severity`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Weight>,
    /// What it is called (`title`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is about (`description`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to do when it speaks (`custom.remediation`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
    /// Who lifts its hold (`custom.approvals`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Need>,
}

/// A rule that has a say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The package, `argus.tiers`.
    pub package: String,
    /// The name, `deny_over_limit`.
    pub name: String,
    /// What its answer means.
    pub sort: Sort,
    /// Whether it collects answers (`contains`) or is one itself.
    pub partial: bool,
    /// Where it begins: the file.
    #[schemars(with = "String")]
    pub file: Arc<str>,
    /// And the line.
    pub line: u32,
    /// What is said of it.
    pub metadata: Metadata,
}

impl Rule {
    /// What people call it: its id, or else package and name.
    pub fn label(&self) -> String {
        self.metadata.id.clone().unwrap_or_else(|| format!("{}.{}", self.package, self.name))
    }

    /// What an exception calls it: `no_wildcard_roles` of `deny_no_wildcard_roles`; empty for a bare `deny`.
    pub fn suffix(&self) -> &str {
        self.name.strip_prefix(self.sort.word()).unwrap_or_default().trim_start_matches('_')
    }
}
