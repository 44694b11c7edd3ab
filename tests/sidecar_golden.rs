//! Every call of `golden/calls.json`, made to a real daprd 1.18.2 and recorded, is made to the embedded sidecar; what the
//! caller sees, and what the app gets, must be the same. What is not is listed in [`DIFFERENCES`], each with its reason, and
//! the list must be exact.
//!
//! Not compared are ids, times, span ids (the real one was recorded with tracing, the embedded one has none), the trace
//! of a call without a context (the real one began a trace; without tracing it writes zeros, as in
//! `golden/deliveries-no-tracing.jsonl`), etags, host names and ports, and the words of Redis' scripts.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{Etag, HttpExtension, InvokeRequest, InvokeResponse, StateItem, StateOptions};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::*;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic_types::pb;
use tower_dapr::sidecar::{Hub, Sidecar};

/// Call, what differs, why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("state.save etag on missing", "code", IN_MEMORY),
    ("state.save etag on missing", "message", IN_MEMORY),
    ("state.save etag on missing", "details", IN_MEMORY),
    ("state.save non-numeric etag", "code", "etags of the in-memory store are no numbers: another one is a mismatch"),
    ("state.save non-numeric etag", "message", "the same"),
    ("state.save first-write no etag existing", "code", IN_MEMORY),
    ("state.save first-write no etag existing", "message", IN_MEMORY),
    ("state.save first-write no etag existing", "details", IN_MEMORY),
    ("state.save bad ttl", "message", "the words of the in-memory store"),
    ("state.get ttl", "body", "the in-memory store tells when a value expires"),
    ("state.tx etag mismatch", "message", "the words of the in-memory store"),
    ("state.query redis without search", "message", "the in-memory store cannot be queried at all"),
    ("state.query redis without search", "details", "the same"),
    ("workflow missing", "code", "there is no workflow engine"),
    ("workflow missing", "message", "the same"),
    ("metadata", "body", "other components"),
];

const IN_MEMORY: &str = "state.redis ignores it, state.in-memory takes it for a mismatch";

const AGENT: &str = "grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)";

#[tokio::test]
async fn every_recorded_call_is_answered_and_delivered_as_by_daprd() {
    let recorded: BTreeMap<String, Value> = serde_json::from_str(include_str!("golden/calls.json")).unwrap();
    let mut test = Test::new().await;
    let mut different = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (name, call) in calls() {
        let record = &recorded[name];
        seen.insert(name.to_owned());
        // A host is looked for during five seconds.
        let waits = name == "actor no host";
        if waits {
            tokio::time::pause();
        }
        let (expected, actual) = match call {
            Call::Grpc(message) => test.grpc(record, &message).await,
            Call::Http(body) => test.http(record, body).await,
        };
        if waits {
            tokio::time::resume();
        }
        let expected_code = expected["code"].clone();
        for (field, expected) in expected.as_object().unwrap() {
            // A failure has no body, which its code tells already.
            let is_told = field == "body" && actual["code"] != expected_code;
            if &actual[field] != expected && !is_told {
                different.insert((name.to_owned(), field.clone()));
                if !DIFFERENCES.iter().any(|(call, what, _)| *call == name && *what == field.as_str()) {
                    eprintln!("{name}: {field}\n  recorded {expected}\n  answered {}", actual[field]);
                }
            }
        }
        if name == "state.save first-write no etag existing" {
            // The write that Redis took.
            let save = SaveStateRequest { store_name: "statestore".into(), states: vec![item("k1", "\"w\"")] };
            test.grpc(&json!({"rpc": "SaveState", "request_metadata": [], "initial": []}), &save.encode_to_vec()).await;
        }
    }
    assert_eq!(seen, recorded.keys().cloned().collect(), "each recorded call is made");
    let listed = DIFFERENCES.iter().map(|(call, field, _)| ((*call).to_owned(), (*field).to_owned())).collect();
    assert_eq!(different, listed);

    test.hub.settled().await;
    let (delivered, recorded) = (test.deliveries(), recorded_deliveries());
    assert_eq!(delivered.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    for (path, recorded) in recorded {
        assert_eq!(delivered[&path], recorded, "{path}");
    }
}

/// What was recorded without tracing: there the trace context is compared to the letter.
#[tokio::test]
async fn without_tracing_the_context_passes_as_recorded() {
    const P: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut test = Test::new().await;
    test.seen.recv().await.unwrap();
    test.seen.recv().await.unwrap();
    let mut dapr = DaprClient::connect(test.other.grpc_endpoint()).await.unwrap();
    let records = include_str!("golden/deliveries-no-tracing.jsonl").lines();
    for (index, line) in records.enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        let parent = (index >= 2).then(|| P.parse().unwrap());
        if record["p"] == "/orders" {
            let mut request = tonic::Request::new(PublishEventRequest {
                pubsub_name: "pubsub".into(),
                topic: "orders".into(),
                data: b"{\"modeA\":1}".to_vec(),
                data_content_type: "application/json".into(),
                ..Default::default()
            });
            parent.map(|parent| request.metadata_mut().insert("traceparent", parent));
            dapr.publish_event(request).await.unwrap();
        } else {
            let http_extension = Some(HttpExtension { verb: Verb::Post.into(), ..Default::default() });
            let message = InvokeRequest { method: "echo/modea".into(), http_extension, ..Default::default() };
            let mut request = tonic::Request::new(InvokeServiceRequest { id: "app-b".into(), message: Some(message) });
            parent.map(|parent| request.metadata_mut().insert("traceparent", parent));
            dapr.invoke_service(request).await.unwrap();
        }
        let headers = pairs(&record["h"]);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (method, path) = (record["m"].as_str().unwrap(), record["p"].as_str().unwrap());
        let body = record["b"].as_str().unwrap();
        let (mut seen, seen_traces) = test.seen.recv().await.unwrap();
        assert_eq!(seen_traces, traces(headers.clone(), body), "{line}");
        // The recording client had other encodings, and its answers no authority of ours.
        let mut expected = delivery(method, path, headers, body);
        for one in [&mut seen, &mut expected] {
            one["headers"].as_object_mut().unwrap().remove("dapr-grpc-accept-encoding");
            one["body"].as_object_mut().map(|body| body.remove("source"));
        }
        assert_eq!(seen, expected, "{line}");
    }
}

