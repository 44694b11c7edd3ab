//! What an app that speaks gRPC gets, as it was recorded with tracing (`golden/deliveries-grpc.jsonl`). The recording app
//! hid the metadata that begins with `grpc-`, and cut long messages. Nothing of what can be compared differs.
#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]
#![allow(unreachable_pub, reason = "the modules of another program")]

#[path = "behaviour/golden/decoded.rs"]
#[allow(dead_code, reason = "the answers are read there")]
mod decoded;
#[path = "behaviour/golden/recordings.rs"]
#[allow(dead_code, reason = "the other recordings are read there")]
mod recordings;

use std::collections::{BTreeSet, HashMap};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dapr::dapr::proto::common::v1::InvokeRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event;
use dapr::dapr::proto::runtime::v1::*;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tower_dapr::sidecar::{AppProtocol, Hub, Sidecar};

use self::{
    decoded::{fields_of, sorted, text_proto},
    recordings::{header_map, pairs, trace},
};

const P: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_grpc_app_gets_what_was_recorded() {
    let mut test = Test::new().await;
    let mut different = BTreeSet::new();
    for (index, line) in include_str!("golden/deliveries-grpc.jsonl").lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        test.call(index).await;
        let (path, seen_metadata, message) = test.seen.recv().await.unwrap();
        let rpc = path.rsplit('/').next().unwrap();
        let name = format!("grpc app {index} {rpc}");

        let recorded_metadata = pairs(&record["metadata"]);
        let recorded_text = record["request"].as_str().unwrap();
        let is_cut = recorded_text.ends_with("string");
        let recorded_rpc = record["rpc"].as_str().unwrap();
        let (expected_request, request) = match recorded_rpc.strip_prefix("proxied ") {
            Some(recorded) => {
                assert_eq!(recorded, path);
                (recorded_text.into(), message.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
            }
            None => {
                assert_eq!(recorded_rpc, rpc);
                // What is cut ends behind the last member that is whole.
                let end = if is_cut { recorded_text.rfind("fields {").unwrap() } else { recorded_text.len() };
                (normalized(text_proto(&recorded_text[..end])), normalized(message_of(rpc, &message)))
            }
        };
        // Each of them is the context of a span of the same trace, as the publisher's and the caller's are.
        let borrowed = |metadata: &[(String, String)]| {
            let metadata = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            header_map(metadata.filter(|(name, _)| *name != "te"), true)
        };
        let (expected, actual) = (borrowed(&recorded_metadata), borrowed(&seen_metadata));
        for (field, equal) in [
            ("metadata", expected == actual),
            ("request", if is_cut { has(&request, &expected_request) } else { request == expected_request }),
        ] {
            if !equal {
                eprintln!("{name}: {field}\n  recorded {expected} {expected_request}\n  delivered {actual} {request}");
                different.insert((name.clone(), field.to_owned()));
            }
        }
        if recorded_rpc == "OnTopicEvent" {
            assert!(
                is_below(&seen_metadata, &message),
                "{name}: the header is the delivery's span, the envelope's is not"
            );
        }
    }
    assert_eq!(different, BTreeSet::new());
}

/// The same trace, and another span.
fn is_below(metadata: &[(String, String)], message: &[u8]) -> bool {
    let header = metadata.iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value.as_str()).unwrap();
    let extensions = TopicEventRequest::decode(message).unwrap().extensions.unwrap();
    let Some(prost_types::value::Kind::StringValue(envelope)) = &extensions.fields["traceid"].kind else {
        return false;
    };
    header[..35] == envelope[..35] && header != envelope
}

/// Path, metadata, message.
type Seen = (String, Vec<(String, String)>, Vec<u8>);

