//! Messages that go to the app together (`dapr/dapr:pkg/runtime/subscription/bulksubscription.go`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event;
use dapr::dapr::proto::runtime::v1::{TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventBulkResponse};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};
use uuid::Uuid;

use super::bus::Delivery;
use super::delivery::{Checked, Worker, caught};
use super::envelope::is_raw;
use super::prepared::Prepared;
use super::routing::Rule;
use super::sink::{MAX_ANSWER, Verdict};
use super::subscription::Bulk;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::headers;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::stats::Outcome;
use crate::sidecar::trace::{GRPC_TRACE_BIN, TRACEPARENT};

const TYPE: &str = "com.dapr.event.sent.bulk";

/// One message of a bulk.
struct Entry {
    id: String,
    delivery: Delivery,
    event: Box<Prepared>,
}

/// Collects messages until there are enough, or the first has waited long enough; then they go, by route.
pub(super) async fn run(
    worker: &Worker,
    settings: Bulk,
    channel: &Arc<AppChannel>,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    while let Some(first) = deliveries.recv().await {
        let mut bulk = vec![first];
        let until = Instant::now() + settings.max_await;
        while bulk.len() < settings.max_messages {
            match timeout_at(until, deliveries.recv()).await {
                Ok(Some(delivery)) => bulk.push(delivery),
                Ok(None) | Err(_) => break,
            }
        }
        // Of one that panics, the receipts end as lost.
        caught(deliver(worker, channel, bulk)).await;
    }
}

async fn deliver(worker: &Worker, channel: &Arc<AppChannel>, bulk: Vec<Delivery>) {
    let mut routes: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    for delivery in bulk {
        let event = match worker.check(&delivery.message).await {
            Checked::Ready(event) => event,
            Checked::Ended(outcome) => {
                delivery.receipt.end(outcome);
                continue;
            }
        };
        let rule = worker.subscription.route(&event.event).map(|rule| {
            let rules = &worker.subscription.rules;
            rule.and_then(|rule| rules.iter().position(|one| std::ptr::eq(one, rule)))
        });
        match rule {
            Ok(Some(index)) => {
                routes.entry(index).or_default().push(Entry { id: Uuid::new_v4().to_string(), delivery, event });
            }
            unrouted => {
                let outcome = if unrouted.is_ok() { Outcome::Dropped } else { Outcome::Lost };
                let outcome = worker.dead_letter(&delivery.message).await.unwrap_or(outcome);
                delivery.receipt.end(outcome);
            }
        }
    }
    for (index, entries) in routes {
        deliver_route(worker, channel, &worker.subscription.rules[index], entries).await;
    }
}

/// Only what failed is sent again.
async fn deliver_route(worker: &Worker, channel: &AppChannel, rule: &Rule, mut entries: Vec<Entry>) {
    let mut retries = 0;
    loop {
        let mut verdicts = if channel.is_grpc() {
            attempt_grpc(worker, channel, rule, &entries).await
        } else {
            attempt_http(worker, channel, rule, &entries).await
        };
        let pause = worker.pause(retries);
        let mut failed = Vec::new();
        for entry in entries {
            match (verdicts.take(&entry.id), pause) {
                (Verdict::Success, _) => entry.delivery.receipt.end(Outcome::Delivered),
                (Verdict::Ignore(_), _) => entry.delivery.receipt.end(Outcome::Dropped),
                (Verdict::Drop(_), _) => {
                    let outcome = worker.dead_letter(&entry.delivery.message).await.unwrap_or(Outcome::Dropped);
                    entry.delivery.receipt.end(outcome);
                }
                (Verdict::Retry(_), Some(_)) => {
                    entry.delivery.receipt.retried();
                    failed.push(entry);
                }
                (Verdict::Retry(reason), None) => {
                    tracing::error!(topic = ?worker.subscription.topic, reason, retries, "bulk entry refused");
                    let outcome = worker.dead_letter(&entry.delivery.message).await.unwrap_or(Outcome::Lost);
                    entry.delivery.receipt.end(outcome);
                }
            }
        }
        entries = failed;
        let (false, Some(pause)) = (entries.is_empty(), pause) else { return };
        retries += 1;
        tokio::time::sleep(pause).await;
    }
}

/// What the app says to each entry, or to all.
enum Verdicts {
    All(Verdict),
    Each(HashMap<String, Verdict>),
}

// ===== impl Verdicts =====

impl Verdicts {
    /// An entry without a verdict is to be sent again.
    fn take(&mut self, id: &str) -> Verdict {
        match self {
            Self::All(verdict) => verdict.clone(),
            Self::Each(verdicts) => {
                verdicts.remove(id).unwrap_or_else(|| Verdict::Retry("the app left the entry out".to_owned()))
            }
        }
    }

    /// `{"statuses": [{"entryId": .., "status": ..}]}`; anything else means all of them again.
    fn of_body(body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(statuses) = value["statuses"].as_array() else {
            return Self::All(Verdict::Retry("the app answered without statuses".to_owned()));
        };
        let verdicts = statuses.iter().filter_map(|status| {
            let id = status["entryId"].as_str()?.to_owned();
            Some((id, Verdict::of_name(status["status"].as_str().unwrap_or_default())))
        });
        Self::Each(verdicts.collect())
    }
}

#[derive(Serialize)]
struct BulkJson<'a> {
    entries: Vec<EntryJson<'a>>,
    id: String,
    metadata: BTreeMap<&'a str, &'a str>,
    pubsubname: &'a str,
    topic: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryJson<'a> {
    entry_id: &'a str,
    event: Box<RawValue>,
    /// Null when there is none.
    metadata: Option<&'a BTreeMap<String, String>>,
    content_type: &'a str,
}

