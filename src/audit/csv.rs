//! Audit rows as CSV that no spreadsheet takes for formulas, and back again byte for byte.
//!
//! Every value stands in quotes, a quote in it is doubled; a column without a value is empty and has none. A value that
//! begins with `=`, `+`, `-`, `@`, a tab, a carriage return or `'` gets one more `'` before it.

use std::io::BufRead;

use super::row::{COLUMNS, Fields, Moment};

/// The longest record.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The columns before those of the row.
const SEALED: [&str; 3] = ["sequence", "previous", "hash"];

/// How many columns there are.
const WIDTH: usize = SEALED.len() + COLUMNS.len();

/// The first record.
pub fn header() -> String {
    let names: Vec<String> = SEALED.iter().chain(&COLUMNS).map(|name| format!("\"{name}\"")).collect();
    names.join(",") + "\n"
}

/// Whether a value that begins like this could be taken for a formula, or for one that was made harmless.
fn is_formula(first: Option<&u8>) -> bool {
    matches!(first, Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\''))
}

fn put(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    out.push(b'"');
    if is_formula(value.first()) {
        out.push(b'\'');
    }
    for byte in value {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Appends a record.
pub fn write(sequence: i64, previous: &str, hash: &str, fields: &Fields<'_>, out: &mut Vec<u8>) {
    let at = match fields.at {
        Moment::Micros(micros) => super::row::moment(micros).into_bytes(),
        Moment::Text(at) => at.to_vec(),
    };
    let numbers = [sequence, fields.version, fields.ordinal].map(|number| number.to_string());
    let [sequence, version, ordinal] = numbers.each_ref().map(|number| Some(number.as_bytes()));
    let sealed = [sequence, Some(previous.as_bytes()), Some(hash.as_bytes())];
    let place = [Some(fields.organization), version, ordinal, Some(&*at)];
    let values = sealed.into_iter().chain(place).chain(fields.what).chain(fields.states).chain(fields.who);
    for (number, value) in values.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        put(value, out);
    }
    out.push(b'\n');
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(Vec<Option<Vec<u8>>>);

impl Record {
    /// Reads the next record; none at the end. What is not exactly in the form that is written here is refused.
    pub fn read(from: &mut impl BufRead) -> std::io::Result<Option<Result<Record, &'static str>>> {
        let mut text = Vec::new();
        loop {
            let before = text.len();
            from.read_until(b'\n', &mut text)?;
            // A line that ends within quotes goes on.
            let whole = text.iter().filter(|byte| **byte == b'"').count() % 2 == 0;
            if text.len() > RECORD_BYTES_MAX {
                return Ok(Some(Err("it is too long")));
            }
            if text.len() == before || whole {
                break;
            }
        }
        match text.strip_suffix(b"\n") {
            Some(line) => Ok(Some(Record::parse(line))),
            None if text.is_empty() => Ok(None),
            None => Ok(Some(Err("it has no end"))),
        }
    }

    fn parse(line: &[u8]) -> Result<Record, &'static str> {
        let mut values = Vec::with_capacity(WIDTH);
        let mut rest = line;
        loop {
            let value = match rest.strip_prefix(b"\"") {
                None => None,
                Some(quoted) => {
                    let (mut value, mut at) = (Vec::new(), 0);
                    loop {
                        match (quoted.get(at), quoted.get(at + 1)) {
                            (None, _) => return Err("a quote is not closed"),
                            (Some(b'"'), Some(b'"')) => at += 1,
                            (Some(b'"'), _) => break,
                            _ => {}
                        }
                        value.push(quoted[at]);
                        at += 1;
                    }
                    rest = &quoted[at + 1..];
                    Some(harmless(value)?)
                }
            };
            values.push(value);
            match rest.split_first() {
                None => break,
                Some((b',', more)) => rest = more,
                Some(_) => return Err("a value stands outside of quotes"),
            }
        }
        if values.len() == WIDTH { Ok(Record(values)) } else { Err("the number of columns is another one") }
    }

    fn number(&self, at: usize) -> Option<i64> {
        let text = str::from_utf8(self.0.get(at)?.as_deref()?).ok()?;
        let number: i64 = text.parse().ok()?;
        (number.to_string() == text).then_some(number)
    }

    fn bytes(&self, at: usize) -> Option<&[u8]> {
        self.0.get(at)?.as_deref()
    }

    /// Sequence, the link before and the link, as texts, and the columns of the row.
    pub fn sealed(&self) -> Option<(i64, &[u8], &[u8], Fields<'_>)> {
        let fields = Fields {
            organization: self.bytes(3)?,
            version: self.number(4)?,
            ordinal: self.number(5)?,
            at: Moment::Text(self.bytes(6)?),
            what: [7, 8, 9, 10].map(|at| self.bytes(at)),
            states: [11, 12].map(|at| self.bytes(at)),
            who: [13, 14, 15, 16, 17, 18, 19].map(|at| self.bytes(at)),
        };
        Some((self.number(0)?, self.bytes(1)?, self.bytes(2)?, fields))
    }
}

/// The value itself of one that was made harmless.
fn harmless(value: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    match value.split_first() {
        Some((b'\'', rest)) if is_formula(rest.first()) => Ok(rest.to_vec()),
        first if is_formula(first.map(|(first, _)| first)) => Err("a value could be taken for a formula"),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(value: Option<&[u8]>) -> Vec<u8> {
        let fields = Fields {
            organization: b"acme",
            version: -3,
            ordinal: 1,
            at: Moment::Micros(0),
            what: [value; 4],
            states: [None, value],
            who: [value; 7],
        };
        let mut out = Vec::new();
        write(1, "p", "h", &fields, &mut out);
        let read = Record::read(&mut out.as_slice()).expect("bytes").expect("a record").expect("it is whole");
        let (sequence, previous, hash, found) = read.sealed().expect("it has all columns");
        assert_eq!((sequence, previous, hash), (1, &b"p"[..], &b"h"[..]));
        assert_eq!(found.canonical(), fields.canonical());
        out
    }

    #[test]
    fn whatever_a_value_is_it_comes_back_and_is_no_formula() {
        for value in ["", "=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "'", "''=1", "a\"b", "a\n\"=1\",b", ",", "ü", "'x"]
        {
            let text = String::from_utf8(round(Some(value.as_bytes()))).expect("text");
            assert!(!text.contains("\"=") || value.contains("\"="), "{text}");
        }
        round(None);
        round(Some(b"\xff\xfe"));
    }

    #[test]
    fn a_value_has_one_form_alone() {
        let whole = String::from_utf8(round(Some(b"=x"))).expect("text");
        for wrong in [
            whole.replace("\"'=x\"", "\"=x\""),
            whole.replace("\"acme\"", "acme"),
            whole.replace("\"acme\"", "\"'acme\""),
            whole.replace(",\"acme\"", ""),
            whole.trim_end().to_owned(),
            whole.replace("\"1\"", "\"01\""),
        ] {
            let read = Record::read(&mut wrong.as_bytes()).expect("bytes").expect("a record");
            let whole = read.as_ref().ok().and_then(|record| record.sealed());
            // `'acme` is a value of its own, and so hashes to something else.
            assert!(whole.is_none() || wrong.contains("'acme"), "{wrong}");
        }
    }
}
