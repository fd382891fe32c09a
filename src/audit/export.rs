//! Exports: their lines, and whether what was written is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::chain::{Fault, Place, Point, Report, What};
use super::csv::{self, Record};
use super::manifest::{Form, Manifest, Part};
use super::row::{Fields, link};
use super::{Hash, NO_HASH, hash_of_hex, hex};

/// The longest line.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Appends a row as a line of JSON.
pub fn write_line(sequence: i64, previous: &Hash, hash: &Hash, fields: &Fields<'_>, out: &mut Vec<u8>) {
    let (previous, hash) = (hex(previous), hex(hash));
    let head = format!("{{\"sequence\":{sequence},\"previous\":\"{previous}\",\"hash\":\"{hash}\",\"row\":");
    out.extend_from_slice(head.as_bytes());
    fields.write(out);
    out.extend_from_slice(b"}\n");
}

/// A row of an export.
struct Line {
    organization: Arc<str>,
    sequence: i64,
    place: Place,
    previous: Hash,
    hash: Hash,
    canonical: Vec<u8>,
}

/// What tells of a row where it stands.
#[derive(Deserialize)]
struct Names {
    organization: String,
    version: i64,
    ordinal: i64,
}

impl Line {
    fn of_json(line: &[u8]) -> Option<Line> {
        let rest = line.strip_prefix(b"{\"sequence\":")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let sequence: i64 = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let rest = rest[digits..].strip_prefix(b",\"previous\":\"")?;
        let (previous, rest) = rest.split_at_checked(64)?;
        let rest = rest.strip_prefix(b"\",\"hash\":\"")?;
        let (hash, rest) = rest.split_at_checked(64)?;
        let canonical = rest.strip_prefix(b"\",\"row\":")?.strip_suffix(b"}")?;
        let names: Names = serde_json::from_slice(canonical).ok()?;
        Some(Line {
            organization: names.organization.into(),
            sequence,
            place: Place { version: names.version, ordinal: names.ordinal },
            previous: hash_of(previous)?,
            hash: hash_of(hash)?,
            canonical: canonical.to_vec(),
        })
    }

    fn of_csv(record: &Record) -> Option<Line> {
        let (sequence, previous, hash, fields) = record.sealed()?;
        Some(Line {
            organization: str::from_utf8(fields.organization).ok()?.into(),
            sequence,
            place: Place { version: fields.version, ordinal: fields.ordinal },
            previous: hash_of(previous)?,
            hash: hash_of(hash)?,
            canonical: fields.canonical(),
        })
    }
}

fn hash_of(text: &[u8]) -> Option<Hash> {
    hash_of_hex(str::from_utf8(text).ok()?)
}

/// What is wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The line, counted from 1, or the record of CSV; none where it is about the whole.
    pub line: Option<u64>,
    /// The first bad row, where that can be told.
    pub fault: Option<Fault>,
    /// What is the matter.
    pub message: String,
}

/// What came of verifying an export.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Counts, and the first bad row of each organization.
    pub report: Report,
    /// What is wrong, the first of each organization, and of the whole.
    pub bad: Vec<Bad>,
}

/// Counts and hashes what goes by.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: BufRead> std::io::Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(&into[..read]);
        Ok(read)
    }
}

