//! A picture as a file: a line of JSON that says what it is of, one for each organization, and behind them perhaps a
//! signature of OpenSSH's form, which binds every byte before it.

use super::{DOCUMENT, FORMAT, Head, Picture, Pictured};

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The most organizations in one file.
const ORGANIZATIONS_MAX: usize = 1_000_000;

/// What a signature begins with. No line of JSON does.
const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";

/// Why a file is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is something else, or damaged.
    #[error("it is no snapshot, or it is damaged")]
    Garbled,
    /// Another version of Argus wrote it.
    #[error("it is of the form {0}, and this Argus reads the form {FORMAT}")]
    OtherForm(u32),
    /// There is too much of it.
    #[error("it has more than {ORGANIZATIONS_MAX} organizations")]
    TooLarge,
}

/// The text of a picture, without a signature.
pub fn write(picture: &Picture) -> String {
    let Picture { head, organizations, signer: _ } = picture;
    let mut text = serde_json::to_string(head).unwrap_or_default();
    for organization in organizations {
        text.push('\n');
        text.push_str(&serde_json::to_string(organization).unwrap_or_default());
    }
    text.push('\n');
    text
}

/// What is signed, and the signature; empty where there is none.
pub fn split(text: &str) -> (&str, &str) {
    match text.find(&format!("\n{SIGNATURE}")) {
        Some(at) => text.split_at(at + 1),
        None => (text, ""),
    }
}

/// Reads what was written. Who vouches for it is another question, which comes first.
pub fn read(text: &str) -> Result<Picture, Fault> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let said: serde_json::Value = serde_json::from_str(first).map_err(|_| Fault::Garbled)?;
    if said["document"] != DOCUMENT {
        return Err(Fault::Garbled);
    }
    match said["format"].as_u64() {
        Some(form) if form == u64::from(FORMAT) => {}
        other => return Err(Fault::OtherForm(other.and_then(|form| u32::try_from(form).ok()).unwrap_or_default())),
    }
    let head: Head = serde_json::from_value(said).map_err(|_| Fault::Garbled)?;
    let mut organizations = Vec::new();
    for line in lines {
        if organizations.len() >= ORGANIZATIONS_MAX {
            return Err(Fault::TooLarge);
        }
        let organization: Pictured = serde_json::from_str(line).map_err(|_| Fault::Garbled)?;
        organizations.push(organization);
    }
    // Of a file that was cut at the end of a line nothing else would tell.
    if organizations.len() != head.lines || !text.ends_with('\n') {
        return Err(Fault::Garbled);
    }
    Ok(Picture { head, organizations, signer: None })
}
