//! Mail: one message to the addresses of a channel, handed over by SMTP. The only home of lettre.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::outside::{NOT_OUTSIDE, Outside};
use super::{Encryption, MESSAGE_TIME_MAX, Sent, SmtpSettings, excerpt};
use crate::model::id::normalize_email;
use crate::notification::channel::Message;
use crate::notification::faces;

/// The most that a mail server says while it is handed one message, certificates included.
const ANSWERS_BYTES_MAX: u64 = 256 * 1024;

/// A server that takes mail, and who mail is from there.
pub(super) struct Server {
    /// Whom to connect to: the name, or an address that was looked at.
    connect_to: String,
    host: String,
    port: u16,
    encryption: Encryption,
    login: Option<(String, String)>,
    authorities: Vec<Certificate>,
    pub(super) from: Mailbox,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server(hidden)")
    }
}

impl Server {
    /// The one that the settings of the machine name.
    pub(super) fn of_the_machine(settings: &SmtpSettings) -> Result<Server, String> {
        let SmtpSettings { host, port, tls, user, password_file, from, ca_file } = settings;
        let login = match (user, password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => Some((user.clone(), super::super::secret(file)?)),
            _ => return Err("`smtp` needs `user` and `passwordFile` together".into()),
        };
        if login.is_some() && *tls == Encryption::None {
            return Err("`smtp.tls: none` would send the password in the open".into());
        }
        let from = from.parse().map_err(|_| "`smtp.from` is no address".to_owned())?;
        Ok(Server {
            connect_to: host.clone(),
            host: host.clone(),
            port: port.unwrap_or(tls.port()),
            encryption: *tls,
            login,
            authorities: authorities(ca_file.as_deref())?,
            from,
        })
    }

    /// The one that an organization's secret names: `smtps://user:password@host:port`, or `smtp://` where encryption
    /// begins after a word in the open. It is looked up here, and connected to where it was found.
    pub(super) async fn of_an_organization(
        address: &str,
        from: Option<Mailbox>,
        outside: &Outside,
        ca_file: Option<&Path>,
    ) -> Result<Server, Sent> {
        let refused = |why: &str| Sent::Refused(why.to_owned());
        let url = reqwest::Url::parse(address).map_err(|_| refused("the secret holds no address of a mail server"))?;
        let encryption = match url.scheme() {
            "smtps" => Encryption::Implicit,
            "smtp" => Encryption::Starttls,
            _ => return Err(refused("the secret holds no address of a mail server: smtps://user:password@host:port")),
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(refused("the address of the mail server names no host"));
        }
        let port = url.port().unwrap_or(encryption.port());
        let found = outside.look_up(&host, port).await.map_err(|why| match why.contains(NOT_OUTSIDE) {
            true => Sent::Refused(why),
            false => Sent::failed(why),
        })?;
        let Some(first) = found.first() else { return Err(Sent::failed("the name of the host leads nowhere")) };
        let user = decoded(url.username());
        // Servers take mail from those who log in there.
        let from = user.parse::<Address>().ok().map(|address| Mailbox::new(Some("Argus".into()), address)).or(from);
        let Some(from) = from else {
            return Err(refused("whoever logs in is no address, and the machine names none that mail is from"));
        };
        let login = (!user.is_empty()).then(|| (user, decoded(url.password().unwrap_or_default())));
        let authorities = authorities(ca_file).map_err(Sent::failed)?;
        Ok(Server { connect_to: first.ip().to_string(), host, port, encryption, login, authorities, from })
    }

    /// Hands over a message.
    pub(super) async fn send(&self, addresses: &[String], message: &Message, now: DateTime<Utc>) -> Sent {
        let mail = match self.written(addresses, message, now) {
            Ok(mail) => mail,
            Err(why) => return Sent::Refused(why),
        };
        // Whoever answers without end fills no memory: lettre reads a line of any length.
        let narrow = match Narrow::open(&self.connect_to, self.port).await {
            Ok(narrow) => narrow,
            Err(error) => return Sent::failed(format!("the mail server cannot be reached: {error}")),
        };
        let transport = match self.transport(narrow.at) {
            Ok(transport) => transport,
            Err(why) => return Sent::failed(why),
        };
        match transport.send(mail).await {
            Ok(_) => Sent::Taken,
            Err(error) => {
                // Whoever cannot log in may be let in later; what is said is the server's.
                let locked_out = error
                    .status()
                    .is_some_and(|code| matches!(code.to_string().as_str(), "530" | "534" | "535" | "538"));
                let why = excerpt(&self.hidden(&told(&error)));
                if error.is_permanent() && !locked_out { Sent::Refused(why) } else { Sent::failed(why) }
            }
        }
    }

    /// What a server says, without the password that it may repeat.
    fn hidden(&self, text: &str) -> String {
        match &self.login {
            Some((_, password)) if !password.is_empty() => text.replace(password.as_str(), crate::model::secret::MASK),
            _ => text.to_owned(),
        }
    }

    fn written(&self, addresses: &[String], message: &Message, now: DateTime<Utc>) -> Result<lettre::Message, String> {
        let (subject, text) = faces::mail(message);
        let domain = self.from.email.domain();
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .date(now.into());
        let mut some = false;
        for address in addresses {
            // Rows may be written by SQL.
            let Ok(address) =
                normalize_email(address).and_then(|one| one.parse::<Address>().map_err(|e| e.to_string()))
            else {
                continue;
            };
            mail = mail.to(Mailbox::new(None, address));
            some = true;
        }
        if !some {
            return Err("the channel names no address".into());
        }
        // Nobody's absence is answered to a program.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = mail.raw_header(HeaderValue::new(automatic, "auto-generated".into()));
        let part = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(text);
        mail.singlepart(part).map_err(|error| error.to_string())
    }

    fn transport(&self, at: SocketAddr) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let parameters = || {
            let mut parameters = TlsParameters::builder(self.host.clone());
            for authority in &self.authorities {
                parameters = parameters.add_root_certificate(authority.clone());
            }
            parameters.build_rustls().map_err(|error| error.to_string())
        };
        let tls = match self.encryption {
            Encryption::Starttls => Tls::Required(parameters()?),
            Encryption::Implicit => Tls::Wrapper(parameters()?),
            Encryption::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(at.ip().to_string())
            .port(at.port())
            .tls(tls)
            .timeout(Some(MESSAGE_TIME_MAX - Duration::from_secs(1)));
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(builder.build())
    }
}

/// A way to a mail server on which no more than so many bytes come back. It takes one connection, and goes with it.
struct Narrow {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Narrow {
    async fn open(host: &str, port: u16) -> std::io::Result<Narrow> {
        let server = TcpStream::connect((host, port)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let Ok((client, _)) = listener.accept().await else { return };
            drop(listener);
            let ((mut said, mut to_server), (mut asked, mut to_client)) = (server.into_split(), client.into_split());
            let mut answers = (&mut said).take(ANSWERS_BYTES_MAX);
            // Whichever side ends first ends both.
            tokio::select! {
                _ = tokio::io::copy(&mut answers, &mut to_client) => {}
                _ = tokio::io::copy(&mut asked, &mut to_server) => {}
            }
        });
        Ok(Narrow { at, task })
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What went wrong, with its causes.
fn told(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}

fn authorities(file: Option<&Path>) -> Result<Vec<Certificate>, String> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let pem = super::super::http::certificates(file)?;
    let certificate = Certificate::from_pem(&pem);
    certificate.map(|certificate| vec![certificate]).map_err(|_| format!("{} holds no certificate", file.display()))
}

/// Text of an address without its percent signs.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
