use std::time::Duration;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{BulkPublishRequest, BulkPublishRequestEntry, PublishEventRequest};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Dapr,
    parts::{Component, Hidden, Metadata, Payload, sent_when_awaited, whole_seconds},
};
use crate::Error;

const PUBLISH: &str = "publish to";
const ID: &str = "cloudevent.id";
const RAW: &str = "rawPayload";
const STRUCTURED: &str = "application/cloudevents+json";

/// One topic of a pub/sub component. Made by [`Dapr::publish`].
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let orders = dapr.publish("pubsub", "orders");
/// orders.json(&"order 1").event_type("order.placed.v1").subject("1").await?;
/// orders.bulk([orders.json(&"order 2"), orders.json(&"order 3")]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Duplicates
///
/// Publishing is at least once: what failed may have been published. Each [`PublishRequest`] has one event id from the
/// moment it is sent, so that a layer that sends it again publishes the same event: subscribers can tell. Without
/// [`PublishRequest::id`] it is a random one, made here.
#[derive(Debug, Clone)]
pub struct Publish {
    pubsub: Component,
    topic: String,
}

impl Publish {
    pub(super) fn new(dapr: Dapr, pubsub: String, topic: String) -> Self {
        Self { pubsub: Component::new(dapr, pubsub), topic }
    }

    /// An event with this value as its JSON data; sent when awaited.
    pub fn json<T: Serialize + ?Sized>(&self, data: &T) -> PublishRequest {
        self.request(Payload::json(data), "application/json")
    }

    /// An event with these bytes as its data, of this content type; sent when awaited.
    ///
    /// Dapr wraps `application/octet-stream` as base64 and everything but JSON as text: bytes of any other type that are
    /// not UTF-8 do not arrive whole.
    pub fn bytes(&self, content_type: impl Into<String>, data: impl Into<Bytes>) -> PublishRequest {
        self.request(Payload::bytes(data), content_type)
    }

    /// A whole CloudEvent as JSON (structured mode); sent when awaited. Dapr keeps it, but for `traceparent`, which it sets
    /// unless the event has a `traceid`. Its `id` is the caller's concern: none is made here.
    pub fn cloud_event(&self, event: impl Into<Bytes>) -> PublishRequest {
        self.request(Payload::bytes(event), STRUCTURED)
    }

    /// Several events in one call; sent when awaited.
    pub fn bulk(&self, events: impl IntoIterator<Item = PublishRequest>) -> BulkPublish {
        BulkPublish { publish: self.clone(), events: events.into_iter().collect(), metadata: Metadata::default() }
    }

    fn request(&self, data: Payload, content_type: impl Into<String>) -> PublishRequest {
        PublishRequest {
            publish: self.clone(),
            data,
            content_type: content_type.into(),
            metadata: Metadata::default(),
            invalid: None,
        }
    }
}

/// An event that is not sent yet. Made by [`Publish`]; sent when awaited, or as a part of [`Publish::bulk`].
///
/// # Errors
///
/// When awaited: if the data cannot be written as JSON, the component's name is empty or the time to live is zero
/// ([`Error::is_invalid`]; nothing was sent), or the call fails.
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct PublishRequest {
    publish: Publish,
    data: Payload,
    content_type: String,
    metadata: Metadata,
    invalid: Option<&'static str>,
}

impl PublishRequest {
    /// The event's `id`. Defaults to a random one. One that is derived from what happened lets subscribers recognise it
    /// however often it is published.
    pub fn id(self, id: impl Into<String>) -> Self {
        self.metadata(ID, id)
    }

    /// The event's `source`. Defaults to the app id.
    pub fn source(self, source: impl Into<String>) -> Self {
        self.metadata("cloudevent.source", source)
    }

    /// The event's `type`. Defaults to `com.dapr.event.sent`.
    pub fn event_type(self, event_type: impl Into<String>) -> Self {
        self.metadata("cloudevent.type", event_type)
    }

