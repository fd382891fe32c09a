//! A forge on loopback: `git http-backend` behind HTTPS, with a certificate by an authority of its own, a password if one
//! is asked for, and bad habits on demand. It closes the connection after each answer, and notes what it was asked for.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::git::run_with;
use super::postgres::scratch;
use super::tls::{authority, server};

/// The largest request.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a client may keep a connection waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request gets.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What `git http-backend` says.
    Backend,
    /// Nothing but a status.
    Status(u16),
    /// A redirect to this address.
    Redirect(String),
    /// What the backend says, in pieces of so many bytes with a pause behind each.
    Slow(usize, Duration),
    /// What the backend says, cut off behind so many bytes of the body.
    Cut(usize),
    /// A good head, these bytes, and then the others again and again until the client has had enough.
    Endless(Vec<u8>, Vec<u8>),
    /// Silence, until the client has had enough.
    Silence,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET /acme/info/refs?service=git-upload-pack`.
    pub line: String,
    /// What it says in `Authorization`.
    pub authorization: Option<String>,
    /// The other headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// A running server.
pub struct GitHttp {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
    folder: PathBuf,
}

struct Shared {
    root: PathBuf,
    /// What `Authorization` must say.
    authorization: Option<String>,
    /// What requests whose line holds the text get; the first that fits counts.
    answers: Mutex<Vec<(String, Answer)>>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
    tls: Arc<ServerConfig>,
}

impl GitHttp {
    /// Serves the repositories under a folder, to anybody.
    pub fn start(root: &Path) -> GitHttp {
        GitHttp::listen(root, None)
    }

    /// Serves them to this user alone.
    pub fn with_user(root: &Path, user: &str, password: &str) -> GitHttp {
        GitHttp::listen(root, Some(format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))))
    }

    fn listen(root: &Path, authorization: Option<String>) -> GitHttp {
        let folder = scratch("http");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("ca.pem"), &authority().certificate).expect("a file");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            authorization,
            answers: Mutex::default(),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
            tls: server(),
        });
        let theirs = shared.clone();
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), shared) = (stream, theirs.clone()) else { continue };
                std::thread::spawn(move || {
                    // A client that goes away, or that does not trust the certificate, is none of our business.
                    let _ = shared.serve(stream);
                });
            }
        });
        GitHttp { address, shared, listening: Some(listening), folder }
    }

    /// The address of a path under the root.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{}", self.address.port(), path.trim_start_matches('/'))
    }

    /// The file with the certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Answers requests whose line holds this text so from now on; `""` is all of them.
    pub fn answer(&self, line: &str, answer: Answer) {
        self.shared.answers.lock().expect("a lock").insert(0, (line.to_owned(), answer));
    }

    /// What was asked for so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("a lock").clone()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.requests().len()
    }
}

impl Drop for GitHttp {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next connection.
        drop(TcpStream::connect(self.address));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let connection = ServerConnection::new(self.tls.clone()).map_err(std::io::Error::other)?;
        let mut reader = BufReader::new(StreamOwned::new(connection, stream));
        let request = read_head(&mut reader)?;
        if request.headers.get("expect").is_some_and(|expects| expects.eq_ignore_ascii_case("100-continue")) {
            reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = read_body(&mut reader, &request)?;
        let mut stream = reader.into_inner();
        self.requests.lock().expect("a lock").push(request.clone());
        let answers = self.answers.lock().expect("a lock").clone();
        let answer = answers.into_iter().find(|(line, _)| request.line.contains(line.as_str()));
        let answer = answer.map_or(Answer::Backend, |(_, answer)| answer);
        let refused = self.authorization.is_some() && self.authorization != request.authorization;
        match answer {
            Answer::Redirect(to) => head(&mut stream, "302 Found", &[("Location", &to)], Some(0))?,
            Answer::Status(status) => head(&mut stream, &format!("{status} As Asked For"), &[], Some(0))?,
            _ if refused => {
                head(&mut stream, "401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"tests\"")], Some(0))?;
            }
            Answer::Endless(first, again) => {
                let kind = match request.line.starts_with("GET") {
                    true => "application/x-git-upload-pack-advertisement",
                    false => "application/x-git-upload-pack-result",
                };
                head(&mut stream, "200 OK", &[("Content-Type", kind)], None)?;
                stream.write_all(&first)?;
                while !self.stopped.load(Ordering::SeqCst) {
                    stream.write_all(&again)?;
                }
            }
            Answer::Silence => {
                let mut byte = [0];
                let _ = stream.read(&mut byte);
            }
            Answer::Backend => self.send(&mut stream, &request, &body, None, None)?,
            Answer::Cut(bytes) => return self.send(&mut stream, &request, &body, Some(bytes), None),
            Answer::Slow(bytes, pause) => self.send(&mut stream, &request, &body, None, Some((bytes, pause)))?,
        }
        stream.conn.send_close_notify();
        stream.flush()
    }

    /// Sends what the backend says.
    fn send(
        &self,
        stream: &mut Tls,
        request: &Request,
        body: &[u8],
        cut: Option<usize>,
        slow: Option<(usize, Duration)>,
    ) -> std::io::Result<()> {
        let (status, headers, body) = self.backend(request, body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        head(stream, &status, &headers, Some(body.len()))?;
        let body = &body[..cut.map_or(body.len(), |cut| cut.min(body.len()))];
        let (bytes, pause) = slow.unwrap_or((body.len().max(1), Duration::ZERO));
        for piece in body.chunks(bytes.max(1)) {
            if self.stopped.load(Ordering::SeqCst) {
                break;
            }
            stream.write_all(piece)?;
            stream.flush()?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Asks `git http-backend` as a web server does: status, headers and body.
    fn backend(&self, request: &Request, body: &[u8]) -> (String, Vec<(String, String)>, Vec<u8>) {
        let (method, target) = request.line.split_once(' ').expect("a request line");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut command = Command::new("git");
        command.arg("http-backend").stderr(Stdio::null()).env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.env("GIT_PROJECT_ROOT", &self.root).envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("REQUEST_METHOD", method),
            ("PATH_INFO", path),
            ("QUERY_STRING", query),
            ("REMOTE_ADDR", "127.0.0.1"),
        ]);
        for (header, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "HTTP_GIT_PROTOCOL"),
        ] {
            command.envs(request.headers.get(header).map(|value| (variable, value)));
        }
        command.env("CONTENT_LENGTH", body.len().to_string());
        let said = run_with(command, body).stdout;
        let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(said.len());
        let (mut status, mut headers) = ("200 OK".to_owned(), Vec::new());
        for line in String::from_utf8_lossy(&said[..end]).lines() {
            match line.split_once(": ") {
                Some(("Status", value)) => status = value.to_owned(),
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => {}
            }
        }
        (status, headers, said.get(end + 4..).unwrap_or_default().to_vec())
    }
}

fn head(stream: &mut Tls, status: &str, headers: &[(&str, &str)], length: Option<usize>) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    if let Some(length) = length {
        write!(stream, "Content-Length: {length}\r\n")?;
    }
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")?;
    stream.flush()
}

fn read_head(reader: &mut BufReader<Tls>) -> std::io::Result<Request> {
    let mut head = reader.take(65_536);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [method, target, _] = words[..] else { return Err(std::io::ErrorKind::InvalidData.into()) };
    let mut request = Request { line: format!("{method} {target}"), authorization: None, headers: BTreeMap::new() };
    loop {
        let mut line = String::new();
        head.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "authorization" => request.authorization = Some(value),
            _ => drop(request.headers.insert(name, value)),
        }
    }
    Ok(request)
}

fn read_body(reader: &mut BufReader<Tls>, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut piece = |reader: &mut BufReader<Tls>, bytes: usize| {
        if body.len() + bytes > REQUEST_BYTES_MAX {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let from = body.len();
        body.resize(from + bytes, 0);
        reader.read_exact(&mut body[from..])
    };
    if request.headers.get("transfer-encoding").is_some_and(|encoding| encoding.contains("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let bytes = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            piece(reader, bytes)?;
            reader.read_line(&mut String::new())?;
            if bytes == 0 {
                break;
            }
        }
    } else if let Some(length) = request.headers.get("content-length") {
        piece(reader, length.parse().map_err(std::io::Error::other)?)?;
    }
    Ok(body)
}

/// Bytes as text.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(number >> (18 - 6 * at)) & 63]);
            text.push(if at <= three.len() { digit } else { '=' });
        }
    }
    text
}
