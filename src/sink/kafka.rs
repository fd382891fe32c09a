//! Kafka: events of an organization in order, on one partition. The only home of rdkafka.
//!
//! The producer is idempotent, and within its life order and number are kept. What happened when it was cut off nobody
//! knows: whoever goes on reads the end of the partitions before anything is sent again.

mod tail;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use serde::Deserialize;

use super::{Asked, DELIVERY_TIME_MAX, Delivered, Destination, secret};
use crate::event::Topic;
use crate::event::cloud::{CONTENT, Event, STRUCTURED, TRACE_HEADER};
use crate::event::people::PseudonymKey;

/// What stands before the attributes of an event in binary mode. The id stands there in every mode: whoever looks for what
/// has arrived need not read what it carries.
const ATTRIBUTE: &str = "ce_";

/// The key of events that belong to no organization.
const NOBODY: &str = "argus";

/// How long a broker is asked for what it has.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(10);

/// The most brokers and topics of the settings.
const LISTED_MAX: usize = 50;

/// Kafka, as the settings of the machine name it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSettings {
    /// Where to ask first: `host:port`.
    pub brokers: Vec<String>,
    /// The topics, where they are not called `argus.audit`, `argus.drift`, `argus.runs` and `argus.budgets`.
    #[serde(default)]
    pub topics: BTreeMap<String, String>,
    /// How many partitions each topic has; `argus doctor` checks it.
    #[serde(default)]
    pub partitions: Option<i32>,
    /// How events are written.
    #[serde(default)]
    pub mode: Mode,
    /// How batches are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Encryption; with none, everybody on the way reads along.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Who logs in.
    #[serde(default)]
    pub sasl: Option<Sasl>,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Attributes and content in one JSON document.
    #[default]
    Structured,
    /// Attributes as headers, the content as the value.
    Binary,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Zstandard.
    #[default]
    Zstd,
    /// LZ4.
    Lz4,
    /// Not at all.
    None,
}

/// Encryption.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// Whom to trust, in PEM; those that the system trusts, if none is given.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, in PEM.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its key, in PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

/// Who logs in.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sasl {
    /// How.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// The name.
    pub username: String,
    /// A file with the password.
    pub password_file: PathBuf,
}

/// How somebody logs in.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Mechanism {
    /// The password is proved, and not shown.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// The same with an older digest.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password is sent; only with `tls`.
    #[serde(rename = "PLAIN")]
    Plain,
}

impl KafkaSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.brokers.is_empty() || self.brokers.len() > LISTED_MAX {
            return Err(format!("`brokers` needs 1 to {LISTED_MAX} addresses"));
        }
        let address = |broker: &&String| {
            broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(broker) = self.brokers.iter().find(|broker| !address(broker)) {
            return Err(format!("the broker `{broker}` is not written as `host:port`"));
        }
        let is_topic = |word: &&String| !Topic::ALL.iter().any(|topic| topic.word() == **word);
        if let Some(word) = self.topics.keys().find(is_topic) {
            let words: Vec<&str> = Topic::ALL.iter().map(|topic| topic.word()).collect();
            return Err(format!("there is no topic `{word}`; there are {}", words.join(", ")));
        }
        let bad = |name: &&String| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            name.is_empty() || name.len() > 249 || !name.bytes().all(fits)
        };
        if let Some(name) = self.topics.values().find(bad) {
            return Err(format!("`{name}` cannot be the name of a topic"));
        }
        if self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain) && self.tls.is_none() {
            return Err("PLAIN sends the password as it is: give it `tls`, or use SCRAM-SHA-512".into());
        }
        Ok(())
    }

    /// What a topic is called on the broker.
    pub fn topic(&self, topic: Topic) -> String {
        self.topics.get(topic.word()).cloned().unwrap_or_else(|| format!("argus.{topic}"))
    }

    /// What producer and consumer have in common.
    fn client(&self) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers.join(",")).set("client.id", "argus");
        let path = |path: &PathBuf| path.to_str().map(str::to_owned).ok_or(format!("{} is no text", path.display()));
        if let Some(Tls { ca_file, cert_file, key_file }) = &self.tls {
            for (name, file) in
                [("ssl.ca.location", ca_file), ("ssl.certificate.location", cert_file), ("ssl.key.location", key_file)]
            {
                if let Some(file) = file {
                    config.set(name, path(file)?);
                }
            }
        }
        if let Some(Sasl { mechanism, username, password_file }) = &self.sasl {
            let mechanism = match mechanism {
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::Plain => "PLAIN",
            };
            config.set("sasl.mechanism", mechanism).set("sasl.username", username);
            config.set("sasl.password", secret(password_file)?);
        }
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        Ok(config)
    }

    fn producer(&self, heard: Heard) -> Result<FutureProducer<Heard>, String> {
        let compression = match self.compression {
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::None => "none",
        };
        let mut config = self.client()?;
        config.set("enable.idempotence", "true").set("acks", "all").set("compression.type", compression);
        // Whoever delivers decides when it has taken too long. A message that were given up before that would leave a gap,
        // and those behind it would overtake it.
        config.set("message.timeout.ms", "0").set("linger.ms", "5");
        // The partition that clients in Java would choose as well.
        config.set("partitioner", "murmur2");
        *heard.said() = None;
        config.create_with_context(heard).map_err(|error: KafkaError| error.to_string())
    }
}

