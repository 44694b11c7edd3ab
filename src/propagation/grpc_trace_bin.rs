use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

use super::trace_parent::{InvalidTraceParent, TraceParent, trim_ows};

/// The format has 29 bytes; unknown fields may follow. What is much longer is not a trace context.
const MAX_BYTES: usize = 96;
const MAX_BASE64: usize = MAX_BYTES / 3 * 4;

/// gRPC senders may leave the padding out, receivers have to accept both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl TraceParent {
    /// Reads the bytes of `grpc-trace-bin`, OpenCensus' [binary encoding], which daprd sends beside `traceparent`.
    ///
    /// ```
    /// use tower_dapr::propagation::TraceParent;
    ///
    /// let mut bytes = vec![0, 0];
    /// bytes.extend([0x11; 16]);
    /// bytes.push(1);
    /// bytes.extend([0x22; 8]);
    /// bytes.extend([2, 1]);
    /// let parent = TraceParent::parse_grpc_trace_bin(&bytes)?;
    /// assert_eq!(parent.to_string(), "00-11111111111111111111111111111111-2222222222222222-01");
    /// # Ok::<(), tower_dapr::propagation::InvalidTraceParent>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidTraceParent`]: `Absent` if empty or all zero, `Version` if the version is not 0, `Length` or `TraceId`
    /// if there is no trace id, `ZeroTraceId` and `ZeroParentId` if an id is zero or the span id missing.
    ///
    /// [binary encoding]: https://github.com/census-instrumentation/opencensus-specs/blob/master/encodings/BinaryEncoding.md
    pub fn parse_grpc_trace_bin(bytes: &[u8]) -> Result<Self, InvalidTraceParent> {
        let (version, fields) = bytes.split_first().ok_or(InvalidTraceParent::Absent)?;
        if *version != 0 {
            return Err(InvalidTraceParent::Version);
        }
        // The fields come in the order of their ids; an unknown id ends what we can read.
        let ([id, trace_id @ ..], fields) = fields.split_first_chunk::<17>().ok_or(InvalidTraceParent::Length)?;
        if *id != 0 {
            return Err(InvalidTraceParent::TraceId);
        }
        let (span_id, fields) = match fields.split_first_chunk::<9>() {
            Some(([1, span_id @ ..], fields)) => (SpanId::from_bytes(*span_id), fields),
            _ => (SpanId::INVALID, fields),
        };
        let flags = match fields {
            [2, flags, ..] => TraceFlags::new(*flags),
            _ => TraceFlags::NOT_SAMPLED,
        };
        Self::new(TraceId::from_bytes(*trace_id), span_id, flags)
    }

    /// Reads the value of a `grpc-trace-bin` header: base64, with padding or without.
    ///
    /// # Errors
    ///
    /// `Base64` if it is not base64, `Length` if it is longer than 128 characters, else as
    /// [`TraceParent::parse_grpc_trace_bin`].
    pub fn parse_grpc_trace_bin_header(value: &[u8]) -> Result<Self, InvalidTraceParent> {
        let value = trim_ows(value);
        if value.len() > MAX_BASE64 {
            return Err(InvalidTraceParent::Length);
        }
        let mut bytes = [0; MAX_BYTES];
        let len = BASE64.decode_slice(value, &mut bytes).map_err(|_| InvalidTraceParent::Base64)?;
        Self::parse_grpc_trace_bin(&bytes[..len])
    }
}