struct Test {
    hub: Hub,
    caller: Sidecar,
    #[allow(dead_code, reason = "kept running")]
    callee: Sidecar,
    dapr: DaprClient<Channel>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Test {
    async fn new() -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener, sender));
        let hub = Hub::builder().pubsub("pubsub").build();
        let tracing = SdkTracerProvider::builder().build();
        let callee = hub.app("app-g").app_port(port).app_protocol(AppProtocol::Grpc).tracer_provider(&tracing);
        let callee = callee.start().await.unwrap();
        callee.ready().await;
        let caller = hub.app("app-a").tracer_provider(&tracing).start().await.unwrap();
        let dapr = DaprClient::connect(caller.grpc_endpoint()).await.unwrap();
        Self { hub, caller, callee, dapr, seen }
    }

    /// Makes the call whose delivery was recorded in this line.
    async fn call(&mut self, index: usize) {
        let publish = |topic: &str, metadata: &[(&str, &str)]| {
            traced(PublishEventRequest {
                pubsub_name: "pubsub".into(),
                topic: topic.into(),
                data: br#"{"n":1}"#.into(),
                data_content_type: "application/json".into(),
                metadata: map(metadata),
            })
        };
        let invoke = |method: &str| {
            let mut message =
                InvokeRequest { method: method.into(), content_type: "text/plain".into(), ..Default::default() };
            message.data.get_or_insert_default().value = b"x".to_vec();
            let mut request = traced(InvokeServiceRequest { id: "app-g".into(), message: Some(message) });
            request.metadata_mut().insert("baggage", "u=1".parse().unwrap());
            request
        };
        match index {
            // Asked when the sidecar started.
            0 => {}
            1 => _ = self.dapr.publish_event(publish("gorders", &[("cloudevent.type", "a")])).await.unwrap(),
            2 => _ = self.dapr.publish_event(publish("gorders", &[])).await.unwrap(),
            3 => _ = self.dapr.publish_event(publish("graw", &[("rawPayload", "true")])).await.unwrap(),
            4 => _ = self.dapr.invoke_service(invoke("ping")).await.unwrap(),
            5 => {
                let failed = self.dapr.invoke_service(invoke("fail")).await.unwrap_err();
                assert_eq!((failed.code(), failed.message()), (tonic::Code::AlreadyExists, "it is there"));
            }
            6 => self.proxied("/my.Echo/Say", Some("1")).await,
            7 => self.proxied("/my.Echo/Fail", None).await,
            8 => {
                let entry = BulkPublishRequestEntry {
                    entry_id: "1".into(),
                    event: b"{}".into(),
                    content_type: "application/json".into(),
                    ..Default::default()
                };
                let bulk = BulkPublishRequest {
                    pubsub_name: "pubsub".into(),
                    topic: "gbulk".into(),
                    entries: vec![entry],
                    ..Default::default()
                };
                self.dapr.bulk_publish_event(traced(bulk)).await.unwrap();
            }
            more => panic!("line {more} is not tested"),
        }
        self.hub.settled().await;
    }

    async fn proxied(&self, path: &str, own: Option<&str>) {
        let stream = TcpStream::connect(("127.0.0.1", self.caller.grpc_port())).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::post(format!("{}{path}", self.caller.grpc_endpoint()));
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("dapr-app-id", "app-g"),
            ("traceparent", P),
            ("tracestate", "a=b"),
            ("baggage", "u=1"),
        ] {
            request = request.header(name, value);
        }
        if let Some(own) = own {
            request = request.header("x-own", own);
        }
        let request = request.body(Full::new(Bytes::from_static(b"\0\0\0\0\x03\x0a\x01x"))).unwrap();
        client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    }
}

