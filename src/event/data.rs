use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, de::value::UnitDeserializer};
use serde_json::value::RawValue;

use super::{
    DataError,
    media_type::{is_json, is_octets, is_text},
    plain::Plain,
};

/// The data of an event as it was received.
///
/// ```
/// use bytes::Bytes;
/// use tower_dapr::event::{CloudEvent, Data};
///
/// let event = CloudEvent::from_json(Bytes::from_static(br#"{"id":"1","data":{"n": 1}}"#))?;
/// assert_eq!(event.data(), Data::Json(r#"{"n": 1}"#));
/// # Ok::<_, tower_dapr::event::DecodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Data<'a> {
    /// There is none.
    None,
    /// JSON text, as it was written. From binary mode it has not been parsed yet.
    Json(&'a str),
    /// Text, with the escapes of JSON undone.
    Text(&'a str),
    /// Bytes: `data_base64`, decoded.
    Binary(&'a [u8]),
}

/// Shows the kind and the length, not the data.
impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, length) = match self {
            Self::None => return f.write_str("None"),
            Self::Json(json) => ("Json", json.len()),
            Self::Text(text) => ("Text", text.len()),
            Self::Binary(bytes) => ("Binary", bytes.len()),
        };
        f.debug_tuple(kind).field(&format_args!("{length} bytes")).finish()
    }
}

/// The data of an event as it is kept.
#[derive(Clone)]
pub(super) enum Payload {
    None,
    /// JSON. From binary mode nobody has looked at it yet: if it is no UTF-8, it is bytes.
    Json(Bytes),
    /// A JSON string that daprd made of JSON text, which `inner` is. Both are UTF-8.
    Wrapped {
        outer: Bytes,
        inner: Bytes,
    },
    /// Text. From binary mode as for JSON.
    Text(Bytes),
    Binary(Bytes),
    /// Bytes of a JSON content type.
    BinaryJson(Bytes),
}

impl Payload {
    /// Data that came as bytes beside the attributes: what it is follows from its content type. It is not looked at, however
    /// long it is.
    pub(super) fn of_bytes(media_type: Option<&str>, bytes: Bytes) -> Self {
        match media_type {
            _ if bytes.is_empty() => Self::None,
            Some(json) if is_json(json) => Self::Json(bytes),
            Some(text) if is_text(text) => Self::Text(bytes),
            _ => Self::Binary(bytes),
        }
    }

    /// As [`of_bytes`](Self::of_bytes), where empty data and none look the same: empty text and octets are data, and
    /// are read as none by what asks for none.
    pub(super) fn of_delivered(media_type: Option<&str>, bytes: Bytes) -> Self {
        match media_type {
            Some(text) if bytes.is_empty() && is_text(text) => Self::Text(bytes),
            Some(octets) if bytes.is_empty() && is_octets(octets) => Self::Binary(bytes),
            _ => Self::of_bytes(media_type, bytes),
        }
    }

    pub(super) fn data(&self) -> Data<'_> {
        let (as_text, bytes): (fn(_) -> _, _) = match self {
            Self::None => return Data::None,
            Self::Json(json) | Self::Wrapped { outer: json, .. } => (Data::Json, json),
            Self::Text(bytes) => (Data::Text, bytes),
            Self::Binary(bytes) | Self::BinaryJson(bytes) => return Data::Binary(bytes),
        };
        std::str::from_utf8(bytes).map_or(Data::Binary(bytes), as_text)
    }

    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::Json(bytes)
            | Self::Wrapped { outer: bytes, .. }
            | Self::Text(bytes)
            | Self::Binary(bytes)
            | Self::BinaryJson(bytes) => bytes.clone(),
        }
    }

    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DataError> {
        match self {
            Self::None => none().map_err(|_| DataError::missing()),
            Self::Json(json) | Self::BinaryJson(json) => from_json(json),
            Self::Wrapped { outer, inner } => parse(inner).or_else(|_| from_json(outer)),
            Self::Text(bytes) | Self::Binary(bytes) => {
                let (form, plain) = match self.data() {
                    Data::Text(text) => ("text", Plain::Text(text)),
                    _ => ("binary", Plain::Bytes(bytes)),
                };
                T::deserialize(plain)
                    .or_else(|error| none_if(bytes.is_empty(), error))
                    .map_err(|error| DataError::mismatch(form, error))
            }
        }
    }
}

/// What a type makes of no data.
fn none<'a, T: Deserialize<'a>>() -> serde_json::Result<T> {
    T::deserialize(UnitDeserializer::new())
}

/// Dapr has no other way to say "no data" than an empty text, which `()` and most `Option`s do not fit.
#[cold]
fn none_if<'a, T: Deserialize<'a>>(is_empty: bool, error: serde_json::Error) -> serde_json::Result<T> {
    if is_empty { none().map_err(|_| error) } else { Err(error) }
}

/// JSON is UTF-8. Checked as a whole, that costs less than checked text by text.
pub(super) fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DataError> {
    parse(json)
        .or_else(|error| none_if(matches!(json, b"" | b"\"\""), error))
        .map_err(|error| DataError::mismatch("JSON", error))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(json) {
        Ok(json) => serde_json::from_str(json),
        // Where it is not, the parser says: it reads raw values as text.
        Err(error) => Err(match serde_json::from_slice::<&RawValue>(json) {
            Err(error) => error,
            Ok(_) => serde::de::Error::custom(error),
        }),
    }
}
