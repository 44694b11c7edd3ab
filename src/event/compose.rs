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
    text: String,
    attributes: Attributes,
    extensions: Vec<Extension>,
    limits: &'l Limits,
    count: usize,
}

impl<'l> Composer<'l> {
    pub(super) fn new(bytes: usize, limits: &'l Limits) -> Self {
        Self {
            text: String::with_capacity(bytes),
            attributes: Attributes::default(),
            extensions: Vec::new(),
            limits,
            count: 0,
        }
    }

    /// Adds an attribute or, if the name is none of the specification's, an extension. An empty value is an absent one.
    pub(super) fn text(&mut self, name: &str, value: &str) -> Result<(), Kind> {
        self.add(name, value, false)
    }

    /// Adds an extension whose value is JSON and no string.
    pub(super) fn json(&mut self, name: &str, json: &str) -> Result<(), Kind> {
        self.add(name, json, true)
    }

    fn add(&mut self, name: &str, value: &str, is_json: bool) -> Result<(), Kind> {
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
        self.text.push_str(value);
        let value = Text::Slice(start..self.text.len());
        if let Some((attribute, slot)) = self.attributes.slot(name) {
            return set(slot, attribute, value);
        }
        if self.extensions.iter().any(|known| known.name.in_str(&self.text) == name) {
            return Err(Kind::Duplicate { member: None });
        }
        let start = self.text.len();
        self.text.push_str(name);
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
        let Attributes { spec_version, data_content_type, .. } = &self.attributes;
        if spec_version.as_ref().is_some_and(|version| version.in_str(&self.text) != "1.0") {
            return Err(DecodeError::new(Kind::SpecVersion));
        }
        let payload = Payload::of_bytes(data_content_type.as_ref().map(|text| text.in_str(&self.text)), data);
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
