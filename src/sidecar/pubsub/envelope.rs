//! The CloudEvent around a published message (`dapr/components-contrib:pubsub/envelope.go`).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use prost::Message as _;
use serde::Deserialize as _;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::super::clock::{Clock, rfc3339};
use super::super::duration;
use super::super::method::quote;

const DEFAULT_TYPE: &str = "com.dapr.event.sent";
const DEFAULT_SOURCE: &str = "Dapr";

/// What a publish call says.
#[derive(Debug)]
pub(in crate::sidecar) struct Publication<'a> {
    pub(in crate::sidecar) app_id: &'a str,
    pub(in crate::sidecar) pubsub: &'a str,
    pub(in crate::sidecar) topic: &'a str,
    pub(in crate::sidecar) content_type: &'a str,
    pub(in crate::sidecar) data: &'a [u8],
    pub(in crate::sidecar) metadata: &'a HashMap<String, String>,
    /// W3C `traceparent` of the caller; empty if there is none.
    pub(in crate::sidecar) trace: &'a str,
    /// W3C `tracestate` of the caller; empty if there is none.
    pub(in crate::sidecar) trace_state: &'a str,
}

/// A CloudEvent in JSON. Members stay as they were written: numbers of any size survive.
#[derive(Debug, Default)]
pub(in crate::sidecar) struct Envelope(BTreeMap<String, Box<RawValue>>);

// ===== impl Envelope =====

impl Envelope {
    /// The event to hand to the broker: the publisher's own, completed, or a new one.
    ///
    /// # Errors
    /// When the publisher says that it sends a CloudEvent, and the data is no JSON object.
    pub(in crate::sidecar) fn create(publication: &Publication<'_>, clock: &Clock) -> Result<Self, serde_json::Error> {
        let mut envelope = if is_media_type(publication.content_type, "application/cloudevents+json") {
            Self::complete(publication, clock)?
        } else {
            Self::wrap(publication, clock)
        };
        if let Some(ttl) = time_to_live(publication.metadata) {
            envelope.set("expiration", &rfc3339(clock.after(ttl)));
        }
        Ok(envelope)
    }

    fn wrap(publication: &Publication<'_>, clock: &Clock) -> Self {
        let own = |name: &str| lookup(publication.metadata, name).filter(|value| !value.is_empty());
        let content_type = if publication.content_type.is_empty() { "text/plain" } else { publication.content_type };
        let trace = own("cloudevent.traceparent").or(own("cloudevent.traceid")).unwrap_or(publication.trace);
        let mut envelope = Self::default();
        match own("cloudevent.id") {
            Some(id) => envelope.set("id", id),
            None => envelope.set("id", &Uuid::new_v4().to_string()),
        }
        envelope.set("specversion", "1.0");
        envelope.set("datacontenttype", content_type);
        envelope.set("source", own("cloudevent.source").unwrap_or(publication.app_id));
        envelope.set("type", own("cloudevent.type").unwrap_or(DEFAULT_TYPE));
        envelope.set("topic", publication.topic);
        envelope.set("pubsubname", publication.pubsub);
        envelope.set("traceid", trace);
        envelope.set("traceparent", trace);
        envelope.set("tracestate", own("cloudevent.tracestate").unwrap_or(publication.trace_state));
        envelope.set("time", &rfc3339(clock.now()));
        if let Some(subject) = own("cloudevent.subject") {
            envelope.set("subject", subject);
        }
        envelope.set_data(content_type, publication.data);
        envelope
    }

    fn complete(publication: &Publication<'_>, clock: &Clock) -> Result<Self, serde_json::Error> {
        let mut envelope = Self::read(publication.data)?;
        if !envelope.0.contains_key("time") {
            envelope.set("time", &rfc3339(clock.now()));
        }
        if !envelope.0.contains_key("traceid") {
            envelope.set("traceid", publication.trace);
            envelope.set("traceparent", publication.trace);
        }
        if !envelope.0.contains_key("tracestate") {
            envelope.set("tracestate", publication.trace_state);
        }
        envelope.set("topic", publication.topic);
        envelope.set("pubsubname", publication.pubsub);
        for (name, default) in [("source", DEFAULT_SOURCE), ("type", DEFAULT_TYPE), ("specversion", "1.0")] {
            if envelope.0.get(name).is_none_or(|value| value.get() == "null") {
                envelope.set(name, default);
            }
        }
        Ok(envelope)
    }

