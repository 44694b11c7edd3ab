use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue, Value,
    trace::{Event, Link, SpanId, SpanKind, Status, TraceId},
};
use opentelemetry_sdk::trace::SpanData;

/// A finished span and the service it belongs to.
///
/// ```
/// use opentelemetry::KeyValue;
/// use opentelemetry::trace::{Span, Tracer, TracerProvider};
/// use tower_dapr::testing::SpanRecorder;
///
/// let recorder = SpanRecorder::new();
/// let mut span = recorder.provider("order").tracer("my app").start("work");
/// span.set_attribute(KeyValue::new("dapr.component.name", "statestore"));
/// span.end();
///
/// let span = &recorder.spans()[0];
/// assert_eq!((span.service(), span.name()), ("order", "work"));
/// assert_eq!(span.attribute_str("dapr.component.name"), Some("statestore"));
/// assert_eq!(span.parent_span_id(), None);
/// ```
#[derive(Clone, Debug)]
pub struct RecordedSpan {
    service: Arc<str>,
    data: SpanData,
}

// ===== impl RecordedSpan =====

impl RecordedSpan {
    pub(super) fn new(service: Arc<str>, data: SpanData) -> Self {
        Self { service, data }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.data.name
    }

    /// The kind.
    pub fn kind(&self) -> &SpanKind {
        &self.data.span_kind
    }

    /// The name of the service that recorded it.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The trace it belongs to.
    pub fn trace_id(&self) -> TraceId {
        self.data.span_context.trace_id()
    }

    /// Its own id.
    pub fn span_id(&self) -> SpanId {
        self.data.span_context.span_id()
    }

    /// Its parent's id; `None` for a root.
    pub fn parent_span_id(&self) -> Option<SpanId> {
        Some(self.data.parent_span_id).filter(|id| *id != SpanId::INVALID)
    }

    /// Did the parent come from another process, in a header or message?
    pub fn is_parent_remote(&self) -> bool {
        self.data.parent_span_is_remote
    }

    /// The links, in the order in which they were added.
    pub fn links(&self) -> &[Link] {
        &self.data.links
    }

    /// The events, in the order in which they were added.
    pub fn events(&self) -> &[Event] {
        &self.data.events
    }

    /// The status.
    pub fn status(&self) -> &Status {
        &self.data.status
    }

    /// Is the status an error?
    pub fn is_error(&self) -> bool {
        matches!(self.data.status, Status::Error { .. })
    }

    /// All attributes, in the order in which they were set.
    pub fn attributes(&self) -> &[KeyValue] {
        &self.data.attributes
    }

    /// An attribute's value; the last one if it was set more than once.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        find(&self.data.attributes, key)
    }

    /// An attribute's value if it is a string.
    pub fn attribute_str(&self, key: &str) -> Option<&str> {
        match self.attribute(key) {
            Some(Value::String(value)) => Some(value.as_str()),
            _ => None,
        }
    }

    /// When it started.
    pub fn start(&self) -> SystemTime {
        self.data.start_time
    }

    /// When it ended.
    pub fn end(&self) -> SystemTime {
        self.data.end_time
    }

    /// How long it took; zero if the clock was set back meanwhile.
    pub fn duration(&self) -> Duration {
        self.end().duration_since(self.start()).unwrap_or_default()
    }

    /// Everything that the SDK exported.
    pub fn data(&self) -> &SpanData {
        &self.data
    }
}

/// The last value of `key`.
pub(super) fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().rfind(|attribute| attribute.key.as_str() == key).map(|attribute| &attribute.value)
}
