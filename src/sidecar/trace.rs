//! Trace context, as a daprd without tracing passes it through.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue};

pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const GRPC_TRACE_BIN: &str = "grpc-trace-bin";

/// The caller's span. daprd without a tracing configuration makes no span of its own and passes this one on, unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

// ===== impl TraceContext =====

impl TraceContext {
    /// What daprd writes where it has no context: a zeroed one.
    pub(super) const NONE: Self = Self { trace_id: [0; 16], span_id: [0; 8], flags: 0 };

    /// `grpc-trace-bin` wins, also when it is broken; otherwise the last `traceparent` counts.
    pub(super) fn of_grpc(headers: &HeaderMap) -> Option<Self> {
        if let Some(value) = headers.get(GRPC_TRACE_BIN) {
            let text = value.to_str().ok()?.trim_end_matches('=');
            return Self::from_binary(&STANDARD_NO_PAD.decode(text).ok()?);
        }
        let last = headers.get_all(TRACEPARENT).iter().next_back()?;
        Self::parse(last.to_str().ok()?)
    }

    /// The first `traceparent`.
    pub(super) fn of_http(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    /// W3C Trace Context, section 3.2: versions 00 to fe, of a later version only what 00 knows.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (head, rest) = bytes.split_at_checked(55)?;
        let version = hex::<1>(&head[..2])?[0];
        let ends = rest.is_empty() || (version != 0 && rest[0] == b'-');
        if version == 0xff || !ends || [head[2], head[35], head[52]] != *b"---" {
            return None;
        }
        Self { trace_id: hex(&head[3..35])?, span_id: hex(&head[36..52])?, flags: hex::<1>(&head[53..])?[0] }.valid()
    }

    /// OpenCensus binary encoding, version 0: 00, then 00 and the trace id, 01 and the span id, 02 and the flags.
    fn from_binary(bytes: &[u8]) -> Option<Self> {
        let (head, flags) = bytes.split_at_checked(27)?;
        if head[..2] != [0, 0] || head[18] != 1 {
            return None;
        }
        let flags = if flags.first() == Some(&2) { flags.get(1).copied() } else { None };
        Self {
            trace_id: head[2..18].try_into().ok()?,
            span_id: head[19..27].try_into().ok()?,
            flags: flags.unwrap_or_default(),
        }
        .valid()
    }

    fn valid(self) -> Option<Self> {
        (self.trace_id != [0; 16] && self.span_id != [0; 8]).then_some(self)
    }

    /// The value of a `grpc-trace-bin` header.
    pub(super) fn binary_header(&self) -> HeaderValue {
        let mut bytes = [0; 29];
        bytes[2..18].copy_from_slice(&self.trace_id);
        bytes[18] = 1;
        bytes[19..27].copy_from_slice(&self.span_id);
        bytes[27..].copy_from_slice(&[2, self.flags]);
        HeaderValue::try_from(STANDARD.encode(bytes)).expect("base64 is ASCII")
    }

    /// The value of a `traceparent` header.
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("hex is ASCII")
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = u128::from_be_bytes(self.trace_id);
        let span = u64::from_be_bytes(self.span_id);
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

/// Lower-case hex of exactly `N` bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_and_writes_both_forms() {
        let context = TraceContext::parse(VALID).unwrap();
        assert_eq!(context.to_string(), VALID);
        let binary = context.binary_header();
        assert_eq!(binary, "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE=");
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(GRPC_TRACE_BIN), binary)]);
        assert_eq!(TraceContext::of_grpc(&headers), Some(context));
    }

    #[test]
    fn refuses_what_is_no_context() {
        let zero = TraceContext::NONE.to_string();
        let upper = VALID.to_uppercase();
        let longer = format!("{VALID}-00");
        for text in ["", "zz-bad", &zero, &upper, &longer, &VALID[..54], &VALID.replacen("00", "ff", 1), "ä"] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
        assert!(TraceContext::parse(&longer.replacen("00", "01", 1)).is_some());
    }

    #[test]
    fn a_broken_binary_header_hides_a_good_traceparent() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(VALID));
        headers.insert(GRPC_TRACE_BIN, HeaderValue::from_static("AAAA"));
        assert_eq!(TraceContext::of_grpc(&headers), None);
    }
}
