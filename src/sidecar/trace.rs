//! Trace context, as a daprd without tracing passes it through: it makes no span of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderValue};

use crate::propagation::TraceParent;

pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";
pub(super) const GRPC_TRACE_BIN: &str = "grpc-trace-bin";

/// What daprd writes where it has no context.
const NONE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// The caller's span: `grpc-trace-bin` wins, also when it is broken; otherwise the first `traceparent` counts.
pub(super) fn of_grpc(headers: &HeaderMap) -> Option<TraceParent> {
    if let Some(value) = headers.get(GRPC_TRACE_BIN) {
        return TraceParent::parse_grpc_trace_bin_header(value.as_bytes()).ok();
    }
    of_http(headers)
}

/// The caller's span: the first `traceparent`.
pub(super) fn of_http(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get(TRACEPARENT)?.as_bytes()).ok()
}

/// The value of a `traceparent` header, zeroed without a context.
pub(super) fn header(context: Option<TraceParent>) -> HeaderValue {
    context.map_or(HeaderValue::from_static(NONE), |context| context.to_header_value())
}

/// The `traceparent` of an envelope, empty without a context.
pub(super) fn text(context: Option<TraceParent>) -> String {
    context.map(|context| context.to_string()).unwrap_or_default()
}

/// The value of a `grpc-trace-bin` header, zeroed without a context: 00, then 00 and the trace id, 01 and the span id,
/// 02 and the flags (OpenCensus binary encoding, version 0).
pub(super) fn binary_header(context: Option<TraceParent>) -> HeaderValue {
    let mut bytes = [0; 29];
    bytes[18] = 1;
    bytes[27] = 2;
    if let Some(context) = context {
        bytes[2..18].copy_from_slice(&context.trace_id().to_bytes());
        bytes[19..27].copy_from_slice(&context.span_id().to_bytes());
        bytes[28] = context.flags().to_u8();
    }
    HeaderValue::try_from(STANDARD_NO_PAD.encode(bytes)).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_and_writes_both_forms() {
        let context = TraceParent::parse(VALID.as_bytes()).ok();
        assert_eq!(header(context), VALID);
        let binary = binary_header(context);
        assert_eq!(binary, "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE");
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(GRPC_TRACE_BIN), binary)]);
        assert_eq!(of_grpc(&headers), context);
    }

    #[test]
    fn of_two_the_first_counts() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        headers
            .append(TRACEPARENT, HeaderValue::from_static("00-55555555555555555555555555555555-6666666666666666-01"));
        assert_eq!(of_grpc(&headers), TraceParent::parse(VALID.as_bytes()).ok());
    }

    #[test]
    fn a_broken_binary_header_hides_a_good_traceparent() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(VALID));
        headers.insert(GRPC_TRACE_BIN, HeaderValue::from_static("AAAA"));
        assert_eq!(of_grpc(&headers), None);
    }
}
