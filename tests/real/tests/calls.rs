//! The recorded calls (`golden/calls.json`), made again: a new daprd shows what it does differently.

use std::collections::HashMap;

use axum::{
    Router,
    http::{Method, StatusCode},
    routing::any,
};
use dapr::dapr::proto::{
    common::v1::{Etag, HttpExtension, InvokeRequest, StateItem, StateOptions, state_options::StateConcurrency},
    runtime::v1::{
        BulkPublishRequest, BulkPublishRequestEntry, ConversationRequest, DeleteStateRequest,
        ExecuteStateTransactionRequest, GetBulkStateRequest, GetConfigurationRequest, GetSecretRequest,
        GetStateRequest, InvokeBindingRequest, InvokeServiceRequest, PublishEventRequest, QueryStateRequest,
        SaveStateRequest, TransactionalStateOperation, TryLockRequest, UnlockRequest, dapr_client::DaprClient,
    },
};
use prost_types::Any;
use serde_json::Value;
use tonic::{Code, Request, Status, transport::Channel};

use crate::real::{Answer, App, Daprd, Stack, get, post};

super::tests![grpc_calls_answer_as_recorded, http_calls_answer_as_recorded];

const GOLDEN: &str = include_str!("../golden/calls.json");

async fn grpc_calls_answer_as_recorded() {
    let Test { app_a, .. } = &Test::start().await;
    let golden: HashMap<String, Value> = serde_json::from_str(GOLDEN).unwrap();
    let mut differences = Vec::new();
    let mut replayed = 0;
    for name in CALLS {
        let recorded = &golden[name];
        let answer = call(name, &mut app_a.client()).await;
        let status = answer.err().unwrap_or_else(|| Status::new(Code::Ok, ""));
        let now = (code_name(status.code()), status.message().to_owned(), reason(&status));
        let then = (
            recorded["code"].as_str().unwrap().to_owned(),
            recorded["message"].as_str().unwrap_or_default().to_owned(),
            recorded_reason(recorded),
        );
        if now != then {
            differences.push(format!("{name}:\n  recorded {then:?}\n  now      {now:?}"));
        }
        replayed += 1;
    }
    assert!(differences.is_empty(), "{} of {replayed} differ\n{}", differences.len(), differences.join("\n"));
}

