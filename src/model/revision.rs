//! One state of a source that has a history: which commit, whose, and through which request it came.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest that is kept of a name, an address or a subject, in characters.
pub const TEXT_CHARS_MAX: usize = 200;

/// Somebody, as a commit names them. Nothing of it is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their email address.
    pub email: String,
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.is_empty(), self.email.is_empty()) {
            (_, true) => f.write_str(&self.name),
            (true, false) => f.write_str(&self.email),
            (false, false) => write!(f, "{} <{}>", self.name, self.email),
        }
    }
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Its id, in hexadecimal.
    pub id: String,
    /// Who wrote it.
    pub author: Person,
    /// Who put it there.
    pub committer: Person,
    /// When it was put there, as it says itself.
    #[schemars(with = "String")]
    pub committed_at: DateTime<Utc>,
    /// The first line of its message.
    pub subject: String,
    /// The pull request that it came through, where its message tells: `#12`, `!12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Who signed it, if that was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

impl Commit {
    /// Whose commit it is, by all names, in lower case: author, committer, and whoever signed it. A forge that commits
    /// for somebody is nobody.
    pub fn people(&self) -> impl Iterator<Item = String> {
        let names = [&self.author, &self.committer].into_iter().flat_map(|person| [&person.name, &person.email]);
        let signers = self.signer.iter().flat_map(|signer| names_in(signer));
        names.filter(|name| !name.is_empty()).map(|name| name.to_lowercase()).chain(signers)
    }

    /// Who is said to have written what it wrote.
    pub fn authorship(&self) -> Authorship {
        let at = self.committed_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        Authorship { commit: self.id.clone(), author: self.author.to_string(), at, request: self.request.clone() }
    }
}

/// Who wrote a line, or took something away, and in which commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Authorship {
    /// The id of the commit, in hexadecimal.
    pub commit: String,
    /// Its author.
    pub author: String,
    /// Its date, RFC 3339.
    pub at: String,
    /// The pull request that it came through, where its message tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl fmt::Display for Authorship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Authorship { commit, author, at, request } = self;
        let short = commit.get(..SHORT_CHARS).unwrap_or(commit);
        let day = at.split('T').next().unwrap_or(at);
        write!(f, "{short} {author} {day}")?;
        request.as_ref().map_or(Ok(()), |request| write!(f, " {request}"))
    }
}

/// The names in what signers are called: `Ada <ada@acme.example>`, `ada@acme.example`, or several with commas between
/// them. In lower case.
pub fn names_in(signer: &str) -> impl Iterator<Item = String> {
    let parts = signer.split([',', '<', '>']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase)
}

/// How many characters of an id people read.
const SHORT_CHARS: usize = 12;

/// A commit under the name by which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The branch, tag or commit that was asked for.
    pub reference: String,
    /// The commit.
    pub commit: Commit,
}

impl Revision {
    /// What a revision was asked for as and the id of its commit, from how it is shown.
    pub fn parts(shown: &str) -> Option<(&str, &str)> {
        shown.rsplit_once("@sha1:")
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha1:{}", self.reference, self.commit.id)
    }
}