async fn serve(listener: TcpListener, sender: mpsc::UnboundedSender<Seen>) {
    let app = Router::new().fallback(move |request: Request| {
        let sender = sender.clone();
        async move {
            let (parts, body) = request.into_parts();
            let message = body.collect().await.unwrap().to_bytes()[5..].to_vec();
            let path = parts.uri.path().to_owned();
            let (status, answer) = answer(&path, &message);
            if status != "12" {
                let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
                let metadata = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
                let _ = sender.send((path, metadata.collect(), message));
            }
            respond(status, &answer)
        }
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            auto::Builder::new(TokioExecutor::new()).http2_only().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

/// As the app that was recorded: it knows the older bulk rpc only.
fn answer(path: &str, message: &[u8]) -> (&'static str, Vec<u8>) {
    let rpc = path.rsplit('/').next().unwrap();
    match rpc {
        "ListTopicSubscriptions" => {
            let rules = vec![TopicRule { r#match: "event.type == \"a\"".into(), path: "/go-a".into() }];
            let routes = Some(TopicRoutes { rules, default: "/go".into() });
            let of = |topic: &str| TopicSubscription {
                pubsub_name: "pubsub".into(),
                topic: topic.into(),
                ..TopicSubscription::default()
            };
            let bulk = BulkSubscribeConfig { enabled: true, max_messages_count: 1, ..Default::default() };
            let subscriptions = vec![
                TopicSubscription { routes, ..of("gorders") },
                TopicSubscription { metadata: map(&[("rawPayload", "true")]), ..of("graw") },
                TopicSubscription { bulk_subscribe: Some(bulk), ..of("gbulk") },
            ];
            ("0", ListTopicSubscriptionsResponse { subscriptions }.encode_to_vec())
        }
        "OnInvoke" if InvokeRequest::decode(message).unwrap().method == "fail" => ("6", Vec::new()),
        "OnBulkTopicEventAlpha1" => {
            let entries = TopicEventBulkRequest::decode(message).unwrap().entries.into_iter();
            let statuses = entries.map(|entry| TopicEventBulkResponseEntry { entry_id: entry.entry_id, status: 0 });
            ("0", TopicEventBulkResponse { statuses: statuses.collect() }.encode_to_vec())
        }
        "Fail" => ("5", Vec::new()),
        "OnTopicEvent" | "OnInvoke" | "Say" => ("0", Vec::new()),
        _ => ("12", Vec::new()),
    }
}

fn respond(status: &'static str, answer: &[u8]) -> Response {
    let mut trailers = axum::http::HeaderMap::new();
    trailers.insert("grpc-status", axum::http::HeaderValue::from_static(status));
    trailers
        .insert("grpc-message", axum::http::HeaderValue::from_static(if status == "6" { "it is there" } else { "" }));
    let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
    let frame = [&[0][..], &length, answer].concat();
    let body = if status == "0" { Full::new(Bytes::from(frame)) } else { Full::new(Bytes::new()) };
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    ([("content-type", "application/grpc")], axum::body::Body::new(body)).into_response()
}

// ===== messages in the form of the recording =====

fn message_of(rpc: &str, message: &[u8]) -> Value {
    match rpc {
        "ListTopicSubscriptions" => json!({}),
        "OnTopicEvent" => {
            let event = TopicEventRequest::decode(message).unwrap();
            let mut fields = fields_of(&[
                ("id", event.id),
                ("source", event.source),
                ("type", event.r#type),
                ("spec_version", event.spec_version),
                ("data_content_type", event.data_content_type),
                ("data", String::from_utf8(event.data).unwrap()),
                ("topic", event.topic),
                ("pubsub_name", event.pubsub_name),
                ("path", event.path),
            ]);
            fields["extensions"] = json!([extensions(event.extensions)]);
            fields
        }
        "OnInvoke" => {
            let request = InvokeRequest::decode(message).unwrap();
            let mut fields = fields_of(&[("method", request.method), ("content_type", request.content_type)]);
            fields["data"] = json!([fields_of(&[("value", String::from_utf8(request.data.unwrap().value).unwrap())])]);
            fields
        }
        "OnBulkTopicEventAlpha1" => {
            let bulk = TopicEventBulkRequest::decode(message).unwrap();
            let entries = bulk.entries.into_iter().map(|entry| {
                let Some(Event::CloudEvent(event)) = entry.event else { panic!("no event") };
                let mut fields = fields_of(&[("entry_id", entry.entry_id)]);
                let mut event_fields = fields_of(&[
                    ("id", event.id),
                    ("source", event.source),
                    ("type", event.r#type),
                    ("spec_version", event.spec_version),
                    ("data_content_type", event.data_content_type),
                    ("data", String::from_utf8(event.data).unwrap()),
                ]);
                event_fields["extensions"] = json!([extensions(event.extensions)]);
                fields["cloud_event"] = json!([event_fields]);
                fields
            });
            let mut fields = fields_of(&[("id", bulk.id)]);
            fields["entries"] = entries.collect();
            fields
        }
        unknown => panic!("{unknown} was not recorded"),
    }
}

fn extensions(extensions: Option<prost_types::Struct>) -> Value {
    let fields = extensions.unwrap_or_default().fields.into_iter().map(|(key, value)| {
        let Some(prost_types::value::Kind::StringValue(text)) = value.kind else { panic!("{key} is no string") };
        json!({"key": [key], "value": [{"string_value": [text]}]})
    });
    json!({"fields": fields.collect::<Vec<_>>()})
}

/// Without what differs each time: ids, times and spans.
fn normalized(value: Value) -> Value {
    fn each(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, value) in map.iter_mut() {
                    if ["id", "entry_id"].contains(&name.as_str()) {
                        *value = "X".into();
                    }
                    each(value);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(each),
            Value::String(text) if text.len() == 55 => *text = trace(text),
            Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => "TIME".clone_into(text),
            _ => {}
        }
    }
    let mut value = value;
    each(&mut value);
    let map: Map<String, Value> = value.as_object().unwrap().clone();
    sorted(map)
}

/// Whether all of `part` is in `whole`.
fn has(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| has(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|part| whole.iter().any(|one| has(one, part))),
        (whole, part) => whole == part,
    }
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn traced<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("traceparent", P.parse().unwrap());
    request
}
