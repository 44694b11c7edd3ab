use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use opentelemetry::trace::TraceState as OtelTraceState;

use super::trace_parent::trim_ows;

/// The longest list that the grammar can make of 32 members, without white space: 32 times a key of 256, `=`, a value
/// of 256, and the commas. A longer input is refused unread.
const MAX_INPUT: usize = TraceState::MAX_MEMBERS * 513 + TraceState::MAX_MEMBERS - 1;

/// Members longer than this are the first to go when a list has to be cut ("tracestate Limits").
const LONG_MEMBER: usize = 128;

/// A valid `tracestate`: the vendors' entries of a trace, most recent first.
///
/// Read by the rules of [W3C Trace Context], Level 2 ("Tracestate Header"). At most [`MAX_MEMBERS`](Self::MAX_MEMBERS)
/// members and [`MAX_LEN`](Self::MAX_LEN) characters, cheap to clone.
///
/// ```
/// use tower_dapr::propagation::{InvalidTraceState, TraceState};
///
/// let state = TraceState::parse([b"rojo=1 , congo=t61".as_slice(), b"a@b@c=x"])?;
/// assert_eq!(state.as_str(), "rojo=1,congo=t61,a@b@c=x");
/// assert_eq!(state.iter().next(), Some(("rojo", "1")));
///
/// // One bad member spoils the list.
/// assert_eq!(TraceState::parse([b"rojo=1,Congo=2".as_slice()]), Err(InvalidTraceState::Member));
/// # Ok::<(), InvalidTraceState>(())
/// ```
///
/// [W3C Trace Context]: https://w3c.github.io/trace-context/#tracestate-header
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceState(Arc<str>);

/// Why a value is not a [`TraceState`]. The whole list is void then, the trace itself is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTraceState {
    /// The headers have more characters together than any valid list: 16,447.
    Length,
    /// More than 32 members that are not empty.
    MemberCount,
    /// A member is not `key=value`, or its key or value has characters or a length that are not allowed.
    Member,
}

// ===== impl TraceState =====

impl TraceState {
    /// The most members a list may have ("list").
    pub const MAX_MEMBERS: usize = 32;

    /// The most characters of a list that are kept. Every participant has to carry so many ("tracestate Limits");
    /// daprd drops a longer list whole. From a longer list whole members are removed: those of more than 128
    /// characters first, then others, in both cases from the right.
    pub const MAX_LEN: usize = 512;

    /// Reads the values of all `tracestate` headers of a request, in their order.
    ///
    /// Empty members and empty headers are skipped. Of several members with one key the first is kept.
    ///
    /// # Errors
    ///
    /// [`InvalidTraceState`] if any member breaks the grammar or a limit is passed.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, InvalidTraceState> {
        let mut members = Vec::new();
        let mut count = 0;
        let mut unread = MAX_INPUT;
        for value in values {
            unread = unread.checked_sub(value.len()).ok_or(InvalidTraceState::Length)?;
            for member in value.split(|&byte| byte == b',').map(trim_ows) {
                if member.is_empty() {
                    continue;
                }
                let member = parse_member(member).ok_or(InvalidTraceState::Member)?;
                count += 1;
                if count > Self::MAX_MEMBERS {
                    return Err(InvalidTraceState::MemberCount);
                }
                push_new(&mut members, member);
            }
        }
        Ok(Self(join(members).into()))
    }

    /// The list as it is sent, without white space. Empty if it has no members.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the list has no members. An empty list must not be sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, from the left.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter_map(|member| member.split_once('='))
    }

    /// The list in OpenTelemetry's type, which follows the Recommendation of 2021: `None` if a key has an `@` but is
    /// not of the form `tenant@vendor` with at most 13 characters behind the `@`.
    pub fn to_otel(&self) -> Option<OtelTraceState> {
        OtelTraceState::from_key_value(self.iter()).ok()
    }

    /// The list as a header value, or `None` if it is empty.
    pub fn to_header_value(&self) -> Option<HeaderValue> {
        if self.is_empty() { None } else { HeaderValue::from_str(&self.0).ok() }
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Members that may not be sent are left out: OpenTelemetry's type also holds empty values and control characters.
impl From<&OtelTraceState> for TraceState {
    fn from(state: &OtelTraceState) -> Self {
        Self(outgoing(state, None).into())
    }
}

// ===== impl InvalidTraceState =====

impl fmt::Display for InvalidTraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "trace state is too long",
            Self::MemberCount => "trace state has more than 32 members",
            Self::Member => "member of the trace state is not valid",
        })
    }
}

impl std::error::Error for InvalidTraceState {}

/// The list to send for a span: its own members, then those that `SpanContext` could not carry. A sampler may have put
/// its member into the former, which then stands on the left, as it should.
pub(super) fn outgoing(span: &OtelTraceState, kept: Option<&TraceState>) -> String {
    let mut members = Vec::new();
    let kept = kept.into_iter().flat_map(TraceState::iter);
    for (key, value) in span.into_iter().chain(kept) {
        if is_key(key) && is_value(value) {
            push_new(&mut members, (key, value));
        }
    }
    members.truncate(TraceState::MAX_MEMBERS);
    join(members)
}

fn parse_member(member: &[u8]) -> Option<(&str, &str)> {
    let (key, value) = str::from_utf8(member).ok()?.split_once('=')?;
    (is_key(key) && is_value(value)).then_some((key, value))
}

/// "Key", as the text stands today: the Recommendation of 2021 allowed one `@` only.
fn is_key(key: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_other = |byte: u8| is_first(byte) || b"_-*/@".contains(&byte);
    key.len() <= 256 && key.bytes().next().is_some_and(is_first) && key.bytes().all(is_other)
}

/// "Value". A space may stand anywhere but at the end.
fn is_value(value: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    matches!(value.len(), 1..=256) && value.bytes().all(is_allowed) && !value.ends_with(' ')
}

fn push_new<'a>(members: &mut Vec<(&'a str, &'a str)>, member: (&'a str, &'a str)) {
    if !members.iter().any(|(key, _)| *key == member.0) {
        members.push(member);
    }
}

fn join(mut members: Vec<(&str, &str)>) -> String {
    cut(&mut members);
    let mut text = String::with_capacity(members.iter().map(member_len).sum());
    for (key, value) in members {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// With its comma.
fn member_len((key, value): &(&str, &str)) -> usize {
    key.len() + value.len() + 2
}

fn cut(members: &mut Vec<(&str, &str)>) {
    // The last member has no comma behind it.
    let max = TraceState::MAX_LEN + 1;
    let mut len: usize = members.iter().map(member_len).sum();
    for index in (0..members.len()).rev() {
        let member = member_len(&members[index]);
        if len > max && member - 1 > LONG_MEMBER {
            members.remove(index);
            len -= member;
        }
    }
    while len > max
        && let Some(member) = members.pop()
    {
        len -= member_len(&member);
    }
}
