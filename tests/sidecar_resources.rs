//! Resource files, and the program that reads them.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::BTreeSet;
use std::fs;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    GetMetadataRequest, PublishEventRequest, PubsubSubscriptionType, ShutdownRequest,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_dapr::sidecar::Hub;

const COMPONENTS: &str = r#"
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.redis
  version: v1
  metadata:
    - name: redisHost
      value: "localhost:6379"
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec: {type: pubsub.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec:
  type: bindings.cron
  version: v1
  metadata:
    - {name: schedule, value: "@every 1h"}
"#;

const OTHERS: &str = r"
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: orders}
spec:
  pubsubname: bus
  topic: orders
  routes:
    rules:
      - match: event.type == 'a'
        path: /a
    default: /orders
scopes: [shop]
---
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata: {name: not-for-us}
spec: {pubsubname: bus, topic: t, route: /t}
scopes: [other]
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: again}
spec:
  policies:
    retries:
      soon: {policy: constant, duration: 10ms, maxRetries: 2}
  targets:
    components:
      bus:
        inbound: {retry: soon}
---
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: tracing}
spec: {tracing: {samplingRate: '1'}}
";

#[tokio::test(start_paused = true)]
async fn components_subscriptions_and_retries_come_from_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("components.yaml"), COMPONENTS).unwrap();
    fs::write(directory.path().join("others.yml"), OTHERS).unwrap();
    fs::write(directory.path().join("notes.txt"), "not: [yaml").unwrap();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let app = Router::new()
        .route(
            "/orders",
            post(async move || {
                let _ = sender.send(());
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route("/dapr/subscribe", get(|| async { "[]" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let hub = Hub::builder().resources(directory.path(), false).unwrap().build();
    let sidecar = hub.app("shop").app_port(port).start().await.unwrap();
    sidecar.ready().await;
    let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    let metadata = dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    let names: BTreeSet<_> = metadata.registered_components.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["bus", "statestore", "tick"]));
    assert_eq!(metadata.subscriptions.len(), 1);
    assert_eq!(metadata.subscriptions[0].r#type(), PubsubSubscriptionType::Declarative);

    let order = PublishEventRequest { pubsub_name: "bus".into(), topic: "orders".into(), ..Default::default() };
    dapr.publish_event(order).await.unwrap();
    hub.settled().await;
    let attempts = std::iter::from_fn(|| seen.try_recv().ok()).count();
    assert_eq!((attempts, hub.stats().retried, hub.stats().lost), (3, 2, 1));

    dapr.shutdown(ShutdownRequest {}).await.unwrap();
    sidecar.shutdown_asked().await;
}

#[test]
fn what_cannot_be_done_is_refused_and_named() {
    let refused = |text: &str, strict: bool| {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.yaml"), text).unwrap();
        Hub::builder().resources(directory.path(), strict).unwrap_err().to_string()
    };
    let strict = refused(COMPONENTS, true);
    assert_eq!(strict, "component \"statestore\": components of type \"state.redis\" are not known here");
    assert!(refused("kind: [", false).contains("a.yaml"));
    let cron = COMPONENTS.replace("@every 1h", "sometimes");
    assert_eq!(refused(&cron, false), "component \"tick\": invalid schedule \"sometimes\"");
    assert!(refused(&OTHERS.replace("retry: soon", "retry: later"), false).contains("no retry policy \"later\""));
    assert!(refused(&OTHERS.replace("'a'", ""), false).starts_with("component \"orders\": "));
    assert!(Hub::builder().resources("/no/such/directory", false).is_err());
}
