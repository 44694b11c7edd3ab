use http::{HeaderMap, HeaderValue};
use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::trace::TraceState as OtelTraceState;
use opentelemetry::{Context, KeyValue};

use super::*;
use crate::propagation::{BAGGAGE, GRPC_TRACE_BIN, creation_context};

fn stale() -> HeaderMap {
    headers(&[
        ("traceparent", OTHER_TRACE),
        ("traceparent", OTHER_TRACE),
        ("tracestate", "stale=1"),
        ("tracestate", "stale=2"),
        ("grpc-trace-bin", BINARY),
        ("baggage", "stale=1"),
        ("baggage", "stale=2"),
        ("x-other", "kept"),
    ])
}

fn count(headers: &HeaderMap, name: &str) -> usize {
    headers.get_all(name).iter().count()
}

#[test]
fn replaces_every_stale_header_also_on_the_third_attempt() {
    let mut headers = stale();
    for attempt in 1..=3_u64 {
        let state = OtelTraceState::from_key_value([("ours", attempt)]).unwrap();
        let caller = creation_context(Some(CALLER), None, None).unwrap();
        let span = SpanContext::new(caller.trace_id(), SpanId::from(attempt), caller.trace_flags(), false, state);
        let cx =
            Context::new().with_remote_span_context(span).with_baggage([KeyValue::new("attempt", attempt.to_string())]);
        inject(&cx, &mut headers);

        for name in ["traceparent", "tracestate", "baggage", "x-other"] {
            assert_eq!(count(&headers, name), 1, "{name}");
        }
        assert_eq!(headers[TRACEPARENT], format!("00-{TRACE_ID}-{attempt:016x}-01"));
        assert_eq!(headers[TRACESTATE], format!("ours={attempt}"));
        assert_eq!(headers[BAGGAGE], format!("attempt={attempt}"));
        assert!(!headers.contains_key(GRPC_TRACE_BIN));
    }
}

#[test]
fn a_stale_trace_state_goes_even_if_there_is_no_new_one() {
    let mut headers = stale();
    inject(&Context::new().with_remote_span_context(creation_context(Some(CALLER), None, None).unwrap()), &mut headers);
    assert!(!headers.contains_key(TRACESTATE));
    assert!(!headers.contains_key(GRPC_TRACE_BIN));
}

#[test]
fn without_a_valid_span_the_callers_trace_headers_pass() {
    let mut headers = stale();
    inject(&Context::new(), &mut headers);
    for name in ["traceparent", "tracestate", "grpc-trace-bin"] {
        assert!(headers.get_all(name).iter().eq(stale().get_all(name).iter()), "{name}");
    }
}

#[test]
fn without_anything_to_say_nothing_is_written() {
    let mut headers = HeaderMap::new();
    inject(&Context::new(), &mut headers);
    assert!(headers.is_empty());
}

#[test]
fn baggage_travels_without_a_span() {
    let mut headers = HeaderMap::new();
    inject(&Context::new().with_baggage([KeyValue::new("tenant", "a b")]), &mut headers);
    assert_eq!(headers[BAGGAGE], "tenant=a%20b");
    assert_eq!(headers.len(), 1);
}

#[test]
fn the_callers_good_baggage_passes_as_one_header() {
    for (given, sent) in [
        (&["a=1,b=2;p=1;q"][..], Some("a=1,b=2;p=1;q")),
        (&["a=1", "b=%C3%A9"], Some("a=1,b=%C3%A9")),
        (&["a=1", ""], None),
        (&[""], None),
    ] {
        let lines: Vec<_> = given.iter().map(|value| ("baggage", *value)).collect();
        let mut headers = headers(&lines);
        inject(&Context::new(), &mut headers);
        let values: Vec<_> = headers.get_all(BAGGAGE).iter().collect();
        assert_eq!(values, sent.into_iter().collect::<Vec<_>>(), "{given:?}");
    }
}

