use std::borrow::Cow;

use http::request;
use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Link, SpanBuilder, SpanKind, SpanRef, Status, TraceContextExt},
};

use super::{subject::Subject, verdict::Verdict};
use crate::{
    classify::Side,
    event::CloudEvent,
    observe::{Call, End, Observer, Recording, ResponseHead},
    semconv,
    spans::SpanSource,
};

/// The longest attribute that becomes one of the span's, in bytes.
const MAX_TEXT: usize = 1024;
/// The longest topic in a span's name, in bytes.
const MAX_TOPIC: usize = 256;

/// Records the processing of each delivery as a span. See the [module docs](crate::cloudevent#the-span).
#[derive(Debug, Clone)]
pub struct Process {
    spans: SpanSource,
}

/// In the extensions of a request whose event has its span already: there may be two layers.
#[derive(Debug, Clone, Copy)]
struct InProcess;

impl Process {
    pub(crate) const fn new(spans: SpanSource) -> Self {
        Self { spans }
    }
}

impl Observer for Process {
    type Recording = ProcessRecording;

    fn side(&self) -> Side {
        Side::Server
    }

    fn wants(&self, request: &request::Parts) -> bool {
        Subject::of(&request.extensions).is_some()
            && request.extensions.get::<InProcess>().is_none()
            && self.spans.get().is_some()
            && !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<ProcessRecording> {
        let context = self.start(Subject::of(&call.request.extensions)?)?;
        call.request.extensions.insert(InProcess);
        Some(ProcessRecording { context, verdict: Verdict::default() })
    }
}

impl Process {
    /// Starts the span, in a copy of the current context. `None` if nothing listens.
    pub(crate) fn start(&self, subject: Subject<'_>) -> Option<Context> {
        let start = self.spans.get()?;
        let context = start(builder(subject), &Context::current());
        if context.span().is_recording() {
            describe(subject, &context.span());
        }
        Some(context)
    }
}

/// The span as the sampler sees it.
fn builder(subject: Subject<'_>) -> SpanBuilder {
    let name = match subject.common(CloudEvent::topic) {
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
    let links: Vec<_> = subject.creation_contexts().into_iter().map(Link::with_context).collect();
    builder.links = (!links.is_empty()).then_some(links);
    builder
}

fn describe(subject: Subject<'_>, span: &SpanRef<'_>) {
    let text = |key: &'static str, text: Option<&str>| {
        if let Some(text) = text {
            span.set_attribute(KeyValue::new(key, semconv::capped(text, MAX_TEXT).to_owned()));
        }
    };
    text(semconv::MESSAGING_DESTINATION, subject.common(CloudEvent::topic));
    text(semconv::DAPR_COMPONENT, subject.common(CloudEvent::pubsub_name));
    match subject {
        Subject::One(event) => {
            text(semconv::MESSAGING_MESSAGE_ID, event.id());
            text(semconv::CLOUDEVENTS_ID, event.id());
            text(semconv::CLOUDEVENTS_SOURCE, Some(event.source()));
            text(semconv::CLOUDEVENTS_SPEC_VERSION, Some(event.spec_version()));
            text(semconv::CLOUDEVENTS_TYPE, Some(event.ty()));
            text(semconv::CLOUDEVENTS_SUBJECT, event.subject());
        }
        Subject::Many(batch) => {
            let count = i64::try_from(batch.entries().len()).unwrap_or(i64::MAX);
            span.set_attribute(KeyValue::new(semconv::MESSAGING_MESSAGE_COUNT, count));
        }
    }
}

/// The span of one event, from its start to its end.
#[derive(Debug)]
pub struct ProcessRecording {
    context: Context,
    verdict: Verdict,
}

impl Recording for ProcessRecording {
    type Scope = ContextGuard;

    fn enter(&self) -> ContextGuard {
        self.context.clone().attach()
    }

    fn head(&mut self, head: &ResponseHead<'_>) {
        self.verdict = Verdict::of(head);
    }

    fn end(self, end: &End<'_>) {
        end_span(&self.context, self.verdict.error_type(end));
    }
}

/// Ends the span of a context.
pub(crate) fn end_span(context: &Context, error_type: Option<&'static str>) {
    let span = context.span();
    if let Some(error_type) = error_type.filter(|_| span.is_recording()) {
        span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error_type));
        span.set_status(Status::error(""));
    }
    span.end();
}
