use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceId, TraceState as OtelTraceState};

use super::baggage;
use super::trace_parent::{InvalidTraceParent, TraceParent};
use super::trace_state::{self, TraceState};

/// `traceparent`: trace, span and flags of the caller.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`: what vendors add to the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `baggage`: the application's own names and values.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// `grpc-trace-bin`: trace, span and flags in OpenCensus' binary form.
pub const GRPC_TRACE_BIN: HeaderName = HeaderName::from_static("grpc-trace-bin");

/// What came with a remote span and would be lost on the way through OpenTelemetry's types.
#[derive(Debug)]
struct Kept {
    trace_id: TraceId,
    random: bool,
    trace_state: Option<TraceState>,
}

/// Adds the caller's span and baggage to a context, from the headers of an HTTP request.
///
/// See the [module docs](crate::propagation) for what is read. A request with two `traceparent` headers has none. What
/// the headers do not say stays as it is in `cx`: a server passes `&Context::new()`.
pub fn extract_http(headers: &HeaderMap, cx: &Context) -> Context {
    let mut values = values(headers, TRACEPARENT);
    let parent = match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::parse(value).ok(),
        _ => None,
    };
    let cx = match parent {
        Some(parent) => continue_trace(headers, cx, parent),
        None => cx.clone(),
    };
    extract_baggage(headers, cx)
}

/// Adds the caller's span and baggage to a context, from the metadata of a gRPC call.
///
/// See the [module docs](crate::propagation) for what is read. Several values of `traceparent` are our deviation from
/// W3C: when daprd proxies a call it appends its own to the caller's.
pub fn extract_grpc(headers: &HeaderMap, cx: &Context) -> Context {
    let cx = if let Some(parent) = last_of_one_trace(values(headers, TRACEPARENT).map(TraceParent::parse)) {
        continue_trace(headers, cx, parent)
    } else {
        // gRPC allows to join several binary values with commas.
        let binary = values(headers, GRPC_TRACE_BIN).flat_map(|value| value.split(|&byte| byte == b','));
        match last_of_one_trace(binary.map(TraceParent::parse_grpc_trace_bin_header)) {
            Some(parent) => with_remote(cx, parent, OtelTraceState::NONE, None),
            None => cx.clone(),
        }
    };
    extract_baggage(headers, cx)
}

/// Writes the span and the baggage of a context into the headers of a request, HTTP or gRPC.
///
/// See the [module docs](crate::propagation) for what is replaced, removed and left alone. Call it again for each
/// attempt: the result is the same as on fresh headers.
pub fn inject(cx: &Context, headers: &mut HeaderMap) {
    let span = cx.span();
    let span = span.span_context();
    if let Ok(mut parent) = TraceParent::try_from(span) {
        let kept = cx.get::<Kept>().filter(|kept| kept.trace_id == parent.trace_id());
        if kept.is_some_and(|kept| kept.random) {
            parent = parent.with_random();
        }
        let mut value = parent.to_header_value();
        // Not a secret, but not worth a place in HPACK's table: the module docs say why.
        value.set_sensitive(true);
        replace(headers, TRACEPARENT, Some(value));
        replace(headers, TRACESTATE, trace_state_of(span, kept));
        headers.remove(GRPC_TRACE_BIN);
    }
    match baggage::write(cx.baggage()) {
        Some(header) => replace(headers, BAGGAGE, Some(header)),
        None => drop_broken_baggage(headers),
    }
}

/// Removes a `baggage` header that daprd would refuse the call for; several good ones become one.
pub(super) fn drop_broken_baggage(headers: &mut HeaderMap) {
    if headers.contains_key(BAGGAGE) {
        let header = baggage::join_strict(values(headers, BAGGAGE));
        replace(headers, BAGGAGE, header);
    }
}

/// Leaves exactly one value, or none.
pub(super) fn replace(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        // Fails if the map has tens of thousands of names: then this one cannot be sent.
        Some(value) => drop(headers.try_insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// The last of several parents, if they are of one trace and none is broken. Absent ones do not count.
fn last_of_one_trace(parents: impl Iterator<Item = Result<TraceParent, InvalidTraceParent>>) -> Option<TraceParent> {
    let mut last: Option<TraceParent> = None;
    for parent in parents {
        match parent {
            Ok(parent) if last.is_none_or(|last| last.trace_id() == parent.trace_id()) => last = Some(parent),
            Err(InvalidTraceParent::Absent) => {}
            _ => return None,
        }
    }
    last
}

fn continue_trace(headers: &HeaderMap, cx: &Context, parent: TraceParent) -> Context {
    // The usual case, which needs no list.
    if !headers.contains_key(TRACESTATE) {
        return with_remote(cx, parent, OtelTraceState::NONE, None);
    }
    match TraceState::parse(values(headers, TRACESTATE)) {
        Ok(state) if !state.is_empty() => match state.to_otel() {
            Some(otel) => with_remote(cx, parent, otel, None),
            None => with_remote(cx, parent, OtelTraceState::NONE, Some(state)),
        },
        _ => with_remote(cx, parent, OtelTraceState::NONE, None),
    }
}

fn with_remote(cx: &Context, parent: TraceParent, otel: OtelTraceState, state: Option<TraceState>) -> Context {
    let random = parent.is_random();
    let trace_id = parent.trace_id();
    let remote = cx.with_remote_span_context(parent.into_remote(otel));
    // One from an earlier extraction must not speak for this one.
    if random || state.is_some() || cx.get::<Kept>().is_some() {
        remote.with_value(Kept { trace_id, random, trace_state: state })
    } else {
        remote
    }
}

fn trace_state_of(span: &SpanContext, kept: Option<&Kept>) -> Option<HeaderValue> {
    let kept = kept.and_then(|kept| kept.trace_state.as_ref());
    if *span.trace_state() == OtelTraceState::NONE {
        return kept.and_then(TraceState::to_header_value);
    }
    let list = trace_state::outgoing(span.trace_state(), kept);
    if list.is_empty() { None } else { HeaderValue::try_from(list).ok() }
}

fn extract_baggage(headers: &HeaderMap, cx: Context) -> Context {
    if !headers.contains_key(BAGGAGE) {
        return cx;
    }
    let baggage = baggage::read(values(headers, BAGGAGE));
    if baggage.is_empty() { cx } else { cx.with_baggage(baggage) }
}
