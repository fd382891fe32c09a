//! The controller: always on. It looks at sources, works on the organizations that have moved, and goes on doing so.
//!
//! Whatever wakes it (an interval, a schedule, a webhook, somebody's write to the rows, `argus reconcile`) carries no data: a
//! turn reads anew what it needs. What is to be done stands in a queue in the database, which replicas share: a turn is one
//! look at one source, or work on a batch of its organizations. Dying between any two steps loses nothing, because the
//! queue holds on to what was not settled.

pub mod admission;
mod cluster;
mod look;
mod pass;
mod presence;
mod repositories;
mod review;
mod tellers;
mod turns;
mod worker;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use cluster::Office;
use presence::Presence;
use repositories::{Named, Registry};

use crate::cli::controller::Controller;
use crate::commands::context::{Context, Done, Failure};
use crate::commands::output::report;
use crate::commands::{notify, relay};
use crate::engine::relay::Relaying;
use crate::engine::reporting;
use crate::exit_code::ExitCode;
use crate::metrics::Metrics;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::server::Beside;
use crate::settings::controller::{ControllerSettings, SourceSettings};
use crate::store::Store;
use crate::store::ear::Word;
use crate::store::queue::Sources;

/// How long work that is under way has to come to an end once the process was told to stop.
const GRACE: Duration = Duration::from_secs(15);

/// How long somebody who cannot hear the database waits before trying again.
const DEAF: Duration = Duration::from_secs(2);

/// How often it is looked whether somebody has moved rows, at most.
const SWEEP: Duration = Duration::from_millis(500);

/// And at least.
const SWEEP_MAX: Duration = Duration::from_secs(60);

/// How long events are kept that nobody waits for.
const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// The form of a source whose manifests are in a repository.
const GIT: &str = "git";

/// The form of a source that is a namespace of a cluster.
const CLUSTER: &str = "cluster";

/// What all turns share.
struct Shared {
    store: Store,
    metrics: Arc<Metrics>,
    /// Told whenever there may be something to do.
    wake: Notify,
    /// Who is there to work.
    presence: Presence,
    stop: watch::Receiver<bool>,
    /// The namespaces that are sources.
    offices: Vec<Arc<Office>>,
    /// The sources.
    desks: RwLock<Vec<Arc<Desk>>>,
    /// How many turns may be about repositories that objects name, at the same time: their servers may be slow on purpose, and
    /// one worker is left to all others.
    slow: Semaphore,
    /// Whether to end when nothing is due any more.
    once: bool,
}

impl Shared {
    fn stops(&self) -> bool {
        *self.stop.borrow()
    }

    /// The sources as they are now.
    fn desks(&self) -> Vec<Arc<Desk>> {
        self.desks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_desks(&self, desks: Vec<Arc<Desk>>) {
        *self.desks.write().unwrap_or_else(PoisonError::into_inner) = desks;
    }

    /// A place for a turn about a source; none where too many are about repositories that objects name, and it is one of them.
    fn place(&self, desk: &Desk) -> Option<Option<SemaphorePermit<'_>>> {
        match &desk.named {
            None => Some(None),
            Some(_) => self.slow.try_acquire().ok().map(Some),
        }
    }

    /// Gives a place back, and wakes whoever found none.
    fn free(&self, place: Option<SemaphorePermit<'_>>) {
        if place.is_some() {
            drop(place);
            self.wake.notify_waiters();
        }
    }

    /// Takes one away that is to be no source any more.
    fn drop_desk(&self, gone: &Arc<Desk>) {
        self.desks.write().unwrap_or_else(PoisonError::into_inner).retain(|desk| !Arc::ptr_eq(desk, gone));
    }
}

/// A source, and the settings of the machine as they are for it.
struct Desk {
    settings: SourceSettings,
    context: Context,
    /// The namespace that it is, if it is one.
    office: Option<Arc<Office>>,
    /// The object that names its repository, if one does.
    named: Option<Named>,
}

