//! The span of a delivery: from what an event was told in to the sink that has taken it, though another process delivers
//! it, and later.

use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _};
use opentelemetry::{KeyValue, global};

use super::{SCOPE, TraceParent};
use crate::event::cloud::Event;

/// Whether somebody collects spans.
static COLLECTED: OnceLock<()> = OnceLock::new();

/// Says that somebody collects spans.
pub fn collect() {
    let _ = COLLECTED.set(());
}

/// One delivery of some events to a sink.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The name of the sink.
    pub sink: &'a str,
    /// What it is: `kafka`, `webhook`, `lines`.
    pub system: &'static str,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
}

impl Delivery<'_> {
    /// Tells of one event, in the trace that it was told in. What is in no trace, or in one that nobody records, is not
    /// told of.
    pub fn tell(&self, event: &Event, refused: Option<&str>) {
        if COLLECTED.get().is_none() {
            return;
        }
        let parent = event.trace.as_deref().and_then(|trace| trace.parse::<TraceParent>().ok());
        let Some(parent) = parent.filter(TraceParent::is_sampled) else { return };
        let tracer = global::tracer(SCOPE);
        let span = tracer
            .span_builder(format!("send {}", self.sink))
            .with_kind(SpanKind::Producer)
            .with_start_time(self.began)
            .with_attributes([
                KeyValue::new("messaging.system", self.system),
                KeyValue::new("messaging.operation.name", "send"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.destination.name", self.sink.to_owned()),
                KeyValue::new("messaging.message.id", event.id.clone()),
                KeyValue::new("cloudevents.event_id", event.id.clone()),
                KeyValue::new("cloudevents.event_type", event.wire_type()),
                KeyValue::new("cloudevents.event_spec_version", "1.0"),
                KeyValue::new("argus.organization", event.organization.clone()),
                KeyValue::new("argus.event.position", event.position),
            ]);
        let mut span = tracer.build_with_context(span, &parent.context());
        if let Some(why) = refused {
            span.set_status(Status::error(why.to_owned()));
        }
        span.end_with_timestamp(self.ended);
    }
}
