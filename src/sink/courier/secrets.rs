//! Secrets of channels: one file for each key, in a folder for each organization and secret.

use std::path::PathBuf;

use crate::model::id::name_fault;
use crate::notification::channel::SecretRef;

/// The largest secret.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// The folder of the machine with the secrets of all organizations.
#[derive(Debug)]
pub(super) struct Secrets(Option<PathBuf>);

impl Secrets {
    pub(super) fn new(folder: Option<PathBuf>) -> Secrets {
        Secrets(folder)
    }

    /// Reads a secret of an organization. What it says of failures names no path of the machine.
    pub(super) async fn read(&self, organization: &str, secret: &SecretRef) -> Result<String, String> {
        let SecretRef { name, key } = secret;
        let Some(folder) = &self.0 else {
            return Err("the machine has no folder of secrets (`notifications.secretsDir`)".into());
        };
        // Rows may be written by SQL: what leads out of the organization's folder is no name.
        if name_fault(organization).is_some() || name_fault(name).is_some() || !is_key(key) {
            return Err("the secret has a name that no file can have".into());
        }
        let file = folder.join(organization).join(name).join(key);
        let unreadable = |error: std::io::Error| format!("the secret `{name}/{key}` cannot be read: {}", error.kind());
        // Links may lead about within the organization's folder, as Kubernetes makes them, and not out of it.
        let own = tokio::fs::canonicalize(folder.join(organization)).await.map_err(unreadable)?;
        let file = tokio::fs::canonicalize(&file).await.map_err(unreadable)?;
        if !file.starts_with(&own) {
            return Err(format!("the secret `{name}/{key}` leads out of the organization's folder"));
        }
        let about = tokio::fs::metadata(&file).await.map_err(unreadable)?;
        if !about.is_file() || about.len() > SECRET_BYTES_MAX {
            return Err(format!("the secret `{name}/{key}` is no file of at most {SECRET_BYTES_MAX} bytes"));
        }
        let text = tokio::fs::read_to_string(&file).await.map_err(unreadable)?;
        match text.trim() {
            "" => Err(format!("the secret `{name}/{key}` is empty")),
            text => Ok(text.to_owned()),
        }
    }
}

/// Whether this names a file in the folder that it is looked for in.
fn is_key(key: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !key.is_empty() && key.len() <= 253 && !key.starts_with('.') && key.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_nowhere_else() {
        assert!(is_key("url") && is_key("tls.key") && is_key("A_b-1"));
        for key in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0", "a b"] {
            assert!(!is_key(key), "{key}");
        }
    }
}
