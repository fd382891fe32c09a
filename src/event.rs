//! Events: what a program elsewhere is told of what has happened. A type of event is one line in [`TYPES`]; what it may
//! carry is the fields of its content, and nothing else ever leaves.

pub mod cloud;
pub mod content;
pub mod people;
pub mod telling;

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use content::{DriftIgnored, HeadTold, PlanTold, ResourceTold, RunTold, SourceTold};

/// Which stream of events a type belongs to. A sink with topics has one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What was written.
    Audit,
    /// What is not as it should be.
    Drift,
    /// What runs and sources came to.
    Runs,
    /// What budgets came to.
    Budgets,
}

impl Topic {
    /// All topics.
    pub const ALL: &'static [Topic] = &[Topic::Audit, Topic::Drift, Topic::Runs, Topic::Budgets];

    /// Its name: `argus.` and this is what it is called on a broker, if nothing else is set.
    pub fn word(self) -> &'static str {
        match self {
            Topic::Audit => "audit",
            Topic::Drift => "drift",
            Topic::Runs => "runs",
            Topic::Budgets => "budgets",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A type of event.
#[derive(Debug)]
pub struct EventType {
    /// `resource.created`: an area and what happened there. Rules of notifications match it.
    pub name: &'static str,
    /// Where it belongs.
    pub topic: Topic,
    /// One sentence.
    pub about: &'static str,
    /// The form of what it carries.
    pub content: fn(&mut SchemaGenerator) -> Schema,
}

/// What stands before the name of a type on the wire.
const PREFIX: &str = "io.argus.";

impl EventType {
    /// The type of this name.
    pub fn named(name: &str) -> Option<&'static EventType> {
        TYPES.iter().find(|of| of.name == name).copied()
    }

    /// Its name on the wire, where types of many programs meet.
    pub fn on_the_wire(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// The name of its schema. The number grows when a reader of the old form would misread the new one.
    pub fn schema(&self) -> String {
        format!("urn:argus:event:{}:1", self.name)
    }
}

/// Whether a pattern of a rule means this type: `key.*`, `budget.exceeded`, `*`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => pattern == name,
        Some(area) => name.starts_with(area),
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.root_schema_for::<T>()
}

macro_rules! types {
    ($($constant:ident = $name:literal, $topic:ident, $content:ty, $about:literal;)*) => {
        $(#[doc = $about] pub static $constant: EventType =
            EventType { name: $name, topic: Topic::$topic, about: $about, content: of::<$content> };)*

        /// All types of events.
        pub static TYPES: &[&EventType] = &[$(&$constant),*];
    };
}

types! {
    RESOURCE_CREATED = "resource.created", Audit, ResourceTold, "A resource has come into being.";
    RESOURCE_UPDATED = "resource.updated", Audit, ResourceTold, "Fields of a resource have changed.";
    RESOURCE_DELETED = "resource.deleted", Audit, ResourceTold, "A resource is gone.";
    RESOURCE_ADOPTED = "resource.adopted", Audit, ResourceTold, "A resource that existed is managed from now on.";
    RESOURCE_RELEASED = "resource.released", Audit, ResourceTold, "A resource is no longer managed, and stays.";
    AUDIT_HEAD = "audit.head", Audit, HeadTold, "The end of an organization's audit chain was signed.";
    DRIFT_DETECTED = "drift.detected", Drift, ResourceTold,
        "Somebody has changed a resource elsewhere, and it was left so.";
    DRIFT_CORRECTED = "drift.corrected", Drift, ResourceTold,
        "What somebody had changed elsewhere is again as it is described.";
    DRIFT_RESOLVED = "drift.resolved", Drift, ResourceTold, "Drift that was told of is there no more.";
    DRIFT_IGNORED = "drift.ignored", Drift, DriftIgnored, "A rule leaves something out of comparison.";
    PLAN_HELD = "plan.held", Runs, PlanTold, "The plan of an organization waits until people agree.";
    PLAN_APPROVED = "plan.approved", Runs, PlanTold, "Somebody has approved the plan of an organization.";
    PLAN_DENIED = "plan.denied", Runs, PlanTold, "The policies deny the plan of an organization.";
    RUN_SUCCEEDED = "run.succeeded", Runs, RunTold, "A run has done all that it was to do.";
    RUN_FAILED = "run.failed", Runs, RunTold, "A run could not do all that it was to do.";
    SOURCE_STALLED = "source.stalled", Runs, SourceTold, "A source cannot be read or trusted: nothing of it is applied.";
    SOURCE_RECOVERED = "source.recovered", Runs, SourceTold, "A source that was stalled is read again.";
}

/// Something to be told of, before the database has given it its place among the organization's events.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Its type.
    pub of: &'static str,
    /// What it is about: `Member/ada@acme.example`.
    pub subject: String,
    /// What it carries, as JSON.
    pub content: String,
}

impl Draft {
    /// An event of this type.
    pub fn new(of: &EventType, subject: impl Into<String>, content: &impl serde::Serialize) -> Draft {
        let content = serde_json::to_string(content).unwrap_or_else(|_| "{}".into());
        let subject: String = subject.into();
        Draft { of: of.name, subject: subject.chars().take(SUBJECT_CHARS_MAX).collect(), content }
    }
}

/// The longest subject.
const SUBJECT_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_one_type_those_of_an_area_or_all() {
        assert!(matches("drift.detected", "drift.detected") && matches("drift.*", "drift.detected"));
        assert!(matches("*", "drift.detected"));
        assert!(!matches("drift.*", "drifting.detected") && !matches("drift.d", "drift.detected"));
    }

    #[test]
    fn names_of_types_are_an_area_and_a_word_and_stand_there_once() {
        let names: std::collections::BTreeSet<_> = TYPES.iter().map(|of| of.name).collect();
        assert_eq!(names.len(), TYPES.len());
        for of in TYPES {
            let (area, word) = of.name.split_once('.').expect("two parts");
            assert!([area, word].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_lowercase())), "{}", of.name);
            assert!(std::ptr::eq(EventType::named(of.name).expect("it is in the table"), *of));
        }
    }
}
