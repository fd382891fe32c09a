//! The canonical text of an audit row: one line of JSON with every column, in a fixed order, with `before` and `after` as
//! PostgreSQL prints them. Texts are taken as bytes, so that nothing is lost in reading them.

use chrono::{DateTime, Datelike as _, SecondsFormat};
use sha2::{Digest as _, Sha256};

use super::Hash;

/// What every hash begins with: so that no other text of this program can ever be taken for a link.
pub const DOMAIN: &[u8] = b"argus-audit-v1\0";

/// The columns in the order in which they stand in the text.
pub const COLUMNS: [&str; 17] = [
    "organization",
    "version",
    "ordinal",
    "at",
    "kind",
    "name",
    "relation",
    "action",
    "before",
    "after",
    "actor",
    "via",
    "run",
    "role",
    "application",
    "client_addr",
    "txid",
];

/// When PostgreSQL's microseconds begin, in seconds since 1970.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<'a> {
    /// Microseconds since the year 2000, as PostgreSQL counts.
    Micros(i64),
    /// As it stands in the canonical text already.
    Text(&'a [u8]),
}

/// The columns of an audit row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The organization.
    pub organization: &'a [u8],
    /// The version that the write made.
    pub version: i64,
    /// Its place among the writes of that version.
    pub ordinal: i64,
    /// When.
    pub at: Moment<'a>,
    /// Kind, name, relation and action.
    pub what: [Option<&'a [u8]>; 4],
    /// The row before and after, as PostgreSQL prints them.
    pub states: [Option<&'a [u8]>; 2],
    /// Actor, via, run, role, application, address and transaction.
    pub who: [Option<&'a [u8]>; 7],
}

impl Fields<'_> {
    /// Appends the canonical text.
    pub fn write(&self, out: &mut Vec<u8>) {
        let [kind, name, relation, action] = self.what;
        let [before, after] = self.states;
        let [actor, via, run, role, application, client_addr, txid] = self.who;
        out.extend_from_slice(b"{\"organization\":");
        text(self.organization, out);
        out.extend_from_slice(format!(",\"version\":{},\"ordinal\":{},\"at\":", self.version, self.ordinal).as_bytes());
        match self.at {
            Moment::Micros(micros) => text(moment(micros).as_bytes(), out),
            Moment::Text(at) => text(at, out),
        }
        for (key, value) in [("kind", kind), ("name", name), ("relation", relation), ("action", action)] {
            pair(key, value, out);
        }
        for (key, value) in [("before", before), ("after", after)] {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            out.extend_from_slice(value.unwrap_or(b"null"));
        }
        let who = [("actor", actor), ("via", via), ("run", run), ("role", role), ("application", application)];
        for (key, value) in who.into_iter().chain([("client_addr", client_addr), ("txid", txid)]) {
            pair(key, value, out);
        }
        out.push(b'}');
    }

    /// The canonical text.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut out);
        out
    }
}

fn pair(key: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Some(value) => text(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// A text as JSON: with the shortest escapes for what has to be escaped, and nothing else escaped.
fn text(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in value.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&value[from..at]);
        from = at + 1;
        match short {
            0 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            short => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&value[from..]);
    out.push(b'"');
}

/// A moment of PostgreSQL: RFC 3339 with microseconds, in UTC, for the years 1 to 9999; any other as the bare number.
pub fn moment(micros: i64) -> String {
    let since_1970 = micros.checked_add(EPOCH_SECONDS * 1_000_000);
    let at = since_1970.and_then(DateTime::from_timestamp_micros).filter(|at| (1..=9999).contains(&at.year()));
    at.map_or_else(|| micros.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// The link of a row: of the link before it, its place in the chain and its canonical text.
pub fn link(previous: &Hash, sequence: i64, canonical: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(previous);
    hash.update(sequence.to_be_bytes());
    hash.update(canonical);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>() -> Fields<'a> {
        Fields {
            organization: b"acme",
            version: 3,
            ordinal: 1,
            at: Moment::Micros(0),
            what: [Some(b"Team"), Some(b"a\"b\\c\n\x01\x7f"), Some(b"team"), Some(b"update")],
            states: [None, Some(br#"{"n": 1e400}"#)],
            who: [None, None, None, Some(b"ada"), Some("ü\u{202e}".as_bytes()), None, Some(b"77")],
        }
    }

    #[test]
    fn the_text_of_a_row_names_every_column_once_and_leaves_json_as_it_is() {
        let text = String::from_utf8(fields().canonical()).expect("text");
        assert_eq!(
            text,
            "{\"organization\":\"acme\",\"version\":3,\"ordinal\":1,\"at\":\"2000-01-01T00:00:00.000000Z\",\
             \"kind\":\"Team\",\"name\":\"a\\\"b\\\\c\\n\\u0001\x7f\",\"relation\":\"team\",\"action\":\"update\",\
             \"before\":null,\"after\":{\"n\": 1e400},\"actor\":null,\"via\":null,\"run\":null,\"role\":\"ada\",\
             \"application\":\"ü\u{202e}\",\"client_addr\":null,\"txid\":\"77\"}"
        );
        let places: Vec<Option<usize>> = COLUMNS.iter().map(|column| text.find(&format!("\"{column}\":"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    }

    #[test]
    fn moments_beyond_the_calendar_stay_distinct() {
        assert_eq!(moment(-1), "1999-12-31T23:59:59.999999Z");
        for micros in [i64::MAX, i64::MIN, 252_455_616_000_000_000, -63_114_076_800_000_001 - 31_622_400_000_000] {
            assert_eq!(moment(micros), micros.to_string());
        }
    }

    #[test]
    fn every_part_of_a_link_counts() {
        let canonical = fields().canonical();
        let links = [
            link(&[0; 32], 1, &canonical),
            link(&[1; 32], 1, &canonical),
            link(&[0; 32], 2, &canonical),
            link(&[0; 32], 1, &canonical[1..]),
        ];
        for (at, one) in links.iter().enumerate() {
            assert!(links[at + 1..].iter().all(|other| other != one));
        }
    }
}
