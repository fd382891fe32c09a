//! Following one sort of objects in one namespace: a list, then what happens from there on, for ever.
//!
//! Paged lists and plain watches are what every API server since 1.19 has, and a list tells its version, by which an old
//! one is found out. Whatever fails is tried again, later and later, with some chance in it; a watch that ends goes on
//! where it was, and one whose history is gone begins with a list.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::WatchEvent;
use kube::runtime::WatchStreamExt;

use super::Followed;
use super::api::{Api, Fault};
use super::cache::Stale;
use super::object::{Object, version};
use super::sort::Sort;
use crate::model::code::Code;
use crate::model::finding::Finding;

/// How long a watch may go on, in seconds. A few more for each kind, so that not all end at once.
const WATCH_SECONDS: u32 = 240;

/// A watch that went on for so long was none that fails.
const LASTED: Duration = Duration::from_secs(30);

/// The most objects of one sort in one namespace.
const OBJECTS_MAX: usize = 500_000;

/// The next item of a stream.
async fn next<S: WatchStreamExt>(stream: &mut Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// Why a sort is not followed for a moment.
enum Ended {
    /// The watch is over as it should be; it goes on from this version.
    Over(u64),
    /// The history is gone: list anew.
    Gone,
    /// Something failed; it goes on from this version.
    Failed(u64, Fault),
}

/// Somebody who keeps what is heard of the objects of one sort in one namespace.
pub(super) trait Keeps: Send + Sync + 'static {
    /// What is kept of an object.
    type Kept: Send;

    /// The sort.
    fn sort(&self) -> Sort;

    /// Takes from an object what is to be kept.
    fn take(&self, object: Object) -> Self::Kept;

    /// Takes everything that there is.
    fn replace(&self, listed: u64, all: Vec<Self::Kept>) -> Result<(), Stale>;

    /// Takes an object that has come or changed.
    fn change(&self, object: Object);

    /// Takes that an object has gone.
    fn remove(&self, name: &str, version: u64);

    /// Takes that everything is known up to a version.
    fn reached(&self, version: u64);

    /// Takes that nothing is heard for now.
    fn failed(&self, why: Finding);
}

/// Follows a sort until nobody wants to know any more.
pub(super) async fn follow<K: Keeps>(api: Api, namespace: Arc<Followed>, keeper: K) {
    let mut waits = Waits::new(&api);
    let mut from = None;
    let sort = keeper.sort();
    let failed = |finding: Finding| {
        tracing::warn!(code = %finding.code, namespace = %namespace.name, kind = %sort, "{}", finding.message);
        keeper.failed(finding);
    };
    loop {
        let version = match from {
            Some(version) => version,
            None => match list(&api, &namespace, &keeper).await {
                Ok(version) => version,
                Err((finding, asked)) => {
                    failed(*finding);
                    waits.wait(asked.unwrap_or_default()).await;
                    continue;
                }
            },
        };
        let since = Instant::now();
        let ended = watch(&api, &namespace, &keeper, version).await;
        let lasted = since.elapsed() >= LASTED;
        let (reached, asked) = match ended {
            // Where a watch is over at once, again and again, it is asked for less and less.
            Ended::Over(reached) if lasted => (Some(reached), None),
            Ended::Over(reached) => (Some(reached), Some(Duration::ZERO)),
            Ended::Gone => (None, Some(Duration::ZERO)),
            Ended::Failed(reached, fault) => {
                failed(fault.finding(&format!("watch {} of the namespace `{}`", sort.plural(), namespace.name)));
                (Some(reached), Some(fault.retry_after.unwrap_or_default()))
            }
        };
        if lasted || reached.is_some_and(|reached| reached > version) {
            waits.reset();
        }
        if let Some(asked) = asked {
            waits.wait(asked).await;
        }
        from = reached;
    }
}

