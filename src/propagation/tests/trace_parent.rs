use http::HeaderMap;
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::{Context, TraceFlags};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample};

use super::*;
use crate::propagation::InvalidTraceParent::{self, *};
use crate::propagation::TraceParent;

#[track_caller]
fn rejects(value: &str, rule: InvalidTraceParent) {
    assert_eq!(TraceParent::parse(value.as_bytes()), Err(rule), "{value:?}");
    assert!(forward(&[("traceparent", value), ("tracestate", "foo=1")]).is_empty(), "{value:?}");
}

/// Also checks what is forwarded: the trace, our own span, and the flags.
#[track_caller]
fn accepts(value: &str, flags: &str) {
    let parent = TraceParent::parse(value.as_bytes()).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    assert_eq!(parent.trace_id().to_string(), TRACE_ID, "{value:?}");
    assert_eq!(parent.to_string(), format!("00-{TRACE_ID}-{}-{flags}", parent.span_id()), "{value:?}");
    let outgoing = forward(&[("traceparent", value)]);
    assert_eq!(outgoing[TRACEPARENT], format!("00-{TRACE_ID}-5555555555555555-{flags}"), "{value:?}");
}

#[test]
fn no_headers_mean_a_new_trace() {
    assert!(forward(&[]).is_empty());
    assert!(!span_of(&extract_http(&HeaderMap::new(), &Context::new())).is_valid());
}

#[test]
fn a_trace_parent_alone_is_enough() {
    accepts(CALLER, "01");
    assert!(!forward(&[("traceparent", CALLER)]).contains_key(TRACESTATE));
}

#[test]
fn two_trace_parents_mean_a_new_trace() {
    assert!(forward(&[("traceparent", CALLER), ("traceparent", OTHER_TRACE)]).is_empty());
    assert!(forward(&[("traceparent", CALLER), ("traceparent", CALLER)]).is_empty());
    assert!(forward(&[("traceparent", CALLER), ("traceparent", "")]).is_empty());
}

#[test]
fn two_trace_parents_joined_by_an_intermediary_mean_a_new_trace() {
    rejects(&format!("{CALLER},{OTHER_TRACE}"), Length);
    let later = CALLER.replacen("00", "cc", 1);
    rejects(&format!("{later},{later}"), Extension);
    rejects(&format!("{later}-more,{later}"), Extension);
}

#[test]
fn upper_case_hex_is_invalid() {
    rejects("0A-11111111111111111111111111111111-2222222222222222-01", Version);
    rejects("00-1111111111111111111111111111111A-2222222222222222-01", TraceId);
    rejects("00-11111111111111111111111111111111-222222222222222A-01", ParentId);
    rejects("00-11111111111111111111111111111111-2222222222222222-0A", Flags);
}

#[test]
fn header_names_are_read_in_any_case_and_sent_in_lower_case() {
    for (parent, state) in [("TraceParent", "TraceState"), ("TRACEPARENT", "TRACESTATE"), ("TrAcEpArEnT", "tRaCeStAtE")]
    {
        let outgoing = forward(&[(parent, CALLER), (state, "foo=1")]);
        let mut names: Vec<_> = outgoing.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["traceparent", "tracestate"]);
    }
}

#[test]
fn misspelt_header_names_are_not_read() {
    for name in ["trace-parent", "trace.parent"] {
        assert!(forward(&[(name, CALLER)]).is_empty(), "{name}");
    }
    for name in ["trace-state", "trace.state"] {
        assert!(!forward(&[("traceparent", CALLER), (name, "foo=1")]).contains_key(TRACESTATE), "{name}");
    }
}

#[test]
fn white_space_around_the_value_is_trimmed() {
    for value in [format!(" {CALLER}"), format!("\t{CALLER}"), format!("{CALLER} \t"), format!("\t {CALLER} ")] {
        accepts(&value, "01");
    }
    rejects(&format!("\u{a0}{CALLER}"), Version);
}

#[test]
fn version_00_has_exactly_55_characters() {
    rejects(&format!("{CALLER}-what"), Length);
    rejects(&format!("{CALLER}-"), Length);
    rejects(&format!("{CALLER}."), Length);
    rejects(&CALLER[..54], Length);
}

#[test]
fn version_ff_is_forbidden() {
    rejects("ff-11111111111111111111111111111111-2222222222222222-01", Version);
    rejects("ff-11111111111111111111111111111111-2222222222222222-01-what", Version);
}

