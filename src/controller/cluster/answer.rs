//! What came of a pass, for each object: its status, an event where something has changed, and its finalizer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{JoinError, JoinSet};

use super::plan_of;
use crate::controller::pass::Done;
use crate::engine::{Heard, Refusal};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::state::World;
use crate::source::cluster::api::{Api, Fault};
use crate::source::cluster::cache::Cache;
use crate::source::cluster::object::{Kept, Key, Said};
use crate::source::cluster::status::{Came, Entry, Row, Run, Standing};
use crate::source::cluster::writing::{release, report};
use crate::source::cluster::{Cluster, Followed};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::queue::{Batch, FIGHT_ROUNDS, Settled};

/// So many reasons are told in one message.
const REASONS_MAX: usize = 5;

/// How many requests of a batch are under way at the same time.
const REQUESTS_AT_ONCE: usize = 8;

/// How soon an organization is worked on again of which an object could not be told what came of it.
const UNANSWERED: Duration = Duration::from_secs(10);

/// An object as it was when its organization was planned.
pub struct Seen {
    /// Kind and name.
    pub key: Key,
    /// What tells it from one that had the name before.
    pub uid: Box<str>,
    /// The organization.
    pub organization: OrganizationName,
    /// Whether somebody deleted it.
    pub deleting: bool,
    /// Whether the finalizer is on it.
    pub held: bool,
    /// Where it is, as findings and ownership records tell it.
    pub place: Arc<str>,
    free: bool,
    /// The version in which it was last seen, or in which the finalizer was put on it.
    version: AtomicU64,
    generation: i64,
    told: u64,
    rows: Vec<Entry>,
}

impl Seen {
    /// Whether its rows need it: it is not going, and the finalizer is not on it yet. What stands for no rows needs none.
    pub fn is_to_be_held(&self) -> bool {
        !self.held && !self.deleting && !self.rows.is_empty()
    }

    /// The version in which it was last seen, if nothing held it back then.
    pub fn free_at(&self) -> Option<u64> {
        self.free.then(|| self.version())
    }

    /// Takes that the finalizer is on it, as of this version.
    pub fn is_held_at(&self, version: u64) {
        self.version.store(version, Ordering::Relaxed);
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    fn of(cache: &Cache, kept: &Kept, organization: &OrganizationName) -> Seen {
        let rows = match &kept.said {
            Said::Read(reading) => {
                reading.resources.iter().filter(|resource| resource.kind().table.is_some()).collect()
            }
            Said::Refused(_) => Vec::new(),
        };
        let row = |id: &crate::model::resource::ResourceId| {
            Entry::Row(Row { kind: id.kind.get().name.into(), name: id.name.to_string(), id: None })
        };
        Seen {
            key: kept.key.clone(),
            uid: kept.uid.clone(),
            organization: organization.clone(),
            deleting: kept.deleting,
            held: kept.held,
            place: cache.place(&kept.key),
            free: kept.free,
            version: AtomicU64::new(kept.version),
            generation: kept.generation,
            told: kept.told,
            rows: rows.into_iter().map(|resource| row(&resource.id)).collect(),
        }
    }

    /// The objects of some organizations.
    pub fn all(cache: &Cache, organizations: &BTreeSet<OrganizationName>) -> Vec<Arc<Seen>> {
        let of = |name: &OrganizationName| {
            cache.objects(name).map(|kept| Arc::new(Seen::of(cache, kept, name))).collect::<Vec<_>>()
        };
        organizations.iter().flat_map(of).collect()
    }
}

/// What it takes to answer.
pub struct Answering<'a> {
    /// Where the objects are.
    pub cluster: &'a Cluster,
    /// Their namespace.
    pub followed: &'a Followed,
    /// What they became.
    pub store: &'a Store,
    /// When.
    pub now: DateTime<Utc>,
}

