//! Whose commits these are: authors, committers, and whoever signed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use git2::Oid;

use super::{Checkout, commit};
use crate::model::revision::names_in;
use crate::signature::Signers;

/// How many commits are looked at for the people behind them. They are read one by one, and compared with nothing.
const COMMITS_MAX: usize = 200_000;

/// Who has a part in some commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// By all names, in lower case.
    pub names: BTreeSet<String>,
    /// The fingerprints of the keys that have signed them.
    pub keys: BTreeSet<String>,
    /// Whether there may be others, because not all of the history is here, or can be read, or is looked at.
    pub others: bool,
}

impl Checkout {
    /// Everybody who has a part in what leads here and not to another commit; without another one, in all that leads here.
    /// Who signed is asked where signers are known.
    pub fn people_beside(&self, other: Option<&str>, signers: Option<&Signers>, now: DateTime<Utc>) -> People {
        let mut people = People::default();
        if self.note_people(other, signers, now, &mut people).is_none() {
            people.others = true;
        }
        people
    }

    /// Goes through the commits; nothing if that comes to an end before theirs.
    fn note_people(
        &self,
        other: Option<&str>,
        signers: Option<&Signers>,
        now: DateTime<Utc>,
        people: &mut People,
    ) -> Option<()> {
        let repository = &self.depot.repository;
        let cut_off = self.depot.cut_off().ok()?;
        let mut walk = repository.revwalk().ok()?;
        walk.push(self.id()).ok()?;
        let other = other.and_then(|other| Oid::from_str(other).ok());
        if let Some(other) = other.filter(|other| repository.find_commit(*other).is_ok()) {
            walk.hide(other).ok()?;
        }
        for (number, id) in walk.enumerate() {
            let id = id.ok().filter(|id| number < COMMITS_MAX && !cut_off.contains(id))?;
            self.note_people_of(id, signers, now, people)?;
        }
        Some(())
    }

    /// Everybody who has a part in one commit.
    pub fn people_of(&self, commit: &str, signers: Option<&Signers>, now: DateTime<Utc>) -> People {
        let mut people = People::default();
        let id = Oid::from_str(commit).ok();
        people.others = id.and_then(|id| self.note_people_of(id, signers, now, &mut people)).is_none();
        people
    }

    fn note_people_of(
        &self,
        id: Oid,
        signers: Option<&Signers>,
        now: DateTime<Utc>,
        people: &mut People,
    ) -> Option<()> {
        let found = self.depot.repository.find_commit(id).ok()?;
        people.names.extend(commit::read(&found).people());
        let signer = signers.and_then(|signers| self.signer_of(id, signers, None, now).ok());
        // A forge that signs what it merged for somebody is nobody.
        if let Some(signer) = signer.filter(|signer| !signer.by_forge) {
            people.names.extend(names_in(&signer.name));
            people.keys.insert(signer.key);
        }
        Some(())
    }
}
