//! Workers: each turn is a look at a source that is due, or work on a batch of organizations that are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::oneshot;

use super::turns::{self, Taker, Turn};
use super::{Desk, Shared, look, pass, tellers};
use crate::agenda::GAP;
use crate::commands::context::Failure;
use crate::failpoint::failpoint;
use crate::metrics::table::{CONTROLLER_FAILURES, CONTROLLER_TURNS};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::store::error::StoreError;
use crate::store::queue::{Holder, SourceState, Sources};

/// The longest that a worker sleeps when nothing is due: whatever it was not told of is found then. Where somebody else is at
/// work, who may die over it, or is ahead of this replica, it is shorter.
const SLEEP_MAX: Duration = Duration::from_secs(60);
const NAP_MAX: Duration = Duration::from_secs(3);

/// How many organizations are worked on together: enough that reading a source once is worth it, few enough that a batch
/// ends soon.
const BATCH_MAX: usize = 200;

/// Starts a worker, and gives how many turns it has done when it ends.
pub fn start(shared: &Arc<Shared>, number: u16) -> oneshot::Receiver<usize> {
    turns::start(
        shared,
        format!("worker {number}"),
        Worker { shared: shared.clone(), number, turns: AtomicUsize::new(number.into()) },
    )
}

struct Worker {
    shared: Arc<Shared>,
    number: u16,
    /// How many turns were begun.
    turns: AtomicUsize,
}

impl Taker for Worker {
    fn number(&self) -> u16 {
        self.number
    }

    /// One look, or work on one batch.
    async fn turn(&self, holder: &Holder) -> Result<Turn, StoreError> {
        let known = self.shared.store.sources().await?;
        let mut desks = self.shared.desks();
        desks.retain(|desk| desk.is_its_own(&known));
        // Every turn begins somewhere else, so that none of the sources comes last for all of them.
        let begin = self.turns.fetch_add(1, Ordering::Relaxed) % desks.len().max(1);
        desks.rotate_left(begin);
        for desk in &desks {
            if look_is_due(desk, &known)
                && let Some(place) = self.shared.place(desk)
                && self.look(desk, holder, &known).await?
            {
                self.shared.free(place);
                return Ok(Turn::Busy);
            }
        }
        for desk in &desks {
            let due = known.sources.get(&desk.settings.name).and_then(|source| source.due);
            if due.is_some_and(|due| due <= known.now)
                && let Some(place) = self.shared.place(desk)
                && self.work_on_a_batch(desk, holder).await?
            {
                self.shared.free(place);
                return Ok(Turn::Busy);
            }
        }
        // Whoever is about one of those that have no place now wakes all when it is over.
        desks.retain(|desk| self.shared.place(desk).is_some());
        let wait = until_next(&desks, &known);
        // What somebody has just asked for is due in a moment.
        let is_over = self.shared.once && TimeDelta::from_std(wait).is_ok_and(|wait| wait > GAP);
        Ok(if is_over { Turn::Over } else { Turn::Idle(wait) })
    }
}

impl Worker {
    /// Looks at a source, unless somebody else does. What goes wrong is the source's own business.
    async fn look(&self, desk: &Arc<Desk>, holder: &Holder, known: &Sources) -> Result<bool, StoreError> {
        let store = &self.shared.store;
        let name = &desk.settings.name;
        let Some(source) = known.sources.get(name) else { return Ok(false) };
        let Some(at_hand) = self.at_hand(desk).await else { return Ok(false) };
        let Some(taken) = store.take_source(name, holder).await? else { return Ok(false) };
        failpoint("controller.after_take", name);
        let full = desk.settings.rhythm().due(&source.facts, known.now).full;
        let looking = tokio::time::timeout(desk.settings.timeout(), async {
            look::look(at_hand.as_ref().map_err(Failure::again)?, store, full).await
        });
        self.shared.metrics.add(&CONTROLLER_TURNS, &[name, "look"], 1.0);
        let looked = looking.await.unwrap_or_else(|_| Err(too_long(desk)));
        match looked {
            Ok(found) => {
                failpoint("controller.before_looked", name);
                let moved = store.looked(&taken, &found).await?;
                if let (Some(office), Some(_)) = (&desk.office, moved) {
                    office.noted();
                }
                failpoint("controller.after_looked", name);
                look::tell(desk, store, &found.findings, source.facts.failures > 0).await;
                tellers::report(desk, store).await;
                tracing::info!(source = name, revision = found.revision, moved, full, "looked at {name}");
            }
            Err(Failure { findings, commit, .. }) => {
                self.shared.metrics.add(&CONTROLLER_FAILURES, &[name, "look"], 1.0);
                look::tell_stalled(desk, store, &findings).await;
                if store.look_failed(&taken, &findings).await? {
                    tellers::report_failed(desk, store, commit.as_deref(), &findings).await;
                }
            }
        }
        at_hand.as_ref().unwrap_or(desk).tell(store, None, &[]).await;
        Ok(true)
    }

