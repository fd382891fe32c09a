//! Being there: each worker goes by a name that the database believes in for as long as it is told so. Whoever has lost track
//! of what they hold (an error, a panic, a pause longer than that) goes on under another name, and what was held under the
//! old one is free.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::queue::Holder;

/// How often somebody says that they are there while the database believes it: a word that comes late, or not at all, costs
/// nothing yet.
const BEATS_PER_LEASE: u32 = 4;

/// The workers of this replica that are there.
pub struct Presence {
    replica: String,
    /// For how long the database believes that they are there.
    lease: Duration,
    drawn: AtomicU64,
    workers: Mutex<BTreeMap<u16, Holder>>,
}

impl Presence {
    /// Nobody yet, of a replica of this name; for how long the database is to believe in those who come.
    pub fn new(replica: String, lease: Duration) -> Presence {
        Presence { replica, lease, drawn: AtomicU64::new(0), workers: Mutex::default() }
    }

    /// The name of the replica.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<u16, Holder>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that a worker goes by; a new one if it has none any more.
    pub async fn of(&self, store: &Store, worker: u16) -> Result<Holder, StoreError> {
        if let Some(holder) = self.workers().get(&worker).cloned() {
            return Ok(holder);
        }
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let holder = Holder::new(format!("{}/{worker}.{drawn}", self.replica));
        store.arrive(&holder, self.lease).await?;
        self.workers().insert(worker, holder.clone());
        Ok(holder)
    }

    /// Drops the name of a worker: what it holds is free at once, or when the database stops believing in it.
    pub async fn lose(&self, store: &Store, worker: u16) {
        let lost = self.workers().remove(&worker);
        if let Some(lost) = lost
            && let Err(error) = store.leave(&[lost]).await
        {
            tracing::debug!(%error, "a name is not given up, and goes by itself: {error}");
        }
    }

    /// Gives up all names.
    pub async fn end(&self, store: &Store) {
        let all: Vec<Holder> = std::mem::take(&mut *self.workers()).into_values().collect();
        if let Err(error) = store.leave(&all).await {
            tracing::warn!(%error, "what is held is not given back, and others wait until its time is over: {error}");
        }
    }

    /// Says again and again that everybody is there. Whoever is lost is woken, to go on under another name.
    pub async fn beat(&self, store: &Store, wake: &Notify) {
        loop {
            tokio::time::sleep(self.lease / BEATS_PER_LEASE).await;
            let all: Vec<Holder> = self.workers().values().cloned().collect();
            match store.beat(&all, self.lease).await {
                Ok(alive) => {
                    let gone = |holder: &Holder| all.contains(holder) && !alive.contains(holder);
                    let mut workers = self.workers();
                    if workers.values().any(gone) {
                        tracing::warn!(
                            "this replica was away for too long, and what it held may be somebody else's now"
                        );
                        workers.retain(|_, holder| !gone(holder));
                        wake.notify_waiters();
                    }
                }
                Err(error) => tracing::warn!(%error, "the database cannot be told that this replica is there: {error}"),
            }
        }
    }
}
