//! Lists of SSH keys: OpenSSH's `allowed_signers`, which says who signs with which key, for what and when; and plain lists.

use chrono::{DateTime, NaiveDate, Utc};

use super::ssh::{Key, Signature};
use super::{Fault, bad};
use crate::model::finding::Finding;

/// The longest line.
const LINE_BYTES_MAX: usize = 20_000;

/// The most mistakes that are told.
const FINDINGS_MAX: usize = 100;

/// One key that may sign.
#[derive(Clone, Debug)]
pub struct Entry {
    name: String,
    key: Key,
    fingerprint: String,
    /// Patterns of what it may sign for.
    namespaces: Option<String>,
    valid_after: Option<DateTime<Utc>>,
    valid_before: Option<DateTime<Utc>>,
}

/// What was signed, for what, and the moment at which the standing of a key counts.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What for.
    pub namespace: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// When.
    pub at: DateTime<Utc>,
}

/// Whose signature it is, as name and fingerprint; nothing if no entry has its key.
pub fn verify(entries: &[Entry], signature: &Signature, text: &Text<'_>) -> Option<Result<(String, String), Fault>> {
    let fingerprint = signature.key().fingerprint();
    let mut theirs = entries.iter().filter(|entry| entry.fingerprint == fingerprint).peekable();
    let key = &theirs.peek()?.key;
    if let Some(weakness) = key.weakness() {
        return Some(Err(Fault::Weak(weakness)));
    }
    if !signature.is_by(key, text.namespace, text.payload) {
        return Some(Err(Fault::Forged { key: fingerprint }));
    }
    // The same key may stand in several lines; one that lets it sign is enough, and else the last one says why not.
    let mut verdict = Err(Fault::Unknown { key: fingerprint.clone() });
    for entry in theirs {
        verdict = entry.permits(text, &fingerprint).map(|()| (entry.name.clone(), fingerprint.clone()));
        if verdict.is_ok() {
            break;
        }
    }
    Some(verdict)
}

impl Entry {
    fn permits(&self, text: &Text<'_>, fingerprint: &str) -> Result<(), Fault> {
        let key = fingerprint.to_owned();
        if self.namespaces.as_ref().is_some_and(|patterns| !listed(patterns, text.namespace)) {
            return Err(Fault::NotForGit { key });
        }
        let at = text.at;
        // Both ends count, as with ssh-keygen.
        match (self.valid_after, self.valid_before) {
            (Some(after), _) if at < after => Err(Fault::NotYetValid { key, at: after }),
            (_, Some(before)) if at > before => Err(Fault::Expired { key, at: before }),
            _ => Ok(()),
        }
    }
}

/// Reads a list of allowed signers.
pub fn read(file: &str, text: &str) -> Result<Vec<Entry>, Vec<Finding>> {
    lines(file, text, |line| {
        let (principals, rest) = principals(line)?;
        let name = principals.split(',').find(|pattern| !pattern.is_empty() && !pattern.starts_with('!'));
        let name =
            name.ok_or(("the line names nobody", "begin it with who signs: ada@acme.example ssh-ed25519 AAAA..."))?;
        if name.chars().any(char::is_control) {
            return Err(Wrong::from(("a control character in a name", "remove it")));
        }
        let (options, key) = match begins_with_sort(rest) {
            true => (Options::default(), rest),
            false => options(rest)?,
        };
        let key = usable(key)?;
        let Options { namespaces, valid_after, valid_before } = options;
        Ok(Entry { name: name.to_owned(), fingerprint: key.fingerprint(), key, namespaces, valid_after, valid_before })
    })
}

/// Reads a plain list of public keys. They may be weak.
pub fn read_keys(file: &str, bytes: &[u8]) -> Result<Vec<Key>, Vec<Finding>> {
    let text = str::from_utf8(bytes).map_err(|_| vec![bad(file, 0, "this is no list of SSH keys")])?;
    lines(file, text, read_key)
}

