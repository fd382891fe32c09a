//! Policies: the rules that a folder holds, what they are told (the input document) and what their answers mean.
//!
//! Rego itself is evaluated elsewhere, in a process that may die; here stand the words for it.

pub mod input;
pub mod judgement;
pub mod rule;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::plan::sha256_hex;

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes in all files together.
pub const TOTAL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most files.
pub const FILES_MAX: usize = 1_000;

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

/// What is too large or too much to be looked at.
pub fn oversized(files: &[PolicyFile]) -> Vec<Finding> {
    let too_large = files.iter().filter(|file| file.text.len() > FILE_BYTES_MAX).map(|file| {
        let message = format!("the file has more than {} KiB", FILE_BYTES_MAX / 1024);
        Finding::error(Code::BadPolicy, message).at(Origin::file(&file.path)).hint("split it")
    });
    let mut findings: Vec<Finding> = too_large.collect();
    let total: usize = files.iter().map(|file| file.text.len()).sum();
    if findings.is_empty() && total > TOTAL_BYTES_MAX {
        let message = format!("the policies have more than {} MiB together", TOTAL_BYTES_MAX / 1024 / 1024);
        findings.push(Finding::error(Code::BadPolicy, message));
    }
    if files.len() > FILES_MAX {
        findings.push(Finding::error(Code::BadPolicy, format!("there are more than {FILES_MAX} files of policies")));
    }
    findings
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
