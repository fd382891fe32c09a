//! What is signed of a chain: where it ended (a head), or where it begins anew (a checkpoint).

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Hash, NAMESPACE, as_hex};
use crate::signature::{CLOCK_SKEW_SECONDS_MAX, Fault, Signer, Signers};

/// The longest line of a file of heads.
pub const LINE_BYTES_MAX: usize = 16_384;

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum About {
    /// Where a chain ended.
    #[serde(rename = "argus-audit-head-v1")]
    Head,
    /// What stands in for rows that were dropped.
    #[serde(rename = "argus-audit-checkpoint-v1")]
    Checkpoint,
}

/// What is said of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What it is about.
    pub statement: About,
    /// The id of the database.
    pub database: String,
    /// The organization; empty for what all share.
    pub organization: String,
    /// The place in the chain.
    pub sequence: i64,
    /// The link there.
    #[serde(with = "as_hex")]
    pub hash: Hash,
    /// When it was signed, by the clock of the database.
    pub at: String,
    /// The fingerprint of the key.
    pub key: String,
}

impl Statement {
    /// The text that is signed: one line of JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads such a text. It has one form alone.
    pub fn read(text: &str) -> Result<Statement, String> {
        let read: Statement = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match read.text() == text && read.sequence > 0 && read.moment().is_some() {
            true => Ok(read),
            false => Err("it is not in the form that Argus writes".into()),
        }
    }

    /// When it was signed.
    pub fn moment(&self) -> Option<DateTime<Utc>> {
        let at = DateTime::parse_from_rfc3339(&self.at).ok()?.with_timezone(&Utc);
        (moment(at) == self.at).then_some(at)
    }
}

/// A moment as statements hold it.
pub fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A statement with its signature: a line of the file of heads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The text that is signed.
    pub statement: String,
    /// The signature, as `ssh-keygen -Y sign -n argus-audit` makes it.
    pub signature: String,
}

/// Why a statement does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It was changed, or cannot be read.
    Changed(String),
    /// It is what it was, and still proves nothing here: by whom, for what or when it was signed.
    Worthless(String),
}

impl Untrusted {
    /// In a few words.
    pub fn why(&self) -> &str {
        match self {
            Untrusted::Changed(why) | Untrusted::Worthless(why) => why,
        }
    }
}

impl Signed {
    /// The line of the file, with its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// What it says, if somebody of the list signed it whose key counted then. Without a database it may be of any.
    pub fn judge(
        &self,
        signers: &Signers,
        database: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(Statement, Signer), Untrusted> {
        let said = Statement::read(&self.statement).map_err(Untrusted::Changed)?;
        let at = said.moment().unwrap_or(now);
        let signer = vouch(signers, self.statement.as_bytes(), &self.signature, at, now)?;
        if signer.key != said.key {
            return Err(Untrusted::Changed(format!("it names the key {} and is signed with {}", said.key, signer.key)));
        }
        if database.is_some_and(|database| database != said.database) {
            return Err(Untrusted::Worthless(format!("it is about the database {}", said.database)));
        }
        Ok((said, signer))
    }
}

/// Who signed a text for the audit at a moment, if their key counted then.
pub fn vouch(
    signers: &Signers,
    text: &[u8],
    signature: &str,
    at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Signer, Untrusted> {
    if at > now + TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX) {
        return Err(Untrusted::Worthless(format!("it claims to be of {}, which is in the future", moment(at))));
    }
    signers.verify_file(NAMESPACE, text, signature, at).map_err(|fault| match fault {
        Fault::Forged { .. } | Fault::Garbled(_) | Fault::Unsigned => Untrusted::Changed(fault.to_string()),
        Fault::WrongNamespace(other) => {
            Untrusted::Worthless(format!("its signature was made for `{other}` and not for `{NAMESPACE}`"))
        }
        Fault::NotForGit { key } => {
            Untrusted::Worthless(format!("the list of signers does not let the key {key} sign for `{NAMESPACE}`"))
        }
        other => Untrusted::Worthless(other.to_string()),
    })
}

/// A file of heads as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadsFile {
    /// The lines that can be read, with their numbers.
    pub heads: Vec<(usize, Signed)>,
    /// The numbers of the lines that cannot be read.
    pub unreadable: Vec<usize>,
    /// Where the last line begins that has no end, as an interrupted write leaves it.
    pub torn: Option<usize>,
}

/// Reads a file of heads.
pub fn read_file(text: &[u8]) -> HeadsFile {
    let mut file = HeadsFile::default();
    let mut from = 0;
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(whole) = line.strip_suffix(b"\n") else {
            file.torn = Some(from);
            break;
        };
        from += line.len();
        if whole.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(whole) {
            Ok(signed) if whole.len() <= LINE_BYTES_MAX => file.heads.push((number + 1, signed)),
            _ => file.unreadable.push(number + 1),
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            statement: About::Head,
            database: "d".into(),
            organization: "acme".into(),
            sequence: 7,
            hash: [7; 32],
            at: "2030-01-01T00:00:00.000001Z".into(),
            key: "SHA256:x".into(),
        }
    }

    #[test]
    fn a_statement_has_one_form_alone() {
        let text = statement().text();
        assert_eq!(Statement::read(&text), Ok(statement()));
        for wrong in [
            text.replace(",\"", ", \""),
            text.replace(":7,", ":0,"),
            text.replace(".000001Z", "Z"),
            text.replace("head-v1", "head-v2"),
            text.replace("\"key\"", "\"more\":1,\"key\""),
        ] {
            assert!(Statement::read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_torn_line_is_told_from_a_broken_one() {
        let line = Signed { statement: statement().text(), signature: "s\n".into() }.line();
        let text = format!("{line}\nbroken\n{line}{}", &line[..20]);
        let file = read_file(text.as_bytes());
        assert_eq!((file.heads.len(), file.heads[1].0, file.unreadable.as_slice()), (2, 4, &[3][..]));
        assert_eq!(file.torn, Some(text.len() - 20));
        assert_eq!(read_file(b""), HeadsFile::default());
    }
}
