//! A finished span with its attributes. Knows nothing of requests and of export.

use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue, SpanId, TraceId, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::SystemTime;
use tidegate_http::trace_context::TraceParent;

/// The instrumentation scope of all spans.
static INSTRUMENTATION_SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("tidegate").with_version(env!("CARGO_PKG_VERSION")).build()
});

/// A finished span.
#[derive(Debug)]
pub struct Span(SpanData);

impl Span {
    /// A span that was at this place from then until now.
    pub fn new(position: TraceParent, kind: SpanKind, name: String, began: SystemTime) -> Self {
        let flags = TraceFlags::new(u8::from(position.is_sampled));
        let state = TraceState::default();
        Self(SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(position.trace_id),
                SpanId::from_bytes(position.span_id),
                flags,
                false,
                state,
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: kind,
            name: Cow::Owned(name),
            start_time: began,
            // A clock that was set back must not make it end before it began.
            end_time: SystemTime::now().max(began),
            attributes: Vec::with_capacity(20),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: INSTRUMENTATION_SCOPE.clone(),
        })
    }

    /// Sets the parent span; `is_remote` if another process created it.
    pub fn set_parent(&mut self, parent: [u8; 8], is_remote: bool) {
        self.0.parent_span_id = SpanId::from_bytes(parent);
        self.0.parent_span_is_remote = is_remote;
    }

    /// Sets `tracestate`, as received.
    pub fn set_state(&mut self, state: &str) {
        let Ok(state) = state.parse::<TraceState>() else { return };
        let context = &self.0.span_context;
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        self.0.span_context =
            SpanContext::new(trace_id, span_id, context.trace_flags(), false, state);
    }

    /// Says something of it.
    pub fn set_attribute(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.0.attributes.push(KeyValue::new(key, value));
    }

    /// Sets an attribute of the span if it has a value.
    pub fn set_if_present(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set_attribute(key, value);
        }
    }

    /// Something happened in it.
    pub fn add(&mut self, event: &'static str, at: SystemTime, attributes: Vec<KeyValue>) {
        self.0.events.events.push(Event::new(event, at, attributes, 0));
    }

    /// It ended badly.
    pub fn fail(&mut self, why: &str) {
        self.0.status = Status::error(why.to_owned());
    }
}

impl From<Span> for SpanData {
    fn from(span: Span) -> Self {
        span.0
    }
}
