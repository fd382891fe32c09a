//! Hooks: `POST /hooks/<source>` from whoever knows the secret of the source.
//!
//! Whoever does not is told nothing: a source that is not there and a signature that is wrong are answered with the same words after
//! the same work. Before it is known who asks, little is read, and nothing that is read is looked into. What is believed is a hint:
//! it wakes the source, and what is looked at then is the repository.

mod rate;

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chrono::Utc;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::rate::Rates;
use super::Peer;
use crate::hook::hint::Meaning;
use crate::hook::proof::Secrets;
use crate::hook::{Headers, PROVIDERS, Provider};
use crate::metrics::Metrics;
use crate::metrics::table::{WEBHOOKS_RECEIVED, WEBHOOKS_REFUSED};
use crate::settings::webhook::WebhookSettings;
use crate::store::Store;
use crate::store::hooks::{Heard, Mark, Wish};

/// Where they come to.
const PATH: &str = "/hooks/";

/// How often one address may come, whoever it is: at once, and a second.
const ADDRESS_BURST: u32 = 240;
const ADDRESS_PER_SECOND: f64 = 4.0;

/// How often whoever knows the secret of a source may come.
const SOURCE_BURST: u32 = 120;
const SOURCE_PER_SECOND: f64 = 2.0;

/// How many addresses are told apart.
const ADDRESSES_MAX: usize = 10_000;

/// How many bodies are read at the same time.
const READING_MAX: usize = 32;

/// How long a delivery is known by its id, and by what it says: an id that nobody signed may be changed by whoever has caught a
/// delivery, and somebody may well push the same twice.
const ID_COUNTS: Duration = Duration::from_secs(3 * 24 * 3600);
const BODY_COUNTS: Duration = Duration::from_secs(600);

/// After how many that were believed it is tidied up.
const TIDY_EVERY: u32 = 500;

/// A source that has hooks.
#[derive(Clone, Debug)]
pub struct Hooked {
    /// Its name.
    pub source: String,
    /// Who sends them.
    pub webhook: WebhookSettings,
    /// The ref that it reads; what the repository calls its `HEAD` if none.
    pub reference: Option<String>,
    /// The repository, as its forge calls it, if that is known.
    pub repository: Option<String>,
    /// Whether what is asked for is planned.
    pub plans: bool,
}

/// What was wrong with the hooks of a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook of the source `{source_name}`: {why}")]
pub struct BadHook {
    /// Its name.
    pub source_name: String,
    /// What is wrong.
    pub why: String,
}

/// The same, ready to be asked.
#[derive(Debug)]
struct Known {
    provider: &'static Provider,
    secrets: Secrets,
    reference: Option<String>,
    repository: Option<String>,
    plans: bool,
}

/// All that is known of hooks.
#[derive(Debug)]
struct Desk {
    sources: BTreeMap<String, Known>,
    nobody: Known,
    body_bytes_max: usize,
    store: Store,
    metrics: Arc<Metrics>,
    addresses: Mutex<Rates<IpAddr>>,
    by_source: Mutex<Rates<String>>,
    reading: Semaphore,
    believed: Mutex<u32>,
}

/// The hooks of all sources.
#[derive(Clone, Debug)]
pub struct Hooks(Arc<Desk>);

/// Why a delivery is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Whoever sends it comes too often.
    Rate(Duration),
    /// It is too large.
    Size,
    /// It is compressed.
    Encoding,
    /// It did not come to its end.
    Cut,
    /// There is no proof that is right, for this reason.
    Unproven(&'static str),
    /// The database does not answer.
    Database,
}

