use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use http::HeaderMap;
use serde::Deserialize;

use super::{
    Data, DataError, DecodeError, Limits,
    binary::{self, Prefix},
    data::{Payload, from_json},
    json,
    media_type::is_octets,
    text::Text,
};

/// An event. See the [module docs](crate::event) for an example and for what is accepted.
///
/// Cloning copies no text of the received buffer.
#[derive(Clone)]
pub struct CloudEvent {
    /// What the slices are slices of.
    pub(super) buffer: Bytes,
    pub(super) attributes: Attributes,
    pub(super) extensions: Vec<Extension>,
    pub(super) payload: Payload,
}

/// The attributes of the specification.
#[derive(Clone, Default)]
pub(super) struct Attributes {
    pub(super) id: Option<Text>,
    pub(super) source: Option<Text>,
    pub(super) ty: Option<Text>,
    pub(super) spec_version: Option<Text>,
    pub(super) data_content_type: Option<Text>,
    pub(super) data_schema: Option<Text>,
    pub(super) subject: Option<Text>,
    pub(super) time: Option<Text>,
}

/// Any other member. What is not a text is kept as JSON.
#[derive(Clone)]
pub(super) struct Extension {
    pub(super) name: Text,
    pub(super) value: Text,
    pub(super) is_json: bool,
}

/// The value of an extension attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtensionValue<'a> {
    /// A text.
    Text(&'a str),
    /// Anything else, as JSON: `7`, `true`, and, as lenient reading allows it, `1.5` or `{"a":1}`.
    Json(&'a str),
}

impl<'a> ExtensionValue<'a> {
    /// The text, or the JSON of what is no text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Json(text) => text,
        }
    }
}

impl CloudEvent {
    /// Decodes an event in structured mode (`application/cloudevents+json`) within the default [`Limits`].
    ///
    /// # Errors
    ///
    /// If the bytes are no JSON object in UTF-8, or one of the conditions that the table in the
    /// [module docs](crate::event#what-is-accepted) calls refused.
    pub fn from_json(body: Bytes) -> Result<Self, DecodeError> {
        Self::from_json_within(body, &Limits::default())
    }

