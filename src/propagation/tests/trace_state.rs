use http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::TraceState as OtelTraceState;

use super::*;
use crate::propagation::InvalidTraceState::{self, *};
use crate::propagation::{TraceState, creation_context};

fn parse(value: &str) -> Result<String, InvalidTraceState> {
    TraceState::parse([value.as_bytes()]).map(|state| state.to_string())
}

#[track_caller]
fn keeps(value: &str) {
    assert_eq!(parse(value).as_deref(), Ok(value));
    assert_eq!(forwarded_state(&[value]).as_deref(), Some(value));
}

#[track_caller]
fn drops(value: &str, rule: InvalidTraceState) {
    assert_eq!(parse(value), Err(rule), "{value:?}");
    assert_eq!(forwarded_state(&["good=1", value]), None, "{value:?}");
}

fn members(count: usize) -> String {
    (0..count).map(|index| format!("k{index}=v")).collect::<Vec<_>>().join(",")
}

#[test]
fn an_invalid_trace_parent_takes_the_trace_state_along() {
    for lines in [&[("tracestate", "foo=1")][..], &[("traceparent", "00-broken"), ("tracestate", "foo=1")]] {
        assert!(forward(lines).is_empty());
    }
}

#[test]
fn a_broken_trace_state_leaves_the_trace_alone() {
    drops("foo", Member);
    drops("foo=1,bar", Member);
}

#[test]
fn the_list_passes_as_it_came_and_in_its_order() {
    keeps("foo=1");
    keeps("foo=1,bar=2");
    keeps("zed=1,alpha=2,mid=3");
}

#[test]
fn several_headers_are_joined_in_order() {
    let state = forwarded_state(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]);
    assert_eq!(state.as_deref(), Some("foo=1,bar=2,rojo=1,congo=2,baz=3"));
}

#[test]
fn empty_headers_and_members_are_allowed_and_not_sent() {
    assert_eq!(forwarded_state(&[""]), None);
    assert_eq!(forwarded_state(&[",", " \t,\t"]), None);
    assert_eq!(forwarded_state(&["", "foo=1"]).as_deref(), Some("foo=1"));
    assert_eq!(forwarded_state(&["foo=1", ""]).as_deref(), Some("foo=1"));
    assert_eq!(forwarded_state(&["a=1,,b=2, ,\t,"]).as_deref(), Some("a=1,b=2"));
}

#[test]
fn white_space_around_members_is_trimmed() {
    assert_eq!(parse("foo=1 \t , \t bar=2,\t baz=3 ").as_deref(), Ok("foo=1,bar=2,baz=3"));
    drops("foo =1", Member);
    drops("f oo=1", Member);
}

#[test]
fn thirty_two_members_are_kept_and_thirty_three_drop_the_list() {
    keeps(&members(32));
    drops(&members(33), MemberCount);
    let (left, right) = (members(16), members(17).replace('k', "l"));
    assert_eq!(TraceState::parse([left.as_bytes(), right.as_bytes()]), Err(MemberCount));
    // Empty ones do not count.
    assert_eq!(parse(&format!(",,{},,", members(32))), Ok(members(32)));
}

#[test]
fn all_allowed_characters_are_kept() {
    let key: String = ('a'..='z').chain('0'..='9').chain("_-*/@".chars()).collect();
    let value: String = (' '..='~').filter(|c| !",=".contains(*c)).collect();
    keeps(&format!("{key}={value}"));
    keeps(&format!("0{key}={value}"));
}

#[test]
fn every_other_byte_drops_the_list() {
    for byte in 0..=u8::MAX {
        let in_key = byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
        // A comma or an equals sign ends the key, and the rest breaks another rule.
        let key = [b"k".as_slice(), &[byte], b"y=1"].concat();
        assert_eq!(TraceState::parse([key.as_slice()]).is_ok(), in_key, "{byte:#x} in the key");
        let in_value = matches!(byte, b' '..=b'~') && !b",=".contains(&byte);
        let value = [b"k=v".as_slice(), &[byte], b"w"].concat();
        assert_eq!(TraceState::parse([value.as_slice()]).is_ok(), in_value, "{byte:#x} in the value");
    }
}

#[test]
fn a_key_starts_with_a_letter_or_a_digit() {
    for key in ["@a", "_a", "-a", "*a", "/a", "", "A", "foO"] {
        drops(&format!("{key}=1"), Member);
    }
    keeps("0a=1");
}

#[test]
fn a_key_may_have_at_signs_anywhere_else() {
    for key in ["foo@", "a@@b", "a@b@c", "tenant@vendor", "t@much-longer-than-fourteen"] {
        keeps(&format!("{key}=1"));
    }
}

#[test]
fn a_key_has_up_to_256_characters() {
    keeps(&format!("{}=1", "z".repeat(256)));
    keeps(&format!("{}@{}=1", "t".repeat(241), "v".repeat(14)));
    drops(&format!("{}=1", "z".repeat(257)), Member);
}

#[test]
fn a_value_has_1_to_256_characters() {
    keeps(&format!("k={}", "v".repeat(256)));
    drops(&format!("k={}", "v".repeat(257)), Member);
    drops("foo=", Member);
    drops("foo=,bar=3", Member);
    drops("foo= ", Member);
}

#[test]
fn a_value_has_no_equals_sign() {
    drops("a=b=c", Member);
    drops("a==c", Member);
}

