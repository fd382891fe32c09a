//! A namespace of a cluster as a source: what moves there is asked for, a batch is planned from what is known of it, and
//! what came of it goes back to the objects.
//!
//! Every replica follows the cluster by itself. What one of them has asked for carries how far it had heard of the
//! organization, and one that has not heard as much by now does not plan it.

pub mod answer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::pass::{self, Done};
use super::{Desk, Shared};
use crate::brake::Mode;
use crate::commands::context::{Context, Failure};
use crate::commands::judges::Judges;
use crate::commands::place;
use crate::commands::plan;
use crate::digest;
use crate::engine::hearing::Bench;
use crate::engine::scope::census;
use crate::engine::{self, Pass, Targets};
use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::model::state::{Desired, World};
use crate::plan::{Action, sha256_hex};
use crate::settings::controller::ControllerSettings;
use crate::source::cluster::api::{Api, Fault, Times};
use crate::source::cluster::cache::Moved as Touched;
use crate::source::cluster::object::Key;
use crate::source::cluster::writing::hold;
use crate::source::cluster::{Cluster, Followed};
use crate::store::Store;
use crate::store::queue::{Batch, Found, Moved};
use crate::telemetry::measure;
use crate::verdict::Verdict;

/// How long nothing may come of a namespace that is being listed before it counts as one that cannot be.
pub const LISTING: Duration = Duration::from_secs(15);

/// How long a plan waits for what another replica has heard already, and how often it looks.
const CATCH_UP: Duration = Duration::from_secs(2);
const CATCH_UP_STEP: Duration = Duration::from_millis(50);

/// How long a replica that is behind leaves work to others.
const BEHIND: Duration = Duration::from_secs(20);

/// However much moves, a namespace is looked at no more often than this; and no more often than that where a look has come to
/// nothing, or something was left for later.
const GAP: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(2);

/// How long a look may confine itself to what has moved. What went without anybody hearing of it is found by the next one
/// that does not.
const CONFINED: Duration = Duration::from_secs(270);

/// A namespace that is a source.
pub struct Office {
    cluster: Arc<Cluster>,
    followed: Arc<Followed>,
    moved: Mutex<Heard>,
}

/// What was heard of a namespace.
#[derive(Default)]
struct Heard {
    /// What has moved and was not looked at yet, each with how much had been heard by then.
    touched: BTreeMap<Touched, u64>,
    /// How much was heard so far.
    times: u64,
    /// What the look that is under way is about.
    taken: BTreeMap<Touched, u64>,
    /// Before when there is no other look.
    rests: Option<Instant>,
    /// When this replica was last found to be behind others.
    behind: Option<Instant>,
    /// When all that is owned was last compared with all that is there; and when by the look that is under way, if it does so.
    whole: Option<Instant>,
    taken_whole: Option<Instant>,
}

/// Follows the namespaces of the settings, if there are any.
pub async fn open(context: &Context, settings: &ControllerSettings) -> Result<Vec<Arc<Office>>, Failure> {
    let Some(cluster) = context.kubernetes().filter(|cluster| !cluster.namespaces.is_empty()) else {
        return Ok(Vec::new());
    };
    cluster.check()?;
    for namespace in cluster.namespaces.keys() {
        let name = cluster.source_of(namespace);
        if settings.sources.iter().any(|source| source.name == name) {
            let message =
                format!("the namespace `{namespace}` and a source of the controller are both called `{name}`");
            let hint = "give the cluster another `kubernetes.name`, or the source another name";
            return Err(Failure::from(Finding::error(Code::BadSettings, message).hint(hint)));
        }
    }
    let replica = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let replica = format!("{}-{}", replica.trim(), std::process::id());
    let cluster = Arc::new(Cluster::follow(cluster, &replica, Times::default()).await?);
    let office = |followed: &Arc<Followed>| {
        let (cluster, followed) = (cluster.clone(), followed.clone());
        Arc::new(Office { cluster, followed, moved: Mutex::default() })
    };
    Ok(cluster.namespaces().map(office).collect())
}