impl Desk {
    /// The sources that the settings of the machine list, and the namespaces that they bind.
    fn all(context: &Context, settings: &ControllerSettings, offices: &[Arc<Office>]) -> Vec<Arc<Desk>> {
        let desk = |settings: SourceSettings, office: Option<Arc<Office>>| {
            let context = context.of_source(&settings.name, &settings.git);
            Arc::new(Desk { settings, context, office, named: None })
        };
        let repositories = settings.sources.iter().map(|source| desk(source.clone(), None));
        let namespaces =
            offices.iter().map(|office| desk(SourceSettings::usual(office.source()), Some(office.clone())));
        repositories.chain(namespaces).collect()
    }

    /// The same, as it is at this moment: what an object names is read anew. None where that is to be no source any more.
    async fn at_hand(self: &Arc<Desk>) -> Result<Option<Arc<Desk>>, Failure> {
        match &self.named {
            None => Ok(Some(self.clone())),
            Some(named) => Ok(named.at_hand(&self.context, &self.settings.name).await?.map(Arc::new)),
        }
    }

    /// Whether the source is its own, by what the database says of who has named it.
    fn is_its_own(&self, known: &Sources) -> bool {
        let by = known.sources.get(&self.settings.name).and_then(|source| source.named_by.as_deref());
        by == self.named.as_ref().map(Named::called).as_deref()
    }

    /// Tells the object that names its repository how it stands after a turn.
    async fn tell(&self, store: &Store, done: Option<&pass::Done>, failed: &[Finding]) {
        if let Some(named) = &self.named {
            named.answer(store, self, done, failed).await;
        }
    }
}

/// Works until told to stop, or until nothing is due.
pub async fn run(context: &Context, args: &Controller) -> Done {
    let settings = context.controller().checked()?;
    let offices = cluster::open(context, settings).await?;
    if settings.sources.is_empty() && offices.is_empty() {
        let finding = Finding::error(Code::BadSettings, "the controller has nothing to look at");
        return Err(Failure::from(finding.hint("list sources under `controller.sources`, or namespaces under `kubernetes.namespaces`; see docs/settings.md")));
    }
    let database = context.database().await?;
    let stop = relay::stop_signal()?;
    let workers = args.workers.unwrap_or(settings.workers());
    let shared = Arc::new(Shared {
        store: database.store.clone(),
        metrics: context.metrics().clone(),
        wake: Notify::new(),
        presence: Presence::new(replica(context)?, settings.lease()),
        stop: stop.clone(),
        desks: RwLock::new(Desk::all(context, settings, &offices)),
        slow: Semaphore::new(usize::from(workers.saturating_sub(1).max(1))),
        offices,
        once: args.once,
    });
    for source in &settings.sources {
        shared.store.enroll(&source.name, GIT).await?;
    }
    for office in &shared.offices {
        shared.store.enroll(office.source(), CLUSTER).await?;
    }
    let listen = args.listen.or(settings.listen);
    let hooks = tellers::hooks(context, settings, &shared.store, listen.is_some() || args.once)?;
    let beside = Beside { replica: Some(shared.presence.replica().into()), hooks };
    let server = match listen {
        Some(address) => Some(relay::served(context, &shared.store, address, beside, stop.clone()).await?),
        None => None,
    };
    let admission = admission::open(context, &shared).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn({
        let shared = shared.clone();
        async move { shared.presence.beat(&shared.store, &shared.wake).await }
    });
    tasks.spawn(hear(shared.clone(), Word::Work));
    tasks.spawn(sweep(shared.clone()));
    if !shared.offices.is_empty() {
        if args.once {
            cluster::listed(&shared.offices).await;
        }
        tasks.spawn(cluster::hear(shared.clone()));
        let mut registry = Registry::new(&shared, context);
        if registry.is_needed() {
            if args.once {
                registry.listed().await;
                registry.go_through().await?;
            }
            tasks.spawn(registry.follow());
        }
    }
    let forges = tellers::forges(settings)?;
    if !forges.is_empty() && !args.once {
        let (store, metrics, stop) = (shared.store.clone(), shared.metrics.clone(), stop.clone());
        tasks.spawn(async move { reporting::run(&store, &forges, &metrics, stop).await });
    }
    let reviewing = (!args.once).then(|| review::start(context, &shared)).flatten();
    let delivering = deliver(context, &shared, args.once);
    let working = async {
        let workers: Vec<_> = (0..workers).map(|number| worker::start(&shared, number)).collect();
        let mut done = 0;
        for worker in workers {
            done += worker.await.unwrap_or_default();
        }
        if let Some(reviewing) = reviewing {
            done += reviewing.await.unwrap_or_default();
        }
        Ok::<usize, Failure>(done)
    };
    let (done, ()) = tokio::try_join!(within_grace(working, stop.clone()), delivering)?;
    if let Some(admission) = admission {
        admission.end(&shared).await;
    }
    tasks.shutdown().await;
    if let Some(server) = server {
        server.abort();
    }
    shared.presence.end(&shared.store).await;
    report(&format!("Stopped after {done} turns.\n"), ExitCode::Done)
}

