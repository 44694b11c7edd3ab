//! Binary mode: attributes in headers, data as the body (CloudEvents 1.0.2, *HTTP Protocol Binding*, section 3.1).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use percent_encoding::percent_decode;

use super::{CloudEvent, DecodeError, Limits, compose::Composer, error::Kind};

/// Whose headers these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// `ce-id`, by the HTTP binding: values are percent-encoded, the data's type is the `content-type`.
    Http,
    /// `ce_id`: what a broker's message had, handed on by daprd. Values are bare UTF-8 (as in the Kafka binding); the
    /// `content-type` is daprd's and says nothing of the data.
    Broker,
}

impl Prefix {
    const fn text(self) -> &'static str {
        match self {
            Self::Http => "ce-",
            Self::Broker => "ce_",
        }
    }

    fn value(self, value: &HeaderValue) -> Result<Cow<'_, str>, Kind> {
        match self {
            Self::Http => decode_value(value.as_bytes()),
            Self::Broker => std::str::from_utf8(value.as_bytes()).map(Cow::Borrowed).map_err(|_| Kind::NotUnicode),
        }
    }
}

pub(crate) fn decode(
    prefix: Prefix,
    headers: &HeaderMap,
    data: Bytes,
    limits: &Limits,
) -> Result<CloudEvent, DecodeError> {
    if data.len() > limits.bytes() {
        return Err(DecodeError::too_large(limits));
    }
    let mut event = Composer::new(512, limits);
    let mut found = false;
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(prefix.text()).filter(|name| !name.is_empty()) else { continue };
        found = true;
        // Section 3.1.3.2: the content type is the one place for it. `data` is no name for an attribute.
        if (prefix == Prefix::Http && name == "datacontenttype") || matches!(name, "data" | "data_base64") {
            continue;
        }
        prefix.value(value).and_then(|value| event.text(name, &value)).map_err(DecodeError::new)?;
    }
    if !found {
        return Err(DecodeError::new(Kind::NoAttributes));
    }
    if prefix == Prefix::Http
        && let Some(media_type) = headers.get(CONTENT_TYPE)
    {
        let media_type = media_type.to_str().map_err(|_| DecodeError::new(Kind::NotUnicode))?;
        event.text("datacontenttype", media_type).map_err(DecodeError::new)?;
    }
    event.finish(data)
}

/// The value of a header: unquoted if an older sender has quoted it, then percent-decoded once (section 3.1.3.2).
///
/// A `%` that two hexadecimal digits do not follow stays: senders that do not encode at all mean a percent sign.
fn decode_value(value: &[u8]) -> Result<Cow<'_, str>, Kind> {
    // One look for both: few values have either.
    const PERCENT: u8 = 1;
    let seen = value.iter().fold(0, |seen, byte| seen | (byte & 0x80) | if *byte == b'%' { PERCENT } else { 0 });
    if !seen.is_ascii() {
        return Err(Kind::NotUnicode);
    }
    match (unquote(value), seen & PERCENT != 0) {
        (Cow::Borrowed(value), false) => std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| Kind::NotUnicode),
        (value, _) => {
            let decoded = Cow::from(percent_decode(&value)).into_owned();
            String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Kind::NotUnicode)
        }
    }
}

fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut unquoted = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => unquoted.extend(bytes.next()),
            _ => unquoted.push(*byte),
        }
    }
    Cow::Owned(unquoted)
}

#[cfg(test)]
mod tests {
    use super::decode_value;

    #[test]
    fn a_value_is_unquoted_and_decoded_once() {
        for (value, expected) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("%2520", "%20"),
            ("50%", "50%"),
            ("50%zz", "50%zz"),
            ("plain", "plain"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            (r#""%22""#, "\""),
            (r#"""#, "\""),
            (r#""\""#, ""),
            ("", ""),
        ] {
            assert_eq!(decode_value(value.as_bytes()).as_deref(), Ok(expected), "{value}");
        }
        for value in [&b"%C0%A0"[..], b"%FF", "ä".as_bytes(), b"\xff"] {
            assert!(decode_value(value).is_err(), "{value:?}");
        }
    }
}
