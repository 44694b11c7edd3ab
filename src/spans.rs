//! Where the spans of layers come from.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue, global,
    trace::{
        Span, SpanBuilder, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
        TracerProvider,
    },
};

use crate::semconv;

/// Starts a span and puts it into a copy of its parent's context. Erased here, so that no layer needs a type parameter for
/// the tracer and a span is boxed only where the API does it anyway.
type Start = dyn Fn(SpanBuilder, &Context) -> Context + Send + Sync;

/// The same, for a span that has more to say if it is recorded. What it says goes to the span before it is in a context,
/// where each word takes a lock. Also gives whether it is recorded.
type StartDescribed = dyn Fn(SpanBuilder, &Context, Describe<'_>) -> (Context, bool) + Send + Sync;

/// Hands over the attributes of a recorded span one by one.
type Describe<'a> = &'a mut dyn FnMut(&mut dyn FnMut(KeyValue));

/// Where a layer's spans come from: a given provider, or the global one.
///
/// The global provider is looked up when the first call is made, once: telemetry may be installed after the service was
/// built, but not after it was used.
#[derive(Clone)]
pub(crate) struct SpanSource {
    /// `None` inside: nothing listens.
    start: Arc<OnceLock<Option<Starter>>>,
}

struct Starter {
    plain: Box<Start>,
    described: Box<StartDescribed>,
}

impl SpanSource {
    pub(crate) fn global() -> Self {
        Self { start: Arc::new(OnceLock::new()) }
    }

    pub(crate) fn of<P>(provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        Self::of_scope(provider, semconv::scope())
    }

    /// Spans of another scope than the layers'.
    pub(crate) fn of_scope<P>(provider: &P, scope: InstrumentationScope) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        Self { start: Arc::new(OnceLock::from(starter(provider, scope))) }
    }

    /// `None` if nothing listens: there is no provider, or it is OpenTelemetry's no-op one.
    pub(crate) fn get(&self) -> Option<&Start> {
        self.starter().map(|starter| &*starter.plain)
    }

    /// `None` if nothing listens, as [`get`](Self::get).
    pub(crate) fn get_described(&self) -> Option<&StartDescribed> {
        self.starter().map(|starter| &*starter.described)
    }

    fn starter(&self) -> Option<&Starter> {
        self.start.get_or_init(|| starter(&global::tracer_provider(), semconv::scope())).as_ref()
    }
}

fn starter<P>(provider: &P, scope: InstrumentationScope) -> Option<Starter>
where
    P: TracerProvider,
    P::Tracer: Send + Sync + 'static,
    <P::Tracer as Tracer>::Span: Send + Sync + 'static,
{
    let tracer = provider.tracer_with_scope(scope);
    if is_noop(&tracer) {
        return None;
    }
    let described = Arc::new(move |builder: SpanBuilder, parent: &Context, describe: Describe<'_>| {
        let mut span = tracer.build_with_context(builder, parent);
        if span.is_recording() {
            describe(&mut |attribute| span.set_attribute(attribute));
            (parent.with_span(span), true)
        } else {
            // All there is to it: its context, not marked as remote. A span in a context costs a box and a lock more.
            (parent.with_remote_span_context(span.span_context().clone()), false)
        }
    });
    let plain = described.clone();
    Some(Starter {
        plain: Box::new(move |builder, parent| plain(builder, parent, &mut |_| {}).0),
        described: Box::new(move |builder, parent, describe| described(builder, parent, describe)),
    })
}

/// The API has no question for this, but an answer: asked for a span in a suppressed context, the no-op tracer hands back
/// its parent's context, and a real one hands back none. Nothing is recorded or exported by asking.
fn is_noop<T: Tracer>(tracer: &T) -> bool {
    let parent = SpanContext::new(
        TraceId::from_bytes([1; 16]),
        SpanId::from_bytes([1; 8]),
        TraceFlags::NOT_SAMPLED,
        true,
        TraceState::NONE,
    );
    let suppressed = Context::new().with_remote_span_context(parent.clone()).with_telemetry_suppressed();
    *tracer.build_with_context(tracer.span_builder("probe"), &suppressed).span_context() == parent
}

impl fmt::Debug for SpanSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.start.get() {
            None => "not looked up yet",
            Some(None) => "off",
            Some(Some(_)) => "on",
        };
        f.debug_tuple("SpanSource").field(&state).finish()
    }
}