#[test]
fn the_callers_broken_baggage_is_dropped() {
    let full: Vec<_> = (0..65).map(|index| format!("k{index}=v")).collect();
    let long = format!("k={}", "v".repeat(8191));
    for value in [
        "novalue",
        "=1",
        "a b=1",
        "a=b c",
        "a=\"b\"",
        "a=\\",
        "a=1,,b=2",
        "a=1,",
        "a=1;",
        "a=1;p q",
        "a=1;p=\"",
        "a=%",
        "a=%4",
        "a=%zz",
        "a=%ff",
        "a=1;p=%zz",
        "a=1;p=%ff",
        "a=é",
        "a(=1",
        &full.join(","),
        &long,
    ] {
        let mut headers = headers(&[("baggage", value)]);
        inject(&Context::new(), &mut headers);
        assert!(headers.is_empty(), "{value:?}");
    }
    let half = format!("k={}", "v".repeat(4094));
    let mut headers = headers(&[("baggage", &half), ("baggage", &half)]);
    inject(&Context::new(), &mut headers);
    assert!(headers.is_empty(), "8193 bytes with the comma");
}

#[test]
fn every_byte_is_encoded_or_dropped_wherever_it_stands() {
    let texts = (0..=u8::MAX).map(|byte| char::from(byte).to_string()).chain([
        "\r\nx-evil: 1".to_owned(),
        "\u{1F980}".to_owned(),
        "\u{2028}".to_owned(),
    ]);
    for text in texts {
        let mut baggage = Baggage::new();
        baggage.insert("value", text.clone());
        baggage.insert_with_metadata("property", "1", format!("p={text}x"));
        baggage.insert(format!("key{text}"), "1");
        let state = OtelTraceState::from_key_value([("value", format!("a{text}b"))]).unwrap_or_default();
        let span = creation_context(Some(CALLER), None, None).unwrap();
        let span = SpanContext::new(span.trace_id(), span.span_id(), span.trace_flags(), false, state);
        let mut headers = HeaderMap::new();
        inject(&Context::new().with_remote_span_context(span).with_baggage(baggage), &mut headers);

        let visible = |value: &HeaderValue| value.as_bytes().iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        assert!(headers.values().all(visible), "{text:?}: {headers:?}");
        let read = extract_http(&headers, &Context::new());
        assert_eq!(read.baggage().get("value").map(|value| value.as_str()), Some(text.as_str()));
    }
}

#[test]
fn a_context_bound_to_one_trace_is_written_the_same_each_time() {
    let baggage: Vec<_> = (0..20).map(|index| KeyValue::new(format!("k{index}"), "v")).collect();
    let write = || {
        let mut headers = HeaderMap::new();
        inject(&Context::new().with_baggage(baggage.clone()), &mut headers);
        headers[BAGGAGE].clone()
    };
    assert_eq!(write(), write());
}

#[test]
fn the_parent_is_kept_out_of_the_table_of_the_connection() {
    let caller = creation_context(Some(CALLER), None, None).unwrap();
    let mut headers = HeaderMap::new();
    inject(&Context::new().with_remote_span_context(caller), &mut headers);
    assert!(headers[TRACEPARENT].is_sensitive());
    assert_eq!(headers[TRACEPARENT].to_str().unwrap(), CALLER);
}

#[test]
fn a_full_header_map_does_not_panic() {
    let mut headers = HeaderMap::new();
    let mut index = 0;
    while headers.try_insert(HeaderName::try_from(format!("x-{index}")).unwrap(), HeaderValue::from_static("")).is_ok()
    {
        index += 1;
    }
    let cx = Context::new()
        .with_remote_span_context(creation_context(Some(CALLER), None, Some("a=1")).unwrap())
        .with_baggage([KeyValue::new("a", "1")]);
    inject(&cx, &mut headers);
    assert_eq!(headers.len(), index);
}