impl Refusal {
    /// In one word, for the metrics alone.
    fn word(self) -> &'static str {
        match self {
            Refusal::Rate(_) => "rate",
            Refusal::Size => "size",
            Refusal::Encoding => "encoding",
            Refusal::Cut => "cut",
            Refusal::Unproven(why) => why,
            Refusal::Database => "database",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let whole = |wait: Duration| (wait.as_secs_f64().ceil() as u64).max(1).to_string();
        let again = |status: StatusCode, wait: Duration, said: &'static str| {
            (status, [(header::RETRY_AFTER, whole(wait))], said).into_response()
        };
        match self {
            Refusal::Rate(wait) => again(StatusCode::TOO_MANY_REQUESTS, wait, "too many\n"),
            Refusal::Size => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n").into_response(),
            Refusal::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send it as it is\n").into_response(),
            Refusal::Cut => (StatusCode::BAD_REQUEST, "it has no end\n").into_response(),
            Refusal::Unproven(_) => (StatusCode::UNAUTHORIZED, "refused\n").into_response(),
            Refusal::Database => again(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(10), "try again\n"),
        }
    }
}

/// What came of a delivery that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ping,
    Woken,
    Planned,
    Nothing,
    Before,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Ping => "ping",
            Outcome::Woken => "woken",
            Outcome::Planned => "planned",
            Outcome::Nothing => "nothing",
            Outcome::Before => "before",
        })
    }
}

impl Hooks {
    /// Reads the secrets of all sources that have hooks. Without any that could be guessed nothing starts.
    pub fn new(sources: &[Hooked], store: Store, metrics: Arc<Metrics>) -> Result<Hooks, BadHook> {
        let now = Instant::now();
        let known = |hooked: &Hooked| {
            let bad = |why| BadHook { source_name: hooked.source.clone(), why };
            let known = Known {
                provider: hooked.webhook.provider(),
                secrets: hooked.webhook.secrets().map_err(bad)?,
                reference: hooked.reference.clone(),
                repository: hooked.repository.clone(),
                plans: hooked.plans,
            };
            Ok((hooked.source.clone(), known))
        };
        let nobody = Known {
            provider: &PROVIDERS[0],
            secrets: Secrets::of_nobody(),
            reference: None,
            repository: None,
            plans: false,
        };
        Ok(Hooks(Arc::new(Desk {
            sources: sources.iter().map(known).collect::<Result<_, BadHook>>()?,
            nobody,
            // The same for all, because before the proof is read nobody learns which sources there are.
            body_bytes_max: sources.iter().map(|hooked| hooked.webhook.body_bytes_max()).max().unwrap_or_default(),
            store,
            metrics,
            addresses: Mutex::new(Rates::new(ADDRESS_BURST, ADDRESS_PER_SECOND, ADDRESSES_MAX, now)),
            by_source: Mutex::new(Rates::new(SOURCE_BURST, SOURCE_PER_SECOND, sources.len(), now)),
            reading: Semaphore::new(READING_MAX),
            believed: Mutex::new(0),
        })))
    }

    /// How many bytes one takes on the wire at most, however it is cut into pieces.
    pub(super) fn wire_bytes_max(&self) -> usize {
        2 * self.0.body_bytes_max
    }

    /// Where they come to.
    pub(super) fn routes(self) -> Router {
        Router::new().route(&format!("{PATH}{{source}}"), post(answer)).with_state(self)
    }
}

