//! Spans of single records, exported to an OTLP collector if the settings name one.
//!
//! The producer starts a trace for a sample of the records. The header `traceparent` (W3C Trace Context) carries it to the
//! other services; a record without that header is not traced.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::info;

use crate::telemetry::TelemetrySettings;
use crate::telemetry::collector::Collector;

/// The header that carries a trace.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// Starts spans. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Exported>>);

#[derive(Debug)]
struct Exported {
    tracer: SdkTracer,
    /// Exports the remaining spans when it is dropped.
    _provider: SdkTracerProvider,
}

/// The step that a span measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Sending a record.
    Send,
    /// Processing a record, from reading it to committing its outcome.
    Process,
}

/// A span that was started. It ends when it is dropped.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Spans {
    /// Returns spans that are recorded and exported nowhere, for tests.
    #[must_use]
    pub fn detached() -> Self {
        let provider = SdkTracerProvider::builder().build();
        Self(Some(Arc::new(Exported {
            tracer: provider.tracer("test"),
            _provider: provider,
        })))
    }

    /// Starts exporting spans, if the settings name a collector.
    ///
    /// # Errors
    /// If the exporter cannot be created, or the file of authorities cannot be used.
    pub(crate) fn start(
        settings: &TelemetrySettings,
        service: &'static str,
        version: &'static str,
    ) -> anyhow::Result<Self> {
        if settings.otlp_endpoint.is_empty() {
            return Ok(Self(None));
        }
        let endpoint = format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .with_http_client(Collector::new(settings, &endpoint)?)
            .build()
            .context("telemetry.otlp_endpoint: cannot create an exporter")?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        // A record that carries a trace was sampled by the producer.
        let sampler = Sampler::TraceIdRatioBased(settings.trace_sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource)
            .build();
        info!("exporting traces to {endpoint}");
        Ok(Self(Some(Arc::new(Exported {
            tracer: provider.tracer(service),
            _provider: provider,
        }))))
    }

    /// Whether spans are exported.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a trace with sending a record; `None` if the record is not sampled.
    #[must_use]
    pub fn begin(&self, topic: &str) -> Option<Span> {
        self.span(Step::Send, topic, &Context::new(), Vec::new())
    }

    /// Continues the trace that a record carries with processing it; `None` if the record carries none, or an unsampled one.
    #[must_use]
    pub fn follow(
        &self,
        traceparent: Option<&[u8]>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Option<Span> {
        self.0.as_ref()?;
        let parent = context_of(traceparent?)?;
        let source = vec![
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
            KeyValue::new("messaging.kafka.offset", offset),
        ];
        self.span(Step::Process, topic, &parent, source)
    }

    fn span(
        &self,
        step: Step,
        topic: &str,
        parent: &Context,
        mut attributes: Vec<KeyValue>,
    ) -> Option<Span> {
        let tracer = &self.0.as_ref()?.tracer;
        let (word, kind) = match step {
            Step::Send => ("send", SpanKind::Producer),
            Step::Process => ("process", SpanKind::Consumer),
        };
        attributes.extend([
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.type", word),
            KeyValue::new("messaging.destination.name", topic.to_owned()),
        ]);
        let span = tracer
            .span_builder(format!("{word} {topic}"))
            .with_kind(kind)
            .with_attributes(attributes)
            .start_with_context(tracer, parent);
        span.is_recording().then_some(Span(span))
    }
}

/// Returns the trace in a header; `None` if the header is invalid or the trace is not sampled.
fn context_of(traceparent: &[u8]) -> Option<Context> {
    let value = std::str::from_utf8(traceparent).ok()?.to_owned();
    let carrier = HashMap::from([(TRACEPARENT_HEADER.to_owned(), value)]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let is_sampled = {
        let span = context.span();
        span.span_context().is_valid() && span.span_context().is_sampled()
    };
    is_sampled.then_some(context)
}

impl Span {
    /// Returns the value of the header that continues the trace from this span.
    #[must_use]
    pub fn traceparent(&self) -> String {
        traceparent(self.0.span_context())
    }

    /// Adds an attribute.
    pub fn note(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.set_attribute(KeyValue::new(name, value.into()));
    }

    /// Ends the span as failed, for this reason.
    pub fn fail(mut self, reason: &str) {
        self.0.set_status(Status::error(reason.to_owned()));
        self.0.end();
    }

    /// Ends the span.
    pub fn end(mut self) {
        self.0.end();
    }
}

fn traceparent(context: &SpanContext) -> String {
    format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    use super::*;

    fn spans(ratio: f64) -> (Spans, InMemorySpanExporter) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                ratio,
            ))))
            .build();
        let exported = Exported {
            tracer: provider.tracer("test"),
            _provider: provider,
        };
        (Spans(Some(Arc::new(exported))), exporter)
    }

    #[test]
    fn the_header_carries_a_trace_to_the_next_service() {
        let (spans, exporter) = spans(1.0);
        let sent = spans.begin("input").unwrap();
        let header = sent.traceparent();
        sent.end();
        let mut processed = spans
            .follow(Some(header.as_bytes()), "input", 3, 17)
            .unwrap();
        processed.note("iris.predicted_class", "a");
        processed.fail("aborted");
        let exported = exporter.get_finished_spans().unwrap();
        let [sent, processed] = &exported[..] else {
            panic!("there are two spans");
        };
        assert_eq!(
            processed.span_context.trace_id(),
            sent.span_context.trace_id()
        );
        assert_eq!(processed.parent_span_id, sent.span_context.span_id());
        assert_eq!(
            (&*sent.name, &*processed.name),
            ("send input", "process input")
        );
    }

    #[test]
    fn unsampled_records_and_invalid_headers_have_no_span() {
        let (spans, _) = spans(0.0);
        assert!(spans.begin("input").is_none());
        assert!(spans.follow(None, "input", 0, 0).is_none());
        let unsampled = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        for header in [&b"garbage"[..], b"\xff", unsampled] {
            assert!(spans.follow(Some(header), "input", 0, 0).is_none());
        }
        // A sampled trace is continued regardless of the ratio.
        let sampled = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(spans.follow(Some(sampled), "input", 0, 0).is_some());
        assert!(Spans::default().begin("input").is_none());
    }
}
