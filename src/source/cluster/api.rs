//! What is asked of an API server, each within a bounded time, and what can go wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{GetParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{Request, WatchEvent};
use kube::runtime::WatchStreamExt;
use kube::{Client, Config};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::object::{Metadata, Object, digest};
use super::settings::ClusterSettings;
use super::sort::Sort;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::API_VERSION;

/// Who writes, as the API server notes beside each field.
pub const MANAGER: &str = "argus";

/// How many objects are listed at once.
const PAGE_OBJECTS: u32 = 200;

/// The longest note of an event; the API server takes 1,024 bytes.
const NOTE_BYTES_MAX: usize = 1_000;

/// Who tells events.
const CONTROLLER: &str = "argus.io/controller";

/// How much of the name of an object stands in that of an event.
const EVENT_NAME_CHARS_MAX: usize = 200;

/// Of how many events is remembered how often they were told.
const REPEATED_MAX: usize = 10_000;

/// What is said of an answer that cannot be read.
const NO_ANSWER: &str = "the answer is none of Kubernetes";

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A connection.
    pub connect: Duration,
    /// A request, from its first byte to the last of the answer.
    pub request: Duration,
    /// The silence in a watch: the API server tells how far it is about once a minute.
    pub silence: Duration,
    /// The first wait after a failure; it doubles.
    pub wait: Duration,
    /// The longest wait.
    pub wait_max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            silence: Duration::from_secs(150),
            wait: Duration::from_millis(500),
            wait_max: Duration::from_secs(60),
        }
    }
}

/// Why an API server did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The status of HTTP; 0 where there was no answer.
    pub status: u16,
    /// What it said.
    pub message: String,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Fault {
    fn silent(message: impl Into<String>) -> Fault {
        Fault { status: 0, message: message.into(), retry_after: None }
    }

    /// Whether what was asked for is not there.
    pub fn is_absent(&self) -> bool {
        self.status == 404
    }

    /// Whether somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        self.status == 409
    }

    /// Whether the history that was asked for is no longer kept.
    pub fn is_gone(&self) -> bool {
        self.status == 410
    }

    /// What to tell.
    pub fn finding(&self, doing: &str) -> Finding {
        let message = format!("cannot {doing}: {}", self.message);
        match self.status {
            401 | 403 => Finding::error(Code::ClusterRefused, message).hint(
                "the account of Argus needs `get`, `list`, `watch` and `patch` on the kinds of argus.io in each bound \
                 namespace, `patch` on their status, and `create` and `patch` on events.k8s.io events",
            ),
            404 => Finding::error(Code::ClusterUnreachable, message)
                .hint("are the definitions there? `argus crds | kubectl apply --server-side -f -`"),
            _ => Finding::error(Code::ClusterUnreachable, message)
                .hint("it is tried again by itself; nothing is deleted while the cluster cannot be asked"),
        }
    }
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let seconds = status.details.as_ref().map(|details| details.retry_after_seconds).unwrap_or_default();
                let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                let message = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
                Fault { status: status.code, message: line(&message), retry_after }
            }
            // What stands there may be anybody's: only the place is told.
            kube::Error::SerdeError(error) => Fault::silent(format!("{NO_ANSWER}, at column {}", error.column())),
            other => Fault::silent(line(&causes(&other))),
        }
    }
}

/// An error and what it came from, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// One line of bounded length, whatever a server says.
fn line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(500).collect::<String>().trim().to_owned()
}

/// As much of a note as an event takes.
fn shortened(note: &str) -> &str {
    let mut end = note.len().min(NOTE_BYTES_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    &note[..end]
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// Its version, and how it goes on.
    pub metadata: PageMetadata,
    /// The objects.
    pub items: Vec<Object>,
}

/// What a page says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageMetadata {
    /// The version of the whole list.
    pub resource_version: String,
    /// What brings the next page.
    #[serde(rename = "continue")]
    pub token: Option<String>,
}

/// An API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    /// What this replica is called in events.
    replica: Arc<str>,
    /// How often events were told that were told before.
    repeated: Arc<Mutex<HashMap<String, u32>>>,
    /// How long things may take.
    pub times: Times,
}