#[test]
fn later_versions_are_read_and_forwarded_as_00() {
    for version in 0x01..=0xfe {
        accepts(&format!("{version:02x}{}", &CALLER[2..]), "01");
    }
}

#[test]
fn later_versions_go_on_with_a_dash() {
    let later = CALLER.replacen("00", "cc", 1);
    accepts(&format!("{later}-"), "01");
    accepts(&format!("{later}-extra.Stuff=1"), "01");
    accepts(&format!("01-{TRACE_ID}-2222222222222222-01-abc"), "01");
    rejects(&format!("{later}.extra"), Extension);
    rejects(&format!("01-{TRACE_ID}-2222222222222222-01abc"), Extension);
    rejects(&later[..54], Length);
}

#[test]
fn the_version_is_two_hex_digits() {
    for version in [".0", "0.", "+0", "0x", " 0", "g0", "0-"] {
        // A leading space is trimmed: then one character is missing.
        rejects(&format!("{version}{}", &CALLER[2..]), if version == " 0" { Length } else { Version });
    }
    rejects(&CALLER[1..], Length);
}

#[test]
fn zero_ids_are_invalid() {
    rejects("00-00000000000000000000000000000000-2222222222222222-01", ZeroTraceId);
    rejects("00-11111111111111111111111111111111-0000000000000000-01", ZeroParentId);
}

#[test]
fn the_all_zero_and_the_empty_value_are_absent_and_not_broken() {
    rejects(ZERO, Absent);
    rejects("", Absent);
    rejects(" \t", Absent);
}

#[test]
fn parts_of_a_wrong_length_are_invalid() {
    for value in [
        "0-11111111111111111111111111111111-2222222222222222-01",
        "000-11111111111111111111111111111111-2222222222222222-01",
        "00-1111111111111111111111111111111-2222222222222222-01",
        "00-111111111111111111111111111111111-2222222222222222-01",
        "00-11111111111111111111111111111111-222222222222222-01",
        "00-11111111111111111111111111111111-22222222222222222-01",
        "00-11111111111111111111111111111111-2222222222222222-1",
        "00-11111111111111111111111111111111-2222222222222222-001",
        "+0-11111111111111111111111111111111-2222222222222222-1",
        "00-1-2-01",
        "00--2222222222222222-01",
    ] {
        rejects(value, Length);
    }
    // The lengths are wrong, their sum is right.
    rejects("00-1111111111111111111111111111111-22222222222222222-01", Separator);
    rejects("00-111111111111111111111111111111111-222222222222222-01", Separator);
    rejects("00-11111111111111111111111111111111-222222222222222-001", Separator);
    rejects("000-1111111111111111111111111111111-2222222222222222-01", Separator);
}

#[test]
fn every_byte_but_the_right_one_is_illegal_at_every_place() {
    for place in 0..CALLER.len() {
        for byte in 0..=u8::MAX {
            let mut value = CALLER.as_bytes().to_vec();
            value[place] = byte;
            let legal = match place {
                2 | 35 | 52 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            };
            assert_eq!(TraceParent::parse(&value).is_ok(), legal, "{byte:#x} at {place}");
        }
    }
}

#[test]
fn unknown_flags_are_ignored_and_not_forwarded() {
    for flags in 0..=u8::MAX {
        accepts(&format!("{}{flags:02x}", &CALLER[..53]), &format!("{:02x}", flags & 0x03));
    }
}

#[test]
fn sampled_and_random_are_told_apart() {
    for (flags, sampled, random) in [("00", false, false), ("01", true, false), ("02", false, true), ("ff", true, true)]
    {
        let parent: TraceParent = format!("{}{flags}", &CALLER[..53]).parse().unwrap();
        assert_eq!((parent.is_sampled(), parent.is_random()), (sampled, random), "{flags}");
    }
}

/// Decides against every trace.
#[derive(Clone, Debug)]
struct Never;

impl ShouldSample for Never {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: opentelemetry::trace::TraceId,
        _: &str,
        _: &opentelemetry::trace::SpanKind,
        _: &[opentelemetry::KeyValue],
        _: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        SamplingResult {
            decision: SamplingDecision::Drop,
            attributes: Vec::new(),
            trace_state: opentelemetry::trace::TraceState::NONE,
        }
    }
}

