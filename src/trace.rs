//! Traces: which one the work at hand is part of, told as W3C has it, and what the spans are called.
//!
//! Code marks its steps with the spans of `tracing`. Where nobody collects them they are disabled, and cost a look at a
//! flag. What crosses a process (an event, a command that CI starts) takes a [`TraceParent`] along.

pub mod delivery;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use opentelemetry::trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// What exporters tell of as the origin of spans.
pub const SCOPE: &str = "argus";

/// The version of the format that is written.
const VERSION: &str = "00";

/// How many characters a version 00 has.
const LENGTH: usize = 55;

/// A place in a trace, as W3C writes it: `00-<trace>-<span>-<flags>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    sampled: bool,
}

/// What is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not written `00-<32 hexadecimal digits>-<16>-<2>`, in lower case and without ids of zeros")]
pub struct NoTraceParent;

impl TraceParent {
    /// A place. One that nobody records ties together what is said of the same work all the same.
    pub fn new(trace: TraceId, span: SpanId, sampled: bool) -> TraceParent {
        TraceParent { trace, span, sampled }
    }

    fn of(context: &SpanContext) -> Option<TraceParent> {
        let (trace, span) = (context.trace_id(), context.span_id());
        context.is_valid().then(|| TraceParent { trace, span, sampled: context.is_sampled() })
    }

    /// The id of the trace.
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// The id of the span.
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// Whether it is recorded.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The same, as the parent of what happens here.
    pub fn context(&self) -> opentelemetry::Context {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let remote = SpanContext::new(self.trace, self.span, flags, true, TraceState::NONE);
        opentelemetry::Context::new().with_remote_span_context(remote)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// Reads one strictly. A later version may have more behind the flags, and nothing else that differs.
    fn from_str(text: &str) -> Result<TraceParent, NoTraceParent> {
        let (head, rest) = text.split_at_checked(LENGTH).ok_or(NoTraceParent)?;
        let parts: Vec<&str> = head.split('-').collect();
        let [version, trace, span, flags] = parts.as_slice() else { return Err(NoTraceParent) };
        let whole = [(version, 2), (trace, 32), (span, 16), (flags, 2)].iter().all(|(part, length)| {
            part.len() == *length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        let ends = if *version == VERSION { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        if !whole || !ends || *version == "ff" {
            return Err(NoTraceParent);
        }
        let trace = TraceId::from_hex(trace).map_err(|_| NoTraceParent)?;
        let span = SpanId::from_hex(span).map_err(|_| NoTraceParent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NoTraceParent)?;
        if trace == TraceId::INVALID || span == SpanId::INVALID {
            return Err(NoTraceParent);
        }
        Ok(TraceParent { trace, span, sampled: flags & 1 == 1 })
    }
}

/// What the process was started in, or a place of its own; and whether it was started in it.
static PROCESS: OnceLock<(TraceParent, bool)> = OnceLock::new();

/// The span of the command, once there is one that somebody collects.
static COMMAND: OnceLock<TraceParent> = OnceLock::new();

/// The run, once it has an id.
static RUN: OnceLock<String> = OnceLock::new();

/// Says what the process is part of. Only the first time counts.
pub fn begin(parent: TraceParent, given: bool) {
    let _ = PROCESS.set((parent, given));
}

/// Says which run this is. Only the first time counts.
pub fn begin_run(run: &str) {
    let _ = RUN.set(run.to_owned());
}

/// The run, if it has an id.
pub fn run() -> Option<&'static str> {
    RUN.get().map(String::as_str)
}

/// The span of a command, in the trace that the process was started in.
pub fn command(name: &str) -> Span {
    let span = tracing::info_span!(
        "command",
        otel.name = format!("argus {name}"),
        argus.command = name,
        argus.exit_code = tracing::field::Empty,
    );
    if let Some((parent, true)) = PROCESS.get() {
        // Where nobody collects spans there is none to be set.
        let _ = span.set_parent(parent.context());
    }
    if let Some(here) = TraceParent::of(span.context().span().span_context()) {
        let _ = COMMAND.set(here);
    }
    span
}

/// Marks a span as failed.
pub fn failed(span: &Span, why: impl fmt::Display) {
    span.set_status(Status::error(why.to_string()));
}

/// Where the work at hand is: the span that it is in, or that of the command, or what the process was started in.
pub fn current() -> Option<TraceParent> {
    TraceParent::of(Span::current().context().span().span_context()).or_else(process)
}

/// Where the process is.
pub fn process() -> Option<TraceParent> {
    COMMAND.get().copied().or_else(|| PROCESS.get().map(|(parent, _)| *parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_strictly_and_written_as_it_was() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read: TraceParent = text.parse().expect("it is one");
        assert_eq!((read.to_string().as_str(), read.is_sampled()), (text, true));
        // Flags that are not known are not passed on; a later version may have more behind them.
        for (text, written) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe", "00"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", "01"),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-will-be", "01"),
        ] {
            let read: TraceParent = text.parse().expect(text);
            assert_eq!(read.to_string(), format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{written}"));
        }
        for text in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NoTraceParent), "{text}");
        }
    }
}
