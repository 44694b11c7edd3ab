//! Resource files, and the program that reads them.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::BTreeSet;
use std::fs;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    GetConfigurationRequest, GetMetadataRequest, PublishEventRequest, PubsubSubscriptionType, ShutdownRequest,
    SubscribeConfigurationRequest,
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

const CONFIGURATION: &str = r#"
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: settings}
spec:
  type: configuration.in-memory
  version: v1
  metadata:
    - {name: itemsFile, value: "FILE"}
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

#[tokio::test]
async fn a_configuration_store_follows_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("items.json");
    fs::write(&file, r#"{"colour": "blue", "limit": 3, "old": true}"#).unwrap();
    let component = CONFIGURATION.replace("FILE", file.to_str().unwrap());
    fs::write(directory.path().join("a.yaml"), component).unwrap();
    let hub = Hub::builder().resources(directory.path(), true).unwrap().build();
    let sidecars = [hub.app("shop").start().await.unwrap(), hub.app("other").start().await.unwrap()];
    let mut dapr = DaprClient::connect(sidecars[0].grpc_endpoint()).await.unwrap();
    let get = || GetConfigurationRequest { store_name: "settings".into(), ..Default::default() };
    let items = dapr.get_configuration(get()).await.unwrap().into_inner().items;
    let of = |key: &str| items[key].value.clone();
    assert_eq!([of("colour"), of("limit"), of("old")], ["blue", "3", "true"]);

    let watch = SubscribeConfigurationRequest { store_name: "settings".into(), ..Default::default() };
    let mut changes = dapr.subscribe_configuration(watch).await.unwrap().into_inner();
    assert!(changes.message().await.unwrap().unwrap().items.is_empty());
    hub.set_configuration("settings", "own", "stays");
    for (text, key, value) in [
        ("", "own", "stays"),
        (r#"{"colour": "red", "limit": 3, "old": true}"#, "colour", "red"),
        // Broken: nothing changes.
        (r#"{"colour": "#, "", ""),
        (r#"{"colour": "red", "limit": 3}"#, "old", ""),
    ] {
        if !text.is_empty() {
            fs::write(&file, text).unwrap();
        }
        if key.is_empty() {
            continue;
        }
        let mut change = changes.message().await.unwrap().unwrap().items;
        // One for each change, although two sidecars look at the file.
        assert_eq!((change.len(), change.remove(key).unwrap().value.as_str()), (1, value));
    }
    let items = dapr.get_configuration(get()).await.unwrap().into_inner().items;
    let keys: BTreeSet<_> = items.keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["colour", "limit", "own"]));
    hub.shutdown().await;
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
    assert!(refused(&CONFIGURATION.replace("FILE", "/no/such/file"), true).contains("/no/such/file"));
    let directory = tempfile::tempdir().unwrap();
    for text in ["[]", "{", r#"{"a": {}}"#, r#"{"a": [1]}"#] {
        let file = directory.path().join("items.json");
        fs::write(&file, text).unwrap();
        let error = Hub::builder().configuration_file("settings", file).unwrap_err();
        assert_eq!(error.name(), "settings", "{text}");
    }
}
