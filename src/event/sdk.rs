//! To and from the events of the CloudEvents SDK, feature `cloudevents`.

use std::{error::Error, fmt};

use bytes::Bytes;
use cloudevents::{
    AttributesReader, Data as SdkData, Event as SdkEvent, EventBuilder, EventBuilderV10,
    event::{EventBuilderError, ExtensionValue as SdkValue, SpecVersion},
};

use super::{BuildError, CloudEvent, CloudEventBuilder, Data, ExtensionValue, builder::AttributeValue};

/// Why an event cannot be one of the CloudEvents SDK, or the other way round.
#[derive(Debug)]
pub struct ConversionError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sdk(EventBuilderError),
    Ours(BuildError),
    Version,
    Integer,
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Sdk(_) => f.write_str("the CloudEvents SDK does not take the event"),
            Kind::Ours(_) => f.write_str("the SDK's event is not valid"),
            Kind::Version => f.write_str("the SDK's event is not of CloudEvents 1.0"),
            Kind::Integer => f.write_str("an extension attribute has more than 32 bits"),
        }
    }
}

impl Error for ConversionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Sdk(error) => Some(error),
            Kind::Ours(error) => Some(error),
            Kind::Version | Kind::Integer => None,
        }
    }
}

/// Copies. The SDK knows times in UTC only, makes an `id` for an event without one, and knows extensions that are texts,
/// Booleans and integers; others are left out.
///
/// # Errors
///
/// If `time` is no RFC 3339 timestamp, or `dataschema` no URI.
impl TryFrom<&CloudEvent> for SdkEvent {
    type Error = ConversionError;

    fn try_from(event: &CloudEvent) -> Result<Self, ConversionError> {
        let mut builder = EventBuilderV10::new().source(event.source()).ty(event.ty());
        if let Some(id) = event.id() {
            builder = builder.id(id);
        }
        if let Some(subject) = event.subject() {
            builder = builder.subject(subject);
        }
        if let Some(time) = event.time() {
            builder = builder.time(time);
        }
        for (name, value) in event.extensions() {
            builder = match value {
                ExtensionValue::Text(text) => builder.extension(name, text),
                ExtensionValue::Json("true") => builder.extension(name, true),
                ExtensionValue::Json("false") => builder.extension(name, false),
                ExtensionValue::Json(json) => match json.parse::<i64>() {
                    Ok(integer) => builder.extension(name, integer),
                    Err(_) => builder,
                },
            };
        }
        let data = match event.data() {
            Data::None => None,
            Data::Json(json) => Some(
                serde_json::from_str(json).map_or_else(|_| SdkData::Binary(json.as_bytes().to_vec()), SdkData::Json),
            ),
            Data::Text(text) => Some(SdkData::String(text.to_owned())),
            Data::Binary(bytes) => Some(SdkData::Binary(bytes.to_vec())),
        };
        let content_type = event.data_content_type();
        builder = match (content_type, event.data_schema(), data) {
            (content_type, Some(schema), Some(data)) => {
                builder.data_with_schema(content_type.unwrap_or("application/json"), schema, data)
            }
            (Some(content_type), None, Some(data)) => builder.data(content_type, data),
            (None, None, Some(data)) => builder.data_without_content_type(data),
            (_, _, None) => builder,
        };
        builder.build().map_err(|error| ConversionError { kind: Kind::Sdk(error) })
    }
}

trait WithoutContentType {
    fn data_without_content_type(self, data: SdkData) -> Self;
}

impl WithoutContentType for EventBuilderV10 {
    /// The SDK always wants one. What CloudEvents takes data without one for is JSON, and bytes are only bytes.
    fn data_without_content_type(self, data: SdkData) -> Self {
        let content_type =
            if matches!(data, SdkData::Binary(_)) { "application/octet-stream" } else { "application/json" };
        self.data(content_type, data)
    }
}

/// Copies.
///
/// # Errors
///
/// If it is of CloudEvents 0.3, an attribute is empty or has forbidden characters, an extension has no proper name, or an
/// integer more than 32 bits.
impl TryFrom<&SdkEvent> for CloudEvent {
    type Error = ConversionError;

    fn try_from(event: &SdkEvent) -> Result<Self, ConversionError> {
        if event.specversion() != SpecVersion::V10 {
            return Err(ConversionError { kind: Kind::Version });
        }
        let mut builder = CloudEvent::builder(event.id(), event.source().as_str(), event.ty());
        if let Some(subject) = event.subject() {
            builder = builder.subject(subject);
        }
        if let Some(schema) = event.dataschema() {
            builder = builder.data_schema(schema.as_str());
        }
        if let Some(time) = event.time() {
            builder = builder.time(*time);
        }
        for (name, value) in event.iter_extensions() {
            let value = match value {
                SdkValue::String(text) if text.is_empty() => continue,
                SdkValue::String(text) => AttributeValue::Text(text.clone()),
                SdkValue::Boolean(boolean) => AttributeValue::Boolean(*boolean),
                SdkValue::Integer(integer) => AttributeValue::Integer(
                    i32::try_from(*integer).map_err(|_| ConversionError { kind: Kind::Integer })?,
                ),
            };
            builder = builder.extension(name, value);
        }
        with_data(builder, event.datacontenttype(), event.data())
            .build()
            .map_err(|error| ConversionError { kind: Kind::Ours(error) })
    }
}

fn with_data(builder: CloudEventBuilder, content_type: Option<&str>, data: Option<&SdkData>) -> CloudEventBuilder {
    let (default, bytes) = match data {
        None => return builder,
        Some(SdkData::Json(json)) => ("application/json", Bytes::from(json.to_string())),
        Some(SdkData::String(text)) => ("text/plain", Bytes::from(text.clone())),
        Some(SdkData::Binary(bytes)) => ("application/octet-stream", Bytes::from(bytes.clone())),
    };
    builder.bytes(content_type.unwrap_or(default), bytes)
}
