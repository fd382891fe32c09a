//! Webhooks: one POST for each event, signed as Standard Webhooks has it, so that whoever receives it knows who sent it and
//! that it is no replay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Asked, DELIVERY_TIME_MAX, Delivered, Destination, http, secret};
use crate::event::cloud::{Event, STRUCTURED, TRACE_HEADER};
use crate::event::people::PseudonymKey;

/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How many organizations are sent at the same time. Each of them is sent one event after the other.
const AT_ONCE: usize = 16;

/// The fewest bytes of a secret.
const SECRET_BYTES_MIN: usize = 24;

/// A webhook, as the settings of the machine name it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSettings {
    /// Where to: `https`, or `http` on this machine.
    pub url: String,
    /// A file with the secret that requests are signed with, as it is or as `whsec_` and base64.
    pub secret_file: PathBuf,
    /// Whom to trust, in PEM, beside those that everybody trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl WebhookSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        http::address(&self.url).map(drop)
    }
}

/// What requests are signed with.
#[derive(Clone)]
pub(super) struct Signing(Vec<u8>);

impl Signing {
    pub(super) fn read(text: &str) -> Result<Signing, String> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "the secret is no base64".to_owned())?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(format!("the secret has fewer than {SECRET_BYTES_MIN} bytes"));
        }
        Ok(Signing(bytes))
    }

    /// The signature of a body that is sent under an id at a moment.
    pub(super) fn of(&self, id: &str, moment: i64, body: &str) -> String {
        // A key of any length will do, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{moment}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A webhook.
pub(super) struct Webhook {
    url: String,
    client: reqwest::Client,
    signing: Signing,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook(hidden)")
    }
}

/// What is sent.
struct Message {
    id: String,
    trace: Option<String>,
    body: String,
}

/// How one request ended.
enum Answer {
    Taken,
    Refused(String),
    Failed(String),
}

impl Webhook {
    pub(super) fn open(settings: &WebhookSettings) -> Result<Webhook, String> {
        Ok(Webhook {
            url: http::address(&settings.url)?,
            client: http::client(REQUEST_TIME_MAX, settings.ca_file.as_deref())?,
            signing: Signing::read(&secret(&settings.secret_file)?)?,
        })
    }
}

impl Destination for Webhook {
    /// Sends the events of each organization one after the other, and stops with an organization where one fails. What there
    /// is no time for is not sent: the next turn begins with it.
    fn deliver<'a>(&'a mut self, events: &'a [Event], pseudonyms: Option<&'a PseudonymKey>) -> Asked<'a, Delivered> {
        Box::pin(async move {
            let mut by_organization: BTreeMap<&str, Vec<(usize, Message)>> = BTreeMap::new();
            for (place, event) in events.iter().enumerate() {
                let body = event.on_the_wire(pseudonyms).structured();
                let message = Message { id: event.id.clone(), trace: event.trace.clone(), body };
                by_organization.entry(event.key()).or_default().push((place, message));
            }
            let last_call = Instant::now() + (DELIVERY_TIME_MAX - REQUEST_TIME_MAX);
            let (places, mut under_way) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
            for (_, events) in by_organization {
                let (places, client, url) = (places.clone(), self.client.clone(), self.url.clone());
                let signing = self.signing.clone();
                under_way.spawn(async move {
                    let _place = places.acquire().await;
                    let mut answers = Vec::new();
                    for (place, message) in events {
                        if Instant::now() >= last_call {
                            break;
                        }
                        let answer = post(&client, &url, &signing, message).await;
                        let failed = matches!(answer, Answer::Failed(_));
                        answers.push((place, answer));
                        if failed {
                            break;
                        }
                    }
                    answers
                });
            }
            let mut delivered = Delivered::default();
            while let Some(answers) = under_way.join_next().await {
                let answers = answers.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                for (place, answer) in answers {
                    match answer {
                        Answer::Taken => delivered.arrived.push(place),
                        Answer::Refused(why) => delivered.refused.push((place, why)),
                        Answer::Failed(why) => delivered.failed = Some(why),
                    }
                }
            }
            delivered
        })
    }
}

async fn post(client: &reqwest::Client, url: &str, signing: &Signing, message: Message) -> Answer {
    let Message { id, trace, body } = message;
    let moment = Utc::now().timestamp();
    let mut request = client
        .post(url)
        .header("content-type", STRUCTURED)
        .header("webhook-id", &id)
        .header("webhook-timestamp", moment.to_string())
        .header("webhook-signature", signing.of(&id, moment, &body))
        .body(body);
    if let Some(trace) = trace {
        request = request.header(TRACE_HEADER, trace);
    }
    match request.send().await {
        Ok(response) if response.status().is_success() => Answer::Taken,
        Ok(response) if response.status().as_u16() == 413 => Answer::Refused("it is too large for the receiver".into()),
        Ok(response) => Answer::Failed(format!("the receiver answers {}", response.status())),
        // The address may hold a secret.
        Err(error) => Answer::Failed(http::told(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_others_work_out() {
        // From the specification of Standard Webhooks.
        let signing = Signing::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("it is a secret");
        let signature = signing.of("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(Signing::read("short").is_err() && Signing::read("whsec_?").is_err());
    }
}
