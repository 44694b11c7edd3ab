use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, de::value::UnitDeserializer};

use super::{
    DataError,
    media_type::{is_json, is_text},
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
    /// UTF-8.
    Json(Bytes),
    /// A JSON string that daprd made of JSON text, which `inner` is. Both are UTF-8.
    Wrapped {
        outer: Bytes,
        inner: Bytes,
    },
    /// UTF-8.
    Text(Bytes),
    Binary(Bytes),
    /// Bytes of a JSON content type.
    BinaryJson(Bytes),
}

impl Payload {
    /// Data that came as bytes beside the attributes: what it is follows from its content type.
    pub(super) fn of_bytes(media_type: Option<&str>, bytes: Bytes) -> Self {
        let is_utf8 = || std::str::from_utf8(&bytes).is_ok();
        match media_type {
            _ if bytes.is_empty() => Self::None,
            Some(json) if is_json(json) && is_utf8() => Self::Json(bytes),
            Some(json) if is_json(json) => Self::BinaryJson(bytes),
            Some(text) if is_text(text) && is_utf8() => Self::Text(bytes),
            _ => Self::Binary(bytes),
        }
    }

    pub(super) fn data(&self) -> Data<'_> {
        match self {
            Self::None => Data::None,
            Self::Json(json) | Self::Wrapped { outer: json, .. } => Data::Json(text(json)),
            Self::Text(bytes) => Data::Text(text(bytes)),
            Self::Binary(bytes) | Self::BinaryJson(bytes) => Data::Binary(bytes),
        }
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
            Self::None => {
                T::deserialize(UnitDeserializer::<serde_json::Error>::new()).map_err(|_| DataError::missing())
            }
            Self::Json(json) | Self::BinaryJson(json) => from_json(json),
            Self::Wrapped { outer, inner } => serde_json::from_slice(inner).or_else(|_| from_json(outer)),
            Self::Text(bytes) => {
                T::deserialize(Plain::Text(text(bytes))).map_err(|error| DataError::mismatch("text", error))
            }
            Self::Binary(bytes) => {
                T::deserialize(Plain::Bytes(bytes)).map_err(|error| DataError::mismatch("binary", error))
            }
        }
    }
}

pub(super) fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DataError> {
    serde_json::from_slice(json).map_err(|error| DataError::mismatch("JSON", error))
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("made of a `&str` or `String`")
}
