//! What it takes to get into a repository and to judge it: passwords, keys, lists of signers. Each is small, and stands in a file
//! of this machine or was given with the source. What was given is in memory alone, and is never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::model::code::Code;
use crate::model::finding::Finding;

/// The most bytes of one.
pub const BYTES_MAX: usize = 1024 * 1024;

/// A small text or file.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "PathBuf")]
pub enum Material {
    /// It stands in this file.
    File(PathBuf),
    /// It was given.
    Given(Given),
}

/// What was given, and what it is called.
#[derive(Clone)]
pub struct Given {
    called: Arc<str>,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("called", &self.called).finish_non_exhaustive()
    }
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Material::File(path) => path.display().fmt(f),
            Material::Given(given) => f.write_str(&given.called),
        }
    }
}

impl From<PathBuf> for Material {
    fn from(path: PathBuf) -> Self {
        Material::File(path)
    }
}

impl Material {
    /// What was given, under this name.
    pub fn given(called: String, bytes: Vec<u8>) -> Material {
        Material::Given(Given { called: called.into(), bytes: bytes.into() })
    }

    /// The same, with its file looked for in a folder.
    pub fn beside(&mut self, folder: &Path) {
        if let Material::File(path) = self {
            *path = folder.join(&*path);
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Material::File(path) => Some(path),
            Material::Given(_) => None,
        }
    }

    /// All of it.
    pub fn bytes(&self) -> Result<Vec<u8>, Box<Finding>> {
        let path = match self {
            Material::File(path) => path,
            Material::Given(given) if given.bytes.len() > BYTES_MAX => return Err(self.bad(&too_large())),
            Material::Given(given) => return Ok(given.bytes.to_vec()),
        };
        let about = std::fs::metadata(path).map_err(|error| self.bad(&error.to_string()))?;
        if !about.is_file() || about.len() > BYTES_MAX as u64 {
            return Err(self.bad(&too_large()));
        }
        std::fs::read(path).map_err(|error| self.bad(&error.to_string()))
    }

    /// All of it, as text.
    pub fn text(&self) -> Result<String, Box<Finding>> {
        String::from_utf8(self.bytes()?).map_err(|_| self.bad("it is not UTF-8"))
    }

    fn bad(&self, why: &str) -> Box<Finding> {
        let hint = match self {
            Material::File(_) => "the settings of the machine name it under `git`",
            Material::Given(_) => "it was given with the source",
        };
        Box::new(Finding::error(Code::BadSettings, format!("{self} cannot be read: {why}")).hint(hint))
    }
}

fn too_large() -> String {
    format!("it is no regular file of at most {BYTES_MAX} bytes")
}