/// Compares an export with its manifest, with itself, and with heads that count. Of an export of whole chains these are
/// those of before it was made, of the organizations that it is about.
pub fn verify(
    from: impl BufRead,
    manifest: &Manifest,
    heads: &BTreeMap<Arc<str>, Vec<Point>>,
) -> std::io::Result<Checked> {
    let mut from = std::io::BufReader::with_capacity(1 << 20, Hashed { inner: from, hash: Sha256::new() });
    let mut check = Check { manifest, heads, checked: Checked::default(), of: None, seen: BTreeSet::new(), rows: 0 };
    let mut number = 0;
    loop {
        number += 1;
        let line = match manifest.form {
            Form::Ndjson => {
                use std::io::Read as _;
                let mut line = Vec::new();
                if (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                line.strip_suffix(b"\n").and_then(Line::of_json)
            }
            Form::Csv if number == 1 => {
                let mut line = Vec::new();
                from.read_until(b'\n', &mut line)?;
                if line != csv::header().as_bytes() {
                    check.whole("the first line does not name the columns");
                }
                continue;
            }
            Form::Csv => match Record::read(&mut from)? {
                None => break,
                Some(record) => record.ok().as_ref().and_then(Line::of_csv),
            },
        };
        match line {
            Some(line) => check.line(number, line),
            None => check.unreadable(number),
        }
    }
    let sha256: Hash = from.into_inner().hash.finalize().into();
    Ok(check.end(&sha256))
}

/// The organization whose rows are going by.
struct Current {
    organization: Arc<str>,
    last: Option<Line>,
    rows: u64,
    faulty: bool,
    heads: BTreeMap<i64, Vec<Hash>>,
    good_head: i64,
}

impl Current {
    fn new(organization: Arc<str>, heads: BTreeMap<i64, Vec<Hash>>) -> Current {
        Current { organization, last: None, rows: 0, faulty: false, heads, good_head: 0 }
    }
}

struct Check<'a> {
    manifest: &'a Manifest,
    heads: &'a BTreeMap<Arc<str>, Vec<Point>>,
    checked: Checked,
    of: Option<Current>,
    seen: BTreeSet<Arc<str>>,
    rows: u64,
}

