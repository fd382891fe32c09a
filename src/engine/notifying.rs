//! Notifying: what the rules of organizations tell of events is queued, and what is queued is brought to the channels.
//!
//! Two that take turns beside the relay. The one who matches takes the events that wait under a name of their own, and queues
//! messages in the transaction that notes that the events were matched. The one who sends takes channels by a lease, many
//! at a time and each by itself, so that one that does not answer delays no other. Dying between sending and noting sends
//! the message again, under the same id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::relay::Relaying;
use crate::agenda::Backoff;
use crate::event::cloud::Event;
use crate::failpoint::failpoint;
use crate::notification;
use crate::sink::courier::{Courier, MESSAGE_TIME_MAX, Sent};
use crate::store::Store;
use crate::store::deliveries::Shard;
use crate::store::ear::Word;
use crate::store::error::StoreError;
use crate::store::notifications::{Gate, Outcome, Queued, SINK};

/// How long the one who matches holds parts without saying that they are still there, and how often they say so.
const LEASE: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_secs(5);

/// How long somebody waits for a word before they look.
const LOOK: Duration = Duration::from_secs(1);

/// How many events of a part are looked at at once.
const CLAIM_MAX: i64 = 200;

/// How many organizations are matched in a turn, and how many messages a turn may make for each: whoever has many rules and
/// many events gets on in small steps, and keeps nobody else waiting.
const TURN_ORGANIZATIONS: usize = 16;
const TURN_MATCHES: usize = 500;

/// How many channels are sent to at the same time, and how many of those may be ones that have failed last: however many
/// of them do not answer, there is always room for the others.
const AT_ONCE: usize = 256;
const FAILING_AT_ONCE: usize = 64;

/// How many messages a channel is given in a turn, and how long the turn may go on.
const TURN_MESSAGES: i64 = 20;
const TURN_TIME: Duration = Duration::from_secs(10);

/// A message that takes longer than this is the last of its turn, and the channel counts as one that fails until it is quick.
const SLOW: Duration = Duration::from_secs(2);

/// How long a channel is held: longer than any turn.
const GATE_LEASE: Duration = Duration::from_secs(60);

/// How long a message waits after it was not taken: at first, and at most.
const MESSAGE_BACKOFF: Backoff = Backoff { first: Duration::from_secs(10), longest: Duration::from_secs(3600) };

/// How long a channel is left alone after something has failed: at first, and at most.
const CHANNEL_BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(300) };

/// How often old messages are dropped.
const TIDYING: Duration = Duration::from_secs(3600);

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// How many messages were queued.
    pub queued: u64,
    /// How many were taken.
    pub sent: u64,
    /// How many were not, and are tried again.
    pub again: u64,
    /// How many will never be taken.
    pub failed: u64,
}

impl Notified {
    fn add(&mut self, other: Notified) {
        self.queued += other.queued;
        self.sent += other.sent;
        self.again += other.again;
        self.failed += other.failed;
    }
}

/// Notifies until told to stop, or until there is nothing to do now.
pub async fn run(
    store: &Store,
    courier: Courier,
    relaying: &Relaying,
    stop: watch::Receiver<bool>,
) -> Result<Notified, StoreError> {
    if store.register_sink(SINK).await? {
        tracing::warn!("events are matched with the rules of notifications from now on; what happened before is not");
    }
    let news = Arc::new(Notify::new());
    let tidying = tokio::spawn(tidy(store.clone(), relaying.keep));
    let holder = format!("{}/matching", relaying.holder);
    let matcher = Matcher { store: store.clone(), holder, shards: Vec::new(), beaten: None, turns: 0 };
    let sender = Sender { store: store.clone(), courier: Arc::new(courier), once: relaying.once, news: news.clone() };
    let mut all = Notified::default();
    if relaying.once {
        all.queued = matcher.work(true, stop.clone(), &news).await?;
        all.add(sender.work(stop).await?);
        store.forget_notifications(relaying.keep).await?;
    } else {
        let (queued, sent) = tokio::join!(matcher.work(false, stop.clone(), &news), sender.work(stop));
        all.queued = queued?;
        all.add(sent?);
    }
    tidying.abort();
    Ok(all)
}

