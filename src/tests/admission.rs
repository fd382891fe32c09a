//! The server that API servers ask: what it takes over TLS, and what it does not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use argus::server::admission::{Admits, serve};
use argus::server::tls::{Listener, Shown};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::sync::watch;

use crate::support::tls::authority;

/// Answers whatever begins as JSON does with how long it was.
#[derive(Clone)]
struct Counting;

impl Admits for Counting {
    async fn admit(&self, review: &[u8]) -> Option<String> {
        review.starts_with(b"{").then(|| review.len().to_string())
    }
}

/// A server, until this is dropped.
struct Served {
    port: u16,
    shown: Shown,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn new() -> Served {
        let (stop, stopped) = watch::channel(false);
        let (tell, told) = std::sync::mpsc::channel();
        let shown = Shown::default();
        let thread = std::thread::spawn({
            let shown = shown.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let address = "127.0.0.1:0".parse().expect("an address");
                    let listener = Listener::bind(address, shown).await.expect("it listens");
                    tell.send(listener.address().expect("an address").port()).expect("it is told");
                    serve(listener, Counting, stopped).await;
                });
            }
        });
        Served { port: told.recv().expect("a port"), shown, stop, thread: Some(thread) }
    }

    /// Shows a certificate that is trusted.
    fn certified() -> Served {
        let served = Served::new();
        let own = authority().issue(&["127.0.0.1"]);
        served.shown.show(own.certificate.pem().as_bytes(), own.key.serialize_pem().as_bytes()).expect("it is shown");
        served
    }

    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority().certificate.as_bytes()).expect("PEM");
        roots.add(root).expect("a certificate");
        let settings = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "127.0.0.1".try_into().expect("a name");
        let client = ClientConnection::new(Arc::new(settings), name).expect("a client");
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        StreamOwned::new(client, stream)
    }

    /// The answer to a request.
    fn ask(&self, head: &str, body: &[u8]) -> String {
        self.send(head, body.len(), body)
    }

    /// The answer to a request that says how long its body is, and of which this much is sent; what was not taken of it is
    /// of no interest.
    fn send(&self, head: &str, length: usize, body: &[u8]) -> String {
        let mut stream = self.connect();
        let head = format!("{head} HTTP/1.1\r\nhost: argus\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

#[test]
fn a_question_is_answered_and_what_is_none_is_refused() {
    let served = Served::certified();
    let answer = served.ask("POST /admit", b"{}");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n2"), "{answer}");
    // As much as an API server takes of one request.
    let large = [b"{".to_vec(), vec![b' '; 3 * 1024 * 1024]].concat();
    assert!(served.ask("POST /admit", &large).ends_with(&format!("\r\n\r\n{}", large.len())));
    for (head, body, status) in [
        ("POST /admit", &b"admit me"[..], "400"),
        ("GET /admit", b"", "405"),
        ("POST /", b"{}", "404"),
        ("GET /metrics", b"", "404"),
    ] {
        let answer = served.ask(head, body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    }
    // Nobody has to send what is too large to hear so.
    let answer = served.send("POST /admit", 4 * 1024 * 1024, b"");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn nobody_is_answered_without_tls_or_before_there_is_a_certificate() {
    let served = Served::certified();
    let mut plain = TcpStream::connect(("127.0.0.1", served.port)).expect("it listens");
    plain.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    plain.write_all(b"POST /admit HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").expect("it is sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"));
    // Others are answered beside it.
    let waiting = TcpStream::connect(("127.0.0.1", served.port)).expect("it listens");
    assert!(served.ask("POST /admit", b"{}").starts_with("HTTP/1.1 200"));
    drop(waiting);
    assert_eq!(Served::new().ask("POST /admit", b"{}"), "");
}

#[test]
fn a_certificate_that_cannot_be_used_changes_nothing_and_a_key_is_never_told() {
    let served = Served::certified();
    let (one, other) = (authority().issue(&["127.0.0.1"]), authority().issue(&["127.0.0.1"]));
    let certificate = one.certificate.pem();
    for (chain, key) in [
        (certificate.as_str(), other.key.serialize_pem()),
        ("", one.key.serialize_pem()),
        (certificate.as_str(), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".into()),
        (certificate.as_str(), certificate.clone()),
    ] {
        let why = served.shown.show(chain.as_bytes(), key.as_bytes()).expect_err("it cannot be used");
        assert!(!why.contains("secret") && !why.contains("c2VjcmV0"), "{why}");
    }
    assert!(served.ask("POST /admit", b"{}").starts_with("HTTP/1.1 200"));
}