/// Lists everything of a sort, page by page, and gives the version of the list.
async fn list<K: Keeps>(api: &Api, namespace: &Followed, keeper: &K) -> Result<u64, (Box<Finding>, Option<Duration>)> {
    let plural = keeper.sort().plural();
    let doing = || format!("list {plural} of the namespace `{}`", namespace.name);
    let failed = |fault: Fault| (Box::new(fault.finding(&doing())), fault.retry_after);
    let mut kept = Vec::new();
    let mut token: Option<String> = None;
    let listed = loop {
        let page = api.page(&namespace.name, keeper.sort(), token.as_deref()).await.map_err(failed)?;
        namespace.heard();
        kept.extend(page.items.into_iter().map(|object| keeper.take(object)));
        if kept.len() > OBJECTS_MAX {
            let message = format!("there are more than {OBJECTS_MAX} {plural} in `{}`", namespace.name);
            let finding = Finding::error(Code::ClusterUnreachable, message);
            return Err((Box::new(finding.hint("spread them over several namespaces")), None));
        }
        token = page.metadata.token.filter(|token| !token.is_empty());
        if token.is_none() {
            break version(&page.metadata.resource_version);
        }
    };
    keeper.replace(listed, kept).map_err(|stale| {
        let message = format!("cannot use what the cluster tells of {plural} in `{}`: {stale}", namespace.name);
        let hint = "an API server is behind, and is asked again; `argus explain ARG1914` tells what to do after etcd was set back";
        (Box::new(Finding::error(Code::ClusterBehind, message).hint(hint)), None)
    })?;
    Ok(listed)
}

/// Takes what happens from a version on.
async fn watch<K: Keeps>(api: &Api, namespace: &Followed, keeper: &K, from: u64) -> Ended {
    let mut reached = from;
    let mut anew = namespace.anew.subscribe();
    let seconds = WATCH_SECONDS + (chance() % 60) as u32;
    let stream = match api.watch(&namespace.name, keeper.sort(), from, seconds).await {
        Ok(stream) => stream,
        Err(fault) if fault.is_gone() => return Ended::Gone,
        Err(fault) => return Ended::Failed(reached, fault),
    };
    let mut stream = pin!(stream);
    keeper.reached(from);
    loop {
        let heard = tokio::select! {
            heard = tokio::time::timeout(api.times.silence, next(&mut stream)) => heard,
            Ok(()) = anew.changed() => return Ended::Gone,
        };
        let event = match heard {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => {
                let fault = Fault::from(error);
                return if fault.is_gone() { Ended::Gone } else { Ended::Failed(reached, fault) };
            }
            Ok(None) => return Ended::Over(reached),
            // Half a connection: this side waits for what the other no longer knows of.
            Err(_) => {
                let silence = api.times.silence.as_secs_f32();
                let message = format!("nothing was heard for {silence} s");
                return Ended::Failed(reached, Fault { status: 0, message, retry_after: None });
            }
        };
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                reached = reached.max(object.metadata.version());
                keeper.change(object);
            }
            WatchEvent::Deleted(object) => {
                reached = reached.max(object.metadata.version());
                keeper.remove(&object.metadata.name, object.metadata.version());
            }
            WatchEvent::Bookmark(bookmark) => {
                reached = reached.max(version(&bookmark.metadata.resource_version));
                keeper.reached(reached);
            }
            WatchEvent::Error(status) => {
                let fault = Fault::from(kube::Error::Api(status));
                return if fault.is_gone() { Ended::Gone } else { Ended::Failed(reached, fault) };
            }
        }
    }
}

/// How long to wait before something is tried again.
struct Waits {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Waits {
    fn new(api: &Api) -> Waits {
        Waits { first: api.times.wait, most: api.times.wait_max, next: api.times.wait }
    }

    fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits for what was asked for, or for a while that doubles; up to half of it is left to chance.
    async fn wait(&mut self, asked: Duration) {
        let half = self.next / 2;
        let some = half + half.mul_f64((chance() % 1_000) as f64 / 1_000.0);
        self.next = (self.next * 2).min(self.most);
        tokio::time::sleep(asked.min(self.most).max(some)).await;
    }
}

/// A number that nobody foresees; nothing depends on how well.
fn chance() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
