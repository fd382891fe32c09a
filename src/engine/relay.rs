//! The relay: takes events out of the database and gives them to a sink, in order per organization, until the sink has
//! confirmed them.
//!
//! A worker holds parts of a sink by leases, and takes turns: hold, claim, deliver, confirm. Dying between any two of these
//! loses nothing. What was claimed and not confirmed may have arrived; the next one to hold that part asks the sink before
//! sending it again. A worker that was paused for longer than its lease is shut out by a fence when it confirms.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::agenda::Backoff;
use crate::event::cloud::Event;
use crate::failpoint::failpoint;
use crate::metrics::Metrics;
use crate::metrics::table::{DELIVERY_FAILURES, EVENTS_DELIVERED, EVENTS_REFUSED, OUTBOX_LAG};
use crate::sink::{BadSink, Delivered, Sink, SinkSettings};
use crate::store::Store;
use crate::store::deliveries::{Arrival, Shard};
use crate::store::ear::Word;
use crate::store::error::StoreError;
use crate::trace::delivery::Delivery;

/// How long a worker holds its parts without saying that it is still there.
const LEASE: Duration = Duration::from_secs(30);

/// How often it says so.
const BEAT: Duration = Duration::from_secs(5);

/// How long it waits for a word that something was told before it looks.
const LOOK: Duration = Duration::from_secs(2);

/// How many events of a part are claimed at once.
const CLAIM_MAX: i64 = 500;

/// How often old events are dropped, and how many in one transaction.
const TIDYING: Duration = Duration::from_secs(3600);
const FORGET_MAX: i32 = 10_000;

/// How long a worker waits after something has failed: at first, and at most.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(400), longest: Duration::from_secs(60) };

