//! The rules of W3C Trace Context (Level 2) and W3C Baggage one by one, after the groups of W3C's own test suite; then
//! what this crate adds for daprd.

mod baggage;
mod grpc;
mod inject;
mod propagator;
mod properties;
mod trace_parent;
mod trace_state;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt};

use super::{TRACEPARENT, TRACESTATE, extract_http, inject};

const TRACE_ID: &str = "11111111111111111111111111111111";
const CALLER: &str = "00-11111111111111111111111111111111-2222222222222222-01";
/// The same as `CALLER`, as `grpc-trace-bin`.
const BINARY: &str = "AAARERERERERERERERERERERASIiIiIiIiIiAgE=";
const OTHER_TRACE: &str = "00-99999999999999999999999999999999-2222222222222222-01";
const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn span_of(cx: &Context) -> SpanContext {
    cx.span().span_context().clone()
}

/// A span of ours in the caller's trace, as a tracer makes it that knows of one flag only.
fn child_of(cx: &Context) -> Context {
    let parent = span_of(cx);
    let span = SpanContext::new(
        parent.trace_id(),
        SpanId::from(0x5555_5555_5555_5555),
        opentelemetry::TraceFlags::default().with_sampled(parent.is_sampled()),
        false,
        parent.trace_state().clone(),
    );
    cx.with_remote_span_context(span)
}

/// What a service that received `lines` sends on. Empty if they hold no context.
fn forward(lines: &[(&str, &str)]) -> HeaderMap {
    let cx = extract_http(&headers(lines), &Context::new());
    let mut outgoing = HeaderMap::new();
    inject(&child_of(&cx), &mut outgoing);
    outgoing
}

fn forwarded_state(values: &[&str]) -> Option<String> {
    let mut lines = vec![("traceparent", CALLER)];
    lines.extend(values.iter().map(|value| ("tracestate", *value)));
    let outgoing = forward(&lines);
    assert!(outgoing[TRACEPARENT].to_str().unwrap().contains(TRACE_ID), "tracestate must not affect the trace");
    assert!(outgoing.get_all(TRACESTATE).iter().count() < 2);
    outgoing.get(TRACESTATE).map(|value| value.to_str().unwrap().to_owned())
}
