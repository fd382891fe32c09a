//! Custom resources of Kubernetes as a source: watched, kept in short, and answered. With the controller the only home
//! of kube and k8s-openapi.
//!
//! Each namespace that is bound to organizations is a source of its own, and is watched by itself: whoever runs Argus
//! gives it a role in these namespaces and none in the cluster, an object of another namespace is never even seen, and
//! what is wrong with one namespace is wrong with that one alone. The price, a watch for every kind and namespace, is a
//! connection each, which API servers are made for.

pub mod admission;
pub mod api;
pub mod bound;
pub mod cache;
pub mod object;
pub mod repository;
pub mod settings;
pub mod sort;
pub mod status;
mod watch;
pub mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch as word};
use tokio::task::JoinSet;

use api::{Api, Fault, Times};
use bound::Bound;
use cache::{Cache, Moved, Stale};
use object::{Kept, Key, Object, keep_anew};
use repository::{Repositories, Repository};
use settings::{Binding, ClusterSettings};
use sort::Sort;
use watch::Keeps;

use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::kind::{KINDS, KindId};

/// The group of the kinds.
const GROUP: &str = "argus.io";

/// The bound namespaces of a cluster, followed until this is dropped.
pub struct Cluster {
    api: Api,
    namespaces: BTreeMap<Arc<str>, Arc<Followed>>,
    waker: Arc<Waker>,
    /// Ends with this.
    _watches: JoinSet<()>,
}

/// A namespace that is followed.
pub struct Followed {
    /// What the cluster is called.
    pub cluster: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The source that it is.
    pub source: String,
    /// What it may describe.
    pub binding: Binding,
    cache: Mutex<Cache>,
    repositories: Mutex<Repositories>,
    /// When a page of it was last listed.
    heard_at: Mutex<Instant>,
    waker: Arc<Waker>,
    /// Counts how often somebody has asked for a list of everything.
    anew: word::Sender<u64>,
}

/// Which organizations of which namespaces have moved since somebody asked. What they say now is in the cache.
#[derive(Default)]
struct Waker {
    moved: Mutex<BTreeSet<(Arc<str>, Moved)>>,
    notify: Notify,
    /// Told when repositories that are named have moved.
    repositories: Notify,
}

impl Followed {
    /// What is known of it. The lock is held for a moment only, and never while something is waited for.
    pub fn cache(&self) -> MutexGuard<'_, Cache> {
        // A cache is whole between any two statements that may panic.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the repositories that it names; the same goes for this lock.
    pub fn repositories(&self) -> MutexGuard<'_, Repositories> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it may describe.
    pub fn bound(&self) -> Bound {
        Bound { namespace: self.name.clone(), binding: self.binding.clone() }
    }

    /// What an object says of a repository.
    pub fn repository(&self, object: &Object) -> Repository {
        let at = format!("{}/{}/{}/{}", self.cluster, self.name, Sort::GitSource, object.metadata.name);
        Repository::of(object, &self.name, &self.binding, &at)
    }

    /// How long ago the last page of it was listed, or since when it is followed. Large namespaces take their time; one of which
    /// nothing comes any more is one that cannot be listed.
    pub fn silence(&self) -> Duration {
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn heard(&self) {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Has everything listed anew: something was missed.
    pub fn list_anew(&self) {
        self.anew.send_modify(|times| *times += 1);
    }

    fn wake(&self, moved: BTreeSet<Moved>) {
        if moved.is_empty() {
            return;
        }
        let moved = moved.into_iter().map(|organization| (self.name.clone(), organization));
        self.waker.moved.lock().unwrap_or_else(PoisonError::into_inner).extend(moved);
        self.waker.notify.notify_one();
    }
}

/// Asks a cluster whether its bound namespaces can be followed, and their objects answered. Gives what is in the way, by
/// namespace.
pub async fn examine(settings: &ClusterSettings) -> Result<Vec<(String, Result<(), Box<Finding>>)>, Box<Finding>> {
    settings.check()?;
    let api = Api::new(settings, "doctor", Times::default()).await?;
    let mut examined = Vec::new();
    for (namespace, binding) in &settings.namespaces {
        examined.push((namespace.clone(), examine_one(&api, namespace, binding).await));
    }
    Ok(examined)
}

async fn examine_one(api: &Api, namespace: &str, binding: &Binding) -> Result<(), Box<Finding>> {
    let refused = |fault: Fault| Box::new(fault.finding(&format!("follow the namespace `{namespace}`")));
    let may_not = |what: String| refused(Fault { status: 403, message: format!("may not {what}"), retry_after: None });
    let kinds = KINDS.iter().map(|kind| Sort::Kind(KindId::of(kind)));
    let sorts: Vec<Sort> = kinds.chain(binding.repositories.as_ref().map(|_| Sort::GitSource)).collect();
    for sort in &sorts {
        // A list of which one page is enough.
        api.page(namespace, *sort, None).await.map_err(refused)?;
    }
    for plural in sorts.iter().map(|sort| sort.plural()) {
        for (verb, part) in [("watch", ""), ("patch", ""), ("patch", "status")] {
            if !api.may(namespace, (verb, GROUP, &plural, part), None).await.map_err(refused)? {
                let part = if part.is_empty() { String::new() } else { format!("/{part}") };
                return Err(may_not(format!("{verb} {plural}{part} of {GROUP}")));
            }
        }
    }
    for secret in binding.repositories.iter().flat_map(|bound| &bound.secrets) {
        if !api.may(namespace, ("get", "", "secrets", ""), Some(secret)).await.map_err(refused)? {
            return Err(may_not(format!("get the Secret `{secret}`")));
        }
    }
    Ok(())
}

impl Cluster {
    /// Begins to follow the bound namespaces. What cannot be reached yet is tried again and again.
    pub async fn follow(settings: &ClusterSettings, replica: &str, times: Times) -> Result<Cluster, Box<Finding>> {
        settings.check()?;
        let api = Api::new(settings, replica, times).await?;
        let waker = Arc::<Waker>::default();
        let cluster: Arc<str> = settings.name.as_str().into();
        let mut watches = JoinSet::new();
        let mut namespaces = BTreeMap::new();
        for (name, binding) in &settings.namespaces {
            let followed = Arc::new(Followed {
                cluster: cluster.clone(),
                name: name.as_str().into(),
                source: settings.source_of(name),
                binding: binding.clone(),
                heard_at: Mutex::new(Instant::now()),
                cache: Mutex::new(Cache::new(&cluster, name, settings.deletion_policy)),
                repositories: Mutex::default(),
                waker: waker.clone(),
                anew: word::Sender::new(0),
            });
            for kind in KINDS {
                let keeper = OfKind { namespace: followed.clone(), kind: KindId::of(kind) };
                watches.spawn(watch::follow(api.clone(), followed.clone(), keeper));
            }
            if followed.binding.repositories.is_some() {
                watches.spawn(watch::follow(api.clone(), followed.clone(), OfRepositories(followed.clone())));
            }
            namespaces.insert(followed.name.clone(), followed);
        }
        Ok(Cluster { api, namespaces, waker, _watches: watches })
    }

    /// What is asked of the API server.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The namespaces, in order.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Followed>> {
        self.namespaces.values()
    }

    /// A namespace.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Followed>> {
        self.namespaces.get(name)
    }

