use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use opentelemetry::Context;

use super::*;
use crate::propagation::InvalidTraceParent::*;
use crate::propagation::{TraceParent, creation_context, extract_grpc};

fn binary() -> Vec<u8> {
    [&[0, 0][..], &[0x11; 16], &[1], &[0x22; 8], &[2, 1]].concat()
}

fn parent_of(lines: &[(&str, &str)]) -> Option<String> {
    let cx = extract_grpc(&headers(lines), &Context::new());
    TraceParent::try_from(&span_of(&cx)).ok().map(|parent| parent.to_string())
}

#[test]
fn reads_the_binary_form() {
    assert_eq!(TraceParent::parse_grpc_trace_bin(&binary()).unwrap().to_string(), CALLER);
    assert_eq!(BASE64_STANDARD.encode(binary()), BINARY);
    assert_eq!(parent_of(&[("grpc-trace-bin", BINARY)]).as_deref(), Some(CALLER));
    let example = b"AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE=";
    let parent = TraceParent::parse_grpc_trace_bin_header(example).unwrap();
    assert_eq!(parent.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
}

#[test]
fn reads_base64_with_and_without_padding() {
    for encoded in [BASE64_STANDARD.encode(binary()), BASE64_STANDARD_NO_PAD.encode(binary())] {
        assert_eq!(parent_of(&[("grpc-trace-bin", &encoded)]).as_deref(), Some(CALLER), "{encoded}");
    }
}

#[test]
fn the_flags_are_optional_and_unknown_fields_end_the_reading() {
    let unsampled = CALLER.replace("-01", "-00");
    let read = |bytes: &[u8]| TraceParent::parse_grpc_trace_bin(bytes).map(|parent| parent.to_string());
    assert_eq!(read(&binary()[..27]), Ok(unsampled.clone()));
    assert_eq!(read(&binary()[..28]), Ok(unsampled.clone()));
    assert_eq!(read(&[&binary()[..], &[3, 1, 2, 3]].concat()), Ok(CALLER.to_owned()));
    assert_eq!(read(&[&binary()[..27], &[7, 1]].concat()), Ok(unsampled));
    assert_eq!(read(&[&binary()[..28], &[0xff]].concat()), Ok(CALLER.replace("-01", "-03")));
}

#[test]
fn refuses_what_is_not_the_binary_form() {
    let read = TraceParent::parse_grpc_trace_bin;
    let with = |index: usize, byte: u8| {
        let mut bytes = binary();
        bytes[index] = byte;
        bytes
    };
    assert_eq!(read(&with(0, 1)), Err(Version));
    assert_eq!(read(&with(1, 1)), Err(TraceId));
    assert_eq!(read(&binary()[..17]), Err(Length));
    assert_eq!(read(&[0]), Err(Length));
    assert_eq!(read(&with(18, 2)), Err(ZeroParentId), "the span id is missing");
    assert_eq!(read(&binary()[..26]), Err(ZeroParentId), "the span id is cut off");
    assert_eq!(read(&[&[0, 0][..], &[0; 16], &[1], &[0x22; 8], &[2, 1]].concat()), Err(ZeroTraceId));
    assert_eq!(TraceParent::parse_grpc_trace_bin_header(b"AA%A"), Err(Base64));
    assert_eq!(TraceParent::parse_grpc_trace_bin_header(&[b'A'; 129]), Err(Length));
    assert_eq!(TraceParent::parse_grpc_trace_bin_header(&vec![b'A'; 1 << 20]), Err(Length));
}

#[test]
fn empty_and_all_zero_are_absent() {
    let zeros = [&[0, 0][..], &[0; 16], &[1], &[0; 8], &[2, 0]].concat();
    assert_eq!(TraceParent::parse_grpc_trace_bin(&[]), Err(Absent));
    assert_eq!(TraceParent::parse_grpc_trace_bin(&zeros), Err(Absent));
    assert_eq!(TraceParent::parse_grpc_trace_bin_header(b" "), Err(Absent));
    assert_eq!(parent_of(&[("traceparent", ZERO), ("grpc-trace-bin", &BASE64_STANDARD.encode(&zeros))]), None);
    assert_eq!(parent_of(&[("traceparent", ZERO), ("traceparent", CALLER)]).as_deref(), Some(CALLER));
}

#[test]
fn the_last_of_several_trace_parents_of_one_trace_wins() {
    let daprd = CALLER.replace("2222222222222222", "3333333333333333");
    assert_eq!(parent_of(&[("traceparent", CALLER), ("traceparent", &daprd)]), Some(daprd));
}

#[test]
fn trace_parents_that_disagree_or_are_broken_are_none() {
    assert_eq!(parent_of(&[("traceparent", CALLER), ("traceparent", OTHER_TRACE)]), None);
    assert_eq!(parent_of(&[("traceparent", "00-broken"), ("traceparent", CALLER)]), None);
    assert_eq!(parent_of(&[("traceparent", CALLER), ("traceparent", "00-broken")]), None);
}

#[test]
fn the_binary_form_is_read_when_the_trace_parent_gives_nothing() {
    let binary = BASE64_STANDARD.encode(binary());
    for traceparent in [ZERO, "", "00-broken"] {
        let parent = parent_of(&[("traceparent", traceparent), ("grpc-trace-bin", &binary)]);
        assert_eq!(parent.as_deref(), Some(CALLER), "{traceparent:?}");
    }
    assert_eq!(
        parent_of(&[("traceparent", OTHER_TRACE), ("grpc-trace-bin", &binary)]).as_deref(),
        Some(OTHER_TRACE),
        "the trace parent goes first"
    );
}

#[test]
fn several_binary_values_have_to_agree() {
    let one = BASE64_STANDARD.encode(binary());
    let other = BASE64_STANDARD.encode([&[0, 0][..], &[0x99; 16], &[1], &[0x22; 8]].concat());
    assert_eq!(parent_of(&[("grpc-trace-bin", &format!("{one},{one}"))]).as_deref(), Some(CALLER));
    assert_eq!(parent_of(&[("grpc-trace-bin", &one), ("grpc-trace-bin", &other)]), None);
    assert_eq!(parent_of(&[("grpc-trace-bin", &format!("{one},{other}"))]), None);
}

#[test]
fn the_trace_state_goes_with_the_trace_parent_only() {
    let state =
        |lines: &[(&str, &str)]| span_of(&extract_grpc(&headers(lines), &Context::new())).trace_state().header();
    assert_eq!(state(&[("traceparent", CALLER), ("tracestate", "foo=1"), ("tracestate", "bar=2")]), "foo=1,bar=2");
    assert_eq!(state(&[("grpc-trace-bin", BINARY), ("tracestate", "foo=1")]), "");
}

#[test]
fn the_binary_form_is_not_read_over_http() {
    assert!(!span_of(&extract_http(&headers(&[("grpc-trace-bin", BINARY)]), &Context::new())).is_valid());
}

#[test]
fn an_event_is_linked_to_its_trace_parent() {
    let link = |traceparent: Option<&str>, traceid: Option<&str>| {
        creation_context(traceparent, traceid, None).map(|span| TraceParent::try_from(&span).unwrap().to_string())
    };
    let caller = Some(CALLER.to_owned());
    assert_eq!(link(Some(CALLER), Some(CALLER)), caller);
    assert_eq!(link(Some(CALLER), None), caller);
    assert_eq!(link(Some(CALLER), Some(OTHER_TRACE)), caller, "they disagree");
    assert_eq!(link(None, Some(CALLER)), caller);
    let mebibyte = "x".repeat(1 << 20);
    for nothing in [ZERO, "", "00-broken", "\u{1F980}", &mebibyte] {
        assert_eq!(link(Some(nothing), Some(CALLER)), caller);
        assert_eq!(link(Some(nothing), Some(nothing)), None);
    }
    assert_eq!(link(None, None), None);
}

#[test]
fn a_bare_trace_id_is_no_creation_context() {
    assert_eq!(creation_context(None, Some(TRACE_ID), Some("foo=1")), None);
    assert_eq!(creation_context(Some(""), Some(TRACE_ID), None), None);
}

#[test]
fn an_event_brings_its_trace_state() {
    let state = |tracestate| creation_context(Some(CALLER), None, Some(tracestate)).unwrap().trace_state().header();
    assert_eq!(state("foo=1 , bar=2"), "foo=1,bar=2");
    for nothing in ["", "broken", "a@b@c=1"] {
        assert_eq!(state(nothing), "");
    }
}
