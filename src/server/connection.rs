//! Connections that end by themselves: they are few, short, and carry little, so that nobody can keep the server busy.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// The longest that one lives, whatever is done on it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a connection may say nothing that makes a request of what came before.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// An address where connections are taken while there is a place for them.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Door {
    /// So many at the same time; more wait until one of them ends.
    pub(super) fn new(listener: TcpListener, connections_max: usize) -> Door {
        Door { listener, places: Arc::new(Semaphore::new(connections_max)) }
    }

    /// The next connection, whom it is from, and the place that it takes.
    pub(super) async fn next(&self) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
        // Nobody closes the semaphore.
        let place = self.places.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => return (stream, from, place),
                // The process has no more files, or the other side is gone already.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// Where it is.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Takes connections that end by themselves.
pub(super) struct Bounded {
    door: Door,
    request_bytes_max: usize,
}

impl Bounded {
    /// So many at the same time, of which each reads so many bytes between two answers.
    pub(super) fn new(listener: TcpListener, connections_max: usize, request_bytes_max: usize) -> Bounded {
        Bounded { door: Door::new(listener, connections_max), request_bytes_max }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, from, place) = self.door.next().await;
        let (end, patience) = (Instant::now() + CONNECTION_TIME_MAX, Box::pin(sleep(SILENCE_MAX)));
        (Connection { stream, _place: place, read: 0, readable: self.request_bytes_max, end, patience }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.door.address()
    }
}

/// A connection that ends by itself.
pub(super) struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
    /// How many bytes came since the last answer, and how many may.
    read: usize,
    readable: usize,
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
        if this.read > this.readable || Instant::now() > this.end {
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
        this.read = 0;
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