async fn answer(State(Hooks(desk)): State<Hooks>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let span = tracing::info_span!("hook", argus.source = tracing::field::Empty, argus.outcome = tracing::field::Empty);
    let answered = async {
        match desk.take(peer.0, request).await {
            Ok(outcome) => {
                tracing::Span::current().record("argus.outcome", outcome.to_string());
                (StatusCode::OK, format!("{outcome}\n")).into_response()
            }
            Err(refusal) => {
                desk.metrics.add(&WEBHOOKS_REFUSED, &[refusal.word()], 1.0);
                tracing::Span::current().record("argus.outcome", refusal.word());
                tracing::debug!(address = %peer.0, why = refusal.word(), "a hook is refused: {}", refusal.word());
                refusal.into_response()
            }
        }
    };
    let mut response = answered.instrument(span).await;
    // A connection that goes on is cut at its end, perhaps in the middle of what nobody sends twice.
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

impl Desk {
    async fn take(&self, address: IpAddr, request: Request) -> Result<Outcome, Refusal> {
        held(&self.addresses).take(network(address), Instant::now()).map_err(Refusal::Rate)?;
        let (Parts { uri, headers, .. }, body) = request.into_parts();
        let body = self.read(&headers, body).await?;
        let name = uri.path().strip_prefix(PATH).unwrap_or_default();
        let known = self.sources.get(name);
        let Known { provider, secrets, .. } = known.unwrap_or(&self.nobody);
        let said = Headers::new(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let digest = provider.proof.signed(&said, &body).iter().fold(Sha256::new(), |all, part| all.chain_update(part));
        let proven = provider.proof.verify(secrets, &said, &body, Utc::now());
        let known = known.ok_or(Refusal::Unproven("unknown"))?;
        proven.map_err(|doubt| Refusal::Unproven(doubt.word()))?;
        tracing::Span::current().record("argus.source", name);
        held(&self.by_source).take(name.to_owned(), Instant::now()).map_err(Refusal::Rate)?;
        let outcome = self.heed(name, known, &said, &body, digest.finalize().into()).await?;
        self.metrics.add(&WEBHOOKS_RECEIVED, &[name, &outcome.to_string()], 1.0);
        Ok(outcome)
    }

    /// Reads a body, as long as it is not too long.
    async fn read(&self, headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refusal> {
        let plain = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
            return Err(Refusal::Encoding);
        }
        if body.size_hint().lower() > self.body_bytes_max as u64 {
            return Err(Refusal::Size);
        }
        // Nobody closes the semaphore, and whoever is slow is cut off.
        let _place = self.reading.acquire().await;
        let mut read: Vec<u8> = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|_| Refusal::Cut)?;
            let Ok(piece) = frame.into_data() else { continue };
            if read.len() + piece.len() > self.body_bytes_max {
                return Err(Refusal::Size);
            }
            read.extend_from_slice(&piece);
        }
        Ok(read.into())
    }

    /// Does what somebody who is believed asks for.
    async fn heed(
        &self,
        source: &str,
        known: &Known,
        headers: &Headers<'_>,
        body: &[u8],
        digest: [u8; 32],
    ) -> Result<Outcome, Refusal> {
        let hint = known.provider.hint(headers, body);
        let meaning = hint.means(known.reference.as_deref(), known.repository.as_deref());
        let (wish, outcome) = match &meaning {
            Meaning::Ping => return Ok(Outcome::Ping),
            Meaning::Nothing => return Ok(Outcome::Nothing),
            Meaning::Plan(_) if !known.plans => return Ok(Outcome::Nothing),
            Meaning::Look => (Wish::Look, Outcome::Woken),
            Meaning::Plan(asked) => (Wish::Plan { number: asked.number, head: &asked.head }, Outcome::Planned),
        };
        let mut marks = vec![Mark { digest, counts: BODY_COUNTS }];
        if let Some(id) = known.provider.delivery_of(headers) {
            let digest = Sha256::new().chain_update(b"id\0").chain_update(id).finalize().into();
            marks.push(Mark { digest, counts: ID_COUNTS });
        }
        let heard = self.store.hear_hook(source, &marks, wish).await.map_err(|error| {
            tracing::warn!(source, %error, "a hook of {source} is not noted: {error}");
            Refusal::Database
        })?;
        self.tidy().await;
        Ok(if heard == Heard::Before { Outcome::Before } else { outcome })
    }

    /// Tidies up every now and then.
    async fn tidy(&self) {
        let due = {
            let mut believed = held(&self.believed);
            *believed = (*believed + 1) % TIDY_EVERY;
            *believed == 1
        };
        if due && let Err(error) = self.store.forget_hooks().await {
            tracing::warn!(%error, "old hooks are not forgotten: {error}");
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is taken for one address: of version 6 the network, because whoever has one has all that is in it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}
