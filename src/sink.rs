//! Sinks: where events go. Each is one file, one line in [`SinkSettings`] and one in [`Sink::open`].

mod http;
pub mod kafka;
pub mod lines;
pub mod webhook;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::event::cloud::Event;
use crate::event::people::PseudonymKey;
use crate::model::id::name_fault;

/// How long a sink may take for what it is given at once. It is well below the lease of whoever delivers.
pub const DELIVERY_TIME_MAX: Duration = Duration::from_secs(15);

/// The most sinks of one machine.
pub const SINKS_MAX: usize = 20;

/// The largest file with a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A sink as the settings of the machine name it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkSettings {
    /// Its name. What waits for it waits under this name.
    pub name: String,
    /// A file with the key that people's names are replaced by; without one they go as they are.
    #[serde(default)]
    pub pseudonym_key_file: Option<PathBuf>,
    /// Kafka.
    #[serde(default)]
    pub kafka: Option<kafka::KafkaSettings>,
    /// A webhook.
    #[serde(default)]
    pub webhook: Option<webhook::WebhookSettings>,
    /// Lines on standard output.
    #[serde(default)]
    pub lines: Option<lines::LinesSettings>,
}

/// What was wrong with the settings of a sink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sink `{sink}`: {why}")]
pub struct BadSink {
    /// Its name.
    pub sink: String,
    /// What is wrong.
    pub why: String,
}

/// What came of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The places in the batch of what has arrived.
    pub arrived: Vec<usize>,
    /// What will never be taken, by its place in the batch, and why.
    pub refused: Vec<(usize, String)>,
    /// Why the rest was not delivered, if there is a rest.
    pub failed: Option<String>,
}

/// A sink that is open.
#[derive(Debug)]
pub struct Sink {
    name: String,
    pseudonyms: Option<PseudonymKey>,
    to: To,
}

/// Where a sink leads.
#[derive(Debug)]
enum To {
    Kafka(Box<kafka::Kafka>),
    Webhook(webhook::Webhook),
    Lines(lines::Lines),
}

impl SinkSettings {
    /// What cannot be right, whatever is on the other side.
    pub fn check(&self) -> Result<(), BadSink> {
        let bad = |why: String| Err(BadSink { sink: self.name.clone(), why });
        if let Some(fault) = name_fault(&self.name) {
            return bad(format!("it needs a name: {fault}"));
        }
        let SinkSettings { name: _, pseudonym_key_file: _, kafka, webhook, lines } = self;
        match [kafka.is_some(), webhook.is_some(), lines.is_some()].into_iter().filter(|there| *there).count() {
            1 => Ok(()),
            0 => bad("it leads nowhere; give it `kafka`, `webhook` or `lines`".into()),
            _ => bad("it leads to two places; make two sinks of it".into()),
        }?;
        kafka.as_ref().map_or(Ok(()), kafka::KafkaSettings::check).or_else(bad)?;
        webhook.as_ref().map_or(Ok(()), webhook::WebhookSettings::check).or_else(bad)
    }
}

impl Sink {
    /// Opens a sink. Nothing is sent, and nobody is asked.
    pub fn open(settings: &SinkSettings) -> Result<Sink, BadSink> {
        settings.check()?;
        let bad = |why: String| BadSink { sink: settings.name.clone(), why };
        let pseudonyms = settings.pseudonym_key_file.as_ref().map(|file| {
            let key = secret(file).map_err(bad)?;
            let few = || format!("{} holds fewer than {} bytes", file.display(), PseudonymKey::BYTES_MIN);
            PseudonymKey::new(key.as_bytes()).ok_or_else(|| bad(few()))
        });
        let to = match settings {
            SinkSettings { kafka: Some(kafka), .. } => To::Kafka(Box::new(kafka::Kafka::open(kafka).map_err(bad)?)),
            SinkSettings { webhook: Some(webhook), .. } => To::Webhook(webhook::Webhook::open(webhook).map_err(bad)?),
            SinkSettings { lines: Some(lines), .. } => To::Lines(lines::Lines::open(lines).map_err(bad)?),
            SinkSettings { name: _, pseudonym_key_file: _, kafka: None, webhook: None, lines: None } => {
                return Err(bad("it leads nowhere".into()));
            }
        };
        Ok(Sink { name: settings.name.clone(), pseudonyms: pseudonyms.transpose()?, to })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Delivers events in order, within a bounded time. What is neither arrived nor refused may or may not be there.
    pub async fn deliver(&mut self, events: &[Event]) -> Delivered {
        match &mut self.to {
            To::Kafka(kafka) => kafka.deliver(events, self.pseudonyms.as_ref()).await,
            To::Webhook(webhook) => webhook.deliver(events, self.pseudonyms.as_ref()).await,
            To::Lines(lines) => lines.deliver(events, self.pseudonyms.as_ref()),
        }
    }

    /// Which of these ids the sink has already, as far as it can tell.
    pub async fn arrived(&mut self, events: &[Event]) -> Result<HashSet<String>, String> {
        match &mut self.to {
            To::Kafka(kafka) => kafka.arrived(events).await,
            // Whoever takes events here drops what comes twice.
            To::Webhook(_) | To::Lines(_) => Ok(HashSet::new()),
        }
    }

    /// What is wrong on the other side: nothing, if events could be delivered now.
    pub async fn faults(&mut self) -> Vec<String> {
        match &mut self.to {
            To::Kafka(kafka) => kafka.faults().await,
            To::Webhook(_) | To::Lines(_) => Vec::new(),
        }
    }
}

/// A secret from a file, without the end of its line.
fn secret(file: &std::path::Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    let about = std::fs::metadata(file).map_err(unreadable)?;
    if !about.is_file() || about.len() > SECRET_BYTES_MAX {
        return Err(format!("{} is no file of at most {SECRET_BYTES_MAX} bytes", file.display()));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(text.to_owned()) }
}