/// Keeps what is said of brokers while nothing is confirmed: who may not log in is told nothing else.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Option<String>>>);

impl Heard {
    fn said(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down follows from what was said of each.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.said() = Some(reason.to_owned());
        }
    }
}

/// A broker, or many.
pub(super) struct Kafka {
    settings: KafkaSettings,
    // Made when it is needed, and given up when something has failed.
    producer: Option<FutureProducer<Heard>>,
    heard: Heard,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kafka({})", self.settings.brokers.join(","))
    }
}

impl Kafka {
    pub(super) fn open(settings: &KafkaSettings) -> Result<Kafka, String> {
        // Files that cannot be read are told now and not with the first event.
        settings.client()?;
        Ok(Kafka { settings: settings.clone(), producer: None, heard: Heard::default() })
    }

    /// Sends events in order and waits until they are confirmed.
    async fn send_all(&mut self, events: &[Event], pseudonyms: Option<&PseudonymKey>) -> Delivered {
        let producer = match self.producer.take().map_or_else(|| self.settings.producer(self.heard.clone()), Ok) {
            Ok(producer) => producer,
            Err(why) => return Delivered { failed: Some(why), ..Delivered::default() },
        };
        let deadline = tokio::time::Instant::now() + DELIVERY_TIME_MAX;
        let mut delivered = Delivered::default();
        let mut under_way: Vec<(usize, DeliveryFuture)> = Vec::with_capacity(events.len());
        for (place, event) in events.iter().enumerate() {
            match self.send(&producer, event, pseudonyms, deadline).await {
                Ok(future) => under_way.push((place, future)),
                Err(error) if is_refused(&error) => delivered.refused.push((place, error.to_string())),
                Err(error) => {
                    delivered.failed = Some(error.to_string());
                    break;
                }
            }
        }
        for (place, future) in under_way {
            match tokio::time::timeout_at(deadline, future).await {
                Ok(Ok(Ok(_))) => delivered.arrived.push(place),
                Ok(Ok(Err((error, _)))) if is_refused(&error) => delivered.refused.push((place, error.to_string())),
                Ok(Ok(Err((error, _)))) => delivered.failed = Some(error.to_string()),
                Ok(Err(_)) => delivered.failed = Some("the producer has ended".into()),
                Err(_) => {
                    let why = self.why_silent(&producer);
                    delivered.failed.get_or_insert(why);
                }
            }
        }
        if delivered.failed.is_some() {
            // Whatever is still on its way must not arrive behind what is sent next.
            producer.purge(PurgeConfig::default().queue().inflight());
            drop(producer);
        } else {
            self.producer = Some(producer);
        }
        delivered
    }

