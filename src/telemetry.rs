//! Logs to standard error, as text or as JSON, and traces to a collector of OpenTelemetry. Reports go to standard output and
//! never pass through here.

pub mod logs;
pub mod measure;
pub mod otlp;

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, LevelFilter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::LogFormat;
use crate::settings::telemetry::TelemetrySettings;
use crate::trace::{self, TraceParent};

/// How long a command waits at its end for a collector that does not take its spans.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(3);

/// What has to be ended when a command is done.
#[derive(Debug)]
pub struct Telemetry {
    spans: Option<otlp::Collecting>,
}

/// What sends spans, or why it could not be started; nothing where nobody collects them.
static COLLECTING: OnceLock<Result<Option<otlp::Collecting>, String>> = OnceLock::new();

/// Whether the collector takes spans now, if there is one that should.
pub fn collector() -> Option<Result<(), String>> {
    match COLLECTING.get()? {
        Ok(collecting) => collecting.as_ref().map(otlp::Collecting::ask),
        Err(why) => Some(Err(why.clone())),
    }
}

/// Starts logging, and sending spans if somebody collects them; a filter that cannot be read counts as `warn`. Nothing
/// that is wrong here stops a command.
pub fn start(filter: &str, format: LogFormat, settings: &TelemetrySettings) -> Telemetry {
    let mut wrong = Vec::new();
    let (spans, parent) = (otlp::provider(settings), parent());
    let ids = RandomIdGenerator::default();
    match &parent {
        Ok(Some(parent)) => trace::begin(*parent, true),
        _ => trace::begin(TraceParent::new(ids.new_trace_id(), ids.new_span_id(), false), false),
    }
    wrong.extend(parent.err());
    wrong.extend(spans.as_ref().err().map(|why| format!("no traces are exported: {why}")));
    let _ = COLLECTING.set(spans.clone());
    let spans = spans.ok().flatten();
    let layer = spans.as_ref().map(|collecting| {
        let spans = &collecting.provider;
        opentelemetry::global::set_tracer_provider(spans.clone());
        trace::delivery::collect();
        let layer = tracing_opentelemetry::layer().with_tracer(spans.tracer(trace::SCOPE));
        let layer = layer.with_location(false).with_threads(false).with_level(false).with_target(false);
        layer
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(is_own_span).with_max_level_hint(LevelFilter::INFO))
    });
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    // With a bound of its own it leaves that of the other one as it is, so that what is not logged costs nothing.
    let events = FilterFn::new(|about| about.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let filter = filter.and(events);
    let lines = match format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .event_format(logs::Lines)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text => {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).without_time();
            layer.with_ansi(std::io::stderr().is_terminal() && !no_color).with_filter(filter).boxed()
        }
    };
    // A second start, in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
    for wrong in wrong {
        tracing::warn!("{wrong}");
    }
    Telemetry { spans }
}

/// Whether a collector is told of it: the steps of Argus, and not what libraries do in between.
fn is_own_span(about: &Metadata<'_>) -> bool {
    let target = about.target();
    about.is_span() && *about.level() <= Level::INFO && (target == "argus" || target.starts_with("argus::"))
}

/// What whoever started the command is doing, as CI systems tell it.
fn parent() -> Result<Option<TraceParent>, String> {
    match std::env::var("TRACEPARENT") {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|why| format!("TRACEPARENT is not followed: {why}"))
        }
        _ => Ok(None),
    }
}

impl Telemetry {
    /// Sends what is left, within a bounded time.
    pub fn finish(self) {
        if let Some(spans) = self.spans
            && let Err(why) = spans.provider.shutdown_with_timeout(FLUSH_TIME_MAX)
        {
            tracing::warn!(%why, "traces are not exported: the collector takes too long");
        }
    }
}
