//! The server of the relay: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever keeps it running. It serves
//! nothing else, and nobody can keep it busy: connections are few, short, and carry little.

pub mod admission;
pub mod certificates;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::metrics::{Form, Metrics};
use crate::store::Store;
use crate::telemetry::measure::{self, Counted};

/// The most connections at the same time; more wait until one of them ends.
const CONNECTIONS_MAX: usize = 32;

/// The longest that one lives, whatever is done on it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a connection may say nothing that makes a request of what came before.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The most bytes that are read from one.
const CONNECTION_BYTES_MAX: usize = 64 * 1024;

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
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, store: Store, mut stop: watch::Receiver<bool>) {
    let served = Served { metrics, store, seen: Arc::default() };
    let router = Router::new()
        .route("/metrics", get(tell_metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(tell_readiness))
        .with_state(served);
    let listener = Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    tokio::select! {
        done = axum::serve(listener, router) => {
            if let Err(error) = done {
                tracing::error!(%error, "metrics are served no more: {error}");
            }
        }
        _ = stop.wait_for(|stop| *stop) => {}
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

/// Takes connections while there is a place for them.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes the semaphore.
        let place = self.places.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let end = Instant::now() + CONNECTION_TIME_MAX;
                    let connection =
                        Connection { stream, _place: place, read: 0, end, patience: Box::pin(sleep(SILENCE_MAX)) };
                    return (connection, from);
                }
                // The process has no more files, or the other side is gone already.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself.
struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
    read: usize,
    end: Instant,
    /// Until when the other side has to have said something whole: that is, until an answer is written.
    patience: Pin<Box<Sleep>>,
}

impl Connection {
    /// Ends the connection where the other side takes nothing for too long; waits otherwise.
    fn out_of_patience<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.patience.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.read > CONNECTION_BYTES_MAX || Instant::now() > this.end {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.read += buffer.filled().len() - before;
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        if polled.is_pending() {
            return this.out_of_patience(context);
        }
        // An answer: the other side has as long again for its next request.
        this.patience.as_mut().reset((Instant::now() + SILENCE_MAX).min(this.end));
        if Instant::now() > this.end { Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())) } else { polled }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_flush(context) {
            Poll::Pending => this.out_of_patience(context),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