/// Reads a plain list of public keys that count for a name, at any time.
pub fn read_unbounded(name: &str, file: &str, bytes: &[u8]) -> Result<Vec<Entry>, Vec<Finding>> {
    let text =
        str::from_utf8(bytes).map_err(|_| vec![bad(file, 0, "this is neither a list of SSH keys nor OpenPGP")])?;
    lines(file, text, |line| {
        let key = usable(line)?;
        let (name, fingerprint) = (name.to_owned(), key.fingerprint());
        Ok(Entry { name, fingerprint, key, namespaces: None, valid_after: None, valid_before: None })
    })
}

/// What is wrong with a line, and what to do.
struct Wrong {
    message: String,
    hint: String,
}

impl From<(&str, &str)> for Wrong {
    fn from((message, hint): (&str, &str)) -> Wrong {
        Wrong { message: message.into(), hint: hint.into() }
    }
}

/// Reads the lines that say something, and tells all mistakes at once.
fn lines<T>(file: &str, text: &str, read: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Vec<Finding>> {
    let (mut read_ones, mut findings) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let result = match line.len() > LINE_BYTES_MAX {
            true => Err(Wrong::from(("the line is too long", "one key a line"))),
            false => read(line),
        };
        match result {
            Ok(one) => read_ones.push(one),
            Err(Wrong { message, hint }) => findings.push(bad(file, at + 1, message).hint(hint)),
        }
        if findings.len() >= FINDINGS_MAX {
            break;
        }
    }
    if findings.is_empty() { Ok(read_ones) } else { Err(findings) }
}

fn read_key(text: &str) -> Result<Key, Wrong> {
    let hint = "a public key is what ssh-keygen writes into the file that ends in .pub: ssh-ed25519 AAAA...";
    Key::read(text).map_err(|message| Wrong { message, hint: hint.into() })
}

fn usable(text: &str) -> Result<Key, Wrong> {
    let key = read_key(text)?;
    match key.weakness() {
        None => Ok(key),
        Some(weakness) => {
            Err(Wrong { message: weakness, hint: "have them sign with another key; ssh-ed25519 is a good one".into() })
        }
    }
}

/// The first word, which may stand in quotes, and what follows.
fn principals(line: &str) -> Result<(&str, &str), Wrong> {
    let cut = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or(("a quote is not closed", "close it"))?,
        None => line.split_once([' ', '\t']).ok_or(("the line has no key", "add the public key behind the name"))?,
    };
    Ok((cut.0, cut.1.trim_start_matches([' ', '\t'])))
}

/// Whether a key stands here, and no options before it.
fn begins_with_sort(text: &str) -> bool {
    let word = text.split([' ', '\t']).next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix));
    known && !word.contains(['=', ',', '"'])
}

#[derive(Default)]
struct Options {
    namespaces: Option<String>,
    valid_after: Option<DateTime<Utc>>,
    valid_before: Option<DateTime<Utc>>,
}

/// Reads options with commas between them, and gives what follows.
fn options(text: &str) -> Result<(Options, &str), Wrong> {
    let mut read = Options::default();
    let mut rest = text;
    loop {
        let end = rest.find(['=', ',', ' ', '\t']).unwrap_or(rest.len());
        let name = rest[..end].to_ascii_lowercase();
        rest = &rest[end..];
        let value = match rest.strip_prefix('=') {
            Some(after) => {
                let (value, after) = quoted(after)?;
                rest = after;
                Some(value)
            }
            None => None,
        };
        let once = |taken: bool| match taken {
            true => Err(Wrong { message: format!("`{name}` stands twice"), hint: "keep one of both".into() }),
            false => Ok(()),
        };
        match (name.as_str(), value) {
            ("cert-authority", None) => {
                let message = "SSH certificates (cert-authority) are not understood";
                return Err(Wrong::from((message, "list the keys that people sign with")));
            }
            ("namespaces", Some(value)) => once(read.namespaces.replace(value).is_some())?,
            ("valid-after", Some(value)) => once(read.valid_after.replace(moment(&value)?).is_some())?,
            ("valid-before", Some(value)) => once(read.valid_before.replace(moment(&value)?).is_some())?,
            _ => {
                let message = format!("`{name}` is neither a sort of key nor an option");
                let hint = "options are namespaces=\"...\", valid-after=\"...\" and valid-before=\"...\"";
                return Err(Wrong { message, hint: hint.into() });
            }
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with([' ', '\t']) => break,
            None => return Err(Wrong::from(("the line has no key", "add the public key behind the options"))),
        }
    }
    if let (Some(after), Some(before)) = (read.valid_after, read.valid_before)
        && before <= after
    {
        return Err(Wrong::from(("valid-before is not later than valid-after", "no signature would ever count")));
    }
    Ok((read, rest.trim_start_matches([' ', '\t'])))
}