    /// Waits until the repositories that some namespace names have moved.
    pub async fn repositories_moved(&self) {
        self.waker.repositories.notified().await;
    }

    /// Waits until something moves, and gives all that has moved since the last time: a namespace with an organization,
    /// or with none for an object that belongs to none that may be there.
    pub async fn moved(&self) -> BTreeSet<(Arc<str>, Option<OrganizationName>)> {
        loop {
            let notified = self.waker.notify.notified();
            let moved = std::mem::take(&mut *self.waker.moved.lock().unwrap_or_else(PoisonError::into_inner));
            if !moved.is_empty() {
                return moved;
            }
            notified.await;
        }
    }
}

/// What is heard of one kind of manifests goes to the cache.
struct OfKind {
    namespace: Arc<Followed>,
    kind: KindId,
}

impl Keeps for OfKind {
    type Kept = Kept;

    fn sort(&self) -> Sort {
        self.kind.into()
    }

    fn take(&self, object: Object) -> Kept {
        let Followed { cluster, name, binding, .. } = &*self.namespace;
        let known = self.namespace.cache().object(&(self.kind, object.metadata.name.as_str().into())).cloned();
        keep_anew(cluster, name, binding, self.kind, object, known)
    }

    fn replace(&self, listed: u64, all: Vec<Kept>) -> Result<(), Stale> {
        let moved = self.namespace.cache().replace(self.kind, listed, all)?;
        self.namespace.wake(moved);
        Ok(())
    }

    fn change(&self, object: Object) {
        let kept = self.take(object);
        let moved = self.namespace.cache().change(kept);
        self.namespace.wake(moved);
    }

    fn remove(&self, name: &str, version: u64) {
        let key: Key = (self.kind, name.into());
        let moved = self.namespace.cache().remove(&key, version);
        self.namespace.wake(moved);
    }

    fn reached(&self, version: u64) {
        self.namespace.cache().reached(self.kind, version);
    }

    fn failed(&self, why: Finding) {
        self.namespace.cache().failed(self.kind, why);
    }
}

/// What is heard of repositories.
struct OfRepositories(Arc<Followed>);

impl Keeps for OfRepositories {
    type Kept = Repository;

    fn sort(&self) -> Sort {
        Sort::GitSource
    }

    fn take(&self, object: Object) -> Repository {
        self.0.repository(&object)
    }

    fn replace(&self, listed: u64, all: Vec<Repository>) -> Result<(), Stale> {
        self.0.repositories().replace(listed, all)?;
        self.0.waker.repositories.notify_one();
        Ok(())
    }

    fn change(&self, object: Object) {
        let one = self.take(object);
        if self.0.repositories().change(one) {
            self.0.waker.repositories.notify_one();
        }
    }

    fn remove(&self, name: &str, version: u64) {
        self.0.repositories().remove(name, version);
        self.0.waker.repositories.notify_one();
    }

    fn reached(&self, version: u64) {
        self.0.repositories().reached(version);
    }

    fn failed(&self, why: Finding) {
        self.0.repositories().fault = Some(why);
    }
}
