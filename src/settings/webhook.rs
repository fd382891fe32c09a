//! The section `webhook` of a source: who sends hooks, and which secret they know.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::hook::proof::Secrets;
use crate::hook::{Named, Provider};
use crate::sink::secret;

/// The most bytes of a hook when nobody says otherwise, and the most that somebody may say.
const BODY_BYTES: usize = 1024 * 1024;
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The section.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSettings {
    /// Who sends them.
    provider: Named,
    /// The file with the secret.
    #[serde(default)]
    secret_file: Option<PathBuf>,
    /// More files with secrets that count as well, while one is changed.
    #[serde(default)]
    secret_files: Vec<PathBuf>,
    /// The most bytes of one.
    #[serde(default)]
    body_bytes_max: Option<usize>,
}

impl WebhookSettings {
    /// Who sends them.
    pub fn provider(&self) -> &'static Provider {
        self.provider.0
    }

    /// The most bytes of one.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max.unwrap_or(BODY_BYTES)
    }

    /// Reads the secrets. One that is missing, empty or too short is refused: anybody could know it.
    pub fn secrets(&self) -> Result<Secrets, String> {
        if !(1..=BODY_BYTES_MAX).contains(&self.body_bytes_max()) {
            return Err(format!("`bodyBytesMax` is at least 1 and at most {BODY_BYTES_MAX}"));
        }
        let files = self.secret_file.iter().chain(&self.secret_files);
        let texts = files.map(|file| secret(file)).collect::<Result<Vec<String>, String>>()?;
        Secrets::new(&texts)
    }

    /// The same, with the files that it names looked for beside the file that it stands in.
    pub fn beside(mut self, folder: &Path) -> WebhookSettings {
        for file in self.secret_file.iter_mut().chain(&mut self.secret_files) {
            *file = folder.join(&*file);
        }
        self
    }
}
