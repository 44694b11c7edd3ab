use std::borrow::Cow;

use http::request;
use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Link, SpanBuilder, SpanKind, SpanRef, Status, TraceContextExt},
};

use crate::{
    classify::{Side, http_status_text},
    event::{CloudEvent, Outcome},
    observe::{Call, End, Observer, Recording, ResponseHead},
    propagation::creation_context,
    semconv,
    spans::SpanSource,
};

/// The longest attribute that becomes one of the span's, in bytes.
const MAX_TEXT: usize = 1024;
/// The longest topic in a span's name, in bytes.
const MAX_TOPIC: usize = 256;

/// Records the processing of each event as a span. See the [module docs](crate::cloudevent#the-span).
#[derive(Debug, Clone)]
pub struct Process {
    spans: SpanSource,
}

/// In the extensions of a request whose event has its span already: there may be two layers.
#[derive(Debug, Clone, Copy)]
struct InProcess;

impl Process {
    pub(super) const fn new(spans: SpanSource) -> Self {
        Self { spans }
    }
}

impl Observer for Process {
    type Recording = ProcessRecording;

    fn side(&self) -> Side {
        Side::Server
    }

    fn wants(&self, request: &request::Parts) -> bool {
        request.extensions.get::<CloudEvent>().is_some()
            && request.extensions.get::<InProcess>().is_none()
            && self.spans.get().is_some()
            && !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<ProcessRecording> {
        let start = self.spans.get()?;
        let event = call.request.extensions.get::<CloudEvent>()?;
        let context = start(builder(event), &Context::current());
        if context.span().is_recording() {
            describe(event, &context.span());
        }
        call.request.extensions.insert(InProcess);
        Some(ProcessRecording { context, outcome: None })
    }
}

/// The span as the sampler sees it.
fn builder(event: &CloudEvent) -> SpanBuilder {
    let name = match event.topic() {
        Some(topic) => Cow::Owned(format!("process {}", semconv::capped(topic, MAX_TOPIC))),
        None => Cow::Borrowed("process"),
    };
    let mut attributes = Vec::with_capacity(12);
    attributes.push(KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_DAPR));
    attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION, "process"));
    attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION_TYPE, "process"));
    attributes.push(KeyValue::new(semconv::DAPR_BLOCK, "pubsub"));
    let mut builder = SpanBuilder::from_name(name);
    builder.span_kind = Some(SpanKind::Consumer);
    builder.attributes = Some(attributes);
    builder.links = creation_context(event.trace_parent(), event.trace_id(), event.trace_state())
        .map(|created| vec![Link::with_context(created)]);
    builder
}

fn describe(event: &CloudEvent, span: &SpanRef<'_>) {
    for (key, text) in [
        (semconv::MESSAGING_DESTINATION, event.topic()),
        (semconv::DAPR_COMPONENT, event.pubsub_name()),
        (semconv::MESSAGING_MESSAGE_ID, event.id()),
        (semconv::CLOUDEVENTS_ID, event.id()),
        (semconv::CLOUDEVENTS_SOURCE, Some(event.source())),
        (semconv::CLOUDEVENTS_SPEC_VERSION, Some(event.spec_version())),
        (semconv::CLOUDEVENTS_TYPE, Some(event.ty())),
        (semconv::CLOUDEVENTS_SUBJECT, event.subject()),
    ] {
        if let Some(text) = text {
            span.set_attribute(KeyValue::new(key, semconv::capped(text, MAX_TEXT).to_owned()));
        }
    }
}

/// The span of one event, from its start to its end.
#[derive(Debug)]
pub struct ProcessRecording {
    context: Context,
    outcome: Option<Outcome>,
}

impl ProcessRecording {
    fn error_type(&self, end: &End<'_>) -> Option<&'static str> {
        match self.outcome {
            Some(outcome @ (Outcome::Retry | Outcome::Drop)) => Some(outcome.as_str()),
            _ => {
                let refused = end.outcome.http_status().filter(|status| !status.is_success());
                refused.map(http_status_text).or_else(|| end.outcome.error_type())
            }
        }
    }
}

impl Recording for ProcessRecording {
    type Scope = ContextGuard;

    fn enter(&self) -> ContextGuard {
        self.context.clone().attach()
    }

    fn head(&mut self, head: &ResponseHead<'_>) {
        self.outcome = head.extensions.get().copied();
    }

    fn end(self, end: &End<'_>) {
        let span = self.context.span();
        if let Some(error_type) = self.error_type(end).filter(|_| span.is_recording()) {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error_type));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