/// Drops what is old, every now and then.
async fn tidy(store: Store, keep: Duration) {
    loop {
        tokio::time::sleep(TIDYING).await;
        if let Err(error) = store.forget_notifications(keep).await {
            tracing::warn!(%error, "old messages are not dropped: {error}");
        }
    }
}

/// The one who matches events with rules.
struct Matcher {
    store: Store,
    holder: String,
    shards: Vec<Shard>,
    beaten: Option<Instant>,
    turns: usize,
}

impl Matcher {
    /// Matches until told to stop, or until no event waits. Gives how many messages were queued.
    async fn work(mut self, once: bool, mut stop: watch::Receiver<bool>, news: &Notify) -> Result<u64, StoreError> {
        let (mut queued, mut ear) = (0, None);
        while !*stop.borrow() {
            let turn = self.turn().await;
            match turn {
                Ok(Some(new)) => {
                    queued += new;
                    news.notify_one();
                }
                Ok(None) if once => break,
                Err(error) if once => return Err(error),
                Ok(None) | Err(_) => {
                    if let Err(error) = turn {
                        tracing::warn!(%error, "events are not matched with the rules of notifications: {error}");
                        self.store.register_again(SINK).await;
                        ear = None;
                        // What is held may be somebody else's by now.
                        self.beaten = None;
                    }
                    if ear.is_none() {
                        ear = self.store.ear(Word::Events).await.ok();
                    }
                    tokio::select! {
                        heard = async {
                            match &mut ear {
                                Some(ear) => ear.hear(LOOK).await.is_ok(),
                                None => { tokio::time::sleep(LOOK).await; true }
                            }
                        } => if !heard { ear = None },
                        _ = stop.changed() => {}
                    }
                }
            }
        }
        if let Err(error) = self.store.release_shards(SINK, &self.holder).await {
            tracing::debug!(%error, "parts were not given back");
        }
        Ok(queued)
    }

    /// Matches some events. Gives how many messages were queued, or nothing if no event waits.
    async fn turn(&mut self) -> Result<Option<u64>, StoreError> {
        if self.beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT) {
            self.shards = self.store.hold_shards(SINK, &self.holder, LEASE).await?;
            self.beaten = Some(Instant::now());
        }
        // Nothing leaves the database here, so that nothing is ever uncertain.
        let claimed = self.store.claim(SINK, &self.shards, CLAIM_MAX).await?;
        if claimed.is_empty() {
            return Ok(None);
        }
        let organizations = self.next_organizations(&claimed);
        let names: Vec<&str> = organizations.iter().map(String::as_str).collect();
        let rules = self.store.notification_rules(&names).await?;
        let events = notification::first_of_each(claimed, &organizations, &rules, TURN_MATCHES);
        let told = notification::told(&events, &rules);
        failpoint("notify.after_match", SINK);
        let of: BTreeSet<i16> = events.iter().map(|event| event.shard).collect();
        let claimed: Vec<Shard> = self.shards.iter().filter(|shard| of.contains(&shard.number)).copied().collect();
        let new = self.store.queue_notifications(&claimed, &events, &told).await?;
        failpoint("notify.after_queue", SINK);
        Ok(Some(new))
    }
}

impl Matcher {
    /// The organizations that are matched in this turn: each gets its turn, however many there are.
    fn next_organizations(&mut self, claimed: &[Event]) -> BTreeSet<String> {
        let all: BTreeSet<&String> = claimed.iter().map(|event| &event.organization).collect();
        let first = self.turns.wrapping_mul(TURN_ORGANIZATIONS) % all.len();
        self.turns = self.turns.wrapping_add(1);
        all.iter().cycle().skip(first).take(TURN_ORGANIZATIONS.min(all.len())).map(|name| (*name).clone()).collect()
    }
}

/// The one who sends.
struct Sender {
    store: Store,
    courier: Arc<Courier>,
    once: bool,
    news: Arc<Notify>,
}

