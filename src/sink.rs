//! Sinks: where events go. Each is one file, and one line in the table here. Beside them stands the courier, who brings
//! messages to the channels of organizations.

pub mod courier;
pub mod forge;
pub mod http;
pub mod kafka;
pub mod lines;
pub mod webhook;

use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::Pin;
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

/// What is asked of a sink, and takes its time.
type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a sink leads.
trait Destination: Send + std::fmt::Debug {
    /// Delivers events, those of an organization in order, within [`DELIVERY_TIME_MAX`].
    fn deliver<'a>(&'a mut self, events: &'a [Event], pseudonyms: Option<&'a PseudonymKey>) -> Asked<'a, Delivered>;

    /// Which of these events are there already. Whoever cannot be asked has receivers that drop what comes twice.
    fn arrived<'a>(&'a mut self, _: &'a [Event]) -> Asked<'a, Result<HashSet<String>, String>> {
        Box::pin(async { Ok(HashSet::new()) })
    }

    /// What is wrong on the other side; nothing where it cannot be asked.
    fn faults(&mut self) -> Asked<'_, Vec<String>> {
        Box::pin(async { Vec::new() })
    }
}

macro_rules! sinks {
    ($($(#[doc = $about:literal])* $word:ident: $settings:ty => $destination:ty;)*) => {
        /// A sink as the settings of the machine name it.
        #[derive(Clone, Debug, Deserialize, PartialEq)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct SinkSettings {
            /// Its name. What waits for it waits under this name.
            pub name: String,
            /// A file with the key that people's names are replaced by; without one they go as they are.
            #[serde(default)]
            pub pseudonym_key_file: Option<PathBuf>,
            $($(#[doc = $about])* #[serde(default)] pub $word: Option<$settings>,)*
        }

        impl SinkSettings {
            /// All words for where a sink may lead.
            const WORDS: &'static [&'static str] = &[$(stringify!($word)),*];

            /// Where this one leads, in words, and what is wrong with it.
            fn ways(&self) -> Vec<Result<(), String>> {
                let ways = [$(self.$word.as_ref().map(|settings| settings.check())),*];
                ways.into_iter().flatten().collect()
            }

            /// What this one is, in a word.
            fn word(&self) -> &'static str {
                $(if self.$word.is_some() {
                    return stringify!($word);
                })*
                "nowhere"
            }

            fn open(&self) -> Result<Box<dyn Destination>, String> {
                $(if let Some(settings) = &self.$word {
                    return Ok(Box::new(<$destination>::open(settings)?));
                })*
                Err("it leads nowhere".into())
            }
        }
    };
}

sinks! {
    /// Kafka.
    kafka: kafka::KafkaSettings => kafka::Kafka;
    /// A webhook.
    webhook: webhook::WebhookSettings => webhook::Webhook;
    /// Lines on standard output.
    lines: lines::LinesSettings => lines::Lines;
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

impl SinkSettings {
    /// What cannot be right, whatever is on the other side.
    pub fn check(&self) -> Result<(), BadSink> {
        let bad = |why: String| BadSink { sink: self.name.clone(), why };
        if let Some(fault) = name_fault(&self.name) {
            return Err(bad(format!("it needs a name: {fault}")));
        }
        match self.ways().as_slice() {
            [way] => way.clone().map_err(bad),
            [] => Err(bad(format!("it leads nowhere; give it one of: {}", Self::WORDS.join(", ")))),
            _ => Err(bad("it leads to two places; make two sinks of it".into())),
        }
    }
}

/// A sink that is open.
#[derive(Debug)]
pub struct Sink {
    name: String,
    word: &'static str,
    pseudonyms: Option<PseudonymKey>,
    to: Box<dyn Destination>,
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
        let (name, word) = (settings.name.clone(), settings.word());
        Ok(Sink { name, word, pseudonyms: pseudonyms.transpose()?, to: settings.open().map_err(bad)? })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is: `kafka`, `webhook`, `lines`.
    pub fn word(&self) -> &'static str {
        self.word
    }

    /// Delivers events in order, within a bounded time. What is neither arrived nor refused was not sent, if nothing has
    /// failed; otherwise it may or may not be there.
    pub async fn deliver(&mut self, events: &[Event]) -> Delivered {
        self.to.deliver(events, self.pseudonyms.as_ref()).await
    }

    /// Which of these ids the sink has already, as far as it can tell.
    pub async fn arrived(&mut self, events: &[Event]) -> Result<HashSet<String>, String> {
        self.to.arrived(events).await
    }

    /// What is wrong on the other side: nothing, if events could be delivered now.
    pub async fn faults(&mut self) -> Vec<String> {
        self.to.faults().await
    }
}

/// A secret from a file, without the end of its line.
pub fn secret(file: &std::path::Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    let about = std::fs::metadata(file).map_err(unreadable)?;
    if !about.is_file() || about.len() > SECRET_BYTES_MAX {
        return Err(format!("{} is no file of at most {SECRET_BYTES_MAX} bytes", file.display()));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(text.to_owned()) }
}
