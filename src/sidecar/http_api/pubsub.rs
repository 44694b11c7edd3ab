//! `/v1.0/publish`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry, PublishEventRequest};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::Refusal;
use super::{Answer, Call, empty, go_json};
use crate::sidecar::grpc::publish;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "entryId", default)]
    id: String,
    event: Box<RawValue>,
    #[serde(rename = "contentType", default)]
    content_type: String,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

pub(super) async fn publish(call: &Call, pubsub: &str, topic: &str) -> Answer {
    let request = PublishEventRequest {
        pubsub_name: pubsub.to_owned(),
        topic: topic.to_owned(),
        data: call.body.to_vec(),
        data_content_type: call.content_type(),
        metadata: call.metadata(),
    };
    let published = publish::publish(&call.app, call.request(request)).await;
    published.map(|_| empty()).map_err(|status| Refusal::of_status(&call.app, &status))
}

pub(super) async fn publish_bulk(call: &Call, pubsub: &str, topic: &str) -> Answer {
    let refused = |what: &str, reason: &str| {
        let message = format!("error {what} for topic {topic} pubsub {pubsub}: {reason}");
        Refusal::new(StatusCode::BAD_REQUEST, "ERR_PUBSUB_EVENTS_SER", &message)
    };
    // Before the body is read.
    let found = publish::check(&call.app, pubsub, topic, &call.metadata());
    found.map_err(|status| Refusal::of_status(&call.app, &status))?;
    let entries: Vec<Entry> = go_json::from_slice(&call.body)
        .map_err(|error| refused("when unmarshaling the request", &error.to_string()))?;
    let entries = entries.into_iter().map(|entry| {
        let event = bytes_of(&entry.event, &entry.content_type);
        let event = event.map_err(|reason| refused("when marshalling cloud event envelope", &reason))?;
        let (entry_id, content_type) = (entry.id, entry.content_type);
        Ok(BulkPublishRequestEntry { entry_id, event, content_type, metadata: entry.metadata.unwrap_or_default() })
    });
    let request = BulkPublishRequest {
        pubsub_name: pubsub.to_owned(),
        topic: topic.to_owned(),
        entries: entries.collect::<Result<_, Refusal>>()?,
        metadata: call.metadata(),
    };
    let published = publish::publish_bulk(&call.app, call.request(request)).await;
    published.map(|_| empty()).map_err(|status| Refusal::of_status(&call.app, &status))
}

/// JSON stays JSON, text comes as a string, octets as base64. daprd takes nothing else.
fn bytes_of(event: &RawValue, content_type: &str) -> Result<Vec<u8>, String> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = || serde_json::from_str::<String>(event.get()).map_err(|_| format!("{content_type} needs a string"));
    match kind.as_str() {
        "application/json" | "application/cloudevents+json" => Ok(event.get().into()),
        "application/octet-stream" => STANDARD.decode(text()?).map_err(|error| error.to_string()),
        kind if kind.starts_with("text/") || kind == "application/xml" => text().map(String::into_bytes),
        _ => Err(format!("unrecognized content type {content_type}")),
    }
}