impl Sender {
    /// Sends until told to stop, or until nothing is due.
    async fn work(&self, mut stop: watch::Receiver<bool>) -> Result<Notified, StoreError> {
        let mut all = Notified::default();
        let mut turns: JoinSet<(bool, Notified)> = JoinSet::new();
        let mut failing_now = 0;
        while !*stop.borrow() {
            let mut taken = 0;
            for failing in [false, true] {
                let room = AT_ONCE - turns.len();
                let room = if failing { room.min(FAILING_AT_ONCE - failing_now) } else { room };
                let gates = match self.store.hold_gates(failing, room as i64, GATE_LEASE).await {
                    Ok(gates) => gates,
                    Err(error) if self.once => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "messages are not sent: {error}");
                        Vec::new()
                    }
                };
                taken += gates.len();
                failing_now += if failing { gates.len() } else { 0 };
                for gate in gates {
                    let turn =
                        ChannelTurn { store: self.store.clone(), courier: self.courier.clone(), stop: stop.clone() };
                    turns.spawn(async move { (failing, turn.run(gate).await) });
                }
            }
            if taken == 0 && turns.is_empty() && self.once {
                break;
            }
            tokio::select! {
                Some(done) = turns.join_next() => {
                    let (failing, done) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    failing_now -= usize::from(failing);
                    all.add(done);
                }
                () = self.news.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.changed() => {}
            }
        }
        while let Some(done) = turns.join_next().await {
            let (_, done) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            all.add(done);
        }
        Ok(all)
    }
}

/// What one channel is given.
struct ChannelTurn {
    store: Store,
    courier: Arc<Courier>,
    stop: watch::Receiver<bool>,
}

impl ChannelTurn {
    async fn run(&self, gate: Gate) -> Notified {
        let mut done = Notified::default();
        if let Err(error) = self.give(&gate, &mut done).await {
            // Whoever comes when the lease has ended goes on.
            let Gate { organization, channel, .. } = &gate;
            tracing::warn!(organization, channel, %error, "the messages for {organization}/{channel} are not noted: {error}");
        }
        done
    }

    async fn give(&self, gate: &Gate, done: &mut Notified) -> Result<(), StoreError> {
        let Some((channel, queued)) = self.store.due_notifications(gate, TURN_MESSAGES).await? else {
            return self.store.release_gate(gate, 0, Duration::ZERO).await;
        };
        failpoint("notify.after_claim", &gate.channel);
        let begun = Instant::now();
        let (mut failures, mut pause) = (gate.failures, Duration::ZERO);
        for Queued { message, attempts } in queued {
            if *self.stop.borrow() || begun.elapsed() >= TURN_TIME {
                break;
            }
            let sending = Instant::now();
            let sent = self.courier.send(&channel, &message, Utc::now()).await;
            let slow = sending.elapsed() > SLOW;
            failpoint("notify.after_send", &gate.channel);
            let outcome = match sent {
                Sent::Taken => {
                    failures = i32::from(slow);
                    done.sent += 1;
                    Outcome::Sent
                }
                Sent::Refused(why) => {
                    done.failed += 1;
                    tracing::warn!(
                        organization = gate.organization,
                        channel = gate.channel,
                        why,
                        "a message for {}/{} will never be taken: {why}",
                        gate.organization,
                        gate.channel
                    );
                    Outcome::Failed(why)
                }
                Sent::Failed { why, again_after } => {
                    failures = failures.saturating_add(1);
                    tracing::info!(
                        organization = gate.organization,
                        channel = gate.channel,
                        why,
                        "a message for {}/{} is not taken: {why}",
                        gate.organization,
                        gate.channel
                    );
                    done.again += 1;
                    pause = again_after
                        .unwrap_or_default()
                        .max(CHANNEL_BACKOFF.after(failures.unsigned_abs(), &gate.channel));
                    let after = MESSAGE_BACKOFF.after(attempts.saturating_add(1).unsigned_abs(), &message.id);
                    Outcome::Again(after.max(again_after.unwrap_or_default()), why)
                }
            };
            let failed = matches!(outcome, Outcome::Again(..));
            self.store.note_notification(&gate.organization, &message.id, &outcome).await?;
            failpoint("notify.after_note", &gate.channel);
            if failed || slow {
                break;
            }
        }
        self.store.release_gate(gate, failures, pause).await
    }
}

const _: () = assert!(GATE_LEASE.as_secs() > TURN_TIME.as_secs() + MESSAGE_TIME_MAX.as_secs());
