//! Repositories that namespaces name: sources that come and go while the controller runs.

mod named;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use named::Named;

use super::cluster::{LISTING, Office};
use super::{Desk, GIT, Shared};
use crate::commands::context::Context;
use crate::diff::matches;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::source::cluster::repository::{Repository, Wanted};
use crate::source::cluster::status::Standing;
use crate::store::error::StoreError;

/// How often all of them are gone through, whatever was heard.
const ROUND: Duration = Duration::from_secs(600);

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
}

impl Entry {
    fn named(&self) -> Named {
        Named::new(&self.office, &self.repository)
    }
}

/// What is to be done about all of them.
#[derive(Default)]
struct Sorted<'e> {
    /// The sources that there are, with those that are there anyway.
    desks: Vec<Arc<Desk>>,
    /// Those that are to be looked at soon.
    fresh: Vec<String>,
    /// Objects that are no sources: how they stand, and why.
    others: Vec<(&'e Entry, Standing, String)>,
    /// What each says.
    known: BTreeMap<Box<str>, Option<u64>>,
}

impl Registry {
    /// Nothing was gone through yet.
    pub fn new(shared: &Arc<Shared>, context: &Context) -> Registry {
        let context = context.of_source("", context.git());
        Registry {
            shared: shared.clone(),
            context,
            fixed: shared.desks(),
            known: BTreeMap::new(),
            told: BTreeMap::new(),
        }
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
            // Whatever moves between two rounds is heard by the next one.
            let _ = tokio::time::timeout(wait, cluster.repositories_moved()).await;
        }
    }

    /// Makes desks of those that may be sources, wakes those that say something new, and tells the others why they are none.
    pub async fn go_through(&mut self) -> Result<(), StoreError> {
        let entries = self.entries();
        let Sorted { desks, fresh, others, known } = self.sorted(&entries);
        for desk in &desks[self.fixed.len()..] {
            self.shared.store.enroll(&desk.settings.name, GIT).await?;
        }
        self.shared.set_desks(desks);
        for source in fresh {
            self.shared.store.wake_source(&source).await?;
        }
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
            let there = repositories.all().filter(|repository| !repository.deleting);
            entries.extend(there.map(|repository| Entry { office: office.clone(), repository: repository.clone() }));
        }
        entries.sort_by_cached_key(|Entry { office, repository }| {
            (repository.made_at.clone(), office.at().1.name.clone(), repository.name.clone())
        });
        entries
    }

    /// What is to be done about each.
    fn sorted<'e>(&self, entries: &'e [Entry]) -> Sorted<'e> {
        let by_the_machine = |desk: &Arc<Desk>| (desk.settings.name.clone(), "the settings of the machine".to_owned());
        let mut taken: BTreeMap<String, String> = self.fixed.iter().map(by_the_machine).collect();
        let mut sorted = Sorted { desks: self.fixed.clone(), ..Sorted::default() };
        for entry in entries {
            let Entry { office, repository } = entry;
            let stands = self.stands(repository, &taken);
            if let Ok(wanted) = &repository.said {
                let by = || format!("{}/{}", office.at().1.name, repository.name);
                taken.entry(wanted.source.clone()).or_insert_with(by);
            }
            let desk = stands.and_then(|wanted| {
                let desk = |wanted| entry.named().desk(&self.context, wanted, BTreeMap::new());
                wanted.map(desk).transpose().map_err(|finding| (Standing::InvalidManifest, said(&finding)))
            });
            let moves = matches!(desk, Ok(Some(_))).then_some(repository.moves);
            sorted.known.insert(repository.uid.clone(), moves);
            match desk {
                Ok(Some(desk)) => {
                    if self.is_new(repository) {
                        sorted.fresh.push(desk.settings.name.clone());
                    }
                    sorted.desks.push(Arc::new(desk));
                }
                // Nobody can tell yet who was there first.
                Ok(None) => {}
                Err((standing, why)) => sorted.others.push((entry, standing, why)),
            }
        }
        sorted
    }

    /// Whether it says something that nobody has looked at.
    fn is_new(&self, repository: &Repository) -> bool {
        match self.known.get(&repository.uid) {
            Some(moves) => *moves != Some(repository.moves),
            None => repository.observed != repository.generation,
        }
    }

    /// What an object asks for, if it is to be a source now; or how it stands, and why.
    fn stands<'r>(
        &self,
        repository: &'r Repository,
        taken: &BTreeMap<String, String>,
    ) -> Result<Option<&'r Wanted>, (Standing, String)> {
        let wanted = repository.said.as_ref().map_err(|finding| {
            let standing = if finding.code == Code::NotBound { Standing::NotBound } else { Standing::InvalidManifest };
            (standing, said(finding))
        })?;
        if let Some(by) = taken.get(&wanted.source) {
            let why = format!("a source that is called `{}` is there already, by {by}", wanted.source);
            return Err((Standing::OwnedByAnotherSource, why));
        }
        if wanted.suspend {
            return Err((Standing::Suspended, "`spec.suspend` says so".into()));
        }
        let may_have_it = |office: &&Arc<Office>| {
            let bound = office.at().1.binding.repositories.as_ref();
            bound.is_some_and(|bound| bound.names.iter().any(|pattern| matches(pattern, &wanted.source)))
        };
        let known = self.offices().filter(may_have_it).all(|office| office.at().1.repositories().listed);
        Ok(known.then_some(wanted))
    }
}

/// A finding with its code and what to do.
fn said(finding: &Finding) -> String {
    let hint = finding.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{}: {}{hint}", finding.code, finding.said())
}
