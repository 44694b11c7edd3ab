//! The metadata rpcs (`dapr/dapr:pkg/api/universal/metadata.go`).

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::actor_runtime::ActorRuntimeStatus;
use dapr::dapr::proto::runtime::v1::{
    ActiveActorsCount, ActorRuntime, AppConnectionProperties, GetMetadataRequest, GetMetadataResponse,
    PubsubSubscription, PubsubSubscriptionRule, PubsubSubscriptionRules, RegisteredComponents, SetMetadataRequest,
    ShutdownRequest,
};
use tonic::{Request, Response, Status};

use crate::sidecar::app::App;
use crate::sidecar::hub::HubState;
use crate::sidecar::lock::lock;
use crate::sidecar::pubsub::Subscription;

/// The daprd that this sidecar behaves as.
const RUNTIME_VERSION: &str = "1.18.2";

const PUBSUB_CAPABILITIES: [&str; 1] = ["SUBSCRIBE_WILDCARDS"];

pub(in crate::sidecar) async fn get(
    app: &Arc<App>,
    _request: Request<GetMetadataRequest>,
) -> Result<Response<GetMetadataResponse>, Status> {
    let mut extended = lock(&app.extended).clone();
    extended.insert("daprRuntimeVersion".to_owned(), RUNTIME_VERSION.to_owned());
    let stores = app.hub.state_stores.iter().map(|(name, store)| {
        let mut component = component(name, store.kind(), store.capabilities());
        if app.hub.actor_state_store.as_ref() == Some(name) {
            component.capabilities.push("ACTOR".to_owned());
        }
        component
    });
    let pubsubs = app.hub.pubsubs.keys().map(|name| component(name, "pubsub.in-memory", &PUBSUB_CAPABILITIES));
    let connection = app.channel.as_ref().map(|channel| AppConnectionProperties {
        port: i32::from(channel.address().port()),
        protocol: channel.protocol().as_str().to_owned(),
        channel_address: channel.address().ip().to_string(),
        ..AppConnectionProperties::default()
    });
    let actor_runtime = actor_runtime(app);
    #[allow(deprecated, reason = "daprd still fills it")]
    Ok(Response::new(GetMetadataResponse {
        active_actors_count: actor_runtime.active_actors.clone(),
        actor_runtime: Some(actor_runtime),
        id: app.id.clone(),
        registered_components: stores.chain(pubsubs).chain(others(&app.hub)).collect(),
        extended_metadata: extended,
        subscriptions: lock(&app.subscriptions).iter().map(subscription).collect(),
        app_connection_properties: connection,
        runtime_version: RUNTIME_VERSION.to_owned(),
        ..GetMetadataResponse::default()
    }))
}

pub(in crate::sidecar) async fn set(
    app: &Arc<App>,
    request: Request<SetMetadataRequest>,
) -> Result<Response<()>, Status> {
    let SetMetadataRequest { key, value } = request.into_inner();
    if !key.is_empty() {
        lock(&app.extended).insert(key, value);
    }
    Ok(Response::new(()))
}

/// Says yes and goes on: whoever started the sidecar in this process is told, and stops it.
pub(in crate::sidecar) async fn shutdown(
    app: &Arc<App>,
    _request: Request<ShutdownRequest>,
) -> Result<Response<()>, Status> {
    tracing::info!(app_id = app.id, "the app asked its sidecar to shut down");
    app.shutdown_asked.cancel();
    Ok(Response::new(()))
}

/// There is always a placement: the hub.
fn actor_runtime(app: &App) -> ActorRuntime {
    if !app.host.is_registered() {
        return ActorRuntime { runtime_status: ActorRuntimeStatus::Initializing.into(), ..ActorRuntime::default() };
    }
    let count = |(kind, count)| ActiveActorsCount { r#type: kind, count: i32::try_from(count).unwrap_or(i32::MAX) };
    ActorRuntime {
        runtime_status: ActorRuntimeStatus::Running.into(),
        active_actors: app.host.counts().into_iter().map(count).collect(),
        host_ready: true,
        placement: "placement: connected".to_owned(),
    }
}

fn others(hub: &HubState) -> impl Iterator<Item = RegisteredComponents> {
    let secrets = hub.secret_stores.iter().map(|(name, store)| component(name, store.kind(), &[]));
    let configuration = hub.configuration_stores.keys().map(|name| component(name, "configuration.in-memory", &[]));
    let locks = hub.lock_stores.keys().map(|name| component(name, "lock.in-memory", &[]));
    let bindings = hub.bindings.iter();
    let bindings = bindings.map(|(name, binding)| component(name, binding.kind(), &[binding.capability()]));
    secrets.chain(configuration).chain(locks).chain(bindings)
}

fn component(name: &str, kind: &str, capabilities: &[&str]) -> RegisteredComponents {
    RegisteredComponents {
        name: name.to_owned(),
        r#type: kind.to_owned(),
        version: "v1".to_owned(),
        capabilities: capabilities.iter().map(|&capability| capability.to_owned()).collect(),
    }
}

fn subscription(subscription: &Subscription) -> PubsubSubscription {
    let rules = subscription.rules.iter();
    let rules =
        rules.map(|rule| PubsubSubscriptionRule { r#match: rule.condition.clone(), path: rule.path.clone() }).collect();
    PubsubSubscription {
        pubsub_name: subscription.pubsub.clone(),
        topic: subscription.topic.clone(),
        metadata: subscription.metadata.clone().into_iter().collect(),
        rules: Some(PubsubSubscriptionRules { rules }),
        dead_letter_topic: subscription.dead_letter_topic.clone().unwrap_or_default(),
        r#type: subscription.kind.into(),
    }
}
