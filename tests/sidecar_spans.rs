//! The spans of the embedded sidecar, as exported, against those that a real daprd 1.18.2 with a tracing configuration was
//! recorded to export (`golden/span-trees.json`): names, kinds, parents, attributes, and what of them others get to see.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]
#![allow(deprecated, reason = "the rpc that was recorded")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, StateItem};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::*;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use serde_json::{Value, json};
use support::Spans;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tower_dapr::sidecar::{Hub, HubBuilder, RetryPolicy, Sidecar};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[tokio::test]
async fn each_recorded_tree_grows_again() {
    let recorded: BTreeMap<String, Vec<Value>> = serde_json::from_str(include_str!("golden/span-trees.json")).unwrap();
    let save = SaveStateRequest {
        store_name: "statestore".into(),
        states: vec![StateItem { key: "k".into(), value: b"1".into(), ..Default::default() }],
    };
    let get = GetStateRequest { store_name: "nope".into(), key: "k".into(), ..Default::default() };
    for (name, recorded) in recorded {
        let Test { hub, sidecars: _sidecars, mut dapr, a, b, .. } = Test::new(components()).await;
        match name.as_str() {
            "invoke" => {
                let mut call = traced(invoke("echo/x"));
                call.metadata_mut().insert("dapr-own", "2".parse().unwrap());
                // The real one would export it, with the token check off.
                call.metadata_mut().insert("dapr-api-token", "secret".parse().unwrap());
                dapr.invoke_service(call).await.map(drop).unwrap();
            }
            "invoke 503" => dapr.invoke_service(traced(invoke("fail"))).await.map(drop).map_err(drop).unwrap_err(),
            "publish" => dapr.publish_event(traced(event("orders"))).await.map(drop).unwrap(),
            "publish dead letter" => dapr.publish_event(traced(event("dead"))).await.map(drop).unwrap(),
            "bulk" => dapr.bulk_publish_event_alpha1(traced(bulk())).await.map(drop).unwrap(),
            "state" => dapr.save_state(traced(save.clone())).await.map(drop).unwrap(),
            "state error" => dapr.get_state(traced(get.clone())).await.map(drop).map_err(drop).unwrap_err(),
            unknown => panic!("{unknown} is not tested"),
        }
        hub.settled().await;
        let exported: Vec<_> = a.all().iter().map(|span| zipkin(span, "app-a")).collect();
        let exported = exported.into_iter().chain(b.all().iter().map(|span| zipkin(span, "app-b"))).collect::<Vec<_>>();
        assert_eq!(exported.len(), recorded.len(), "{name}: {exported:#?}");
        assert_eq!(tree(&exported, PARENT), tree(&recorded, PARENT), "{name}");
    }
}

#[tokio::test]
async fn those_behind_a_span_get_its_context() {
    let Test { hub, sidecars: _sidecars, mut dapr, mut app, a, b } = Test::new(components()).await;

    let answer = dapr.publish_event(traced(event("orders"))).await.unwrap();
    hub.settled().await;
    let (publish, delivery) = (a.one(), b.one());
    let (headers, body) = app.recv().await.unwrap();
    assert_eq!(headers["traceparent"], parent_of(&delivery));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["traceparent"], &body["traceid"]), (&parent_of(&publish).into(), &parent_of(&publish).into()));
    assert_eq!(of_binary(&answer.metadata().clone().into_headers()), parent_of(&publish));

    dapr.bulk_publish_event_alpha1(traced(bulk())).await.unwrap();
    hub.settled().await;
    let (headers, body) = app.recv().await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let producers: Vec<_> = a.all().into_iter().filter(|span| span.span_kind == SpanKind::Producer).collect();
    let entries = body["entries"].as_array().unwrap();
    for (entry, producer) in entries.iter().zip(&producers) {
        assert_eq!(entry["event"]["traceparent"], parent_of(producer));
    }
    let last = b.all().into_iter().find(|span| span.parent_span_id == producers[1].span_context.span_id()).unwrap();
    assert_eq!(headers["traceparent"], parent_of(&last), "of the last entry, as recorded");

    let answer = dapr.invoke_service(traced(invoke("echo/x"))).await.unwrap();
    let (headers, _) = app.recv().await.unwrap();
    let server = b.all().into_iter().find(|span| span.span_kind == SpanKind::Server).unwrap();
    assert_eq!(headers["traceparent"], parent_of(&server));
    let client = a.all().into_iter().find(|span| span.name == "CallLocal/app-b/echo/x").unwrap();
    assert_eq!(answer.metadata().get("traceparent").unwrap(), &parent_of(&client));
    assert_eq!(server.parent_span_id, client.span_context.span_id());
}