    /// The event that the subscriber's daprd makes of a raw message. It has no `time`.
    pub(in crate::sidecar) fn of_raw(
        data: &[u8],
        topic: &str,
        pubsub: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Self {
        let mut envelope = Self::default();
        envelope.set("id", &Uuid::new_v4().to_string());
        envelope.set("specversion", "1.0");
        envelope.set("datacontenttype", "application/octet-stream");
        envelope.set("source", DEFAULT_SOURCE);
        envelope.set("type", DEFAULT_TYPE);
        envelope.set("topic", topic);
        envelope.set("pubsubname", pubsub);
        envelope.set("data_base64", &STANDARD.encode(data));
        envelope.add_trace(metadata);
        envelope
    }

    /// Reads the first JSON value, which must be an object, and ignores what follows it, as daprd does.
    pub(in crate::sidecar) fn read(data: &[u8]) -> Result<Self, serde_json::Error> {
        BTreeMap::deserialize(&mut serde_json::Deserializer::from_slice(data)).map(Self)
    }

    /// Takes over the trace members that the event lacks from the message's metadata.
    pub(in crate::sidecar) fn add_trace(&mut self, metadata: &BTreeMap<String, String>) {
        let has_parent = self.0.contains_key("traceparent");
        for name in ["traceid", "traceparent", "tracestate"] {
            if let (false, Some(value)) = (self.0.contains_key(name), metadata.get(name)) {
                self.set(name, value);
            }
        }
        if let (false, Some(parent)) = (has_parent, metadata.get("traceparent")) {
            self.set("traceid", parent);
        }
    }

    /// A member that is a string.
    pub(in crate::sidecar) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    /// What daprd takes as the event's trace context: a string, or nothing at all.
    pub(in crate::sidecar) fn trace(&self) -> Option<String> {
        let parent = self.0.get("traceparent").filter(|value| value.get() != "null");
        serde_json::from_str(parent.or_else(|| self.0.get("traceid"))?.get()).ok()
    }

    pub(in crate::sidecar) fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.text("expiration")
            .and_then(|text| DateTime::parse_from_rfc3339(&text).ok())
            .is_some_and(|expiration| expiration < now)
    }

    pub(in crate::sidecar) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.0).expect("raw JSON members make a JSON object").into()
    }

    /// The event as JSON, its members as they were written.
    pub(super) fn to_raw(&self) -> Box<RawValue> {
        to_raw_value(&self.0).expect("raw JSON members make a JSON object")
    }

    /// The event for a look into it.
    pub(super) fn to_value(&self) -> Value {
        let member = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_default();
        Value::Object(self.0.iter().map(|(name, value)| (name.clone(), member(value))).collect())
    }

    fn set(&mut self, name: &str, value: &str) {
        let value = to_raw_value(value).expect("a string is JSON");
        self.0.insert(name.to_owned(), value);
    }

    fn set_data(&mut self, content_type: &str, data: &[u8]) {
        if is_media_type(content_type, "application/json") {
            if let Ok(json) = Box::<RawValue>::deserialize(&mut serde_json::Deserializer::from_slice(data)) {
                self.0.insert("data".to_owned(), json);
                return;
            }
        } else if is_binary(content_type, data) {
            self.set("data_base64", &STANDARD.encode(data));
            return;
        }
        self.set("data", &String::from_utf8_lossy(data));
    }
}

/// Whether metadata asks for no envelope.
///
/// # Errors
/// What daprd says about a value that is no bool of Go.
pub(in crate::sidecar) fn is_raw(value: Option<&String>) -> Result<bool, String> {
    match value.map(String::as_str) {
        None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
        Some(other) => Err(format!("rawPayload value must be a valid boolean: actual is '{other}'")),
    }
}

/// Metadata `ttl` or `ttlInSeconds`: whole seconds above zero, or a duration as Go writes it, such as a bare zero.
fn time_to_live(metadata: &HashMap<String, String>) -> Option<Duration> {
    let text = lookup(metadata, "ttl").or_else(|| lookup(metadata, "ttlInSeconds"))?;
    match text.parse::<i64>() {
        Ok(seconds @ 1..) => Some(Duration::from_secs(seconds.unsigned_abs())),
        _ => duration::of_go(text),
    }
}

/// Ignores the case of the key, as daprd does; the key as written first.
fn lookup<'a>(metadata: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    metadata
        .get(name)
        .or_else(|| metadata.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .map(String::as_str)
}

fn is_media_type(content_type: &str, expected: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.eq_ignore_ascii_case(expected))
}