/// Sends a request and reads the answer to its end. The type of a request has no name here.
macro_rules! ask {
    ($api:expr, $request:expr) => {{
        let request = $request.map_err(kube::Error::BuildRequest)?;
        let ask = async {
            let answer = $api.client.send(request.map(Body::from)).await?;
            let status = answer.status().as_u16();
            let seconds = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            Ok::<_, kube::Error>((status, seconds.map(Duration::from_secs), answer.into_body().collect_bytes().await?))
        };
        let answered = tokio::time::timeout($api.times.request, ask).await;
        let (status, retry_after, bytes) = answered.map_err(|_| $api.too_late())??;
        answer(status, retry_after, &bytes)
    }};
}

fn answer<T: DeserializeOwned>(status: u16, retry_after: Option<Duration>, bytes: &[u8]) -> Result<T, Fault> {
    if !(200..300).contains(&status) {
        let said: Said = serde_json::from_slice(bytes).unwrap_or_default();
        let message = match said.message.is_empty() {
            true => format!("HTTP status {status}: {}", line(&String::from_utf8_lossy(bytes))),
            false => line(&said.message),
        };
        return Err(Fault { status, message, retry_after });
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // What stands there may be anybody's: only the place is told.
        Fault::silent(format!("{NO_ANSWER}, at column {}", error.column()))
    })
}

/// The address of the objects of a sort in a namespace.
fn path(namespace: &str, sort: Sort) -> String {
    format!("/apis/{API_VERSION}/namespaces/{namespace}/{}", sort.plural())
}

impl Api {
    /// Reads how to get in. Nothing is asked yet.
    pub async fn new(settings: &ClusterSettings, replica: &str, times: Times) -> Result<Api, Box<Finding>> {
        let mut config = match &settings.kubeconfig {
            Some(file) => {
                let shown = file.display();
                let bad = |error: kube::config::KubeconfigError| {
                    let message = format!("cannot use the kubeconfig {shown}: {}", line(&causes(&error)));
                    let hint =
                        "`kubernetes.kubeconfig` names a file as kubectl reads it, and `context` one of its contexts";
                    Box::new(Finding::error(Code::BadSettings, message).hint(hint))
                };
                let read = Kubeconfig::read_from(file).map_err(bad)?;
                let options = KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
                Config::from_custom_kubeconfig(read, &options).await.map_err(bad)?
            }
            None => Config::incluster().map_err(|error| {
                let message = format!("Argus does not run in a cluster: {}", line(&causes(&error)));
                let hint = "name a file in `kubernetes.kubeconfig`, or run in a pod with a service account";
                Box::new(Finding::error(Code::BadSettings, message).hint(hint))
            })?,
        };
        config.connect_timeout = Some(times.connect);
        // Whether and when something is tried again is decided here, where it is known what for.
        config.default_retry = false;
        let agent = concat!("argus/", env!("CARGO_PKG_VERSION"));
        if let (Ok(name), Ok(value)) = ("user-agent".parse(), agent.parse()) {
            config.headers.push((name, value));
        }
        let unusable = |error: kube::Error| {
            let message = format!("cannot make a client of Kubernetes: {}", line(&causes(&error)));
            Box::new(Finding::error(Code::BadSettings, message))
        };
        let client = Client::try_from(config).map_err(unusable)?;
        Ok(Api {
            client,
            replica: replica.chars().take(128).collect::<String>().into(),
            repeated: Arc::default(),
            times,
        })
    }

    /// The client, for what is asked beside custom resources.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// One page of the objects of a sort.
    pub async fn page(&self, namespace: &str, sort: Sort, token: Option<&str>) -> Result<Page, Fault> {
        let mut list = ListParams::default().limit(PAGE_OBJECTS);
        list.continue_token = token.map(str::to_owned);
        let request = Request::new(path(namespace, sort)).list(&list);
        ask!(self, request)
    }

    /// Whether this account may do something in a namespace: the verb, the group, the resource and the part of it; with all
    /// of them, or with the one of a name.
    pub async fn may(
        &self,
        namespace: &str,
        what: (&str, &str, &str, &str),
        name: Option<&str>,
    ) -> Result<bool, Fault> {
        let (verb, group, resource, part) = what;
        let asked = json!({
            "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": part,
            "name": name.unwrap_or_default(),
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": asked },
        });
        let request = Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        let request = request.create(&PostParams::default(), review.to_string().into_bytes());
        let answer: Result<Json, Fault> = ask!(self, request);
        Ok(answer?["status"]["allowed"] == true)
    }