/// The caller's decision is respected: nothing is exported, and yet each hop has an id of its own.
#[tokio::test]
async fn what_is_not_sampled_is_propagated_and_not_exported() {
    let Test { hub, sidecars: _sidecars, mut dapr, mut app, a, b } = Test::new(components()).await;
    let mut call = tonic::Request::new(event("orders"));
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    call.metadata_mut().insert("traceparent", unsampled.parse().unwrap());
    dapr.publish_event(call).await.unwrap();
    hub.settled().await;
    assert_eq!((a.all().len(), b.all().len()), (0, 0));
    let (headers, body) = app.recv().await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let (header, envelope) = (headers["traceparent"].as_str(), body["traceparent"].as_str().unwrap());
    for context in [header, envelope] {
        assert!(context.starts_with(&format!("00-{TRACE}-")) && context.ends_with("-00"), "{context}");
        assert_ne!(context, unsampled);
    }
    assert_ne!(header, envelope);
}

/// Without a caller's context a trace begins, and the sampler decides.
#[tokio::test]
async fn a_call_without_a_context_begins_a_trace() {
    let Test { sidecars: _sidecars, mut dapr, a, .. } = Test::new(components()).await;
    dapr.get_metadata(GetMetadataRequest {}).await.unwrap();
    let span = a.one();
    assert_eq!(span.name, "/dapr.proto.runtime.v1.Dapr/GetMetadata");
    assert_eq!(span.parent_span_id, opentelemetry::trace::SpanId::INVALID);
    assert_ne!(span.span_context.trace_id().to_string(), TRACE);

    let off = Spans::sampled(Sampler::AlwaysOff);
    let sidecar = Hub::builder().build().app("app-a").tracer_provider(&off.provider).start().await.unwrap();
    let answer = connect(&sidecar).await.get_metadata(GetMetadataRequest {}).await.unwrap();
    assert!(of_binary(&answer.metadata().clone().into_headers()).ends_with("-00"));
    assert_eq!(off.all().len(), 0);
}

/// As seen with a Resiliency resource: each attempt has a span, and tells the app of it; the envelope stays.
#[tokio::test]
async fn each_attempt_to_deliver_has_a_span() {
    let policy = RetryPolicy::constant(Duration::from_millis(1)).max_retries(2);
    let Test { hub, sidecars: _sidecars, mut dapr, mut app, a, b } =
        Test::new(components().inbound_retry("pubsub", policy)).await;
    dapr.publish_event(traced(event("refused"))).await.unwrap();
    hub.settled().await;
    let (publish, deliveries) = (a.one(), b.all());
    assert_eq!(deliveries.len(), 3);
    for delivery in deliveries {
        let (headers, body) = app.recv().await.unwrap();
        assert_eq!(headers["traceparent"], parent_of(&delivery));
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["traceparent"], parent_of(&publish));
        assert_eq!(delivery.status, Status::error("Code(500): Internal Server Error"));
    }
}