fn is_binary(content_type: &str, data: &[u8]) -> bool {
    is_media_type(content_type, "application/octet-stream")
        || is_media_type(content_type, "application/cloudevents+protobuf")
        || (is_media_type(content_type, "application/x-protobuf") && ProtobufEvent::is(data))
}

/// The required attributes of a CloudEvent in protobuf (CloudEvents Protobuf Event Format 1.0, section 3).
#[derive(prost::Message)]
struct ProtobufEvent {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    spec_version: String,
    #[prost(string, tag = "4")]
    kind: String,
}

// ===== impl ProtobufEvent =====

impl ProtobufEvent {
    fn is(data: &[u8]) -> bool {
        Self::decode(data)
            .is_ok_and(|event| ![event.id, event.source, event.spec_version, event.kind].iter().any(String::is_empty))
    }
}

/// An event's id for a log line: escaped and short.
pub(super) fn id_for_log(envelope: &Envelope) -> String {
    quote(&envelope.text("id").unwrap_or_default().chars().take(64).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn create(content_type: &str, data: &[u8], metadata: &[(&str, &str)]) -> Value {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let publication = Publication {
            app_id: "app",
            pubsub: "bus",
            topic: "t",
            content_type,
            data,
            metadata: &metadata,
            trace: TRACE,
            trace_state: "",
        };
        let envelope = Envelope::create(&publication, &Clock::start()).unwrap();
        serde_json::from_slice(&envelope.to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_publishers_event_keeps_its_own_members() {
        let own = json!({"id": 1, "time": "then", "traceid": "x", "topic": "other", "source": null, "type": "", "tracestate": "s"});
        let event = create("application/cloudevents+json", own.to_string().as_bytes(), &[("cloudevent.id", "ignored")]);
        let expected = json!({
            "id": 1, "time": "then", "traceid": "x", "topic": "t", "pubsubname": "bus", "source": "Dapr", "type": "",
            "specversion": "1.0", "tracestate": "s",
        });
        assert_eq!(event, expected, "with a traceid of its own, no traceparent is added");
    }

    #[tokio::test]
    async fn metadata_overrides_members_of_a_wrapped_event() {
        let overrides = [("CLOUDEVENT.Subject", "s"), ("cloudevent.traceid", "i"), ("cloudevent.tracestate", "a=b")];
        let event = create("text/plain", b"a\xffb", &overrides);
        assert_eq!(event["subject"], "s");
        assert_eq!(
            (&event["traceid"], &event["traceparent"], &event["tracestate"]),
            (&json!("i"), &json!("i"), &json!("a=b"))
        );
        assert_eq!(event["data"], "a\u{fffd}b");
        assert_eq!(create("", b"", &[("cloudevent.traceid", "i"), ("cloudevent.traceparent", "p")])["traceid"], "p");
    }

    #[tokio::test]
    async fn the_content_type_decides_the_data_member() {
        let event = ProtobufEvent { id: "1".into(), source: "s".into(), spec_version: "1.0".into(), kind: "t".into() };
        let event = event.encode_to_vec();
        for (content_type, data, member) in [
            ("APPLICATION/JSON ", &b"1"[..], "data"),
            ("application/json;x", b"[1] and more", "data"),
            ("application/vnd.a+json", b"{}", "data"),
            ("application/octet-stream; a=b", b"1", "data_base64"),
            ("application/cloudevents+protobuf", b"1", "data_base64"),
            ("application/x-protobuf", &event, "data_base64"),
            ("application/x-protobuf", b"1", "data"),
        ] {
            let event = create(content_type, data, &[]);
            assert!(event.get(member).is_some(), "{content_type}: {event}");
            assert_eq!(event["datacontenttype"], content_type);
        }
        assert_eq!(create("application/json;x", b"[1] and more", &[])["data"], json!([1]));
        assert_eq!(create("application/vnd.a+json", b"{}", &[])["data"], "{}");
    }

    #[test]
    fn reads_a_time_to_live_as_go_does() {
        let ttl = |text: &str| time_to_live(&HashMap::from([("TTLinseconds".to_owned(), text.to_owned())]));
        for (text, millis) in
            [("1", 1000), ("1m30s", 90_000), ("1.5s", 1500), ("250ms", 250), ("+1h", 3_600_000), ("-1s", 0), ("0", 0)]
        {
            assert_eq!(ttl(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "00", "-1", "x", "1x", "s", ".", "-", "1e3", "9e99h"] {
            assert_eq!(ttl(text), None, "{text}");
        }
    }
}
