//! Resource files, and the program that reads them.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::*;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use tower_dapr::sidecar::{AppProtocol, Hub};

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
        (r#"{"colour": "red", "limit": 3}"#, "old", ""),
    ] {
        if !text.is_empty() {
            fs::write(&file, text).unwrap();
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

#[tokio::test]
async fn two_hubs_of_one_builder_have_the_items_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("items.json");
    fs::write(&file, r#"{"colour": "blue"}"#).unwrap();
    let builder = Hub::builder().configuration_file("settings", &file).unwrap();
    for hub in [builder.clone().build(), builder.build()] {
        let sidecar = hub.app("shop").start().await.unwrap();
        let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
        let get = GetConfigurationRequest { store_name: "settings".into(), ..Default::default() };
        let items = dapr.get_configuration(get).await.unwrap().into_inner().items;
        assert_eq!(items["colour"].value, "blue");
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_binding_by_its_direction_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let wanted = component("wanted", "bindings.cron", &[("Schedule", "@every 1s"), ("direction", "output, Input")]);
    let asked = component("asked", "bindings.cron", &[("schedule", "@every 1s"), ("direction", "output")]);
    fs::write(directory.path().join("a.yaml"), format!("{wanted}---\n{asked}")).unwrap();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = tonic::service::Routes::new(AppCallbackServer::new(MuteApp(sender))).into_axum_router();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = auto::Builder::new(TokioExecutor::new()).http2_only();
            let service = TowerToHyperService::new(routes.clone());
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    let hub = Hub::builder().resources(directory.path(), true).unwrap().build();
    let sidecar = hub.app("shop").app_port(port).app_protocol(AppProtocol::Grpc).start().await.unwrap();
    // The list of bindings does not come.
    tokio::time::timeout(Duration::from_secs(60), sidecar.ready()).await.unwrap();
    for _ in 0..10 {
        let called = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await.unwrap();
        assert_eq!(called.as_deref(), Some("wanted"));
    }
}

#[tokio::test]
async fn secrets_are_read_as_their_components_say() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secrets.json");
    fs::write(&file, r#"{"db": {"user": {"name": "u"}, "port": "1"}, "key": "k"}"#).unwrap();
    let file = file.to_str().unwrap();
    let resources = [
        component("env", "secretstores.local.env", &[("prefix", "CARGO_PKG_")]),
        component("flat", "secretstores.local.file", &[("SecretsFile", file), ("nestedSeparator", ".")]),
        component("multi", "secretstores.local.file", &[("secretsFile", file), ("multiValued", "True")]),
    ];
    fs::write(directory.path().join("a.yaml"), resources.join("---\n")).unwrap();
    let hub = Hub::builder().resources(directory.path(), true).unwrap().build();
    let sidecar = hub.app("shop").start().await.unwrap();
    let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    for (store, key, expected) in [
        ("env", "NAME", &[("NAME", "tower-dapr")][..]),
        ("flat", "db.user.name", &[("db.user.name", "u")]),
        ("multi", "db", &[("port", "1"), ("user:name", "u")]),
        ("multi", "key", &[("key", "k")]),
    ] {
        let get = GetSecretRequest { store_name: store.into(), key: key.into(), ..Default::default() };
        let secret: BTreeMap<_, _> = dapr.get_secret(get).await.unwrap().into_inner().data.into_iter().collect();
        let secret: Vec<_> = secret.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(secret, expected, "{store} {key}");
    }
    let get = GetBulkSecretRequest { store_name: "env".into(), ..Default::default() };
    let all = dapr.get_bulk_secret(get).await.unwrap().into_inner().data;
    assert_eq!(all["NAME"].secrets["NAME"], "tower-dapr");
    assert!(!all.contains_key("PATH") && !all.contains_key("CARGO_PKG_NAME"));
}

#[tokio::test]
async fn a_refusal_is_an_answer_by_any_word_for_no() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
    tokio::spawn(async move { axum::serve(listener, app).await });
    for (value, fails) in [("no", false), ("0", false), ("False", false), ("", true), ("Yes", true)] {
        let directory = tempfile::tempdir().unwrap();
        let web = component("web", "bindings.http", &[("URL", &url), ("errorIfNot2XX", value)]);
        fs::write(directory.path().join("a.yaml"), web).unwrap();
        let hub = Hub::builder().resources(directory.path(), true).unwrap().build();
        let sidecar = hub.app("shop").start().await.unwrap();
        let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
        let get = InvokeBindingRequest { name: "web".into(), operation: "get".into(), ..Default::default() };
        assert_eq!(dapr.invoke_binding(get).await.is_err(), fails, "{value:?}");
    }
}

#[test]
fn metadata_that_is_not_known_is_refused_if_strict() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file) = (directory.path().join("a.yaml"), directory.path().join("secrets.json"));
    fs::write(&file, "{}").unwrap();
    let file = file.to_str().unwrap();
    for (kind, own, unknown) in [
        ("secretstores.local.env", ("prefix", "X"), "prefixes"),
        ("secretstores.local.file", ("secretsFile", file), "nested"),
        ("bindings.localstorage", ("rootPath", directory.path().to_str().unwrap()), "path"),
        ("bindings.http", ("url", "http://127.0.0.1:1"), "securityToken"),
        ("bindings.http", ("url", "http://127.0.0.1:1"), "responseTimeout"),
        ("bindings.cron", ("schedule", "@daily"), "timezone"),
    ] {
        fs::write(&path, component("c", kind, &[own])).unwrap();
        assert!(Hub::builder().resources(directory.path(), true).is_ok(), "{kind}");
        fs::write(&path, component("c", kind, &[own, (unknown, "x")])).unwrap();
        assert!(Hub::builder().resources(directory.path(), false).is_ok(), "{kind}");
        let refused = Hub::builder().resources(directory.path(), true).unwrap_err().to_string();
        let expected = format!("component \"c\": metadata \"{unknown}\" of a {kind} is not known here");
        assert_eq!(refused, expected);
    }
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

// ===== helpers =====

fn component(name: &str, kind: &str, metadata: &[(&str, &str)]) -> String {
    let mut text = format!("kind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  metadata:\n");
    for (name, value) in metadata {
        text += &format!("    - {{name: {name}, value: \"{value}\"}}\n");
    }
    text
}

/// A gRPC app that does not say which bindings it wants, and tells the names of those that call.
struct MuteApp(mpsc::UnboundedSender<String>);

#[tonic::async_trait]
impl AppCallback for MuteApp {
    async fn list_input_bindings(&self, _: Request<()>) -> Result<Response<ListInputBindingsResponse>, Status> {
        std::future::pending().await
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        let _ = self.0.send(request.into_inner().name);
        Ok(Response::new(BindingEventResponse::default()))
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        Ok(Response::new(ListTopicSubscriptionsResponse::default()))
    }

    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn on_topic_event(&self, _: Request<TopicEventRequest>) -> Result<Response<TopicEventResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn on_bulk_topic_event(
        &self,
        _: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
