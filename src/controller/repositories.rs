//! Repositories that namespaces name: sources that come and go while the controller runs. Which object has the name of a source
//! stands in the database, so that no other one ever takes its place by itself.

mod named;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use named::Named;

use super::cluster::{LISTING, Office};
use super::{Desk, GIT, Shared};
use crate::commands::context::Context;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::source::cluster::repository::{Repository, Wanted};
use crate::source::cluster::status::Standing;
use crate::store::error::StoreError;
use crate::store::queue::Claim;

/// The most repositories that a namespace may name.
const REPOSITORIES_MAX: usize = 200;

/// How often all of them are gone through, whatever was heard; and at most.
const ROUND: Duration = Duration::from_secs(600);
const GAP: Duration = Duration::from_millis(200);

/// How long to wait before trying again where the database does not answer, and for lists that are still to come.
const AGAIN: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(50);

/// Goes through what namespaces name, whenever that has moved.
pub struct Registry {
    shared: Arc<Shared>,
    context: Context,
    /// The sources that are there whatever namespaces say.
    fixed: Vec<Arc<Desk>>,
    /// What each object said when it was last gone through, by its id; nothing where it was no source then.
    known: BTreeMap<Box<str>, Option<u64>>,
    /// What objects were told that are no sources, by their ids.
    told: BTreeMap<Box<str>, Told>,
}

/// How an object stands of this generation, and why.
type Told = (i64, Standing, String);

/// An object, and the namespace that it is in.
struct Entry {
    office: Arc<Office>,
    repository: Repository,
    /// Whether its namespace names too many that are older.
    is_beyond: bool,
}

impl Entry {
    fn named(&self) -> Named {
        Named::new(&self.office, &self.repository)
    }
}

impl Registry {
    /// Nothing was gone through yet.
    pub fn new(shared: &Arc<Shared>, context: &Context) -> Registry {
        let context = context.of_source("", context.git());
        let (known, told) = (BTreeMap::new(), BTreeMap::new());
        Registry { shared: shared.clone(), context, fixed: shared.desks(), known, told }
    }

    /// Whether any namespace may name a repository.
    pub fn is_needed(&self) -> bool {
        self.offices().next().is_some()
    }

    /// The namespaces that may name some.
    fn offices(&self) -> impl Iterator<Item = &Arc<Office>> {
        self.shared.offices.iter().filter(|office| office.at().1.binding.repositories.is_some())
    }

    /// Waits until all of them are listed, or have had the time to be.
    pub async fn listed(&self) {
        let listed = async {
            while !self.offices().all(|office| office.at().1.repositories().listed) {
                tokio::time::sleep(STEP).await;
            }
        };
        if tokio::time::timeout(LISTING, listed).await.is_err() {
            tracing::warn!("the repositories of some namespaces are not known yet, and come when they are");
        }
    }

    /// Goes through all of them again and again.
    pub async fn follow(mut self) {
        let Some(cluster) = self.offices().next().map(|office| office.at().0.clone()) else { return };
        loop {
            let wait = match self.go_through().await {
                Ok(()) => ROUND,
                Err(error) => {
                    tracing::warn!(%error, "the repositories that namespaces name are not gone through: {error}");
                    AGAIN
                }
            };
            tokio::time::sleep(GAP).await;
            // Whatever moves between two rounds is heard by the next one.
            let _ = tokio::time::timeout(wait, cluster.repositories_moved()).await;
        }
    }

    /// Makes desks of those that may be sources, wakes those that say something new, and tells the others why they are none.
    pub async fn go_through(&mut self) -> Result<(), StoreError> {
        let entries = self.entries();
        let (mut desks, mut others) = (self.fixed.clone(), Vec::new());
        let mut known = BTreeMap::new();
        for entry in &entries {
            let Entry { repository, .. } = entry;
            match self.desk(entry).await? {
                Ok(desk) => {
                    desks.push(Arc::new(desk));
                    known.insert(repository.uid.clone(), Some(repository.moves));
                }
                Err((standing, why)) => {
                    others.push((entry, standing, why));
                    known.insert(repository.uid.clone(), None);
                }
            }
        }
        self.shared.set_desks(desks);
        self.shared.wake.notify_waiters();
        let mut told = BTreeMap::new();
        for (entry, standing, why) in others {
            let Repository { uid, generation, observed, .. } = &entry.repository;
            let now = (*generation, standing, why);
            if self.told.get(uid) != Some(&now) || observed != generation {
                entry.named().tell(standing, &now.2, self.context.now()).await;
            }
            told.insert(uid.clone(), now);
        }
        (self.known, self.told) = (known, told);
        Ok(())
    }

