//! What is written to objects: the finalizer, the status, and events beside them. And the look at the object itself
//! without which nothing is taken for gone.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::api::{Api, Fault, Told};
use super::object::{FINALIZER, Key, Metadata, Object, key_at};
use super::sort::Sort;
use super::status::{Came, Status, status};
use super::{Cluster, Followed};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::API_VERSION;

/// How often something is tried where others write the same object.
const TRIES: usize = 6;

/// How an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is none, or another one of the same name.
    Gone,
    /// Somebody deleted it, and it is held back.
    Terminating,
    /// It is there.
    There,
}

/// What the API server itself says of an object, past all caches.
pub async fn presence(api: &Api, namespace: &str, key: &Key) -> Result<Presence, Fault> {
    Ok(match api.get(namespace, key.0.into(), &key.1).await? {
        None => Presence::Gone,
        Some(object) if object.metadata.deletion_timestamp.is_some() => Presence::Terminating,
        Some(_) => Presence::There,
    })
}

impl Cluster {
    /// Asks the API server whether the objects of these places are really gone, before what they said is deleted. An
    /// object that the cache has not is no proof.
    ///
    /// An object that the cache knows is not asked for: it is there, and what it says now was read.
    pub async fn confirm_gone(
        &self,
        namespace: &Followed,
        places: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<(), Box<Finding>> {
        let keys = places.into_iter().filter_map(|place| key_at(&namespace.cluster, &namespace.name, &place));
        let unknown: Vec<Key> = {
            let cache = namespace.cache();
            let mut keys: Vec<Key> = keys.filter(|key| cache.object(key).is_none()).collect();
            keys.sort();
            keys.dedup();
            keys
        };
        for key in unknown {
            let failed = |fault: Fault| Box::new(fault.finding(&format!("ask for {} `{}`", key.0, key.1)));
            if presence(&self.api, &namespace.name, &key).await.map_err(failed)? == Presence::There {
                let message = format!(
                    "{} `{}` of the namespace `{}` is there, and what was heard of the cluster does not hold it",
                    key.0, key.1, namespace.name
                );
                namespace.list_anew();
                let hint = "nothing was deleted; the namespace is listed anew, and the organization planned again";
                return Err(Box::new(Finding::error(Code::ClusterBehind, message).about(&key.1).hint(hint)));
            }
        }
        Ok(())
    }
}

/// Puts the finalizer on an object, before anything of it is written for the first time. Gives the version in which it is
/// on it; none where the object is gone, or going.
///
/// `free` is the version in which it was last seen, if nothing held it back then: as long as it has not changed since, it
/// need not be asked for.
pub async fn hold(api: &Api, namespace: &str, key: &Key, uid: &str, free: Option<u64>) -> Result<Option<u64>, Fault> {
    if let Some(version) = free {
        let patch = json!({
            "metadata": { "uid": uid, "resourceVersion": version.to_string(), "finalizers": [FINALIZER] },
        });
        match api.merge(namespace, key.0.into(), &key.1, &patch).await {
            Ok(object) => return Ok(held_at(Some(&object.metadata))),
            Err(fault) if fault.is_absent() => return Ok(None),
            // It is another one by now, or going.
            Err(fault) if fault.is_conflict() || fault.status == 422 => {}
            Err(fault) => return Err(fault),
        }
    }
    let metadata = change_finalizers(api, namespace, key, uid, |metadata| {
        if metadata.deletion_timestamp.is_some() || metadata.is_held() {
            return None;
        }
        Some(metadata.finalizers.iter().map(String::as_str).chain([FINALIZER]).map(str::to_owned).collect())
    })
    .await?;
    Ok(held_at(metadata.as_ref()))
}

/// The version of an object that has the finalizer.
fn held_at(metadata: Option<&Metadata>) -> Option<u64> {
    metadata.filter(|metadata| metadata.is_held()).map(Metadata::version)
}

/// Takes the finalizer off an object, once its rows are gone, released, or were never there. Does nothing where it is not
/// on it.
pub async fn release(api: &Api, namespace: &str, key: &Key, uid: &str) -> Result<(), Fault> {
    change_finalizers(api, namespace, key, uid, |metadata| {
        if !metadata.is_held() {
            return None;
        }
        Some(metadata.finalizers.iter().filter(|name| *name != FINALIZER).cloned().collect())
    })
    .await
    .map(drop)
}

/// Changes the finalizers of an object as it is now, and tries again where somebody else was faster.
async fn change_finalizers(
    api: &Api,
    namespace: &str,
    key: &Key,
    uid: &str,
    change: impl Fn(&Metadata) -> Option<Vec<String>>,
) -> Result<Option<Metadata>, Fault> {
    let mut last = None;
    for _ in 0..TRIES {
        let Some(object) = same(api.get(namespace, key.0.into(), &key.1).await?, uid) else { return Ok(None) };
        let Some(finalizers) = change(&object.metadata) else { return Ok(Some(object.metadata)) };
        let version = &object.metadata.resource_version;
        let patch = json!({ "metadata": { "uid": uid, "resourceVersion": version, "finalizers": finalizers } });
        match api.merge(namespace, key.0.into(), &key.1, &patch).await {
            Ok(object) => return Ok(Some(object.metadata)),
            Err(fault) if fault.is_absent() => return Ok(None),
            Err(fault) if fault.is_conflict() => last = Some(fault),
            // It is going by now, and takes no finalizer any more; the next look tells.
            Err(fault) if fault.status == 422 => last = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    Err(last.unwrap_or(Fault { status: 409, message: "others write it all the time".into(), retry_after: None }))
}

/// The object, unless another one has taken its name.
fn same(object: Option<Object>, uid: &str) -> Option<Object> {
    object.filter(|object| object.metadata.uid == uid)
}

/// Writes what came of a pass to the status of an object, and tells of it in an event, where something has changed.
/// `told` is the digest of the status that it had when it was last seen, and `version` the one in which it was that: what
/// had none need not be asked for, as long as it has not changed since. Says whether something was written.
pub async fn report(
    api: &Api,
    namespace: &str,
    key: &Key,
    uid: &str,
    (told, version): (u64, u64),
    came: &Came,
) -> Result<bool, Fault> {
    if came.run.is_none() && status(&Status::default(), came).digest() == told {
        return Ok(false);
    }
    let mut blank = (version > 0 && told == Status::default().digest()).then_some(version);
    for _ in 0..TRIES {
        let seen = match blank.take() {
            Some(version) => {
                let version = Some(version.to_string());
                As { name: &key.1, uid, status: Status::default(), version }
            }
            None => {
                let Some(object) = same(api.get(namespace, key.0.into(), &key.1).await?, uid) else { return Ok(false) };
                As {
                    name: &key.1,
                    uid,
                    status: object.status.map(Status::from_json).unwrap_or_default(),
                    version: None,
                }
            }
        };
        match answer(api, namespace, key.0.into(), &seen, came).await {
            Err(fault) if fault.is_absent() => return Ok(false),
            Err(fault) if fault.is_conflict() => {}
            answered => return answered,
        }
    }
    Ok(false)
}

/// An object as it was when its status was read.
pub struct As<'a> {
    /// Its name.
    pub name: &'a str,
    /// What tells it from one that had the name before.
    pub uid: &'a str,
    /// Its status.
    pub status: Status,
    /// Its version, where whoever has written it since then makes writing a conflict.
    pub version: Option<String>,
}

/// Writes what came of a pass to the status of an object, and tells of it in an event, where something has changed.
pub async fn answer(api: &Api, namespace: &str, sort: Sort, seen: &As<'_>, came: &Came) -> Result<bool, Fault> {
    let As { name, uid, status: before, version } = seen;
    // Somebody else knows a later generation of it already.
    if before.observed_generation > came.generation {
        return Ok(false);
    }
    let after = status(before, came);
    if after == *before {
        return Ok(false);
    }
    // With the id: one that was made anew under the same name gets nothing of this.
    let mut metadata = json!({ "name": name, "namespace": namespace, "uid": uid });
    if let Some(version) = version {
        metadata["resourceVersion"] = json!(version);
    }
    let applied = json!({
        "apiVersion": API_VERSION,
        "kind": sort.name(),
        "metadata": metadata,
        "status": serde_json::to_value(&after).unwrap_or(Json::Null),
    });
    let object = api.apply_status(namespace, sort, name, &applied).await?;
    tell(api, namespace, sort, &object.metadata, (before, &after), came).await;
    Ok(true)
}

/// An event where `Ready` or the drift are others than before. That it does not arrive is no reason to stop.
async fn tell(
    api: &Api,
    namespace: &str,
    sort: Sort,
    metadata: &Metadata,
    (before, after): (&Status, &Status),
    came: &Came,
) {
    let said = |status: &Status| status.ready().map(|ready| (ready.reason.clone(), ready.message.clone()));
    let mut news = Vec::new();
    if said(before) != said(after) {
        news.push(Told {
            is_well: came.standing.is_well(),
            reason: came.standing.reason(),
            note: &came.message,
            at: came.at,
        });
    }
    if let Some(drift) = came.drift.as_deref().filter(|_| !before.is("Drifted")) {
        news.push(Told { is_well: false, reason: "Drifted", note: drift, at: came.at });
    }
    for told in news {
        if let Err(fault) = api.tell(namespace, sort, metadata, &told).await {
            tracing::warn!(namespace, kind = %sort, name = metadata.name, "cannot tell of it in an event: {fault}");
        }
    }
}
