//! The server: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever keeps it running, and where there are sources with
//! hooks, those. It serves nothing else, and nobody can keep it busy: connections are few, short, and carry little.

pub mod admission;
pub mod certificates;
mod connection;
pub mod hooks;
pub mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::connect_info::Connected;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::IncomingStream;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use crate::metrics::{Form, Metrics};
use crate::server::connection::Bounded;
use crate::server::hooks::Hooks;
use crate::store::Store;
use crate::store::observing::Observed;
use crate::telemetry::measure::{self, Counted};

/// The most connections at the same time; more wait until one of them ends.
const CONNECTIONS_MAX: usize = 32;

/// The same where hooks are served as well.
const CONNECTIONS_WITH_HOOKS_MAX: usize = 128;

/// The most bytes of a request without its body.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long the database is looked at for one answer.
const LOOK_TIME_MAX: Duration = Duration::from_secs(8);

/// How old what was seen may be: whoever asks more often is told the same.
const SEEN_FOR: Duration = Duration::from_secs(1);

/// What is served.
#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    store: Store,
    /// The replica of the controller that this is, if it is one.
    replica: Option<Arc<str>>,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen, and when.
#[derive(Default)]
struct Seen {
    last: Option<(Instant, Readiness, Option<Observed>)>,
    runs: Counted,
}

/// Whether this process can do its work.
#[derive(Clone, Debug)]
struct Readiness {
    /// Whether the database answers.
    database: bool,
    /// Whether the database believes that this replica is there, if it should.
    leases: Option<bool>,
    /// For how long the oldest event has been waiting for each sink, in seconds.
    lag: Vec<(String, f64)>,
}

impl Readiness {
    fn is_ready(&self) -> bool {
        self.database && self.leases != Some(false)
    }

    /// A line for each thing that was looked at.
    fn text(&self) -> String {
        let word = |fine: bool| if fine { "ok" } else { "failed" };
        let mut text = format!("database {}\n", word(self.database));
        if let Some(leases) = self.leases {
            text.push_str(&format!("leases {}\n", word(leases)));
        }
        // A sink that is away is no reason to take away everything else that is served here.
        for (sink, seconds) in &self.lag {
            text.push_str(&format!("relay {sink} {seconds:.0} s\n"));
        }
        text + if self.is_ready() { "ready\n" } else { "not ready\n" }
    }
}

impl Served {
    /// Looks at the database, unless somebody just did. Gives whether this process can do its work, and all metrics in a form.
    async fn look(&self, form: Form) -> (Readiness, String) {
        let mut seen = self.seen.lock().await;
        if let Some((at, readiness, observed)) = &seen.last
            && at.elapsed() < SEEN_FOR
        {
            // Whoever has planned meanwhile has told of that plan alone.
            measure::observed(&self.metrics, observed.as_ref());
            return (readiness.clone(), self.metrics.text(form));
        }
        let observed = match timeout(LOOK_TIME_MAX, self.store.observe()).await {
            Ok(Ok(observed)) => Some(observed),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the database cannot be looked at: {error}");
                None
            }
            Err(_) => {
                tracing::warn!("the database takes too long to be looked at");
                None
            }
        };
        measure::observed(&self.metrics, observed.as_ref());
        if let Some(observed) = &observed {
            seen.runs.count(&self.metrics, &observed.ended);
        }
        let leases = match (&self.replica, observed.is_some()) {
            (None, _) => None,
            (Some(_), false) => Some(false),
            (Some(replica), true) => {
                Some(matches!(timeout(LOOK_TIME_MAX, self.store.is_there(replica)).await, Ok(Ok(true))))
            }
        };
        let lag = observed.iter().flat_map(|observed| &observed.backlog).map(|(sink, _, age)| (sink.clone(), *age));
        let readiness = Readiness { database: observed.is_some(), leases, lag: lag.collect() };
        seen.last = Some((Instant::now(), readiness.clone(), observed));
        // Nobody else clears anything as long as it is this one's turn.
        (readiness, self.metrics.text(form))
    }
}

/// Binds the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// What is served beside metrics.
#[derive(Default)]
pub struct Beside {
    /// The replica of the controller that this is, if it is one.
    pub replica: Option<Arc<str>>,
    /// The hooks of sources.
    pub hooks: Option<Hooks>,
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    store: Store,
    Beside { replica, hooks }: Beside,
    mut stop: watch::Receiver<bool>,
) {
    let served = Served { metrics, store, replica, seen: Arc::default() };
    let router = Router::new()
        .route("/metrics", get(tell_metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(tell_readiness))
        .with_state(served);
    let (listener, router) = match hooks {
        None => (Bounded::new(listener, CONNECTIONS_MAX, HEAD_BYTES_MAX), router),
        Some(hooks) => {
            let bytes = HEAD_BYTES_MAX + hooks.wire_bytes_max();
            (Bounded::new(listener, CONNECTIONS_WITH_HOOKS_MAX, bytes), router.merge(hooks.routes()))
        }
    };
    tokio::select! {
        done = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()) => {
            if let Err(error) = done {
                tracing::error!(%error, "nothing is served any more: {error}");
            }
        }
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Who is on the other side of a connection.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Peer {
        Peer(stream.remote_addr().ip().to_canonical())
    }
}

async fn tell_metrics(State(served): State<Served>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let form = if accepted.contains("application/openmetrics-text") { Form::Open } else { Form::Text };
    let (_, text) = served.look(form).await;
    ([(header::CONTENT_TYPE, form.media_type())], text)
}

async fn tell_readiness(State(served): State<Served>) -> impl IntoResponse {
    let (readiness, _) = served.look(Form::Text).await;
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, readiness.text())
}
