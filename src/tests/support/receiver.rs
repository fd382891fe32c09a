//! A small HTTP server that keeps what it is sent and answers as it is told.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustls::{ServerConnection, StreamOwned};

use super::tls::server;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is done: `POST`.
    pub method: String,
    /// Where it went: `/hooks/1`.
    pub path: String,
    /// Its headers, by their names in lower case.
    pub headers: Vec<(String, String)>,
    /// What it carried.
    pub bytes: Vec<u8>,
    /// The same as text.
    pub body: String,
}

impl Request {
    /// One header.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// What a request is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Lines of the head, each with its end.
    pub head: String,
    /// The body.
    pub body: String,
}

/// What decides about the answer: the request, and how many came before it.
type Answer = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A server on loopback. Its thread ends with the test binary.
pub struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// Starts a server that answers with this status.
    pub fn start(answer: impl Fn(&Request, usize) -> u16 + Send + Sync + 'static) -> Receiver {
        Receiver::replying(move |request, before| Reply { status: answer(request, before), ..Reply::default() })
    }

    /// Starts a server that speaks TLS, by the authority of the tests, and takes everything.
    pub fn encrypted() -> Receiver {
        Receiver::listening(|_, _| Reply { status: 204, ..Reply::default() }, true)
    }

    /// Starts a server that speaks TLS, by the authority of the tests, and answers like this.
    pub fn encrypted_replying(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Receiver {
        Receiver::listening(answer, true)
    }

    /// Starts a server that answers like this.
    pub fn replying(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Receiver {
        Receiver::listening(answer, false)
    }

    fn listening(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static, encrypted: bool) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer): (_, Arc<Answer>) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || match encrypted {
                    false => serve(stream, &kept, &*answer),
                    true => {
                        let connection = ServerConnection::new(server()).expect("a connection");
                        serve(StreamOwned::new(connection, stream), &kept, &*answer);
                    }
                });
            }
        });
        Receiver { port, requests }
    }

    /// Its address.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What has come so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nobody has panicked").clone()
    }
}

/// Serves a connection until the other side is done.
fn serve(stream: impl Read + Write, kept: &Mutex<Vec<Request>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let before = {
            let mut kept = kept.lock().expect("nobody has panicked");
            kept.push(request.clone());
            kept.len() - 1
        };
        let Reply { status, head, body } = answer(&request, before);
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} So\r\ncontent-length: {length}\r\nlocation: http://127.0.0.1:1/\r\n{head}\r\n{body}"
        );
        let stream = reader.get_mut();
        if stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<impl Read>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned(), bytes: body })
}
