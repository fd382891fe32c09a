//! The courier: brings messages to the channels of organizations. Whoever may change an organization's manifests names
//! where they go, so that every address is looked at before anything is sent to it.

mod mail;
pub mod outside;
mod secrets;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value as Json;

use super::http;
use super::webhook::Signing;
use crate::model::plain::is_unseen;
use crate::model::secret::{MASK, mask};
use crate::notification::channel::{Channel, ChannelType, Message};
use crate::notification::faces;
use outside::{Allowed, Outside};
use secrets::Secrets;

/// How long one message may take.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);

/// The longest that a receiver may ask Argus to wait.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How much of an answer is read, and how much of that is told.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
const ANSWER_CHARS_TOLD: usize = 120;

/// The section `notifications` of the settings of the machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NotificationSettings {
    /// The folder with the secrets of channels: `<organization>/<name>/<key>`.
    pub secrets_dir: Option<PathBuf>,
    /// Hosts, addresses and networks that messages may go to although they are not outside.
    pub allow: Vec<String>,
    /// Whom to trust, in PEM, beside those that everybody trusts.
    pub ca_file: Option<PathBuf>,
    /// Where mail is handed over.
    pub smtp: Option<SmtpSettings>,
}

/// A server that takes mail.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmtpSettings {
    /// Its name.
    pub host: String,
    /// Its port; the usual one of the kind of encryption if nothing is said.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Encryption,
    /// Who logs in; nobody if nothing is said.
    #[serde(default)]
    pub user: Option<String>,
    /// The file with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Who mail is from.
    pub from: String,
    /// Whom to trust, in PEM, beside those that everybody trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// How a connection for mail is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// After a word in the open; without it nothing is sent.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    None,
}

impl Encryption {
    fn port(self) -> u16 {
        match self {
            Encryption::Starttls => 587,
            Encryption::Implicit => 465,
            Encryption::None => 25,
        }
    }
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Taken,
    /// It will never be taken, or there is nowhere to send it to that would be allowed.
    Refused(String),
    /// It may be taken later.
    Failed {
        /// What happened.
        why: String,
        /// How long the receiver wants to be left alone.
        again_after: Option<Duration>,
    },
}

impl Sent {
    fn failed(why: impl Into<String>) -> Sent {
        Sent::Failed { why: why.into(), again_after: None }
    }
}

/// Whoever brings messages.
#[derive(Debug)]
pub struct Courier {
    client: reqwest::Client,
    outside: Outside,
    secrets: Secrets,
    smtp: Option<mail::Server>,
    ca_file: Option<PathBuf>,
}

impl NotificationSettings {
    /// What cannot be right, whatever is on the other side.
    pub fn check(&self) -> Result<(), String> {
        Courier::open(self).map(drop)
    }
}

impl Courier {
    /// Reads what the settings name. Nothing is sent, and nobody is asked.
    pub fn open(settings: &NotificationSettings) -> Result<Courier, String> {
        let outside = Outside::new(Allowed::read(&settings.allow)?);
        let client = http::builder(MESSAGE_TIME_MAX, settings.ca_file.as_deref())?
            // A proxy would look up names by itself, where nobody looks at the addresses.
            .no_proxy()
            .dns_resolver(outside.clone())
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(http::told)?;
        let smtp = settings.smtp.as_ref().map(mail::Server::of_the_machine).transpose()?;
        let secrets = Secrets::new(settings.secrets_dir.clone());
        Ok(Courier { client, outside, secrets, smtp, ca_file: settings.ca_file.clone() })
    }

    /// Sends a message, within a bounded time. Nothing that it says holds an address or a secret.
    pub async fn send(&self, channel: &Channel, message: &Message, now: DateTime<Utc>) -> Sent {
        let sending = async {
            match channel.of {
                ChannelType::Slack => self.post_to_secret(channel, &faces::slack(message), message).await,
                ChannelType::Discord => self.post_to_secret(channel, &faces::discord(message), message).await,
                ChannelType::Teams => self.post_to_secret(channel, &faces::teams(message), message).await,
                ChannelType::Webhook => self.post_signed(channel, message, now).await,
                ChannelType::Email => self.mail(channel, message, now).await,
            }
        };
        let sent = tokio::time::timeout(MESSAGE_TIME_MAX, sending).await;
        sent.unwrap_or_else(|_| Err(Sent::failed(format!("no answer within {MESSAGE_TIME_MAX:?}"))))
            .unwrap_or_else(|e| e)
    }

    /// The text of a channel's secret.
    async fn secret(&self, channel: &Channel) -> Result<String, Sent> {
        let Some(secret) = &channel.secret else {
            return Err(Sent::Refused("the channel names no secret with its address".into()));
        };
        self.secrets.read(&channel.organization, secret).await.map_err(Sent::failed)
    }

    /// To a program that people talk in.
    async fn post_to_secret(&self, channel: &Channel, face: &Json, message: &Message) -> Result<Sent, Sent> {
        let url = self.secret(channel).await?;
        let request = self.request(&url)?.header("webhook-id", &message.id).body(face.to_string());
        let for_good = |status| matches!(status, 400 | 401 | 403 | 404 | 405 | 410 | 413);
        Ok(answered(request.send().await, for_good, &Hidden::of(&[&url])).await)
    }