/// The header `traceparent`, and the members of the event.
type Traces = [Option<String>; 4];

fn traces<'a>(mut headers: impl Iterator<Item = (&'a str, &'a str)>, body: &str) -> Traces {
    let header = headers.find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let member = |name: &str| event[name].as_str().map(str::to_owned);
    [header.map(|(_, value)| value.to_owned()), member("traceid"), member("traceparent"), member("tracestate")]
}

// ===== the calls =====

enum Call {
    Grpc(Vec<u8>),
    Http(&'static str),
}

fn calls() -> Vec<(&'static str, Call)> {
    fn grpc(message: &impl Message) -> Call {
        Call::Grpc(message.encode_to_vec())
    }
    let get = |store: &str, key: &str| {
        grpc(&GetStateRequest { store_name: store.into(), key: key.into(), ..Default::default() })
    };
    let save = |item: StateItem| grpc(&SaveStateRequest { store_name: "statestore".into(), states: vec![item] });
    let etag = |item: StateItem, etag: &str| StateItem { etag: Some(Etag { value: etag.into() }), ..item };
    let meta = |item: StateItem, key: &str, value: &str| StateItem { metadata: map(&[(key, value)]), ..item };
    let first = |item: StateItem| StateItem { options: Some(StateOptions { concurrency: 1, consistency: 0 }), ..item };
    let delete = |key: &str, etag: Option<&str>| {
        let etag = etag.map(|etag| Etag { value: etag.into() });
        grpc(&DeleteStateRequest { store_name: "statestore".into(), key: key.into(), etag, ..Default::default() })
    };
    let bulk = |keys: &[&str]| {
        let keys = keys.iter().map(ToString::to_string).collect();
        grpc(&GetBulkStateRequest { store_name: "statestore".into(), keys, ..Default::default() })
    };
    let tx = |operations: &[(&str, StateItem)]| {
        let operations = operations.iter().map(|(kind, item)| TransactionalStateOperation {
            operation_type: (*kind).into(),
            request: Some(item.clone()),
        });
        let operations = operations.collect();
        grpc(&ExecuteStateTransactionRequest { store_name: "statestore".into(), operations, ..Default::default() })
    };
    let publish = |pubsub: &str, topic: &str, kind: &str, data: &[u8], metadata: &[(&str, &str)]| {
        grpc(&PublishEventRequest {
            pubsub_name: pubsub.into(),
            topic: topic.into(),
            data: data.into(),
            data_content_type: kind.into(),
            metadata: map(metadata),
        })
    };
    let json_to = |topic: &str, data: &str| publish("pubsub", topic, "application/json", data.as_bytes(), &[]);
    let ce =
        |data: Value| publish("pubsub", "orders", "application/cloudevents+json", data.to_string().as_bytes(), &[]);
    let raw = |topic: &str, data: &str| {
        publish("pubsub", topic, "application/json", data.as_bytes(), &[("rawPayload", "true")])
    };
    let entries = |ids: [&str; 3]| {
        let entries = ids.iter().zip(0..).map(|(id, i)| BulkPublishRequestEntry {
            entry_id: (*id).into(),
            event: json!({ "i": i }).to_string().into(),
            content_type: "application/json".into(),
            metadata: map(&[("m", &i.to_string())]),
        });
        grpc(&BulkPublishRequest {
            pubsub_name: "pubsub".into(),
            topic: "bulk".into(),
            entries: entries.collect(),
            ..Default::default()
        })
    };
    let invoke = |id: &str, method: &str, verb: Verb| {
        let mut message = InvokeRequest {
            method: method.into(),
            content_type: "application/json".into(),
            http_extension: Some(HttpExtension { verb: verb.into(), ..Default::default() }),
            ..Default::default()
        };
        message.data.get_or_insert_default().value = b"{}".to_vec();
        grpc(&InvokeServiceRequest { id: id.into(), message: Some(message) })
    };
    let echo = |path: &str| invoke("app-b", &format!("echo/{path}"), Verb::Post);
    let binding = |name: &str, operation: &str| {
        grpc(&InvokeBindingRequest {
            name: name.into(),
            data: b"hello".to_vec(),
            metadata: map(&[("fileName", "f.txt")]),
            operation: operation.into(),
        })
    };
    let lock = |store: &str, expiry_in_seconds: i32| {
        let (resource_id, lock_owner) = ("r".into(), "o".into());
        grpc(&TryLockRequest { store_name: store.into(), resource_id, lock_owner, expiry_in_seconds })
    };
    let own = |id: &str| json!({"specversion": "1.0", "id": id, "source": "me", "type": "t.own"});
    let with = |mut event: Value, more: Value| {
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let overrides = [
        ("cloudevent.id", "fixed"),
        ("cloudevent.source", "src"),
        ("cloudevent.type", "ty"),
        ("cloudevent.traceparent", "00-33333333333333333333333333333333-4444444444444444-01"),
        ("cloudevent.custom", "zz"),
        ("ttlInSeconds", "60"),
    ];
    vec![
        ("state.get missing store", get("nope", "k")),
        ("state.get missing key", get("statestore", "missing")),
        ("state.get empty key", get("statestore", "")),
        ("state.save", save(item("k1", "\"v\""))),
        ("state.get", get("statestore", "k1")),
        ("state.save bad etag", save(etag(item("k1", "\"x\""), "99"))),
        ("state.save etag on missing", save(etag(item("m1", "1"), "1"))),
        ("state.save non-numeric etag", save(etag(item("k1", "1"), "abc"))),
        ("state.save first-write no etag existing", save(first(item("k1", "\"w\"")))),
        ("state.delete bad etag", delete("k1", Some("99"))),
        ("state.delete missing", delete("never", None)),
        ("state.save key with ||", save(item("a||b", "1"))),
        ("state.save bad ttl", save(meta(item("t1", "1"), "ttlInSeconds", "x"))),
        ("state.save ttl", save(meta(item("t1", "1"), "ttlInSeconds", "60"))),
        ("state.get ttl", get("statestore", "t1")),
        ("state.bulk", bulk(&["k1", "nokey"])),
        ("state.bulk empty", bulk(&[])),
        ("state.tx", tx(&[("upsert", item("x", "1")), ("delete", item("y", ""))])),
        ("state.tx bad op", tx(&[("zap", item("x", "1"))])),
        ("state.tx etag mismatch", tx(&[("upsert", etag(item("x", "2"), "99"))])),
        (
            "state.query redis without search",
            grpc(&QueryStateRequest { store_name: "statestore".into(), ..Default::default() }),
        ),
        ("pub missing", publish("nope", "t", "", b"", &[])),
        ("pub empty topic", publish("pubsub", "", "", b"", &[])),
        ("pub empty name", publish("", "t", "", b"", &[])),
        ("pub orders", json_to("orders", r#"{"n":1}"#)),
        ("pub text", publish("pubsub", "orders", "text/plain", b"hello", &[])),
        ("pub no content type", publish("pubsub", "orders", "", br#"{"n":2}"#, &[])),
        ("pub octets", publish("pubsub", "orders", "application/octet-stream", b"\x00\xff\x01", &[])),
        ("pub broken json", json_to("orders", r#"{"n":"#)),
        (
            "pub cloudevent",
            ce(with(own("my-id"), json!({"datacontenttype": "application/json", "data": {"n": 3}, "ext1": "e"}))),
        ),
        (
            "pub cloudevent with traceparent",
            ce(with(own("my-id2"), json!({"data": {"n": 3}, "traceparent": "00-1-2-01", "tracestate": "z=1"}))),
        ),
        (
            "pub cloudevent base64",
            ce(with(own("b64"), json!({"datacontenttype": "application/octet-stream", "data_base64": "AAEC"}))),
        ),
        ("pub bad cloudevent", ce(json!({"specversion": "1.0"}))),
        ("pub cloudevent.* metadata", publish("pubsub", "orders", "application/json", br#"{"n":4}"#, &overrides)),
        ("pub rawPayload", raw("raw", r#"{"raw":1}"#)),
        ("pub ce to raw topic", json_to("raw", r#"{"raw":2}"#)),
        ("pub raw to ce topic", raw("orders", r#"{"raw":3}"#)),
        ("pub flaky", json_to("flaky", r#"{"n":5}"#)),
        ("pub drop", json_to("drop", r#"{"n":5}"#)),
        ("pub dead", json_to("dead", r#"{"n":5}"#)),
        ("pub routed", json_to("routed", r#"{"n":5}"#)),
        ("pub routed a", publish("pubsub", "routed", "application/json", b"{}", &[("cloudevent.type", "a")])),
        ("pub bulk", entries(["1", "2", "3"])),
        ("pub bulk dup ids", entries(["1", "1", "3"])),
        ("invoke b echo", invoke("app-b", "echo/x?y=1", Verb::Post)),
        ("invoke b fail 503", invoke("app-b", "fail", Verb::Post)),
        ("invoke b 404", invoke("app-b", "drop", Verb::Post)),
        ("invoke self", invoke("app-a", "echo/self", Verb::Post)),
        ("invoke unknown app", invoke("nobody", "echo", Verb::Post)),
        ("invoke path escape", invoke("app-b", "../dapr/config", Verb::Get)),
        ("tp none", echo("none")),
        ("tp zero", echo("zero")),
        ("tp empty", echo("empty")),
        ("tp bad", echo("bad")),
        ("tp unsampled", echo("unsampled")),
        ("tp future version", echo("future")),
        ("tp twice", echo("twice")),
        ("trace-bin only", echo("bin")),
        ("trace-bin and tp", echo("both")),
        ("baggage bad", echo("baggage")),
        ("baggage bad state", get("statestore", "k1")),
        (
            "secret missing",
            grpc(&GetSecretRequest { store_name: "envsecrets".into(), key: "NOPE".into(), ..Default::default() }),
        ),
        (
            "secret missing store",
            grpc(&GetSecretRequest { store_name: "nope".into(), key: "k".into(), ..Default::default() }),
        ),
        (
            "config get",
            grpc(&GetConfigurationRequest {
                store_name: "configstore".into(),
                keys: vec!["none".into()],
                ..Default::default()
            }),
        ),
        ("config missing store", grpc(&GetConfigurationRequest { store_name: "nope".into(), ..Default::default() })),
        ("binding create", binding("files", "create")),
        ("binding bad op", binding("files", "zap")),
        ("binding missing", binding("nope", "create")),
        ("lock", lock("lockstore", 10)),
        ("lock missing store", lock("nope", 10)),
        ("lock zero expiry", lock("lockstore", 0)),
        (
            "unlock unknown",
            grpc(&UnlockRequest { store_name: "lockstore".into(), resource_id: "zz".into(), lock_owner: "o".into() }),
        ),
        (
            "actor no host",
            grpc(&InvokeActorRequest {
                actor_type: "T".into(),
                actor_id: "1".into(),
                method: "m".into(),
                ..Default::default()
            }),
        ),
        ("workflow missing", grpc(&GetWorkflowRequest { instance_id: "x".into(), ..Default::default() })),
        ("job get missing", grpc(&GetJobRequest { name: "zz".into() })),
        ("conversation missing", grpc(&ConversationRequest { name: "nope".into(), ..Default::default() })),
        ("metadata", grpc(&GetMetadataRequest {})),
        ("crypto missing", grpc(&SubtleGetKeyRequest::default())),
        ("http state missing key", Call::Http("")),
        ("http state missing store", Call::Http("")),
        ("http state get", Call::Http("")),
        ("http state save", Call::Http(r#"[{"key":"h1","value":1}]"#)),
        ("http state save bad json", Call::Http(r#"[{"key":"h1""#)),
        ("http state bad etag", Call::Http(r#"[{"key":"h1","value":1,"etag":"99"}]"#)),
        ("http invoke", Call::Http("{}")),
        ("http invoke unknown", Call::Http("{}")),
        ("http invoke fail", Call::Http("{}")),
        ("http publish", Call::Http(r#"{"n":9}"#)),
        ("http publish missing", Call::Http("{}")),
        ("http secret", Call::Http("")),
        ("http baggage bad", Call::Http("")),
        ("http unknown path", Call::Http("")),
        ("http outbound", Call::Http("")),
    ]
}

// ===== making them =====

struct Test {
    hub: Hub,
    sidecar: Sidecar,
    other: Sidecar,
    seen: mpsc::UnboundedReceiver<(Value, Traces)>,
    #[allow(dead_code, reason = "kept there")]
    files: tempfile::TempDir,
}

impl Test {
    async fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let hub = Hub::builder()
            .state_store("statestore")
            .pubsub("pubsub")
            .environment_secrets("envsecrets")
            .configuration_store("configstore")
            .lock_store("lockstore")
            .local_storage("files", files.path())
            .unwrap()
            .build();
        let (ignored, _) = mpsc::unbounded_channel();
        let sidecar = hub.app("app-a").app_port(app(ignored, "[]").await).start().await.unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let port = app(sender, &subscriptions().to_string()).await;
        let other = hub.app("app-b").app_port(port).start().await.unwrap();
        sidecar.ready().await;
        other.ready().await;
        Self { hub, sidecar, other, seen, files }
    }

    /// What was recorded and what is answered, in the same form.
    async fn grpc(&self, record: &Value, message: &[u8]) -> (Value, Value) {
        let rpc = record["rpc"].as_str().unwrap();
        let path = format!("/dapr.proto.runtime.v1.Dapr/{rpc}");
        let mut headers = vec![
            ("content-type".to_owned(), "application/grpc".to_owned()),
            ("te".to_owned(), "trailers".to_owned()),
            ("user-agent".to_owned(), AGENT.to_owned()),
            ("grpc-accept-encoding".to_owned(), "identity, deflate, gzip".to_owned()),
        ];
        for (name, value) in pairs(&record["request_metadata"]) {
            let value = if name.ends_with("-bin") { base64_of_hex(&value) } else { value };
            headers.push((name, value));
        }
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        let stream = TcpStream::connect(("127.0.0.1", self.sidecar.grpc_port())).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::post(format!("{}{path}", self.sidecar.grpc_endpoint()));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let response = client.send_request(request.body(Full::new(Bytes::from(frame))).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_else(|| parts.headers.clone());
        let data = collected.to_bytes();
        let has_context = has_context(&record["request_metadata"]);

        let status = tonic::Status::from_header_map(&trailers).unwrap();
        let code = format!("{:?}", status.code());
        let response = if code == "Ok" { decoded(rpc, &data[5..]) } else { Value::Null };
        let actual = json!({
            "code": screaming(&code),
            "message": message_of(status.message()),
            "details": details(status.details()),
            "headers": header_map(parts.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())), has_context),
            "body": response,
        });
        let initial = pairs(&record["initial"]);
        let recorded_details = record["details"].as_array().cloned().unwrap_or_default();
        let recorded_details: Vec<_> =
            recorded_details.iter().map(|detail| json!([detail[0], text_proto(detail[1].as_str().unwrap())])).collect();
        let body = record["response"].as_str().map(|text| match rpc {
            // An echo of the request, which is compared as a delivery.
            "InvokeService" => Value::Null,
            _ => without_etags(text_proto(text)),
        });
        let expected = json!({
            "code": record["code"].as_str().unwrap_or("OK"),
            "message": message_of(record["message"].as_str().unwrap_or_default()),
            "details": recorded_details,
            "headers": header_map(initial.iter().map(|(k, v)| (k.as_str(), v.as_str())), has_context),
            "body": body,
        });
        (expected, actual)
    }

    async fn http(&self, record: &Value, body: &'static str) -> (Value, Value) {
        let request = record["request"].as_array().unwrap();
        let uri = request[1].as_str().unwrap();
        let mut http = hyper::Request::builder().method(request[0].as_str().unwrap()).uri(uri);
        http = http
            .header("host", "127.0.0.1")
            .header("accept-encoding", "identity")
            .header("user-agent", "Python-urllib/3.11");
        for (name, value) in request[2].as_object().unwrap() {
            http = http.header(name, value.as_str().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", self.sidecar.http_port())).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = client.send_request(http.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let has_context = request[2].get("traceparent").is_some();
        let json_of = |text: &str| {
            let mut value: Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            if let Some(message) = value["message"].as_str().map(message_of) {
                value["message"] = message.into();
            }
            if value.get("got").is_some() { Value::Null } else { value }
        };
        let headers = pairs(&record["headers"]);
        let expected = json!({
            "status": record["status"],
            "headers": header_map(headers.iter().map(|(k, v)| (k.as_str(), v.as_str())), has_context),
            "body": json_of(record["body"].as_str().unwrap()),
        });
        let actual = json!({
            "status": parts.status.as_u16(),
            "headers": header_map(parts.headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())), has_context),
            "body": json_of(std::str::from_utf8(&body).unwrap()),
        });
        (expected, actual)
    }

    /// By path, because topics do not wait for each other.
    fn deliveries(&mut self) -> BTreeMap<String, Vec<Value>> {
        let mut by_path: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        while let Ok((seen, _)) = self.seen.try_recv() {
            by_path.entry(seen["path"].as_str().unwrap().to_owned()).or_default().push(seen);
        }
        by_path.values_mut().for_each(|seen| seen.sort_by_key(Value::to_string));
        by_path
    }
}

fn subscriptions() -> Value {
    let topics = ["orders", "flaky", "drop", "poison"];
    let mut list: Vec<_> = topics
        .iter()
        .map(|topic| json!({"pubsubname": "pubsub", "topic": topic, "route": format!("/{topic}")}))
        .collect();
    list.extend([
        json!({"pubsubname": "pubsub", "topic": "raw", "route": "/raw", "metadata": {"rawPayload": "true"}}),
        json!({"pubsubname": "pubsub", "topic": "dead", "route": "/dead", "deadLetterTopic": "poison"}),
        json!({"pubsubname": "pubsub", "topic": "routed", "routes": {
            "rules": [{"match": "event.type == \"a\"", "path": "/routed-a"}], "default": "/routed-default"}}),
        json!({"pubsubname": "pubsub", "topic": "bulk", "route": "/bulk",
            "bulkSubscribe": {"enabled": true, "maxMessagesCount": 3, "maxAwaitDurationMs": 200}}),
    ]);
    Value::from(list)
}

/// The app that was recorded, or what can be seen of it.
async fn app(sender: mpsc::UnboundedSender<(Value, Traces)>, subscriptions: &str) -> u16 {
    let subscriptions = subscriptions.to_owned();
    let router = Router::new().fallback(move |request: Request| {
        let (sender, subscriptions) = (sender.clone(), subscriptions.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers = || parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let path = parts.uri.path_and_query().unwrap().as_str();
            let text = std::str::from_utf8(&body).unwrap();
            let traces = traces(headers(), text);
            let _ = sender.send((delivery(parts.method.as_str(), path, headers(), text), traces));
            app_answer(path, &subscriptions, &body)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

fn app_answer(path: &str, subscriptions: &str, body: &Bytes) -> Response {
    let json = [("content-type", "application/json"), ("server", "BaseHTTP/0.6 Python/3.11.7")];
    match path {
        "/dapr/config" => (json, r#"{"entities":[]}"#).into_response(),
        "/dapr/subscribe" => (json, subscriptions.to_owned()).into_response(),
        "/fail" => (StatusCode::SERVICE_UNAVAILABLE, json, r#"{"oops":1}"#).into_response(),
        "/drop" => (StatusCode::NOT_FOUND, json).into_response(),
        "/flaky" | "/dead" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "/bulk" => {
            let bulk: Value = serde_json::from_slice(body).unwrap();
            let entries = bulk["entries"].as_array().unwrap().iter();
            let statuses: Vec<_> =
                entries.map(|entry| json!({"entryId": entry["entryId"], "status": "SUCCESS"})).collect();
            (json, json!({ "statuses": statuses }).to_string()).into_response()
        }
        path if path.starts_with("/echo") => {
            let mut response = (json, r#"{"got":1}"#).into_response();
            response.headers_mut().insert("x-app", "yes".parse().unwrap());
            response
        }
        _ => json.into_response(),
    }
}

// ===== recordings =====

/// The deliveries of the recorded calls; what follows in the file belongs to other scenarios.
fn recorded_deliveries() -> BTreeMap<String, Vec<Value>> {
    let mut by_path: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in include_str!("golden/deliveries.jsonl").lines().take(37) {
        let record: Value = serde_json::from_str(line).unwrap();
        let headers = pairs(&record["h"]);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (method, path) = (record["m"].as_str().unwrap(), record["p"].as_str().unwrap());
        let seen = delivery(method, path, headers, record["b"].as_str().unwrap());
        by_path.entry(path.to_owned()).or_default().push(seen);
    }
    // Redis handed the messages of one topic over in another order than they were published in.
    by_path.values_mut().for_each(|seen| seen.sort_by_key(Value::to_string));
    by_path
}

fn delivery<'a>(method: &str, path: &str, headers: impl Iterator<Item = (&'a str, &'a str)>, body: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    normalize_event(&mut body);
    if let Some(entries) = body.get_mut("entries").and_then(Value::as_array_mut) {
        for entry in entries.iter_mut() {
            normalize_event(&mut entry["event"]);
            entry["entryId"] = "ID".into();
        }
        entries.sort_by_key(|entry| entry["event"]["data"].to_string());
    }
    json!({"method": method, "path": path, "headers": header_map(headers, true), "body": body})
}

fn normalize_event(event: &mut Value) {
    for member in ["id", "time", "expiration"] {
        if event[member].as_str().is_some_and(|text| text.len() >= 20) {
            event[member] = "X".into();
        }
    }
    for member in ["traceid", "traceparent"] {
        if let Some(text) = event[member].as_str().map(trace) {
            event[member] = text.into();
        }
    }
    // An envelope in an envelope.
    if event["data_base64"].as_str().is_some_and(|text| text.len() > 100) {
        event["data_base64"] = "X".into();
    }
    if let Some(object) = event.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
}

/// Without what HTTP and its libraries add, and with what differs each time made equal.
fn header_map<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>, has_context: bool) -> Value {
    const IGNORED: [&str; 9] = [
        "accept-encoding",
        "connection",
        "content-length",
        "date",
        "grpc-status",
        "grpc-trace-bin",
        "host",
        "transfer-encoding",
        "user-agent",
    ];
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if IGNORED.contains(&name.as_str()) || name.starts_with("grpc-") || value == "application/grpc" {
            continue;
        }
        let value = match name.as_str() {
            "traceparent" if !has_context => "NEW".to_owned(),
            "traceparent" | "traceid" => trace(value),
            "dapr-date" | "etag" => "X".to_owned(),
            "dapr-authority" => "HOST".to_owned(),
            _ => value.replace("host=vm", "host=HOST").replace("host=localhost", "host=HOST"),
        };
        let value = if name == "x-forwarded-host" { "HOST".to_owned() } else { value };
        map.insert(name, value);
    }
    json!(map)
}

/// A `traceparent` without the span; a new trace and none are the same.
fn trace(text: &str) -> String {
    const KNOWN: [&str; 4] = ["0af7651916cd43dd", "3333333333333333", "5555555555555555", "0707070707070707"];
    if text.is_empty() || !KNOWN.iter().any(|known| text.contains(known)) {
        return "NEW".to_owned();
    }
    format!("{}-SPAN-{}", &text[..35], &text[53..])
}

fn has_context(metadata: &Value) -> bool {
    pairs(metadata).iter().any(|(_, value)| trace(value) != "NEW" || value.contains("07070707"))
}

/// Without the words of the store.
fn message_of(message: &str) -> String {
    let cut = "error from state store: ";
    message.find(cut).map_or_else(|| message.to_owned(), |at| message[..at + cut.len()].to_owned())
}

fn screaming(code: &str) -> String {
    let mut text = String::new();
    for char in code.chars() {
        if char.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(char.to_ascii_uppercase());
    }
    text
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let pairs = value.as_array().unwrap().iter();
    pairs.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned())).collect()
}

fn base64_of_hex(hex: &str) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

// ===== protobuf text =====

/// Messages in the text form of protobuf, each field as a list of its values.
fn text_proto(text: &str) -> Value {
    let tokens: Vec<char> = text.chars().collect();
    let mut at = 0;
    sorted(fields(&tokens, &mut at))
}

fn fields(text: &[char], at: &mut usize) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    loop {
        while *at < text.len() && text[*at].is_whitespace() {
            *at += 1;
        }
        if *at >= text.len() || text[*at] == '}' {
            *at += 1;
            return map;
        }
        let start = *at;
        while text.get(*at).is_some_and(|char| char.is_alphanumeric() || *char == '_') {
            *at += 1;
        }
        let name: String = text[start..*at].iter().collect();
        while text.get(*at).is_some_and(|char| *char == ':' || *char == ' ') {
            *at += 1;
        }
        let value = match text.get(*at) {
            Some('{') => {
                *at += 1;
                Value::Object(fields(text, at))
            }
            Some('"') => Value::String(quoted(text, at)),
            _ => {
                let start = *at;
                while text.get(*at).is_some_and(|char| !char.is_whitespace()) {
                    *at += 1;
                }
                Value::String(text[start..*at].iter().collect())
            }
        };
        map.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap().push(value);
    }
}

fn quoted(text: &[char], at: &mut usize) -> String {
    let mut string = String::new();
    *at += 1;
    // A recording may be cut.
    while *at < text.len() && text[*at] != '"' {
        if text[*at] == '\\' {
            *at += 1;
        }
        string.extend(text.get(*at));
        *at += 1;
    }
    *at += 1;
    string
}

/// Maps come in any order.
fn sorted(map: Map<String, Value>) -> Value {
    let sort = |(name, value): (String, Value)| {
        let Value::Array(values) = value else { return (name, value) };
        let mut values: Vec<_> =
            values.into_iter().map(|value| if let Value::Object(map) = value { sorted(map) } else { value }).collect();
        values.sort_by_key(Value::to_string);
        (name, Value::Array(values))
    };
    map.into_iter().map(sort).collect()
}

fn without_etags(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => map.iter_mut().for_each(|(name, value)| {
            *value = if name == "etag" { "E".into() } else { without_etags(value.take()) };
        }),
        Value::Array(values) => values.iter_mut().for_each(|value| *value = without_etags(value.take())),
        _ => {}
    }
    value
}

/// What was answered, in the same form as the recording.
fn decoded(rpc: &str, data: &[u8]) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = match rpc {
        "GetState" => {
            let GetStateResponse { data, etag, metadata } = GetStateResponse::decode(data).unwrap();
            fields_of(&[("data", text(&data)), ("etag", etag), ("metadata", metadata.into_keys().collect())])
        }
        "GetBulkState" => {
            let items = GetBulkStateResponse::decode(data).unwrap().items.into_iter();
            let items: Vec<_> = items
                .map(|item| fields_of(&[("key", item.key), ("data", text(&item.data)), ("etag", item.etag)]))
                .collect();
            if items.is_empty() { json!({}) } else { json!({ "items": items }) }
        }
        "GetSecret" => {
            let secret = GetSecretResponse::decode(data).unwrap().data.into_iter();
            json!({"data": secret.map(|(key, value)| json!({"key": [key], "value": [value]})).collect::<Vec<_>>()})
        }
        "InvokeBinding" => fields_of(&[("data", text(&InvokeBindingResponse::decode(data).unwrap().data))]),
        "TryLockAlpha1" => json!({"success": [TryLockResponse::decode(data).unwrap().success.to_string()]}),
        "UnlockAlpha1" => json!({"status": [UnlockResponse::decode(data).unwrap().status().as_str_name()]}),
        "InvokeService" => {
            InvokeResponse::decode(data).unwrap();
            return Value::Null;
        }
        _ => fields_of(&[("unknown", text(data))]),
    };
    let Value::Object(map) = value else { return value };
    without_etags(sorted(map))
}

fn fields_of(fields: &[(&str, String)]) -> Value {
    let present = fields.iter().filter(|(_, text)| !text.is_empty());
    present.map(|(name, text)| ((*name).to_owned(), json!([text]))).collect()
}

fn details(bytes: &[u8]) -> Value {
    let status = pb::Status::decode(bytes).unwrap();
    let details = status.details.iter().map(|any| {
        let name = any.type_url.strip_prefix("type.googleapis.com/").unwrap();
        let fields = match name {
            "google.rpc.ErrorInfo" => {
                let info = pb::ErrorInfo::decode(&*any.value).unwrap();
                let mut fields = fields_of(&[("reason", info.reason), ("domain", info.domain)]);
                let metadata = info.metadata.into_iter();
                let metadata: Vec<_> = metadata.map(|(key, value)| json!({"key": [key], "value": [value]})).collect();
                if !metadata.is_empty() {
                    fields["metadata"] = metadata.into();
                }
                fields
            }
            "google.rpc.ResourceInfo" => {
                let info = pb::ResourceInfo::decode(&*any.value).unwrap();
                fields_of(&[
                    ("resource_type", info.resource_type),
                    ("resource_name", info.resource_name),
                    ("description", info.description),
                ])
            }
            _ => {
                let violation = pb::BadRequest::decode(&*any.value).unwrap().field_violations.remove(0);
                let violation = fields_of(&[("field", violation.field), ("description", violation.description)]);
                json!({"field_violations": [violation]})
            }
        };
        let Value::Object(map) = fields else { unreachable!() };
        json!([name, sorted(map)])
    });
    details.collect()
}

fn item(key: &str, value: &str) -> StateItem {
    StateItem { key: key.into(), value: value.into(), ..Default::default() }
}

fn map(pairs: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
