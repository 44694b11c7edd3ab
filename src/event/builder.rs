use std::{error::Error, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, FixedOffset, SecondsFormat};
use serde::Serialize;

use super::{CloudEvent, Limits, compose::Composer};

/// Puts an event together. Made by [`CloudEvent::builder`].
///
/// ```
/// use tower_dapr::event::CloudEvent;
///
/// let event = CloudEvent::builder("7", "shop", "order.paid.v1")
///     .subject("order 7")
///     .extension("priority", 3)
///     .json(&["tea", "milk"])
///     .build()?;
/// assert_eq!(
///     event.to_json(),
///     r#"{"specversion":"1.0","id":"7","source":"shop","type":"order.paid.v1","datacontenttype":"application/json","subject":"order 7","priority":3,"data":["tea","milk"]}"#
/// );
/// # Ok::<_, tower_dapr::event::BuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "an event is built by `build`"]
pub struct CloudEventBuilder {
    attributes: Vec<(&'static str, String)>,
    extensions: Vec<(String, AttributeValue)>,
    data: Result<Bytes, BuildError>,
}

/// The value of an extension attribute, of the types of CloudEvents 1.0.2 (*Type System*). A URI is a text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// 32 bits, signed.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
    /// Bytes, written in base64.
    Binary(Vec<u8>),
    /// A time, written as RFC 3339 has it.
    Timestamp(DateTime<FixedOffset>),
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {
        $(impl From<$type> for AttributeValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from!(&str => Text, String => Text, i32 => Integer, bool => Boolean, Vec<u8> => Binary, &[u8] => Binary,
    DateTime<FixedOffset> => Timestamp);

impl CloudEvent {
    /// A new event. `id` and `source` together are to be unique.
    pub fn builder(id: impl Into<String>, source: impl Into<String>, ty: impl Into<String>) -> CloudEventBuilder {
        let attributes = vec![("id", id.into()), ("source", source.into()), ("type", ty.into())];
        CloudEventBuilder { attributes, extensions: Vec::new(), data: Ok(Bytes::new()) }
    }
}

impl CloudEventBuilder {
    /// `subject`.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.attribute("subject", subject.into())
    }

    /// `dataschema`.
    pub fn data_schema(self, uri: impl Into<String>) -> Self {
        self.attribute("dataschema", uri.into())
    }

    /// `time`, with as many digits of the second as it has.
    pub fn time(self, time: impl Into<DateTime<FixedOffset>>) -> Self {
        self.attribute("time", rfc3339(&time.into()))
    }

    /// An extension attribute. Its name is of lower case ASCII letters and digits.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<AttributeValue>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    /// Data: this value as `application/json`.
    pub fn json<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = serde_json::to_vec(data).map(Bytes::from).map_err(|_| BuildError::new(Kind::Unserializable));
        self.attribute("datacontenttype", "application/json".to_owned())
    }

    /// Data: these bytes, of this content type.
    pub fn bytes(mut self, content_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.data = Ok(data.into());
        self.attribute("datacontenttype", content_type.into())
    }

    /// The last one counts.
    fn attribute(mut self, name: &'static str, value: String) -> Self {
        self.attributes.retain(|(known, _)| *known != name);
        self.attributes.push((name, value));
        self
    }

    /// The event.
    ///
    /// # Errors
    ///
    /// If an attribute is empty, an extension has no proper name or that of an attribute, or is there twice, a text has a
    /// character that CloudEvents forbids (control characters and noncharacters), something exceeds the default [`Limits`],
    /// or the data could not be serialized.
    pub fn build(self) -> Result<CloudEvent, BuildError> {
        let limits = Limits::default();
        let mut event = Composer::new(256, &limits);
        let too_much = |_| BuildError::new(Kind::Refused);
        event.text("specversion", "1.0").map_err(too_much)?;
        for (name, value) in &self.attributes {
            check(name, value)?;
            event.text(name, value).map_err(too_much)?;
        }
        for (name, value) in &self.extensions {
            let is_named = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            if name.is_empty() || !is_named || RESERVED.contains(&name.as_str()) {
                return Err(BuildError::new(Kind::Name { name: name.clone() }));
            }
            match value {
                AttributeValue::Text(text) => {
                    check(name, text)?;
                    event.text(name, text)
                }
                AttributeValue::Integer(integer) => event.json(name, &integer.to_string()),
                AttributeValue::Boolean(boolean) => event.json(name, if *boolean { "true" } else { "false" }),
                AttributeValue::Binary(bytes) => event.text(name, &STANDARD.encode(bytes)),
                AttributeValue::Timestamp(time) => event.text(name, &rfc3339(time)),
            }
            .map_err(too_much)?;
        }
        event.finish(self.data?).map_err(|_| BuildError::new(Kind::Refused))
    }
}

const RESERVED: [&str; 9] =
    ["specversion", "id", "source", "type", "datacontenttype", "dataschema", "subject", "time", "data"];

fn rfc3339(time: &DateTime<FixedOffset>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn check(name: &str, text: &str) -> Result<(), BuildError> {
    let name = || name.to_owned();
    if text.is_empty() {
        return Err(BuildError::new(Kind::Empty { name: name() }));
    }
    if text.chars().any(is_forbidden) {
        return Err(BuildError::new(Kind::Character { name: name() }));
    }
    Ok(())
}

/// CloudEvents 1.0.2, *Type System*, String.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Why an event cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Empty { name: String },
    Character { name: String },
    Name { name: String },
    Unserializable,
    Refused,
}

impl BuildError {
    const fn new(kind: Kind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Empty { name } => write!(f, "`{name}` is empty"),
            Kind::Character { name } => write!(f, "`{name}` has a character that is not allowed"),
            Kind::Name { name } => write!(f, "{name:?} is no name for an extension attribute"),
            Kind::Unserializable => f.write_str("the data cannot be written as JSON"),
            Kind::Refused => f.write_str("an extension attribute appears twice, or a limit is exceeded"),
        }
    }
}

impl Error for BuildError {}