impl Check<'_> {
    fn whole(&mut self, message: &str) {
        self.checked.bad.push(Bad { line: None, fault: None, message: message.into() });
    }

    fn fault(&mut self, line: Option<u64>, what: What, (from, to): (i64, i64), place: Option<Place>) {
        let Some(of) = self.of.as_mut().filter(|of| !of.faulty) else { return };
        of.faulty = true;
        let vouched_until = of.good_head;
        let fault = Fault { organization: of.organization.clone(), what, from, to, place, vouched_until };
        self.checked.bad.push(Bad { line, message: fault.message(), fault: Some(fault.clone()) });
        self.checked.report.faults.push(fault);
    }

    /// A line that is none: the row that should stand here is the first bad one.
    fn unreadable(&mut self, number: u64) {
        self.rows += 1;
        let next = self.of.as_ref().and_then(|of| of.last.as_ref()).map(|last| last.sequence + 1);
        match next.filter(|next| self.manifest.contiguous && self.part().is_none_or(|part| *next <= part.last)) {
            Some(next) => self.fault(Some(number), What::Changed, (next, next), None),
            None => self.checked.bad.push(Bad {
                line: Some(number),
                fault: None,
                message: "it cannot be read: it was changed".into(),
            }),
        }
    }

    fn part(&self) -> Option<Part> {
        self.manifest.organizations.get(&*self.of.as_ref()?.organization).copied()
    }

    fn line(&mut self, number: u64, line: Line) {
        self.rows += 1;
        if self.of.as_ref().is_none_or(|of| of.organization != line.organization) {
            self.end_of_organization();
            let again = !self.seen.insert(line.organization.clone());
            let mut heads: BTreeMap<i64, Vec<Hash>> = BTreeMap::new();
            for head in self.heads.get(&line.organization).into_iter().flatten() {
                heads.entry(head.sequence).or_default().push(head.hash);
            }
            let organization = line.organization.clone();
            self.of = Some(Current::new(organization, heads));
            if again {
                self.fault(Some(number), What::Reordered, (line.sequence, line.sequence), Some(line.place));
            }
            if let Some(first) = self.part().map(|part| part.first).filter(|first| *first != line.sequence) {
                let (what, to) =
                    if line.sequence > first { (What::Removed, line.sequence - 1) } else { (What::Inserted, first) };
                self.fault(Some(number), what, (first, to), None);
            }
        }
        let at = (line.sequence, line.sequence);
        let last = self.of.as_ref().and_then(|of| of.last.as_ref()).map(|last| (last.sequence, last.hash));
        if let Some((sequence, hash)) = last {
            if line.sequence <= sequence {
                self.fault(Some(number), What::Reordered, at, Some(line.place));
            } else if self.manifest.contiguous && line.sequence != sequence + 1 {
                self.fault(Some(number), What::Removed, (sequence + 1, line.sequence - 1), None);
            } else if line.sequence == sequence + 1 && line.previous != hash {
                self.fault(Some(number), What::Changed, at, Some(line.place));
            }
        }
        if link(&line.previous, line.sequence, &line.canonical) != line.hash {
            self.fault(Some(number), What::Changed, at, Some(line.place));
        }
        let Some(of) = &mut self.of else { return };
        of.rows += 1;
        let heads = of.heads.remove(&line.sequence).unwrap_or_default();
        let contradicted = heads.iter().any(|head| *head != line.hash);
        let rewritten = contradicted.then_some((of.good_head + 1, line.sequence));
        if heads.contains(&line.hash) {
            self.checked.report.heads += 1;
            if rewritten.is_none() {
                of.good_head = line.sequence;
            }
        }
        self.checked.report.rows += u64::from(!of.faulty && rewritten.is_none());
        of.last = Some(line);
        if let Some(rows) = rewritten {
            self.fault(Some(number), What::Rewritten, rows, None);
        }
    }

    /// Compares what went by with what the manifest says of the organization, and with heads of before it was made.
    fn end_of_organization(&mut self) {
        let Some(of) = &self.of else { return };
        self.checked.report.organizations += 1;
        let (rows, part) = (of.rows, self.part());
        let (last, hash) = of.last.as_ref().map_or((0, NO_HASH), |last| (last.sequence, last.hash));
        let beyond = of.heads.keys().next_back().copied().filter(|beyond| *beyond > last);
        if let Some(beyond) = beyond.filter(|_| self.manifest.contiguous) {
            self.fault(None, What::Cut, (last + 1, beyond), None);
        }
        match part {
            Some(part) if part.last > last => self.fault(None, What::Removed, (last + 1, part.last), None),
            Some(part) if part.last < last => self.fault(None, What::Inserted, (part.last + 1, last), None),
            Some(part) if part.hash != hash => self.fault(None, What::Changed, (part.first, part.last), None),
            Some(part) if part.rows != rows => self.fault(None, What::Removed, (part.first, part.last), None),
            // Where the manifest lists them, one that it does not list was put there.
            None if !self.manifest.organizations.is_empty() => self.fault(None, What::Inserted, (1, last), None),
            _ => {}
        }
    }

    fn end(mut self, sha256: &Hash) -> Checked {
        self.end_of_organization();
        self.of = None;
        self.missing();
        let nothing_told = self.checked.bad.is_empty();
        if nothing_told && self.rows != self.manifest.rows {
            self.whole(&format!("it holds {} rows, and its manifest says {}", self.rows, self.manifest.rows));
        } else if nothing_told && *sha256 != self.manifest.sha256 {
            self.whole("its SHA-256 is not the one of its manifest");
        }
        self.checked
    }

    /// Whatever the manifest lists, or heads tell of, and is not there at all.
    fn missing(&mut self) {
        let missing: Vec<(String, Part)> = self
            .manifest
            .organizations
            .iter()
            .filter(|(name, _)| !self.seen.contains(name.as_str()))
            .map(|(name, part)| (name.clone(), *part))
            .collect();
        for (name, part) in missing {
            let organization: Arc<str> = name.into();
            self.of = Some(Current::new(organization, BTreeMap::new()));
            self.fault(None, What::Removed, (part.first, part.last), None);
        }
        let heads = self.heads.iter().filter(|(name, _)| self.manifest.contiguous && !self.seen.contains(&**name));
        let headed: Vec<(Arc<str>, i64)> = heads
            .filter(|(name, _)| !self.manifest.organizations.contains_key(&***name))
            .filter_map(|(name, points)| Some((name.clone(), points.iter().map(|point| point.sequence).max()?)))
            .collect();
        for (organization, last) in headed {
            self.of = Some(Current::new(organization, BTreeMap::new()));
            self.fault(None, What::Cut, (1, last), None);
        }
    }
}