    /// To somebody's program. Where the channel has an address, its secret signs; otherwise the secret is the address.
    async fn post_signed(&self, channel: &Channel, message: &Message, now: DateTime<Utc>) -> Result<Sent, Sent> {
        let (url, signing, hidden) = match (&channel.url, &channel.secret) {
            (Some(url), None) => (url.clone(), None, Hidden::default()),
            (Some(url), Some(_)) => {
                let key = self.secret(channel).await?;
                (url.clone(), Some(Signing::read(&key).map_err(Sent::failed)?), Hidden::of(&[&key]))
            }
            (None, _) => {
                let url = self.secret(channel).await?;
                (url.clone(), None, Hidden::of(&[&url]))
            }
        };
        let (body, moment) = (faces::webhook(message).to_string(), now.timestamp());
        let mut request =
            self.request(&url)?.header("webhook-id", &message.id).header("webhook-timestamp", moment.to_string());
        if let Some(signing) = signing {
            request = request.header("webhook-signature", signing.of(&message.id, moment, &body));
        }
        Ok(answered(request.body(body).send().await, |status| matches!(status, 410 | 413), &hidden).await)
    }

    fn request(&self, url: &str) -> Result<reqwest::RequestBuilder, Sent> {
        let url = self.outside.address(url).map_err(Sent::Refused)?;
        Ok(self.client.post(url).header("content-type", "application/json"))
    }

    /// By mail: over the organization's own server if its secret names one, and over the machine's otherwise.
    async fn mail(&self, channel: &Channel, message: &Message, now: DateTime<Utc>) -> Result<Sent, Sent> {
        let own = match &channel.secret {
            None => None,
            Some(_) => {
                let address = self.secret(channel).await?;
                let from = self.smtp.as_ref().map(|server| server.from.clone());
                let ca_file = self.ca_file.as_deref();
                Some(mail::Server::of_an_organization(&address, from, &self.outside, ca_file).await?)
            }
        };
        match own.as_ref().or(self.smtp.as_ref()) {
            Some(server) => Ok(server.send(&channel.addresses, message, now).await),
            None => Err(Sent::failed("the machine has no server for mail, and the channel names none")),
        }
    }
}

/// What is told of no answer: whoever is sent a secret may repeat it, whole or in parts.
#[derive(Debug, Default)]
struct Hidden(Vec<String>);

impl Hidden {
    /// The shortest part of a secret that is hidden by itself.
    const PART_CHARS_MIN: usize = 4;

    fn of(secrets: &[&str]) -> Hidden {
        let parts = |text: &str| text.split(['/', '?', '&', '=', '#']).map(str::to_owned).collect::<Vec<_>>();
        let mut all: Vec<String> = Vec::new();
        for secret in secrets {
            // Of an address what follows the host; of anything else all of it.
            let rest =
                secret.split_once("://").map_or(*secret, |(_, rest)| rest.split_once('/').map_or("", |(_, rest)| rest));
            for form in [rest.to_owned(), mail::decoded(rest)] {
                all.extend(parts(&form));
                all.push(form);
            }
            all.push((*secret).to_owned());
        }
        all.retain(|part| part.chars().count() >= Hidden::PART_CHARS_MIN);
        // The longest first: what is within it goes with it.
        all.sort_by_key(|part| std::cmp::Reverse(part.len()));
        all.dedup();
        Hidden(all)
    }

    fn from(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, part| text.replace(part.as_str(), MASK))
    }
}

/// What an answer means.
async fn answered(
    answer: Result<reqwest::Response, reqwest::Error>,
    for_good: impl Fn(u16) -> bool,
    hidden: &Hidden,
) -> Sent {
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            let told = http::told(error);
            // The resolver refuses what is not outside: asking again would find the same.
            return if told.contains(outside::NOT_OUTSIDE) { Sent::Refused(told) } else { Sent::failed(told) };
        }
    };
    let status = response.status();
    if status.is_success() {
        return Sent::Taken;
    }
    let again_after = response
        .headers()
        .get("retry-after")
        .filter(|_| matches!(status.as_u16(), 429 | 503))
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .map(|seconds| Duration::from_secs_f64(seconds.min(AGAIN_AFTER_MAX.as_secs_f64())));
    let mut body: Vec<u8> = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Ok(Some(piece)) = response.chunk().await
    {
        body.extend_from_slice(&piece[..piece.len().min(ANSWER_BYTES_MAX - body.len())]);
    }
    let said = excerpt(&hidden.from(&String::from_utf8_lossy(&body)));
    let why = match said.is_empty() {
        true => format!("the receiver answers {}", status.as_u16()),
        false => format!("the receiver answers {}: {said}", status.as_u16()),
    };
    if status.is_redirection() {
        Sent::Refused(format!("the receiver answers {}, and nobody is followed elsewhere", status.as_u16()))
    } else if for_good(status.as_u16()) {
        Sent::Refused(why)
    } else {
        Sent::Failed { why, again_after }
    }
}

/// The beginning of what somebody said, on one line and without what looks like a secret.
pub(super) fn excerpt(text: &str) -> String {
    let line: String = mask(text).chars().map(|c| if c.is_control() || is_unseen(c) { ' ' } else { c }).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(ANSWER_CHARS_TOLD) {
        None => line,
        Some((at, _)) => format!("{}…", &line[..at]),
    }
}