    /// The event's `subject`. Defaults to none.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.metadata("cloudevent.subject", subject)
    }

    /// How long the event may wait for its subscribers, in whole seconds, rounded up. Defaults to the component's limit.
    pub fn ttl(self, ttl: Duration) -> Self {
        match whole_seconds(ttl) {
            Some(seconds) => self.metadata("ttlInSeconds", seconds.to_string()),
            None => Self { invalid: Some("the time to live is zero, which Dapr takes for no limit"), ..self },
        }
    }

    /// The data alone, without an envelope: for subscribers that know nothing of CloudEvents. Such an event has no id and
    /// no trace context, but for what is in the data. In a bulk, all events are so or none is.
    pub fn raw_payload(self) -> Self {
        self.metadata(RAW, "true")
    }

    /// Metadata for Dapr and the component. It also arrives at HTTP subscribers, as headers.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    /// Fixes the id of what Dapr is going to wrap.
    fn fix_id(&mut self) {
        let has = |name: &str| self.metadata.0.keys().any(|key| key.eq_ignore_ascii_case(name));
        let is_event = self.content_type.trim_start().to_ascii_lowercase().starts_with("application/cloudevents");
        if !is_event && !has(ID) && !has(RAW) {
            self.metadata.0.insert(ID.to_owned(), Uuid::new_v4().to_string());
        }
    }

    fn check(&self, pubsub: &Component) -> Result<(), Error> {
        self.invalid.map_or(Ok(()), |reason| Err(pubsub.invalid(PUBLISH, reason)))
    }

    async fn send(mut self) -> Result<(), Error> {
        self.fix_id();
        self.check(&self.publish.pubsub)?;
        let Self { publish: Publish { pubsub, topic }, data, content_type: data_content_type, metadata, .. } = self;
        let (mut client, pubsub_name) = pubsub.call(PUBLISH)?;
        let data = data.take(PUBLISH, &pubsub_name)?;
        let request = PublishEventRequest { pubsub_name, topic, data, data_content_type, metadata: metadata.0 };
        client.publish_event(request).await.map_err(pubsub.failed(PUBLISH))?;
        Ok(())
    }
}

/// Several events that are not sent yet. Made by [`Publish::bulk`]; sent when awaited, all to the topic that the bulk was
/// made for.
///
/// The answer tells those that were not published. With daprd 1.18 it is always empty: there the whole call fails if one
/// event does, and the others may have been published.
///
/// # Errors
///
/// When awaited: as [`PublishRequest`]; and if some of the events are [raw](PublishRequest::raw_payload) and some are not,
/// since Dapr knows this of the whole bulk only ([`Error::is_invalid`]; nothing was sent).
#[derive(Debug)]
#[must_use = "nothing is published until it is awaited"]
pub struct BulkPublish {
    publish: Publish,
    events: Vec<PublishRequest>,
    metadata: Metadata,
}

/// An event of a bulk that was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkFailure {
    /// Its place in the bulk, from 0.
    pub index: usize,
    /// Why not, in the component's words.
    pub message: String,
}

impl BulkPublish {
    /// Metadata for Dapr and the component, for the whole call.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    /// Says of the whole bulk that its data goes alone, if its events say so: daprd does not look there.
    fn raise_raw(&mut self) -> Result<(), Error> {
        let raw = self.events.iter().filter(|event| is_raw(&event.metadata) == Some(true)).count();
        let whole = is_raw(&self.metadata);
        if raw == 0 || whole == Some(true) {
            return Ok(());
        }
        if raw < self.events.len() || whole == Some(false) {
            let reason = "of the events of a bulk either all or none are raw payloads";
            return Err(self.publish.pubsub.invalid(PUBLISH, reason));
        }
        self.metadata.0.insert(RAW.to_owned(), "true".to_owned());
        Ok(())
    }

    async fn send(mut self) -> Result<Vec<BulkFailure>, Error> {
        self.raise_raw()?;
        let Self { publish: Publish { pubsub, topic }, events, metadata } = self;
        let (mut client, pubsub_name) = pubsub.call(PUBLISH)?;
        let entries = events.into_iter().enumerate().map(|(index, mut event)| {
            event.fix_id();
            event.check(&pubsub)?;
            Ok(BulkPublishRequestEntry {
                entry_id: index.to_string(),
                event: event.data.take(PUBLISH, pubsub.name())?,
                content_type: event.content_type,
                metadata: event.metadata.0,
            })
        });
        let entries = entries.collect::<Result<_, Error>>()?;
        let request = BulkPublishRequest { pubsub_name, topic, entries, metadata: metadata.0 };
        let answer = client.bulk_publish_event(request).await.map_err(pubsub.failed(PUBLISH))?.into_inner();
        let failed = answer.failed_entries.into_iter();
        // An entry that was not asked for is none that the caller could do anything about.
        let failed = failed.filter_map(|entry| Some((entry.entry_id.parse().ok()?, entry.error)));
        Ok(failed.map(|(index, message)| BulkFailure { index, message }).collect())
    }
}

/// As daprd reads it. `None` if nothing is said.
fn is_raw(Hidden(metadata): &Metadata) -> Option<bool> {
    metadata.get(RAW).map(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE"))
}

sent_when_awaited! {
    PublishRequest => ();
    BulkPublish => Vec<BulkFailure>;
}