    /// A source as it is at this moment, or why it cannot be told; nothing where it is to be none any more.
    async fn at_hand(&self, desk: &Arc<Desk>) -> Option<Result<Arc<Desk>, Failure>> {
        match desk.at_hand().await {
            Ok(Some(at_hand)) => Some(Ok(at_hand)),
            Ok(None) => {
                self.shared.drop_desk(desk);
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Works on some organizations of a source that are due, if there are any left.
    async fn work_on_a_batch(&self, desk: &Arc<Desk>, holder: &Holder) -> Result<bool, StoreError> {
        let (store, name) = (&self.shared.store, &desk.settings.name);
        if desk.office.as_ref().is_some_and(|office| office.is_behind()) {
            // Another replica can do it now, and this one cannot.
            return Ok(false);
        }
        let Some(at_hand) = self.at_hand(desk).await else { return Ok(false) };
        let claimed = store.claim_work(name, holder, desk.settings.concurrency(), BATCH_MAX).await?;
        let Some(batch) = claimed else { return Ok(false) };
        failpoint("controller.after_claim", name);
        self.shared.metrics.add(&CONTROLLER_TURNS, &[name, "work"], 1.0);
        let working = tokio::time::timeout(desk.settings.timeout(), async {
            pass::work(at_hand.as_ref().map_err(Failure::again)?, store, &batch).await
        });
        let told = at_hand.as_ref().unwrap_or(desk);
        match working.await.unwrap_or_else(|_| Err(too_long(desk))) {
            Ok(done) => {
                failpoint("controller.before_settle", name);
                store.settle_work(&batch, done.run.as_ref(), &done.settled).await?;
                // Whoever has written meanwhile was not heard, because this one was at work.
                if store.wake_what_moved().await? > 0 {
                    self.shared.wake.notify_waiters();
                }
                failpoint("controller.after_settle", name);
                told.tell(store, Some(&done), &[]).await;
            }
            Err(Failure { findings, .. }) => {
                self.shared.metrics.add(&CONTROLLER_FAILURES, &[name, "work"], 1.0);
                let why = findings.first().map(|finding| finding.message.as_str()).unwrap_or_default();
                tracing::warn!(source = name, why, "a batch of {name} came to nothing: {why}");
                // Whatever takes too long may be the fault of one of them; what is wrong with the source is not.
                let alone = findings.iter().any(|finding| finding.code == Code::TookTooLong);
                store.give_back(&batch, alone, &findings).await?;
                told.tell(store, None, &findings).await;
            }
        }
        tellers::report(desk, store).await;
        Ok(true)
    }
}

fn too_long(desk: &Desk) -> Failure {
    let message = format!("a step of `{}` took longer than {:?}", desk.settings.name, desk.settings.timeout());
    Failure::from(Finding::error(Code::TookTooLong, message).hint("`timeout` of the source says how long it may take"))
}

/// Whether a source is to be looked at now: it is due, and what it depends on is through.
fn look_is_due(desk: &Desk, known: &Sources) -> bool {
    let Some(source) = known.sources.get(&desk.settings.name) else { return false };
    let is_ready = desk.office.as_ref().is_none_or(|office| office.is_ready());
    is_ready && !source.held && awaited(desk, &known.sources).is_none() && when(desk, source, known.now) <= known.now
}

/// The source that another one waits for.
pub fn awaited<'a>(desk: &'a Desk, sources: &BTreeMap<String, SourceState>) -> Option<&'a str> {
    let is_through = |name: &&String| sources.get(*name).is_some_and(SourceState::is_through);
    desk.settings.depends_on.iter().find(|name| !is_through(name)).map(String::as_str)
}

fn when(desk: &Desk, source: &SourceState, now: DateTime<Utc>) -> DateTime<Utc> {
    let by_itself = desk.settings.rhythm().due(&source.facts, now).at;
    let touched = desk.office.as_ref().and_then(|office| office.waits()).map(|wait| now + wait);
    touched.map_or(by_itself, |touched| touched.min(by_itself))
}

/// How long nothing is due, as far as it is known now.
fn until_next(desks: &[Arc<Desk>], known: &Sources) -> Duration {
    let next = desks.iter().filter_map(|desk| {
        let source = known.sources.get(&desk.settings.name)?;
        let look =
            Some(when(desk, source, known.now)).filter(|_| !source.held && awaited(desk, &known.sources).is_none());
        // What is due and was not taken is in somebody's hands, who tells when it is free.
        let work = source.due.filter(|due| *due > known.now);
        [look, work].into_iter().flatten().min()
    });
    let wait = next.min().map(|next| (next - known.now).to_std().unwrap_or(Duration::from_millis(100)));
    let is_behind = |desk: &Desk| desk.office.as_ref().is_some_and(|office| office.is_behind());
    // It is in somebody's hands, who may stand still and tell nobody.
    let not_taken = |desk: &Desk| {
        known.sources.get(&desk.settings.name).and_then(|source| source.due).is_some_and(|due| due <= known.now)
    };
    let busy = known.sources.values().any(|source| source.held || source.worked_on)
        || desks.iter().any(|desk| is_behind(desk) || not_taken(desk));
    let longest = if busy { NAP_MAX } else { SLEEP_MAX };
    wait.unwrap_or(longest).min(longest)
}
