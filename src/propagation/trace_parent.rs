use std::fmt;
use std::str::FromStr;

use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState as OtelTraceState};

/// Length of a version 00 `traceparent`, and of the part of a later version that we understand.
const LEN: usize = 55;
const RANDOM: TraceFlags = TraceFlags::new(0x02);
/// The flags that Level 2 defines. All others have to be sent as zero.
const KNOWN_FLAGS: TraceFlags = TraceFlags::new(0x03);

/// A valid `traceparent`: trace, span and flags.
///
/// Read by the rules of [W3C Trace Context], Level 2 ("Traceparent Header"), and always written as version 00. Of the
/// flags only `sampled` (bit 0) and `random` (bit 1) are kept. The ids are never zero.
///
/// ```
/// use tower_dapr::propagation::{InvalidTraceParent, TraceParent};
///
/// let parent = TraceParent::parse(b"00-11111111111111111111111111111111-2222222222222222-03")?;
/// assert!(parent.is_sampled() && parent.is_random());
/// assert_eq!(parent.span_id().to_string(), "2222222222222222");
///
/// assert_eq!(TraceParent::parse(b"00-1-2-01"), Err(InvalidTraceParent::Length));
/// # Ok::<(), InvalidTraceParent>(())
/// ```
///
/// [W3C Trace Context]: https://w3c.github.io/trace-context/#traceparent-header
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: TraceFlags,
}

/// Why a value is not a [`TraceParent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTraceParent {
    /// Empty, or both ids are zero: how daprd says "no trace". Not worth a warning.
    Absent,
    /// Shorter than 55 characters, or longer in version 00. Of `grpc-trace-bin`: too short for a trace id, or far
    /// longer than the format.
    Length,
    /// The version is not two lower-case hex digits, or is the forbidden `ff`. Of `grpc-trace-bin`: it is not 0.
    Version,
    /// A dash is missing between two parts.
    Separator,
    /// The trace id is not 32 lower-case hex digits. Of `grpc-trace-bin`: the field is missing.
    TraceId,
    /// The parent id is not 16 lower-case hex digits.
    ParentId,
    /// The flags are not two lower-case hex digits.
    Flags,
    /// The trace id alone is zero.
    ZeroTraceId,
    /// The parent id alone is zero. Of `grpc-trace-bin`: or the field is missing.
    ZeroParentId,
    /// A later version goes on without a dash, or with a comma: two values that were joined to one.
    Extension,
    /// The `grpc-trace-bin` header is not base64.
    Base64,
}

// ===== impl TraceParent =====

impl TraceParent {
    /// Makes one of its parts. Flags other than `sampled` and `random` are left out.
    ///
    /// # Errors
    ///
    /// [`InvalidTraceParent::Absent`] if both ids are zero, [`InvalidTraceParent::ZeroTraceId`] or
    /// [`InvalidTraceParent::ZeroParentId`] if one of them is.
    pub fn new(trace_id: TraceId, span_id: SpanId, flags: TraceFlags) -> Result<Self, InvalidTraceParent> {
        match (trace_id == TraceId::INVALID, span_id == SpanId::INVALID) {
            (true, true) => Err(InvalidTraceParent::Absent),
            (true, false) => Err(InvalidTraceParent::ZeroTraceId),
            (false, true) => Err(InvalidTraceParent::ZeroParentId),
            (false, false) => Ok(Self { trace_id, span_id, flags: flags & KNOWN_FLAGS }),
        }
    }

