//! Logs as JSON: one document on each line, with the trace and the run that it belongs to.

use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::model::finding::{Finding, Severity};
use crate::trace;

/// What findings are filed under.
const FINDING: &str = "argus::finding";

/// The format.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

/// What an event of `tracing` says: a sentence, and values beside it.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Json>,
}

impl Said {
    fn keep(&mut self, field: &Field, value: Json) {
        match (field.name(), value) {
            ("message", Json::String(text)) => self.message = text,
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value.into());
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let about = event.metadata();
        writer.write_str(&line(about.level().as_str(), about.target(), &said.message, said.fields))
    }
}

/// A line, with its end.
fn line(level: &str, target: &str, message: &str, fields: Map<String, Json>) -> String {
    let mut line = Map::new();
    line.insert("timestamp".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into());
    line.insert("level".into(), level.into());
    line.insert("target".into(), target.into());
    line.insert("message".into(), message.into());
    if !fields.is_empty() {
        line.insert("fields".into(), fields.into());
    }
    if let Some(here) = trace::process() {
        line.insert("trace_id".into(), here.trace().to_string().into());
        line.insert("span_id".into(), here.span().to_string().into());
    }
    if let Some(run) = trace::run() {
        line.insert("run".into(), run.into());
    }
    format!("{}\n", Json::from(line))
}

/// Something that is told whoever runs a command, as a line that says no more than the message.
pub fn notice(message: &str) -> String {
    line("INFO", "argus", message, Map::new())
}

/// A finding, as a line.
pub fn finding(finding: &Finding) -> String {
    let Finding { severity, code, rule, subject, origin, message, hint } = finding;
    let level = match severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARN",
        Severity::Note => "INFO",
    };
    let mut fields = Map::new();
    fields.insert("code".into(), code.to_string().into());
    for (name, value) in [("rule", rule), ("subject", subject), ("hint", hint)] {
        fields.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
    }
    if let Some(origin) = origin {
        fields.insert("file".into(), origin.file.as_ref().into());
        fields.insert("line".into(), origin.line.into());
        fields.insert("column".into(), origin.column.into());
    }
    line(level, FINDING, message, fields)
}
