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
const ROUND: Duration = Duration::from_secs(60);

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
}

/// An object with what is to be done about it.
struct Entry<'a> {
    office: &'a Arc<Office>,
    repository: Repository,
}

impl Registry {
    /// Nothing was gone through yet.
    pub fn new(shared: &Arc<Shared>, context: &Context) -> Registry {
        let context = context.of_source("", context.git());
        Registry { shared: shared.clone(), context, fixed: shared.desks(), known: BTreeMap::new() }
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
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for office in self.offices() {
            let repositories = office.at().1.repositories();
            let there = repositories.all().filter(|repository| !repository.deleting);
            entries.extend(there.map(|repository| Entry { office, repository: repository.clone() }));
        }
        // Whoever was there first has the name.
        entries.sort_by(|a, b| {
            let place = |entry: &Entry<'_>| (entry.repository.made_at.clone(), entry.office.at().1.name.clone());
            (place(a), &a.repository.name).cmp(&(place(b), &b.repository.name))
        });
        let mut taken: BTreeMap<String, String> =
            self.fixed.iter().map(|desk| (desk.settings.name.clone(), "the settings of the machine".into())).collect();
        let (mut desks, mut fresh, mut others) = (self.fixed.clone(), Vec::new(), Vec::new());
        let mut known = BTreeMap::new();
        for entry in &entries {
            let (_, followed) = entry.office.at();
            known.insert(entry.repository.uid.clone(), None);
            let named = Named::new(entry.office, &entry.repository);
            match self.stands(entry, &taken) {
                Ok(Some(wanted)) => {
                    taken.insert(wanted.source.clone(), format!("{}/{}", followed.name, entry.repository.name));
                    if entry.repository.observed != entry.repository.generation || self.is_new(&entry.repository) {
                        fresh.push(wanted.source.clone());
                    }
                    match named.desk(&self.context, wanted, BTreeMap::new()) {
                        Ok(desk) => {
                            known.insert(entry.repository.uid.clone(), Some(entry.repository.moves));
                            desks.push(Arc::new(desk));
                        }
                        Err(finding) => others.push((named, Standing::InvalidManifest, said(&finding))),
                    }
                }
                // Nobody can tell yet who was there first.
                Ok(None) => {}
                Err((standing, why)) => others.push((named, standing, why)),
            }
        }
        for desk in &desks[self.fixed.len()..] {
            self.shared.store.enroll(&desk.settings.name, GIT).await?;
        }
        self.shared.set_desks(desks);
        for source in fresh {
            self.shared.store.wake_source(&source).await?;
        }
        self.shared.wake.notify_waiters();
        for (named, standing, why) in others {
            named.tell(standing, &why, self.context.now()).await;
        }
        self.known = known;
        Ok(())
    }

    fn is_new(&self, repository: &Repository) -> bool {
        // What was there before this process is looked at in its time.
        self.known.get(&repository.uid).is_some_and(|moves| *moves != Some(repository.moves))
    }

    /// What an object asks for, if it is to be a source now; or how it stands, and why.
    fn stands<'e>(
        &self,
        entry: &'e Entry<'_>,
        taken: &BTreeMap<String, String>,
    ) -> Result<Option<&'e Wanted>, (Standing, String)> {
        let wanted = entry.repository.said.as_ref().map_err(|finding| {
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