#[test]
fn the_random_flag_of_a_continued_trace_is_kept_whatever_the_sampler_says() {
    let random = CALLER.replace("-01", "-02");
    let cx = extract_http(&headers(&[("traceparent", &random)]), &Context::new());
    for provider in [SdkTracerProvider::builder().with_sampler(Never).build(), SdkTracerProvider::builder().build()] {
        let span = provider.tracer("test").start_with_context("child", &cx);
        let cx = cx.with_span(span);
        let mut outgoing = HeaderMap::new();
        inject(&cx, &mut outgoing);
        let parent = TraceParent::parse(outgoing[TRACEPARENT].as_bytes()).unwrap();
        assert!(parent.is_random());
        assert_ne!(parent.span_id().to_string(), "2222222222222222");
    }
}

#[test]
fn the_random_flag_is_not_invented() {
    // Neither for the same trace without the flag, nor for another trace in a context that once held a random one.
    let random = CALLER.replace("-01", "-03");
    let cx = extract_http(&headers(&[("traceparent", &random)]), &Context::new());
    for later in [CALLER, OTHER_TRACE] {
        let cx = extract_http(&headers(&[("traceparent", later)]), &cx);
        let mut outgoing = HeaderMap::new();
        inject(&cx, &mut outgoing);
        assert_eq!(outgoing[TRACEPARENT], later);
    }
    let root = cx.with_remote_span_context(TraceParent::parse(OTHER_TRACE.as_bytes()).unwrap().into());
    let mut outgoing = HeaderMap::new();
    inject(&root, &mut outgoing);
    assert_eq!(outgoing[TRACEPARENT], OTHER_TRACE);
}

#[test]
fn the_sampled_flag_is_that_of_our_own_span() {
    for sampled in [true, false] {
        let cx = extract_http(&headers(&[("traceparent", CALLER)]), &Context::new());
        let parent = span_of(&cx);
        let flags = TraceFlags::default().with_sampled(sampled);
        let span = SpanContext::new(parent.trace_id(), SpanId::from(5), flags, false, Default::default());
        let mut outgoing = HeaderMap::new();
        inject(&cx.with_remote_span_context(span), &mut outgoing);
        assert_eq!(outgoing[TRACEPARENT], format!("00-{TRACE_ID}-0000000000000005-0{}", u8::from(sampled)));
    }
}

#[test]
fn requests_of_one_connection_do_not_share_context() {
    let requests = [Some(CALLER), None, Some("00-broken"), Some(OTHER_TRACE), Some(ZERO)];
    let traces: Vec<_> = requests
        .iter()
        .map(|value| forward(&value.map(|value| ("traceparent", value)).into_iter().collect::<Vec<_>>()))
        .map(|outgoing| outgoing.get(TRACEPARENT).map(|value| value.to_str().unwrap()[3..35].to_owned()))
        .collect();
    assert_eq!(traces, [Some(TRACE_ID.to_owned()), None, None, Some(OTHER_TRACE[3..35].to_owned()), None]);
}

#[test]
fn a_broken_request_leaves_the_given_context_as_it_is() {
    let local = extract_http(&headers(&[("traceparent", CALLER)]), &Context::new());
    let cx = extract_http(&headers(&[("traceparent", "00-broken"), ("tracestate", "foo=1")]), &local);
    assert_eq!(span_of(&cx), span_of(&local));
}

#[test]
fn the_extracted_span_is_remote() {
    assert!(span_of(&extract_http(&headers(&[("traceparent", CALLER)]), &Context::new())).is_remote());
}

#[test]
fn converts_from_and_to_a_span_context() {
    let parent: TraceParent = CALLER.parse().unwrap();
    let span = SpanContext::from(parent);
    assert!(span.is_valid() && span.is_remote() && span.is_sampled());
    assert_eq!(TraceParent::try_from(&span), Ok(parent));
    assert_eq!(TraceParent::try_from(&SpanContext::NONE), Err(Absent));
    assert_eq!(TraceParent::new(parent.trace_id(), SpanId::INVALID, parent.flags()), Err(ZeroParentId));
}

#[test]
fn pads_like_any_text() {
    let parent: TraceParent = CALLER.parse().unwrap();
    assert_eq!(format!("{parent:>57}"), format!("  {CALLER}"));
    assert_eq!(&parent.encode(), CALLER.as_bytes());
    assert_eq!(parent.to_header_value(), CALLER);
}