    /// As [`from_json`](Self::from_json), within limits of your own.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    pub fn from_json_within(body: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        json::decode(body, limits)
    }

    /// Decodes an event in binary mode within the default [`Limits`]: attributes in headers `ce-..`, data as the body.
    ///
    /// A value that is quoted is unquoted, and then percent-decoded once. A header `ce-datacontenttype` is ignored: the
    /// `content-type` is the data's.
    ///
    /// # Errors
    ///
    /// If there is no header of this kind, `ce-specversion` is not `1.0`, a header is there twice, a value is not ASCII or
    /// does not decode to UTF-8, or a limit is exceeded.
    pub fn from_headers(headers: &HeaderMap, data: Bytes) -> Result<Self, DecodeError> {
        Self::from_headers_within(headers, data, &Limits::default())
    }

    /// As [`from_headers`](Self::from_headers), within limits of your own.
    ///
    /// # Errors
    ///
    /// As [`from_headers`](Self::from_headers).
    pub fn from_headers_within(headers: &HeaderMap, data: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        binary::decode(Prefix::Http, headers, data, limits)
    }

    // ===== attributes of the specification =====

    /// `id`. `None` if the publisher sent none: Dapr does not add one to an event that is already a CloudEvent.
    ///
    /// Of a raw subscription's events it is made up by daprd for each delivery, and differs when one is delivered again.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text(self.attributes.id.as_ref())
    }

    /// `source`: usually the publisher's app id. Defaults to `Dapr`, as in daprd.
    #[must_use]
    pub fn source(&self) -> &str {
        self.text(self.attributes.source.as_ref()).unwrap_or("Dapr")
    }

    /// `type`. Defaults to `com.dapr.event.sent`, as in daprd.
    #[must_use]
    pub fn ty(&self) -> &str {
        self.text(self.attributes.ty.as_ref()).unwrap_or("com.dapr.event.sent")
    }

    /// `specversion`: always `1.0`, anything else was refused.
    #[must_use]
    pub fn spec_version(&self) -> &str {
        self.text(self.attributes.spec_version.as_ref()).unwrap_or("1.0")
    }

    /// `datacontenttype`, with its parameters, as it was received.
    #[must_use]
    pub fn data_content_type(&self) -> Option<&str> {
        self.text(self.attributes.data_content_type.as_ref())
    }

    /// `dataschema`.
    #[must_use]
    pub fn data_schema(&self) -> Option<&str> {
        self.text(self.attributes.data_schema.as_ref())
    }

    /// `subject`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.text(self.attributes.subject.as_ref())
    }

    /// `time`, as it was received: RFC 3339 if the publisher kept to the rules.
    #[must_use]
    pub fn time(&self) -> Option<&str> {
        self.text(self.attributes.time.as_ref())
    }

    /// [`time`](Self::time) as a point in time, with its offset. `None` also if it is no RFC 3339 timestamp.
    #[must_use]
    pub fn timestamp(&self) -> Option<DateTime<FixedOffset>> {
        DateTime::parse_from_rfc3339(self.time()?).ok()
    }

    // ===== extensions =====

    /// An extension attribute by its name.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<ExtensionValue<'_>> {
        self.extensions().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// All extension attributes, in the order of the event: Dapr's own and every other member.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, ExtensionValue<'_>)> {
        self.extensions.iter().map(|extension| {
            let value = extension.value.get(&self.buffer);
            let value = if extension.is_json { ExtensionValue::Json(value) } else { ExtensionValue::Text(value) };
            (extension.name.get(&self.buffer), value)
        })
    }

    // ===== Dapr's extensions =====

    /// `topic`: where the event was published. After a dead letter it still names the first topic.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.extension_text("topic")
    }

    /// `pubsubname`: the pubsub component.
    #[must_use]
    pub fn pubsub_name(&self) -> Option<&str> {
        self.extension_text("pubsubname")
    }

    /// `traceparent`: the context in which the event was created (CloudEvents, *Distributed Tracing*).
    #[must_use]
    pub fn trace_parent(&self) -> Option<&str> {
        self.extension_text("traceparent")
    }

    /// `tracestate`, which goes with [`trace_parent`](Self::trace_parent).
    #[must_use]
    pub fn trace_state(&self) -> Option<&str> {
        self.extension_text("tracestate")
    }

    /// `traceid`: in spite of its name a whole `traceparent`, if daprd wrote it.
    #[must_use]
    pub fn trace_id(&self) -> Option<&str> {
        self.extension_text("traceid")
    }

    /// `expiration`: when Dapr stops to deliver the event, in RFC 3339.
    #[must_use]
    pub fn expiration(&self) -> Option<&str> {
        self.extension_text("expiration")
    }

    fn extension_text(&self, name: &str) -> Option<&str> {
        match self.extension(name)? {
            ExtensionValue::Text(text) => Some(text),
            ExtensionValue::Json(_) => None,
        }
    }

    // ===== data =====

    /// The data as it was received.
    #[must_use]
    pub fn data(&self) -> Data<'_> {
        self.payload.data()
    }

    /// The bytes of [`data`](Self::data), empty if there is none. Shares the received buffer.
    #[must_use]
    pub fn data_bytes(&self) -> Bytes {
        self.payload.bytes()
    }

    /// Reads the data as `T`, by its content type: see the [module docs](crate::event#data). `T` may borrow from the event.
    ///
    /// Parses each time it is called.
    ///
    /// # Errors
    ///
    /// If there is no data, or an empty text (and `T` is neither an `Option` nor `()`), if data that should be JSON is
    /// not, or if it does not fit `T`.
    pub fn data_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DataError> {
        self.payload.read()
    }

    /// Reads the data as JSON, whatever its content type says: for a raw payload, which Dapr calls
    /// `application/octet-stream`.
    ///
    /// # Errors
    ///
    /// If there is no data (and `T` is neither an `Option` nor `()`), it is no JSON, or does not fit `T`.
    pub fn data_as_json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DataError> {
        match &self.payload {
            Payload::Text(bytes) | Payload::Binary(bytes) => from_json(bytes),
            payload => payload.read(),
        }
    }

    /// Makes [`data_as`](Self::data_as) read data of which only the bytes are known as JSON.
    pub(crate) fn read_octets_as_json(mut self) -> Self {
        if self.data_content_type().is_none_or(is_octets)
            && let Payload::Binary(bytes) = &mut self.payload
        {
            self.payload = Payload::BinaryJson(std::mem::take(bytes));
        }
        self
    }

    /// Without it, it may be any JSON object.
    pub(crate) fn has_spec_version(&self) -> bool {
        self.attributes.spec_version.is_some()
    }

    fn text<'a>(&'a self, text: Option<&'a Text>) -> Option<&'a str> {
        text.map(|text| text.get(&self.buffer))
    }
}

/// Shows what identifies the event, and of the data only kind and length.
impl fmt::Debug for CloudEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudEvent")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("type", &self.ty())
            .field("subject", &self.subject())
            .field("pubsub_name", &self.pubsub_name())
            .field("topic", &self.topic())
            .field("data_content_type", &self.data_content_type())
            .field("data", &self.data())
            .finish_non_exhaustive()
    }
}
