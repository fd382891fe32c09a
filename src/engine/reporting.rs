//! Reporting: forges are told what waits for them, each source by itself, so that a forge that does not answer delays no other.
//!
//! Dying between telling and noting tells the same again, which changes nothing: a state is what it is, and a comment is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failpoint::failpoint;
use crate::metrics::Metrics;
use crate::metrics::table::{REPORT_FAILURES, REPORTS_TOLD};
use crate::plan::sha256_hex;
use crate::sink::forge::{REPORT_TIME_MAX, State, Status, Teller, Telling};
use crate::store::Store;
use crate::store::reports::{About, Claimed, Outcome};

/// How long somebody waits before they look again.
const LOOK: Duration = Duration::from_secs(1);

/// How long a report is held: longer than telling it may take, so that nobody tells something older after something newer.
const LEASE: Duration = Duration::from_secs(REPORT_TIME_MAX.as_secs() + 20);

/// How long a report waits after it was not taken: at first, at most, and at most where it takes a person to mend it.
const BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(45);
const LASTING_MAX: Duration = Duration::from_secs(900);

/// How often what is old is given up and forgotten.
const TIDYING: Duration = Duration::from_secs(3600);

/// How many sources are told of at the same time.
const AT_ONCE: usize = 32;

/// Tells until told to stop.
pub async fn run(
    store: &Store,
    forges: &BTreeMap<String, Arc<Teller>>,
    metrics: &Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let (mut turns, mut busy) = (JoinSet::new(), BTreeSet::new());
    // Forges that want to be left alone.
    let mut paused: BTreeMap<String, Instant> = BTreeMap::new();
    let mut tidied: Option<Instant> = None;
    while !*stop.borrow() {
        if tidied.is_none_or(|at| at.elapsed() >= TIDYING) {
            tidied = Some(Instant::now());
            tidy(store).await;
        }
        let now = Instant::now();
        paused.retain(|_, until| *until > now);
        let free = forges.keys().filter(|source| !busy.contains(*source) && !paused.contains_key(*source));
        let free: Vec<&str> = free.map(String::as_str).take(AT_ONCE - turns.len()).collect();
        let claimed = match free.is_empty() {
            true => Vec::new(),
            false => store.claim_reports(&free, LEASE).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "forges are told nothing: {error}");
                Vec::new()
            }),
        };
        for claimed in claimed {
            let Some(teller) = forges.get(&claimed.report.source).cloned() else { continue };
            busy.insert(claimed.report.source.clone());
            let (store, metrics) = (store.clone(), metrics.clone());
            turns.spawn(async move {
                let pause = tell(&store, &teller, &metrics, &claimed).await;
                (claimed.report.source, pause)
            });
        }
        tokio::select! {
            Some(done) = turns.join_next() => {
                let (source, pause) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                busy.remove(&source);
                if let Some(pause) = pause {
                    paused.insert(source, Instant::now() + pause);
                }
            }
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.changed() => {}
        }
    }
    // What is under way is not waited for: it is told again by whoever comes next.
    turns.shutdown().await;
}

/// Tells one thing. Gives how long the forge wants to be left alone.
async fn tell(store: &Store, teller: &Teller, metrics: &Metrics, claimed: &Claimed) -> Option<Duration> {
    let report = &claimed.report;
    let source = report.source.as_str();
    failpoint("report.after_claim", source);
    let (kind, telling) = match &report.about {
        About::Status { commit, context, state, target } => {
            let status = Status {
                commit: commit.clone(),
                context: context.clone(),
                state: state_of(state),
                description: report.text.clone(),
                target: target.clone(),
            };
            ("status", teller.status(&status).await)
        }
        About::Comment { number } => {
            ("comment", teller.comment(*number, &report.text, claimed.remote.as_deref()).await)
        }
    };
    failpoint("report.after_tell", source);
    let (outcome, pause) = match telling {
        Telling::Told(remote) => {
            metrics.add(&REPORTS_TOLD, &[source, kind], 1.0);
            (Outcome::Told(remote), None)
        }
        Telling::Refused(why) => {
            metrics.add(&REPORT_FAILURES, &[source], 1.0);
            tracing::warn!(source, kind, why, "the forge of {source} will never take a {kind}: {why}");
            (Outcome::Refused(why), None)
        }
        Telling::Failed { why, again_after, lasting } => {
            metrics.add(&REPORT_FAILURES, &[source], 1.0);
            tracing::warn!(source, kind, why, "the forge of {source} does not take a {kind}: {why}");
            let longest = if lasting { LASTING_MAX } else { BACKOFF_MAX };
            let after = backoff(claimed.failures, longest, source).max(again_after.unwrap_or_default());
            (Outcome::Again(after, why), again_after)
        }
    };
    match store.note_report(claimed, &outcome).await {
        Ok(true) => {}
        Ok(false) => tracing::info!(source, kind, "a {kind} of {source} took so long that somebody else tells it"),
        // Whoever comes when the lease has ended goes on.
        Err(error) => tracing::warn!(source, %error, "what the forge of {source} was told is not noted: {error}"),
    }
    failpoint("report.after_note", source);
    pause
}

async fn tidy(store: &Store) {
    match store.forget_reports().await {
        Ok(0) => {}
        Ok(given_up) => {
            tracing::warn!(given_up, "forges have not taken {given_up} reports for days: they are given up")
        }
        Err(error) => tracing::warn!(%error, "old reports are not forgotten: {error}"),
    }
}

fn state_of(word: &str) -> State {
    match word {
        "success" => State::Success,
        "failure" => State::Failure,
        _ => State::Pending,
    }
}

/// How long to wait after so many failures before. It differs, so that those that failed together do not come back together.
fn backoff(failures: i32, longest: Duration, salt: &str) -> Duration {
    let digest = sha256_hex(format!("{salt}/{failures}").as_bytes());
    let spread = u32::from_str_radix(&digest[..4], 16).unwrap_or_default();
    let doublings = u32::try_from(failures).unwrap_or_default().min(16);
    let whole = (BACKOFF * 2_u32.pow(doublings)).min(longest);
    whole.mul_f64(0.75 + f64::from(spread) / f64::from(u16::MAX) / 4.0)
}
