//! The digest of what a source says of one organization: equal digests need no second look.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::model::state::Desired;
use crate::plan::PLAN_FORMAT;

/// A digest of everything that a comparison depends on, beside the rows: resources, rules, files, this version.
pub fn of(desired: &Desired, correct_drift: bool) -> String {
    let mut hasher = Hasher(Sha256::new());
    hasher.text(env!("CARGO_PKG_VERSION"));
    hasher.number(u64::from(PLAN_FORMAT));
    hasher.number(u64::from(correct_drift));
    for resource in &desired.resources {
        hasher.text(resource.kind().name);
        hasher.text(&resource.id.name);
        hasher.text(resource.previous_name.as_deref().unwrap_or_default());
        hasher.text(&resource.origin.file);
        hasher.number(resource.spec.entries().len() as u64);
        for entry in resource.spec.entries() {
            hasher.text(resource.kind().fields[entry.field as usize].path);
            // Writing into a hash cannot fail, and a value is always JSON.
            let _ = serde_json::to_writer(&mut hasher, &entry.value);
            hasher.number(0);
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
    hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Hasher(Sha256);

impl Hasher {
    /// Text with its length before it, so that no two sequences of texts look the same.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