impl Answering<'_> {
    /// Answers the objects of a batch. An organization of which one could not be answered is worked on again soon.
    pub async fn all(&self, batch: &Batch, world: &World, heard: &Heard, seen: &[Arc<Seen>], done: &mut Done) {
        let mut answers = AtOnce::default();
        let mut unanswered = BTreeMap::new();
        let places = places(seen);
        for seen in seen {
            let Some(settled) = done.settled.get(&seen.organization) else { continue };
            let undone = batch.items.get(&seen.organization).map_or(0, |item| item.undone);
            let run = done.run.as_ref().map(|run| run.as_str().to_owned());
            let about = |finding: &Finding| {
                finding.origin.as_ref().is_some_and(|at| places[&seen.organization].contains(&at.file))
            };
            let of_organization: Vec<&Finding> = world.findings.iter().filter(|finding| about(finding)).collect();
            let came = self.came(&of_organization, heard, seen, (settled, undone), run);
            // What was neither refused nor put off is done.
            let through = matches!(settled.outcome, "applied" | "unchanged");
            let (api, store, seen) = (self.cluster.api().clone(), self.store.clone(), seen.clone());
            let (namespace, source) = (self.followed.name.clone(), self.followed.source.clone());
            let answer = async move {
                let answered = answer(&api, &store, (&namespace, &source), &seen, through, &came).await;
                answered.map_err(|why| (seen, why))
            };
            unanswered.extend(answers.start(answer).await.map(untold));
        }
        unanswered.extend(answers.rest().await.into_iter().map(untold));
        for (organization, why) in unanswered {
            if let Some(settled) = done.settled.get_mut(&organization) {
                let finding = Finding::warning(Code::ClusterUnreachable, format!("an object was not answered: {why}"));
                settled.findings.push(finding.about(&organization));
                settled.again = Some(settled.again.map_or(UNANSWERED, |again| again.min(UNANSWERED)));
                settled.gone = false;
            }
        }
    }

    /// Tells the objects of some organizations that nothing came of a batch.
    pub async fn failed(&self, organizations: &BTreeSet<OrganizationName>, why: &[Finding]) {
        let all = Seen::all(&self.followed.cache(), organizations);
        let message = reasons(why.iter());
        for seen in all {
            let came = Came::new(seen.generation, self.now, Standing::ReconciliationFailed, message.clone());
            let (api, namespace) = (self.cluster.api(), &*self.followed.name);
            if let Err(fault) = report(api, namespace, &seen.key, &seen.uid, (seen.told, seen.version()), &came).await {
                // It would fail with the others just the same.
                tracing::warn!(place = &*seen.place, "{} is not told that it failed: {fault}", seen.place);
                return;
            }
        }
    }

    fn came(
        &self,
        of_organization: &[&Finding],
        heard: &Heard,
        seen: &Seen,
        (settled, undone): (&Settled, u32),
        run: Option<String>,
    ) -> Came {
        let plan = plan_of(heard, &seen.organization);
        let own = |finding: &&Finding| finding.origin.as_ref().is_some_and(|origin| origin.file == seen.place);
        let all = || of_organization.iter().copied().chain(&settled.findings).filter(|finding| finding.is_error());
        let (standing, message) = match settled.outcome {
            "applied" | "unchanged" if seen.deleting => {
                (Standing::Terminating, "some of its rows are still there, and go when they may".to_owned())
            }
            "applied" | "unchanged" => match &settled.undone {
                Some(by) if undone + 1 >= FIGHT_ROUNDS => {
                    (Standing::Fighting, format!("{} is undone again and again, last by {}", by.what, by.by))
                }
                _ => (Standing::Applied, "the rows are as it says".to_owned()),
            },
            "blocked" if all().any(|finding| own(&finding)) => {
                let elsewhere = all().filter(own).any(|finding| finding.code == Code::OwnedElsewhere);
                let standing = if elsewhere { Standing::OwnedByAnotherSource } else { Standing::InvalidManifest };
                (standing, reasons(all().filter(own)))
            }
            "blocked" if all().any(|finding| finding.code == Code::OwnedElsewhere) => {
                (Standing::OwnedByAnotherSource, reasons(all()))
            }
            "blocked" => (Standing::OrganizationBlocked, reasons(all())),
            word => (standing_of(word, &settled.findings), reasons(settled.findings.iter())),
        };
        let left = plan.map_or(0, |plan| plan.left.len());
        let drift =
            (left > 0).then(|| format!("{left} of the organization's resources differ although nobody asked for it"));
        let changes = plan.map_or(0, |plan| {
            let own = |origin: &crate::model::origin::Origin| origin.file == seen.place;
            plan.changes.iter().filter(|change| change.origin.as_ref().is_some_and(own)).count()
        });
        let run = run.filter(|_| settled.outcome == "applied" && changes > 0);
        let digest = plan.map(|plan| plan.digest.clone()).unwrap_or_default();
        Came {
            drift,
            rows: (standing == Standing::Applied).then(|| seen.rows.clone()),
            run: run.map(|id| Run { id, plan_digest: digest, changes: changes as u64 }),
            ..Came::new(seen.generation, self.now, standing, message)
        }
    }
}

/// The places of the objects of each organization.
fn places(seen: &[Arc<Seen>]) -> BTreeMap<OrganizationName, BTreeSet<Arc<str>>> {
    let mut places: BTreeMap<OrganizationName, BTreeSet<Arc<str>>> = BTreeMap::new();
    for seen in seen {
        places.entry(seen.organization.clone()).or_default().insert(seen.place.clone());
    }
    places
}

/// Says that an object was not answered, and why; the organization is worked on again for it.
fn untold((seen, why): (Arc<Seen>, String)) -> (OrganizationName, String) {
    tracing::warn!(place = &*seen.place, why, "{} is not told what came of it: {why}", seen.place);
    (seen.organization.clone(), why)
}

