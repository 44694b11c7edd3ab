//! The configuration rpcs (`dapr/dapr:pkg/api/grpc/grpc.go`).

use std::collections::HashMap;
use std::sync::Arc;

use dapr::dapr::proto::common::v1::ConfigurationItem;
use dapr::dapr::proto::runtime::v1::{
    GetConfigurationRequest, GetConfigurationResponse, SubscribeConfigurationRequest, SubscribeConfigurationResponse,
    UnsubscribeConfigurationRequest, UnsubscribeConfigurationResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use super::service::BoxStream;
use super::status::Rich;
use crate::sidecar::app::App;
use crate::sidecar::components::{ConfigurationStore, Item};
use crate::sidecar::lock::lock;

pub(in crate::sidecar) async fn get(
    app: &Arc<App>,
    request: Request<GetConfigurationRequest>,
) -> Result<Response<GetConfigurationResponse>, Status> {
    let request = request.into_inner();
    let items = store(app, &request.store_name)?.get(&request.keys).into_iter();
    Ok(Response::new(GetConfigurationResponse { items: items.map(|(key, item)| (key, message(item))).collect() }))
}

/// First the id of the subscription, then each change, until the caller goes or unsubscribes.
pub(in crate::sidecar) async fn subscribe(
    app: &Arc<App>,
    request: Request<SubscribeConfigurationRequest>,
) -> Result<Response<BoxStream<SubscribeConfigurationResponse>>, Status> {
    let request = request.into_inner();
    let mut watch = store(app, &request.store_name)?.watch(request.keys);
    let (id, ended) = subscription(app);
    let (sender, responses) = mpsc::channel(16);
    let hub = Arc::clone(app);
    app.tasks.spawn(async move {
        let first = SubscribeConfigurationResponse { id: id.clone(), items: HashMap::new() };
        let mut next = Some(first);
        while let Some(response) = next.take() {
            if sender.send(Ok(response)).await.is_err() {
                break;
            }
            tokio::select! {
                () = sender.closed() => {}
                () = ended.cancelled() => {}
                change = watch.changes.recv() => next = change.map(|(key, item)| SubscribeConfigurationResponse {
                    id: id.clone(),
                    items: HashMap::from([(key, message(item))]),
                }),
            }
        }
        lock(&hub.configuration_subscriptions).remove(&id);
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
}

/// An unknown id is no error.
pub(in crate::sidecar) async fn unsubscribe(
    app: &Arc<App>,
    request: Request<UnsubscribeConfigurationRequest>,
) -> Result<Response<UnsubscribeConfigurationResponse>, Status> {
    let id = request.into_inner().id;
    let response = match lock(&app.configuration_subscriptions).remove(&id) {
        Some(subscription) => {
            subscription.cancel();
            UnsubscribeConfigurationResponse { ok: true, message: String::new() }
        }
        None => {
            let reason = format!("subscription with id {id} does not exist");
            let message = format!("failed to unsubscribe to configuration request {id}: {reason}");
            UnsubscribeConfigurationResponse { ok: false, message }
        }
    };
    Ok(Response::new(response))
}

/// The id of a new subscription, and what ends it.
pub(in crate::sidecar) fn subscription(app: &App) -> (String, CancellationToken) {
    let (id, ended) = (Uuid::new_v4().to_string(), CancellationToken::new());
    lock(&app.configuration_subscriptions).insert(id.clone(), ended.clone());
    (id, ended)
}

pub(in crate::sidecar) fn store(app: &App, name: &str) -> Result<Arc<ConfigurationStore>, Status> {
    let stores = &app.hub.configuration_stores;
    if stores.is_empty() {
        let error = Rich::new(Code::FailedPrecondition, "configuration stores not configured");
        return Err(error.reason("ERR_CONFIGURATION_STORE_NOT_CONFIGURED"));
    }
    stores.get(name).cloned().ok_or_else(|| {
        let error = Rich::new(Code::InvalidArgument, format!("configuration store {name} not found"));
        error.reason("ERR_CONFIGURATION_STORE_NOT_FOUND")
    })
}

fn message(item: Item) -> ConfigurationItem {
    ConfigurationItem { value: item.value, version: item.version, metadata: HashMap::new() }
}
