//! The fields of an event, as conditions and templates name them: its attributes, and what it carries.

use serde_json::Value as Json;

use super::{Condition, Priority};
use crate::event::cloud::Event;

/// The most values of one field that are looked at.
const VALUES_MAX: usize = 1_000;

/// The fields of an event.
#[derive(Debug)]
pub struct Fields<'a> {
    event: &'a Event,
    content: &'a Json,
    priority: Priority,
}

/// How much an event matters by its type, where it does not say so itself.
fn severity(of: &str) -> &'static str {
    match of {
        "run.failed" | "source.stalled" | "plan.denied" => "error",
        "drift.detected" | "plan.held" | "resource.deleted" => "warning",
        _ => "info",
    }
}

impl<'a> Fields<'a> {
    /// Those of an event that a rule of this priority has told.
    pub fn new(event: &'a Event, content: &'a Json, priority: Priority) -> Fields<'a> {
        Fields { event, content, priority }
    }

    /// An attribute of the event itself.
    fn attribute(&self, name: &str) -> Option<String> {
        Some(match name {
            "type" => self.event.of.clone(),
            "subject" => self.event.subject.clone(),
            "organization" => self.event.organization.clone(),
            "time" => self.event.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "id" => self.event.id.clone(),
            "priority" => self.priority.word().into(),
            "severity" if self.content.get("severity").is_none() => severity(&self.event.of).into(),
            _ => return None,
        })
    }

    /// The values of a field: none where there is none, several where the way leads through a list.
    pub fn values(&self, name: &str) -> Vec<Json> {
        if let Some(attribute) = self.attribute(name) {
            return vec![Json::String(attribute)];
        }
        let mut found = vec![self.content];
        for step in name.split('.') {
            let mut next = Vec::new();
            for value in found {
                match value {
                    Json::Object(fields) => next.extend(fields.get(step)),
                    Json::Array(items) => match step.parse::<usize>() {
                        Ok(at) => next.extend(items.get(at)),
                        Err(_) => next.extend(items.iter().filter_map(|item| item.get(step))),
                    },
                    _ => {}
                }
            }
            next.truncate(VALUES_MAX);
            found = next;
        }
        let flat = found.into_iter().flat_map(|value| match value {
            Json::Array(items) => items.iter().take(VALUES_MAX).collect(),
            other => vec![other],
        });
        flat.filter(|value| !value.is_null()).take(VALUES_MAX).cloned().collect()
    }

    /// Whether a condition is fulfilled. A field that is not there equals nothing.
    pub fn fulfil(&self, condition: &Condition) -> bool {
        let Condition { field, operator, value: wanted } = condition;
        let values = self.values(field);
        let compared = |fits: fn(f64, f64) -> bool| {
            let Some(wanted) = number(wanted) else { return false };
            values.iter().any(|value| number(&plain(value)).is_some_and(|value| fits(value, wanted)))
        };
        match operator.as_deref().unwrap_or("equals") {
            "equals" => values.iter().any(|value| equal(value, wanted)),
            "notEquals" => !values.iter().any(|value| equal(value, wanted)),
            "contains" => values.iter().any(|value| plain(value).contains(wanted.as_str())),
            "atLeast" => compared(|value, wanted| value >= wanted),
            "atMost" => compared(|value, wanted| value <= wanted),
            // Written by SQL: what nobody understands is not fulfilled.
            _ => false,
        }
    }
}

/// A value as text: text as it is, everything else as JSON.
pub fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether this is what a condition names: numbers as numbers, everything else as text.
fn equal(value: &Json, wanted: &str) -> bool {
    let as_text = plain(value) == wanted;
    as_text || (value.is_number() && number(&plain(value)).is_some_and(|value| number(wanted) == Some(value)))
}

/// A finite number in decimal.
pub fn number(text: &str) -> Option<f64> {
    let digits = text.trim();
    let decimal = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    digits.parse::<f64>().ok().filter(|number| decimal && number.is_finite())
}