/// Answers one object: lets it go if it is deleted and stands for nothing any more, or else says what came of it.
async fn answer(
    api: &Api,
    store: &Store,
    (namespace, source): (&str, &str),
    seen: &Seen,
    through: bool,
    came: &Came,
) -> Result<(), String> {
    if seen.deleting && seen.held && through {
        let stands = stands(store, source, &seen.place).await.map_err(|error| error.to_string())?;
        if !stands {
            return release(api, namespace, &seen.key, &seen.uid).await.map_err(said);
        }
    }
    report(api, namespace, &seen.key, &seen.uid, (seen.told, seen.version()), came).await.map(drop).map_err(said)
}

/// Requests under way, a bounded number at the same time. What failed is given back.
pub struct AtOnce<E>(JoinSet<Result<(), E>>);

impl<E> Default for AtOnce<E> {
    fn default() -> Self {
        AtOnce(JoinSet::new())
    }
}

impl<E: Send + 'static> AtOnce<E> {
    /// Starts one more; where there are too many, waits for one to end, and gives why it failed.
    pub async fn start(&mut self, request: impl Future<Output = Result<(), E>> + Send + 'static) -> Option<E> {
        let ended = if self.0.len() >= REQUESTS_AT_ONCE { self.0.join_next().await } else { None };
        self.0.spawn(request);
        ended.and_then(failure)
    }

    /// Waits for all, and gives why some failed.
    pub async fn rest(&mut self) -> Vec<E> {
        let mut failures = Vec::new();
        while let Some(ended) = self.0.join_next().await {
            failures.extend(failure(ended));
        }
        failures
    }
}

fn failure<E>(ended: Result<Result<(), E>, JoinError>) -> Option<E> {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).err()
}

fn said(fault: Fault) -> String {
    fault.message
}

/// Whether anything is owned that an object of this place said.
async fn stands(store: &Store, source: &str, place: &Arc<str>) -> Result<bool, StoreError> {
    let mut planning = store.planning().await?;
    Ok(!planning.organizations_of_files(source, std::slice::from_ref(place)).await?.is_empty())
}

/// How an object stands whose organization was refused.
pub fn standing_of(word: &str, why: &[Finding]) -> Standing {
    let any = |code: Code| why.iter().any(|finding| finding.code == code);
    match word {
        word if word == Refusal::Denied.word() => Standing::Denied,
        word if word == Refusal::Held.word() => Standing::Held,
        word if word == Refusal::Observed.word() => Standing::Observed,
        word if word == Refusal::Stopped.word() && any(Code::WindowClosed) => Standing::WindowClosed,
        word if word == Refusal::Stopped.word() && any(Code::Waits) => Standing::DependencyNotReady,
        word if word == Refusal::Stopped.word() => Standing::Suspended,
        _ => Standing::ReconciliationFailed,
    }
}

/// Why, for people.
pub fn reasons<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut all: Vec<String> = findings.map(|finding| format!("{}: {}", finding.code, finding.said())).collect();
    all.dedup();
    let more = all.len().saturating_sub(REASONS_MAX);
    all.truncate(REASONS_MAX);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join("; ")
}

/// Answers the objects that belong to no organization that may be there, and lets go of deleted ones of organizations of
/// which there is nothing left, neither in the namespace nor in the database.
pub async fn strays(
    cluster: &Cluster,
    followed: &Followed,
    store: &Store,
    nothing_left: &BTreeSet<OrganizationName>,
    now: DateTime<Utc>,
) {
    let (strays, leaving) = {
        let cache = followed.cache();
        let stray = |kept: &Kept| {
            let (standing, message) = match &kept.said {
                Said::Refused(finding) => (Standing::NotBound, reasons([&**finding].into_iter())),
                Said::Read(reading) => (Standing::InvalidManifest, reasons(reading.findings.iter())),
            };
            (Arc::new(Seen::of(&cache, kept, &Arc::from(""))), Some((standing, message)))
        };
        let strays: Vec<_> = cache.strays().map(stray).collect();
        let leaving = Seen::all(&cache, nothing_left).into_iter().filter(|seen| seen.deleting);
        (strays, leaving.map(|seen| (seen, None)).collect::<Vec<_>>())
    };
    let (api, namespace) = (cluster.api(), &*followed.name);
    for (seen, stands_so) in strays.into_iter().chain(leaving) {
        let answered = async {
            if seen.deleting && seen.held {
                let stands = stands(store, &followed.source, &seen.place).await.map_err(|error| error.to_string())?;
                if !stands {
                    return release(api, namespace, &seen.key, &seen.uid).await.map_err(said);
                }
            }
            let Some((standing, message)) = stands_so else { return Ok(()) };
            let came = Came::new(seen.generation, now, standing, message);
            let told = (seen.told, seen.version());
            report(api, namespace, &seen.key, &seen.uid, told, &came).await.map(drop).map_err(said)
        };
        if let Err(why) = answered.await {
            tracing::warn!(place = &*seen.place, why, "{} is not told what came of it: {why}", seen.place);
        }
    }
}
