//! A proxy in front of the real API server, which does to its answers what networks and servers do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::kubernetes::Cluster;
use super::tls::authority;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It goes through.
    Pass,
    /// This is answered instead.
    Answer(u16, &'static str, String),
    /// Nothing is ever answered.
    Silence,
}

/// A request: its method and its target.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// The path with the query.
    pub target: String,
}

impl Asked {
    /// Whether it is a watch of this kind, by its plural.
    pub fn watches(&self, plural: &str) -> bool {
        self.target.contains(&format!("/{plural}?")) && self.target.contains("watch=true")
    }

    /// Whether it is a list of this kind.
    pub fn lists(&self, plural: &str) -> bool {
        self.method == "GET" && self.target.contains(&format!("/{plural}?")) && !self.target.contains("watch=true")
    }
}

type Rule = Box<dyn FnMut(&Asked) -> Fate + Send>;

/// A proxy.
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    rule: Mutex<Rule>,
    asked: Mutex<Vec<Asked>>,
    /// Connections from before the last freeze go nowhere any more, and nobody is told.
    frozen: AtomicUsize,
    closed: AtomicBool,
}

impl Proxy {
    /// One that lets everything through.
    pub fn before(cluster: &Cluster) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            upstream: cluster.port(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            asked: Mutex::default(),
            frozen: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let all = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if all.closed.load(Ordering::Relaxed) {
                    return;
                }
                let shared = all.clone();
                std::thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Proxy { address, shared }
    }

    /// Decides from now on what becomes of requests.
    pub fn rule(&self, rule: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.shared.rule.lock().expect("a rule") = Box::new(rule);
    }

    /// From now on nothing comes through the connections that there are, and none of them is closed.
    pub fn freeze(&self) {
        self.shared.frozen.fetch_add(1, Ordering::SeqCst);
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("requests").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address.trim_start_matches("http://")));
    }
}

impl Shared {
    /// Serves one request of a connection, and closes it.
    fn serve(&self, mut near: TcpStream) -> std::io::Result<()> {
        let epoch = self.frozen.load(Ordering::SeqCst);
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            if near.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let asked = Asked { method: word(), target: word() };
        let headers: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let length = headers.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
        });
        let mut body = vec![0; length.unwrap_or_default()];
        near.read_exact(&mut body)?;
        self.asked.lock().expect("requests").push(asked.clone());
        let fate = (self.rule.lock().expect("a rule"))(&asked);
        match fate {
            Fate::Pass => {}
            Fate::Answer(status, header, body) => {
                let length = body.len();
                let kind = "content-type: application/json\r\nconnection: close";
                let head = format!("HTTP/1.1 {status} So\r\n{kind}\r\ncontent-length: {length}\r\n{header}\r\n\r\n");
                return near.write_all(head.as_bytes()).and_then(|()| near.write_all(body.as_bytes()));
            }
            Fate::Silence => loop {
                std::thread::sleep(Duration::from_millis(50));
                if self.closed.load(Ordering::Relaxed) {
                    return Ok(());
                }
            },
        }
        let mut far = self.far()?;
        let mut request = format!("{} {} HTTP/1.1\r\n", asked.method, asked.target);
        for line in headers.iter().filter(|line| !line.to_ascii_lowercase().starts_with("connection:")) {
            request += &format!("{line}\r\n");
        }
        request += "connection: close\r\n\r\n";
        far.write_all(request.as_bytes())?;
        far.write_all(&body)?;
        far.flush()?;
        let mut piece = vec![0; 64 * 1024];
        loop {
            let read = match far.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                // The end, as servers that do not say good-bye end.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    if self.closed.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            if self.frozen.load(Ordering::SeqCst) == epoch {
                near.write_all(&piece[..read])?;
            }
        }
    }

    fn far(&self) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority().certificate.as_bytes()).expect("a certificate");
        roots.add(root).expect("an authority");
        let settings = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "127.0.0.1".try_into().expect("a name");
        let session = ClientConnection::new(Arc::new(settings), name).expect("a session");
        let stream = TcpStream::connect(("127.0.0.1", self.upstream))?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(StreamOwned::new(session, stream))
    }
}