/// Waits until all namespaces are listed, as long as that may take.
pub async fn listed(offices: &[Arc<Office>]) {
    while !offices.iter().all(|office| office.is_ready()) {
        tokio::time::sleep(CATCH_UP_STEP).await;
    }
}

/// Wakes the workers when something moves. Every replica looks at what it has heard itself: what it has not heard it could
/// not tell.
pub async fn hear(shared: Arc<Shared>) {
    let Some(cluster) = shared.offices.first().map(|office| office.cluster.clone()) else { return };
    loop {
        for (namespace, touched) in cluster.moved().await {
            if let Some(office) = shared.offices.iter().find(|office| office.followed.name == namespace) {
                let mut heard = office.moved();
                heard.times += 1;
                let times = heard.times;
                heard.touched.insert(touched, times);
            }
        }
        shared.wake.notify_waiters();
    }
}

impl Office {
    /// The name of the source.
    pub fn source(&self) -> &str {
        &self.followed.source
    }

    /// The cluster, and the namespace of it.
    pub fn at(&self) -> (&Arc<Cluster>, &Arc<Followed>) {
        (&self.cluster, &self.followed)
    }

    /// Whether it can be looked at: all of it is listed, or was given the time to be.
    pub fn is_ready(&self) -> bool {
        self.followed.cache().standing().0 || self.followed.silence() > LISTING
    }

    /// How long to wait for the next look; none where nothing has moved that was not looked at, or it cannot be looked at.
    pub fn waits(&self) -> Option<Duration> {
        let listed = self.followed.cache().standing().0;
        let heard = self.moved();
        if !listed {
            // Nobody tells when the last list has come, because nothing moves with it.
            let comes = self.followed.silence() <= LISTING && !heard.touched.is_empty();
            return comes.then_some(GAP);
        }
        let rest = heard.rests.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()));
        (!heard.touched.is_empty()).then_some(rest)
    }

    /// Whether others know more than this replica, as far as it knows.
    pub fn is_behind(&self) -> bool {
        self.moved().behind.is_some_and(|behind| behind.elapsed() < BEHIND)
    }

    fn moved(&self) -> MutexGuard<'_, Heard> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is enough to look at what has moved: something has, and the whole was compared a while ago.
    fn may_be_confined(&self, touched: &BTreeSet<Touched>) -> bool {
        !touched.is_empty() && self.moved().whole.is_some_and(|whole| whole.elapsed() < CONFINED)
    }

    /// Compares what has moved with what was last asked for; what belongs to no organization is answered at once.
    pub async fn look(&self, desk: &Desk, store: &Store, full: bool) -> Result<Found, Failure> {
        let touched: BTreeSet<Touched> = {
            let mut heard = self.moved();
            heard.rests = Some(Instant::now() + LATER);
            heard.taken = heard.touched.clone();
            heard.taken.keys().cloned().collect()
        };
        let begun = Instant::now();
        let Compared { found, later, nothing_left, confined } = self.compared(desk, store, full, &touched).await?;
        answer::strays(&self.cluster, &self.followed, store, &nothing_left, desk.context.now()).await;
        let mut heard = self.moved();
        heard.taken.retain(|touched, _| !later.contains(touched));
        if later.is_empty() {
            heard.rests = Some(Instant::now() + GAP);
        }
        heard.taken_whole = (later.is_empty() && !confined).then_some(begun);
        Ok(found)
    }

    /// Takes that what the last look has found is noted. What has moved meanwhile is looked at again.
    pub fn noted(&self) {
        let mut heard = self.moved();
        heard.whole = heard.taken_whole.take().or(heard.whole);
        for (touched, times) in std::mem::take(&mut heard.taken) {
            if heard.touched.get(&touched) == Some(&times) {
                heard.touched.remove(&touched);
            }
        }
    }

    async fn compared(
        &self,
        desk: &Desk,
        store: &Store,
        full: bool,
        touched: &BTreeSet<Touched>,
    ) -> Result<Compared, Failure> {
        let (now, source) = (desk.context.now(), self.source());
        // Somebody who waits for a look wants all of it.
        let confined = !full && self.may_be_confined(touched) && !store.is_asked_for(source).await?;
        let (wanted, world, marks, findings) = {
            let cache = self.followed.cache();
            let wanted: BTreeSet<OrganizationName> = match full {
                true => cache.organizations(),
                false => touched.iter().flatten().cloned().collect(),
            };
            let marks: BTreeMap<OrganizationName, Mark> =
                wanted.iter().map(|name| (name.clone(), Mark::of(&cache, name))).collect();
            // All of it was listed once, so that a watch that fails for now is no error: it goes on where it was.
            let faults = cache.standing().1.into_iter().map(|fault| Finding { severity: Severity::Warning, ..fault });
            let world = if confined { cache.part(&wanted, now)? } else { cache.world(&wanted, now)? };
            (wanted, world, marks, faults.collect())
        };
        let only = confined.then_some(&wanted);
        let known = store.asked_for(source, only).await?;
        let correct_drift = self.followed.binding.terms.mode == Mode::Enforce;
        let mut planning = store.planning().await?.into();
        let census = census(&world, &mut planning, source, correct_drift, only).await?;
        let (mut moved, mut later) = (Vec::new(), BTreeSet::new());
        let mut nothing_left: BTreeSet<OrganizationName> = marks.keys().cloned().collect();
        for (organization, said, version) in census {
            nothing_left.remove(&organization);
            // What is no longer described has to be looked at whoever noticed it; others only where they moved.
            let is_described = world.organizations.contains_key(&organization);
            let mark = match marks.get(&organization) {
                Some(mark) => mark.clone(),
                None if !is_described => Mark::of(&self.followed.cache(), &organization),
                None => continue,
            };
            let before = known.get(&organization).map(|(known, _)| Mark::read(known));
            if before.is_some_and(|(_, newest)| newest > mark.fresh) {
                // Another replica has heard more of it than this one.
                later.insert(Some(organization));
                continue;
            }
            let said = mark.said(&said);
            if full || before.is_none_or(|(before, _)| before != Mark::read(&said).0) {
                moved.push(Moved { organization, said, version });
            }
        }
        let found = Found { revision: None, full, findings, moved, all: None, commit: None };
        Ok(Compared { found, later, nothing_left, confined })
    }
}

