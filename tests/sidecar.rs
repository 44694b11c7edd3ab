//! The embedded sidecar against what a real daprd 1.18.2 was recorded to do (`state.redis`, `pubsub.redis`, and
//! `pubsub.in-memory`): the same calls, and the same codes, messages, details, envelopes and headers. Where the store of
//! daprd speaks in its own words, the words here are those of `state.in-memory`.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::state_options::StateConcurrency;
use dapr::dapr::proto::common::v1::{Etag, HttpExtension, InvokeRequest, InvokeResponse, StateItem, StateOptions};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::*;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::pb;
use tower_dapr::sidecar::{Hub, HubBuilder, RetryPolicy, Sidecar, Stats};

const P: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";

// ===== state =====

/// The same behaviour of the store in memory and of the one in a file.
macro_rules! on_both_stores {
    ($($(#[$attribute:meta])* $name:ident;)*) => {
        mod memory {
            $($(#[$attribute])* async fn $name() { super::$name(super::Store::Memory).await; })*
        }
        mod sqlite {
            $($(#[$attribute])* async fn $name() { super::$name(super::Store::file()).await; })*
        }
    };
}

on_both_stores! {
    #[tokio::test]
    state_calls_answer_as_recorded;
    #[tokio::test]
    etags_are_checked_as_by_state_in_memory;
    #[tokio::test]
    a_transaction_is_all_or_nothing;
    #[tokio::test(start_paused = true)]
    state_expires_with_its_ttl;
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    eight_writers_lose_no_update;
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    of_two_first_writes_one_wins;
    #[tokio::test]
    apps_do_not_see_each_others_state;
}

async fn state_calls_answer_as_recorded(store: Store) {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with(store.hub()).await;

    let missing = dapr.get_state(get("nope", "k")).await;
    refused(missing, Code::InvalidArgument, "state store nope is not found", &[info("DAPR_STATE_NOT_FOUND", &[])]);
    for key in ["missing", ""] {
        assert_eq!(dapr.get_state(get("statestore", key)).await.unwrap().into_inner(), GetStateResponse::default());
    }
    dapr.save_state(save(item("k1", "\"v\""))).await.unwrap();
    let read = dapr.get_state(get("statestore", "k1")).await.unwrap().into_inner();
    assert_eq!(read.data, b"\"v\"");
    assert!(!read.etag.is_empty());

    let illegal = "input key/keyPrefix 'a||b' can't contain '||'";
    let details = [
        format!("BadRequest a||b: {illegal}"),
        "ResourceInfo state statestore".to_owned(),
        info("DAPR_STATE_ILLEGAL_KEY", &[]),
    ];
    refused(dapr.save_state(save(item("a||b", "1"))).await, Code::InvalidArgument, illegal, &details);
    refused(dapr.get_state(get("statestore", "a||b")).await, Code::InvalidArgument, illegal, &details);

    let bulk = GetBulkStateRequest {
        store_name: "statestore".into(),
        keys: vec!["k1".into(), "nokey".into()],
        ..Default::default()
    };
    let items = dapr.get_bulk_state(bulk).await.unwrap().into_inner().items;
    assert_eq!((items[0].key.as_str(), items[0].data.as_slice(), &items[0].etag), ("k1", &b"\"v\""[..], &read.etag));
    assert_eq!(items[1], BulkStateItem { key: "nokey".into(), ..Default::default() });
    let none = GetBulkStateRequest { store_name: "statestore".into(), ..Default::default() };
    assert!(dapr.get_bulk_state(none).await.unwrap().into_inner().items.is_empty());

    let empty = dapr.save_state(save(item("", "1"))).await;
    refused(empty, Code::InvalidArgument, "state key cannot be empty", &[info("ERR_STATE_SAVE", &[])]);
    let query = QueryStateRequest { store_name: "statestore".into(), ..Default::default() };
    let details = ["ResourceInfo state statestore".to_owned(), info("DAPR_STATE_QUERYING_NOT_SUPPORTED", &[])];
    refused(dapr.query_state_alpha1(query).await, Code::Internal, "state store does not support querying", &details);
}

#[tokio::test]
async fn a_sidecar_without_a_store_says_so() {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with(Hub::builder()).await;
    let details = [info("DAPR_STATE_NOT_CONFIGURED", &[])];
    let message = "state store statestore is not configured";
    refused(dapr.get_state(get("statestore", "k")).await, Code::FailedPrecondition, message, &details);
}

async fn etags_are_checked_as_by_state_in_memory(store: Store) {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with(store.hub()).await;
    dapr.save_state(save(item("k1", "1"))).await.unwrap();
    let etag = dapr.get_state(get("statestore", "k1")).await.unwrap().into_inner().etag;
    let mismatch = |what: &str| format!("possible etag mismatch. error from state store: {what}");
    let saving = |what: &str| format!("failed saving state in state store statestore: {}", mismatch(what));
    let wrong = format!("state etag not match for key=app-a||k1: current={etag}, expect=other");
    let details = [info("ERR_STATE_SAVE", &[])];

    let answer = dapr.save_state(save(with_etag(item("k1", "2"), "other"))).await;
    refused(answer, Code::Aborted, &saving(&wrong), &details);
    let answer = dapr.save_state(save(with_etag(item("nokey", "2"), "other"))).await;
    refused(answer, Code::Aborted, &saving("state not exist or expired for key=app-a||nokey"), &details);
    let answer = dapr.save_state(save(first_write(item("k1", "2")))).await;
    refused(answer, Code::Aborted, &saving("item already exists and no etag was passed"), &details);

    let delete = |etag: &str| DeleteStateRequest {
        store_name: "statestore".into(),
        key: "k1".into(),
        etag: Some(Etag { value: etag.into() }),
        ..Default::default()
    };
    let message = format!("failed deleting state with key k1: {}", mismatch(&wrong));
    refused(dapr.delete_state(delete("other")).await, Code::Aborted, &message, &[info("ERR_STATE_DELETE", &[])]);

    let both = vec![with_etag(item("k1", ""), "other"), with_etag(item("nokey", ""), "other")];
    let bulk = DeleteBulkStateRequest { store_name: "statestore".into(), states: both };
    let each = [mismatch(&wrong), mismatch("state not exist or expired for key=app-a||nokey")].join("\n");
    let message = format!("failed deleting state in state store statestore: {}", mismatch(&each));
    refused(dapr.delete_bulk_state(bulk).await, Code::Aborted, &message, &[info("ERR_STATE_BULK_DELETE", &[])]);

    // An empty etag is none; each write has a fresh one.
    dapr.save_state(save(with_etag(item("k1", "2"), ""))).await.unwrap();
    assert_ne!(dapr.get_state(get("statestore", "k1")).await.unwrap().into_inner().etag, etag);
    dapr.delete_state(delete("")).await.unwrap();
    dapr.delete_state(delete("")).await.unwrap();
    assert!(dapr.get_state(get("statestore", "k1")).await.unwrap().into_inner().data.is_empty());
}

async fn a_transaction_is_all_or_nothing(store: Store) {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with(store.hub()).await;
    dapr.save_state(save(item("gone", "1"))).await.unwrap();
    let delete = operation("delete", item("gone", ""));
    dapr.execute_state_transaction(transaction([operation("upsert", item("x", "1")), delete.clone()])).await.unwrap();
    assert!(dapr.get_state(get("statestore", "gone")).await.unwrap().into_inner().data.is_empty());

    let zap = transaction([operation("upsert", item("y", "1")), operation("zap", item("x", "1"))]);
    let details = [info("ERR_NOT_SUPPORTED_STATE_OPERATION", &[])];
    let answer = dapr.execute_state_transaction(zap).await;
    refused(answer, Code::Unimplemented, "operation type zap not supported", &details);

    let stale = operation("upsert", with_etag(item("z", "2"), "1"));
    let answer = dapr.execute_state_transaction(transaction([operation("upsert", item("y", "1")), stale])).await;
    let message = "error while executing state transaction: possible etag mismatch. error from state store: \
                   state not exist or expired for key=app-a||z";
    refused(answer, Code::Internal, message, &[info("ERR_STATE_TRANSACTION", &[])]);
    assert!(dapr.get_state(get("statestore", "y")).await.unwrap().into_inner().data.is_empty());
}

async fn state_expires_with_its_ttl(store: Store) {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with(store.hub()).await;
    let bad = dapr.save_state(save(with_ttl(item("k", "1"), "x"))).await;
    let message = "failed saving state in state store statestore: strconv.Atoi: parsing \"x\": invalid syntax";
    refused(bad, Code::Internal, message, &[info("ERR_STATE_SAVE", &[])]);

    dapr.save_state(save(with_ttl(item("k", "1"), "10"))).await.unwrap();
    dapr.save_state(save(with_ttl(item("for ever", "1"), "-1"))).await.unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    let read = dapr.get_state(get("statestore", "k")).await.unwrap().into_inner();
    assert_eq!(read.data, b"1");
    assert!(chrono::DateTime::parse_from_rfc3339(&read.metadata["ttlExpireTime"]).is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(dapr.get_state(get("statestore", "k")).await.unwrap().into_inner(), GetStateResponse::default());
    assert_eq!(dapr.get_state(get("statestore", "for ever")).await.unwrap().into_inner().data, b"1");
    // Expired is absent: a first write succeeds.
    dapr.save_state(save(first_write(item("k", "2")))).await.unwrap();
}

async fn eight_writers_lose_no_update(store: Store) {
    let test = Test::with(store.hub()).await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut dapr = test.dapr.clone();
        writers.spawn(async move {
            for _ in 0..8 {
                loop {
                    let read = dapr.get_state(get("statestore", "count")).await.unwrap().into_inner();
                    let count: u32 = String::from_utf8(read.data).unwrap().parse().unwrap_or_default();
                    let next = first_write(item("count", &(count + 1).to_string()));
                    match dapr.save_state(save(with_etag(next, &read.etag))).await {
                        Ok(_) => break,
                        Err(status) => assert_eq!(status.code(), Code::Aborted),
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let mut dapr = test.dapr.clone();
    assert_eq!(dapr.get_state(get("statestore", "count")).await.unwrap().into_inner().data, b"64");
}

async fn of_two_first_writes_one_wins(store: Store) {
    let test = Test::with(store.hub()).await;
    for round in 0..16 {
        let write = |value: &str| {
            let (mut dapr, request) = (test.dapr.clone(), save(first_write(item(&round.to_string(), value))));
            tokio::spawn(
                async move { dapr.save_state(request).await.map_or_else(|status| status.code(), |_| Code::Ok) },
            )
        };
        let (one, two) = tokio::join!(write("1"), write("2"));
        let mut codes = [one.unwrap(), two.unwrap()];
        codes.sort_by_key(|code| *code as i32);
        assert_eq!(codes, [Code::Ok, Code::Aborted]);
    }
}

async fn apps_do_not_see_each_others_state(store: Store) {
    let test = Test::with(store.hub()).await;
    let other = test.hub.app("app-b").start().await.unwrap();
    let (mut a, mut b) = (test.dapr, connect(&other).await);
    a.save_state(save(item("k", "a"))).await.unwrap();
    assert!(b.get_state(get("statestore", "k")).await.unwrap().into_inner().data.is_empty());
}

// ===== publish =====

#[tokio::test]
async fn bad_publishes_answer_as_recorded() {
    let Test { mut dapr, sidecar: _sidecar, hub, .. } = Test::new().await;
    let missing = dapr.publish_event(event("nope", "orders", "", "")).await;
    refused(missing, Code::InvalidArgument, "pubsub nope is not found", &[info("DAPR_PUBSUB_NOT_FOUND", &[])]);
    let resource = |name: &str, message: &str| format!("ResourceInfo pubsub {name}: {message}");

    let message = "topic is empty in pubsub pubsub";
    let details = [resource("pubsub", message), info("DAPR_PUBSUB_TOPIC_NAME_EMPTY", &[])];
    refused(dapr.publish_event(event("pubsub", "", "", "")).await, Code::InvalidArgument, message, &details);
    let message = "pubsub name is empty";
    let details = [resource("", message), info("DAPR_PUBSUB_NAME_EMPTY", &[])];
    refused(dapr.publish_event(event("", "orders", "", "")).await, Code::InvalidArgument, message, &details);

    let raw = with_metadata(event("pubsub", "orders", "", ""), &[("rawPayload", "maybe")]);
    let message = "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'maybe'";
    let reason = info("DAPR_PUBSUB_METADATA_DESERIALIZATION", &[("rawPayload", "maybe")]);
    let details = [resource("pubsub", message), reason];
    refused(dapr.publish_event(raw).await, Code::InvalidArgument, message, &details);

    let broken = dapr.publish_event(event("pubsub", "orders", "application/cloudevents+json", "[]")).await.unwrap_err();
    assert_eq!((broken.code(), broken.message()), (Code::InvalidArgument, "cannot create cloudevent"));
    assert!(
        details_of(&broken)[1].starts_with("ErrorInfo DAPR_PUBSUB_CLOUD_EVENT_CREATION dapr.io appID=app-a error=")
    );

    let twice = vec![entry("1", "{}"), entry("1", "{}")];
    let bulk =
        BulkPublishRequest { pubsub_name: "pubsub".into(), topic: "bulk".into(), entries: twice, ..Default::default() };
    let error = "entryId is duplicated or not present for entry";
    let message = format!("error marshaling events to bytes for topic bulk pubsub pubsub. error: {error}");
    let reason = info("DAPR_PUBSUB_MARSHAL_EVENTS", &[("appID", "app-a"), ("error", error)]);
    let details = [resource("pubsub", &message), reason];
    refused(dapr.bulk_publish_event(bulk).await, Code::InvalidArgument, &message, &details);
    assert_eq!(hub.stats().accepted, 0);
}

/// Each case: what is published, and the delivered body and headers, as recorded. In the recording daprd put spans of its
/// own in; without tracing the caller's context stands in their place, which is recorded too.
#[tokio::test]
async fn deliveries_are_as_recorded() {
    let mut test = Test::new().await;
    let ce = "application/cloudevents+json";
    let overrides = [
        ("cloudevent.id", "fixed"),
        ("cloudevent.source", "src"),
        ("CloudEvent.Type", "ty"),
        ("cloudevent.custom", "zz"),
        ("cloudevent.traceparent", "00-33333333333333333333333333333333-4444444444444444-01"),
        ("ttlInSeconds", "60"),
    ];
    let base = |rest: &str| format!(r#""pubsubname":"pubsub",{rest}"#);
    let tail = format!(
        r#""topic":"orders","traceid":"{P}","traceparent":"{P}","tracestate":"","type":"com.dapr.event.sent"}}"#
    );
    let wrapped = |data: &str, kind: &str| {
        let sent = base(r#""source":"app-a","specversion":"1.0","time":"TIME","#);
        format!(r#"{{{data},"datacontenttype":"{kind}","id":"ID",{sent}{tail}"#)
    };
    let own = r#"{"id":"my-id","source":"me","type":"t.own","specversion":"1.0","ext1":"e","datacontenttype":"application/json","data":{"n":3}}"#;
    let own_traced = format!(
        r#"{{"id":"i","source":"me","type":"t.own","specversion":"1.0","traceparent":"{ZERO}","tracestate":"z=1","data":{{"n":3}}}}"#
    );
    let cases: Vec<(PublishEventRequest, String, &str)> = vec![
        (event("pubsub", "orders", "application/json", r#"{"n":1}"#), wrapped(r#""data":{"n":1}"#, "application/json"), P),
        (event("pubsub", "orders", "text/plain", "hello"), wrapped(r#""data":"hello""#, "text/plain"), P),
        (event("pubsub", "orders", "", r#"{"n":2}"#), wrapped(r#""data":"{\"n\":2}""#, "text/plain"), P),
        (event("pubsub", "orders", "application/json", r#"{"n":"#), wrapped(r#""data":"{\"n\":""#, "application/json"), P),
        (
            event("pubsub", "orders", "application/json; charset=utf-8", "12345678901234567890123.10"),
            wrapped(r#""data":12345678901234567890123.10"#, "application/json; charset=utf-8"),
            P,
        ),
        (
            event("pubsub", "orders", ce, r#"{"specversion":"1.0"}"#),
            format!(r#"{{"pubsubname":"pubsub","source":"Dapr","specversion":"1.0","time":"TIME",{tail}"#),
            P,
        ),
        (
            PublishEventRequest { data: vec![0, 255, 1], ..event("pubsub", "orders", "application/octet-stream", "") },
            wrapped(r#""data_base64":"AP8B""#, "application/octet-stream"),
            P,
        ),
        (
            event("pubsub", "orders", "Application/CloudEvents+JSON", own),
            format!(
                r#"{{"data":{{"n":3}},"datacontenttype":"application/json","ext1":"e","id":"ID","pubsubname":"pubsub","source":"me","specversion":"1.0","time":"TIME","topic":"orders","traceid":"{P}","traceparent":"{P}","tracestate":"","type":"t.own"}}"#
            ),
            P,
        ),
        (
            event("pubsub", "orders", ce, &own_traced),
            format!(
                r#"{{"data":{{"n":3}},"id":"ID","pubsubname":"pubsub","source":"me","specversion":"1.0","time":"TIME","topic":"orders","traceid":"{P}","traceparent":"{P}","tracestate":"z=1","type":"t.own"}}"#
            ),
            P,
        ),
        (
            with_metadata(event("pubsub", "orders", "application/json", r#"{"n":4}"#), &overrides),
            r#"{"data":{"n":4},"datacontenttype":"application/json","expiration":"EXPIRATION","id":"ID","pubsubname":"pubsub","source":"src","specversion":"1.0","time":"TIME","topic":"orders","traceid":"00-33333333333333333333333333333333-4444444444444444-01","traceparent":"00-33333333333333333333333333333333-4444444444444444-01","tracestate":"","type":"ty"}"#.to_owned(),
            "00-33333333333333333333333333333333-4444444444444444-01",
        ),
        (with_metadata(event("pubsub", "orders", "", r#"{"raw":3}"#), &[("rawPayload", "true")]), r#"{"raw":3}"#.to_owned(), P),
    ];
    for (request, body, traceparent) in cases {
        let metadata = request.metadata.clone();
        test.dapr.publish_event(traced(request)).await.unwrap();
        let seen = test.app.seen().await;
        assert_eq!((&seen.method, seen.path.as_str()), (&Method::POST, "/orders"));
        assert_eq!(seen.normalized_body(), body);
        let mut headers = BTreeMap::from([
            ("content-type".to_owned(), "application/cloudevents+json".to_owned()),
            ("pubsubname".to_owned(), "pubsub".to_owned()),
            ("traceparent".to_owned(), traceparent.to_owned()),
        ]);
        headers.extend(metadata.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
        if metadata.contains_key("rawPayload") {
            headers.insert("traceid".to_owned(), P.to_owned());
        }
        assert_eq!(seen.normalized_headers(), headers, "{body}");
    }
    test.hub.settled().await;
    assert_eq!(test.hub.stats(), stats(|stats| (stats.accepted, stats.delivered) = (11, 11)));
}

#[tokio::test]
async fn without_a_context_the_zeroed_one_is_delivered() {
    let mut test = Test::new().await;
    test.dapr.publish_event(event("pubsub", "orders", "application/json", r#"{"modeA":1}"#)).await.unwrap();
    let seen = test.app.seen().await;
    assert_eq!(seen.headers["traceparent"], ZERO);
    assert_eq!(
        seen.normalized_body(),
        r#"{"data":{"modeA":1},"datacontenttype":"application/json","id":"ID","pubsubname":"pubsub","source":"app-a","specversion":"1.0","time":"TIME","topic":"orders","traceid":"","traceparent":"","tracestate":"","type":"com.dapr.event.sent"}"#
    );

    // What the publisher says in metadata comes before the zeroed one.
    let own = with_metadata(event("pubsub", "orders", "", ""), &[("traceparent", P), ("tracestate", "a=b")]);
    test.dapr.publish_event(own).await.unwrap();
    let headers = test.app.seen().await.normalized_headers();
    assert_eq!((headers["traceparent"].as_str(), headers["tracestate"].as_str()), (P, "a=b"));
}

#[tokio::test]
async fn raw_subscriptions_get_a_fresh_envelope() {
    let mut test = Test::new().await;
    let raw = with_metadata(event("pubsub", "raw", "", r#"{"raw":1}"#), &[("rawPayload", "true")]);
    test.dapr.publish_event(traced(raw)).await.unwrap();
    let seen = test.app.seen().await;
    let traces = format!(r#""traceid":"{P}","tracestate":"","type":"com.dapr.event.sent"}}"#);
    let head = r#""datacontenttype":"application/octet-stream","id":"ID","pubsubname":"pubsub","source":"Dapr","specversion":"1.0","topic":"raw","#;
    assert_eq!(seen.normalized_body(), format!(r#"{{"data_base64":"eyJyYXciOjF9",{head}{traces}"#));
    assert_eq!(seen.normalized_headers()["traceid"], P);
    assert_eq!(seen.normalized_headers()["traceparent"], P);

    // Not raw: the whole envelope is the payload, and there is no trace header.
    test.dapr.publish_event(traced(event("pubsub", "raw", "", "x"))).await.unwrap();
    let seen = test.app.seen().await;
    let inner: Value = serde_json::from_str(&seen.body_text()).unwrap();
    let inner =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, inner["data_base64"].as_str().unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&inner.unwrap()).unwrap()["traceparent"], P);
    assert!(!seen.headers.contains_key("traceparent"));
    assert!(!seen.body_text().contains("traceid"));
}

#[tokio::test]
async fn bulk_publish_delivers_each_entry() {
    let mut test = Test::new().await;
    let own = BulkPublishRequestEntry { metadata: map(&[("m", "own")]), ..entry("2", r#"{"i":2}"#) };
    let request = BulkPublishRequest {
        pubsub_name: "pubsub".into(),
        topic: "orders".into(),
        entries: vec![entry("1", r#"{"i":1}"#), own],
        metadata: map(&[("r", "all"), ("m", "all")]),
    };
    let answer = test.dapr.bulk_publish_event(request).await.unwrap().into_inner();
    assert!(answer.failed_entries.is_empty());
    let (one, two) = (test.app.seen().await, test.app.seen().await);
    assert!(one.body_text().starts_with(r#"{"data":{"i":1},"#));
    assert!(!one.headers.contains_key("r"));
    assert_eq!((two.headers["r"].to_str().unwrap(), two.headers["m"].to_str().unwrap()), ("all", "own"));
}

#[tokio::test]
async fn a_trailing_star_subscribes_to_all_longer_topics() {
    let mut test = Test::new().await;
    for topic in ["wild.", "wild.a", "other"] {
        test.dapr.publish_event(event("pubsub", topic, "", topic)).await.unwrap();
    }
    assert!(test.app.seen().await.body_text().contains(r#""data":"wild.a""#));
    test.hub.settled().await;
    assert_eq!(test.hub.stats().accepted, 1);
}

// ===== delivery =====

#[tokio::test]
async fn each_answer_of_the_app_has_its_verdict() {
    let rows: &[(u16, &str, Verdict)] = &[
        (200, "", Verdict::Delivered),
        (204, "", Verdict::Delivered),
        (200, "no json", Verdict::Delivered),
        (200, "{}", Verdict::Delivered),
        (200, r#"{"status":""}"#, Verdict::Delivered),
        (200, r#"{"status":null}"#, Verdict::Delivered),
        (200, r#"{"status":"SUCCESS"}"#, Verdict::Delivered),
        (201, r#"{"Status":"SUCCESS"} and more"#, Verdict::Delivered),
        (200, r#""RETRY""#, Verdict::Delivered),
        (200, "[]", Verdict::Delivered),
        (200, r#"{"status":1}"#, Verdict::Delivered),
        (200, r#"{"status":"DROP"}"#, Verdict::Dropped),
        (404, "", Verdict::Dropped),
        (200, r#"{"status":"RETRY"}"#, Verdict::Lost),
        (200, r#"{"STATUS":"RETRY"}"#, Verdict::Lost),
        (200, r#"{"status":"success"}"#, Verdict::Lost),
        (302, "", Verdict::Lost),
        (400, "", Verdict::Lost),
        (409, r#"{"status":"SUCCESS"}"#, Verdict::Lost),
        (500, "", Verdict::Lost),
    ];
    let mut test = Test::new().await;
    for (status, body, verdict) in rows {
        let before = test.hub.stats();
        let answer = json!({ "code": status, "body": body }).to_string();
        test.dapr.publish_event(event("pubsub", "scripted", "", &answer)).await.unwrap();
        test.hub.settled().await;
        let mut expected = before;
        expected.accepted += 1;
        match verdict {
            Verdict::Delivered => expected.delivered += 1,
            Verdict::Dropped => expected.dropped += 1,
            Verdict::Lost => expected.lost += 1,
        }
        assert_eq!(test.hub.stats(), expected, "{status} {body}");
        test.app.seen().await;
    }
    assert!(test.app.is_quiet(), "nothing was sent twice");
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_comes_again_with_a_policy() {
    let policy = RetryPolicy::constant(Duration::from_millis(500)).max_retries(3);
    let mut test = Test::with(components().inbound_retry("pubsub", policy)).await;
    let retry = json!({ "code": 200, "body": r#"{"status":"RETRY"}"# }).to_string();
    test.dapr.publish_event(event("pubsub", "scripted", "", &retry)).await.unwrap();
    test.hub.settled().await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(test.app.seen().await);
    }
    assert!(test.app.is_quiet());
    assert_eq!(test.hub.stats(), stats(|stats| (stats.accepted, stats.retried, stats.lost) = (1, 3, 1)));
    for pair in seen.windows(2) {
        assert_eq!(pair[0].body, pair[1].body, "same id, same context");
        let pause = pair[1].at - pair[0].at;
        assert!((500..510).contains(&pause.as_millis()), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_stops_at_the_first_success_and_ignores_a_drop() {
    let mut test =
        Test::with(components().inbound_retry("pubsub", RetryPolicy::constant(Duration::from_secs(1)))).await;
    test.dapr.publish_event(event("pubsub", "flaky", "", "2")).await.unwrap();
    let drop = json!({ "code": 200, "body": r#"{"status":"DROP"}"# }).to_string();
    test.dapr.publish_event(event("pubsub", "scripted", "", &drop)).await.unwrap();
    test.hub.settled().await;
    let expected = stats(|stats| {
        (stats.accepted, stats.delivered, stats.retried, stats.dropped) = (2, 1, 2, 1);
    });
    assert_eq!(test.hub.stats(), expected);
    test.app.seen().await;
}

#[tokio::test]
async fn what_is_given_up_goes_to_the_dead_letter_topic() {
    let mut test = Test::new().await;
    for answer in
        [json!({ "code": 500 }), json!({ "code": 404 }), json!({ "code": 200, "body": r#"{"status":"DROP"}"# })]
    {
        let metadata = [("own", "kept")];
        let request = with_metadata(event("pubsub", "dead", "", &answer.to_string()), &metadata);
        test.dapr.publish_event(traced(request)).await.unwrap();
        let (failed, dead) = (test.app.seen().await, test.app.seen().await);
        assert_eq!((failed.path.as_str(), dead.path.as_str()), ("/dead", "/poison"));
        assert_eq!(failed.body, dead.body, "the original bytes");
        assert_eq!(failed.normalized_headers(), dead.normalized_headers());
    }
    test.hub.settled().await;
    let expected = stats(|stats| (stats.accepted, stats.delivered, stats.dead_lettered) = (6, 3, 3));
    assert_eq!(test.hub.stats(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_dead_letter_topic_is_the_last_resort_of_a_policy() {
    let policy = RetryPolicy::constant(Duration::from_secs(1)).max_retries(1);
    let mut test = Test::with(components().inbound_retry("pubsub", policy)).await;
    let refusal = json!({ "code": 503 }).to_string();
    test.dapr.publish_event(event("pubsub", "dead", "", &refusal)).await.unwrap();
    let paths = [test.app.seen().await.path, test.app.seen().await.path, test.app.seen().await.path];
    assert_eq!(paths, ["/dead", "/dead", "/poison"]);
    test.hub.settled().await;
    let expected = stats(|stats| {
        (stats.accepted, stats.delivered, stats.retried, stats.dead_lettered) = (2, 1, 1, 1);
    });
    assert_eq!(test.hub.stats(), expected);
}

#[tokio::test]
async fn publishing_waits_for_a_full_queue() {
    const QUEUE: u64 = 1024;
    let mut test = Test::new().await;
    test.dapr.publish_event(event("pubsub", "slow", "", "first")).await.unwrap();
    test.app.seen().await;
    let request = BulkPublishRequest {
        pubsub_name: "pubsub".into(),
        topic: "slow".into(),
        entries: (0..QUEUE).map(|n| entry(&n.to_string(), "1")).collect(),
        ..Default::default()
    };
    test.dapr.bulk_publish_event(request).await.unwrap();
    let mut other = test.dapr.clone();
    let last = other.publish_event(event("pubsub", "slow", "", "last"));
    tokio::pin!(last);
    assert!(last.as_mut().now_or_never().is_none());
    // Sent later on the same connection, and answered: so the one before is waiting.
    test.dapr.publish_event(event("pubsub", "orders", "", "")).await.unwrap();
    assert!(last.as_mut().now_or_never().is_none());
    assert_eq!(test.hub.stats().accepted, QUEUE + 2);
    test.app.gate.add_permits(2000);
    last.await.unwrap();
    test.hub.settled().await;
    assert_eq!(test.hub.stats(), stats(|stats| (stats.accepted, stats.delivered) = (QUEUE + 3, QUEUE + 3)));
}

#[tokio::test]
async fn what_is_no_event_is_lost_or_dead_lettered() {
    let mut test = Test::new().await;
    for topic in ["orders", "dead"] {
        let raw = with_metadata(event("pubsub", topic, "", "no object"), &[("rawPayload", "true")]);
        test.dapr.publish_event(raw).await.unwrap();
    }
    test.hub.settled().await;
    // The dead letter topic's subscriber cannot read it either.
    assert_eq!(test.hub.stats(), stats(|stats| (stats.accepted, stats.lost, stats.dead_lettered) = (3, 2, 1)));
    assert!(test.app.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_expired_in_the_queue_is_dropped() {
    let mut test = Test::new().await;
    test.dapr.publish_event(event("pubsub", "slow", "", "first")).await.unwrap();
    test.app.seen().await;
    let expiring = with_metadata(event("pubsub", "slow", "", "second"), &[("ttlInSeconds", "5")]);
    test.dapr.publish_event(expiring).await.unwrap();
    tokio::time::advance(Duration::from_secs(7)).await;
    test.app.gate.add_permits(10);
    test.hub.settled().await;
    assert_eq!(test.hub.stats(), stats(|stats| (stats.accepted, stats.delivered, stats.dropped) = (2, 1, 1)));
    assert!(test.app.is_quiet());
}

#[tokio::test]
async fn a_subscription_gets_one_event_at_a_time() {
    let mut test = Test::new().await;
    for n in ["1", "2"] {
        test.dapr.publish_event(event("pubsub", "slow", "", n)).await.unwrap();
    }
    test.app.seen().await;
    test.dapr.publish_event(event("pubsub", "orders", "", "another topic")).await.unwrap();
    assert_eq!(test.app.seen().await.path, "/orders", "other subscriptions go on");
    assert!(test.hub.settled().now_or_never().is_none());
    test.app.gate.add_permits(2);
    assert!(test.app.seen().await.body_text().contains(r#""data":"2""#));
    test.hub.settled().await;
}

#[tokio::test]
async fn an_app_that_is_gone_loses_the_event() {
    let mut test = Test::new().await;
    test.app.stop().await;
    test.dapr.publish_event(event("pubsub", "orders", "", "")).await.unwrap();
    test.hub.settled().await;
    assert_eq!(test.hub.stats(), stats(|stats| (stats.accepted, stats.lost) = (1, 1)));
}

#[tokio::test]
async fn the_app_is_asked_as_recorded_and_bad_answers_are_no_subscriptions() {
    let huge =
        format!(r#"[{{"pubsubname":"pubsub","topic":"t","route":"/t","metadata":{{"a":"{}"}}}}]"#, "x".repeat(1 << 20));
    let missing = r#"[{"pubsubname":"nope","topic":"t","route":"/t"}]"#;
    let rule = r#"[{"pubsubname":"pubsub","topic":"t","routes":{"rules":[{"match":"true &&","path":"/t"}]}}]"#;
    for subscriptions in ["{", huge.as_str(), missing, rule] {
        let hub = components().build();
        let mut app = App::start(subscriptions.to_owned()).await;
        let sidecar = hub.app("app-b").app_port(app.address.port()).start().await.unwrap();
        sidecar.ready().await;
        for path in ["/dapr/config", "/dapr/subscribe"] {
            let seen = app.any().await;
            assert_eq!((&seen.method, seen.path.as_str(), seen.body.len()), (&Method::GET, path, 0));
            let headers = [("content-type", "application/json"), ("dapr-app-id", "app-b")];
            assert_eq!(seen.normalized_headers(), headers.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        }
        let mut dapr = connect(&sidecar).await;
        dapr.publish_event(event("pubsub", "t", "", "")).await.unwrap();
        assert_eq!(hub.stats().accepted, 0);
    }
}

// ===== invocation =====

#[tokio::test]
async fn invocations_answer_as_recorded() {
    let mut test = Test::pair().await;
    let answer = test.dapr.invoke_service(traced(invoke("app-b", "fail", Verb::Post, "{}"))).await;
    let (status, metadata) = (answer.as_ref().unwrap_err(), answer.as_ref().unwrap_err().metadata().clone());
    assert_eq!(metadata.get("dapr-http-status").unwrap(), "503");
    assert_eq!(metadata.get("traceparent").unwrap(), P);
    assert_eq!(metadata.get("dapr-content-type").unwrap(), "application/json");
    assert!(metadata.contains_key("dapr-date"));
    assert_eq!(status.metadata().get("x-app").unwrap(), "yes");
    let reason = info("Service Unavailable", &[("http.code", "503"), ("http.error_message", r#"{"oops":1}"#)]);
    refused(answer, Code::Unavailable, "Service Unavailable", &[reason]);
    test.app.seen().await;

    let answer = test.dapr.invoke_service(invoke("app-b", "status/404", Verb::Post, "{}")).await;
    let reason = info("Not Found", &[("http.code", "404"), ("http.error_message", "")]);
    refused(answer, Code::NotFound, "Not Found", &[reason]);
    test.app.seen().await;

    let no_host = |id: &str| format!("failed to invoke, id: {id}, err: no host found with the given ID");
    let answer = test.dapr.invoke_service(invoke("nobody", "echo", Verb::Post, "")).await;
    refused(answer, Code::Internal, &no_host("nobody"), &[]);
    let message = "failed to invoke, id: app-b, err: rpc error: code = InvalidArgument desc = invalid method: \
                   method contains forbidden character: \"echo/x?y=1\"";
    let answer = test.dapr.invoke_service(invoke("app-b", "echo/x?y=1", Verb::Post, "")).await;
    refused(answer, Code::Internal, message, &[]);

    // `..` is resolved, and stays inside the app.
    let answer = test.dapr.invoke_service(invoke("app-b", "echo/../../dapr/config", Verb::Get, "")).await;
    assert_eq!(answer.unwrap().into_inner(), invoked(r#"{"entities":[]}"#, "application/json"));
    assert_eq!(test.app.any().await.path, "/dapr/config");

    for (verb, name) in [
        (None, "missing HTTP extension field"),
        (Some(Verb::None), "invalid HTTP verb"),
        (Some(Verb::Connect), "invalid HTTP verb"),
    ] {
        let mut request = invoke("app-b", "echo", Verb::Get, "");
        let extension = verb.map(|verb| HttpExtension { verb: verb.into(), ..Default::default() });
        request.message.as_mut().unwrap().http_extension = extension;
        let status = test.dapr.invoke_service(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().ends_with(name), "{status}");
    }
    assert!(test.app.is_quiet());
}

#[tokio::test]
async fn the_apps_headers_come_back_without_those_of_the_protocol() {
    let test = Test::pair().await;
    let request = invoke("app-b", "headers", Verb::Get, "");
    let mut wire = Wire::call(&test, "/dapr.proto.runtime.v1.Dapr/InvokeService", &request, &[]).await;
    assert_eq!(wire.trailers["grpc-status"], "6");
    assert_eq!(wire.trailers["grpc-message"], "Conflict");
    assert!(wire.headers.remove("dapr-date").is_some());
    let headers: BTreeMap<_, _> =
        wire.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let expected = [
        ("content-type", "application/grpc"),
        ("dapr-cache-control", "no-store"),
        ("dapr-http-status", "409"),
        ("traceparent", P),
    ];
    assert_eq!(headers, expected.into());
}

#[tokio::test]
async fn every_status_of_the_app_has_its_code() {
    let codes = [
        (204, Code::Ok),
        (301, Code::Unknown),
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::NotFound),
        (408, Code::Cancelled),
        (409, Code::AlreadyExists),
        (412, Code::Unknown),
        (429, Code::ResourceExhausted),
        (500, Code::Unknown),
        (501, Code::Unimplemented),
        (502, Code::Unknown),
        (503, Code::Unavailable),
        (504, Code::DeadlineExceeded),
    ];
    let mut test = Test::pair().await;
    for (status, code) in codes {
        let answer = test.dapr.invoke_service(invoke("app-b", &format!("status/{status}"), Verb::Put, "")).await;
        let (got, metadata) = match answer {
            Ok(response) => (Code::Ok, response.metadata().clone()),
            Err(status) => (status.code(), status.metadata().clone()),
        };
        assert_eq!(got, code, "{status}");
        assert_eq!(metadata.get("dapr-http-status").unwrap(), status.to_string().as_str());
    }
}

#[tokio::test]
async fn the_app_gets_the_call_as_recorded() {
    let mut test = Test::pair().await;
    let mut request = invoke("app-b.default", "/echo//x", Verb::Post, "{}");
    request.message.as_mut().unwrap().http_extension.as_mut().unwrap().querystring = "a=1&a=2".into();
    let mut request = traced(request);
    for (name, value) in [
        ("tracestate", "a=b"),
        ("baggage", "u=1"),
        ("x-own", "1"),
        ("dapr-own", "2"),
        ("authorization", "Bearer s"),
        ("dapr-api-token", "of someone else"),
        ("dapr-caller-app-id", "forged"),
        ("connection-like", "kept"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    request.metadata_mut().insert_bin("own-bin", MetadataValue::from_bytes(b"x"));
    let answer = test.dapr.invoke_service(request).await.unwrap();
    assert_eq!(answer.metadata().get("traceparent").unwrap(), P);
    assert_eq!(answer.metadata().get("dapr-http-status").unwrap(), "200");
    assert_eq!(answer.metadata().get("baggage").unwrap(), "u=1");
    assert!(!answer.metadata().contains_key("grpc-trace-bin"));
    assert_eq!(answer.into_inner(), invoked("got it", "text/plain; charset=utf-8"));

    let seen = test.app.seen().await;
    assert_eq!((&seen.method, seen.path.as_str(), &seen.body[..]), (&Method::POST, "/echo/x?a=1&a=2", &b"{}"[..]));
    let authority = format!("127.0.0.1:{}", test.sidecar.grpc_port());
    let expected = [
        ("authorization", "Bearer s"),
        ("baggage", "u=1"),
        ("connection-like", "kept"),
        ("content-type", "application/json"),
        ("dapr-authority", &authority),
        ("dapr-callee-app-id", "app-b"),
        ("dapr-caller-app-id", "app-a"),
        ("dapr-caller-namespace", "default"),
        ("dapr-own", "2"),
        ("forwarded", "for=127.0.0.1;by=127.0.0.1;host=localhost"),
        ("traceparent", P),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-own", "1"),
    ];
    assert_eq!(seen.normalized_headers(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn a_call_to_oneself_does_not_tell_who_calls() {
    let mut test = Test::new().await;
    let mut request = tonic::Request::new(invoke("app-a", "echo/modea", Verb::Post, ""));
    request.set_timeout(Duration::from_secs(60));
    for name in ["dapr-app-id", "dapr-caller-app-id", "dapr-callee-app-id", "dapr-caller-namespace", "dapr-api-token"] {
        request.metadata_mut().insert(name, "forged".parse().unwrap());
    }
    test.dapr.invoke_service(request).await.unwrap();
    let seen = test.app.seen().await;
    let authority = format!("127.0.0.1:{}", test.sidecar.grpc_port());
    let expected = [("content-type", "application/json"), ("dapr-authority", &authority), ("traceparent", ZERO)];
    assert_eq!(seen.normalized_headers(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn the_callers_context_passes_unchanged() {
    const OTHER: &str = "00-55555555555555555555555555555555-6666666666666666-01";
    const BINARY: &str = "00-07070707070707070707070707070707-0808080808080808-01";
    let binary = [&[0, 0][..], &[7; 16], &[1], &[8; 8], &[2, 1]].concat();
    let unsampled = P.replace("-01", "-00");
    let future = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what";
    // `traceparent` once or more, `grpc-trace-bin`, and what the app gets.
    type Case<'a> = (&'a [&'a str], Option<&'a [u8]>, &'a str);
    let cases: [Case<'_>; 9] = [
        (&[], None, ZERO),
        (&[ZERO], None, ZERO),
        (&[""], None, ZERO),
        (&["zz-bad"], None, ZERO),
        (&[&unsampled], None, &unsampled),
        (&[future], None, P),
        // As daprd, which takes the first of them.
        (&[P, OTHER], None, P),
        (&[P], Some(&binary), BINARY),
        (&[P], Some(b"broken"), ZERO),
    ];
    let mut test = Test::pair().await;
    for (parents, binary, expected) in cases {
        let mut request = tonic::Request::new(invoke("app-b", "echo", Verb::Get, ""));
        for parent in parents {
            request.metadata_mut().append("traceparent", parent.parse().unwrap());
        }
        if let Some(binary) = binary {
            request.metadata_mut().insert_bin("grpc-trace-bin", MetadataValue::from_bytes(binary));
        }
        test.dapr.invoke_service(request).await.unwrap();
        assert_eq!(test.app.seen().await.headers["traceparent"], expected, "{parents:?}");
    }
}

// ===== other calls =====

#[tokio::test]
async fn bad_baggage_fails_every_call_as_recorded() {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::pair().await;
    let mut request = tonic::Request::new(invoke("app-b", "echo", Verb::Get, ""));
    request.metadata_mut().insert("baggage", "=;bad".parse().unwrap());
    let answer = dapr.invoke_service(request).await;
    refused(answer, Code::InvalidArgument, "invalid baggage header: invalid key: \"\"", &[]);
    let mut request = tonic::Request::new(get("statestore", "k"));
    request.metadata_mut().insert("baggage", "no equals".parse().unwrap());
    let answer = dapr.get_state(request).await;
    refused(answer, Code::InvalidArgument, "invalid baggage header: invalid baggage list-member: \"no equals\"", &[]);
}

#[tokio::test]
async fn what_is_not_configured_says_so() {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new().await;
    // What was not said is missed before what is not there.
    for (operation, reason) in
        [("create", "couldn't find output binding nope"), ("", "operation field is missing from request")]
    {
        let (name, operation) = ("nope".into(), operation.into());
        let answer = dapr.invoke_binding(InvokeBindingRequest { name, operation, ..Default::default() }).await;
        let message = format!("error invoking output binding nope: {reason}");
        refused(answer, Code::Internal, &message, &[info("ERR_INVOKE_OUTPUT_BINDING", &[])]);
    }
    let answer = dapr.get_secret(GetSecretRequest::default()).await;
    refused(answer, Code::FailedPrecondition, "secret store is not configured", &[]);
    let answer = dapr.get_actor_state(GetActorStateRequest::default()).await;
    let message = "the state store is not configured to use the actor runtime. Have you set the - name: actorStateStore \
                   value: \"true\" in your state store component file?";
    refused(answer, Code::Internal, message, &[]);
    let answer = dapr.get_workflow_beta1(GetWorkflowRequest::default()).await;
    refused(answer, Code::Unavailable, "placement service is not configured", &[]);
    let details = [info("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", &[])];
    let answer = dapr.get_configuration(GetConfigurationRequest::default()).await;
    refused(answer, Code::FailedPrecondition, "configuration stores not configured", &details);
    // A stream fails behind its headers, so at its first message.
    let mut stream = dapr.subscribe_configuration(SubscribeConfigurationRequest::default()).await.unwrap().into_inner();
    let answer = stream.message().await;
    refused(answer, Code::FailedPrecondition, "configuration stores not configured", &details);
    let request = UnsubscribeConfigurationRequest { id: "x".into(), ..Default::default() };
    assert!(!dapr.unsubscribe_configuration(request).await.unwrap().into_inner().ok);
    let lock =
        |expiry_in_seconds| TryLockRequest { store_name: "lockstore".into(), expiry_in_seconds, ..Default::default() };
    let answer = dapr.try_lock_alpha1(lock(0)).await;
    refused(answer, Code::InvalidArgument, "ExpiryInSeconds is not positive in lock store lockstore", &[]);
    let answer = dapr.try_lock_alpha1(lock(1)).await;
    refused(answer, Code::FailedPrecondition, "lock store is not configured", &[]);
    let answer = dapr.subtle_get_key_alpha1(SubtleGetKeyRequest::default()).await;
    refused(answer, Code::Unimplemented, "this API is currently not implemented", &[]);
    let mut stream = dapr.encrypt_alpha1(tokio_stream::empty::<EncryptRequest>()).await.unwrap().into_inner();
    let answer = stream.message().await;
    refused(answer, Code::Internal, "crypto providers not configured", &[]);
    let answer = dapr.converse_alpha1(ConversationRequest { name: "nope".into(), ..Default::default() }).await;
    refused(answer, Code::InvalidArgument, "failed finding conversation component nope", &[]);
    let answer = dapr.upsert_vectors_alpha1(UpsertVectorsRequestAlpha1::default()).await;
    refused(answer, Code::Unknown, NOT_PROXIED, &[]);
}

#[tokio::test]
async fn metadata_tells_what_is_there() {
    let mut test = Test::new().await;
    test.dapr.set_metadata(SetMetadataRequest { key: "k".into(), value: "v".into() }).await.unwrap();
    test.dapr.set_metadata(SetMetadataRequest { key: String::new(), value: "v".into() }).await.unwrap();
    test.dapr.shutdown(ShutdownRequest {}).await.unwrap();
    let metadata = test.dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((metadata.id.as_str(), metadata.runtime_version.as_str()), ("app-a", "1.18.2"));
    assert_eq!(metadata.extended_metadata, map(&[("k", "v"), ("daprRuntimeVersion", "1.18.2")]));
    let components: Vec<_> = metadata
        .registered_components
        .iter()
        .map(|one| (one.name.as_str(), one.r#type.as_str(), one.version.as_str()))
        .collect();
    assert_eq!(components, [("statestore", "state.in-memory", "v1"), ("pubsub", "pubsub.in-memory", "v1")]);
    assert_eq!(metadata.registered_components[1].capabilities, ["SUBSCRIBE_WILDCARDS"]);
    let connection = metadata.app_connection_properties.unwrap();
    assert_eq!((connection.port, connection.protocol.as_str()), (i32::from(test.app.address.port()), "http"));
    let dead = metadata.subscriptions.iter().find(|one| one.topic == "dead").unwrap();
    assert_eq!((dead.dead_letter_topic.as_str(), dead.r#type()), ("poison", PubsubSubscriptionType::Programmatic));
    assert_eq!(dead.rules.as_ref().unwrap().rules[0].path, "/dead");
}

// ===== the wire =====

const NOT_PROXIED: &str = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found";
const ZERO_BIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAgA";

#[tokio::test]
async fn a_failing_call_has_headers_without_a_status_then_trailers() {
    let test = Test::pair().await;
    let wire = Wire::call(&test, "/dapr.proto.runtime.v1.Dapr/GetState", &get("nope", "k"), &[]).await;
    let names = |headers: &HeaderMap| -> Vec<_> { headers.keys().map(ToString::to_string).collect() };
    assert_eq!(names(&wire.headers), ["content-type", "grpc-trace-bin"]);
    assert_eq!(
        (&wire.headers["content-type"], &wire.headers["grpc-trace-bin"]),
        (&"application/grpc".parse().unwrap(), &ZERO_BIN.parse().unwrap())
    );
    assert_eq!(names(&wire.trailers), ["grpc-status", "grpc-message", "grpc-status-details-bin"]);
    assert_eq!(wire.data.len(), 0);
    assert_eq!(wire.trailers["grpc-status"], "3");
    assert_eq!(wire.trailers["grpc-message"], "state%20store%20nope%20is%20not%20found");

    // The app's metadata stays in the HEADERS, and there is no `grpc-trace-bin`.
    let request = invoke("app-b", "status/503", Verb::Get, "");
    let wire = Wire::call(&test, "/dapr.proto.runtime.v1.Dapr/InvokeService", &request, &[]).await;
    assert_eq!(wire.headers["dapr-http-status"], "503");
    assert!(!wire.headers.contains_key("grpc-trace-bin") && !wire.headers.contains_key("grpc-status"));
    assert_eq!(
        (&wire.trailers["grpc-status"], wire.trailers.contains_key("dapr-http-status")),
        (&"14".parse().unwrap(), false)
    );
}

#[tokio::test]
async fn a_successful_call_tells_the_context() {
    let test = Test::new().await;
    let path = "/dapr.proto.runtime.v1.Dapr/GetState";
    let wire = Wire::call(&test, path, &get("statestore", "k"), &[("traceparent", P), ("baggage", "u=1")]).await;
    assert_eq!(wire.headers["grpc-trace-bin"], "AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE");
    assert_eq!(wire.headers["baggage"], "u=1");
    assert_eq!((wire.data.len(), &wire.trailers["grpc-status"]), (5, &"0".parse().unwrap()));
}

#[tokio::test]
async fn unknown_methods_and_services_reach_the_proxy() {
    let test = Test::new().await;
    let dapr = "/dapr.proto.runtime.v1.Dapr";
    for path in [format!("{dapr}/Nope"), format!("{dapr}/UpsertVectorsAlpha1"), "/shop.v1.Orders/List".to_owned()] {
        let wire = Wire::call(&test, &path, &UpsertVectorsRequestAlpha1::default(), &[]).await;
        assert_eq!(wire.headers["grpc-trace-bin"], ZERO_BIN, "{path}");
        assert!(!wire.headers.contains_key("grpc-status"));
        assert_eq!(wire.trailers["grpc-status"], "2");
        let message = wire.trailers["grpc-message"].to_str().unwrap().replace("%20", " ");
        assert_eq!(message, NOT_PROXIED);
        let wire = Wire::call(&test, "/shop.v1.Orders/List", &ShutdownRequest {}, &[("dapr-app-id", "app-a")]).await;
        assert_eq!(wire.trailers["grpc-status"], "14", "an app that speaks HTTP");
    }
}

#[tokio::test]
async fn more_than_four_mebibytes_is_refused_both_ways() {
    let mut test = Test::pair().await;
    let item = |key: &str, size| StateItem { value: vec![b'x'; size], ..item(key, "") };
    let large = save(item("k", 4 << 20));
    let message = format!("grpc: received message larger than max ({} vs. 4194304)", large.encoded_len());
    refused(test.dapr.save_state(large).await, Code::ResourceExhausted, &message, &[]);
    for key in ["a", "b"] {
        test.dapr.save_state(save(item(key, 3 << 20))).await.unwrap();
    }
    let bulk = GetBulkStateRequest {
        store_name: "statestore".into(),
        keys: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    let status = test.dapr.get_bulk_state(bulk).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("grpc: trying to send message larger than max ("), "{status}");
    let status = test.dapr.invoke_service(invoke("app-b", "large", Verb::Get, "")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().ends_with("the app's answer is too large"), "{status}");
}

// ===== security =====

#[tokio::test]
async fn only_holders_of_the_token_get_in() {
    const OWN: &str = "t0ken-of-the-sidecar";
    const APP: &str = "t0ken-of-the-app";
    let hub = components().api_token(OWN).build();
    let mut app = App::start(subscriptions()).await;
    let builder = hub.app("app-a").app_port(app.address.port()).app_token(APP);
    let shown = format!("{builder:?}");
    let sidecar = builder.start().await.unwrap();
    sidecar.ready().await;
    assert!(!format!("{shown} {hub:?} {sidecar:?}").contains("t0ken"));
    for path in ["/dapr/config", "/dapr/subscribe"] {
        let seen = app.any().await;
        assert_eq!((seen.path.as_str(), seen.headers["dapr-api-token"].to_str().unwrap()), (path, APP));
    }
    let test = Test { hub, dapr: connect(&sidecar).await, sidecar, app, other: None };
    let path = "/dapr.proto.runtime.v1.Dapr/InvokeService";
    let request = invoke("app-a", "echo", Verb::Get, "");
    let wrong = format!("{OWN}x");
    let reasons = [
        (&[][..], "missing api token in request metadata"),
        (&[("dapr-api-token", "")][..], "authentication error: api token mismatch"),
        (&[("dapr-api-token", wrong.as_str())][..], "authentication error: api token mismatch"),
        (&[("dapr-api-token", &OWN[1..])][..], "authentication error: api token mismatch"),
    ];
    for (headers, reason) in reasons {
        let wire = Wire::call(&test, path, &request, headers).await;
        assert!(wire.trailers.is_empty(), "trailers-only");
        assert!(!wire.headers.contains_key("content-length") && !wire.headers.contains_key("grpc-trace-bin"));
        let status = Status::from_header_map(&wire.headers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "Unauthorized"));
        let expected = info("Unauthorized", &[("http.code", "401"), ("http.error_message", reason)]);
        assert_eq!(details_of(&status), [expected]);
    }
    let wire = Wire::call(&test, path, &request, &[("dapr-api-token", OWN)]).await;
    assert_eq!(wire.trailers["grpc-status"], "0");
    let mut app = test.app;
    assert_eq!(app.seen().await.headers["dapr-api-token"], APP, "the app's own token, not the caller's");
    assert!(app.is_quiet());
    assert_eq!(http(&test.sidecar, "localhost", "/v1.0/healthz").await.0, StatusCode::NO_CONTENT);
    assert_eq!(
        http(&test.sidecar, "localhost", "/v1.0/metadata").await,
        (StatusCode::UNAUTHORIZED, "invalid api token\n".to_owned())
    );
}

#[tokio::test]
async fn names_are_never_addresses() {
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let canary_at = canary.local_addr().unwrap();
    let hub = components().build();
    for id in ["", "127.0.0.1:80", "http:%2f%2fevil", "a/b", "a.b", "a b", "ä", &"a".repeat(257)] {
        let error = hub.app(id).start().await.unwrap_err();
        assert!(error.is_invalid_app_id(), "{id}: {error}");
    }
    let route = format!("http://{canary_at}/x/../y");
    let list = json!([
        {"pubsubname": "pubsub", "topic": "far", "route": route},
        {"pubsubname": "pubsub", "topic": "farther", "route": format!("//{canary_at}/z")},
        {"pubsubname": "pubsub", "topic": "split", "route": "/a\r\nHost: evil"},
    ]);
    let mut app = App::start(list.to_string()).await;
    let sidecar = hub.app("app-a").app_port(app.address.port()).start().await.unwrap();
    sidecar.ready().await;
    let mut dapr = connect(&sidecar).await;
    for id in [
        canary_at.to_string(),
        format!("http://{canary_at}"),
        format!("http:%2f%2f{canary_at}"),
        "localhost".into(),
        String::new(),
    ] {
        let status = dapr.invoke_service(invoke(&id, "x", Verb::Get, "")).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        let reason = match id.as_str() {
            "" => "app id is empty".to_owned(),
            "localhost" => "no host found with the given ID".to_owned(),
            // Points separate namespaces.
            _ => format!("invalid app id {id}"),
        };
        assert_eq!(status.message(), format!("failed to invoke, id: {id}, err: {reason}"));
    }
    for method in ["a?b", "a#b", "a\0b", "a\r\nb", "a\u{7f}b"] {
        let status = dapr.invoke_service(invoke("app-a", method, Verb::Get, "")).await.unwrap_err();
        assert!(status.message().contains("invalid method: method contains "), "{status}");
    }
    let method = format!("http://{canary_at}/x");
    dapr.invoke_service(invoke("app-a", &method, Verb::Get, "")).await.unwrap_err();
    assert_eq!(app.seen().await.path, format!("/http:/{canary_at}/x"));
    for topic in ["far", "farther", "split"] {
        dapr.publish_event(event("pubsub", topic, "", "")).await.unwrap();
    }
    hub.settled().await;
    let mut paths = [app.seen().await.path, app.seen().await.path];
    paths.sort();
    assert_eq!(paths, [format!("/{canary_at}/z"), format!("/http:/{canary_at}/y")]);
    assert_eq!(hub.stats().accepted, 2, "the third is no path");
    assert!(canary.accept().now_or_never().is_none(), "nobody dialled it");
}

// ===== life =====

#[tokio::test]
async fn health_follows_the_app() {
    // Bound, but not served yet: the app accepts, and does not answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hub = components().build();
    let sidecar = hub.app("app-a").app_address(listener.local_addr().unwrap()).start().await.unwrap();
    let not_ready = r#"{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [app]"}"#;
    assert_eq!(
        http(&sidecar, "127.0.0.1", "/v1.0/healthz").await,
        (StatusCode::INTERNAL_SERVER_ERROR, not_ready.to_owned())
    );
    assert_eq!(http(&sidecar, "[::1]:80", "/v1.0/healthz/outbound").await, (StatusCode::NO_CONTENT, String::new()));
    assert!(sidecar.ready().now_or_never().is_none());

    let _app = App::serve(listener, subscriptions());
    sidecar.ready().await;
    assert_eq!(http(&sidecar, "LocalHost:3500", "/v1.0/healthz").await, (StatusCode::NO_CONTENT, String::new()));
    assert_eq!(http(&sidecar, "localhost", "/v1.0/healthz?appid=app-a").await.0, StatusCode::NO_CONTENT);
    assert_eq!(http(&sidecar, "localhost", "/v1.0/healthz?appid=other").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let unknown = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#;
    assert_eq!(http(&sidecar, "localhost", "/v1.0/zzz").await, (StatusCode::NOT_FOUND, unknown.to_owned()));
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""] {
        assert_eq!(http(&sidecar, host, "/v1.0/healthz").await.0, StatusCode::FORBIDDEN, "{host}");
    }
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let port = taken.local_addr().unwrap().port();
    let hub = components().build();
    let error = hub.app("app-a").grpc_port(port).start().await.unwrap_err();
    assert!(error.is_port_in_use());
    assert_eq!(error.to_string(), format!("gRPC port {port} is already in use on 127.0.0.1"));
    let error = hub.app("app-a").http_port(port).start().await.unwrap_err();
    assert_eq!(error.to_string(), format!("HTTP port {port} is already in use on 127.0.0.1"));

    let _first = hub.app("app-a").start().await.unwrap();
    let error = hub.app("app-a").start().await.unwrap_err();
    assert!(error.is_app_id_in_use(), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_listens_on_loopback_only() {
    let Test { sidecar, .. } = Test::new().await;
    for port in [sidecar.grpc_port(), sidecar.http_port()] {
        // Would be in use if it listened on all addresses.
        TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_left_after_the_end() {
    let mut app = App::start(subscriptions()).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for way in ["stop", "drop", "shutdown"] {
        // The app's own connections come and go with the sidecar.
        let before = tasks();
        let hub = components().build();
        let sidecar = hub.app(way).app_port(app.address.port()).start().await.unwrap();
        sidecar.ready().await;
        let (grpc, http) = (sidecar.grpc_port(), sidecar.http_port());
        let mut dapr = connect(&sidecar).await;
        for n in ["1", "2"] {
            dapr.publish_event(event("pubsub", "slow", "", n)).await.unwrap();
        }
        app.seen().await;
        let mut caller = dapr.clone();
        let call = tokio::spawn(async move { caller.invoke_service(invoke(way, "hang", Verb::Get, "")).await });
        app.seen().await;
        match way {
            "stop" => sidecar.stop().await,
            "drop" => drop(sidecar),
            _ => hub.shutdown().await,
        }
        assert!(call.await.unwrap().is_err(), "the call was cut");
        hub.settled().await;
        assert_eq!(hub.stats(), stats(|stats| (stats.accepted, stats.lost) = (2, 2)), "{way}");
        drop(dapr);
        for _ in 0..10_000 {
            if tasks() <= before {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(tasks() <= before, "{way}: {} tasks, {before} before", tasks());
        // Another test may have got the same ports since; another app of this name there is none.
        let at = format!("http://127.0.0.1:{grpc}");
        if let Ok(mut dapr) = DaprClient::connect(at).await {
            let metadata = dapr.get_metadata(GetMetadataRequest {}).await;
            assert!(!metadata.is_ok_and(|metadata| metadata.into_inner().id == way), "{way}: gRPC");
        }
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", http)).await {
            let health = ask(stream, "localhost", &format!("/v1.0/healthz?appid={way}")).await;
            assert_ne!(health.0, StatusCode::NO_CONTENT, "{way}: HTTP");
        }
    }
}

#[tokio::test]
async fn an_app_id_is_free_after_the_end() {
    let hub = components().build();
    drop(hub.app("app-a").start().await.unwrap());
    hub.app("app-a").start().await.unwrap().stop().await;
    hub.shutdown().await;
    let error = hub.app("app-a").start().await.unwrap_err();
    assert_eq!(error.to_string(), "the hub is shut down");
}

// ===== helpers =====

#[derive(Debug)]
enum Verdict {
    Delivered,
    Dropped,
    Lost,
}

/// Where `statestore` is kept.
enum Store {
    Memory,
    File(tempfile::TempDir),
}

impl Store {
    fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    fn hub(&self) -> HubBuilder {
        match self {
            Self::Memory => components(),
            Self::File(directory) => components().state_file("statestore", directory.path().join("state.db")).unwrap(),
        }
    }
}

/// A hub with the sidecar of `app-a`, whose app is recorded.
struct Test {
    hub: Hub,
    sidecar: Sidecar,
    dapr: DaprClient<Channel>,
    app: App,
    #[allow(dead_code, reason = "kept running")]
    other: Option<Sidecar>,
}

impl Test {
    async fn new() -> Self {
        Self::with(components()).await
    }

    async fn with(hub: HubBuilder) -> Self {
        let hub = hub.build();
        let mut app = App::start(subscriptions()).await;
        let sidecar = hub.app("app-a").app_port(app.address.port()).start().await.unwrap();
        sidecar.ready().await;
        app.any().await;
        app.any().await;
        Self { hub, dapr: connect(&sidecar).await, sidecar, app, other: None }
    }

    /// `app-a` calls, and the app is that of `app-b`.
    async fn pair() -> Self {
        let hub = components().build();
        let mut app = App::start("[]".to_owned()).await;
        let other = hub.app("app-b").app_port(app.address.port()).start().await.unwrap();
        other.ready().await;
        app.any().await;
        app.any().await;
        let sidecar = hub.app("app-a").start().await.unwrap();
        Self { hub, dapr: connect(&sidecar).await, sidecar, app, other: Some(other) }
    }
}

fn components() -> HubBuilder {
    Hub::builder().state_store("statestore").pubsub("pubsub")
}

async fn connect(sidecar: &Sidecar) -> DaprClient<Channel> {
    DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap()
}

fn subscriptions() -> String {
    let plain = ["orders", "scripted", "flaky", "slow", "poison"];
    let mut list: Vec<_> = plain
        .iter()
        .map(|topic| json!({"pubsubname": "pubsub", "topic": topic, "route": format!("/{topic}")}))
        .collect();
    list.push(json!({"pubsubname": "pubsub", "topic": "raw", "route": "/raw", "metadata": {"rawPayload": "true"}}));
    list.push(json!({"pubsubname": "pubsub", "topic": "wild.*", "route": "/wild"}));
    list.push(
        json!({"pubsubname": "pubsub", "topic": "dead", "routes": {"default": "/dead"}, "deadLetterTopic": "poison"}),
    );
    Value::from(list).to_string()
}

/// What the app got.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

impl Seen {
    fn body_text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// With placeholders for what differs each time. Everything else is compared byte for byte.
    fn normalized_body(&self) -> String {
        let mut text = self.body_text();
        let event: Value = serde_json::from_str(&text).unwrap();
        for (member, placeholder) in [("id", "ID"), ("time", "TIME"), ("expiration", "EXPIRATION")] {
            if let Some(value) = event[member].as_str() {
                assert!(member == "id" || (value.len() == 20 && chrono::DateTime::parse_from_rfc3339(value).is_ok()));
                text = text.replace(&format!(r#""{member}":"{value}""#), &format!(r#""{member}":"{placeholder}""#));
            }
        }
        text
    }

    /// Without what HTTP and its libraries add.
    fn normalized_headers(&self) -> BTreeMap<String, String> {
        let of_http = ["host", "content-length", "user-agent", "accept-encoding"];
        let own = self.headers.iter().filter(|(name, _)| !of_http.contains(&name.as_str()));
        own.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }
}

/// An app that records what it gets and answers as the path, or the event, says.
struct App {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Lets the answers of `/slow` out.
    gate: Arc<Semaphore>,
    server: tokio::task::JoinHandle<()>,
}

impl App {
    async fn start(subscriptions: String) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), subscriptions)
    }

    fn serve(listener: TcpListener, subscriptions: String) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let (address, open) = (listener.local_addr().unwrap(), Arc::clone(&gate));
        let attempts = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(move |request: Request| {
            let (sender, open, subscriptions) = (sender.clone(), Arc::clone(&open), subscriptions.clone());
            let attempts = Arc::clone(&attempts);
            async move {
                let (parts, body) = request.into_parts();
                let seen = Seen {
                    method: parts.method,
                    path: parts.uri.path_and_query().unwrap().to_string(),
                    headers: parts.headers,
                    body: body.collect().await.unwrap().to_bytes(),
                    at: Instant::now(),
                };
                let _ = sender.send(seen.clone());
                answer(&seen, &subscriptions, &open, &attempts).await
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, gate, server }
    }

    /// Anything, also the questions at the start.
    async fn any(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    async fn seen(&mut self) -> Seen {
        loop {
            let seen = self.any().await;
            if !seen.path.starts_with("/dapr/") {
                return seen;
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// Closes the listener. Connections that are open die at their next request.
    async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        self.gate.close();
    }
}

async fn answer(seen: &Seen, subscriptions: &str, gate: &Semaphore, attempts: &AtomicUsize) -> Response {
    let event = || serde_json::from_slice::<Value>(&seen.body).unwrap_or_default();
    match seen.path.split('?').next().unwrap() {
        "/dapr/config" => ([("content-type", "application/json")], r#"{"entities":[]}"#).into_response(),
        "/dapr/subscribe" => subscriptions.to_owned().into_response(),
        "/fail" => {
            let headers = [("content-type", "application/json"), ("x-app", "yes")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, r#"{"oops":1}"#).into_response()
        }
        "/echo" | "/echo/x" | "/echo/modea" => "got it".into_response(),
        "/headers" => {
            let headers = [
                ("grpc-status", "0"),
                ("grpc-message", "forged"),
                ("own-bin", "x"),
                ("traceparent", P),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("cache-control", "no-store"),
            ];
            (StatusCode::CONFLICT, headers).into_response()
        }
        "/large" => vec![b'x'; (4 << 20) + 1].into_response(),
        "/hang" => std::future::pending().await,
        "/slow" => {
            gate.acquire().await.unwrap().forget();
            "".into_response()
        }
        "/flaky" => {
            // Refuses as often as the event says.
            let times: usize = event()["data"].as_str().unwrap().parse().unwrap();
            let refuse = attempts.fetch_add(1, Ordering::SeqCst) < times;
            if refuse { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { "".into_response() }
        }
        "/scripted" | "/dead" => {
            let script: Value = serde_json::from_str(event()["data"].as_str().unwrap()).unwrap();
            let status = StatusCode::from_u16(u16::try_from(script["code"].as_u64().unwrap()).unwrap()).unwrap();
            (status, Body::from(script["body"].as_str().unwrap_or_default().to_owned())).into_response()
        }
        path => match path.strip_prefix("/status/") {
            Some(status) => StatusCode::from_u16(status.parse().unwrap()).unwrap().into_response(),
            None if seen.headers.contains_key("pubsubname") => "".into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

/// An answer as it is on the wire.
struct Wire {
    headers: HeaderMap,
    data: Bytes,
    trailers: HeaderMap,
}

impl Wire {
    async fn call(test: &Test, path: &str, message: &impl prost::Message, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", test.sidecar.grpc_port())).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        frame.extend(message.encode_to_vec());
        let mut request = hyper::Request::post(format!("{}{path}", test.sidecar.grpc_endpoint()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = client.send_request(request.body(Full::new(Bytes::from(frame))).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self { headers: parts.headers, data: collected.to_bytes(), trailers }
    }
}

/// `GET` over HTTP/1.1.
async fn http(sidecar: &Sidecar, host: &str, path: &str) -> (StatusCode, String) {
    ask(TcpStream::connect(("127.0.0.1", sidecar.http_port())).await.unwrap(), host, path).await
}

async fn ask(stream: TcpStream, host: &str, path: &str) -> (StatusCode, String) {
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", host).body(Full::new(Bytes::new())).unwrap();
    let (parts, body) = client.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = parts.headers.get("content-type").is_some_and(|kind| kind == "application/json");
    assert_eq!(json, body.starts_with(b"{"));
    (parts.status, String::from_utf8(body.to_vec()).unwrap())
}

fn stats(change: impl FnOnce(&mut Stats)) -> Stats {
    let mut stats = Stats::default();
    change(&mut stats);
    stats
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn get(store: &str, key: &str) -> GetStateRequest {
    GetStateRequest { store_name: store.into(), key: key.into(), ..Default::default() }
}

fn save(item: StateItem) -> SaveStateRequest {
    SaveStateRequest { store_name: "statestore".into(), states: vec![item] }
}

fn item(key: &str, value: &str) -> StateItem {
    StateItem { key: key.into(), value: value.into(), ..Default::default() }
}

fn with_etag(item: StateItem, etag: &str) -> StateItem {
    StateItem { etag: Some(Etag { value: etag.into() }), ..item }
}

fn with_ttl(item: StateItem, seconds: &str) -> StateItem {
    StateItem { metadata: map(&[("ttlInSeconds", seconds)]), ..item }
}

fn first_write(item: StateItem) -> StateItem {
    let concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
    StateItem { options: Some(StateOptions { concurrency, ..Default::default() }), ..item }
}

fn operation(kind: &str, item: StateItem) -> TransactionalStateOperation {
    TransactionalStateOperation { operation_type: kind.into(), request: Some(item) }
}

fn transaction(operations: [TransactionalStateOperation; 2]) -> ExecuteStateTransactionRequest {
    ExecuteStateTransactionRequest {
        store_name: "statestore".into(),
        operations: operations.into(),
        ..Default::default()
    }
}

fn event(pubsub: &str, topic: &str, content_type: &str, data: &str) -> PublishEventRequest {
    PublishEventRequest {
        pubsub_name: pubsub.into(),
        topic: topic.into(),
        data: data.into(),
        data_content_type: content_type.into(),
        ..Default::default()
    }
}

fn with_metadata(event: PublishEventRequest, metadata: &[(&str, &str)]) -> PublishEventRequest {
    PublishEventRequest { metadata: map(metadata), ..event }
}

fn entry(id: &str, event: &str) -> BulkPublishRequestEntry {
    BulkPublishRequestEntry {
        entry_id: id.into(),
        event: event.into(),
        content_type: "application/json".into(),
        ..Default::default()
    }
}

fn invoke(id: &str, method: &str, verb: Verb, body: &str) -> InvokeServiceRequest {
    let mut message = InvokeRequest {
        method: method.into(),
        content_type: "application/json".into(),
        http_extension: Some(HttpExtension { verb: verb.into(), ..Default::default() }),
        ..Default::default()
    };
    message.data.get_or_insert_default().value = body.into();
    InvokeServiceRequest { id: id.into(), message: Some(message) }
}

fn invoked(body: &str, content_type: &str) -> InvokeResponse {
    let mut response = InvokeResponse { content_type: content_type.into(), ..Default::default() };
    response.data.get_or_insert_default().value = body.into();
    response
}

/// With the context of the recordings.
fn traced<T>(message: T) -> tonic::Request<T> {
    let headers = [("traceparent", P), ("tracestate", "a=b,c=d")]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    tonic::Request::from_parts(MetadataMap::from_headers(headers.into_iter().collect()), Default::default(), message)
}

#[track_caller]
fn refused<T>(answer: Result<T, Status>, code: Code, message: &str, details: &[String]) {
    let Err(status) = answer else { panic!("succeeded, instead of {code:?} {message}") };
    assert_eq!((status.code(), status.message()), (code, message));
    assert_eq!(details_of(&status), details);
}

fn info(reason: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: String = metadata.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    format!("ErrorInfo {reason} dapr.io{metadata}")
}

/// The details of a status, in their order, as text.
fn details_of(status: &Status) -> Vec<String> {
    let decoded = pb::Status::decode(status.details()).unwrap();
    let details = decoded.details.iter().map(|any| match any.type_url.as_str() {
        "type.googleapis.com/google.rpc.ErrorInfo" => {
            let error = pb::ErrorInfo::decode(&*any.value).unwrap();
            let metadata: BTreeMap<_, _> = error.metadata.into_iter().collect();
            let metadata: String = metadata.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            format!("ErrorInfo {} {}{metadata}", error.reason, error.domain)
        }
        "type.googleapis.com/google.rpc.ResourceInfo" => {
            let resource = pb::ResourceInfo::decode(&*any.value).unwrap();
            let description =
                if resource.description.is_empty() { String::new() } else { format!(": {}", resource.description) };
            format!("ResourceInfo {} {}{description}", resource.resource_type, resource.resource_name)
        }
        "type.googleapis.com/google.rpc.BadRequest" => {
            let violation = &pb::BadRequest::decode(&*any.value).unwrap().field_violations[0];
            format!("BadRequest {}: {}", violation.field, violation.description)
        }
        other => other.to_owned(),
    });
    details.collect()
}
