//! Binary mode: attributes in headers, data as the body (CloudEvents 1.0.2, *HTTP Protocol Binding*, section 3.1).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use percent_encoding::percent_decode;

use super::{CloudEvent, DecodeError, Limits, compose::Composer, error::Kind, scan::ONES};

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

    fn value(self, value: &HeaderValue) -> Result<Value<'_>, Kind> {
        match self {
            Self::Http => decode_value(value.as_bytes()),
            Self::Broker => {
                std::str::from_utf8(value.as_bytes()).map(|text| Value::Text(text.into())).map_err(|_| Kind::NotUnicode)
            }
        }
    }
}

/// What the value of a header says.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    /// Nearly always: as it is written, in ASCII.
    Ascii(&'a [u8]),
    Text(Cow<'a, str>),
}

pub(crate) fn decode(
    prefix: Prefix,
    headers: &HeaderMap,
    data: Bytes,
    limits: &Limits,
) -> Result<CloudEvent, DecodeError> {
    if data.len() > limits.bytes() {
        return Err(DecodeError::too_large(limits.bytes()));
    }
    let mut event = Composer::new(512, limits);
    let mut found = false;
    let mut media_type = None;
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(prefix.text()).filter(|name| !name.is_empty()) else {
            if prefix == Prefix::Http && header == CONTENT_TYPE {
                media_type = media_type.or(Some(value));
            }
            continue;
        };
        found = true;
        // Section 3.1.3.2: the content type is the one place for it. `data` is no name for an attribute.
        if (prefix == Prefix::Http && name == "datacontenttype") || matches!(name, "data" | "data_base64") {
            continue;
        }
        match prefix.value(value) {
            Ok(Value::Ascii(value)) => event.ascii(name, value),
            Ok(Value::Text(value)) => event.text(name, &value),
            Err(kind) => Err(kind),
        }
        .map_err(DecodeError::new)?;
    }
    if !found {
        return Err(DecodeError::new(Kind::NoAttributes));
    }
    if let Some(media_type) = media_type {
        let media_type = media_type.to_str().map_err(|_| DecodeError::new(Kind::NotUnicode))?;
        event.text("datacontenttype", media_type).map_err(DecodeError::new)?;
    }
    event.finish(data)
}

/// The value of a header: unquoted if an older sender has quoted it, then percent-decoded once (section 3.1.3.2).
///
/// A `%` that two hexadecimal digits do not follow stays: senders that do not encode at all mean a percent sign.
fn decode_value(value: &[u8]) -> Result<Value<'_>, Kind> {
    let (is_ascii, has_percent) = look_at(value);
    if !is_ascii {
        return Err(Kind::NotUnicode);
    }
    let value = match unquote(value) {
        Cow::Borrowed(value) if !has_percent => return Ok(Value::Ascii(value)),
        value => value,
    };
    let decoded = Cow::from(percent_decode(&value)).into_owned();
    String::from_utf8(decoded).map(|text| Value::Text(text.into())).map_err(|_| Kind::NotUnicode)
}

/// Is it ASCII, and is there a percent sign in it? One look for both: few values have either.
fn look_at(value: &[u8]) -> (bool, bool) {
    const HIGHEST: u64 = ONES << 7;
    let (mut high, mut percent) = (0, 0);
    let mut word = |bytes: &[u8; 8]| {
        let bytes = u64::from_le_bytes(*bytes);
        high |= bytes;
        // A byte that is none after this was a percent sign.
        let bytes = bytes ^ (ONES * u64::from(b'%'));
        percent |= bytes.wrapping_sub(ONES) & !bytes;
    };
    match value.last_chunk() {
        Some(last) => {
            value.as_chunks().0.iter().for_each(&mut word);
            // Those that are in no word are in this one.
            word(last);
        }
        None => {
            let only = value.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            word(&only.to_le_bytes());
        }
    }
    (high & HIGHEST == 0, percent & HIGHEST != 0)
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
    use super::{Value, decode_value};

    fn decoded(value: &[u8]) -> Option<String> {
        match decode_value(value).ok()? {
            Value::Ascii(value) => Some(std::str::from_utf8(value).unwrap().to_owned()),
            Value::Text(text) => Some(text.into_owned()),
        }
    }

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
            assert_eq!(decoded(value.as_bytes()).as_deref(), Some(expected), "{value}");
        }
        // Wherever they stand, a percent sign and what is not ASCII are seen.
        for length in 0..40 {
            for at in 0..=length {
                let (ahead, behind) = ("a".repeat(at), "b".repeat(length - at));
                let read = |text: &str| decoded(format!("{ahead}{text}{behind}").as_bytes());
                assert_eq!(read("%41"), Some(format!("{ahead}A{behind}")));
                assert_eq!(read("$&"), Some(format!("{ahead}$&{behind}")));
                assert_eq!(read("ä"), None);
            }
        }
        for value in [&b"%C0%A0"[..], b"%FF", "ä".as_bytes(), b"\xff"] {
            assert!(decode_value(value).is_err(), "{value:?}");
        }
    }
}
