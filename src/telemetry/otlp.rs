//! Traces to a collector: OTLP over HTTP, as the settings of the machine say, or the variables that everything that speaks
//! OpenTelemetry knows. A collector that does not answer is told of once, and slows nothing.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, Sampler, SdkTracerProvider, SpanData,
    SpanExporter,
};

use crate::settings::telemetry::TelemetrySettings;
use crate::sink::{http, secret};
use crate::trace::{self, TraceParent};

/// How long one request may take when nobody says so.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// How many spans wait at most: there is one for each organization that is applied. What is more is dropped.
const SPANS_MAX: usize = 32_768;

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where traces go below the address of a collector.
const TRACES: &str = "v1/traces";

/// A variable that says something: one that is empty says nothing.
fn said(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Where traces go, if anybody says so: the variables outweigh the settings.
fn endpoint(settings: &TelemetrySettings) -> Option<String> {
    let off = said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if off || said("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp") {
        return None;
    }
    let below = |base: String| format!("{}/{TRACES}", base.trim_end_matches('/'));
    let named = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| said("OTEL_EXPORTER_OTLP_ENDPOINT").map(below));
    named.or_else(|| settings.otlp.as_ref().map(|otlp| below(otlp.endpoint.clone())))
}

/// What makes spans and sends them.
#[derive(Clone, Debug)]
pub struct Collecting {
    /// What makes them.
    pub provider: SdkTracerProvider,
    /// Why the last of them were not taken.
    why: Arc<Mutex<Option<String>>>,
}

impl Collecting {
    /// Sends a span of its own, and says whether it was taken. It takes its time, which is bounded.
    pub fn ask(&self) -> Result<(), String> {
        let (ids, tracer) = (RandomIdGenerator::default(), self.provider.tracer(trace::SCOPE));
        // Whatever share is sampled, this one is.
        let parent = TraceParent::new(ids.new_trace_id(), ids.new_span_id(), true);
        tracer.span_builder("argus doctor asks").start_with_context(&tracer, &parent.context()).end();
        let why = || self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.provider.force_flush().map_err(|_| why().unwrap_or_else(|| "it takes too long".into()))
    }
}

/// What makes spans and sends them, if anybody collects them.
pub fn provider(settings: &TelemetrySettings) -> Result<Option<Collecting>, String> {
    let Some(endpoint) = endpoint(settings) else { return Ok(None) };
    let protocol = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| said("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(other) = protocol.filter(|protocol| protocol != "http/protobuf") {
        return Err(format!("OTEL_EXPORTER_OTLP_PROTOCOL is `{other}`, and only http/protobuf is spoken"));
    }
    let otlp = settings.otlp.as_ref();
    let headers = otlp.and_then(|otlp| otlp.headers_file.as_deref()).map(headers).transpose()?.unwrap_or_default();
    let has_headers = !headers.is_empty()
        || ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"].iter().any(|name| said(name).is_some());
    let endpoint = http::collector(&endpoint, has_headers)?;
    let authorities = said("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE").or_else(|| said("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    let authorities = authorities.map(Into::into).or_else(|| otlp.and_then(|otlp| otlp.ca_file.clone()));
    let timeout = timeout(otlp.and_then(|otlp| otlp.timeout));
    let why = Arc::new(Mutex::new(None));
    let client = Client {
        client: http::client(timeout, authorities.as_deref())?,
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime does not start: {error}"))?,
        why: why.clone(),
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_headers(headers)
        .with_endpoint(endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(timeout)
        .build()
        .map_err(|error| error.to_string())?;
    let mut batches = BatchConfigBuilder::default();
    if said("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
        batches = batches.with_max_queue_size(SPANS_MAX);
    }
    let exporter = Exporter { exporter, why: why.clone(), told: AtomicBool::new(false) };
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
    let mut provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource());
    if let Some(share) = settings.sample.filter(|_| said("OTEL_TRACES_SAMPLER").is_none()) {
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
        provider = provider.with_sampler(sampler);
    }
    Ok(Some(Collecting { provider: provider.build(), why }))
}

/// What makes the spans: what the variables say of it, and a name where they give none.
fn resource() -> Resource {
    let named = said("OTEL_SERVICE_NAME").is_some()
        || said("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|all| all.split(',').any(|one| one.starts_with("service.name=")));
    let resource =
        Resource::builder().with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let resource = if named { resource } else { resource.with_service_name("argus") };
    resource.build()
}

fn timeout(settings: Option<Duration>) -> Duration {
    let named = said("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| said("OTEL_EXPORTER_OTLP_TIMEOUT"));
    let named = named.and_then(|text| text.parse().ok()).map(Duration::from_millis);
    named.or(settings).unwrap_or(REQUEST_TIME_MAX)
}

/// The headers that a file holds. What is wrong with it is told without what it holds.
fn headers(file: &Path) -> Result<HashMap<String, String>, String> {
    let text = secret(file)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = |(at, line): (usize, &str)| {
        let bad = || format!("line {} of {} is not written `name: value`", at + 1, file.display());
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let (name, value) = (name.trim(), value.trim());
        let fits = http::is_header(name, value);
        fits.then(|| (name.to_owned(), value.to_owned())).ok_or_else(bad)
    };
    lines.map(header).collect()
}

/// Speaks HTTP where the exporter works, which is a thread of its own.
#[derive(Debug)]
struct Client {
    client: http::Client,
    runtime: tokio::runtime::Runtime,
    /// Why the last request was not taken.
    why: Arc<Mutex<Option<String>>>,
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (parts, body) = request.into_parts();
        let sending = self.client.post(parts.uri.to_string()).headers(parts.headers).body(body);
        let mut answer = sending.send().await.map_err(http::told)?;
        let status = answer.status();
        if !status.is_success() {
            self.note(Some(format!("the collector answers {status}")));
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(http::told)? {
            if read.len() + part.len() > ANSWER_BYTES_MAX {
                break;
            }
            read.extend_from_slice(&part);
        }
        let mut response = Response::new(Bytes::from(read));
        *response.status_mut() = status;
        Ok(response)
    }

    fn note(&self, why: Option<String>) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let answer = self.runtime.block_on(self.send(request)).map_err(|why| {
            self.note(Some(why.clone()));
            HttpError::from(why)
        });
        Box::pin(std::future::ready(answer))
    }
}

/// Exports, and says so once when that does not succeed.
#[derive(Debug)]
struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    why: Arc<Mutex<Option<String>>>,
    told: AtomicBool,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let many = batch.len();
        let done = self.exporter.export(batch).await;
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        match &done {
            Ok(()) => {
                *why = None;
                self.told.store(false, Ordering::Relaxed);
            }
            Err(_) if self.told.swap(true, Ordering::Relaxed) => {}
            Err(_) => {
                let why = why.as_deref().unwrap_or("the collector does not take them");
                tracing::warn!(spans = many, why, "traces are not exported: {why}");
            }
        }
        done
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