#[tokio::test]
async fn calls_over_http_have_spans_too() {
    let Test { hub, sidecars, mut app, a, b, .. } = Test::new(components()).await;
    for (method, path, status, name, attributes) in [
        (
            "GET",
            "/v1.0/state/statestore/k",
            204,
            None,
            json!({"db.system": "state", "db.name": "statestore",
            "db.connection_string": "state", "db.statement": "GET /v1.0/state/statestore/k"}),
        ),
        (
            "GET",
            "/v1.0/state/nope/k?metadata.a=b",
            400,
            None,
            json!({"db.system": "state", "db.name": "nope",
            "db.connection_string": "state", "db.statement": "GET /v1.0/state/nope/k"}),
        ),
        (
            "POST",
            "/v1.0/publish/pubsub/orders",
            204,
            None,
            json!({"messaging.system": "pubsub",
            "messaging.destination.name": "orders"}),
        ),
        (
            "POST",
            "/v1.0/invoke/app-b/method/echo/x",
            200,
            Some("CallLocal/app-b/echo/x"),
            json!({
            "rpc.service": "ServiceInvocation", "net.peer.name": "app-b"}),
        ),
        ("GET", "/v1.0/metadata", 200, None, json!({})),
    ] {
        let before = a.all().len();
        let (code, headers) = http(&sidecars[0], method, path).await;
        hub.settled().await;
        let (target, path) = (path, path.split('?').next().unwrap());
        let span = a.all().remove(before);
        assert_eq!((code.as_u16(), span.name.as_ref()), (status, name.unwrap_or(path)));
        assert_eq!((span.span_kind.clone(), span.parent_span_id.to_string()), (SpanKind::Client, PARENT.to_owned()));
        let mut expected = json!({"dapr.api": format!("{method} {path}"), "dapr.protocol": "http",
            "dapr.status_code": status.to_string(), "http.request.method": method, "url.full": target, "dapr-own": "2"});
        expected.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        assert_eq!(attributes_of(&span), expected);
        let failed = Status::error(format!("Code({status}): Bad Request"));
        assert_eq!(span.status, if status < 400 { Status::Unset } else { failed });
        assert_eq!(headers["traceparent"], parent_of(&span));
    }
    let (headers, body) = app.recv().await.unwrap();
    assert_eq!(headers["traceparent"], parent_of(&b.all()[0]));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["tracestate"], "a=b");
    let (headers, _) = app.recv().await.unwrap();
    assert_eq!(headers["traceparent"], parent_of(&b.named("CallLocal/app-b/echo/x")));
    let before = a.all().len();
    http(&sidecars[0], "GET", "/v1.0/healthz").await;
    assert_eq!(a.all().len(), before);
}

/// A stream's span is there as long as the stream.
#[tokio::test]
async fn the_span_of_a_stream_ends_with_it() {
    let Test { mut dapr, sidecars, a, .. } = Test::new(components().configuration_store("settings")).await;
    let watch = SubscribeConfigurationRequest { store_name: "settings".into(), ..Default::default() };
    let mut watch = dapr.subscribe_configuration(traced(watch)).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    assert_eq!(a.all().len(), 0);
    drop((watch, dapr));
    for sidecar in sidecars {
        sidecar.stop().await;
    }
    assert_eq!(a.one().name, "/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration");
}

// ===== helpers =====

fn components() -> HubBuilder {
    Hub::builder().state_store("statestore").pubsub("pubsub")
}

/// `app-a` calls, and the app of `app-b` is recorded, as are the spans of each.
struct Test {
    hub: Hub,
    sidecars: [Sidecar; 2],
    dapr: DaprClient<Channel>,
    app: mpsc::UnboundedReceiver<(BTreeMap<String, String>, String)>,
    a: Spans,
    b: Spans,
}

impl Test {
    async fn new(components: HubBuilder) -> Self {
        let (sender, app) = mpsc::unbounded_channel();
        let port = serve(sender).await;
        let hub = components.build();
        let (a, b) = (Spans::new(), Spans::new());
        let callee = hub.app("app-b").app_port(port).tracer_provider(&b.provider).start().await.unwrap();
        callee.ready().await;
        let caller = hub.app("app-a").tracer_provider(&a.provider).start().await.unwrap();
        Self { hub, dapr: connect(&caller).await, sidecars: [caller, callee], app, a, b }
    }
}

