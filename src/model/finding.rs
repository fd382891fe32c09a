//! One thing that a person should know: severity, a stable code, what it is about, where, and what to do.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::origin::Origin;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What it is about cannot go on.
    Error,
    /// It goes on, but somebody should look.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// One thing that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Its stable code; `argus explain` tells more.
    pub code: Code,
    /// The rule of a policy that says it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<String>,
    /// The resource or thing that it is about, as text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// What is the matter, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Finding {
    /// An error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Error,
            code,
            rule: None,
            subject: None,
            origin: None,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(code, message) }
    }

    /// A note.
    pub fn note(code: Code, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Note, ..Finding::error(code, message) }
    }

    /// What it is about.
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// Where it was written.
    pub fn at(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The message, with the rule that says it before it.
    pub fn said(&self) -> Cow<'_, str> {
        match &self.rule {
            Some(rule) => Cow::Owned(format!("{rule}: {}", self.message)),
            None => Cow::Borrowed(&self.message),
        }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The order in which findings are shown: by place, then by code.
    pub fn sort_key(&self) -> (Option<&Origin>, Code, &str) {
        (self.origin.as_ref(), self.code, &self.message)
    }
}

/// Sorts findings by place and drops repetitions.
pub fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    findings.dedup();
    findings
}

/// What a kind's own check finds wrong with one resource.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The field that it points at; empty for the resource as a whole.
    pub field: &'static str,
    /// The code.
    pub code: Code,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

impl Fault {
    /// A fault of one field.
    pub fn new(field: &'static str, code: Code, message: impl Into<String>, hint: &'static str) -> Self {
        Fault { field, code, message: message.into(), hint }
    }
}
