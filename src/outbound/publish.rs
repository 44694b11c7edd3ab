use std::{
    collections::HashMap,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{PublishEventRequest, dapr_client::DaprClient};
use serde::Serialize;

use super::DaprService;
use crate::Error;

const PUBLISH: &str = "publish to";

/// One topic of a pub/sub component. Made by [`Dapr::publish`](super::Dapr::publish).
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// dapr.publish("pubsub", "orders").json(&"order 1").id("order-1").event_type("order.placed.v1").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Publish {
    client: DaprClient<DaprService>,
    pubsub: String,
    topic: String,
}

impl Publish {
    pub(super) fn new(client: DaprClient<DaprService>, pubsub: String, topic: String) -> Self {
        Self { client, pubsub, topic }
    }

    /// An event with this value as its JSON data; sent when awaited.
    pub fn json<T: Serialize + ?Sized>(self, data: &T) -> PublishRequest {
        let data = serde_json::to_vec(data).map(Bytes::from);
        self.request(data, "application/json")
    }

    /// An event with these bytes as its data, of this content type; sent when awaited.
    ///
    /// Dapr wraps `application/octet-stream` as base64 and everything but JSON as text: bytes of any other type that are
    /// not UTF-8 do not arrive whole.
    pub fn bytes(self, content_type: impl Into<String>, data: impl Into<Bytes>) -> PublishRequest {
        self.request(Ok(data.into()), content_type)
    }

    fn request(self, data: Result<Bytes, serde_json::Error>, content_type: impl Into<String>) -> PublishRequest {
        PublishRequest { publish: self, data, content_type: content_type.into(), metadata: HashMap::new() }
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").field("pubsub", &self.pubsub).field("topic", &self.topic).finish()
    }
}

/// An event that is not sent yet. Made by [`Publish::json`] and [`Publish::bytes`]; sent when awaited.
#[must_use = "nothing is published until it is awaited"]
pub struct PublishRequest {
    publish: Publish,
    data: Result<Bytes, serde_json::Error>,
    content_type: String,
    metadata: HashMap<String, String>,
}

impl PublishRequest {
    /// The event's `id`. Defaults to a random one of daprd's. A fixed one lets subscribers recognise a duplicate.
    pub fn id(self, id: impl Into<String>) -> Self {
        self.metadata("cloudevent.id", id)
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

    /// Metadata for Dapr and the component. It also arrives at HTTP subscribers, as headers.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Publish { mut client, pubsub, topic } = self.publish;
        let data = self.data.map_err(|error| Error::encode(PUBLISH, &pubsub, error))?;
        let request = PublishEventRequest {
            pubsub_name: pubsub.clone(),
            topic,
            data: data.into(),
            data_content_type: self.content_type,
            metadata: self.metadata,
        };
        match client.publish_event(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(Error::status(PUBLISH, &pubsub, status)),
        }
    }
}

impl IntoFuture for PublishRequest {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest").field("publish", &self.publish).finish_non_exhaustive()
    }
}
