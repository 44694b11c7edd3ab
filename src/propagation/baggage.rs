//! The `baggage` header of W3C Baggage, read and written within its limits.

use std::borrow::Cow;

use http::HeaderValue;
use opentelemetry::baggage::Baggage;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What every participant has to carry (W3C Baggage, "Limits"), and the most that daprd takes. A limit on all headers
/// together: a limit on each one alone lets a sender multiply.
pub(super) const MAX_MEMBERS: usize = 64;
pub(super) const MAX_BYTES: usize = 8192;

/// All that is not a `baggage-octet`, and the percent sign itself. daprd encodes alike and counts the bytes of that.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// Reads the headers of a request. Members that break the grammar are left out, and all from the first that passes a
/// limit. The last of several members with one key wins, as in other OpenTelemetry SDKs.
pub(super) fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Baggage {
    let mut baggage = Baggage::new();
    let members = Members { values, value: None, unread: Some(MAX_BYTES) };
    for (key, value, properties) in members.filter_map(parse_member).take(MAX_MEMBERS) {
        baggage.insert_with_metadata(key.to_owned(), value.into_owned(), properties);
    }
    baggage
}

/// Writes a header that daprd takes, or `None` if there is nothing to write. Members that cannot be sent or do not fit
/// are left out whole. Sorted by key, so that the same baggage always makes the same header.
pub(super) fn write(baggage: &Baggage) -> Option<HeaderValue> {
    if baggage.is_empty() {
        return None;
    }
    let mut entries: Vec<_> = baggage.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_str());

    let mut header = String::new();
    let mut count = 0;
    for (key, (value, properties)) in entries {
        let end = header.len();
        if count > 0 {
            header.push(',');
        }
        let start = header.len();
        header.push_str(key.as_str());
        header.push('=');
        header.extend(utf8_percent_encode(value.as_str(), ENCODED));
        if !properties.as_str().is_empty() {
            header.push(';');
            header.push_str(properties.as_str());
        }
        // OpenTelemetry's type holds no more than that today, but it does not promise so.
        if count < MAX_MEMBERS && header.len() <= MAX_BYTES && is_strict(&header.as_bytes()[start..]) {
            count += 1;
        } else {
            header.truncate(end);
        }
    }
    if header.is_empty() { None } else { HeaderValue::try_from(header).ok() }
}

/// Joins headers that somebody set by hand into one, or `None` if daprd would refuse the call because of them.
pub(super) fn join_strict<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<HeaderValue> {
    let mut header = Vec::new();
    for value in values {
        if !header.is_empty() {
            header.push(b',');
        }
        if header.len() + value.len() > MAX_BYTES {
            return None;
        }
        header.extend_from_slice(value);
    }
    let mut members = header.split(|&byte| byte == b',');
    let strict = members.by_ref().take(MAX_MEMBERS).all(is_strict) && members.next().is_none();
    if strict { HeaderValue::from_bytes(&header).ok() } else { None }
}

/// The members that end within the first [`MAX_BYTES`] of all values, joined. Never looks further than that.
struct Members<'a, I> {
    values: I,
    value: Option<&'a [u8]>,
    /// `None` once the limit is passed.
    unread: Option<usize>,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Members<'a, I> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let unread = self.unread?;
        let value = self.value.take().or_else(|| self.values.next())?;
        let window = &value[..value.len().min(unread + 1)];
        let end = window.iter().position(|&byte| byte == b',').unwrap_or(window.len());
        // The member and the comma behind it.
        self.unread = unread.checked_sub(end + 1);
        self.value = value.get(end + 1..);
        (end <= unread).then_some(&value[..end])
    }
}

/// Key, value and properties. The value may hold `=`; the properties are not looked into.
fn parse_member(member: &[u8]) -> Option<(&str, Cow<'_, str>, &str)> {
    let member = str::from_utf8(member).ok()?;
    let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
    let (key, value) = parse_pair(pair)?;
    Some((key, percent_decode_str(value).decode_utf8_lossy(), trim(properties)))
}

fn parse_pair(pair: &str) -> Option<(&str, &str)> {
    let (key, value) = pair.split_once('=')?;
    let (key, value) = (trim(key), trim(value));
    (is_token(key) && value.bytes().all(is_baggage_octet)).then_some((key, value))
}

/// Whether the member is one that no parser can refuse: its properties are well-formed too, and its percent sequences
/// complete and UTF-8.
fn is_strict(member: &[u8]) -> bool {
    let Ok(member) = str::from_utf8(member) else { return false };
    let mut parts = member.split(';');
    parts.next().is_some_and(is_strict_pair)
        && parts.all(|property| is_token(trim(property)) || is_strict_pair(property))
}

fn is_strict_pair(pair: &str) -> bool {
    parse_pair(pair).is_some_and(|(_, value)| {
        // Behind each percent sign, two hex digits.
        let complete = value.split('%').skip(1).all(|rest| {
            rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        complete && percent_decode_str(value).decode_utf8().is_ok()
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_baggage_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_looks_beyond_the_limit() {
        let count =
            |values: &[&[u8]]| Members { values: values.iter().copied(), value: None, unread: Some(MAX_BYTES) }.count();
        assert_eq!(count(&[&[b','; 1 << 20]]), MAX_BYTES + 1);
        assert_eq!(count(&[b"".as_slice(); 10_000]), MAX_BYTES + 1);
        assert_eq!(count(&[&[b'x'; MAX_BYTES], b"", b""]), 1);
        assert_eq!(count(&[&[b'x'; MAX_BYTES + 1]]), 0);
    }
}
