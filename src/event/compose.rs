use bytes::Bytes;

use super::{
    CloudEvent, DecodeError, Limits,
    cloud_event::{Attributes, Extension},
    data::Payload,
    error::Kind,
    json::set,
    text::Text,
};

/// An event that is put together from parts: all its texts go into one buffer.
pub(super) struct Composer<'l> {
    /// UTF-8, text by text.
    text: Vec<u8>,
    attributes: Attributes,
    extensions: Vec<Extension>,
    limits: &'l Limits,
    count: usize,
}

impl<'l> Composer<'l> {
    pub(super) fn new(bytes: usize, limits: &'l Limits) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            attributes: Attributes::default(),
            extensions: Vec::new(),
            limits,
            count: 0,
        }
    }

    /// Adds an attribute or, if the name is none of the specification's, an extension. An empty value is an absent one.
    pub(super) fn text(&mut self, name: &str, value: &str) -> Result<(), Kind> {
        self.add(name, value.as_bytes(), false)
    }

    /// As [`text`](Self::text). The value is ASCII; whoever knows that need not look at it again.
    pub(super) fn ascii(&mut self, name: &str, value: &[u8]) -> Result<(), Kind> {
        debug_assert!(value.is_ascii(), "the caller has looked");
        self.add(name, value, false)
    }

    /// Adds an extension whose value is JSON and no string.
    pub(super) fn json(&mut self, name: &str, json: &str) -> Result<(), Kind> {
        self.add(name, json.as_bytes(), true)
    }

    fn add(&mut self, name: &str, value: &[u8], is_json: bool) -> Result<(), Kind> {
        let longest = self.limits.attribute_bytes();
        if name.len() > longest || value.len() > longest {
            return Err(Kind::AttributeTooLong { limit: longest });
        }
        if self.count == self.limits.attributes() {
            return Err(Kind::TooManyAttributes { limit: self.limits.attributes() });
        }
        self.count += 1;
        if value.is_empty() {
            return Ok(());
        }
        let start = self.text.len();
        self.text.extend_from_slice(value);
        let value = Text::Slice(start..self.text.len());
        if let Some((attribute, slot)) = self.attributes.slot(name) {
            return set(slot, attribute, value);
        }
        if self.extensions.iter().any(|known| known.name.is(name, &self.text)) {
            return Err(Kind::Duplicate { member: None });
        }
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        let name = Text::Slice(start..self.text.len());
        if self.extensions.is_empty() {
            // Dapr's own are five.
            self.extensions.reserve_exact(8);
        }
        self.extensions.push(Extension { name, value, is_json });
        Ok(())
    }

    /// The event, with data whose kind follows from its content type.
    pub(super) fn finish(self, data: Bytes) -> Result<CloudEvent, DecodeError> {
        self.finish_as(data, Payload::of_bytes)
    }

    /// As [`finish`](Self::finish), for a message that cannot tell empty data from none.
    pub(super) fn finish_delivered(self, data: Bytes) -> Result<CloudEvent, DecodeError> {
        self.finish_as(data, Payload::of_delivered)
    }

    fn finish_as(self, data: Bytes, payload: fn(Option<&str>, Bytes) -> Payload) -> Result<CloudEvent, DecodeError> {
        let Attributes { spec_version, data_content_type, .. } = &self.attributes;
        if spec_version.as_ref().is_some_and(|version| !version.is("1.0", &self.text)) {
            return Err(DecodeError::new(Kind::SpecVersion));
        }
        let payload = payload(data_content_type.as_ref().map(|text| text.get(&self.text)), data);
        if let Payload::Json(json) = &payload
            && self.limits.are_exceeded_by_depth_of_data(json)
        {
            return Err(DecodeError::new(Kind::TooDeep { limit: self.limits.depth() }));
        }
        Ok(self.with(payload))
    }

    pub(super) fn with(self, payload: Payload) -> CloudEvent {
        CloudEvent { buffer: Bytes::from(self.text), attributes: self.attributes, extensions: self.extensions, payload }
    }
}
