//! One app and what its sidecar knows about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::actors::{self, Host};
use super::app_channel::{AppChannel, ChannelError};
use super::bindings;
use super::headers;
use super::hub::HubState;
use super::lock::lock;
use super::pubsub::{self, Sink, Subscription, Worker};
use super::resources::Declared;
use super::spans::Spans;
use super::tasks::Tasks;

/// How often daprd looks for the app's port.
const PROBE: Duration = Duration::from_millis(100);
/// The built-in retries of daprd around `GET /dapr/subscribe`: half a second, half as much again each time.
const SUBSCRIBE_PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(750), Duration::from_millis(1000)];
/// More than any list of subscriptions needs.
const MAX_ANSWER: usize = 1 << 20;

/// Shared by all tasks of a sidecar.
#[derive(Debug)]
pub(super) struct App {
    pub(super) id: String,
    pub(super) hub: Arc<HubState>,
    pub(super) spans: Spans,
    /// `None` for an app that only calls.
    pub(super) channel: Option<Arc<AppChannel>>,
    pub(super) tasks: Tasks,
    /// Extended metadata, set by the app.
    pub(super) extended: Mutex<HashMap<String, String>>,
    pub(super) subscriptions: Mutex<Vec<Subscription>>,
    /// What ends each subscription to a configuration store, by id.
    pub(super) configuration_subscriptions: Mutex<HashMap<String, CancellationToken>>,
    /// The actors that the app hosts.
    pub(super) host: Host,
    ready: watch::Sender<bool>,
    /// Cancelled when the app asks its sidecar to shut down.
    pub(super) shutdown_asked: CancellationToken,
}

// ===== impl App =====

impl App {
    pub(super) fn new(id: String, hub: Arc<HubState>, spans: Spans, channel: Option<AppChannel>, tasks: Tasks) -> Self {
        Self {
            id,
            hub,
            spans,
            ready: watch::Sender::new(channel.is_none()),
            channel: channel.map(Arc::new),
            tasks,
            extended: Mutex::default(),
            shutdown_asked: CancellationToken::new(),
            subscriptions: Mutex::default(),
            host: Host::default(),
            configuration_subscriptions: Mutex::default(),
        }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.is_grpc())
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(super) async fn ready(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Waits for the app, reads its configuration and its subscriptions, and starts to deliver.
    pub(super) async fn connect(self: Arc<Self>) {
        let Some(channel) = self.channel.clone() else {
            Host::register(&self, actors::Types::new());
            return;
        };
        while !channel.is_up().await {
            tokio::time::sleep(PROBE).await;
        }
        if channel.is_grpc() {
            Host::register(&self, actors::Types::new());
            self.subscribe_all(self.list_subscriptions(&channel).await, &channel);
            bindings::run_inputs(&self, &channel).await;
        } else {
            self.connect_http(&channel).await;
        }
        self.ready.send_replace(true);
    }

    /// One subscription a topic: the app's last one, or the first that is declared
    /// (`dapr/dapr:pkg/runtime/compstore/subscriptions.go`).
    fn subscribe_all(&self, own: Vec<Subscription>, channel: &Arc<AppChannel>) {
        let mut all: Vec<Subscription> = Vec::new();
        for Declared { subscription, scopes } in &self.hub.declared {
            let is_ours = scopes.is_empty() || scopes.contains(&self.id);
            if is_ours && !all.iter().any(|other| other.is_same(subscription)) {
                all.push(subscription.clone());
            }
        }
        for subscription in own {
            match all.iter_mut().find(|other| other.is_same(&subscription)) {
                Some(other) => *other = subscription,
                None => all.push(subscription),
            }
        }
        for subscription in all {
            self.subscribe(subscription, channel);
        }
    }

    async fn connect_http(self: &Arc<Self>, channel: &Arc<AppChannel>) {
        let types = match self.ask(channel, "/dapr/config").await {
            Ok((StatusCode::OK, body)) => actors::parse(&body),
            Ok(_) => Ok(actors::Types::new()),
            Err(error) => Err(error.to_string()),
        };
        let types = types.unwrap_or_else(|reason| {
            tracing::error!(app_id = self.id, reason, "GET /dapr/config failed: the app hosts no actors");
            actors::Types::new()
        });
        Host::register(self, types);
        self.subscribe_all(self.read_subscriptions(channel).await, channel);
        bindings::run_inputs(self, channel).await;
    }

    fn subscribe(&self, subscription: Subscription, channel: &Arc<AppChannel>) {
        let Some(pubsub) = self.hub.pubsubs.get(&subscription.pubsub) else {
            tracing::error!(app_id = self.id, pubsub = ?subscription.pubsub, "subscription refused: no such pubsub");
            return;
        };
        let deliveries = pubsub.subscribe(&subscription.topic);
        lock(&self.subscriptions).push(subscription.clone());
        let (pubsub, channel) = (Arc::clone(pubsub), Arc::clone(channel));
        let sink = Sink::App(channel);
        let (spans, clock) = (self.spans.clone(), self.hub.clock);
        self.tasks.spawn(Worker { subscription, pubsub, sink, spans, clock }.run(deliveries));
    }

    /// What a gRPC app subscribes to. One that has no such rpc subscribes to nothing. As daprd, without the app's token.
    async fn list_subscriptions(&self, channel: &AppChannel) -> Vec<Subscription> {
        let mut pauses = SUBSCRIBE_PAUSES.into_iter();
        let answer = loop {
            let answer = channel.callback().list_topic_subscriptions(()).await;
            match (answer, pauses.next()) {
                (Err(status), Some(pause)) if status.code() != Code::Unimplemented => tokio::time::sleep(pause).await,
                (answer, _) => break answer,
            }
        };
        let subscriptions = match answer {
            Ok(answer) => answer.into_inner().subscriptions.into_iter().map(Subscription::of_grpc).collect(),
            Err(status) if status.code() == Code::Unimplemented => Ok(Vec::new()),
            Err(status) => Err(format!("the app answered {:?}", status.code())),
        };
        subscriptions.unwrap_or_else(|reason| {
            tracing::error!(app_id = self.id, reason, "ListTopicSubscriptions failed: the app has no subscriptions");
            Vec::new()
        })
    }

    async fn read_subscriptions(&self, channel: &AppChannel) -> Vec<Subscription> {
        let mut pauses = SUBSCRIBE_PAUSES.into_iter();
        let answer = loop {
            match (self.ask(channel, "/dapr/subscribe").await, pauses.next()) {
                (Err(ChannelError::Send(_)), Some(pause)) => tokio::time::sleep(pause).await,
                (answer, _) => break answer,
            }
        };
        let subscriptions = match answer {
            Ok((StatusCode::OK, body)) => pubsub::parse(&body),
            Ok((StatusCode::NOT_FOUND, _)) => Ok(Vec::new()),
            Ok((status, _)) => Err(format!("the app answered {}", status.as_u16())),
            Err(error) => Err(error.to_string()),
        };
        subscriptions.unwrap_or_else(|reason| {
            tracing::error!(app_id = self.id, reason, "GET /dapr/subscribe failed: the app has no subscriptions");
            Vec::new()
        })
    }

    async fn ask(&self, channel: &AppChannel, path: &'static str) -> Result<(StatusCode, Bytes), ChannelError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("dapr-app-id", headers::value(&self.id));
        let response = channel.send(Method::GET, PathAndQuery::from_static(path), headers, Bytes::new()).await?;
        let status = response.status();
        Ok((status, AppChannel::read(response.into_body(), MAX_ANSWER).await?))
    }
}
