//! From the broker to the app (`dapr/dapr:pkg/runtime/subscription`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::bus::{Delivery, Message, PubSub};
use super::envelope::{Envelope, id_for_log, is_raw};
use super::subscription::Subscription;
use crate::propagation::TraceParent;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::clock::Clock;
use crate::sidecar::headers;
use crate::sidecar::stats::Outcome;
use crate::sidecar::trace::{self, TRACEPARENT};

/// How long daprd tries to publish to a dead letter topic.
const DEAD_LETTER_BUDGET: Duration = Duration::from_secs(30);

/// More than any verdict needs. What is longer is read as daprd reads what is no JSON: success.
const MAX_ANSWER: usize = 4 << 20;

/// What the app's answer means.
#[derive(Debug)]
enum Verdict {
    Success,
    Drop(String),
    Retry(String),
}

/// Serves one subscription, one message after the other, until the sidecar ends.
pub(in crate::sidecar) async fn deliver(
    subscription: Subscription,
    mut deliveries: mpsc::Receiver<Delivery>,
    pubsub: Arc<PubSub>,
    channel: Arc<AppChannel>,
    clock: Clock,
) {
    let worker = Worker { subscription, pubsub, channel, clock };
    while let Some(Delivery { message, receipt }) = deliveries.recv().await {
        let outcome = worker.handle(&message, || receipt.retried()).await;
        receipt.end(outcome);
    }
}

struct Worker {
    subscription: Subscription,
    pubsub: Arc<PubSub>,
    channel: Arc<AppChannel>,
    clock: Clock,
}

// ===== impl Worker =====

impl Worker {
    async fn handle(&self, message: &Message, retried: impl Fn()) -> Outcome {
        let topic = &self.subscription.topic;
        let (envelope, body) = match self.event(message) {
            Ok(event) => event,
            Err(reason) => {
                tracing::error!(?topic, reason, "a message is not an event");
                return self.dead_letter(message).await.unwrap_or(Outcome::Lost);
            }
        };
        let id = id_for_log(&envelope);
        if envelope.has_expired(self.clock.now()) {
            tracing::warn!(?topic, id, "event expired: dropped");
            return self.dead_letter(message).await.unwrap_or(Outcome::Dropped);
        }
        let headers = self.headers(&envelope, message);
        let mut retries = 0;
        loop {
            match self.attempt(headers.clone(), body.clone()).await {
                Verdict::Success => return Outcome::Delivered,
                Verdict::Drop(reason) => {
                    tracing::warn!(?topic, id, reason, "event dropped");
                    return self.dead_letter(message).await.unwrap_or(Outcome::Dropped);
                }
                Verdict::Retry(reason) => {
                    let pause = self.pubsub.inbound_retry.and_then(|policy| policy.pause(retries));
                    let Some(pause) = pause else {
                        tracing::error!(?topic, id, reason, retries, "event refused, and not sent again");
                        return self.dead_letter(message).await.unwrap_or(Outcome::Lost);
                    };
                    tracing::warn!(?topic, id, reason, retries, "event refused: sent again");
                    retries += 1;
                    retried();
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// The event for the sidecar's own eyes, and the bytes for the app.
    fn event(&self, message: &Message) -> Result<(Envelope, Bytes), String> {
        let Message { data, metadata } = message;
        let Subscription { topic, pubsub, metadata: own, .. } = &self.subscription;
        if is_raw(own.get("rawPayload"))? {
            let envelope = Envelope::of_raw(data, topic, pubsub, metadata);
            let body = envelope.to_bytes();
            return Ok((envelope, body));
        }
        let mut envelope = Envelope::read(data).map_err(|error| error.to_string())?;
        envelope.add_trace(metadata);
        Ok((envelope, data.clone()))
    }

    fn headers(&self, envelope: &Envelope, message: &Message) -> HeaderMap {
        let own = |name| message.metadata.get(name).filter(|value| !value.is_empty());
        let mut headers = headers::of_message(&message.metadata);
        headers.insert("pubsubname", headers::value(&self.subscription.pubsub));
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
        if let (Some(_), Some(state)) = (own(TRACEPARENT), own("tracestate")) {
            headers.insert("tracestate", headers::value(state));
        }
        headers
    }

    async fn attempt(&self, headers: HeaderMap, body: Bytes) -> Verdict {
        let target = self.subscription.target.clone();
        let response = match self.channel.send(Method::POST, target, headers, body).await {
            Ok(response) => response,
            Err(error) => return Verdict::Retry(error.to_string()),
        };
        match response.status() {
            StatusCode::NOT_FOUND => Verdict::Drop("the app answered 404".to_owned()),
            status if status.is_success() => {
                let body = AppChannel::read(response.into_body(), MAX_ANSWER).await;
                body.map_or(Verdict::Success, |body| Verdict::of_body(&body))
            }
            status => Verdict::Retry(format!("the app answered {}", status.as_u16())),
        }
    }

    /// `None` when there is no dead letter topic, or it does not take the message.
    async fn dead_letter(&self, message: &Message) -> Option<Outcome> {
        let topic = self.subscription.dead_letter_topic.as_ref()?;
        match timeout(DEAD_LETTER_BUDGET, self.pubsub.publish(topic, message)).await {
            Ok(()) => Some(Outcome::DeadLettered),
            Err(_) => {
                tracing::error!(?topic, "the dead letter topic takes no more messages");
                None
            }
        }
    }
}

// ===== impl Verdict =====

impl Verdict {
    /// daprd decodes `{"status": ..}`; whatever it cannot decode is a success.
    fn of_body(body: &[u8]) -> Self {
        let object = Map::deserialize(&mut serde_json::Deserializer::from_slice(body)).unwrap_or_default();
        let named = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case("status");
        match object.iter().rfind(named).map(|(_, value)| value) {
            Some(Value::String(status)) => match status.as_str() {
                "" | "SUCCESS" => Self::Success,
                "RETRY" => Self::Retry("the app answered RETRY".to_owned()),
                "DROP" => Self::Drop("the app answered DROP".to_owned()),
                _ => Self::Retry("the app answered an unknown status".to_owned()),
            },
            _ => Self::Success,
        }
    }
}

/// Metadata of a message as the broker keeps it.
impl Message {
    pub(in crate::sidecar) fn new(data: Bytes, metadata: BTreeMap<String, String>) -> Self {
        Self { data, metadata: Arc::new(metadata) }
    }
}
