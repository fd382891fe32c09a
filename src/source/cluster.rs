//! Custom resources of Kubernetes as a source: watched, kept in short, and answered. With the controller the only home
//! of kube and k8s-openapi.
//!
//! Each namespace that is bound to organizations is a source of its own, and is watched by itself: whoever runs Argus
//! gives it a role in these namespaces and none in the cluster, an object of another namespace is never even seen, and
//! what is wrong with one namespace is wrong with that one alone. The price, a watch for every kind and namespace, is a
//! connection each, which API servers are made for.

pub mod admission;
pub mod api;
pub mod cache;
pub mod object;
pub mod settings;
pub mod status;
mod watch;
pub mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch as word};
use tokio::task::JoinSet;

use api::{Api, Fault, Times};
use cache::{Cache, Moved};
use settings::{Binding, ClusterSettings};

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
}

impl Followed {
    /// What is known of it. The lock is held for a moment only, and never while something is waited for.
    pub fn cache(&self) -> MutexGuard<'_, Cache> {
        // A cache is whole between any two statements that may panic.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
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
    for namespace in settings.namespaces.keys() {
        examined.push((namespace.clone(), examine_one(&api, namespace).await));
    }
    Ok(examined)
}

async fn examine_one(api: &Api, namespace: &str) -> Result<(), Box<Finding>> {
    let refused = |fault: Fault| Box::new(fault.finding(&format!("follow the namespace `{namespace}`")));
    for kind in KINDS {
        // A list of which one page is enough.
        api.page(namespace, KindId::of(kind), None).await.map_err(refused)?;
    }
    for kind in KINDS {
        let plural = kind.plural.to_lowercase();
        for (verb, part) in [("watch", ""), ("patch", ""), ("patch", "status")] {
            if !api.may(namespace, (verb, GROUP, &plural, part)).await.map_err(refused)? {
                let part = if part.is_empty() { String::new() } else { format!("/{part}") };
                let message = format!("may not {verb} {plural}{part} of {GROUP}");
                return Err(refused(Fault { status: 403, message, retry_after: None }));
            }
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
                waker: waker.clone(),
                anew: word::Sender::new(0),
            });
            for kind in KINDS {
                watches.spawn(watch::follow(api.clone(), followed.clone(), KindId::of(kind)));
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
