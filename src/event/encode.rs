//! Events to be sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::value::RawValue;

use super::{CloudEvent, Data, ExtensionValue, data::Payload};

/// What is encoded in a header besides all that is not ASCII (CloudEvents 1.0.2, *HTTP Protocol Binding*, section 3.1.3.2).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

impl CloudEvent {
    /// The event in structured mode: the body of a request with the content type `application/cloudevents+json`.
    ///
    /// Every member is written that is there, also those whose names or values CloudEvents does not allow; of the
    /// attributes that must be there, `specversion`, `source` and `type` are always written.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut json = Vec::with_capacity(256 + self.data_bytes().len());
        json.push(b'{');
        for (name, value) in self.attributes() {
            member(&mut json, name);
            string(&mut json, value);
        }
        for (name, value) in self.extensions() {
            member(&mut json, name);
            match value {
                ExtensionValue::Text(text) => string(&mut json, text),
                ExtensionValue::Json(value) => json.extend_from_slice(value.as_bytes()),
            }
        }
        match self.data() {
            Data::None => {}
            // From binary mode, it has not been parsed yet.
            Data::Json(data) if is_json(data) => {
                member(&mut json, "data");
                json.extend_from_slice(data.as_bytes());
            }
            Data::Text(text) => {
                member(&mut json, "data");
                string(&mut json, text);
            }
            Data::Json(_) | Data::Binary(_) => {
                member(&mut json, "data_base64");
                string(&mut json, &STANDARD.encode(self.data_bytes()));
            }
        }
        json.push(b'}');
        json.into()
    }

    /// The event in binary mode: headers, and the data as the body.
    ///
    /// What has no place there is left out: an extension whose name is not of lower case letters and digits, or whose value
    /// is an object, an array or no integer; and a content type that cannot be a header. An event without an `id` is none
    /// to a receiver.
    #[must_use]
    pub fn to_headers(&self) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        for (name, value) in self.attributes().filter(|(name, _)| *name != "datacontenttype") {
            header(&mut headers, name, value);
        }
        for (name, value) in self.extensions() {
            match value {
                ExtensionValue::Text(text) => header(&mut headers, name, text),
                ExtensionValue::Json(json @ ("true" | "false")) => header(&mut headers, name, json),
                ExtensionValue::Json(json) if json.parse::<i32>().is_ok() => header(&mut headers, name, json),
                ExtensionValue::Json(_) => {}
            }
        }
        let content_type = match (self.data_content_type(), &self.payload) {
            (Some(content_type), _) => HeaderValue::from_str(content_type).ok(),
            // Without a content type, `data` is JSON, and `data_base64` nothing in particular.
            (None, Payload::Json(_) | Payload::Wrapped { .. }) => Some(HeaderValue::from_static("application/json")),
            (None, _) => None,
        };
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        (headers, self.data_bytes())
    }

    /// Those of the specification that are there, in its order.
    fn attributes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("specversion", Some(self.spec_version())),
            ("id", self.id()),
            ("source", Some(self.source())),
            ("type", Some(self.ty())),
            ("datacontenttype", self.data_content_type()),
            ("dataschema", self.data_schema()),
            ("subject", self.subject()),
            ("time", self.time()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

fn is_json(data: &str) -> bool {
    serde_json::from_str::<&RawValue>(data).is_ok()
}

fn member(json: &mut Vec<u8>, name: &str) {
    if json.len() > 1 {
        json.push(b',');
    }
    string(json, name);
    json.push(b':');
}

fn string(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a text is JSON, and a vector takes it");
}

fn header(headers: &mut HeaderMap, name: &str, value: &str) {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return;
    }
    let value = utf8_percent_encode(value, ENCODED).to_string();
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(format!("ce-{name}")), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}
