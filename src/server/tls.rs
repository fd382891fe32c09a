//! Connections over TLS, shown a certificate that may change at any time. They are few, and none of them stays for longer
//! than it has something to say.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::connection::Door;

/// The most connections at the same time; more wait until one of them ends.
const CONNECTIONS_MAX: usize = 128;

/// How long after its begin, or after the first byte of a request, a connection may be without an answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(40);

/// How long one is kept that says nothing: API servers hang up first.
const IDLE_MAX: Duration = Duration::from_secs(100);

/// The certificate that is shown now; none before there is one.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Shown {
    /// Shows this certificate, and those that lead to its authority, from now on. What is no certificate, or no key of
    /// it, changes nothing.
    pub fn show(&self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| format!("the certificate is not PEM: {error}"))?;
        if chain.is_empty() {
            return Err("there is no certificate in it".into());
        }
        // What is said of a key that is none may hold some of it.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no key in PEM in it".to_owned())?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| format!("certificate and key cannot be used together: {error}"))?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes connections while there is a place for them.
pub struct Listener {
    door: Door,
    acceptor: TlsAcceptor,
}

impl Listener {
    /// Binds the address.
    pub async fn bind(address: SocketAddr, shown: Shown) -> io::Result<Listener> {
        let settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut settings = settings.with_no_client_auth().with_cert_resolver(Arc::new(shown));
        settings.alpn_protocols = vec![b"http/1.1".to_vec()];
        let door = Door::new(TcpListener::bind(address).await?, CONNECTIONS_MAX);
        Ok(Listener { door, acceptor: TlsAcceptor::from(Arc::new(settings)) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.door.address()
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, from, place) = self.door.next().await;
        let _ = stream.set_nodelay(true);
        let state = State::Greeting(Box::new(self.acceptor.accept(stream)));
        (Connection { state, _place: place, is_asked: true, patience: Box::pin(sleep(REQUEST_TIME_MAX)) }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address()
    }
}

/// How far a connection is.
enum State {
    /// Both sides are introducing themselves, which is waited for where something is read or written.
    Greeting(Box<Accept<TcpStream>>),
    Speaking(Box<TlsStream<TcpStream>>),
    Over,
}

/// A connection that ends by itself.
pub struct Connection {
    state: State,
    _place: Option<OwnedSemaphorePermit>,
    /// Whether the other side waits for an answer, or for the greeting.
    is_asked: bool,
    patience: Pin<Box<Sleep>>,
}

impl Connection {
    fn stream(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let State::Greeting(accept) = &mut self.state {
            let greeted = ready!(Pin::new(accept).poll(context));
            self.state = State::Over;
            self.state = State::Speaking(Box::new(greeted?));
        }
        Poll::Ready(match &mut self.state {
            State::Speaking(stream) => Ok(Pin::new(stream)),
            State::Greeting(_) | State::Over => Err(io::ErrorKind::NotConnected.into()),
        })
    }

    fn is_out_of_patience(&mut self, context: &mut Context<'_>) -> bool {
        self.patience.as_mut().poll(context).is_ready()
    }

    fn wait_for(&mut self, answer: bool) {
        self.is_asked = answer;
        let most = if answer { REQUEST_TIME_MAX } else { IDLE_MAX };
        self.patience.as_mut().reset(Instant::now() + most);
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_out_of_patience(context) {
            // One that is not asked anything ends as if the other side had hung up.
            let end = if this.is_asked { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) };
            return Poll::Ready(end);
        }
        let before = buffer.filled().len();
        let read = ready!(ready!(this.stream(context))?.poll_read(context, buffer));
        if !this.is_asked && buffer.filled().len() > before {
            this.wait_for(true);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_out_of_patience(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let written = ready!(ready!(this.stream(context))?.poll_write(context, bytes));
        this.wait_for(false);
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_out_of_patience(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match &mut this.state {
            State::Speaking(stream) => Pin::new(stream).poll_flush(context),
            State::Greeting(_) | State::Over => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Speaking(stream) => Pin::new(stream).poll_shutdown(context),
            State::Greeting(_) | State::Over => Poll::Ready(Ok(())),
        }
    }
}
