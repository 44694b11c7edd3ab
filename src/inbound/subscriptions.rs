use std::{any::type_name, fmt};

use axum::{
    Router,
    handler::Handler,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::{
    AppCallbacks, AppConfig, Binding, RequireApiTokenLayer, Topic,
    catch_panic::CatchPanicLayer,
    document::Document,
    error::{Problem, SubscriptionError, Target},
    read_out::read_out,
    routes::{CONFIG, HEALTHZ, MAX_TOPICS, Routes, SUBSCRIBE, check_name, check_topic},
    settle,
    topic::BulkSubscribe,
};
use crate::{cloudevent::CloudEventLayer, event::Limits};

/// Topics, input bindings and jobs with their handlers, to become routes. See the [module docs](crate::inbound) for an
/// example.
///
/// Handlers are those of axum: one of a topic takes an [`Event`](crate::event::Event) and any other extractor, and may
/// return what the [module docs](crate::inbound#what-a-handlers-answer-means-to-dapr) list.
#[must_use = "subscriptions do nothing until they are a router"]
pub struct Subscriptions<S = ()> {
    topics: Vec<(Topic, MethodRouter<S>)>,
    bindings: Vec<(Binding, MethodRouter<S>)>,
    jobs: Vec<(String, MethodRouter<S>)>,
    health: MethodRouter<S>,
    config: AppConfig,
    layer: CloudEventLayer,
    api_token: Option<RequireApiTokenLayer>,
}

/// What subscriptions become.
pub(super) struct Built<S> {
    /// Topics, bindings and jobs.
    pub(super) router: Router<S>,
    pub(super) health: MethodRouter<S>,
    pub(super) document: Document,
    pub(super) config: AppConfig,
    /// Name and path.
    pub(super) bindings: Vec<(String, String)>,
    pub(super) layer: CloudEventLayer,
    pub(super) api_token: Option<RequireApiTokenLayer>,
}

impl<S: Clone + Send + Sync + 'static> Subscriptions<S> {
    /// No subscriptions yet.
    pub fn new() -> Self {
        Self {
            topics: Vec::new(),
            bindings: Vec::new(),
            jobs: Vec::new(),
            health: get(async || ()),
            config: AppConfig::new(),
            layer: CloudEventLayer::new(),
            api_token: None,
        }
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

    /// Takes the events of an input binding: its name, or a [`Binding`] with a route of its own. The body is what the
    /// binding has, its metadata are headers.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use tower_dapr::{event::Outcome, inbound::Subscriptions};
    ///
    /// let subscriptions = Subscriptions::<()>::new().binding("every-minute", async |_: Bytes| Outcome::Success);
    /// ```
    ///
    /// An answer of 2xx is done; anything else is not acknowledged. [`Outcome::Retry`](crate::event::Outcome::Retry),
    /// [`Rejected`](super::Rejected) and a panic are answered with 500,
    /// [`Outcome::Drop`](crate::event::Outcome::Drop) with 200: a binding has no dead letters.
    ///
    /// What the handler leaves of the body is read before it is answered, for at most a second and up to the limit of
    /// events ([`Limits::bytes`](crate::event::Limits::bytes)): Dapr would take a connection that is closed before it has
    /// sent everything for a failure. The same holds for [`job`](Self::job).
    pub fn binding<H, T>(mut self, binding: impl Into<Binding>, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.bindings.push((binding.into(), post(handler)));
        self
    }

    /// Runs a job when the scheduler says so. The body is the job's data.
    ///
    /// An answer of 2xx is done, 404 too (Dapr logs it); anything else is a failure, for which the job's failure policy
    /// holds. [`Outcome::Retry`](crate::event::Outcome::Retry), [`Rejected`](super::Rejected) and a panic are answered with
    /// 500, [`Outcome::Drop`](crate::event::Outcome::Drop) with 404.
    pub fn job<H, T>(mut self, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.jobs.push((name.into(), post(handler)));
        self
    }

    /// What `GET /healthz` answers: 2xx is healthy. Dapr asks only with `--enable-app-health-check`. Defaults to 200.
    pub fn health<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.health = get(handler);
        self
    }

    /// What `GET /dapr/config` answers: the actors that the app hosts. Defaults to none. Dapr does not ask an app that speaks
    /// gRPC.
    pub fn app_config(mut self, config: AppConfig) -> Self {
        self.config = config;
        self
    }

    /// The layer around each topic's handler: limits, spans, metrics, and what an event gets that cannot be decoded.
    /// Defaults to [`CloudEventLayer::new`].
    pub fn with_cloud_event_layer(mut self, layer: CloudEventLayer) -> Self {
        self.layer = layer;
        self
    }

    /// Answers only who has the token, on the routes that [`into_router`](Self::into_router) makes, but for `/healthz`, for
    /// which Dapr sends none. Routes that the router gets afterwards are open: they need the layer around themselves.
    /// Defaults to anybody.
    pub fn require_api_token(mut self, layer: impl Into<Option<RequireApiTokenLayer>>) -> Self {
        self.api_token = layer.into();
        self
    }

    /// The router: the routes of the topics, bindings and jobs, and those that daprd asks for.
    ///
    /// To be merged into a router that has none of these routes itself: axum panics at a route that is there twice.
    ///
    /// # Errors
    ///
    /// If a name is empty, or a name, route or value of metadata longer than 512 bytes; a condition is empty, or longer
    /// than 4,096; there are more than 1,024 topics or actor types, or 64 entries of metadata; a topic is subscribed
    /// twice with the same condition; a bulk delivery may be of more events than the layer's [`Limits::entries`]; a
    /// route is no plain path, is taken, or one that Dapr asks for (`/dapr/subscribe`, `/dapr/config`, `/healthz`); two
    /// subscriptions of a topic contradict each other; an actor type is no name or is there twice; or a setting of
    /// [`AppConfig`](super::AppConfig) is out of its range. The error names the subscription, the type or the setting.
    pub fn into_router(self) -> Result<Router<S>, SubscriptionError> {
        let Built { mut router, health, document, config, api_token, .. } = self.build()?;
        router = router.route(SUBSCRIBE, get(json(bytes_of(&document)))).route(CONFIG, get(json(bytes_of(&config))));
        if let Some(layer) = api_token {
            router = router.route_layer(layer);
        }
        Ok(router.route(HEALTHZ, health))
    }

    /// The same for an app that speaks gRPC with its sidecar (`--app-protocol grpc`): see [`AppCallbacks`].
    ///
    /// # Errors
    ///
    /// As [`into_router`](Self::into_router).
    pub fn into_app_callbacks(self, state: S) -> Result<AppCallbacks, SubscriptionError> {
        let Built { router, health, document, bindings, layer, api_token, .. } = self.build()?;
        let router = router.route(HEALTHZ, health).with_state(state);
        Ok(AppCallbacks::new(router, &document, bindings, *layer.limits(), api_token))
    }

    pub(super) fn build(self) -> Result<Built<S>, SubscriptionError> {
        self.config.check()?;
        let mut document = Document::default();
        let mut routes = Routes::default();
        let mut router = Router::new();
        for (count, (topic, handler)) in self.topics.into_iter().enumerate() {
            let wrong = |problem| SubscriptionError::new(topic.target(), problem);
            if count == MAX_TOPICS {
                return Err(wrong(Problem::TooMany { what: "subscriptions", limit: MAX_TOPICS }));
            }
            check_topic(&topic).map_err(wrong)?;
            check_bulk(&topic, self.layer.limits()).map_err(wrong)?;
            let path = document.add(&topic)?;
            routes.take(&path, &topic.target()).map_err(wrong)?;
            let mut layer = self.layer.clone().with_destination(&topic.pubsub, &topic.name);
            if topic.octets_are_json {
                layer = layer.with_json_octets(true);
            }
            // The panic is caught outside, where the span has seen it.
            router = router.route(&path, handler.route_layer((CatchPanicLayer, layer)));
        }
        let read_out = from_fn_with_state(self.layer.limits().bytes(), read_out);
        let mut bindings = Vec::new();
        for (Binding { name, route }, handler) in self.bindings {
            let path = route.unwrap_or_else(|| format!("/{name}"));
            let target = Target::Binding { name: name.clone() };
            take(&mut routes, &name, &path, target)?;
            // daprd asks with OPTIONS whether the app wants the binding.
            let handler =
                handler.route_layer((read_out.clone(), settle::binding(), CatchPanicLayer)).options(async || ());
            router = router.route(&path, handler);
            bindings.push((name, path));
        }
        for (name, handler) in self.jobs {
            let path = format!("/job/{name}");
            take(&mut routes, &name, &path, Target::Job { name: name.clone() })?;
            router = router.route(&path, handler.route_layer((read_out.clone(), settle::job(), CatchPanicLayer)));
        }
        let Self { health, config, layer, api_token, .. } = self;
        Ok(Built { router, health, document, config, bindings, layer, api_token })
    }
}

