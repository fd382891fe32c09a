//! Walking along a chain: whether each row is the one that was sealed, and which is the first that is not.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::row::link;
use super::{Hash, NO_HASH};

/// Where a row stands among those of its organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Place {
    /// The version.
    pub version: i64,
    /// The place within the version.
    pub ordinal: i64,
}

/// A link as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The organization.
    pub organization: Arc<str>,
    /// Its place in the chain.
    pub sequence: i64,
    /// The row.
    pub place: Place,
    /// The link.
    pub hash: Hash,
}

/// An audit row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The organization.
    pub organization: Arc<str>,
    /// Where it stands.
    pub place: Place,
    /// Its canonical text.
    pub canonical: Vec<u8>,
}

/// A link that somebody vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Its place in the chain.
    pub sequence: i64,
    /// The link.
    pub hash: Hash,
}

/// What is known of a chain beside its rows and seals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where it is said to end; none if nothing is sealed.
    pub end: Option<(Point, Place)>,
    /// The checkpoints that count.
    pub checkpoints: Vec<Point>,
    /// The heads that count.
    pub heads: Vec<Point>,
}

/// What was done to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A row, or its seal, is not what it was.
    Changed,
    /// A row, its seal or both are gone.
    Removed,
    /// A row stands among those that were sealed and has no seal.
    Inserted,
    /// The order is another one.
    Reordered,
    /// The beginning is gone, and no checkpoint that counts stands in for it.
    Beginning,
    /// The chain is said to end elsewhere.
    End,
    /// The chain ends before a signed head.
    Cut,
    /// The chain is whole in itself, and a signed head says otherwise.
    Rewritten,
}

/// The first bad row of a chain, or the rows among which it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fault {
    /// The organization; empty for what all share.
    #[schemars(with = "String")]
    pub organization: Arc<str>,
    /// What was done.
    pub what: What,
    /// The sequence of the first bad row, or the first that may be.
    pub from: i64,
    /// The last that may be; the same where it is certain.
    pub to: i64,
    /// Where the row stands, if it is there.
    pub place: Option<Place>,
    /// The last row before it that a signed head vouches for; 0 if none does. Whoever changes a row behind it can compute
    /// links anew up to any other, and it is there that the chain breaks.
    pub vouched_until: i64,
}

impl Fault {
    /// In one sentence.
    pub fn message(&self) -> String {
        let Fault { organization: _, what, from, to, place, vouched_until: _ } = self;
        let rows = if from == to { format!("row {from}") } else { format!("rows {from} to {to}") };
        let at = place.map(|place| format!(" ({}.{})", place.version, place.ordinal)).unwrap_or_default();
        match what {
            What::Changed => format!("row {from}{at} or its seal was changed"),
            What::Removed => format!("{rows}{at}: the row, its seal or both were removed"),
            What::Inserted => format!("a row{at} was inserted before row {from}"),
            What::Reordered => format!("row {from}{at} is out of order"),
            What::Beginning => format!("{rows}: gone, and no signed checkpoint that counts stands in for them"),
            What::End => format!("row {from}: the chain is not said to end where its last seal is"),
            What::Cut => format!("{rows}: gone, and a signed head tells that the chain went on to there"),
            What::Rewritten => format!("{rows}: one of them was changed and all links after it were computed anew"),
        }
    }
}

/// What came of verifying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// How many chains there are.
    pub organizations: u64,
    /// How many rows were found to be sealed as they are.
    pub rows: u64,
    /// How many rows wait at the ends of chains to be sealed.
    pub unsealed: u64,
    /// How many chains begin at a checkpoint.
    pub checkpoints: u64,
    /// How many heads were found in their chain.
    pub heads: u64,
    /// The first bad row of each chain that has any.
    pub faults: Vec<Fault>,
}

/// Walks along all chains. Seals and rows come with those of an organization together, organizations in the order of
/// `facts`; seals by sequence, rows by place. Whoever is not in `facts` has to be put there before.
pub fn verify(
    facts: &[(Arc<str>, Facts)],
    seals: impl Iterator<Item = Seal>,
    rows: impl Iterator<Item = Row>,
) -> Report {
    let mut report = Report::default();
    let (mut seals, mut rows) = (seals.peekable(), rows.peekable());
    for (organization, facts) in facts {
        report.organizations += 1;
        let mut walk = Walk::new(organization, facts);
        while let Some(seal) = seals.next_if(|seal| seal.organization == *organization) {
            walk.step(&seal, &mut rows);
        }
        let fault = walk.end(&mut rows);
        report.rows += walk.rows;
        report.unsealed += walk.unsealed;
        report.checkpoints += u64::from(walk.from_checkpoint);
        report.heads += walk.heads_found;
        report.faults.extend(fault);
    }
    report
}