    async fn send(
        &self,
        producer: &FutureProducer<Heard>,
        event: &Event,
        pseudonyms: Option<&PseudonymKey>,
        deadline: tokio::time::Instant,
    ) -> Result<DeliveryFuture, KafkaError> {
        let wire = event.on_the_wire(pseudonyms);
        let topic = self.settings.topic(event.topic());
        let key = if event.key().is_empty() { NOBODY } else { event.key() };
        let id = format!("{ATTRIBUTE}id");
        let mut headers = OwnedHeaders::new_with_capacity(wire.attributes.len() + 2);
        let (value, kind) = match self.settings.mode {
            Mode::Structured => {
                headers = headers.insert(Header { key: &id, value: Some(&event.id) });
                (wire.structured(), STRUCTURED)
            }
            Mode::Binary => {
                for (name, value) in &wire.attributes {
                    headers = headers.insert(Header { key: &format!("{ATTRIBUTE}{name}"), value: Some(value) });
                }
                (wire.content, CONTENT)
            }
        };
        headers = headers.insert(Header { key: "content-type", value: Some(kind) });
        if let Some(trace) = &event.trace {
            headers = headers.insert(Header { key: TRACE_HEADER, value: Some(trace) });
        }
        let mut record = FutureRecord::to(&topic)
            .key(key)
            .payload(&value)
            .headers(headers)
            // The moment of the event, so that whoever looks for it knows where to begin.
            .timestamp(event.at.timestamp_millis());
        loop {
            match producer.send_result(record) {
                Ok(future) => return Ok(future),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if tokio::time::Instant::now() < deadline =>
                {
                    record = back;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Why nothing is confirmed, as far as anything is said of the brokers.
    fn why_silent(&self, producer: &FutureProducer<Heard>) -> String {
        let fatal = producer.client().fatal_error().map(|(_, why)| why);
        let heard = || self.heard.said().clone();
        let why = fatal.or_else(heard).map(|why| format!(": {why}")).unwrap_or_default();
        format!("not confirmed within {DELIVERY_TIME_MAX:?}{why}")
    }

    /// Which of these events are at the end of the partitions.
    async fn read_back(&mut self, events: &[Event]) -> Result<HashSet<String>, String> {
        let Some(first) = events.iter().map(|event| event.at).min() else { return Ok(HashSet::new()) };
        let wanted: HashSet<String> = events.iter().map(|event| event.id.clone()).collect();
        let topics: HashSet<String> = events.iter().map(|event| self.settings.topic(event.topic())).collect();
        let config = self.settings.client()?;
        let read = move || tail::read(&config, &topics, first, &wanted);
        tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
    }

    /// What is wrong: brokers that do not answer, topics that are not there or have another number of partitions.
    async fn ask(&mut self) -> Vec<String> {
        let settings = self.settings.clone();
        let ask = move || {
            let names: Vec<String> = Topic::ALL.iter().map(|topic| settings.topic(*topic)).collect();
            let found = settings.client().and_then(|config| tail::partitions(&config, &names));
            let found = match found {
                Ok(found) => found,
                Err(why) => return vec![why],
            };
            let fault = |name: &String| match (found.get(name).copied().unwrap_or_default(), settings.partitions) {
                (0, _) => Some(format!("there is no topic `{name}`")),
                (is, Some(should)) if is != should => {
                    Some(format!("the topic `{name}` has {is} partitions and not {should}"))
                }
                _ => None,
            };
            names.iter().filter_map(fault).collect()
        };
        tokio::task::spawn_blocking(ask).await.unwrap_or_else(|error| vec![error.to_string()])
    }
}

impl Destination for Kafka {
    fn deliver<'a>(&'a mut self, events: &'a [Event], pseudonyms: Option<&'a PseudonymKey>) -> Asked<'a, Delivered> {
        Box::pin(self.send_all(events, pseudonyms))
    }

    fn arrived<'a>(&'a mut self, events: &'a [Event]) -> Asked<'a, Result<HashSet<String>, String>> {
        Box::pin(self.read_back(events))
    }

    fn faults(&mut self) -> Asked<'_, Vec<String>> {
        Box::pin(self.ask())
    }
}

/// Whether no broker of this kind will ever take the message.
fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidMessageSize
        )
    )
}