    /// Reads one header value. Spaces and tabs around it are allowed.
    ///
    /// # Errors
    ///
    /// [`InvalidTraceParent`] names the first rule that the value breaks.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidTraceParent> {
        let value = trim_ows(value);
        if value.is_empty() {
            return Err(InvalidTraceParent::Absent);
        }
        let (known, extension) = value.split_first_chunk::<LEN>().ok_or(InvalidTraceParent::Length)?;
        let [version] = decode_hex(&known[..2]).ok_or(InvalidTraceParent::Version)?;
        match version {
            0xff => return Err(InvalidTraceParent::Version),
            0 if !extension.is_empty() => return Err(InvalidTraceParent::Length),
            _ => check_extension(extension)?,
        }
        if known[2] != b'-' || known[35] != b'-' || known[52] != b'-' {
            return Err(InvalidTraceParent::Separator);
        }
        let trace_id = decode_hex(&known[3..35]).ok_or(InvalidTraceParent::TraceId)?;
        let span_id = decode_hex(&known[36..52]).ok_or(InvalidTraceParent::ParentId)?;
        let [flags] = decode_hex(&known[53..]).ok_or(InvalidTraceParent::Flags)?;
        Self::new(TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id), TraceFlags::new(flags))
    }

    /// The trace.
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The sender's span, which W3C calls parent id.
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// `sampled` and `random`; all other bits are zero.
    pub const fn flags(&self) -> TraceFlags {
        self.flags
    }

    /// Whether the sender may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags.is_sampled()
    }

    /// Whether the seven right-most bytes of the trace id are random (Level 2, "Random Trace ID Flag").
    pub fn is_random(&self) -> bool {
        self.flags & RANDOM == RANDOM
    }

    /// The ASCII text, without an allocation.
    pub fn encode(&self) -> [u8; LEN] {
        let mut text = [b'-'; LEN];
        encode_hex(&[0], &mut text[..2]);
        encode_hex(&self.trace_id.to_bytes(), &mut text[3..35]);
        encode_hex(&self.span_id.to_bytes(), &mut text[36..52]);
        encode_hex(&[self.flags.to_u8()], &mut text[53..]);
        text
    }

    /// The text as a header value.
    pub fn to_header_value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.encode()).expect("hex digits and dashes are visible ASCII")
    }

    pub(super) fn with_random(self) -> Self {
        Self { flags: self.flags | RANDOM, ..self }
    }

    pub(super) fn into_remote(self, trace_state: OtelTraceState) -> SpanContext {
        SpanContext::new(self.trace_id, self.span_id, self.flags, true, trace_state)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.encode();
        f.pad(str::from_utf8(&text).expect("hex digits and dashes are ASCII"))
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

/// Fails as [`TraceParent::new`] does, if the span context is not valid.
impl TryFrom<&SpanContext> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(span: &SpanContext) -> Result<Self, Self::Error> {
        Self::new(span.trace_id(), span.span_id(), span.trace_flags())
    }
}

/// A remote span context without `tracestate`.
impl From<TraceParent> for SpanContext {
    fn from(parent: TraceParent) -> Self {
        parent.into_remote(OtelTraceState::NONE)
    }
}

// ===== impl InvalidTraceParent =====

impl fmt::Display for InvalidTraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no trace context",
            Self::Length => "trace context has the wrong length",
            Self::Version => "version of the trace context is not valid",
            Self::Separator => "dash between the parts of the trace context is missing",
            Self::TraceId => "trace id is not 32 lower-case hex digits",
            Self::ParentId => "parent id is not 16 lower-case hex digits",
            Self::Flags => "trace flags are not 2 lower-case hex digits",
            Self::ZeroTraceId => "trace id is zero",
            Self::ZeroParentId => "parent id is zero",
            Self::Extension => "extension of the trace context is not valid",
            Self::Base64 => "binary trace context is not base64",
        })
    }
}

impl std::error::Error for InvalidTraceParent {}

/// What a later version may append ("Versioning of traceparent"): nothing, or a dash and anything. A comma is not
/// taken, since it is what an intermediary puts between two headers when it joins them.
fn check_extension(extension: &[u8]) -> Result<(), InvalidTraceParent> {
    match extension.split_first() {
        None => Ok(()),
        Some((b'-', rest)) if !rest.contains(&b',') => Ok(()),
        Some(_) => Err(InvalidTraceParent::Extension),
    }
}

/// Optional white space: space and tab.
pub(super) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const NOT_HEX: u8 = 0xff;

/// The value of each lower-case hex digit.
static HEX_VALUES: [u8; 256] = {
    let mut values = [NOT_HEX; 256];
    let mut value = 0;
    while value < 16 {
        values[HEX_DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

static HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

/// `hex` has to be `2 * N` long. No early exit: checking once at the end is faster for the valid values.
fn decode_hex<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut seen = 0;
    for (byte, digits) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let high = HEX_VALUES[usize::from(digits[0])];
        let low = HEX_VALUES[usize::from(digits[1])];
        seen |= high | low;
        *byte = high << 4 | low & 0x0f;
    }
    (seen < 16).then_some(bytes)
}

/// `hex` has to be twice as long as `bytes`.
fn encode_hex(bytes: &[u8], hex: &mut [u8]) {
    for (byte, digits) in bytes.iter().zip(hex.chunks_exact_mut(2)) {
        digits[0] = HEX_DIGITS[usize::from(byte >> 4)];
        digits[1] = HEX_DIGITS[usize::from(byte & 0x0f)];
    }
}
