//! Spans of single records, sent to a collector by OTLP where the settings name one; nothing at all otherwise.
//!
//! A trace begins with the producer, for a share of the records. The header `traceparent` (W3C Trace Context) takes it along;
//! what comes without one is not traced.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::info;

use crate::telemetry::TelemetrySettings;

/// The header that takes a trace along.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// Where spans begin. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Exported>>);

#[derive(Debug)]
struct Exported {
    tracer: SdkTracer,
    /// Sends what is left when it is dropped.
    _provider: SdkTracerProvider,
}

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A record is handed to the brokers.
    Send,
    /// A record is read, and what comes of it is committed.
    Process,
}

/// A span that has begun. One that is dropped ends, too.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Spans {
    /// Sends spans where the settings say.
    ///
    /// # Errors
    /// If the exporter cannot be made.
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
            .build()
            .context("telemetry.otlp_endpoint: cannot make an exporter")?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        // A record that comes with a trace has been chosen already.
        let sampler = Sampler::TraceIdRatioBased(settings.trace_sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource)
            .build();
        info!("traces go to {endpoint}");
        Ok(Self(Some(Arc::new(Exported {
            tracer: provider.tracer(service),
            _provider: provider,
        }))))
    }

    /// Whether spans are sent anywhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a trace with the sending of a record, if this one is among the share that is traced.
    #[must_use]
    pub fn begin(&self, topic: &str) -> Option<Span> {
        self.span(Step::Send, topic, &Context::new(), Vec::new())
    }

    /// Goes on with the trace that came with a record from a place; `None` if none did, or it is not to be followed.
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
        let place = vec![
            KeyValue::new("messaging.destination.partition.id", partition.to_string()),
            KeyValue::new("messaging.kafka.offset", offset),
        ];
        self.span(Step::Process, topic, &parent, place)
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

/// The trace that a header names; `None` if it names none, or one that nobody follows.
fn context_of(traceparent: &[u8]) -> Option<Context> {
    let value = std::str::from_utf8(traceparent).ok()?.to_owned();
    let carrier = HashMap::from([(TRACEPARENT_HEADER.to_owned(), value)]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let is_followed = {
        let span = context.span();
        span.span_context().is_valid() && span.span_context().is_sampled()
    };
    is_followed.then_some(context)
}

impl Span {
    /// The header's value that takes the trace on from here.
    #[must_use]
    pub fn traceparent(&self) -> String {
        traceparent(self.0.span_context())
    }

    /// Says more about it.
    pub fn note(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.set_attribute(KeyValue::new(name, value.into()));
    }

    /// It has come to nothing: why.
    pub fn fail(mut self, reason: &str) {
        self.0.set_status(Status::error(reason.to_owned()));
        self.0.end();
    }

    /// It has come to its end.
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

    fn spans(share: f64) -> (Spans, InMemorySpanExporter) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                share,
            ))))
            .build();
        let exported = Exported {
            tracer: provider.tracer("test"),
            _provider: provider,
        };
        (Spans(Some(Arc::new(exported))), exporter)
    }

    #[test]
    fn a_trace_is_taken_along_by_the_header() {
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
    fn what_is_not_traced_is_left_alone() {
        let (spans, _) = spans(0.0);
        assert!(spans.begin("input").is_none());
        assert!(spans.follow(None, "input", 0, 0).is_none());
        let unsampled = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        for header in [&b"garbage"[..], b"\xff", unsampled] {
            assert!(spans.follow(Some(header), "input", 0, 0).is_none());
        }
        // One that was chosen is followed, whatever the share.
        let chosen = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(spans.follow(Some(chosen), "input", 0, 0).is_some());
        assert!(Spans::default().begin("input").is_none());
    }
}
