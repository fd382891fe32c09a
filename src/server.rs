//! The server: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever keeps it running, and where there are sources with
//! hooks, those. It serves nothing else, and nobody can keep it busy: connections are few, short, and carry little.

mod connection;
pub mod hooks;

pub mod admission;
pub mod certificates;
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
    seen: Arc<Mutex<Seen>>,
}

/// What was seen, and when.
#[derive(Default)]
struct Seen {
    last: Option<(Instant, bool)>,
    runs: Counted,
}

impl Served {
    /// Looks at the database, unless somebody just did. Gives whether it answers, and all metrics in a form.
    async fn look(&self, form: Form) -> (bool, String) {
        let mut seen = self.seen.lock().await;
        if let Some((at, up)) = seen.last
            && at.elapsed() < SEEN_FOR
        {
            return (up, self.metrics.text(form));
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
        seen.last = Some((Instant::now(), observed.is_some()));
        // Nobody else clears anything as long as it is this one's turn.
        (observed.is_some(), self.metrics.text(form))
    }
}

/// Binds the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    store: Store,
    hooks: Option<Hooks>,
    mut stop: watch::Receiver<bool>,
) {
    let served = Served { metrics, store, seen: Arc::default() };
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
    match served.look(Form::Text).await.0 {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