    /// What happens to the objects of a sort from a version on. The stream ends by itself after a few minutes.
    pub async fn watch(
        &self,
        namespace: &str,
        sort: Sort,
        version: u64,
        seconds: u32,
    ) -> Result<impl WatchStreamExt<Item = Result<WatchEvent<Object>, kube::Error>> + use<>, Fault> {
        let watch = WatchParams::default().timeout(seconds);
        let request = Request::new(path(namespace, sort)).watch(&watch, &version.to_string());
        let request = request.map_err(kube::Error::BuildRequest)?;
        let stream = tokio::time::timeout(self.times.request, self.client.request_events::<Object>(request)).await;
        stream.map_err(|_| self.too_late())?.map_err(Fault::from)
    }

    /// An object as it is now; none where there is none.
    pub async fn get(&self, namespace: &str, sort: Sort, name: &str) -> Result<Option<Object>, Fault> {
        let request = Request::new(path(namespace, sort)).get(name, &GetParams::default());
        match ask!(self, request) {
            Ok(object) => Ok(Some(object)),
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The entries of a Secret, by their names; none where there is no such Secret.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, Fault> {
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/secrets")).get(name, &GetParams::default());
        let secret: Result<Secret, Fault> = ask!(self, request);
        match secret {
            Ok(secret) => {
                let entries = secret.data.unwrap_or_default().into_iter();
                Ok(Some(entries.map(|(name, bytes)| (name, bytes.0)).collect()))
            }
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Merges this into an object. A `resourceVersion` in it is a condition.
    pub async fn merge(&self, namespace: &str, sort: Sort, name: &str, change: &Json) -> Result<Object, Fault> {
        let by = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let request = Request::new(path(namespace, sort)).patch(name, &by, &Patch::Merge(change));
        ask!(self, request)
    }

    /// Sets the status of an object.
    pub async fn apply_status(&self, namespace: &str, sort: Sort, name: &str, status: &Json) -> Result<Object, Fault> {
        let by = PatchParams::apply(MANAGER).force();
        let request = Request::new(path(namespace, sort)).patch_subresource("status", name, &by, &Patch::Apply(status));
        ask!(self, request)
    }

    /// Tells of an object in an event. The same said again of the same object is counted, and not repeated.
    pub async fn tell(&self, namespace: &str, sort: Sort, metadata: &Metadata, told: &Told<'_>) -> Result<(), Fault> {
        let Metadata { name, uid, .. } = metadata;
        let place = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let words = digest(&[uid.as_bytes(), told.reason.as_bytes(), told.note.as_bytes()]);
        let head: String = name.chars().take(EVENT_NAME_CHARS_MAX).collect();
        let event_name = format!("{}.{words:016x}", head.trim_end_matches(['.', '-']));
        let at = told.at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": event_name, "namespace": namespace },
            "eventTime": at,
            "type": if told.is_well { "Normal" } else { "Warning" },
            "reason": told.reason,
            "action": "Reconcile",
            "note": shortened(told.note),
            "reportingController": CONTROLLER,
            "reportingInstance": &*self.replica,
            "regarding": {
                "apiVersion": API_VERSION, "kind": sort.name(), "namespace": namespace, "name": name, "uid": uid,
            },
        });
        let by = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let request = Request::new(place.as_str()).create(&by, event.to_string().into_bytes());
        let made: Result<Json, Fault> = ask!(self, request);
        match made {
            Err(fault) if fault.is_conflict() => {}
            other => return other.map(drop),
        }
        let series = json!({ "series": { "count": self.said_again(&event_name), "lastObservedTime": at } });
        let by = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let request = Request::new(place.as_str()).patch(&event_name, &by, &Patch::Merge(&series));
        let counted: Result<Json, Fault> = ask!(self, request);
        counted.map(drop)
    }

    /// How often an event was told by now, as far as it is remembered.
    fn said_again(&self, event: &str) -> u32 {
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        if repeated.len() >= REPEATED_MAX {
            repeated.clear();
        }
        let count = repeated.entry(event.to_owned()).or_insert(1);
        *count = count.saturating_add(1);
        *count
    }

    fn too_late(&self) -> Fault {
        Fault::silent(format!("no answer within {} s", self.times.request.as_secs_f32()))
    }
}

/// What an API server says when it does not do what was asked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    message: String,
}

/// What an event tells.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Whether it is good news.
    pub is_well: bool,
    /// One word.
    pub reason: &'a str,
    /// More words.
    pub note: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}
