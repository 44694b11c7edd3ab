//! Structured mode in JSON, read in one pass. Sections are those of CloudEvents 1.0.2, *JSON Event Format*.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    CloudEvent, DecodeError, Limits,
    cloud_event::{Attributes, Extension},
    data::Payload,
    error::Kind,
    media_type::{is_json, is_json_for_daprd},
    text::Text,
};

/// Padding may be missing: the specification asks for it, senders forget it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn decode(body: Bytes, limits: &Limits) -> Result<CloudEvent, DecodeError> {
    decode_members(&body, limits)
        .map(|(attributes, extensions, payload)| CloudEvent { buffer: body, attributes, extensions, payload })
        .map_err(DecodeError::new)
}

fn decode_members(body: &Bytes, limits: &Limits) -> Result<(Attributes, Vec<Extension>, Payload), Kind> {
    if body.len() > limits.bytes() {
        return Err(Kind::TooLarge { limit: limits.bytes() });
    }
    let text = std::str::from_utf8(body).map_err(|_| Kind::NotUtf8)?;
    let mut members = Members::new(text, limits);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(&mut members).and_then(|()| json.end());
    if let Some(refused) = members.refused {
        return Err(refused);
    }
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Kind::NotAnObject,
        _ => Kind::Syntax { line: error.line(), column: error.column() },
    })?;
    members.finish(body)
}

/// What has been read of the object.
struct Members<'de, 'l> {
    text: &'de str,
    limits: &'l Limits,
    attributes: Attributes,
    extensions: Vec<Extension>,
    data: Option<&'de RawValue>,
    data_base64: Option<&'de RawValue>,
    count: usize,
    /// Why reading stopped. Kept here since an error of serde has no place for it.
    refused: Option<Kind>,
}