async fn http_calls_answer_as_recorded() {
    let Test { app_a, .. } = &Test::start().await;
    let golden: HashMap<String, Value> = serde_json::from_str(GOLDEN).unwrap();
    app_a.dapr().state("statestore").save("k1", "w").await.unwrap();
    app_a.dapr().state("statestore").save("h1", "w").await.unwrap();
    let bodies: HashMap<_, _> = HTTP_BODIES.into_iter().collect();
    let mut differences = Vec::new();
    for name in HTTP_CALLS {
        let recorded = &golden[name];
        let (path, headers) = (recorded["request"][1].as_str().unwrap(), &recorded["request"][2]);
        let headers: Vec<_> =
            headers.as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        let answer: Answer = if recorded["request"][0] == "GET" && headers.is_empty() {
            get(&app_a.url(path)).await.unwrap()
        } else {
            let body = bodies.get(name).copied().unwrap_or("{}");
            post(&app_a.url(path), &headers, body).await.unwrap()
        };
        let now = (u64::from(answer.status.as_u16()), answer.text());
        let then = (recorded["status"].as_u64().unwrap(), recorded["body"].as_str().unwrap().to_owned());
        if now != then {
            differences.push(format!("{name}:\n  recorded {then:?}\n  now      {now:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

// ===== the calls =====

/// In the order in which they were recorded: later ones read what earlier ones wrote.
const CALLS: [&str; 55] = [
    "state.get missing store",
    "state.get missing key",
    "state.get empty key",
    "state.save",
    "state.get",
    "state.save bad etag",
    "state.save etag on missing",
    "state.save non-numeric etag",
    "state.save first-write no etag existing",
    "state.delete bad etag",
    "state.delete missing",
    "state.save key with ||",
    "state.save bad ttl",
    "state.save ttl",
    "state.get ttl",
    "state.bulk",
    "state.bulk empty",
    "state.tx",
    "state.tx bad op",
    "state.tx etag mismatch",
    "state.query redis without search",
    "pub missing",
    "pub empty topic",
    "pub empty name",
    "pub orders",
    "pub text",
    "pub no content type",
    "pub octets",
    "pub broken json",
    "pub bad cloudevent",
    "pub rawPayload",
    "pub bulk",
    "pub bulk dup ids",
    "invoke b echo",
    "invoke b fail 503",
    "invoke b 404",
    "invoke self",
    "invoke unknown app",
    "invoke path escape",
    "tp none",
    "tp bad",
    "baggage bad",
    "baggage bad state",
    "secret missing",
    "secret missing store",
    "config get",
    "config missing store",
    "binding create",
    "binding bad op",
    "binding missing",
    "lock",
    "lock missing store",
    "lock zero expiry",
    "unlock unknown",
    "conversation missing",
];

#[allow(clippy::too_many_lines, reason = "a table")]
async fn call(name: &str, dapr: &mut DaprClient<Channel>) -> Result<(), Status> {
    let key = |name: &str| name.strip_prefix("state.").map_or("", |_| "k1").to_owned();
    match name {
        "state.get missing store" => done(dapr.get_state(get_state("nope", "k")).await),
        "state.get missing key" => done(dapr.get_state(get_state("statestore", "nokey")).await),
        "state.get empty key" => done(dapr.get_state(get_state("statestore", "")).await),
        "state.save" => save(dapr, item("k1", "\"v\"")).await,
        "state.get" => {
            let read = dapr.get_state(get_state("statestore", &key(name))).await?.into_inner();
            assert_eq!((read.data.as_slice(), read.etag.as_str()), (&b"\"v\""[..], "1"));
            Ok(())
        }
        "state.save bad etag" => save(dapr, with_etag(item("k1", "1"), "9999")).await,
        "state.save etag on missing" => save(dapr, with_etag(item("was-missing", "1"), "9")).await,
        "state.save non-numeric etag" => save(dapr, with_etag(item("k1", "1"), "abc")).await,
        "state.save first-write no etag existing" => {
            let concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
            let options = Some(StateOptions { concurrency, consistency: 0 });
            save(dapr, StateItem { options, ..item("k1", "\"w\"") }).await
        }
        "state.delete bad etag" => done(dapr.delete_state(delete("k1", Some("9999"))).await),
        "state.delete missing" => done(dapr.delete_state(delete("nokey", None)).await),
        "state.save key with ||" => save(dapr, item("a||b", "1")).await,
        "state.save bad ttl" => save(dapr, with_ttl(item("ttl", "1"), "x")).await,
        "state.save ttl" => save(dapr, with_ttl(item("ttl", "1"), "100")).await,
        "state.get ttl" => done(dapr.get_state(get_state("statestore", "ttl")).await),
        "state.bulk" | "state.bulk empty" => {
            let keys = if name == "state.bulk" { vec!["k1".into(), "nokey".into()] } else { Vec::new() };
            let request = GetBulkStateRequest { store_name: "statestore".into(), keys, ..Default::default() };
            done(dapr.get_bulk_state(request).await)
        }
        "state.tx" => transact(dapr, "upsert", item("x", "1")).await,
        "state.tx bad op" => transact(dapr, "zap", item("x", "1")).await,
        "state.tx etag mismatch" => transact(dapr, "upsert", with_etag(item("x", "1"), "9999")).await,
        "state.query redis without search" => {
            let query = QueryStateRequest { store_name: "statestore".into(), query: "{}".into(), ..Default::default() };
            done(dapr.query_state_alpha1(query).await)
        }
        "pub missing" => publish(dapr, "nope", "orders", "application/json", b"{}").await,
        "pub empty topic" => publish(dapr, "pubsub", "", "application/json", b"{}").await,
        "pub empty name" => publish(dapr, "", "orders", "application/json", b"{}").await,
        "pub orders" => publish(dapr, "pubsub", "orders", "application/json", b"{\"n\":1}").await,
        "pub text" => publish(dapr, "pubsub", "orders", "text/plain", b"hello").await,
        "pub no content type" => publish(dapr, "pubsub", "orders", "", b"{\"n\":2}").await,
        "pub octets" => publish(dapr, "pubsub", "orders", "application/octet-stream", b"\x00\xff\x01").await,
        "pub broken json" => publish(dapr, "pubsub", "orders", "application/json", b"{\"n\":").await,
        "pub bad cloudevent" => {
            let event = br#"{"specversion":"1.0"}"#;
            publish(dapr, "pubsub", "orders", "application/cloudevents+json", event).await
        }
        "pub rawPayload" => {
            let mut request = event("pubsub", "raw", "application/json", b"{\"raw\":1}");
            request.metadata.insert("rawPayload".into(), "true".into());
            done(dapr.publish_event(request).await)
        }
        "pub bulk" => bulk(dapr, ["1", "2"]).await,
        "pub bulk dup ids" => bulk(dapr, ["1", "1"]).await,
        "invoke b echo" => invoke(dapr, "app-b", "echo/x?y=1", &[]).await,
        "invoke b fail 503" => invoke(dapr, "app-b", "fail", &[]).await,
        "invoke b 404" => invoke(dapr, "app-b", "no-such-path", &[]).await,
        "invoke self" => invoke(dapr, "app-a", "echo", &[]).await,
        "invoke unknown app" => invoke(dapr, "nobody", "echo", &[]).await,
        "invoke path escape" => invoke(dapr, "app-b", "echo/../dapr/config", &[]).await,
        "tp none" => invoke(dapr, "app-b", "echo", &[]).await,
        "tp bad" => invoke(dapr, "app-b", "echo", &[("traceparent", "no")]).await,
        "baggage bad" => invoke(dapr, "app-b", "echo", &[("baggage", "=;bad")]).await,
        "baggage bad state" => {
            let mut request = Request::new(get_state("statestore", "k1"));
            request.metadata_mut().insert("baggage", "no equals".parse().unwrap());
            done(dapr.get_state(request).await)
        }
        "secret missing" | "secret missing store" => {
            let store_name = if name == "secret missing" { "secretstore" } else { "nope" }.into();
            done(dapr.get_secret(GetSecretRequest { store_name, key: "NOPE".into(), ..Default::default() }).await)
        }
        "config get" | "config missing store" => {
            let store_name = if name == "config get" { "configstore" } else { "nope" }.into();
            let request = GetConfigurationRequest { store_name, keys: vec!["a".into()], ..Default::default() };
            done(dapr.get_configuration(request).await)
        }
        "binding create" => bind(dapr, "files", "create").await,
        "binding bad op" => bind(dapr, "files", "zap").await,
        "binding missing" => bind(dapr, "nope", "create").await,
        "lock" => lock(dapr, "lockstore", 5).await,
        "lock missing store" => lock(dapr, "nope", 5).await,
        "lock zero expiry" => lock(dapr, "lockstore", 0).await,
        "unlock unknown" => {
            let request =
                UnlockRequest { store_name: "lockstore".into(), resource_id: "other".into(), lock_owner: "me".into() };
            done(dapr.unlock_alpha1(request).await)
        }
        "conversation missing" => {
            done(dapr.converse_alpha1(ConversationRequest { name: "nope".into(), ..Default::default() }).await)
        }
        name => panic!("{name} is not known"),
    }
}

const HTTP_CALLS: [&str; 12] = [
    "http state missing key",
    "http state missing store",
    "http state get",
    "http state save",
    "http state save bad json",
    "http state bad etag",
    "http invoke unknown",
    "http invoke fail",
    "http publish",
    "http publish missing",
    "http unknown path",
    "http outbound",
];

const HTTP_BODIES: [(&str, &str); 3] = [
    ("http state save", r#"[{"key":"h1","value":1}]"#),
    ("http state save bad json", "[{"),
    ("http state bad etag", r#"[{"key":"h1","value":1,"etag":"9999"}]"#),
];

// ===== helpers =====

struct Test {
    app_a: Daprd,
    _app_b: Daprd,
    _apps: [App; 2],
    _stack: Stack,
}

impl Test {
    async fn start() -> Self {
        const FILES: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: files
spec:
  type: bindings.localstorage
  version: v1
  metadata:
    - name: rootPath
      value: files
";
        let stack = Stack::builder().without_jaeger().resource("files.yaml", FILES).start().await;
        let apps = [App::serve(app()).await, App::serve(app()).await];
        let app_a = stack.daprd("app-a").app_port(apps[0].port()).start().await;
        let app_b = stack.daprd("app-b").app_port(apps[1].port()).start().await;
        Self { app_a, _app_b: app_b, _apps: apps, _stack: stack }
    }
}

fn app() -> Router {
    let ok = |_: Method| async { "{}" };
    let fails =
        any(|| async { (StatusCode::SERVICE_UNAVAILABLE, [("content-type", "application/json")], r#"{"oops":1}"#) });
    Router::new().route("/echo", any(ok)).route("/fail", fails).route("/dapr/config", any(ok))
}

fn done<T>(answer: Result<tonic::Response<T>, Status>) -> Result<(), Status> {
    answer.map(drop)
}

fn get_state(store: &str, key: &str) -> GetStateRequest {
    GetStateRequest { store_name: store.into(), key: key.into(), ..Default::default() }
}

fn item(key: &str, value: &str) -> StateItem {
    StateItem { key: key.into(), value: value.into(), ..Default::default() }
}

fn with_etag(item: StateItem, etag: &str) -> StateItem {
    StateItem { etag: Some(Etag { value: etag.into() }), ..item }
}

fn with_ttl(item: StateItem, ttl: &str) -> StateItem {
    StateItem { metadata: [("ttlInSeconds".to_owned(), ttl.to_owned())].into(), ..item }
}

async fn save(dapr: &mut DaprClient<Channel>, item: StateItem) -> Result<(), Status> {
    done(dapr.save_state(SaveStateRequest { store_name: "statestore".into(), states: vec![item] }).await)
}

fn delete(key: &str, etag: Option<&str>) -> DeleteStateRequest {
    let etag = etag.map(|value| Etag { value: value.into() });
    DeleteStateRequest { store_name: "statestore".into(), key: key.into(), etag, ..Default::default() }
}

async fn transact(dapr: &mut DaprClient<Channel>, operation: &str, item: StateItem) -> Result<(), Status> {
    let operations = vec![TransactionalStateOperation { operation_type: operation.into(), request: Some(item) }];
    let store_name = "statestore".into();
    let request = ExecuteStateTransactionRequest { store_name, operations, ..Default::default() };
    done(dapr.execute_state_transaction(request).await)
}

fn event(pubsub: &str, topic: &str, content_type: &str, data: &[u8]) -> PublishEventRequest {
    PublishEventRequest {
        pubsub_name: pubsub.into(),
        topic: topic.into(),
        data: data.into(),
        data_content_type: content_type.into(),
        metadata: HashMap::new(),
    }
}

async fn publish(
    dapr: &mut DaprClient<Channel>,
    pubsub: &str,
    topic: &str,
    content_type: &str,
    data: &[u8],
) -> Result<(), Status> {
    done(dapr.publish_event(event(pubsub, topic, content_type, data)).await)
}

#[allow(deprecated, reason = "that is what was recorded")]
async fn bulk(dapr: &mut DaprClient<Channel>, ids: [&str; 2]) -> Result<(), Status> {
    let entry = |id: &str| BulkPublishRequestEntry {
        entry_id: id.into(),
        event: b"{}".into(),
        content_type: "application/json".into(),
        metadata: HashMap::new(),
    };
    let entries = ids.map(entry).into();
    let request =
        BulkPublishRequest { pubsub_name: "pubsub".into(), topic: "bulk".into(), entries, ..Default::default() };
    done(dapr.bulk_publish_event_alpha1(request).await)
}

async fn invoke(
    dapr: &mut DaprClient<Channel>,
    id: &str,
    method: &str,
    metadata: &[(&'static str, &str)],
) -> Result<(), Status> {
    let message = InvokeRequest {
        method: method.into(),
        data: Some(Any { type_url: String::new(), value: b"{}".into() }),
        content_type: "application/json".into(),
        http_extension: Some(HttpExtension { verb: 3, querystring: String::new() }),
    };
    let mut request = Request::new(InvokeServiceRequest { id: id.into(), message: Some(message) });
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    done(dapr.invoke_service(request).await)
}

async fn bind(dapr: &mut DaprClient<Channel>, name: &str, operation: &str) -> Result<(), Status> {
    let metadata = [("fileName".to_owned(), "f.txt".to_owned())].into();
    let (name, operation) = (name.into(), operation.into());
    done(dapr.invoke_binding(InvokeBindingRequest { name, data: b"1".into(), metadata, operation }).await)
}

async fn lock(dapr: &mut DaprClient<Channel>, store: &str, expiry_in_seconds: i32) -> Result<(), Status> {
    let (store_name, resource_id, lock_owner) = (store.into(), "resource".into(), "me".into());
    done(dapr.try_lock_alpha1(TryLockRequest { store_name, resource_id, lock_owner, expiry_in_seconds }).await)
}

/// As it is written in the recording.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn reason(status: &Status) -> Option<String> {
    use tonic_types::StatusExt;
    status.get_details_error_info().map(|info| info.reason)
}

fn recorded_reason(recorded: &Value) -> Option<String> {
    let details = recorded["details"].as_array()?;
    let info = details.iter().find(|detail| detail[0] == "google.rpc.ErrorInfo")?;
    let text = info[1].as_str()?.strip_prefix("reason: \"")?;
    Some(text.split('"').next()?.to_owned())
}
