//! A mail server on loopback: SMTP with AUTH PLAIN and LOGIN, TLS from the first byte or after STARTTLS, with a certificate
//! by an authority of its own. It keeps what it is given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConnection, StreamOwned};

use super::tls::server;

/// A mail that was handed over.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Who it is from, as the envelope says.
    pub from: String,
    /// To whom it goes, as the envelope says.
    pub to: Vec<String>,
    /// Who has logged in.
    pub user: Option<String>,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// Head and body as they came.
    pub text: String,
}

impl Mail {
    /// The lines of one header, unfolded.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        found.unwrap_or_default()
    }

    /// The body, decoded from quoted-printable.
    pub fn body(&self) -> String {
        let body = self.text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default().replace("=\r\n", "");
        let (bytes, mut out, mut at) = (body.as_bytes(), Vec::new(), 0);
        while at < bytes.len() {
            match bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'=') {
                Some(digits) => {
                    let digits = std::str::from_utf8(digits).expect("digits");
                    out.push(u8::from_str_radix(digits, 16).expect("two digits"));
                    at += 3;
                }
                None => {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
        }
        String::from_utf8(out).expect("UTF-8")
    }
}

/// How connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// After STARTTLS.
    Starttls,
    /// Not at all: STARTTLS is not offered.
    Never,
}

/// A server. Its threads end with the test binary.
pub struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
}

/// Whoever may log in.
const LOGIN: (&str, &str) = ("argus@acme.example", "a canary/password");

impl MailServer {
    /// Who may log in, and with which password.
    pub fn login() -> (&'static str, &'static str) {
        LOGIN
    }

    /// Starts a server that answers `RCPT` like this: `250` takes it.
    pub fn start(tls: Tls, recipient: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let (kept, recipient) = (mails.clone(), Arc::new(recipient));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, recipient) = (kept.clone(), recipient.clone());
                std::thread::spawn(move || {
                    let session = Session { kept: &kept, recipient: &*recipient, tls };
                    // A client that hangs up early is none of the server's troubles.
                    let _ = session.serve(stream);
                });
            }
        });
        MailServer { port, mails }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What has come so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("nobody has panicked").clone()
    }
}

struct Session<'a> {
    kept: &'a Mutex<Vec<Mail>>,
    recipient: &'a (dyn Fn(&str) -> &'static str + Send + Sync),
    tls: Tls,
}

impl Session<'_> {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        if self.tls != Tls::Implicit {
            stream.write_all(b"220 mail.test\r\n")?;
            if !self.talk(&mut stream, false)? {
                return Ok(());
            }
        }
        let connection = ServerConnection::new(server()).expect("a connection");
        let mut encrypted = StreamOwned::new(connection, stream);
        if self.tls == Tls::Implicit {
            encrypted.write_all(b"220 mail.test\r\n")?;
        }
        self.talk(&mut encrypted, true).map(drop)
    }

    /// Talks until the other side is done. Says whether encryption is to begin.
    fn talk<S: Read + Write>(&self, stream: &mut S, encrypted: bool) -> std::io::Result<bool> {
        let mut mail = Mail { from: String::new(), to: Vec::new(), user: None, encrypted, text: String::new() };
        loop {
            let line = line(stream)?;
            let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            let answer = match word.as_str() {
                "" | "QUIT" => return Ok(false),
                "EHLO" if !encrypted && self.tls == Tls::Starttls => "250-mail.test\r\n250 STARTTLS".to_owned(),
                "EHLO" => "250-mail.test\r\n250 AUTH PLAIN LOGIN".to_owned(),
                "STARTTLS" => {
                    stream.write_all(b"220 go on\r\n")?;
                    return Ok(true);
                }
                "AUTH" => {
                    let given = STANDARD.decode(line.rsplit(' ').next().unwrap_or_default()).unwrap_or_default();
                    match given == format!("\0{}\0{}", LOGIN.0, LOGIN.1).as_bytes() {
                        true => {
                            mail.user = Some(LOGIN.0.into());
                            "235 welcome".into()
                        }
                        // Some servers repeat what they were told.
                        false => format!("535 no such login: {}", String::from_utf8_lossy(&given).replace('\0', " ")),
                    }
                }
                "MAIL" => {
                    mail.from = address(&line);
                    "250 ok".into()
                }
                "RCPT" => {
                    let to = address(&line);
                    let answer = (self.recipient)(&to);
                    mail.to.push(to);
                    answer.into()
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n")?;
                    let mut text = String::new();
                    while !text.ends_with("\r\n.\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte)?;
                        text.push(char::from(byte[0]));
                    }
                    mail.text = text.trim_end_matches(".\r\n").replace("\r\n..", "\r\n.");
                    self.kept.lock().expect("nobody has panicked").push(mail.clone());
                    "250 taken".into()
                }
                _ => "250 ok".into(),
            };
            stream.write_all(format!("{answer}\r\n").as_bytes())?;
            stream.flush()?;
        }
    }
}

fn line(stream: &mut impl Read) -> std::io::Result<String> {
    let mut line = Vec::new();
    // A byte at a time: what comes after STARTTLS is not for this reader.
    BufReader::with_capacity(1, stream).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}
