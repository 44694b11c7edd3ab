use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::event::{Batch, CloudEvent, DecodeError, Limits, Prefix, decode_binary};

/// How a request holds events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One event, in JSON. Or, labelled as such by daprd, what a broker had in its own binary mode.
    Structured,
    /// A JSON array of events.
    Batched,
    /// One event, its attributes in headers.
    Binary,
    /// Perhaps Dapr's bulk delivery, whose content type says nothing.
    Bulk,
}

/// What was in a request.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "single events are what matters, and a box would cost them")]
pub(crate) enum Message {
    One(CloudEvent),
    Many(Batch),
}

/// In the extensions of a request: what somebody else has decoded, to be treated as if it had been here.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) message: Result<Message, DecodeError>,
    pub(crate) is_bulk: bool,
}

const PUBSUB: HeaderName = HeaderName::from_static("pubsubname");
const REQUIRED: [HeaderName; 4] = [
    HeaderName::from_static("ce-specversion"),
    HeaderName::from_static("ce-id"),
    HeaderName::from_static("ce-source"),
    HeaderName::from_static("ce-type"),
];

impl Mode {
    /// Tells the mode by the headers (CloudEvents 1.0.2, *HTTP Protocol Binding*, section 3). The media type is compared
    /// without case and parameters; an event in a format that is not JSON is not ours.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        const CLOUDEVENTS: &[u8] = b"application/cloudevents";
        let value = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |other: &[u8]| media_type.eq_ignore_ascii_case(other);
        let starts = |start: &[u8]| media_type.get(..start.len()).is_some_and(|part| part.eq_ignore_ascii_case(start));
        if is(b"application/cloudevents+json") {
            Some(Self::Structured)
        } else if is(b"application/cloudevents-batch+json") {
            Some(Self::Batched)
        } else if starts(CLOUDEVENTS) || starts(b"application/grpc") {
            None
        } else if REQUIRED.iter().all(|name| headers.contains_key(name)) {
            Some(Self::Binary)
        } else if is(b"application/json") && headers.contains_key(PUBSUB) {
            Some(Self::Bulk)
        } else {
            None
        }
    }

    /// The longest message, in bytes.
    pub(crate) const fn longest(self, limits: &Limits) -> usize {
        match self {
            Self::Structured | Self::Batched | Self::Binary => limits.bytes(),
            Self::Bulk => limits.bulk_bytes(),
        }
    }

    /// `None`: it looked like a bulk delivery and is none.
    pub(crate) fn decode(
        self,
        headers: &HeaderMap,
        body: &Bytes,
        limits: &Limits,
    ) -> Result<Option<Message>, DecodeError> {
        let message = match self {
            Self::Structured => structured(headers, body, limits).map(Message::One),
            Self::Batched => Batch::from_json_within(body.clone(), limits).map(Message::Many),
            Self::Binary => binary(Prefix::Http, headers, body, limits).map(Message::One),
            Self::Bulk => Batch::from_bulk_json_within(body.clone(), limits).map(Message::Many),
        };
        match message {
            // Not the header alone: a publisher's metadata become headers of the delivery, and its envelope is plain.
            Err(error) if error.is_syntax() && is_encoded(headers) => Err(DecodeError::compressed()),
            Err(error) if self == Self::Bulk && error.is_not_a_batch() => Ok(None),
            message => message.map(Some),
        }
    }
}

/// Who takes compressed events puts a layer outside that decompresses them: the limits are of what comes out of it.
fn is_encoded(headers: &HeaderMap) -> bool {
    let is_coding = |coding: &HeaderValue| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    headers.get_all(CONTENT_ENCODING).iter().any(is_coding)
}

/// Any bytes may be data, so here it is the header that counts.
fn binary(prefix: Prefix, headers: &HeaderMap, body: &Bytes, limits: &Limits) -> Result<CloudEvent, DecodeError> {
    if is_encoded(headers) {
        Err(DecodeError::compressed())
    } else {
        decode_binary(prefix, headers, body.clone(), limits)
    }
}

/// daprd labels every delivery as structured. A message of a broker that has CloudEvents of its own in binary mode
/// comes as bare data, with its attributes in headers `ce_..` (`dapr/dapr`,
/// `pkg/runtime/subscription/postman/http/http.go`). Such data may be any JSON; an envelope of daprd's has a
/// `specversion` (`components-contrib`, `pubsub/envelope.go`).
fn structured(headers: &HeaderMap, body: &Bytes, limits: &Limits) -> Result<CloudEvent, DecodeError> {
    let event = CloudEvent::from_json_within(body.clone(), limits);
    let is_envelope = event.as_ref().is_ok_and(CloudEvent::has_spec_version);
    if !is_envelope && headers.contains_key("ce_id") && headers.contains_key("ce_type") {
        binary(Prefix::Broker, headers, body, limits)
    } else {
        event
    }
}

impl Message {
    pub(crate) fn read_octets_as_json(self) -> Self {
        match self {
            Self::One(event) => Self::One(event.read_octets_as_json()),
            Self::Many(batch) => Self::Many(batch.read_octets_as_json()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

    use super::Mode;

    fn mode(headers: &[(&'static str, &'static str)]) -> Option<Mode> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Mode::of(&headers.iter().map(pair).collect::<HeaderMap>())
    }

    #[test]
    fn the_mode_is_told_by_the_content_type() {
        for (content_type, expected) in [
            ("application/cloudevents+json", Some(Mode::Structured)),
            ("application/CloudEvents+JSON; charset=utf-8", Some(Mode::Structured)),
            ("application/cloudevents+json ;a=b", Some(Mode::Structured)),
            ("application/cloudevents-batch+json", Some(Mode::Batched)),
            ("Application/CloudEvents-Batch+JSON;a=b", Some(Mode::Batched)),
            ("", None),
            ("application/json", None),
            ("application/cloudevents", None),
            ("application/cloudevents+avro", None),
            ("application/cloudevents+json2", None),
            ("text/plain; application/cloudevents+json", None),
        ] {
            assert_eq!(mode(&[(CONTENT_TYPE.as_str(), content_type)]), expected, "{content_type}");
        }
        assert_eq!(mode(&[]), None);
    }

    #[test]
    fn binary_mode_takes_all_required_headers() {
        let all = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
        assert_eq!(mode(&all), Some(Mode::Binary));
        for left_out in 0..all.len() {
            let some: Vec<_> =
                all.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, pair)| *pair).collect();
            assert_eq!(mode(&some), None, "{some:?}");
        }
        for (content_type, expected) in [
            ("text/plain", Some(Mode::Binary)),
            ("application/json", Some(Mode::Binary)),
            ("application/cloudevents+json", Some(Mode::Structured)),
            ("application/cloudevents+avro", None),
            ("application/grpc", None),
        ] {
            assert_eq!(mode(&[&all[..], &[("content-type", content_type)]].concat()), expected, "{content_type}");
        }
    }

    #[test]
    fn a_bulk_delivery_is_json_from_a_pubsub() {
        assert_eq!(mode(&[("content-type", "application/json"), ("pubsubname", "bus")]), Some(Mode::Bulk));
        assert_eq!(mode(&[("content-type", "text/plain"), ("pubsubname", "bus")]), None);
    }
}