/// How a relay works.
#[derive(Clone, Debug)]
pub struct Relaying {
    /// A name for this process that no other has.
    pub holder: String,
    /// How many workers each sink has.
    pub workers: usize,
    /// Whether to end when nothing waits any more, instead of waiting for more.
    pub once: bool,
    /// How long events are kept that nobody waits for.
    pub keep: Duration,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

/// What a relay has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// How many events the sinks have confirmed.
    pub delivered: u64,
    /// How many had arrived before, and were not sent again.
    pub found: u64,
    /// How many a sink will never take.
    pub refused: u64,
    /// What failed last, by sink, where a relay that runs once could not deliver everything.
    pub failed: Vec<(String, String)>,
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Settings.
    #[error(transparent)]
    BadSink(#[from] BadSink),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Delivers to all sinks, each by workers of its own, so that none waits for another; until told to stop.
pub async fn run(
    store: &Store,
    sinks: &[SinkSettings],
    relaying: &Relaying,
    stop: watch::Receiver<bool>,
) -> Result<Relayed, RelayError> {
    // Before anything starts: all of them can be opened.
    for settings in sinks {
        Sink::open(settings)?;
        if store.register_sink(&settings.name).await? {
            let name = &settings.name;
            tracing::warn!(
                sink = name,
                "events are kept for the sink {name} from now on; what happened before is not delivered"
            );
        }
    }
    let told = Arc::new(Notify::new());
    let ear = tokio::spawn(listen(store.clone(), told.clone()));
    let tidying = tokio::spawn(tidy(store.clone(), relaying.keep));
    let mut workers = tokio::task::JoinSet::new();
    for settings in sinks {
        for number in 0..relaying.workers.max(1) {
            let worker = Worker {
                store: store.clone(),
                sink: Sink::open(settings)?,
                holder: format!("{}/{number}", relaying.holder),
                metrics: relaying.metrics.clone(),
                once: relaying.once,
                told: told.clone(),
                stop: stop.clone(),
                shards: Vec::new(),
                beaten: None,
                failures: 0,
                relayed: Relayed::default(),
            };
            workers.spawn(worker.work());
        }
    }
    let mut all = Relayed::default();
    while let Some(relayed) = workers.join_next().await {
        let relayed = relayed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        all.delivered += relayed.delivered;
        all.found += relayed.found;
        all.refused += relayed.refused;
        all.failed.extend(relayed.failed);
    }
    ear.abort();
    tidying.abort();
    if relaying.once {
        forget_old(store, relaying.keep).await?;
    }
    Ok(all)
}

/// Drops what is old, every now and then.
async fn tidy(store: Store, keep: Duration) {
    loop {
        if let Err(error) = forget_old(&store, keep).await {
            tracing::warn!(%error, "old events are not dropped: {error}");
        }
        tokio::time::sleep(TIDYING).await;
    }
}

async fn forget_old(store: &Store, keep: Duration) -> Result<(), StoreError> {
    while store.forget_events(keep, FORGET_MAX).await? == i64::from(FORGET_MAX) {}
    Ok(())
}

/// Wakes the workers when something is told. They look by themselves as well, so that nothing hangs on this.
async fn listen(store: Store, told: Arc<Notify>) {
    loop {
        if let Ok(mut ear) = store.ear(Word::Events).await {
            while ear.hear(LOOK).await.is_ok() {
                told.notify_waiters();
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Somebody who delivers to one sink.
struct Worker {
    store: Store,
    sink: Sink,
    holder: String,
    metrics: Arc<Metrics>,
    once: bool,
    told: Arc<Notify>,
    stop: watch::Receiver<bool>,
    shards: Vec<Shard>,
    beaten: Option<Instant>,
    failures: u32,
    relayed: Relayed,
}

/// How a turn ended.
enum Turn {
    /// Something was delivered, and there may be more.
    Busy,
    /// Nothing waits.
    Idle,
    /// Something failed, and this is what.
    Failed(String),
}

impl Worker {
    async fn work(mut self) -> Relayed {
        while !*self.stop.borrow() {
            let told = self.told.clone();
            let told = told.notified();
            let turn = self.turn().await.unwrap_or_else(|error| Turn::Failed(error.to_string()));
            match turn {
                Turn::Busy => self.failures = 0,
                Turn::Idle if self.once => break,
                Turn::Idle => {
                    self.failures = 0;
                    tokio::select! {
                        () = told => {}
                        () = tokio::time::sleep(LOOK) => {}
                        _ = self.stop.changed() => {}
                    }
                }
                Turn::Failed(why) => {
                    let sink = self.sink.name().to_owned();
                    self.metrics.add(&DELIVERY_FAILURES, &[&sink], 1.0);
                    tracing::warn!(sink, why, "nothing can be delivered to the sink {sink}: {why}");
                    self.store.register_again(&sink).await;
                    // What is held may have become uncertain, or somebody else's.
                    self.beaten = None;
                    if self.once {
                        self.relayed.failed.push((sink, why));
                        break;
                    }
                    self.failures += 1;
                    let wait = BACKOFF.after(self.failures, &self.holder);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = self.stop.changed() => {}
                    }
                }
            }
        }
        // A courtesy: otherwise the others wait until the lease has passed.
        if let Err(error) = self.store.release_shards(self.sink.name(), &self.holder).await {
            tracing::debug!(%error, "the parts of a sink were not given back");
        }
        self.relayed
    }

    /// One turn.
    async fn turn(&mut self) -> Result<Turn, StoreError> {
        if self.beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT) {
            self.shards = self.store.hold_shards(self.sink.name(), &self.holder, LEASE).await?;
            self.beaten = Some(Instant::now());
            failpoint("relay.after_hold", self.sink.name());
        }
        while let Some(at) = self.shards.iter().position(|shard| shard.uncertain) {
            if let Some(why) = self.settle(self.shards[at]).await? {
                return Ok(Turn::Failed(why));
            }
            self.shards[at].uncertain = false;
        }
        let events = self.store.claim(self.sink.name(), &self.shards, CLAIM_MAX).await?;
        if events.is_empty() {
            return Ok(Turn::Idle);
        }
        failpoint("relay.after_claim", self.sink.name());
        let began = SystemTime::now();
        let (store, name, holder) = (&self.store, self.sink.name().to_owned(), &self.holder);
        let Delivered { arrived, refused, failed } = held(store, &name, holder, self.sink.deliver(&events)).await;
        failpoint("relay.after_delivery", self.sink.name());
        let delivery = Delivery { sink: &name, system: self.sink.word(), began, ended: SystemTime::now() };
        self.tell(&delivery, &events, &arrived, &refused);
        self.relayed.delivered += arrived.len() as u64;
        self.relayed.refused += refused.len() as u64;
        for (place, why) in &refused {
            let event = &events[*place];
            tracing::error!(event = event.id, why, "the sink {} refuses event {}: {why}", self.sink.name(), event.id);
        }
        let arrived = arrived.into_iter().map(|place| (&events[place], Arrival::Confirmed));
        let refused = refused.into_iter().map(|(place, why)| (&events[place], Arrival::Refused(why)));
        let arrivals: Vec<(&Event, Arrival)> = arrived.chain(refused).collect();
        let claimed = self.claimed(&events);
        self.store.confirm(self.sink.name(), &claimed, &arrivals, failed.is_none()).await?;
        failpoint("relay.after_confirm", self.sink.name());
        Ok(failed.map_or(Turn::Busy, Turn::Failed))
    }

    /// Tells those who watch of what was delivered: metrics, and the traces that the events are part of.
    fn tell(&self, delivery: &Delivery<'_>, events: &[Event], arrived: &[usize], refused: &[(usize, String)]) {
        let sink = [delivery.sink];
        self.metrics.add(&EVENTS_DELIVERED, &sink, arrived.len() as f64);
        self.metrics.add(&EVENTS_REFUSED, &sink, refused.len() as f64);
        for event in arrived.iter().map(|place| &events[*place]) {
            let waited = delivery.ended.duration_since(event.at.into()).unwrap_or_default();
            self.metrics.observe(&OUTBOX_LAG, &sink, waited.as_secs_f64());
            delivery.tell(event, None);
        }
        for (place, why) in refused {
            delivery.tell(&events[*place], Some(why));
        }
    }

    /// Finds out what of a part has arrived although nobody has confirmed it. Gives why that cannot be found out.
    async fn settle(&mut self, shard: Shard) -> Result<Option<String>, StoreError> {
        loop {
            let events = self.store.claim(self.sink.name(), &[shard], CLAIM_MAX).await?;
            let (store, name, holder) = (&self.store, self.sink.name().to_owned(), &self.holder);
            let found = match held(store, &name, holder, self.sink.arrived(&events)).await {
                Ok(found) => found,
                Err(why) => return Ok(Some(why)),
            };
            failpoint("relay.after_question", self.sink.name());
            let arrived: Vec<&Event> = events.iter().filter(|event| found.contains(&event.id)).collect();
            // Where all of these had arrived, there may be more behind them that had.
            let more = !events.is_empty() && arrived.len() == events.len();
            self.relayed.found += arrived.len() as u64;
            let arrivals: Vec<(&Event, Arrival)> =
                arrived.into_iter().map(|event| (event, Arrival::Confirmed)).collect();
            self.store.confirm(self.sink.name(), &[shard], &arrivals, !more).await?;
            if !more {
                return Ok(None);
            }
        }
    }

    /// The parts that some events are of. All of a claim's parts are there: only they are uncertain.
    fn claimed(&self, events: &[Event]) -> Vec<Shard> {
        let of: std::collections::BTreeSet<i16> = events.iter().map(|event| event.shard).collect();
        self.shards.iter().filter(|shard| of.contains(&shard.number)).copied().collect()
    }
}

/// Says now and then that somebody is still there, while something takes its time.
async fn held<T>(store: &Store, sink: &str, holder: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(BEAT) => {
                // Whoever could not say so finds out when confirming.
                if let Err(error) = store.keep_shards(sink, holder, LEASE).await {
                    tracing::debug!(%error, "the parts of a sink are not kept");
                }
            }
        }
    }
}