/// What a look has found, and what is left of it.
struct Compared {
    found: Found,
    /// What has moved and is looked at again, because more of it is known elsewhere.
    later: BTreeSet<Touched>,
    /// Organizations that are neither described nor owned any more.
    nothing_left: BTreeSet<OrganizationName>,
    /// Whether it was about nothing but what had moved.
    confined: bool,
}

/// How an organization is known.
#[derive(Clone)]
struct Mark {
    /// A digest of what moves it: the objects themselves, and when a look was asked for.
    moves: u64,
    /// The newest version that was seen of it.
    newest: u64,
    /// Up to where all is known of it.
    fresh: u64,
}

impl Mark {
    fn of(cache: &crate::source::cluster::cache::Cache, organization: &str) -> Mark {
        let moves = cache.objects(organization).fold(0_u64, |all, kept| all.rotate_left(1) ^ kept.moves);
        Mark { moves, newest: cache.newest(organization), fresh: cache.freshness(organization) }
    }

    /// All of it in one text, with a digest of what the manifests say.
    fn said(&self, digest: &str) -> String {
        format!("{}@{}", sha256_hex(format!("{digest}/{:016x}", self.moves).as_bytes()), self.newest)
    }

    /// What was said, and the newest version that had been seen by then.
    fn read(said: &str) -> (&str, u64) {
        let (digest, newest) = said.split_once('@').unwrap_or((said, "0"));
        (digest, newest.parse().unwrap_or_default())
    }
}