// ===== impl EntryJson =====

impl<'a> EntryJson<'a> {
    fn new(entry: &'a Entry, raw: bool) -> Self {
        let event = match raw {
            true => to_raw_value(&STANDARD.encode(&entry.delivery.message.data)).expect("a string is JSON"),
            false => entry.event.envelope.to_raw(),
        };
        let metadata = Some(&*entry.delivery.message.metadata).filter(|metadata| !metadata.is_empty());
        Self { entry_id: &entry.id, event, metadata, content_type: content_type(raw) }
    }
}

async fn attempt_http(worker: &Worker, channel: &AppChannel, rule: &Rule, entries: &[Entry]) -> Verdicts {
    let raw = is_raw_subscription(worker);
    let body = BulkJson {
        entries: entries.iter().map(|entry| EntryJson::new(entry, raw)).collect(),
        id: Uuid::new_v4().to_string(),
        metadata: BTreeMap::from([("pubsubName", worker.subscription.pubsub.as_str())]),
        pubsubname: &worker.subscription.pubsub,
        topic: &worker.subscription.topic,
        kind: TYPE,
    };
    let body = serde_json::to_vec(&body).expect("strings and raw JSON make JSON");
    let spans: Vec<_> = entries.iter().filter_map(|entry| worker.span(&entry.event)).collect();
    let mut headers = headers_of(worker, entries, spans.last());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let sent = channel.send(Method::POST, rule.target.clone(), headers, body.into()).await;
    for span in spans {
        match &sent {
            Ok(response) => span.answered(response.status()),
            Err(error) => span.fail(error.to_string()),
        }
    }
    match sent {
        Err(error) => Verdicts::All(Verdict::Retry(error.to_string())),
        Ok(response) => match response.status() {
            StatusCode::NOT_FOUND => Verdicts::All(Verdict::Ignore("the app answered 404".to_owned())),
            status if status.is_success() => {
                let body = AppChannel::read(response.into_body(), MAX_ANSWER).await;
                Verdicts::of_body(&body.unwrap_or_default())
            }
            status => Verdicts::All(Verdict::Retry(format!("the app answered {}", status.as_u16()))),
        },
    }
}

async fn attempt_grpc(worker: &Worker, channel: &AppChannel, rule: &Rule, entries: &[Entry]) -> Verdicts {
    let raw = is_raw_subscription(worker);
    let entries_proto = entries.iter().map(|entry| TopicEventBulkRequestEntry {
        entry_id: entry.id.clone(),
        content_type: content_type(raw).to_owned(),
        metadata: entry.delivery.message.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        event: Some(match raw {
            true => Event::Bytes(entry.delivery.message.data.to_vec()),
            false => Event::CloudEvent(entry.event.to_cloud_event()),
        }),
    });
    let request = TopicEventBulkRequest {
        id: Uuid::new_v4().to_string(),
        entries: entries_proto.collect(),
        metadata: HashMap::from([("pubsubName".to_owned(), worker.subscription.pubsub.clone())]),
        topic: worker.subscription.topic.clone(),
        pubsub_name: worker.subscription.pubsub.clone(),
        r#type: TYPE.to_owned(),
        path: rule.path.clone(),
    };
    let spans: Vec<_> = entries.iter().filter_map(|entry| worker.span(&entry.event)).collect();
    let answer = send_grpc(channel, request, headers_of(worker, entries, spans.last())).await;
    spans.iter().for_each(|span| span.ended(&answer));
    drop(spans);
    match answer {
        Ok(response) => {
            let statuses = response.statuses.into_iter();
            Verdicts::Each(statuses.map(|one| (one.entry_id, Verdict::of_status(one.status))).collect())
        }
        Err(status) if status.code() == Code::Unimplemented => {
            Verdicts::All(Verdict::Ignore("the app has no OnBulkTopicEvent".to_owned()))
        }
        Err(status) => Verdicts::All(Verdict::Retry(format!("the app answered {:?}", status.code()))),
    }
}

#[allow(deprecated, reason = "daprd falls back to the older rpc too")]
async fn send_grpc(
    channel: &AppChannel,
    request: TopicEventBulkRequest,
    headers: HeaderMap,
) -> Result<TopicEventBulkResponse, Status> {
    let call = |request, headers| channel.call(request, headers);
    match channel.callback().on_bulk_topic_event(call(request.clone(), headers.clone())).await {
        Err(status) if status.code() == Code::Unimplemented => {
            let alpha = channel.callback_alpha().on_bulk_topic_event_alpha1(call(request, headers)).await;
            alpha.map(tonic::Response::into_inner)
        }
        done => done.map(tonic::Response::into_inner),
    }
}

/// The trace context is that of the last entry's span, or without spans of the first entry.
fn headers_of(worker: &Worker, entries: &[Entry], span: Option<&OpenSpan>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("pubsubname", headers::value(&worker.subscription.pubsub));
    let first = entries.first().map(|entry| entry.event.metadata(span)).unwrap_or_default();
    let is_grpc = matches!(&worker.sink, super::Sink::App(channel) if channel.is_grpc());
    for name in [TRACEPARENT, GRPC_TRACE_BIN].into_iter().filter(|name| is_grpc || *name == TRACEPARENT) {
        if let Some(value) = first.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers
}

fn is_raw_subscription(worker: &Worker) -> bool {
    is_raw(worker.subscription.metadata.get("rawPayload")).unwrap_or_default()
}

const fn content_type(raw: bool) -> &'static str {
    if raw { "application/octet-stream" } else { "application/cloudevents+json" }
}