async fn serve(sender: mpsc::UnboundedSender<(BTreeMap<String, String>, String)>) -> u16 {
    let subscriptions = json!([
        {"pubsubname": "pubsub", "topic": "orders", "route": "/orders"},
        {"pubsubname": "pubsub", "topic": "dead", "route": "/dead", "deadLetterTopic": "poison"},
        {"pubsubname": "pubsub", "topic": "poison", "route": "/poison"},
        {"pubsubname": "pubsub", "topic": "refused", "route": "/refused"},
        {"pubsubname": "pubsub", "topic": "bulk", "route": "/bulk",
            "bulkSubscribe": {"enabled": true, "maxMessagesCount": 2, "maxAwaitDurationMs": 60000}},
    ]);
    let app = Router::new().fallback(move |request: Request| {
        let (sender, subscriptions) = (sender.clone(), subscriptions.to_string());
        async move {
            let (parts, body) = request.into_parts();
            let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
            let (status, answer) = match parts.uri.path() {
                "/dapr/config" => return (StatusCode::OK, "{}".to_owned()),
                "/dapr/subscribe" => return (StatusCode::OK, subscriptions),
                "/dead" | "/refused" => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
                "/fail" => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
                "/bulk" => {
                    let bulk: Value = serde_json::from_str(&body).unwrap();
                    let entries = bulk["entries"].as_array().unwrap().iter();
                    let statuses = entries.map(|one| json!({"entryId": one["entryId"], "status": "SUCCESS"}));
                    (StatusCode::OK, json!({ "statuses": statuses.collect::<Vec<_>>() }).to_string())
                }
                _ => (StatusCode::OK, String::new()),
            };
            let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
            let _ = sender.send((headers.collect(), body));
            (status, answer)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

/// A span in the form of Zipkin, in which daprd was recorded: names in lower case, the status among the tags.
fn zipkin(span: &SpanData, service: &str) -> Value {
    let mut tags = attributes_of(span);
    tags["otel.scope.name"] = span.instrumentation_scope.name().into();
    tags["service.name"] = service.into();
    if let Status::Error { description } = &span.status {
        tags["otel.status_code"] = "ERROR".into();
        tags["error"] = description.as_ref().into();
    }
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    json!({
        "id": span.span_context.span_id().to_string(),
        "parentId": span.parent_span_id.to_string(),
        "kind": format!("{:?}", span.span_kind).to_uppercase(),
        "name": span.name.to_lowercase(),
        "tags": tags,
        "service": service,
    })
}

/// What is below this span, without ids, times and order.
fn tree(spans: &[Value], parent: &str) -> Vec<Value> {
    let children = spans.iter().filter(|span| span["parentId"] == parent);
    let mut children: Vec<_> = children
        .map(|span| {
            let below = tree(spans, span["id"].as_str().unwrap());
            json!({"name": span["name"], "kind": span["kind"], "tags": span["tags"], "service": span["service"], "below": below})
        })
        .collect();
    children.sort_by_key(Value::to_string);
    children
}

fn attributes_of(span: &SpanData) -> Value {
    span.attributes.iter().map(|one| (one.key.to_string(), Value::from(one.value.to_string()))).collect()
}

fn parent_of(span: &SpanData) -> String {
    let context = &span.span_context;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

fn of_binary(headers: &HeaderMap) -> String {
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let bytes = engine.decode(&headers["grpc-trace-bin"]).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("00-{}-{}-{}", hex(&bytes[2..18]), hex(&bytes[19..27]), hex(&bytes[28..29]))
}

async fn connect(sidecar: &Sidecar) -> DaprClient<Channel> {
    DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap()
}

async fn http(sidecar: &Sidecar, method: &str, path: &str) -> (StatusCode, HeaderMap) {
    let stream = TcpStream::connect(("127.0.0.1", sidecar.http_port())).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::builder().method(method).uri(path).header("host", "127.0.0.1");
    let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).header("tracestate", "a=b");
    let request = request.header("dapr-own", "2").body(Full::new(bytes::Bytes::from("{}"))).unwrap();
    let response = client.send_request(request).await.unwrap();
    (response.status(), response.headers().clone())
}

fn traced<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{PARENT}-01").parse().unwrap());
    request
}

fn event(topic: &str) -> PublishEventRequest {
    PublishEventRequest {
        pubsub_name: "pubsub".into(),
        topic: topic.into(),
        data: b"{}".into(),
        data_content_type: "application/json".into(),
        ..Default::default()
    }
}

fn bulk() -> BulkPublishRequest {
    let entries = ["1", "2"].map(|id| BulkPublishRequestEntry {
        entry_id: id.into(),
        event: b"{}".into(),
        content_type: "application/json".into(),
        ..Default::default()
    });
    BulkPublishRequest {
        pubsub_name: "pubsub".into(),
        topic: "bulk".into(),
        entries: entries.into(),
        ..Default::default()
    }
}

fn invoke(method: &str) -> InvokeServiceRequest {
    let http_extension = Some(HttpExtension { verb: Verb::Post.into(), ..Default::default() });
    let message = InvokeRequest { method: method.into(), http_extension, ..Default::default() };
    InvokeServiceRequest { id: "app-b".into(), message: Some(message) }
}
