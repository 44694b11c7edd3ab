use std::{collections::HashMap, fmt};

use axum::{
    Router,
    handler::Handler,
    routing::{MethodRouter, get, post},
};
use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::{
    Topic,
    catch_panic::CatchPanicLayer,
    document::Document,
    error::{Problem, SubscriptionError},
};
use crate::cloudevent::CloudEventLayer;

const SUBSCRIBE: &str = "/dapr/subscribe";
const CONFIG: &str = "/dapr/config";
const HEALTHZ: &str = "/healthz";

/// No app has this many; daprd would take them, one request after the other.
const MAX_TOPICS: usize = 1024;
const MAX_METADATA: usize = 64;
/// Names, routes and values of metadata, in bytes.
const MAX_NAME: usize = 512;
/// A condition, in bytes.
const MAX_CONDITION: usize = 4096;

/// Topics and their handlers, to become routes. See the [module docs](crate::inbound) for an example.
///
/// Handlers are those of axum: they take an [`Event`](crate::event::Event) and any other extractor, and may return what the
/// [module docs](crate::inbound#what-a-handlers-answer-means-to-dapr) list.
#[must_use = "subscriptions do nothing until they are a router"]
pub struct Subscriptions<S = ()> {
    topics: Vec<(Topic, MethodRouter<S>)>,
    layer: CloudEventLayer,
}

impl<S: Clone + Send + Sync + 'static> Subscriptions<S> {
    /// No subscriptions yet.
    pub fn new() -> Self {
        Self { topics: Vec::new(), layer: CloudEventLayer::new() }
    }

    /// Subscribes a topic.
    pub fn topic<H, T>(mut self, topic: Topic, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.topics.push((topic, post(handler)));
        self
    }

    /// The layer around each handler: limits, spans, and what an event gets that cannot be decoded. Defaults to
    /// [`CloudEventLayer::new`].
    pub fn with_cloud_event_layer(mut self, layer: CloudEventLayer) -> Self {
        self.layer = layer;
        self
    }

    /// The router: the routes of the topics, and those that daprd asks for.
    ///
    /// To be merged into a router that has none of these routes itself: axum panics at a route that is there twice.
    ///
    /// # Errors
    ///
    /// If a name is empty or too long, a topic is subscribed twice with the same condition, a route is no plain path or is
    /// taken, or two subscriptions of a topic contradict each other. The error names the subscription.
    pub fn into_router(self) -> Result<Router<S>, SubscriptionError> {
        let mut document = Document::default();
        let mut routes = Routes::default();
        let mut router = Router::new();
        for (count, (topic, handler)) in self.topics.into_iter().enumerate() {
            if count == MAX_TOPICS {
                let problem = Problem::TooMany { what: "subscriptions", limit: MAX_TOPICS };
                return Err(SubscriptionError::new(&topic, problem));
            }
            check(&topic).map_err(|problem| SubscriptionError::new(&topic, problem))?;
            let path = document.add(&topic)?;
            routes.take(&path, &topic).map_err(|problem| SubscriptionError::new(&topic, problem))?;
            // The panic is caught outside, where the span has seen it.
            router = router.route(&path, handler.route_layer((CatchPanicLayer, self.layer.clone())));
        }
        let document = Bytes::from(serde_json::to_vec(&document).expect("texts and lists of texts are JSON"));
        Ok(router
            .route(SUBSCRIBE, get(json(document)))
            .route(CONFIG, get(json(Bytes::from_static(b"{}"))))
            .route(HEALTHZ, get(async || ())))
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Subscriptions<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Subscriptions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: Vec<_> = self.topics.iter().map(|(topic, _)| topic).collect();
        f.debug_struct("Subscriptions").field("topics", &topics).field("layer", &self.layer).finish()
    }
}

/// A handler that answers with this document.
fn json(
    document: Bytes,
) -> impl FnOnce() -> std::future::Ready<([(http::HeaderName, &'static str); 1], Bytes)> + Clone {
    move || std::future::ready(([(CONTENT_TYPE, "application/json")], document))
}

/// The routes that are taken, and by which pubsub and topic.
#[derive(Default)]
struct Routes {
    taken: HashMap<String, (String, String)>,
}

impl Routes {
    fn take(&mut self, path: &str, topic: &Topic) -> Result<(), Problem> {
        let route = path.to_owned();
        if !is_plain_path(path) {
            return Err(Problem::NotAPath { route });
        }
        if [SUBSCRIBE, CONFIG, HEALTHZ].contains(&path) {
            return Err(Problem::Reserved { route });
        }
        if let Some((pubsub, topic)) = self.taken.get(path) {
            return Err(Problem::Taken { route, pubsub: pubsub.clone(), topic: topic.clone() });
        }
        self.taken.insert(route, (topic.pubsub.clone(), topic.name.clone()));
        Ok(())
    }
}

fn check(topic: &Topic) -> Result<(), Problem> {
    if topic.pubsub.is_empty() {
        return Err(Problem::NoPubsub);
    }
    if topic.name.is_empty() {
        return Err(Problem::NoTopic);
    }
    if topic.metadata.len() > MAX_METADATA {
        return Err(Problem::TooMany { what: "entries of metadata", limit: MAX_METADATA });
    }
    let metadata = topic.metadata.iter().flat_map(|(key, value)| [("metadata", Some(key)), ("metadata", Some(value))]);
    for (what, text) in [
        ("the name of the pubsub component", Some(&topic.pubsub)),
        ("the name of the topic", Some(&topic.name)),
        ("the dead letter topic", topic.dead_letter.as_ref()),
        ("the route", topic.route.as_ref()),
    ]
    .into_iter()
    .chain(metadata)
    {
        if text.is_some_and(|text| text.len() > MAX_NAME) {
            return Err(Problem::TooLong { what, limit: MAX_NAME });
        }
    }
    if topic.when.as_ref().is_some_and(|when| when.len() > MAX_CONDITION) {
        return Err(Problem::TooLong { what: "the condition", limit: MAX_CONDITION });
    }
    Ok(())
}

/// A path that stands for itself on the whole way: for axum (which reads `{x}` as a capture and refuses segments that
/// start with `:` or `*`), and for daprd (which cleans `.`, `..` and doubled slashes).
fn is_plain_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    rest.bytes().all(is_plain)
        && rest.split('/').all(|segment| !matches!(segment, "" | "." | "..") && !segment.starts_with([':', '*']))
}
