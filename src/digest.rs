//! The digest of what a source says of one organization: equal digests need no second look.

use sha2::{Digest as _, Sha256};

use crate::model::state::Desired;
use crate::model::value::Value;
use crate::plan::PLAN_FORMAT;

/// A digest of what is said: resources and rules, wherever they stand.
pub fn said(desired: &Desired) -> String {
    let mut hasher = Hasher(Sha256::new());
    for resource in &desired.resources {
        hasher.text(resource.kind().name);
        hasher.text(&resource.id.name);
        hasher.text(resource.previous_name.as_deref().unwrap_or_default());
        hasher.number(resource.spec.entries().len() as u64);
        for entry in resource.spec.entries() {
            hasher.text(resource.kind().fields[entry.field as usize].path);
            hasher.value(&entry.value);
        }
    }
    for kind in &desired.authoritative {
        hasher.text(kind.get().name);
    }
    for rule in &desired.ignore {
        hasher.text(rule.kind.get().name);
        hasher.text(&rule.name);
        rule.fields.iter().for_each(|field| hasher.text(field));
        hasher.number(0);
    }
    hasher.end()
}

/// A digest of where it is said: ownership records tell it.
pub fn places(desired: &Desired) -> String {
    let mut hasher = Hasher(Sha256::new());
    desired.resources.iter().for_each(|resource| hasher.text(&resource.origin.file));
    hasher.end()
}

/// A digest of everything that a comparison depends on, beside the rows: what is said, where, and this version.
pub fn of(said: &str, places: &str, correct_drift: bool) -> String {
    let mut hasher = Hasher(Sha256::new());
    hasher.text(env!("CARGO_PKG_VERSION"));
    hasher.number(u64::from(PLAN_FORMAT));
    hasher.number(u64::from(correct_drift));
    hasher.text(said);
    hasher.text(places);
    hasher.end()
}

struct Hasher(Sha256);

impl Hasher {
    fn end(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Text with its length before it, so that no two sequences of texts look the same.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    /// A value with its type before it.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.update([0]),
            Value::Bool(yes) => self.0.update([1, u8::from(*yes)]),
            Value::Int(number) => {
                self.0.update([2]);
                self.0.update(number.to_le_bytes());
            }
            Value::Float(number) => {
                self.0.update([3]);
                self.0.update(number.to_bits().to_le_bytes());
            }
            Value::Text(text) => {
                self.0.update([4]);
                self.text(text);
            }
            Value::List(items) => {
                self.0.update([5]);
                self.number(items.len() as u64);
                items.iter().for_each(|item| self.value(item));
            }
            Value::Map(pairs) => {
                self.0.update([6]);
                self.number(pairs.len() as u64);
                for (key, value) in pairs {
                    self.text(key);
                    self.value(value);
                }
            }
        }
    }
}
