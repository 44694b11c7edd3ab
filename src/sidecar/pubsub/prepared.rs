//! A message, made ready for its app.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{TopicEventCeRequest, TopicEventRequest};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use serde_json::Value;

use super::bus::Message;
use super::envelope::{Envelope, is_raw};
use super::routing::Rule;
use super::subscription::Subscription;
use crate::propagation::TraceParent;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::{self, TRACEPARENT, TRACESTATE};
use crate::sidecar::{headers, json};

/// The event for the sidecar's own eyes, and what the app gets of it.
pub(super) struct Prepared {
    pub(super) envelope: Envelope,
    /// The members of the envelope.
    pub(super) event: Value,
    pub(super) body: Bytes,
    headers: HeaderMap,
    /// That of a raw message. Only gRPC apps get it, also an empty one.
    trace_state: Option<HeaderValue>,
}

// ===== impl Prepared =====

impl Prepared {
    /// # Errors
    /// When the message is no event, and the subscription is not for raw ones.
    pub(super) fn new(subscription: &Subscription, message: &Message) -> Result<Self, String> {
        let Message { data, metadata } = message;
        let Subscription { topic, pubsub, metadata: own, .. } = subscription;
        let (envelope, body) = if is_raw(own.get("rawPayload"))? {
            let envelope = Envelope::of_raw(data, topic, pubsub, metadata);
            let body = envelope.to_bytes();
            (envelope, body)
        } else {
            let mut envelope = Envelope::read(data).map_err(|error| error.to_string())?;
            envelope.add_trace(metadata);
            (envelope, data.clone())
        };
        let headers = headers_of(&envelope, metadata, pubsub);
        let event = envelope.to_value();
        let trace_state = metadata.get(TRACESTATE).map(|state| headers::value(state));
        Ok(Self { envelope, event, body, headers, trace_state })
    }

    /// With the context of the delivery's span, if it has one.
    pub(super) fn headers(&self, span: Option<&OpenSpan>) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(span) = span {
            headers.insert(TRACEPARENT, trace::header(span.context()));
        }
        headers
    }

    /// For an app that speaks gRPC: the trace context also in binary.
    pub(super) fn metadata(&self, span: Option<&OpenSpan>) -> HeaderMap {
        let mut metadata = self.headers(span);
        metadata.remove(CONTENT_TYPE);
        if let Some(state) = &self.trace_state {
            metadata.insert(TRACESTATE, state.clone());
        }
        if let Some(parent) = metadata.get(TRACEPARENT) {
            let context = TraceParent::parse(parent.as_bytes()).ok();
            metadata.insert(trace::GRPC_TRACE_BIN, trace::binary_header(context));
        }
        metadata
    }

    pub(super) fn to_request(&self, subscription: &Subscription, rule: &Rule) -> TopicEventRequest {
        let event = self.to_cloud_event();
        TopicEventRequest {
            id: event.id,
            source: event.source,
            r#type: event.r#type,
            spec_version: event.spec_version,
            data_content_type: event.data_content_type,
            data: event.data,
            topic: subscription.topic.clone(),
            pubsub_name: subscription.pubsub.clone(),
            path: rule.path.clone(),
            extensions: event.extensions,
        }
    }

    pub(super) fn to_cloud_event(&self) -> TopicEventCeRequest {
        let text = |name: &str| self.event[name].as_str().unwrap_or_default().to_owned();
        let mut extensions = self.event.as_object().cloned().unwrap_or_default();
        for name in ["id", "source", "type", "specversion", "datacontenttype", "data", "data_base64"] {
            extensions.remove(name);
        }
        TopicEventCeRequest {
            id: text("id"),
            source: text("source"),
            r#type: text("type"),
            spec_version: text("specversion"),
            data_content_type: text("datacontenttype"),
            data: self.data(),
            extensions: Some(json::to_struct(&extensions)),
        }
    }

    /// daprd knows text, JSON and base64; of anything else nothing is left.
    fn data(&self) -> Vec<u8> {
        if let Some(text) = self.event["data_base64"].as_str() {
            return STANDARD.decode(text).unwrap_or_default();
        }
        let Some(data) = self.event.get("data") else { return Vec::new() };
        let kind = self.event["datacontenttype"].as_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match (kind.as_str(), data) {
            ("application/json" | "application/cloudevents+json", data) => data.to_string().into_bytes(),
            (kind, Value::String(text)) if kind.starts_with("text/") || kind == "application/xml" => {
                text.clone().into()
            }
            _ => Vec::new(),
        }
    }
}

/// Headers of a delivery over HTTP.
fn headers_of(envelope: &Envelope, metadata: &BTreeMap<String, String>, pubsub: &str) -> HeaderMap {
    let own = |name| metadata.get(name).filter(|value| !value.is_empty());
    let mut headers = headers::of_message(metadata);
    headers.insert("pubsubname", headers::value(pubsub));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"));
    // Without a tracing configuration the "span" of the delivery is the one in the envelope, or the zeroed one.
    let parent = envelope.trace();
    if let Some(context) = parent.as_deref().and_then(|text| TraceParent::parse(text.as_bytes()).ok()) {
        headers.insert(TRACEPARENT, trace::header(Some(context)));
    } else if let Some(own) = own(TRACEPARENT) {
        headers.insert(TRACEPARENT, headers::value(own));
    } else if parent.is_some() {
        headers.insert(TRACEPARENT, trace::header(None));
    }
    if let (Some(_), Some(state)) = (own(TRACEPARENT), own(TRACESTATE)) {
        headers.insert(TRACESTATE, headers::value(state));
    }
    headers
}
