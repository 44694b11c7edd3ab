use http::{HeaderMap, HeaderValue};
use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Context, TraceFlags};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;

use super::*;
use crate::propagation::{BAGGAGE, GRPC_TRACE_BIN, TraceParent, TraceState, creation_context, extract_grpc};

/// Bytes that come close to a header of ours.
fn nearly(header: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
    vec(edit, 0..4).prop_map(move |edits| {
        let mut bytes = header.as_bytes().to_vec();
        for (place, byte, kind) in edits {
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.split_off(place.max(1))),
            }
        }
        bytes
    })
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        nearly(CALLER),
        nearly("cc-11111111111111111111111111111111-2222222222222222-01-what"),
        nearly("foo=1 , bar@baz=2,,a@b@c= x"),
        nearly("a=1;p=2;q,b=%C3%A9 , c=d=e"),
        nearly(BINARY),
        nearly(ZERO),
    ]
}

prop_compose! {
    fn parent()(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, flags in 0..4_u8) -> TraceParent {
        TraceParent::new(TraceId::from(trace_id), SpanId::from(span_id), TraceFlags::new(flags)).unwrap()
    }
}

fn state() -> impl Strategy<Value = String> {
    hash_map("[a-z0-9][a-z0-9_*/@-]{0,15}", "[ -+--<>-~]{0,15}[!-+--<>-~]", 0..12).prop_map(|members| {
        members.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    })
}

proptest! {
    #[test]
    fn no_parser_panics(bytes in hostile()) {
        let _ = TraceParent::parse(&bytes);
        let _ = TraceParent::parse_grpc_trace_bin(&bytes);
        let _ = TraceParent::parse_grpc_trace_bin_header(&bytes);
        let _ = TraceState::parse([bytes.as_slice()]);
        if let Ok(text) = str::from_utf8(&bytes) {
            let _ = creation_context(Some(text), Some(text), Some(text));
        }
    }

    /// Whatever comes in: what goes out is valid, once, and the same after another hop.
    #[test]
    fn only_valid_headers_are_forwarded(values in vec((0..4_usize, hostile()), 0..6)) {
        let names = [TRACEPARENT, TRACESTATE, BAGGAGE, GRPC_TRACE_BIN];
        let mut incoming = HeaderMap::new();
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                incoming.append(names[name].clone(), value);
            }
        }
        for extract in [extract_http, extract_grpc] {
            let mut outgoing = HeaderMap::new();
            inject(&extract(&incoming, &Context::new()), &mut outgoing);
            for name in [TRACEPARENT, TRACESTATE, BAGGAGE] {
                prop_assert!(outgoing.get_all(&name).iter().count() < 2);
            }
            if let Some(value) = outgoing.get(TRACEPARENT) {
                prop_assert!(TraceParent::parse(value.as_bytes()).is_ok());
            } else {
                prop_assert!(!outgoing.contains_key(TRACESTATE));
            }
            let mut again = HeaderMap::new();
            inject(&extract(&outgoing, &Context::new()), &mut again);
            prop_assert_eq!(&again, &outgoing);
            // daprd would take it: what is written passes the check for headers set by hand.
            let mut by_hand = outgoing.clone();
            inject(&Context::new(), &mut by_hand);
            prop_assert_eq!(by_hand, outgoing);
        }
    }

    #[test]
    fn a_trace_parent_is_read_as_it_was_written(parent in parent()) {
        prop_assert_eq!(TraceParent::parse(&parent.encode()), Ok(parent));
        prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        let later = format!("{:02x}{}-x", 0xcc, &parent.to_string()[2..]);
        prop_assert_eq!(later.parse(), Ok(parent));
    }

    #[test]
    fn the_binary_form_is_read_as_it_was_written(parent in parent()) {
        let bytes = [
            &[0, 0][..], &parent.trace_id().to_bytes(), &[1], &parent.span_id().to_bytes(),
            &[2, parent.flags().to_u8()],
        ].concat();
        prop_assert_eq!(TraceParent::parse_grpc_trace_bin(&bytes), Ok(parent));
    }

    #[test]
    fn a_trace_state_is_read_as_it_was_written(list in state()) {
        let state = TraceState::parse([list.as_bytes()]).unwrap();
        prop_assert_eq!(state.as_str(), &list);
        prop_assert_eq!(TraceState::parse([state.as_str().as_bytes()]), Ok(state));
    }

    #[test]
    fn a_context_is_read_as_it_was_written(
        parent in parent(),
        list in state(),
        entries in hash_map("[!#$%&'*+.^_`|~a-zA-Z0-9-]{1,10}", "\\PC{0,20}|[\\x00-\\x7f]{0,20}", 0..10),
    ) {
        let mut baggage = Baggage::new();
        for (key, value) in &entries {
            baggage.insert_with_metadata(key.clone(), value.clone(), "p=1;q");
        }
        let incoming = headers(&[("traceparent", &parent.to_string()), ("tracestate", &list)]);
        let cx = extract_http(&incoming, &Context::new()).with_baggage(baggage);
        let mut outgoing = HeaderMap::new();
        inject(&cx, &mut outgoing);
        prop_assert_eq!(outgoing.get(TRACESTATE).map_or("", |value| value.to_str().unwrap()), &list);

        for read in [extract_http(&outgoing, &Context::new()), extract_grpc(&outgoing, &Context::new())] {
            prop_assert_eq!(TraceParent::try_from(&span_of(&read)), Ok(parent));
            prop_assert_eq!(span_of(&read), span_of(&cx));
            prop_assert_eq!(read.baggage().len(), entries.len());
            for (key, value) in &entries {
                let (read, properties) = read.baggage().get_with_metadata(key).unwrap();
                prop_assert_eq!((read.as_str(), properties.as_str()), (value.as_str(), "p=1;q"));
            }
        }
    }
}
