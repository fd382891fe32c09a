//! A small collector of OpenTelemetry: OTLP over HTTP, in protobuf.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;

use super::receiver::{Receiver, Request};

/// A span that came.
#[derive(Clone, Debug)]
pub struct Span {
    /// The trace, in hexadecimal.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The id of its parent; empty where it has none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// `SPAN_KIND_PRODUCER`, …
    pub kind: String,
    /// Whether it has failed.
    pub failed: bool,
    /// What is said of it.
    pub attributes: BTreeMap<String, String>,
    /// What is said of the process that it is of.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// One attribute.
    pub fn of(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// The collector.
pub struct Collector {
    receiver: Receiver,
}

impl Collector {
    /// Starts one that takes everything.
    pub fn start() -> Collector {
        Collector::answering(200)
    }

    /// Starts one that answers like this.
    pub fn answering(status: u16) -> Collector {
        Collector { receiver: Receiver::start(move |_, _| status) }
    }

    /// Its address, without the path for traces.
    pub fn url(&self) -> String {
        self.receiver.url("")
    }

    /// What came, as it came.
    pub fn requests(&self) -> Vec<Request> {
        self.receiver.requests()
    }

    /// The spans that came.
    pub fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(|request| spans(&request.bytes)).collect()
    }

    /// The only span of a name.
    #[track_caller]
    pub fn span(&self, name: &str) -> Span {
        let mut found: Vec<Span> = self.spans().into_iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} among {:?}", self.spans());
        found.remove(0)
    }
}

fn spans(bytes: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(bytes).expect("it is OTLP");
    let mut all = Vec::new();
    for of in request.resource_spans {
        let resource = of.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind().as_str_name().to_owned(),
                failed: span.status.as_ref().is_some_and(|status| status.code == 2),
                name: span.name,
                attributes: attributes(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    all
}

fn attributes(of: Vec<KeyValue>) -> BTreeMap<String, String> {
    of.into_iter().map(|pair| (pair.key, shown(pair.value))).collect()
}

fn shown(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(whether)) => whether.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