    /// All objects; whoever was there first comes first.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for office in self.offices() {
            let repositories = office.at().1.repositories();
            let mut there: Vec<&Repository> = repositories.all().filter(|repository| !repository.deleting).collect();
            there.sort_by_cached_key(|repository| (repository.made_at.clone(), repository.name.clone()));
            entries.extend(there.into_iter().enumerate().map(|(number, repository)| Entry {
                office: office.clone(),
                repository: repository.clone(),
                is_beyond: number >= REPOSITORIES_MAX,
            }));
        }
        entries.sort_by_cached_key(|entry| entry.repository.made_at.clone());
        entries
    }

    /// The desk of an object that is a source; or how it stands, and why.
    async fn desk(&self, entry: &Entry) -> Result<Result<Desk, (Standing, String)>, StoreError> {
        let wanted = match stands(entry) {
            Ok(wanted) => wanted,
            Err(why) => return Ok(Err(why)),
        };
        // Whoever had the name in the last round has it, unless the database says otherwise in the turn itself.
        let own = entry.named().called();
        let has_it = |desk: &Arc<Desk>| {
            desk.settings.name == wanted.source && desk.named.as_ref().is_some_and(|named| named.called() == own)
        };
        let is_as_before = self.known.get(&entry.repository.uid) == Some(&Some(entry.repository.moves));
        let is_settled = is_as_before && self.shared.desks().iter().any(has_it);
        if !is_settled && let Some(whose) = self.claim(entry, wanted).await? {
            let why = format!(
                "a source that is called `{}` is there already, by {whose}; whoever runs Argus frees the name with \
                 `argus.forget_source`",
                wanted.source
            );
            return Ok(Err((Standing::OwnedByAnotherSource, why)));
        }
        let desk = entry.named().desk(&self.context, wanted, BTreeMap::new());
        Ok(desk.map_err(|finding| (Standing::InvalidManifest, said(&finding))))
    }

    /// Claims the name of a source for an object. Gives whose it is, if it is somebody else's.
    async fn claim(&self, entry: &Entry, wanted: &Wanted) -> Result<Option<String>, StoreError> {
        let (store, own) = (&self.shared.store, entry.named().called());
        let said = format!("{:016x}", entry.repository.moves);
        let other = match store.claim_source(&wanted.source, GIT, &own, &said).await? {
            Claim::Own => return Ok(None),
            Claim::Machine => return Ok(Some("the settings of a machine".into())),
            Claim::Others(other) => other,
        };
        // Within a namespace it passes from an object that is gone to the one that comes after it; beyond it never does.
        let before = named::called(entry.office.at().1, "");
        if let Some(name) = other.strip_prefix(&before)
            && matches!(Named::is_there(&entry.office, name).await, Ok(false))
            && store.hand_over_source(&wanted.source, &other, &own).await?
        {
            return Ok(None);
        }
        Ok(Some(other))
    }
}

/// What an object asks for, if it may be a source now; or how it stands, and why.
fn stands(entry: &Entry) -> Result<&Wanted, (Standing, String)> {
    let wanted = entry.repository.said.as_ref().map_err(|finding| {
        let standing = if finding.code == Code::NotBound { Standing::NotBound } else { Standing::InvalidManifest };
        (standing, said(finding))
    })?;
    if entry.is_beyond {
        let why =
            format!("its namespace names {REPOSITORIES_MAX} repositories that are older, and no more are looked at");
        return Err((Standing::InvalidManifest, why));
    }
    match wanted.suspend {
        true => Err((Standing::Suspended, "`spec.suspend` says so".into())),
        false => Ok(wanted),
    }
}

/// A finding with its code and what to do.
fn said(finding: &Finding) -> String {
    let hint = finding.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{}: {}{hint}", finding.code, finding.said())
}