/// A name that no other replica has.
fn replica(context: &Context) -> Result<String, Failure> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(100).collect();
    Ok(format!("{host}/{}/{}", std::process::id(), context.one_of_many_runs()?))
}

/// Waits for work to end; once the process was told to stop, no longer than it may take.
async fn within_grace<T: Default>(
    work: impl Future<Output = Result<T, Failure>>,
    mut stop: watch::Receiver<bool>,
) -> Result<T, Failure> {
    let patience = async {
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = work => done,
        () = patience => {
            tracing::warn!("what is under way takes too long, and is left: the database takes back what was not committed");
            Ok(T::default())
        }
    }
}

/// Delivers events as a relay does, where there is somewhere to deliver them to.
async fn deliver(context: &Context, shared: &Shared, once: bool) -> Result<(), Failure> {
    let courier = notify::courier(context, &[])?;
    if courier.is_none() && context.sinks().is_empty() || once {
        return Ok(());
    }
    let sinks = match context.sinks() {
        [] => Vec::new(),
        sinks => relay::chosen(sinks, &[])?,
    };
    let holder = shared.presence.replica().to_owned();
    let relaying = Relaying { holder, workers: 2, once, keep: KEEP, metrics: shared.metrics.clone() };
    relay::deliver(&shared.store, &sinks, courier, &relaying, shared.stop.clone()).await.map(drop)
}

/// Wakes the workers when the database tells something. They look by themselves as well.
async fn hear(shared: Arc<Shared>, word: Word) {
    loop {
        if let Ok(mut ear) = shared.store.ear(word).await {
            while ear.hear(SWEEP_MAX).await.is_ok() {
                shared.wake.notify_waiters();
            }
        }
        tokio::time::sleep(DEAF).await;
    }
}

/// Asks for work on organizations whose rows somebody else has written, as soon as they have.
async fn sweep(shared: Arc<Shared>) {
    loop {
        // Once after every time that nobody could be heard.
        let mut heard = true;
        if let Ok(mut ear) = shared.store.ear(Word::Events).await {
            while heard {
                match shared.store.wake_what_moved().await {
                    Ok(0) => {}
                    Ok(_) => shared.wake.notify_waiters(),
                    Err(error) => tracing::warn!(%error, "whether rows have moved is not known: {error}"),
                }
                tokio::time::sleep(SWEEP).await;
                // A word may be missed: now and then it is looked without one.
                heard = ear.hear(SWEEP_MAX).await.is_ok();
            }
        }
        tokio::time::sleep(DEAF).await;
    }
}