/// Works on a batch. Where nothing comes of it, the objects are told why.
pub async fn work(desk: &Desk, office: &Office, store: &Store, batch: &Batch) -> Result<Done, Failure> {
    let names: BTreeSet<OrganizationName> = batch.items.keys().cloned().collect();
    let known = office.catch_up(store, &names).await?;
    let worked = carry_out(desk, office, store, batch, (&names, &known)).await;
    if let Err(Failure { findings, .. }) = &worked {
        let (followed, now) = (&office.followed, desk.context.now());
        let answering = answer::Answering { cluster: &office.cluster, followed, store, now };
        answering.failed(&names, findings).await;
    }
    worked
}

async fn carry_out(
    desk: &Desk,
    office: &Office,
    store: &Store,
    batch: &Batch,
    (names, known): (&BTreeSet<OrganizationName>, &BTreeMap<OrganizationName, String>),
) -> Result<Done, Failure> {
    let (context, followed) = (&desk.context, &office.followed);
    let now = context.now();
    let (world, seen, marks) = {
        let cache = followed.cache();
        let marks: Vec<(OrganizationName, Mark)> =
            names.iter().map(|name| (name.clone(), Mark::of(&cache, name))).collect();
        (cache.part(names, now)?, answer::Seen::all(&cache, names), marks)
    };
    // It may say more by now than when it was asked for. Whoever looks next compares with what was planned.
    let correct_drift = followed.binding.terms.mode == Mode::Enforce;
    let said = marks.into_iter().filter_map(|(name, mark)| {
        let now = mark.said(&digest_of(&world, &name, correct_drift));
        known.get(&name).filter(|before| **before != now).map(|before| (name, (before.clone(), now)))
    });
    store.note_said(batch, &said.collect()).await?;
    let folder = context.policies(None).map(|folder| folder.display().to_string());
    let found = place::Found::of_saved(folder.as_deref())?;
    let terms = followed.binding.terms.clone();
    let judges = Judges::of(context, found, None, terms.clone()).await?;
    let bench = judges.bench();
    let targets = Targets::organizations(names.iter().cloned());
    let pass = pass_over(followed, &bench, &targets, now);
    let heard = engine::plan(&world, store, &pass, &|_, _| {}).await?;
    measure::planned(context.metrics(), &heard.plan);
    let verdict = plan::judge(context, store, &heard.plan, &judges, &heard.judgements, false).await?;
    office.confirm(&verdict).await?;
    office.hold(&verdict, &seen).await?;
    let mut done = pass::carry_out(context, store, batch, &world, &judges, &heard, verdict).await?;
    let answered = answer::Answering { cluster: &office.cluster, followed, store, now };
    answered.all(batch, &world, &heard, &seen, &mut done).await;
    Ok(done)
}

impl Office {
    /// Waits until as much is known of some organizations as when they were asked for.
    async fn catch_up(
        &self,
        store: &Store,
        names: &BTreeSet<OrganizationName>,
    ) -> Result<BTreeMap<OrganizationName, String>, Failure> {
        let known = store.asked_for(self.source(), Some(names)).await?;
        let known: BTreeMap<OrganizationName, String> =
            known.into_iter().map(|(name, (said, _))| (name, said)).collect();
        let wanted = names.iter().filter_map(|name| Some((name, Mark::read(known.get(name)?).1)));
        let wanted: Vec<(&OrganizationName, u64)> = wanted.collect();
        let begun = Instant::now();
        loop {
            let behind = {
                let cache = self.followed.cache();
                wanted.iter().find(|(name, newest)| cache.freshness(name) < *newest).copied()
            };
            let Some((name, newest)) = behind else { return Ok(known) };
            if begun.elapsed() > CATCH_UP {
                self.moved().behind = Some(Instant::now());
                let message =
                    format!("of `{name}` version {newest} of the cluster was seen, and this replica is behind");
                let finding = Finding::error(Code::ClusterBehind, message).about(name);
                return Err(Failure::from(finding.hint("it is tried again by itself")));
            }
            tokio::time::sleep(CATCH_UP_STEP).await;
        }
    }

