//! Structured mode in JSON, read in one pass. Sections are those of CloudEvents 1.0.2, *JSON Event Format*.

use std::collections::HashMap;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{
    CloudEvent, DecodeError, Limits,
    cloud_event::{Attributes, Extension},
    data::Payload,
    error::Kind,
    media_type::{is_json, is_json_for_daprd},
    scan::{Invalid, Scanner, Token},
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
    Scanner::new(text).members(|name, value| members.member(name, value)).map_err(|refused| match refused {
        Refused::For(kind) => kind,
        Refused::NotJson => why_not_an_object(text),
    })?;
    members.finish(body)
}

/// Why reading stopped.
enum Refused {
    For(Kind),
    /// Where and why, only the parser can say.
    NotJson,
}

impl From<Invalid> for Refused {
    fn from(Invalid: Invalid) -> Self {
        Self::NotJson
    }
}

impl From<Kind> for Refused {
    fn from(kind: Kind) -> Self {
        Self::For(kind)
    }
}

#[cold]
fn why_not_an_object(text: &str) -> Kind {
    match serde_json::from_str::<HashMap<String, IgnoredAny>>(text) {
        Err(error) if error.is_data() => Kind::NotAnObject,
        Err(error) => Kind::Syntax { line: error.line(), column: error.column() },
        // The scanner takes what the parser takes; were it not so, the text would be refused all the same.
        Ok(_) => Kind::Syntax { line: 0, column: 0 },
    }
}

/// What has been read of the object.
struct Members<'de, 'l> {
    text: &'de str,
    limits: &'l Limits,
    attributes: Attributes,
    extensions: Vec<Extension>,
    data: Option<Token<'de>>,
    data_base64: Option<Token<'de>>,
    count: usize,
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
        }
    }

    fn member(&mut self, name: Token<'de>, value: Token<'de>) -> Result<(), Refused> {
        let owned;
        // The parser of names refuses what is not Unicode, so that is a matter of syntax.
        let (name, name_text) = match string(name).map_err(|_| Refused::NotJson)? {
            Some(Text::Owned(text)) => {
                owned = text;
                (&*owned, Text::Owned(owned.clone()))
            }
            Some(slice) => (&name.json[1..name.json.len() - 1], slice),
            None => return Err(Refused::NotJson),
        };
        let json = value.json;
        match name {
            "data" => return Ok(set(&mut self.data, "data", value)?),
            // `null` is as good as absent (section 2.2), but for `data`, where it is a value (section 3.1).
            "data_base64" if json == "null" => return Ok(()),
            "data_base64" => return Ok(set(&mut self.data_base64, "data_base64", value)?),
            _ => {}
        }
        self.check(name, json)?;
        if matches!(json, "null" | "\"\"") {
            return Ok(());
        }
        match self.attributes.slot(name) {
            Some((attribute, _)) if is_composite(json) => Err(Kind::NotText { attribute })?,
            Some((attribute, slot)) => set(slot, attribute, string(value)?.unwrap_or_else(|| as_written(value)))?,
            None => self.extension(name, name_text, value)?,
        }
        Ok(())
    }

    fn check(&mut self, name: &str, json: &str) -> Result<(), Kind> {
        let longest = self.limits.attribute_bytes();
        if name.len() > longest || (json.len() > longest && !is_composite(json)) {
            return Err(Kind::AttributeTooLong { limit: longest });
        }
        if is_composite(json) && self.limits.are_exceeded_by_depth_of(json) {
            return Err(Kind::TooDeep { limit: self.limits.depth() });
        }
        if self.count == self.limits.attributes() {
            return Err(Kind::TooManyAttributes { limit: self.limits.attributes() });
        }
        self.count += 1;
        Ok(())
    }

    fn extension(&mut self, name: &str, name_text: Text, value: Token<'de>) -> Result<(), Kind> {
        // There are few: `check` has seen to that.
        if self.extensions.iter().any(|known| known.name.is(name, self.text.as_bytes())) {
            return Err(Kind::Duplicate { member: None });
        }
        let (value, is_json) = match string(value)? {
            Some(text) => (text, false),
            None => (as_written(value), true),
        };
        if self.extensions.is_empty() {
            // Dapr's own are five.
            self.extensions.reserve_exact(8);
        }
        self.extensions.push(Extension { name: name_text, value, is_json });
        Ok(())
    }

    fn finish(self, body: &Bytes) -> Result<(Attributes, Vec<Extension>, Payload), Kind> {
        if self.attributes.spec_version.as_ref().is_some_and(|version| !version.is("1.0", self.text.as_bytes())) {
            return Err(Kind::SpecVersion);
        }
        let payload = match (self.data, self.data_base64) {
            (Some(data), Some(_)) if data.json != "null" => return Err(Kind::TwoKindsOfData),
            (_, Some(data)) => self.binary(data)?,
            (Some(data), None) => self.payload(data, body)?,
            (None, None) => Payload::None,
        };
        Ok((self.attributes, self.extensions, payload))
    }

    fn binary(&self, value: Token<'de>) -> Result<Payload, Kind> {
        let Some(text) = string(value)? else { return Err(Kind::NotText { attribute: "data_base64" }) };
        let bytes = decode_base64(text.in_str(self.text))?;
        Ok(match self.content_type() {
            Some(media_type) if is_json(media_type) => Payload::BinaryJson(bytes.into()),
            _ => Payload::Binary(bytes.into()),
        })
    }

    /// Section 3.1: what `data` is follows from its content type, and none means JSON.
    fn payload(&self, value: Token<'de>, body: &Bytes) -> Result<Payload, Kind> {
        if self.limits.are_exceeded_by_depth_of_data(value.json) {
            return Err(Kind::TooDeep { limit: self.limits.depth() });
        }
        let as_json = || as_written(value).into_bytes(body);
        let Some(media_type) = self.content_type() else { return Ok(Payload::Json(as_json())) };
        if is_json(media_type) {
            let inner = if is_json_for_daprd(media_type) { None } else { self.wrapped_by_daprd(value) };
            return Ok(match inner {
                Some(inner) => Payload::Wrapped { outer: as_json(), inner: inner.into_bytes(body) },
                None => Payload::Json(as_json()),
            });
        }
        Ok(match string(value)? {
            Some(text) => Payload::Text(text.into_bytes(body)),
            None if value.json == "null" => Payload::None,
            None => Payload::Json(as_json()),
        })
    }

    /// The JSON text that daprd has made a JSON string, if it may have done so.
    fn wrapped_by_daprd(&self, value: Token<'de>) -> Option<Text> {
        let came_through_dapr = self.extensions.iter().any(|known| known.name.is("pubsubname", self.text.as_bytes()));
        let inner = string(value).ok().flatten().filter(|_| came_through_dapr)?;
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
    matches!(json.as_bytes().first(), Some(b'{' | b'['))
}

/// A value as it is written.
const fn as_written(value: Token<'_>) -> Text {
    Text::Slice(value.start..value.start + value.json.len())
}

/// What a JSON string says; `None` for any other JSON value.
fn string(value: Token<'_>) -> Result<Option<Text>, Kind> {
    if !value.json.starts_with('"') {
        return Ok(None);
    }
    if !value.is_escaped {
        return Ok(Some(Text::Slice(value.start + 1..value.start + value.json.len() - 1)));
    }
    // The scanner has seen that its escapes are well-formed, but not yet that they make Unicode.
    let owned: String = serde_json::from_str(value.json).map_err(|_| Kind::NotUnicode)?;
    Ok(Some(Text::Owned(owned.into())))
}
