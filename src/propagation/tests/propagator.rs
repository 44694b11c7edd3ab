use http::HeaderMap;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};

use super::*;
use crate::propagation::{BAGGAGE, GRPC_TRACE_BIN, Propagation, creation_context};

fn sdk() -> Propagation {
    Propagation::custom(TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]))
}

fn context() -> Context {
    Context::new()
        .with_remote_span_context(creation_context(Some(CALLER), None, Some("foo=1")).unwrap())
        .with_baggage([KeyValue::new("tenant", "a b")])
}

/// Writes and reads one header of its own, and tells what the carrier shows.
#[derive(Debug)]
struct Custom {
    /// Reads and writes the first only.
    fields: Vec<String>,
    value: String,
}

impl Custom {
    fn new(field: &str, value: impl Into<String>) -> Self {
        Self { fields: vec![field.to_owned(), "x-optional".to_owned()], value: value.into() }
    }
}

#[derive(Debug, PartialEq)]
struct Seen(Vec<String>, Vec<String>, Option<String>);

impl TextMapPropagator for Custom {
    fn inject_context(&self, _: &Context, injector: &mut dyn Injector) {
        injector.reserve(1);
        injector.set(&self.fields[0], self.value.clone());
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
        cx.with_value(Seen(
            owned(extractor.keys()),
            owned(extractor.get_all(&self.fields[0]).unwrap_or_default()),
            extractor.get(&self.fields[0]).map(str::to_owned),
        ))
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

#[test]
fn w3c_is_the_default() {
    assert_eq!(format!("{:?}", Propagation::default()), "Propagation(w3c)");
    let mut headers = HeaderMap::new();
    Propagation::default().inject(&context(), &mut headers);
    assert_eq!(headers[TRACEPARENT], CALLER);
    let twice = super::headers(&[("traceparent", CALLER), ("traceparent", CALLER)]);
    assert!(!span_of(&Propagation::w3c().extract_http(&twice, &Context::new())).is_valid());
    assert!(span_of(&Propagation::w3c().extract_grpc(&twice, &Context::new())).is_valid());
}

#[test]
fn none_neither_reads_nor_writes() {
    let propagation = Propagation::none();
    let given = headers(&[("traceparent", CALLER), ("baggage", "broken")]);
    assert!(!span_of(&propagation.extract_http(&given, &Context::new())).is_valid());
    assert!(!span_of(&propagation.extract_grpc(&given, &Context::new())).is_valid());
    let mut sent = given.clone();
    propagation.inject(&context(), &mut sent);
    assert_eq!(sent, given);
}

#[test]
fn a_custom_propagator_reads_and_writes() {
    let mut headers = HeaderMap::new();
    sdk().inject(&context(), &mut headers);
    assert_eq!(headers[TRACEPARENT], CALLER);
    assert_eq!(headers[TRACESTATE], "foo=1");
    assert_eq!(headers[BAGGAGE], "tenant=a%20b");
    for cx in [sdk().extract_http(&headers, &Context::new()), sdk().extract_grpc(&headers, &Context::new())] {
        assert_eq!(span_of(&cx), span_of(&context()));
        assert_eq!(cx.baggage().len(), 1);
    }
}

#[test]
fn a_custom_propagator_leaves_no_stale_headers() {
    let mut headers = headers(&[
        ("traceparent", OTHER_TRACE),
        ("traceparent", OTHER_TRACE),
        ("tracestate", "stale=1"),
        ("grpc-trace-bin", "x"),
        ("x-other", "kept"),
    ]);
    let cx = Context::new().with_remote_span_context(creation_context(Some(CALLER), None, None).unwrap());
    sdk().inject(&cx, &mut headers);
    assert_eq!(headers.get_all(TRACEPARENT).iter().collect::<Vec<_>>(), [CALLER]);
    assert!(!headers.contains_key(TRACESTATE), "neither the stale one nor the SDK's empty one");
    assert!(!headers.contains_key(GRPC_TRACE_BIN));
    assert!(headers.contains_key("x-other"));

    let mut headers = super::headers(&[("x-trace", "stale"), ("x-optional", "stale")]);
    Propagation::custom(Custom::new("x-trace", "fresh")).inject(&cx, &mut headers);
    assert_eq!(headers, super::headers(&[("x-trace", "fresh")]));
}

#[test]
fn a_custom_propagator_without_baggage_lets_the_callers_pass() {
    let mut headers = headers(&[("baggage", "a=1")]);
    let cx = Context::new().with_remote_span_context(creation_context(Some(CALLER), None, None).unwrap());
    sdk().inject(&cx, &mut headers);
    assert_eq!(headers[BAGGAGE], "a=1");
}

#[test]
fn without_a_valid_span_a_custom_propagator_lets_the_callers_headers_pass() {
    let given = headers(&[("traceparent", CALLER), ("grpc-trace-bin", "x"), ("baggage", "a=1")]);
    let mut sent = given.clone();
    sdk().inject(&Context::new(), &mut sent);
    assert_eq!(sent, given);
}

#[test]
fn baggage_that_daprd_refuses_is_dropped_whoever_wrote_it() {
    for propagation in [sdk(), Propagation::custom(Custom::new("baggage", "bro ken"))] {
        let mut headers = headers(&[("baggage", "bro ken")]);
        propagation.inject(&Context::new(), &mut headers);
        assert!(headers.is_empty(), "{propagation:?}");
    }
}

#[test]
fn a_propagator_of_the_binary_form_keeps_it() {
    let mut headers = headers(&[("grpc-trace-bin", "stale")]);
    Propagation::custom(Custom::new("grpc-trace-bin", "fresh")).inject(&context(), &mut headers);
    assert_eq!(headers.get_all(GRPC_TRACE_BIN).iter().collect::<Vec<_>>(), ["fresh"]);
}

#[test]
fn values_and_names_that_cannot_be_headers_are_dropped() {
    for byte in 0..=u8::MAX {
        let text = char::from(byte);
        let mut headers = headers(&[("x-trace", "stale")]);
        Propagation::custom(Custom::new("x-trace", format!("a{text}b"))).inject(&context(), &mut headers);
        let sent = headers.get("x-trace").map(|value| value.as_bytes().to_vec());
        let expected = matches!(byte, b'\t' | b' '..=b'~').then(|| vec![b'a', byte, b'b']);
        assert_eq!(sent, expected, "{byte:#x}");

        let name = format!("x{text}y");
        let mut headers = HeaderMap::new();
        Propagation::custom(Custom::new(&name, "1")).inject(&context(), &mut headers);
        Propagation::custom(Custom::new(&name, "1")).extract_http(&headers, &Context::new());
    }
    let mut headers = HeaderMap::new();
    Propagation::custom(Custom::new("", "1")).inject(&context(), &mut headers);
    assert!(headers.is_empty());
}

#[test]
fn the_carrier_shows_all_readable_values() {
    let headers = headers(&[("x-trace", "1"), ("X-Trace", "2"), ("x-trace", "\u{e9}"), ("x-other", "3")]);
    let cx = Propagation::custom(Custom::new("X-TRACE", "")).extract_http(&headers, &Context::new());
    let Seen(mut keys, all, first) =
        cx.get::<Seen>().map(|seen| Seen(seen.0.clone(), seen.1.clone(), seen.2.clone())).unwrap();
    keys.sort();
    assert_eq!(keys, ["x-other", "x-trace"]);
    assert_eq!(all, ["1", "2"]);
    assert_eq!(first.as_deref(), Some("1"));
    assert_eq!(sdk().extract_http(&HeaderMap::new(), &Context::new()).baggage().len(), 0);
}

#[test]
fn debug_names_the_kind_and_nothing_else() {
    let custom = Propagation::custom(Custom::new("x-secret", "secret"));
    let shown = [Propagation::w3c(), custom, Propagation::global(), Propagation::none()].map(|p| format!("{p:?}"));
    assert_eq!(shown, ["Propagation(w3c)", "Propagation(custom)", "Propagation(global)", "Propagation(none)"]);
}

#[test]
fn is_cheap_to_share() {
    fn assert_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    assert_shared(&sdk());
}
