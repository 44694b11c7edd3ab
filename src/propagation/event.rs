use opentelemetry::trace::SpanContext;

use super::trace_parent::TraceParent;
use super::trace_state::TraceState;

/// The span that created an event, from the trace members of its CloudEvents envelope.
///
/// It is what the span that processes the event should *link* to; its parent is the span in the headers of the
/// delivery.
///
/// daprd writes the same `traceparent` into the members `traceparent` and `traceid`, or empty strings without tracing.
/// Here `traceparent` is taken, else `traceid`, but only if that is a whole `traceparent`: other publishers put a bare
/// trace id there. Empty, all-zero and broken values mean `None`. A broken `tracestate`, or one that OpenTelemetry's
/// type refuses, is left out.
///
/// ```
/// use tower_dapr::propagation::creation_context;
///
/// let publisher = "00-11111111111111111111111111111111-2222222222222222-01";
/// let span = creation_context(Some(""), Some(publisher), Some("vendor=1")).expect("`traceid` is a traceparent");
/// assert_eq!(span.span_id().to_string(), "2222222222222222");
/// assert_eq!(span.trace_state().get("vendor"), Some("1"));
///
/// assert!(creation_context(None, Some("11111111111111111111111111111111"), None).is_none());
/// ```
pub fn creation_context(
    traceparent: Option<&str>,
    traceid: Option<&str>,
    tracestate: Option<&str>,
) -> Option<SpanContext> {
    let parse = |member: Option<&str>| TraceParent::parse(member?.as_bytes()).ok();
    let parent = parse(traceparent).or_else(|| parse(traceid))?;
    let state =
        tracestate.and_then(|state| TraceState::parse([state.as_bytes()]).ok()).and_then(|state| state.to_otel());
    Some(parent.into_remote(state.unwrap_or_default()))
}
