//! The recorded calls, as they were made.

use dapr::dapr::proto::{
    common::v1::{Etag, HttpExtension, InvokeRequest, StateItem, StateOptions, http_extension::Verb},
    runtime::v1::{
        BulkPublishRequest, BulkPublishRequestEntry, ConversationRequest, DeleteStateRequest,
        ExecuteStateTransactionRequest, GetBulkStateRequest, GetConfigurationRequest, GetJobRequest,
        GetMetadataRequest, GetSecretRequest, GetStateRequest, GetWorkflowRequest, InvokeActorRequest,
        InvokeBindingRequest, InvokeServiceRequest, PublishEventRequest, QueryStateRequest, SaveStateRequest,
        SubtleGetKeyRequest, TransactionalStateOperation, TryLockRequest, UnlockRequest,
    },
};
use prost::Message;
use serde_json::{Value, json};

pub enum Call {
    Grpc(Vec<u8>),
    Http(&'static str),
}

/// In the order in which they were recorded: later ones read what earlier ones wrote.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn calls() -> Vec<(&'static str, Call)> {
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
            grpc(&QueryStateRequest { store_name: "statestore".into(), query: "{}".into(), ..Default::default() }),
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

pub fn item(key: &str, value: &str) -> StateItem {
    StateItem { key: key.into(), value: value.into(), ..Default::default() }
}

fn map(pairs: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