/// One chain.
struct Walk<'a> {
    organization: &'a Arc<str>,
    facts: &'a Facts,
    /// Heads by their sequence; those that were met are taken out.
    heads: BTreeMap<i64, Vec<Hash>>,
    /// The last link that was met, and where its row stands.
    last: Option<(Point, Place)>,
    /// The last head that was found to be right.
    good_head: i64,
    fault: Option<Fault>,
    /// The rows among which a head tells that one was changed.
    rewritten: Option<(i64, i64)>,
    rows: u64,
    unsealed: u64,
    heads_found: u64,
    from_checkpoint: bool,
}

impl<'a> Walk<'a> {
    fn new(organization: &'a Arc<str>, facts: &'a Facts) -> Walk<'a> {
        let mut heads: BTreeMap<i64, Vec<Hash>> = BTreeMap::new();
        for head in &facts.heads {
            let same = heads.entry(head.sequence).or_default();
            if !same.contains(&head.hash) {
                same.push(head.hash);
            }
        }
        Walk {
            organization,
            facts,
            heads,
            last: None,
            good_head: 0,
            fault: None,
            rewritten: None,
            rows: 0,
            unsealed: 0,
            heads_found: 0,
            from_checkpoint: false,
        }
    }

    fn fault(&mut self, what: What, from: i64, to: i64, place: Option<Place>) {
        let organization = self.organization.clone();
        let vouched_until = self.good_head;
        self.fault.get_or_insert(Fault { organization, what, from, to, place, vouched_until });
    }

    /// The next seal, and the rows up to it.
    fn step(&mut self, seal: &Seal, rows: &mut Peekable<impl Iterator<Item = Row>>) {
        let point = Point { sequence: seal.sequence, hash: seal.hash };
        let begins_here = self.last.is_none() && self.facts.checkpoints.contains(&point);
        if self.last.is_none() && !begins_here && seal.sequence != 1 {
            let dropped = self.facts.checkpoints.iter().map(|point| point.sequence).filter(|at| *at < seal.sequence);
            self.fault(What::Beginning, dropped.max().unwrap_or(0) + 1, seal.sequence - 1, None);
        }
        self.from_checkpoint |= begins_here;
        if !begins_here {
            self.compare(seal, rows);
        }
        self.last = Some((point, seal.place));
        let heads = self.heads.remove(&seal.sequence).unwrap_or_default();
        if heads.iter().any(|head| *head != seal.hash) {
            self.rewritten.get_or_insert((self.good_head + 1, seal.sequence));
        }
        if heads.contains(&seal.hash) {
            self.heads_found += 1;
            if self.rewritten.is_none() {
                self.good_head = seal.sequence;
            }
        }
    }

    fn compare(&mut self, seal: &Seal, rows: &mut Peekable<impl Iterator<Item = Row>>) {
        let (before, behind) = self.last.map_or((0, None), |(point, place)| (point.sequence, Some(place)));
        let previous = self.last.map_or(NO_HASH, |(point, _)| point.hash);
        if seal.sequence != before + 1 {
            self.fault(What::Removed, before + 1, seal.sequence - 1, None);
        }
        if behind.is_some_and(|behind| seal.place <= behind) {
            self.fault(What::Reordered, seal.sequence, seal.sequence, Some(seal.place));
        }
        let organization = self.organization;
        let mine = |row: &Row| row.organization == *organization;
        while let Some(early) = rows.next_if(|row| mine(row) && row.place < seal.place) {
            self.fault(What::Inserted, seal.sequence, seal.sequence, Some(early.place));
        }
        match rows.next_if(|row| mine(row) && row.place == seal.place) {
            None => self.fault(What::Removed, seal.sequence, seal.sequence, None),
            Some(row) if self.fault.is_none() => {
                if link(&previous, seal.sequence, &row.canonical) == seal.hash {
                    self.rows += 1;
                } else {
                    self.fault(What::Changed, seal.sequence, seal.sequence, Some(seal.place));
                }
            }
            // Behind the first bad row nothing more is to be told.
            Some(_) => {}
        }
    }

    /// What is left of the rows, where the chain ends, and what came of it all.
    fn end(&mut self, rows: &mut Peekable<impl Iterator<Item = Row>>) -> Option<Fault> {
        while rows.next_if(|row| row.organization == *self.organization).is_some() {
            self.unsealed += 1;
        }
        let last = self.last.map_or(0, |(point, _)| point.sequence);
        match self.facts.end {
            Some((end, _)) if end.sequence > last => self.fault(What::Removed, last + 1, end.sequence, None),
            Some((end, _)) if end.sequence == 0 && last == 0 => {}
            end if end != self.last => {
                let from = end.map_or(0, |(end, _)| end.sequence).min(last) + 1;
                self.fault(What::End, from, from, None);
            }
            _ => {}
        }
        if let Some((from, to)) = self.rewritten
            // Where the chain itself breaks before that head, it is the break that made the head a wrong one.
            && self.fault.as_ref().is_none_or(|fault| to < fault.from)
        {
            let organization = self.organization.clone();
            return Some(Fault { organization, what: What::Rewritten, from, to, place: None, vouched_until: from - 1 });
        }
        if let Some(beyond) = self.heads.keys().next_back().copied().filter(|sequence| *sequence > last) {
            self.fault(What::Cut, last + 1, beyond, None);
        }
        self.fault.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: i64) -> (Vec<Seal>, Vec<Row>, Facts) {
        let organization: Arc<str> = "acme".into();
        let (mut seals, mut rows, mut hash) = (Vec::new(), Vec::new(), NO_HASH);
        for sequence in 1..=length {
            let place = Place { version: sequence, ordinal: 1 };
            let row = Row { organization: organization.clone(), place, canonical: sequence.to_string().into_bytes() };
            hash = link(&hash, sequence, &row.canonical);
            seals.push(Seal { organization: organization.clone(), sequence, place, hash });
            rows.push(row);
        }
        let end = Some((Point { sequence: length, hash }, Place { version: length, ordinal: 1 }));
        (seals, rows, Facts { end, ..Facts::default() })
    }

    fn check(seals: &[Seal], rows: &[Row], facts: &Facts) -> Report {
        verify(&[("acme".into(), facts.clone())], seals.iter().cloned(), rows.iter().cloned())
    }

    fn first(seals: &[Seal], rows: &[Row], facts: &Facts) -> Option<(What, i64, i64)> {
        let faults = check(seals, rows, facts).faults;
        faults.into_iter().next().map(|fault| (fault.what, fault.from, fault.to))
    }

    #[test]
    fn a_chain_that_nobody_touched_is_whole_and_what_waits_is_counted() {
        let (seals, mut rows, facts) = chain(5);
        rows.push(Row {
            organization: "acme".into(),
            place: Place { version: 9, ordinal: 1 },
            canonical: b"new".to_vec(),
        });
        let report = check(&seals, &rows, &facts);
        assert_eq!((report.rows, report.unsealed, report.faults), (5, 1, Vec::new()));
    }

    #[test]
    fn a_checkpoint_stands_in_for_what_is_gone_and_only_that_one() {
        let (seals, rows, mut facts) = chain(5);
        let point = Point { sequence: 3, hash: seals[2].hash };
        assert_eq!(first(&seals[2..], &rows[3..], &facts), Some((What::Beginning, 1, 2)));
        facts.checkpoints = vec![point];
        let report = check(&seals[2..], &rows[3..], &facts);
        assert_eq!((report.rows, report.checkpoints, report.faults), (2, 1, Vec::new()));
        facts.checkpoints = vec![Point { hash: seals[1].hash, ..point }];
        assert_eq!(first(&seals[2..], &rows[3..], &facts), Some((What::Beginning, 1, 2)));
    }

    #[test]
    fn heads_tell_of_what_was_cut_and_rewritten() {
        let (seals, rows, mut facts) = chain(6);
        facts.heads = [2, 4, 6].map(|at| Point { sequence: at, hash: seals[at as usize - 1].hash }).to_vec();
        assert_eq!(first(&seals, &rows, &facts), None);
        let cut = chain(3).2;
        let cut = Facts { heads: facts.heads.clone(), ..cut };
        assert_eq!(first(&seals[..3], &rows[..3], &cut), Some((What::Cut, 4, 6)));
        // Row 3 was changed, and all links from there on.
        let mut forged = rows.clone();
        forged[2].canonical = b"forged".to_vec();
        let mut relinked = seals.clone();
        let mut hash = seals[1].hash;
        for (seal, row) in relinked.iter_mut().zip(&forged).skip(2) {
            hash = link(&hash, seal.sequence, &row.canonical);
            seal.hash = hash;
        }
        facts.end = Some((Point { sequence: 6, hash }, Place { version: 6, ordinal: 1 }));
        assert_eq!(first(&relinked, &forged, &facts), Some((What::Rewritten, 3, 4)));
        facts.heads.clear();
        assert_eq!(first(&relinked, &forged, &facts), None, "without heads nobody can tell");
    }
}