fn check_bulk(topic: &Topic, limits: &Limits) -> Result<(), Problem> {
    let events = topic.bulk.map_or(0, BulkSubscribe::max_messages);
    let limit = limits.entries();
    if events > limit { Err(Problem::LargeBulk { events, limit }) } else { Ok(()) }
}

fn take(routes: &mut Routes, name: &str, path: &str, target: Target) -> Result<(), SubscriptionError> {
    let taken = check_name(name).and_then(|()| routes.take(path, &target));
    taken.map_err(|problem| SubscriptionError::new(target, problem))
}

impl<S: Clone + Send + Sync + 'static> Default for Subscriptions<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Subscriptions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics: Vec<_> = self.topics.iter().map(|(topic, _)| topic).collect();
        let bindings: Vec<_> = self.bindings.iter().map(|(binding, _)| binding).collect();
        let jobs: Vec<_> = self.jobs.iter().map(|(name, _)| name).collect();
        f.debug_struct("Subscriptions")
            .field("topics", &topics)
            .field("bindings", &bindings)
            .field("jobs", &jobs)
            .field("config", &self.config)
            .field("layer", &self.layer)
            .field("api_token", &self.api_token)
            .field("state", &type_name::<S>())
            .finish_non_exhaustive()
    }
}

/// A handler that answers with this document.
fn json(
    document: Bytes,
) -> impl FnOnce() -> std::future::Ready<([(http::HeaderName, &'static str); 1], Bytes)> + Clone {
    move || std::future::ready(([(CONTENT_TYPE, "application/json")], document))
}

fn bytes_of(document: &impl Serialize) -> Bytes {
    serde_json::to_vec(document).expect("texts, numbers and lists of texts are JSON").into()
}