/// A value in quotes, in which `\"` is a quote, and what follows.
fn quoted(text: &str) -> Result<(String, &str), Wrong> {
    let inner = text.strip_prefix('"').ok_or(("the value of an option has no quotes", "write name=\"value\""))?;
    let (mut value, mut chars) = (String::new(), inner.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &inner[at + 1..])),
            '\\' if chars.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            c => value.push(c),
        }
    }
    Err(Wrong::from(("a quote is not closed", "close it")))
}

/// A moment: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, and `Z` or `UTC` behind it.
fn moment(text: &str) -> Result<DateTime<Utc>, Wrong> {
    let wrong = |hint: &str| Wrong { message: format!("{text:?} is no moment"), hint: hint.into() };
    let digits = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix("UTC"));
    let digits = match digits {
        Some(digits) => digits,
        None if matches!(text.len(), 8 | 12 | 14) && text.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(wrong("without Z it would mean another moment in another time zone; put Z behind it, for UTC"));
        }
        None => text,
    };
    let form = wrong("write YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ");
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(form);
    }
    let number = |at: usize, len: usize| digits.get(at..at + len).map_or(0, |part| part.parse::<u32>().unwrap_or(0));
    let date = NaiveDate::from_ymd_opt(number(0, 4).cast_signed(), number(4, 2), number(6, 2));
    let at = date.and_then(|date| date.and_hms_opt(number(8, 2), number(10, 2), number(12, 2)));
    at.map(|at| at.and_utc()).ok_or(form)
}

/// Whether a list of patterns has this word, as OpenSSH reads it: a negated pattern that fits beats all others.
fn listed(patterns: &str, word: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(pattern.as_bytes(), word.as_bytes()) => return false,
            None if fits(pattern.as_bytes(), word.as_bytes()) => found = true,
            _ => {}
        }
    }
    found
}

/// Whether a pattern with `*` and `?` fits a word. It looks back to the last `*` alone, so that no pattern takes long.
fn fits(pattern: &[u8], word: &[u8]) -> bool {
    let (mut p, mut w, mut star) = (0, 0, None);
    while w < word.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, w));
                p += 1;
            }
            Some(b'?') => (p, w) = (p + 1, w + 1),
            Some(c) if *c == word[w] => (p, w) = (p + 1, w + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, w) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::{fits, listed, moment};

    #[test]
    fn patterns_fit_as_those_of_openssh() {
        for (pattern, word, expected) in [
            ("git", "git", true),
            ("g*t", "git", true),
            ("g?t", "git", true),
            ("*", "", true),
            ("?", "", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("git", "gitx", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), word.as_bytes()), expected, "{pattern} {word}");
        }
        assert!(listed("file,git", "git") && listed("g*", "git") && listed("!file,*", "git"));
        assert!(!listed("file", "git") && !listed("*,!git", "git") && !listed("!file", "git") && !listed("", "git"));
    }

    #[test]
    fn moments_are_those_of_ssh_keygen_in_utc() {
        let read = |text: &str| moment(text).ok().map(|at| at.to_rfc3339());
        assert_eq!(read("20260203Z").as_deref(), Some("2026-02-03T00:00:00+00:00"));
        assert_eq!(read("202602030405UTC").as_deref(), Some("2026-02-03T04:05:00+00:00"));
        assert_eq!(read("20260203040506z").as_deref(), Some("2026-02-03T04:05:06+00:00"));
        for wrong in ["20260203", "2026-02-03Z", "20260230Z", "2026020325Z", "Z", "", "+2026020Z", "20260203040560Z"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(moment("20260203").is_err_and(|wrong| wrong.hint.contains("put Z behind it")));
    }
}
