//! Events as Dapr hands them to gRPC apps: attributes are fields, extensions a protobuf `Struct`, data already bytes.

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventRequest, topic_event_bulk_request_entry,
};
use prost_types::{Struct, value::Kind as ValueKind};
use serde_json::{Map, Number, Value};

use super::{Batch, CloudEvent, DecodeError, Entry, Limits, batch::raw_bytes, compose::Composer, error::Kind};

impl CloudEvent {
    /// Takes the event that Dapr hands to a gRPC app, within the default [`Limits`].
    ///
    /// A protobuf `Struct` has no integers: an extension that is a whole number becomes one again.
    ///
    /// # Errors
    ///
    /// If `spec_version` is neither empty nor `1.0`, an extension has the name of an attribute, or a limit is exceeded.
    pub fn from_topic_event(request: TopicEventRequest) -> Result<Self, DecodeError> {
        Self::from_topic_event_within(request, &Limits::default())
    }

    /// As [`from_topic_event`](Self::from_topic_event), within limits of your own.
    ///
    /// # Errors
    ///
    /// As [`from_topic_event`](Self::from_topic_event).
    pub fn from_topic_event_within(request: TopicEventRequest, limits: &Limits) -> Result<Self, DecodeError> {
        let attributes = [
            ("id", request.id),
            ("source", request.source),
            ("type", request.r#type),
            ("specversion", request.spec_version),
            ("datacontenttype", request.data_content_type),
            ("topic", request.topic),
            ("pubsubname", request.pubsub_name),
        ];
        compose(&attributes, request.extensions, request.data, limits)
    }
}

impl Batch {
    /// Takes the events that Dapr hands to a gRPC app in bulk, within these limits.
    ///
    /// # Errors
    ///
    /// If there are more than [`Limits::entries`].
    pub fn from_bulk_topic_event_within(request: TopicEventBulkRequest, limits: &Limits) -> Result<Self, DecodeError> {
        if request.entries.len() > limits.entries() {
            return Err(DecodeError::new(Kind::TooManyEntries { limit: limits.entries() }));
        }
        let (topic, pubsub) = (request.topic, request.pubsub_name);
        Ok(Self::bulk(request.entries.into_iter().map(|raw| entry(raw, &topic, &pubsub, limits))))
    }
}

fn entry(raw: TopicEventBulkRequestEntry, topic: &str, pubsub: &str, limits: &Limits) -> Entry {
    let event = match raw.event {
        None => Err(DecodeError::new(Kind::NotAnObject)),
        Some(topic_event_bulk_request_entry::Event::Bytes(data)) => {
            raw_bytes(data.into(), Some(&raw.content_type), Some(topic), Some(pubsub), limits)
        }
        Some(topic_event_bulk_request_entry::Event::CloudEvent(event)) => {
            let attributes = [
                ("id", event.id),
                ("source", event.source),
                ("type", event.r#type),
                ("specversion", event.spec_version),
                ("datacontenttype", event.data_content_type),
                ("topic", topic.to_owned()),
                ("pubsubname", pubsub.to_owned()),
            ];
            compose(&attributes, event.extensions, event.data, limits)
        }
    };
    Entry::new(Some(raw.entry_id), raw.metadata, event)
}

fn compose(
    attributes: &[(&str, String)],
    extensions: Option<Struct>,
    data: Vec<u8>,
    limits: &Limits,
) -> Result<CloudEvent, DecodeError> {
    if data.len() > limits.bytes() {
        return Err(DecodeError::too_large(limits.bytes()));
    }
    let mut event = Composer::new(512, limits);
    for (name, value) in attributes {
        event.text(name, value).map_err(DecodeError::new)?;
    }
    for (name, value) in extensions.into_iter().flat_map(|all| all.fields) {
        // The envelope's members are all here, also those that are fields.
        if attributes.iter().any(|(field, value)| *field == name && !value.is_empty()) {
            continue;
        }
        match value.kind {
            None | Some(ValueKind::NullValue(_)) => Ok(()),
            Some(ValueKind::StringValue(text)) => event.text(&name, &text),
            Some(kind) => event.json(&name, &json(kind).to_string()),
        }
        .map_err(DecodeError::new)?;
    }
    event.finish_delivered(Bytes::from(data))
}

/// As deep as protobuf allows, which is 100 levels.
pub(crate) fn json(kind: ValueKind) -> Value {
    let value = |value: prost_types::Value| value.kind.map_or(Value::Null, json);
    match kind {
        ValueKind::NullValue(_) => Value::Null,
        ValueKind::BoolValue(bool) => Value::Bool(bool),
        ValueKind::StringValue(text) => Value::String(text),
        ValueKind::NumberValue(number) => self::number(number),
        ValueKind::ListValue(list) => list.values.into_iter().map(value).collect(),
        ValueKind::StructValue(fields) => {
            let members = fields.fields.into_iter().map(|(name, member)| (name, value(member)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn number(number: f64) -> Value {
    /// From here on, not every whole number is one of these.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        // Neither fraction nor overflow: the cast is exact.
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
