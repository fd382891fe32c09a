//! The statement that an approver signs: a text of one form, so that what was signed is what is read.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{LASTS_MAX, LASTS_MIN};
use crate::model::id::{GLOBAL, OrganizationName, name_fault};
use crate::model::time::parse_time;

/// The first line: product and version. A reader that does not know the version refuses the statement.
const HEAD: &str = "argus approval statement v1";

/// What stands for what all organizations share, which has no name.
const SHARED: &str = "(shared)";

/// The longest statement.
pub const STATEMENT_BYTES_MAX: usize = 2_000;

/// The longest name of an approver.
pub const NAME_CHARS_MAX: usize = 100;

/// What somebody says who approves a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The database in which it is to be applied: the same plan elsewhere is another matter.
    pub database: String,
    /// The organization.
    pub organization: OrganizationName,
    /// The digest of its plan.
    pub plan_digest: String,
    /// The digest of the rules that hold it.
    pub rules_digest: String,
    /// The name of the approver.
    pub approver: String,
    /// When it was said.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart, so that nothing is left out of what is signed.
        let Statement { database, organization, plan_digest, rules_digest, approver, issued_at, expires_at } = self;
        let organization = if &**organization == GLOBAL { SHARED } else { organization };
        let moment = |at: &DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        writeln!(f, "{HEAD}")?;
        writeln!(f, "database: {database}")?;
        writeln!(f, "organization: {organization}")?;
        writeln!(f, "plan: {plan_digest}")?;
        writeln!(f, "rules: {rules_digest}")?;
        writeln!(f, "approver: {approver}")?;
        writeln!(f, "issued: {}", moment(issued_at))?;
        writeln!(f, "expires: {}", moment(expires_at))
    }
}

impl Statement {
    /// Reads a statement. Whatever is not written exactly as Argus writes it is none.
    pub fn parse(text: &str) -> Result<Statement, String> {
        if text.len() > STATEMENT_BYTES_MAX {
            return Err(format!("it has {} bytes, and a statement has at most {STATEMENT_BYTES_MAX}", text.len()));
        }
        let mut lines = text.lines();
        match lines.next() {
            Some(HEAD) => {}
            _ => return Err(format!("its first line is not `{HEAD}`")),
        }
        let mut field = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned).ok_or_else(|| format!("the line `{name}: ...` is not in its place"))
        };
        let statement = Statement {
            database: field("database")?,
            organization: match field("organization")?.as_str() {
                SHARED => GLOBAL.into(),
                name if name_fault(name).is_none() => name.into(),
                _ => return Err("its organization is no name".into()),
            },
            plan_digest: digest(field("plan")?)?,
            rules_digest: digest(field("rules")?)?,
            approver: field("approver")?,
            issued_at: parse_time(&field("issued")?)?,
            expires_at: parse_time(&field("expires")?)?,
        };
        if let Some(fault) = approver_name_fault(&statement.approver) {
            return Err(fault);
        }
        let lasts = statement.expires_at - statement.issued_at;
        if lasts < LASTS_MIN || lasts > LASTS_MAX {
            return Err(format!("it lasts {}, and an approval lasts from a minute to 30 days", in_words(lasts)));
        }
        if statement.to_string() != text {
            return Err("it is not written as Argus writes it; nothing in it may be changed".into());
        }
        Ok(statement)
    }
}

fn digest(text: String) -> Result<String, String> {
    let right = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if right { Ok(text) } else { Err("one of its digests is none".into()) }
}

fn in_words(lasts: chrono::TimeDelta) -> String {
    format!("{} seconds", lasts.num_seconds())
}

/// Says in words what is wrong with the name of an approver, if anything: it stands on a line of a statement, and next
/// to others in reports.
pub fn approver_name_fault(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    match name {
        "" => Some("the name of an approver cannot be empty".into()),
        name if name.len() > NAME_CHARS_MAX => {
            Some(format!("the name of an approver has at most {NAME_CHARS_MAX} characters"))
        }
        name if !name.bytes().all(plain) => {
            Some("the name of an approver holds letters, digits and any of `._@+-`, all of them ASCII".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            database: "7f3a".into(),
            organization: "acme".into(),
            plan_digest: "a".repeat(64),
            rules_digest: "b".repeat(64),
            approver: "grace".into(),
            issued_at: parse_time("2026-01-01T00:00:00Z").expect("a moment"),
            expires_at: parse_time("2026-01-02T00:00:00Z").expect("a moment"),
        }
    }

    #[test]
    fn a_statement_reads_as_it_was_written() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            "argus approval statement v1\ndatabase: 7f3a\norganization: acme\nplan: {a}\nrules: {b}\napprover: grace\n\
             issued: 2026-01-01T00:00:00Z\nexpires: 2026-01-02T00:00:00Z\n"
        );
        assert_eq!(statement().to_string(), text);
        assert_eq!(Statement::parse(&text), Ok(statement()));
        let shared = Statement { organization: GLOBAL.into(), ..statement() };
        assert!(shared.to_string().contains("organization: (shared)\n"));
        assert_eq!(Statement::parse(&shared.to_string()), Ok(shared));
    }

    #[test]
    fn whatever_is_written_otherwise_is_no_statement() {
        let text = statement().to_string();
        for (old, new) in [
            ("v1", "v2"),
            ("acme", "Acme"),
            ("acme", "acme\nplan: x"),
            ("organization: acme", "organization:  acme"),
            ("aaaaaaaa\n", "aaaaaaa\n"),
            ("aaaaaaaa\n", "aaaaaaaA\n"),
            ("grace", "gra ce"),
            ("grace", "gräce"),
            ("grace", ""),
            ("rules: ", "rule: "),
            ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"),
            ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("2026-01-02T00:00:00Z", "2026-01-31T00:00:01Z"),
            ("2026-01-02T00:00:00Z\n", "2026-01-02T00:00:00Z"),
            ("2026-01-02T00:00:00Z\n", "2026-01-02T00:00:00Z\nmore: x\n"),
            ("2026-01-02T00:00:00Z\n", "2026-01-02T00:00:00Z\r\n"),
            ("database: 7f3a\n", ""),
        ] {
            assert!(text.contains(old), "{old}");
            let changed = text.replacen(old, new, 1);
            assert!(Statement::parse(&changed).is_err(), "{changed}");
        }
        let longest = text.replace("2026-01-02", "2026-01-31");
        assert!(Statement::parse(&longest).is_ok(), "thirty days are the most");
        let padded = text.replace("7f3a", &"x".repeat(STATEMENT_BYTES_MAX));
        assert!(Statement::parse(&padded).expect_err("it is too long").contains("at most"));
    }
}