#[test]
fn leading_spaces_belong_to_the_value() {
    keeps("foo=  bar");
    assert_eq!(parse("foo=  b ar  ").as_deref(), Ok("foo=  b ar"));
}

#[test]
fn of_two_members_with_one_key_the_first_is_kept() {
    assert_eq!(forwarded_state(&["foo=1,foo=1"]).as_deref(), Some("foo=1"));
    assert_eq!(forwarded_state(&["foo=1,bar=3", "foo=2"]).as_deref(), Some("foo=1,bar=3"));
}

#[test]
fn five_hundred_and_twelve_characters_are_kept_whole() {
    let value = format!("a={},b={}", "x".repeat(253), "y".repeat(254));
    assert_eq!(value.len(), TraceState::MAX_LEN);
    keeps(&value);
}

#[test]
fn a_longer_list_loses_members_of_more_than_128_characters_first_then_from_the_right() {
    let long = |key: &str| format!("{key}={}", "x".repeat(127)); // 129 characters
    let limit = |key: &str| format!("{key}={}", "x".repeat(126)); // 128 characters
    let list = [long("a"), limit("b"), long("c"), limit("d"), "e=1".to_owned()].join(",");
    assert_eq!(parse(&list).unwrap(), [long("a"), limit("b"), limit("d"), "e=1".to_owned()].join(","));

    let list = ["a", "b", "c", "d", "e"].map(limit).join(",");
    assert_eq!(parse(&list).unwrap(), ["a", "b", "c"].map(limit).join(","));

    // Both: even all the long ones are not enough.
    let list = [long("a"), limit("b"), limit("c"), limit("d"), limit("e"), long("f")].join(",");
    assert_eq!(parse(&list).unwrap(), ["b", "c", "d"].map(limit).join(","));
}

#[test]
fn a_hostile_list_is_refused_unread() {
    let mebibyte = "x".repeat(1 << 20);
    drops(&mebibyte, Length);
    drops(&",".repeat(1 << 20), Length);
    drops(&members(100_000), Length);
    let part = format!("k={}", "x".repeat(8190));
    let lists: Vec<_> = (0..1000).map(|_| part.as_bytes()).collect();
    assert!(TraceState::parse(lists).is_err());
}

#[test]
fn the_longest_valid_list_is_read() {
    let member = |index: usize| format!("{index:k>256}={}", "v".repeat(256));
    let list: Vec<_> = (0..32).map(member).collect();
    let list = list.join(",");
    assert_eq!(list.len(), 16_447);
    assert!(parse(&list).is_ok());
    assert_eq!(parse(&format!("{list},")), Err(Length));
}

#[test]
fn what_opentelemetry_refuses_is_kept_beside_the_span() {
    let list = "a@b@c=1,plain=2";
    assert!(TraceState::parse([list.as_bytes()]).unwrap().to_otel().is_none(), "the test is void without this");
    keeps(list);
    // But not for another trace.
    let cx = extract_http(&headers(&[("traceparent", CALLER), ("tracestate", list)]), &Context::new());
    let other = cx.with_remote_span_context(creation_context(Some(OTHER_TRACE), None, None).unwrap());
    let mut outgoing = HeaderMap::new();
    inject(&other, &mut outgoing);
    assert_eq!(outgoing.get(TRACESTATE), None);
    // And not after a later extraction of the same trace.
    let later = extract_http(&headers(&[("traceparent", CALLER)]), &cx);
    let mut outgoing = HeaderMap::new();
    inject(&later, &mut outgoing);
    assert_eq!(outgoing.get(TRACESTATE), None);
}

#[test]
fn a_member_that_our_sampler_added_stands_on_the_left_and_pushes_out_the_last() {
    for list in [members(32), format!("a@b@c=v,{}", members(31))] {
        let cx = extract_http(&headers(&[("traceparent", CALLER), ("tracestate", &list)]), &Context::new());
        let parent = span_of(&cx);
        let state = parent.trace_state().insert("ot", "th:8").unwrap();
        let span = SpanContext::new(parent.trace_id(), SpanId::from(5), parent.trace_flags(), false, state);
        let mut outgoing = HeaderMap::new();
        inject(&cx.with_remote_span_context(span), &mut outgoing);
        let kept = &list[..list.rfind(',').unwrap()];
        assert_eq!(outgoing[TRACESTATE], format!("ot=th:8,{kept}"));
    }
}

#[test]
fn members_that_may_not_be_sent_are_left_out() {
    let state =
        OtelTraceState::from_key_value([("a", "1"), ("empty", ""), ("crlf", "x\r\ny"), ("space", "x "), ("b", "2")])
            .unwrap();
    assert_eq!(TraceState::from(&state).as_str(), "a=1,b=2");
    let span = creation_context(Some(CALLER), None, None).unwrap();
    let span = SpanContext::new(span.trace_id(), span.span_id(), span.trace_flags(), false, state);
    let mut outgoing = HeaderMap::new();
    inject(&Context::new().with_remote_span_context(span), &mut outgoing);
    assert_eq!(outgoing[TRACESTATE], "a=1,b=2");
}

#[test]
fn an_empty_list_makes_no_header() {
    let empty = TraceState::default();
    assert!(empty.is_empty() && empty.to_header_value().is_none() && empty.iter().next().is_none());
    assert_eq!(empty.to_otel(), Some(OtelTraceState::NONE));
}