impl<'de> Visitor<'de> for &mut Members<'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name { buffer: self.text })? {
            let value = map.next_value::<&'de RawValue>()?;
            if let Err(kind) = self.member(name, value) {
                self.refused = Some(kind);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

impl<'de, 'l> Members<'de, 'l> {
    fn new(text: &'de str, limits: &'l Limits) -> Self {
        Self {
            text,
            limits,
            attributes: Attributes::default(),
            extensions: Vec::new(),
            data: None,
            data_base64: None,
            count: 0,
            refused: None,
        }
    }

    fn member(&mut self, name: Text, value: &'de RawValue) -> Result<(), Kind> {
        let json = value.get();
        match name.in_str(self.text) {
            "data" => return set(&mut self.data, "data", value),
            // `null` is as good as absent (section 2.2), but for `data`, where it is a value (section 3.1).
            "data_base64" if json == "null" => return Ok(()),
            "data_base64" => return set(&mut self.data_base64, "data_base64", value),
            _ => {}
        }
        self.check(name.in_str(self.text), json)?;
        if matches!(json, "null" | "\"\"") {
            return Ok(());
        }
        match self.attributes.slot(name.in_str(self.text)) {
            Some((attribute, _)) if is_composite(json) => Err(Kind::NotText { attribute }),
            Some((attribute, slot)) => {
                let text = string(self.text, json)?.unwrap_or_else(|| Text::new(self.text, json));
                set(slot, attribute, text)
            }
            None => self.extension(name, json),
        }
    }

    fn check(&mut self, name: &str, json: &str) -> Result<(), Kind> {
        let longest = self.limits.attribute_bytes();
        if name.len() > longest || (json.len() > longest && !is_composite(json)) {
            return Err(Kind::AttributeTooLong { limit: longest });
        }
        if self.limits.are_exceeded_by_depth_of(json) {
            return Err(Kind::TooDeep { limit: self.limits.depth() });
        }
        if self.count == self.limits.attributes() {
            return Err(Kind::TooManyAttributes { limit: self.limits.attributes() });
        }
        self.count += 1;
        Ok(())
    }

    fn extension(&mut self, name: Text, json: &'de str) -> Result<(), Kind> {
        let name_text = name.in_str(self.text);
        // There are few: `check` has seen to that.
        if self.extensions.iter().any(|known| known.name.in_str(self.text) == name_text) {
            return Err(Kind::Duplicate { member: None });
        }
        let (value, is_json) = match string(self.text, json)? {
            Some(text) => (text, false),
            None => (Text::new(self.text, json), true),
        };
        self.extensions.push(Extension { name, value, is_json });
        Ok(())
    }

    fn finish(self, body: &Bytes) -> Result<(Attributes, Vec<Extension>, Payload), Kind> {
        if self.attributes.spec_version.as_ref().is_some_and(|version| version.in_str(self.text) != "1.0") {
            return Err(Kind::SpecVersion);
        }
        let payload = match (self.data, self.data_base64) {
            (Some(data), Some(_)) if data.get() != "null" => return Err(Kind::TwoKindsOfData),
            (_, Some(data)) => self.binary(data.get())?,
            (Some(data), None) => self.payload(data.get(), body)?,
            (None, None) => Payload::None,
        };
        Ok((self.attributes, self.extensions, payload))
    }

    fn binary(&self, json: &str) -> Result<Payload, Kind> {
        let Some(text) = string(self.text, json)? else { return Err(Kind::NotText { attribute: "data_base64" }) };
        let bytes = decode_base64(text.in_str(self.text))?;
        Ok(match self.content_type() {
            Some(media_type) if is_json(media_type) => Payload::BinaryJson(bytes.into()),
            _ => Payload::Binary(bytes.into()),
        })
    }

    /// Section 3.1: what `data` is follows from its content type, and none means JSON.
    fn payload(&self, json: &str, body: &Bytes) -> Result<Payload, Kind> {
        if self.limits.are_exceeded_by_depth_of_data(json) {
            return Err(Kind::TooDeep { limit: self.limits.depth() });
        }
        let as_json = || Text::new(self.text, json).into_bytes(body);
        let Some(media_type) = self.content_type() else { return Ok(Payload::Json(as_json())) };
        if is_json(media_type) {
            let inner = if is_json_for_daprd(media_type) { None } else { self.wrapped_by_daprd(json) };
            return Ok(match inner {
                Some(inner) => Payload::Wrapped { outer: as_json(), inner: inner.into_bytes(body) },
                None => Payload::Json(as_json()),
            });
        }
        Ok(match string(self.text, json)? {
            Some(text) => Payload::Text(text.into_bytes(body)),
            None if json == "null" => Payload::None,
            None => Payload::Json(as_json()),
        })
    }

    /// The JSON text that daprd has made a JSON string, if it may have done so.
    fn wrapped_by_daprd(&self, json: &str) -> Option<Text> {
        let came_through_dapr = self.extensions.iter().any(|known| known.name.in_str(self.text) == "pubsubname");
        let inner = string(self.text, json).ok().flatten().filter(|_| came_through_dapr)?;
        (!self.limits.are_exceeded_by_depth_of(inner.in_str(self.text))).then_some(inner)
    }

    fn content_type(&self) -> Option<&str> {
        self.attributes.data_content_type.as_ref().map(|text| text.in_str(self.text))
    }
}

impl Attributes {
    pub(super) fn slot(&mut self, name: &str) -> Option<(&'static str, &mut Option<Text>)> {
        Some(match name {
            "id" => ("id", &mut self.id),
            "source" => ("source", &mut self.source),
            "type" => ("type", &mut self.ty),
            "specversion" => ("specversion", &mut self.spec_version),
            "datacontenttype" => ("datacontenttype", &mut self.data_content_type),
            "dataschema" => ("dataschema", &mut self.data_schema),
            "subject" => ("subject", &mut self.subject),
            "time" => ("time", &mut self.time),
            _ => return None,
        })
    }
}

pub(super) fn set<T>(slot: &mut Option<T>, member: &'static str, value: T) -> Result<(), Kind> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Kind::Duplicate { member: Some(member) }),
    }
}

pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, Kind> {
    BASE64.decode(text).map_err(|_| Kind::Base64)
}

fn is_composite(json: &str) -> bool {
    json.starts_with(['{', '['])
}

/// What a JSON string says; `None` for any other JSON value.
fn string(buffer: &str, json: &str) -> Result<Option<Text>, Kind> {
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Ok(None) };
    if !inner.contains('\\') {
        return Ok(Some(Text::new(buffer, inner)));
    }
    // The parser has seen that its escapes are well-formed, but not yet that they make Unicode.
    let owned: String = serde_json::from_str(json).map_err(|_| Kind::NotUnicode)?;
    Ok(Some(Text::Owned(owned.into())))
}

/// A member's name.
struct Name<'de> {
    buffer: &'de str,
}

impl<'de> DeserializeSeed<'de> for Name<'de> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'de> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Text, E> {
        Ok(Text::new(self.buffer, name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Text, E> {
        Ok(Text::Owned(name.into()))
    }
}
