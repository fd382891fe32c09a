//! The manifest of an export: what the file beside it holds, so that a line that is missing is missed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Hash, as_hex};

/// What the document is called.
pub const DOCUMENT: &str = "argus.audit.export";

/// The version of this form.
pub const FORMAT: u32 = 1;

/// Of so many organizations the ends are listed; those of more are only counted.
pub const ORGANIZATIONS_MAX: usize = 10_000;

/// The longest manifest.
pub const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A line of JSON for each.
    Ndjson,
    /// CSV.
    Csv,
}

/// What a file holds of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The sequence of its first row.
    pub first: i64,
    /// The sequence of its last row.
    pub last: i64,
    /// How many rows.
    pub rows: u64,
    /// The link of the last row.
    #[serde(with = "as_hex")]
    pub hash: Hash,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`DOCUMENT`].
    pub document: String,
    /// [`FORMAT`].
    pub format: u32,
    /// How the rows are written.
    pub form: Form,
    /// The id of the database.
    pub database: String,
    /// When it was made, by the clock of the database.
    pub at: String,
    /// The fingerprint of the key that signs it; none if it is not signed.
    pub key: Option<String>,
    /// What restricted the rows.
    pub filters: BTreeMap<String, String>,
    /// Whether each chain is there without gaps.
    pub contiguous: bool,
    /// How many rows there are.
    pub rows: u64,
    /// How many rows were not yet sealed, and so left out.
    pub unsealed: u64,
    /// The SHA-256 of the file.
    #[serde(with = "as_hex")]
    pub sha256: Hash,
    /// How many organizations there are.
    pub organization_count: u64,
    /// What there is of each; empty where they are too many.
    pub organizations: BTreeMap<String, Part>,
}

impl Manifest {
    /// As text.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads it.
    pub fn read(text: &str) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match (manifest.document.as_str(), manifest.format) {
            (DOCUMENT, FORMAT) => Ok(manifest),
            (DOCUMENT, format) => Err(format!("it is of format {format}, and this Argus knows {FORMAT}")),
            _ => Err("it is no manifest of an export".into()),
        }
    }
}
