//! Policies: the rules that a folder holds, what they are told (the input document) and what their answers mean.
//!
//! Rego itself is evaluated elsewhere, in a process that may die; here stand the words for it.

pub mod input;
pub mod judgement;
pub mod rule;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plan::sha256_hex;

/// One file of Rego.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFile {
    /// Its path, as findings show it.
    pub path: Arc<str>,
    /// What it holds.
    pub text: String,
}

impl PolicyFile {
    /// Whether it holds tests, which judge nothing.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("_test.rego")
    }
}

/// The digest of what judges: every byte of every file that is no test, and the terms of the source.
pub fn rules_digest(files: &[PolicyFile], terms: &impl Serialize) -> String {
    let mut judging: Vec<(&str, String)> = files
        .iter()
        .filter(|file| !file.is_test())
        .map(|file| (&*file.path, sha256_hex(file.text.as_bytes())))
        .collect();
    judging.sort();
    let bound = (input::INPUT_VERSION, judging, terms);
    sha256_hex(serde_json::to_string(&bound).unwrap_or_default().as_bytes())
}