    /// Has the API server confirm that the objects of what would be deleted or released are gone.
    async fn confirm(&self, verdict: &Verdict) -> Result<(), Failure> {
        let changes = verdict.approved.iter().flat_map(|approved| &approved.plan().changes);
        let goes = changes.filter(|change| matches!(change.action, Action::Delete | Action::Release));
        let places = goes.filter_map(|change| Some(change.origin.as_ref()?.file.clone()));
        Ok(self.cluster.confirm_gone(&self.followed, places).await?)
    }

    /// Puts the finalizer on the objects of what is about to be written, and has the API server confirm that those are there
    /// of which rows would be made.
    async fn hold(&self, verdict: &Verdict, seen: &[Arc<answer::Seen>]) -> Result<(), Failure> {
        let mut organizations = BTreeSet::new();
        let mut makes = BTreeSet::new();
        for plan in verdict.approved.iter().map(|approved| approved.plan()).filter(|plan| !plan.is_settled()) {
            organizations.insert(&plan.organization);
            let made = plan.changes.iter().filter(|change| matches!(change.action, Action::Create | Action::Adopt));
            makes.extend(made.filter_map(|change| Some(&change.origin.as_ref()?.file)));
        }
        let written = seen.iter().filter(|seen| organizations.contains(&seen.organization));
        let mut holds = answer::AtOnce::default();
        let mut failed = Vec::new();
        for seen in written.filter(|seen| seen.is_to_be_held() || makes.contains(&seen.place)) {
            let (api, namespace, seen) = (self.cluster.api().clone(), self.followed.name.clone(), seen.clone());
            let hold = async move { held(&api, &namespace, &seen).await };
            failed.extend(holds.start(hold).await);
        }
        failed.extend(holds.rest().await);
        if let Some(first) = failed.into_iter().next() {
            return Err(Failure::from(first));
        }
        Ok(())
    }
}

/// A digest of what a world says of an organization, as a census tells it.
fn digest_of(world: &World, organization: &OrganizationName, correct_drift: bool) -> String {
    let nothing = Desired { organization: organization.clone(), ..Desired::default() };
    let desired = world.organizations.get(organization).unwrap_or(&nothing);
    digest::of(&digest::said(desired), &digest::places(desired), correct_drift)
}

/// Puts the finalizer on an object, or says why it cannot be on it.
async fn held(api: &Api, namespace: &str, seen: &answer::Seen) -> Result<(), Box<Finding>> {
    let key: &Key = &seen.key;
    let failed = |fault: Fault| Box::new(fault.finding(&format!("put the finalizer on {} `{}`", key.0, key.1)));
    if let Some(version) = hold(api, namespace, key, &seen.uid, seen.free_at()).await.map_err(failed)? {
        seen.is_held_at(version);
        return Ok(());
    }
    let message = format!("{} `{}` has gone while its organization was planned", key.0, key.1);
    let finding = Finding::error(Code::ClusterBehind, message).about(&seen.organization);
    Err(Box::new(finding.hint("it is planned again by itself")))
}

/// How organizations of a namespace are planned, for whatever reason.
pub fn pass_over<'a>(
    followed: &'a Followed,
    bench: &'a Bench<'a>,
    targets: &'a Targets,
    now: DateTime<Utc>,
) -> Pass<'a> {
    let terms = &followed.binding.terms;
    Pass {
        source: &followed.source,
        correct_drift: terms.mode == Mode::Enforce,
        full: false,
        guards: &terms.guards,
        bench,
        targets,
        history: None,
        due: None,
        now,
    }
}

/// The plan of an organization, where there is one.
fn plan_of<'a>(heard: &'a engine::Heard, organization: &str) -> Option<&'a crate::plan::OrganizationPlan> {
    heard.plan.organizations.iter().find(|plan| &*plan.organization == organization).map(|plan| &**plan)
}
