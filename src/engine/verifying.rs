//! Verifying the audit: rows and seals are read beside each other from one snapshot, and compared on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use crate::audit::chain::{self, Facts, Point, Report};
use crate::audit::head::{About, Signed, Untrusted};
use crate::signature::Signers;
use crate::store::Store;
use crate::store::audit::verifying::{RowBatch, Said, SealBatch, Verifying};
use crate::store::error::StoreError;

/// How many batches wait for whoever compares.
const BATCHES_WAITING: usize = 3;

/// Heads that somebody kept elsewhere, each with the line of its file.
pub type KeptHeads = [(usize, Signed)];

/// A statement that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discounted {
    /// What it is: `the head of acme at 7 in the database`, `line 3`.
    pub what: String,
    /// Why.
    pub why: Untrusted,
}

/// What came of verifying a database.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Counts and faults.
    pub report: Report,
    /// The heads and checkpoints that do not count.
    pub discounted: Vec<Discounted>,
    /// Heads of the database that nobody looked at, because there is no list of signers.
    pub unjudged: usize,
    /// How many heads count.
    pub heads: usize,
}

/// Heads that count, by organization.
pub type Trusted = BTreeMap<Arc<str>, Vec<(Point, DateTime<Utc>)>>;

/// Tells heads that count from those that do not.
pub fn trust<'a>(
    signed: impl Iterator<Item = (String, &'a Signed)>,
    about: About,
    (signers, database, now): (&Signers, Option<&str>, DateTime<Utc>),
    discounted: &mut Vec<Discounted>,
) -> Trusted {
    let mut trusted = Trusted::new();
    for (what, signed) in signed {
        match signed.judge(signers, database, now) {
            Ok((said, _)) if said.statement == about => {
                let point = Point { sequence: said.sequence, hash: said.hash };
                let at = said.moment().unwrap_or(now);
                trusted.entry(said.organization.into()).or_default().push((point, at));
            }
            Ok(_) => {
                let why = Untrusted::Worthless("it is a statement about something else".into());
                discounted.push(Discounted { what, why });
            }
            Err(why) => discounted.push(Discounted { what, why }),
        }
    }
    trusted
}

/// Verifies all chains of a database, or those of some organizations.
pub async fn verify(
    store: &Store,
    signers: Option<&Signers>,
    kept: &KeptHeads,
    only: Option<&[String]>,
) -> Result<Verified, StoreError> {
    let mut verifying = store.verifying().await?;
    let chains = verifying.chains(only).await?;
    let mut verified = Verified::default();
    let facts = facts(&verifying, chains, signers, kept, only, &mut verified);
    let (mut rows, mut seals) = verifying.split(only);
    let (to_rows, mut from_rows) = mpsc::channel(BATCHES_WAITING);
    let (to_seals, mut from_seals) = mpsc::channel(BATCHES_WAITING);
    let compare = tokio::task::spawn_blocking(move || {
        let mut failed: Option<StoreError> = None;
        let mut broken: Option<StoreError> = None;
        let rows = std::iter::from_fn(|| from_rows.blocking_recv())
            .flat_map(RowBatch::rows)
            .map_while(|row| row.map_err(|error| failed = Some(error)).ok());
        let seals = std::iter::from_fn(|| from_seals.blocking_recv())
            .flat_map(SealBatch::seals)
            .map_while(|seal| seal.map_err(|error| broken = Some(error)).ok());
        let report = chain::verify(&facts, seals, rows);
        failed.or(broken).map_or(Ok(report), Err)
    });
    let read_rows = async {
        while let Some(batch) = rows.next().await? {
            // Whoever compares has given up, and tells why.
            if to_rows.send(batch).await.is_err() {
                break;
            }
        }
        drop(to_rows);
        Ok::<(), StoreError>(())
    };
    let read_seals = async {
        while let Some(batch) = seals.next().await? {
            if to_seals.send(batch).await.is_err() {
                break;
            }
        }
        drop(to_seals);
        Ok::<(), StoreError>(())
    };
    let (read_rows, read_seals) = tokio::join!(read_rows, read_seals);
    let report = compare.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    read_rows?;
    read_seals?;
    verified.report = report?;
    Ok(verified)
}

/// What counts of all that is said of the chains. Of an organization that only a kept head knows, nothing is left.
fn facts(
    verifying: &Verifying,
    chains: Vec<(Arc<str>, Said)>,
    signers: Option<&Signers>,
    kept: &KeptHeads,
    only: Option<&[String]>,
    verified: &mut Verified,
) -> Vec<(Arc<str>, Facts)> {
    let Some(signers) = signers else {
        verified.unjudged = chains.iter().map(|(_, said)| said.heads.len()).sum();
        return chains.into_iter().map(|(name, said)| (name, Facts { end: said.end, ..Facts::default() })).collect();
    };
    let judging = (signers, Some(&*verifying.database), verifying.now);
    let lines = kept.iter().map(|(line, signed)| (format!("line {line}"), signed));
    let mut kept = trust(lines, About::Head, judging, &mut verified.discounted);
    if let Some(only) = only {
        kept.retain(|name, _| only.iter().any(|wanted| **wanted == **name));
    }
    verified.heads += kept.values().map(Vec::len).sum::<usize>();
    let mut facts: Vec<(Arc<str>, Facts)> = Vec::with_capacity(chains.len());
    let points = |trusted: Vec<(Point, DateTime<Utc>)>| trusted.into_iter().map(|(point, _)| point);
    for (name, said) in chains {
        let named = |what: &str, number: usize| {
            format!("{what} {} of `{}` in the database", number + 1, crate::model::secret::mask(&name))
        };
        let heads = said.heads.iter().enumerate().map(|(number, signed)| (named("head", number), signed));
        let heads = trust(heads, About::Head, judging, &mut verified.discounted);
        let points_of =
            said.checkpoints.iter().enumerate().map(|(number, signed)| (named("checkpoint", number), signed));
        let mut checkpoints = trust(points_of, About::Checkpoint, judging, &mut verified.discounted);
        verified.heads += heads.values().map(Vec::len).sum::<usize>();
        // A statement that stands beside the rows of another organization is nothing to them.
        let mut own = kept.remove(&name).unwrap_or_default();
        own.extend(heads.into_iter().filter(|(of, _)| *of == name).flat_map(|(_, points)| points));
        let checkpoints = points(checkpoints.remove(&name).unwrap_or_default()).collect();
        facts.push((name, Facts { end: said.end, checkpoints, heads: points(own).collect() }));
    }
    facts.extend(kept.into_iter().map(|(name, heads)| {
        let heads = points(heads).collect();
        (name, Facts { heads, ..Facts::default() })
    }));
    facts
}
