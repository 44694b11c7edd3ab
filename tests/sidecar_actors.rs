//! The embedded sidecar: actors, over gRPC, over HTTP and through the `Dapr` handle. Texts and headers are those of a daprd
//! 1.18.2 with placement and scheduler.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::actor_runtime::ActorRuntimeStatus;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::*;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic::transport::Channel;
use tower_dapr::inbound::{AppConfig, Subscriptions};
use tower_dapr::outbound::{Dapr, Endpoint};
use tower_dapr::sidecar::{Hub, Sidecar};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

// ===== calls =====

#[tokio::test]
async fn a_call_reaches_the_host_from_any_sidecar() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let mut request = tonic::Request::new(InvokeActorRequest {
        data: b"{\"z\":1}".into(),
        metadata: map(&[
            ("X-Own", "v"),
            ("content-type", "text/plain"),
            ("grpc-x", "y"),
            ("dapr-api-token", "t"),
            ("b-bin", "z"),
            ("dapr-caller-app-id", "forged"),
        ]),
        ..invoke("T", "1", "m")
    });
    request.metadata_mut().insert("traceparent", TRACE.parse().unwrap());
    request.metadata_mut().insert("x-md", "no".parse().unwrap());
    let answer = test.host.dapr.invoke_actor(request).await.unwrap().into_inner();
    assert_eq!(answer.data, b"{\"ok\":1}");
    let call = test.app.call().await;
    assert_eq!(
        (&call.method, call.path.as_str(), &call.body[..]),
        (&Method::PUT, "/actors/T/1/method/m", &b"{\"z\":1}"[..])
    );
    let own = ["host", "content-length", "accept", "user-agent"];
    let headers: HashMap<_, _> =
        call.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let headers: HashMap<_, _> = headers.into_iter().filter(|(name, _)| !own.contains(name)).collect();
    let expected = [
        ("dapr-api-call", "true"),
        ("dapr-caller-app-id", "host"),
        ("dapr-caller-namespace", "default"),
        ("dapr-grpc-x", "y"),
        ("traceparent", TRACE),
        ("x-own", "v"),
    ];
    assert_eq!(headers, HashMap::from(expected));

    // From another app, which daprd marks.
    test.other.dapr.invoke_actor(invoke("T", "1", "m")).await.unwrap();
    let call = test.app.call().await;
    assert_eq!((call.header("x-dapr-remote"), call.header("dapr-caller-app-id")), (Some("true"), Some("host")));

    // Over HTTP: also a query, the content type and all headers, and those of the answer.
    let headers = [("x-own", "v"), ("content-type", "application/json"), ("dapr-api-token", "t"), ("cookie", "c")];
    let answer = test.host.ask("POST", "/v1.0/actors/T/1/method/m?x=1", "{\"a\":1}", &headers).await;
    assert_eq!(
        (answer.status, &answer.body, &answer.headers["x-answer"]),
        (200, &json!({"ok": 1}), &"a".parse().unwrap())
    );
    assert_eq!(answer.headers["content-type"], "application/json");
    let call = test.app.call().await;
    assert_eq!(
        (&call.method, call.path.as_str(), &call.body[..]),
        (&Method::PUT, "/actors/T/1/method/m?x=1", &b"{\"a\":1}"[..])
    );
    assert_eq!((call.header("content-type"), call.header("cookie")), (Some("application/json"), Some("c")));
    assert_eq!(call.headers.get("dapr-api-token"), None);

    // And through our own handle.
    let answer = test.other.handle().actor("T", "1").invoke("m").json(&1).await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({"ok": 1}));
}

#[tokio::test]
async fn what_an_actor_says_to_its_failure_is_told_as_by_daprd() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let prefix = "error invoke actor method: ";
    for (method, reason) in [
        ("nope", "actor method not found: actors/T/1/method/nope"),
        ("fail", "error from actor service: (500) {\"e\":1}"),
        ("created", "error from actor service: (201) c"),
        ("cancel", "reminder has been canceled"),
    ] {
        let expected = format!("{prefix}{reason}");
        for dapr in [&mut test.host.dapr, &mut test.other.dapr] {
            let failed = dapr.invoke_actor(invoke("T", "1", method)).await.unwrap_err();
            assert_eq!(
                (failed.code(), failed.message(), failed.details()),
                (Code::Internal, expected.as_str(), &b""[..])
            );
        }
        let path = format!("/v1.0/actors/T/1/method/{method}");
        test.host.ask("PUT", &path, "", &[]).await.says(500, "ERR_ACTOR_INVOKE_METHOD", &expected);
        let remote = format!("{prefix}rpc error: code = Internal desc = {expected}");
        test.other.ask("PUT", &path, "", &[]).await.says(500, "ERR_ACTOR_INVOKE_METHOD", &remote);
    }
    // An error that the actor marks as its own is an answer.
    let answer = test.host.dapr.invoke_actor(invoke("T", "1", "error")).await.unwrap().into_inner();
    assert_eq!(answer.data, b"{\"bad\":1}");
    let answer = test.other.ask("PUT", "/v1.0/actors/T/1/method/error", "", &[]).await;
    assert_eq!((answer.status, &answer.body), (200, &json!({"bad": 1})));
    assert_eq!(answer.headers["x-daprerrorresponseheader"], "true");
    // What does not fit into a header is cut.
    let failed = test.host.dapr.invoke_actor(invoke("T", "1", "long")).await.unwrap_err();
    assert_eq!(failed.message().len(), prefix.len() + "error from actor service: (500) ".len() + 2048);
}

#[tokio::test(start_paused = true)]
async fn without_a_host_a_call_fails_after_five_seconds() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let start = Instant::now();
    let failed = test.host.dapr.invoke_actor(invoke("Nope", "1", "m")).await.unwrap_err();
    let message =
        "failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor 'Nope/1'";
    assert_eq!((failed.code(), failed.message()), (Code::FailedPrecondition, message));
    assert_eq!(start.elapsed().as_secs(), 5);
    let failed = test.other.ask("PUT", "/v1.0/actors/Nope/1/method/m", "", &[]).await;
    failed.says(500, "ERR_ACTOR_INVOKE_METHOD", &format!("error invoke actor method: {message}"));

    // It comes while it is looked for.
    let mut dapr = test.host.dapr.clone();
    let late = tokio::spawn(async move { dapr.invoke_actor(invoke("Late", "1", "m")).await });
    sleep(Duration::from_millis(1500)).await;
    let app = App::start(json!({"entities": ["Late"]}), |_| async { ok("late") }).await;
    let _late = Side::start(&test.hub, "late", Some(app.port)).await;
    assert_eq!(late.await.unwrap().unwrap().into_inner().data, b"late");
}

#[tokio::test]
async fn no_name_leads_to_another_path() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let long = "x".repeat(1025);
    for (kind, id, method, expected) in [
        ("T", "a/b", "m", "invalid actorId: name contains forbidden character: \"a/b\"".to_owned()),
        ("T", "a\\b", "m", "invalid actorId: name contains forbidden character: \"a\\\\b\"".to_owned()),
        ("T", "..", "m", "invalid actorId: name is a path traversal sequence: \"..\"".to_owned()),
        ("T", "a\nb", "m", "invalid actorId: name contains control character at position 1: \"a\\nb\"".to_owned()),
        ("T/..", "1", "m", "invalid actorType: name contains forbidden character: \"T/..\"".to_owned()),
        ("T", "1", "a#b", "invalid actor method: method contains forbidden character: \"a#b\"".to_owned()),
        ("T", &long, "m", "invalid actorId: name is longer than 1024 bytes".to_owned()),
        (&long, "1", "m", "invalid actorType: name is longer than 1024 bytes".to_owned()),
    ] {
        let failed = test.host.dapr.invoke_actor(invoke(kind, id, method)).await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::InvalidArgument, expected.as_str()));
    }
    for (name, value, expected) in [
        ("a b", "x", "error invoke actor method: net/http: invalid header field name \"a b\""),
        ("a", "x\ny", "error invoke actor method: net/http: invalid header field value for \"A\""),
    ] {
        let request = InvokeActorRequest { metadata: map(&[(name, value)]), ..invoke("T", "1", "m") };
        let failed = test.host.dapr.invoke_actor(request).await.unwrap_err();
        assert_eq!((failed.code(), failed.message()), (Code::Internal, expected));
    }
    let bad = test.host.ask("PUT", "/v1.0/actors/T/a%2Fb/method/m", "", &[]).await;
    bad.says(400, "ERR_BAD_REQUEST", "invalid request: invalid actorId: name contains forbidden character: \"a/b\"");
    test.host.ask("PUT", "/v1.0/actors/T/1/method/m/n", "", &[]).await.fails(404, "ERR_DIRECT_INVOKE");
    test.host.ask("PATCH", "/v1.0/actors/T/1/method/m", "", &[]).await.fails(404, "ERR_DIRECT_INVOKE");
    assert!(test.app.is_quiet());

    for (id, method, path) in [
        ("ü b|c", "m", "/actors/T/%C3%BC%20b%7Cc/method/m"),
        ("1", "../../x", "/actors/T/1/method/x"),
        ("1", "", "/actors/T/1/method"),
        (&"x".repeat(1024), "m", &format!("/actors/T/{}/method/m", "x".repeat(1024))),
    ] {
        test.host.dapr.invoke_actor(invoke("T", id, method)).await.unwrap();
        assert_eq!(test.app.call().await.path, path);
    }
    // Those of daprd itself.
    let state = GetActorStateRequest { actor_type: "dapr.internal.x".into(), ..Default::default() };
    let failed = test.host.dapr.get_actor_state(state).await.unwrap_err();
    let message = "actor type \"dapr.internal.x\" is reserved for the Dapr workflow runtime; direct actor API access is not \
                   permitted";
    assert_eq!((failed.code(), failed.message()), (Code::PermissionDenied, message));
}

// ===== turns =====

#[tokio::test(start_paused = true)]
async fn an_actor_has_one_call_at_a_time_in_the_order_of_their_coming() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let start = Instant::now();
    let calls = (0..4).map(|n| {
        let mut dapr = if n % 2 == 0 { test.host.dapr.clone() } else { test.other.dapr.clone() };
        async move {
            sleep(Duration::from_millis(n)).await;
            dapr.invoke_actor(InvokeActorRequest { data: n.to_string().into(), ..invoke("T", "1", "slow") }).await
        }
    });
    let other_actor = {
        let mut dapr = test.host.dapr.clone();
        async move {
            sleep(Duration::from_millis(10)).await;
            dapr.invoke_actor(invoke("T", "2", "m")).await.unwrap();
            start.elapsed().as_secs()
        }
    };
    let (answers, other_after) = tokio::join!(join_all(calls), other_actor);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(other_after, 0, "actors do not wait for each other");
    assert_eq!(start.elapsed().as_secs(), 4, "a second each");
    let mut seen = Vec::new();
    for _ in 0..5 {
        let call = test.app.call().await;
        if call.path.contains("/1/") {
            seen.push((call.body, (call.at - start).as_secs()));
        }
    }
    assert_eq!(seen, [("0".into(), 0), ("1".into(), 1), ("2".into(), 2), ("3".into(), 3)]);
}

#[tokio::test]
async fn eight_callers_of_one_counter_lose_nothing() {
    // Reads, waits and writes: without turns, increments would be lost.
    let handle: Arc<OnceLock<Dapr>> = Arc::default();
    let own = Arc::clone(&handle);
    let app = App::start(json!({"entities": ["Counter"]}), move |_| {
        let counter = own.get().unwrap().actor("Counter", "hits");
        async move {
            let hits: u32 = counter.state("n").await.unwrap().unwrap_or_default();
            tokio::task::yield_now().await;
            counter.transaction().save("n", &(hits + 1)).await.unwrap();
            ok(&(hits + 1).to_string())
        }
    })
    .await;
    let hub = Hub::builder().actor_state_store("store").build();
    let host = Side::start(&hub, "host", Some(app.port)).await;
    let other = Side::start(&hub, "other", None).await;
    handle.set(host.handle()).unwrap();
    let callers = (0..8).map(|n| {
        let counter = if n % 2 == 0 { host.handle() } else { other.handle() }.actor("Counter", "hits");
        async move {
            let mut seen = Vec::new();
            for _ in 0..10 {
                seen.push(counter.invoke("hit").await.unwrap().json::<u32>().unwrap());
            }
            seen
        }
    });
    let seen: HashSet<u32> = join_all(callers).await.into_iter().flatten().collect();
    assert_eq!(seen, (1..=80).collect());
    assert_eq!(host.handle().actor("Counter", "hits").state::<u32>("n").await.unwrap(), Some(80));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_its_place() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let calls = ["slow", "m", "m"].map(|method| {
        let mut dapr = test.host.dapr.clone();
        tokio::spawn(async move { dapr.invoke_actor(invoke("T", "1", method)).await })
    });
    let [first, second, third] = calls;
    sleep(Duration::from_millis(100)).await;
    second.abort();
    assert!(third.await.unwrap().is_ok() && first.await.unwrap().is_ok());
    let paths = [test.app.call().await.path, test.app.call().await.path];
    assert_eq!(paths, ["/actors/T/1/method/slow", "/actors/T/1/method/m"]);
    assert!(test.app.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn a_call_may_come_back_where_that_is_allowed() {
    // `deep` calls its own actor again, as often as its body says.
    let dapr: Arc<OnceLock<DaprClient<Channel>>> = Arc::default();
    let own = Arc::clone(&dapr);
    let config = json!({
        "entities": ["R", "Once"], "reentrancy": {"enabled": true, "maxStackDepth": 3},
        "entitiesConfig": [{"entities": ["Once"]}],
    });
    let ids: Arc<OnceLock<String>> = Arc::default();
    let known = Arc::clone(&ids);
    let mut app = App::start(config, move |call| {
        let (mut dapr, known) = (own.get().unwrap().clone(), Arc::clone(&known));
        async move {
            let left: u32 = std::str::from_utf8(&call.body).unwrap().parse().unwrap();
            let kind = call.path.split('/').nth(2).unwrap().to_owned();
            let Some(id) = call.headers.get("dapr-reentrancy-id").map(|id| id.to_str().unwrap().to_owned()) else {
                return ok("no id");
            };
            assert_eq!(known.get_or_init(|| id.clone()), &id);
            if left == 0 {
                return ok("bottom");
            }
            let metadata = map(&[("Dapr-Reentrancy-Id", &id)]);
            let data = (left - 1).to_string().into();
            match dapr.invoke_actor(InvokeActorRequest { metadata, data, ..invoke(&kind, "1", "deep") }).await {
                Ok(answer) => ok(std::str::from_utf8(&answer.get_ref().data).unwrap()),
                Err(status) => ok(&format!("{:?} {}", status.code(), status.message())),
            }
        }
    })
    .await;
    let hub = Hub::builder().build();
    let mut host = Side::start(&hub, "host", Some(app.port)).await;
    dapr.set(host.dapr.clone()).unwrap();
    let deep = |kind: &str, left: u32, id: &str| InvokeActorRequest {
        data: left.to_string().into(),
        metadata: map(&[("Dapr-Reentrancy-Id", id)]),
        ..invoke(kind, "1", "deep")
    };
    let answer = host.dapr.invoke_actor(deep("R", 2, "a")).await.unwrap().into_inner();
    assert_eq!(answer.data, b"bottom");
    assert_eq!(ids.get().unwrap(), "a");
    let answer = host.dapr.invoke_actor(deep("R", 3, "a")).await.unwrap().into_inner();
    assert_eq!(answer.data, b"ResourceExhausted maximum stack depth exceeded");
    // What was too deep is forgotten.
    assert_eq!(host.dapr.invoke_actor(deep("R", 2, "a")).await.unwrap().into_inner().data, b"bottom");
    while app.seen.try_recv().is_ok() {}

    // A call without an id gets one; where it is not enabled, none.
    let fresh = InvokeActorRequest { data: b"0".into(), ..invoke("Once", "1", "deep") };
    assert_eq!(host.dapr.invoke_actor(fresh).await.unwrap().into_inner().data, b"no id");
}

#[tokio::test(start_paused = true)]
async fn the_sidecar_makes_a_reentrancy_id() {
    let mut test = Test::new(json!({"entities": ["T"], "reentrancy": {"enabled": true}})).await;
    let mut ids = HashSet::new();
    for _ in 0..2 {
        test.host.dapr.invoke_actor(invoke("T", "1", "m")).await.unwrap();
        ids.insert(test.app.call().await.headers["dapr-reentrancy-id"].clone());
    }
    assert_eq!(ids.len(), 2, "one for each call");
}

// ===== state =====

#[tokio::test(start_paused = true)]
async fn state_is_that_of_one_active_actor() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let put = |key: &str, value: &str, ttl: Option<&str>| TransactionalActorStateOperation {
        operation_type: "upsert".into(),
        key: key.into(),
        value: Some(Any { type_url: String::new(), value: value.into() }),
        metadata: ttl.map(|ttl| map(&[("ttlInSeconds", ttl)])).unwrap_or_default(),
    };
    let write = |id: &str, operations: Vec<TransactionalActorStateOperation>| ExecuteActorStateTransactionRequest {
        actor_type: "T".into(),
        actor_id: id.into(),
        operations,
    };
    let read =
        |id: &str, key: &str| GetActorStateRequest { actor_type: "T".into(), actor_id: id.into(), key: key.into() };
    let missing =
        test.host.dapr.execute_actor_state_transaction(write("1", vec![put("k", "1", None)])).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::Internal, "actor instance is missing"));
    test.host.dapr.invoke_actor(invoke("T", "1", "m")).await.unwrap();
    let operations = vec![put("k", "1", None), put("soon", "raw", Some("10")), put("a||b", "2", None)];
    test.host.dapr.execute_actor_state_transaction(write("1", operations)).await.unwrap();
    // Active at its host only, and state is that of the app.
    let missing = test.other.dapr.execute_actor_state_transaction(write("1", vec![])).await.unwrap_err();
    assert_eq!(missing.message(), "actor instance is missing");
    assert_eq!(test.other.dapr.get_actor_state(read("1", "k")).await.unwrap().into_inner().data, b"");
    assert_eq!(test.host.dapr.get_actor_state(read("2", "k")).await.unwrap().into_inner().data, b"");
    let found = test.host.dapr.get_actor_state(read("1", "soon")).await.unwrap().into_inner();
    assert_eq!(found.data, b"raw");
    assert!(found.metadata["ttlExpireTime"].ends_with('Z'));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(test.host.dapr.get_actor_state(read("1", "soon")).await.unwrap().into_inner().data, b"");
    assert_eq!(test.host.dapr.get_actor_state(read("1", "k")).await.unwrap().into_inner().data, b"1");

    // All or nothing.
    let delete =
        TransactionalActorStateOperation { operation_type: "delete".into(), key: "k".into(), ..Default::default() };
    let zap = TransactionalActorStateOperation { operation_type: "zap".into(), ..delete.clone() };
    for (operation, code, message) in [
        (put("", "1", None), Code::Internal, "error saving actor transaction state: missing key"),
        (
            put("x", "1", Some("x")),
            Code::Internal,
            "error saving actor transaction state: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (zap, Code::Unimplemented, "operation type zap not supported"),
    ] {
        let refused = test.host.dapr.execute_actor_state_transaction(write("1", vec![delete.clone(), operation])).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
    }
    assert_eq!(test.host.dapr.get_actor_state(read("1", "k")).await.unwrap().into_inner().data, b"1");
    test.host.dapr.execute_actor_state_transaction(write("1", vec![delete])).await.unwrap();
    assert_eq!(test.host.dapr.get_actor_state(read("1", "k")).await.unwrap().into_inner().data, b"");
    // A value past the size of a message is refused, one below it is taken.
    let large = |size: usize| write("1", vec![put("large", &"x".repeat(size), None)]);
    test.host.dapr.execute_actor_state_transaction(large((4 << 20) - 100)).await.unwrap();
    let refused = test.host.dapr.execute_actor_state_transaction(large(4 << 20)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn state_over_http_is_json() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let (state, path) = ("/v1.0/actors/T/1/state", |key: &str| format!("/v1.0/actors/T/1/state/{key}"));
    let host = &mut test.host;
    let missing = host.ask("POST", state, r#"[{"operation":"delete","request":{"key":"a"}}]"#, &[]).await;
    missing.says(400, "ERR_ACTOR_INSTANCE_MISSING", "actor instance is missing");
    host.ask("PUT", "/v1.0/actors/T/1/method/m", "", &[]).await;
    let write = json!([
        {"operation": "upsert", "request": {"key": "h", "value": {"a": [1, 2.5, null]}, "metadata": {"ttlInSeconds": "50"}}},
        {"operation": "upsert", "request": {"key": "n"}},
        {"operation": "delete", "request": {"key": "none"}},
    ]);
    host.ask("POST", state, &write.to_string(), &[]).await.is(204, &Value::Null);
    let found = host.ask("GET", &path("h"), "", &[]).await;
    assert!(found.headers.contains_key("metadata.ttlexpiretime"));
    found.is(200, &json!({"a": [1, 2.5, null]}));
    host.ask("GET", &path("n"), "", &[]).await.is(200, &Value::Null);
    host.ask("GET", &path("none"), "", &[]).await.is(204, &Value::Null);
    for (body, status, code, message) in [
        ("[", 400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: unexpected EOF"),
        (
            "[{}]",
            500,
            "ERR_ACTOR_STATE_TRANSACTION_SAVE",
            "error saving actor transaction state: request data is empty",
        ),
        (
            r#"[{"operation":"zap","request":{"key":"a"}}]"#,
            500,
            "ERR_ACTOR_STATE_TRANSACTION_SAVE",
            "error saving actor transaction state: operation type zap not supported",
        ),
        (
            r#"[{"operation":"upsert","request":{"value":1}}]"#,
            500,
            "ERR_ACTOR_STATE_TRANSACTION_SAVE",
            "error saving actor transaction state: missing key",
        ),
    ] {
        host.ask("POST", state, body, &[]).await.says(status, code, message);
    }
    let stale = r#"[{"operation":"upsert","request":{"key":"h","value":1,"etag":"5"}}]"#;
    let refused = host.ask("POST", state, stale, &[]).await;
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("state etag not match for key=host||T||1||h: current="), "{message}");
}

#[tokio::test]
async fn without_a_store_for_them_actors_have_no_state_but_calls() {
    let app = App::start(json!({"entities": ["T"]}), |_| async { ok("1") }).await;
    let hub = Hub::builder().state_store("store").build();
    let mut host = Side::start(&hub, "host", Some(app.port)).await;
    assert!(host.dapr.invoke_actor(invoke("T", "1", "m")).await.is_ok());
    host.ask("GET", "/v1.0/actors/T/1/state/k", "", &[]).await.fails(500, "ERR_ACTOR_RUNTIME_NOT_FOUND");

    // A resource marks one, and not two.
    let directory = tempfile::tempdir().unwrap();
    let component = |name: &str| {
        let text = format!(
            "kind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: state.in-memory\n  metadata: [{{name: \
             actorStateStore, value: \"true\"}}]\n"
        );
        std::fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
    };
    component("one");
    let hub = Hub::builder().resources(directory.path(), true).unwrap().build();
    let host = Side::start(&hub, "host", Some(app.port)).await;
    host.ask("GET", "/v1.0/actors/T/1/state/k", "", &[]).await.is(204, &Value::Null);
    let components = host.ask("GET", "/v1.0/metadata", "", &[]).await.body["components"].clone();
    assert_eq!(components[0]["capabilities"][5], "ACTOR");
    component("two");
    let error = Hub::builder().resources(directory.path(), true).unwrap_err().to_string();
    assert_eq!(error, "component \"two\": there is another actor state store, \"one\"");
}

// ===== timers =====

#[tokio::test(start_paused = true)]
async fn a_timer_calls_when_due_and_as_often_as_it_says() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let actor = test.host.handle().actor("T", "1");
    let start = Instant::now();
    let timer = actor.register_timer("t").due("500ms").period("R3/PT10S").callback("cb").json(&json!({"d": 1}));
    timer.await.unwrap();
    for millis in [500, 10_500, 20_500] {
        let call = test.app.call().await;
        assert_eq!(((call.at - start).as_millis(), call.path.as_str()), (millis, "/actors/T/1/method/timer/t"));
        let body = r#"{"data":"eyJkIjoxfQ==","callback":"cb","dueTime":"500ms","period":"R3/PT10S"}"#;
        assert_eq!((&call.method, &call.body[..]), (&Method::PUT, body.as_bytes()));
        assert_eq!((call.header("content-type"), call.header("dapr-api-call")), (Some("application/json"), None));
    }
    // Over HTTP data is JSON; without a period it comes once, without a due time at once.
    let body = r#"{"data":{"x": 1},"callback":"c2"}"#;
    test.host.ask("POST", "/v1.0/actors/T/1/timers/h", body, &[]).await.is(204, &Value::Null);
    let call = test.app.call().await;
    assert_eq!(&call.body[..], br#"{"data":{"x": 1},"callback":"c2","dueTime":"","period":""}"#);
    // Until its end.
    actor.register_timer("end").period(Duration::from_secs(1)).ttl("2500ms").await.unwrap();
    for _ in 0..3 {
        assert_eq!(test.app.call().await.path, "/actors/T/1/method/timer/end");
    }
    sleep(Duration::from_secs(60)).await;
    assert!(test.app.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn a_timer_ends_when_it_is_replaced_stopped_or_cancelled() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let actor = test.host.handle().actor("T", "1");
    let start = Instant::now();
    actor.register_timer("t").due("1s").await.unwrap();
    actor.register_timer("t").due("2s").period("1s").await.unwrap();
    assert_eq!((test.app.call().await.at - start).as_secs(), 2, "replaced");
    assert_eq!((test.app.call().await.at - start).as_secs(), 3);
    actor.unregister_timer("t").await.unwrap();
    actor.unregister_timer("t").await.unwrap();
    // The app answers `X-DaprReminderCancel: true`.
    actor.register_timer("cancel").period("1s").await.unwrap();
    assert_eq!(test.app.call().await.path, "/actors/T/1/method/timer/cancel");
    // A failure is over: the timer goes on.
    actor.register_timer("fail").period("1s").await.unwrap();
    for _ in 0..2 {
        assert_eq!(test.app.call().await.path, "/actors/T/1/method/timer/fail");
    }
    test.host.ask("DELETE", "/v1.0/actors/T/1/timers/fail", "", &[]).await.is(204, &Value::Null);
    sleep(Duration::from_secs(60)).await;
    assert!(test.app.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn timers_and_reminders_wait_for_their_turn_and_may_stop_themselves() {
    let handle: Arc<OnceLock<Dapr>> = Arc::default();
    let own = Arc::clone(&handle);
    let ended = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ended);
    let mut app = App::start(json!({"entities": ["T"]}), move |call| {
        let (actor, count) = (own.get().unwrap().actor("T", "1"), Arc::clone(&count));
        async move {
            if call.path.ends_with("timer/t") {
                actor.unregister_timer("t").await.unwrap();
            }
            if call.path.ends_with("remind/r") {
                actor.unregister_reminder("r").await.unwrap();
            }
            sleep(Duration::from_secs(5)).await;
            // Not reached by a call that was cut.
            count.fetch_add(1, Ordering::SeqCst);
            ok("")
        }
    })
    .await;
    let hub = Hub::builder().build();
    let host = Side::start(&hub, "host", Some(app.port)).await;
    handle.set(host.handle()).unwrap();
    let actor = host.handle().actor("T", "1");
    let start = Instant::now();
    actor.register_timer("t").due("1s").period("1s").await.unwrap();
    actor.register_reminder("r").due("2s").period("1s").await.unwrap();
    actor.register_timer("stopped").due("3s").await.unwrap();
    actor.register_reminder("deleted").due("4s").await.unwrap();
    sleep(Duration::from_millis(4500)).await;
    actor.unregister_timer("stopped").await.unwrap();
    actor.unregister_reminder("deleted").await.unwrap();
    for (seconds, path) in [(1, "/actors/T/1/method/timer/t"), (6, "/actors/T/1/method/remind/r")] {
        let call = app.call().await;
        assert_eq!(((call.at - start).as_secs(), call.path.as_str()), (seconds, path));
    }
    sleep(Duration::from_secs(60)).await;
    assert!(app.is_quiet(), "what waited was stopped");
    assert_eq!(ended.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn bad_timers_are_refused() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let timer = |name: &str| RegisterActorTimerRequest {
        actor_type: "T".into(),
        actor_id: "1".into(),
        name: name.into(),
        ..Default::default()
    };
    for (request, code, message) in [
        (
            RegisterActorTimerRequest { due_time: "soon".into(), ..timer("e") },
            Code::Internal,
            "error creating actor timer: error parsing timer due time: unsupported time/duration format: soon",
        ),
        (
            RegisterActorTimerRequest { period: "x".into(), ..timer("e") },
            Code::Internal,
            "error creating actor timer: invalid timer period: parse error: unsupported duration format: x",
        ),
        (
            RegisterActorTimerRequest { period: "R0/PT1S".into(), ..timer("e") },
            Code::Internal,
            "error creating actor timer: invalid timer period: has zero repetitions",
        ),
        (
            RegisterActorTimerRequest { ttl: "x".into(), ..timer("e") },
            Code::Internal,
            "error creating actor timer: error parsing timer TTL: unsupported time/duration format: x",
        ),
        (
            RegisterActorTimerRequest {
                due_time: "2001-01-01T00:00:01Z".into(),
                ttl: "2001-01-01T00:00:00Z".into(),
                ..timer("e")
            },
            Code::Internal,
            "error creating actor timer: timer T||1||e has already expired: dueTime: 2001-01-01T00:00:01Z TTL: \
             2001-01-01T00:00:00Z",
        ),
        (timer("a/b"), Code::InvalidArgument, "invalid request: name contains forbidden character: \"a/b\""),
        (
            RegisterActorTimerRequest { actor_id: "..".into(), ..timer("e") },
            Code::InvalidArgument,
            "invalid request: invalid actorId: name is a path traversal sequence: \"..\"",
        ),
        (timer(&"x".repeat(1025)), Code::InvalidArgument, "invalid request: name is longer than 1024 bytes"),
        (
            RegisterActorTimerRequest { actor_type: "Nope".into(), ..timer("e") },
            Code::Internal,
            "error creating actor timer: can't create timer for actor Nope||1: actor type not registered",
        ),
    ] {
        let refused = test.host.dapr.register_actor_timer(request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
    }
    let bad = test.host.ask("POST", "/v1.0/actors/T/1/timers/e", "{\"dueTime\":5}", &[]).await;
    bad.fails(400, "ERR_MALFORMED_REQUEST");
    let nowhere = test.other.ask("POST", "/v1.0/actors/T/1/timers/e", "{}", &[]).await;
    nowhere.fails(500, "ERR_ACTOR_TIMER_CREATE");
}

// ===== reminders =====

#[tokio::test(start_paused = true)]
async fn a_reminder_calls_when_due_and_is_told_as_it_is() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let actor = test.host.handle().actor("T", "1");
    let start = Instant::now();
    actor.register_reminder("r").due("500ms").period("R2/PT10M").ttl("2552-01-01T00:00:00Z").json("tea").await.unwrap();
    let found = actor.reminder("r").await.unwrap().unwrap();
    assert_eq!(
        (found.due(), found.period(), found.ttl()),
        (Some("500ms"), Some("@every 10m0s"), Some("2552-01-01T00:00:00Z"))
    );
    assert_eq!(found.json::<String>().unwrap(), "tea");
    assert_eq!(actor.reminders().await.unwrap().len(), 1);
    let http = test.host.ask("GET", "/v1.0/actors/T/1/reminders/r", "", &[]).await;
    http.is(
        200,
        &json!({
            "actorID": "1", "actorType": "T", "data": "InRlYSI=", "dueTime": "500ms", "period": "@every 10m0s",
            "ttl": "2552-01-01T00:00:00Z",
        }),
    );
    for millis in [500, 600_500] {
        let call = test.app.call().await;
        assert_eq!(((call.at - start).as_millis(), call.path.as_str()), (millis, "/actors/T/1/method/remind/r"));
        assert_eq!(
            (&call.method, &call.body[..]),
            (&Method::PUT, &br#"{"data":"InRlYSI=","dueTime":"","period":""}"#[..])
        );
    }
    sleep(Duration::from_millis(1)).await;
    assert!(actor.reminder("r").await.unwrap().is_none(), "its last run was its end");
    // With a period alone the first run is one period away.
    let start = Instant::now();
    let body = r#"{"period":"2s","data":{"a":1}}"#;
    test.host.ask("PUT", "/v1.0/actors/T/1/reminders/h", body, &[]).await.is(204, &Value::Null);
    let call = test.app.call().await;
    assert_eq!(
        ((call.at - start).as_secs(), &call.body[..]),
        (2, &br#"{"data":{"a":1},"dueTime":"","period":""}"#[..])
    );
    test.host.ask("DELETE", "/v1.0/actors/T/1/reminders/h", "", &[]).await.is(204, &Value::Null);
    // One that expires before its first run is over at once.
    actor.register_reminder("late").period("1h").ttl("30m").await.unwrap();
    sleep(Duration::from_secs(7200)).await;
    assert!(actor.reminder("late").await.unwrap().is_none());
    assert!(test.app.drain().iter().all(|call| call.method == Method::DELETE), "it became idle");
}

#[tokio::test(start_paused = true)]
async fn a_failed_reminder_is_tried_again_and_a_cancelled_one_is_gone() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let actor = test.host.handle().actor("T", "1");
    for name in ["fail", "nope"] {
        actor.register_reminder(name).due("1s").await.unwrap();
        let first = test.app.call().await;
        for retry in 1..=3 {
            assert_eq!((test.app.call().await.at - first.at).as_secs(), retry, "{name}");
        }
        sleep(Duration::from_secs(60)).await;
        assert!(test.app.is_quiet());
        assert!(actor.reminder(name).await.unwrap().is_none());
    }
    actor.register_reminder("cancel").due("0s").period("1s").await.unwrap();
    assert_eq!(test.app.call().await.path, "/actors/T/1/method/remind/cancel");
    sleep(Duration::from_secs(60)).await;
    assert!(test.app.is_quiet());
    assert!(actor.reminder("cancel").await.unwrap().is_none());
}

#[tokio::test]
async fn reminders_are_replaced_listed_and_forgotten() {
    let mut test = Test::new(json!({"entities": ["T", "Other"]})).await;
    let handle = test.host.handle();
    let (one, two, other) = (handle.actor("T", "1"), handle.actor("T", "2"), handle.actor("Other", "1"));
    for actor in [&one, &two, &other] {
        actor.register_reminder("r").due("1h").await.unwrap();
    }
    let refused = one.register_reminder("r").due("2h").overwrite(false).await.unwrap_err();
    assert!(refused.is_already_exists());
    let again =
        test.host.ask("POST", "/v1.0/actors/T/1/reminders/r", r#"{"dueTime":"2h","overwrite":false}"#, &[]).await;
    again.says(409, "ERR_ACTOR_REMINDER_ALREADY_EXISTS", "actor reminder already exists: r");
    one.register_reminder("r").due("2h").await.unwrap();
    assert_eq!(one.reminder("r").await.unwrap().unwrap().due(), Some("2h"));
    let list = |actor_id: Option<&str>| ListActorRemindersRequest {
        actor_type: "T".into(),
        actor_id: actor_id.map(Into::into),
    };
    let dapr = &mut test.host.dapr;
    assert_eq!(dapr.list_actor_reminders(list(None)).await.unwrap().into_inner().reminders.len(), 2);
    assert_eq!(dapr.list_actor_reminders(list(Some("2"))).await.unwrap().into_inner().reminders.len(), 1);
    assert_eq!(dapr.list_actor_reminders(list(Some("3"))).await.unwrap().into_inner().reminders.len(), 0);
    let by_type = |actor_id: Option<&str>| UnregisterActorRemindersByTypeRequest {
        actor_type: "T".into(),
        actor_id: actor_id.map(Into::into),
    };
    dapr.unregister_actor_reminders_by_type(by_type(Some("2"))).await.unwrap();
    assert_eq!(dapr.list_actor_reminders(list(None)).await.unwrap().into_inner().reminders.len(), 1);
    dapr.unregister_actor_reminders_by_type(by_type(None)).await.unwrap();
    assert_eq!(dapr.list_actor_reminders(list(None)).await.unwrap().into_inner().reminders.len(), 0);
    assert!(other.reminder("r").await.unwrap().is_some());
    one.unregister_reminder("r").await.unwrap();
    let missing = test.host.ask("GET", "/v1.0/actors/T/1/reminders/r", "", &[]).await;
    missing.says(404, "ERR_ACTOR_REMINDER_NOT_FOUND", "actor reminder not found: r");
}

#[tokio::test]
async fn bad_reminders_are_refused() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    let reminder = |name: &str, due: &str| RegisterActorReminderRequest {
        actor_type: "T".into(),
        actor_id: "1".into(),
        name: name.into(),
        due_time: due.into(),
        ..Default::default()
    };
    let failed = "error creating actor reminder: ";
    let invalid = "error creating actor reminder: rpc error: code = Unknown desc = job failed validation: ";
    let unknown = "error creating actor reminder: rpc error: code = Unknown desc = job name is invalid ";
    let long = "x".repeat(513 - "actorreminder||default||T||1||".len());
    for (request, code, message) in [
        (reminder("e", "soon"), Code::Internal, format!("{invalid}due time format not recognized")),
        (reminder("e", ""), Code::Internal, format!("{invalid}job must have either a due time or a schedule")),
        (
            RegisterActorReminderRequest { ttl: "5s".into(), ..reminder("e", "5s") },
            Code::Internal,
            format!("{invalid}job must have a schedule to have a ttl"),
        ),
        (
            RegisterActorReminderRequest { period: "1s".into(), ttl: "x".into(), ..reminder("e", "5s") },
            Code::Internal,
            format!("{invalid}ttl format not recognized"),
        ),
        (
            RegisterActorReminderRequest {
                period: "1s".into(),
                ttl: "2001-01-01T00:00:00Z".into(),
                ..reminder("e", "5s")
            },
            Code::Internal,
            format!("{invalid}ttl must be greater than due time"),
        ),
        (
            RegisterActorReminderRequest { period: "P1D".into(), ..reminder("e", "5s") },
            Code::Internal,
            format!("{failed}unsupported period format: P1D"),
        ),
        (
            RegisterActorReminderRequest { period: "0s".into(), ..reminder("e", "5s") },
            Code::Internal,
            format!("{failed}unsupported period format: 0s: it would never end"),
        ),
        (
            reminder("a\u{85}", "5s"),
            Code::Internal,
            format!("{unknown}\"actorreminder||default||T||1||a\\u0085\": must not contain control characters"),
        ),
        (
            reminder(&long, "5s"),
            Code::Internal,
            format!("{unknown}\"actorreminder||default||T||1||{long}\": must be at most 512 characters"),
        ),
        (reminder("", "5s"), Code::InvalidArgument, "invalid request: reminder name cannot be empty".to_owned()),
        (
            reminder("..", "5s"),
            Code::InvalidArgument,
            "invalid request: name is a path traversal sequence: \"..\"".to_owned(),
        ),
        (
            RegisterActorReminderRequest { actor_id: "a/b".into(), ..reminder("e", "5s") },
            Code::InvalidArgument,
            "invalid request: invalid actorId: name contains forbidden character: \"a/b\"".to_owned(),
        ),
    ] {
        let refused = test.host.dapr.register_actor_reminder(request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message.as_str()));
    }
    // Reminders are the business of the host.
    let message = "operations on actor reminders are only possible on hosted actor types";
    let refused = test.other.dapr.register_actor_reminder(reminder("e", "5s")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, message));
    for (method, body) in [("POST", "{}"), ("GET", ""), ("DELETE", "")] {
        let refused = test.other.ask(method, "/v1.0/actors/T/1/reminders/e", body, &[]).await;
        refused.says(403, "ERR_ACTOR_REMINDER_NON_HOSTED", message);
    }
    let bad = test.host.ask("POST", "/v1.0/actors/T/1/reminders/e", "{", &[]).await;
    bad.says(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: unexpected EOF");
}

// ===== deactivation, moves and the end =====

#[tokio::test(start_paused = true)]
async fn an_idle_actor_is_deactivated_with_its_timers_but_not_its_reminders() {
    let config =
        json!({"entities": ["T", "Long"], "actorIdleTimeout": "60s", "entitiesConfig": [{"entities": ["Long"]}]});
    let mut test = Test::new(config).await;
    let actor = test.host.handle().actor("T", "1");
    let start = Instant::now();
    actor.invoke("m").await.unwrap();
    test.host.handle().actor("Long", "1").invoke("m").await.unwrap();
    sleep(Duration::from_secs(30)).await;
    actor.invoke("m").await.unwrap();
    actor.register_timer("t").due("80s").await.unwrap();
    actor.register_reminder("r").due("100s").await.unwrap();
    for _ in 0..3 {
        test.app.call().await;
    }
    let gone = test.app.call().await;
    assert_eq!((&gone.method, gone.path.as_str(), (gone.at - start).as_secs()), (&Method::DELETE, "/actors/T/1", 90));
    assert_eq!(gone.headers["content-type"], "application/x-protobuf");
    let count = |metadata: &GetMetadataResponse| {
        let counts = metadata.actor_runtime.as_ref().unwrap().active_actors.iter();
        counts.map(|one| (one.r#type.clone(), one.count)).collect::<HashMap<_, _>>()
    };
    sleep(Duration::from_secs(1)).await;
    let metadata = test.host.dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(count(&metadata), HashMap::from([("T".to_owned(), 0), ("Long".to_owned(), 1)]));
    // The reminder wakes it again, and it becomes idle again. The timer would have come before.
    let call = test.app.call().await;
    assert_eq!((call.path.as_str(), (call.at - start).as_secs()), ("/actors/T/1/method/remind/r", 130));
    let gone = test.app.call().await;
    assert_eq!((&gone.method, (gone.at - start).as_secs()), (&Method::DELETE, 190));
}

#[tokio::test(start_paused = true)]
async fn no_call_overlaps_a_deactivation() {
    // A call that takes longer than the idle time, and a deactivation that takes its time.
    let mut app = App::start(json!({"entities": ["T"], "actorIdleTimeout": "1s"}), |call| async move {
        sleep(Duration::from_secs(3)).await;
        ok(if call.method == Method::DELETE { "" } else { "done" })
    })
    .await;
    let hub = Hub::builder().build();
    let mut host = Side::start(&hub, "host", Some(app.port)).await;
    let start = Instant::now();
    assert_eq!(host.dapr.invoke_actor(invoke("T", "1", "m")).await.unwrap().into_inner().data, b"done");
    sleep(Duration::from_secs(1)).await;
    // The deactivation has begun at 3 s, and is over at 6 s.
    assert_eq!(host.dapr.invoke_actor(invoke("T", "1", "m")).await.unwrap().into_inner().data, b"done");
    for (method, seconds) in [(Method::PUT, 0), (Method::DELETE, 3), (Method::PUT, 6)] {
        let call = app.call().await;
        assert_eq!((call.method, (call.at - start).as_secs()), (method, seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn apps_of_one_type_share_its_actors() {
    let config = json!({"entities": ["T"]});
    let hub = Hub::builder().actor_state_store("store").build();
    let mut first = App::start(config.clone(), |_| async { ok("first") }).await;
    let mut one = Side::start(&hub, "first", Some(first.port)).await;
    let ids: Vec<_> = (0..40).map(|n| format!("id-{n}")).collect();
    for id in &ids {
        assert_eq!(one.dapr.invoke_actor(invoke("T", id, "m")).await.unwrap().into_inner().data, b"first");
    }
    one.handle().actor("T", "id-0").register_reminder("r").due("1h").period("1h").await.unwrap();
    first.drain();

    // Another host takes its share: those actors are deactivated where they were.
    let mut second = App::start(config, |_| async { ok("second") }).await;
    let two = Side::start(&hub, "second", Some(second.port)).await;
    sleep(Duration::from_secs(1)).await;
    let moved: HashSet<_> = first.drain().into_iter().map(|call| (call.method, call.path)).collect();
    let mut hosts = HashMap::new();
    for id in &ids {
        let from = |side: &Side| {
            let mut dapr = side.dapr.clone();
            let request = invoke("T", id, "m");
            async move { String::from_utf8(dapr.invoke_actor(request).await.unwrap().into_inner().data).unwrap() }
        };
        let host = from(&one).await;
        assert_eq!(from(&two).await, host, "the same for all callers");
        assert_eq!(moved.contains(&(Method::DELETE, format!("/actors/T/{id}"))), host == "second", "{id}");
        *hosts.entry(host).or_insert(0) += 1;
    }
    assert!(hosts["first"] > 5 && hosts["second"] > 5, "{hosts:?}");
    first.drain();
    second.drain();

    // It leaves again: its actors are told, and the other app has them all. Reminders go with their actor.
    two.sidecar.stop().await;
    assert_eq!(second.drain().iter().filter(|call| call.method == Method::DELETE).count(), hosts["second"]);
    for id in &ids {
        assert_eq!(one.dapr.invoke_actor(invoke("T", id, "m")).await.unwrap().into_inner().data, b"first");
    }
    first.drain();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(first.drain().iter().filter(|call| call.path.ends_with("remind/r")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_moves_has_one_call_at_a_time() {
    // Another host comes, or the first one leaves.
    for comes in [true, false] {
        let config = json!({"entities": ["T"]});
        let hub = Hub::builder().build();
        let mut first = App::start(config.clone(), |call| async move {
            if call.method == Method::PUT {
                sleep(Duration::from_secs(1)).await;
            }
            ok("first")
        })
        .await;
        let mut second = App::start(config, |_| async { ok("second") }).await;
        let one = Side::start(&hub, "first", Some(first.port)).await;
        let caller = Side::start(&hub, "caller", None).await;
        let invoke_all = || {
            join_all((0..20).map(|n| {
                let mut dapr = caller.dapr.clone();
                async move { dapr.invoke_actor(invoke("T", &n.to_string(), "m")).await.unwrap().into_inner().data }
            }))
        };
        let two = if comes { None } else { Some(Side::start(&hub, "second", Some(second.port)).await) };
        let slow = tokio::spawn(invoke_all());
        sleep(Duration::from_millis(100)).await;
        let ends: HashMap<_, _> =
            first.drain().into_iter().map(|call| (call.path, call.at + Duration::from_secs(1))).collect();
        second.drain();
        let (two, stop) = match two {
            None => (Side::start(&hub, "second", Some(second.port)).await, None),
            Some(two) => (two, Some(tokio::spawn(one.sidecar.stop()))),
        };
        tokio::task::yield_now().await;
        let answers = invoke_all().await;
        assert!(answers.iter().any(|answer| answer == b"second"), "some have moved");
        for call in second.drain() {
            if let Some(end) = ends.get(&call.path) {
                assert!(call.at >= *end, "{} began {:?} too soon", call.path, *end - call.at);
            }
        }
        slow.await.unwrap();
        if let Some(stop) = stop {
            stop.await.unwrap();
        }
        two.sidecar.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_for_an_actor_whose_sidecar_is_gone() {
    let config = json!({"entities": ["T"], "drainOngoingCallTimeout": "24h"});
    let hub = Hub::builder().build();
    let mut first = App::start(config.clone(), |_| std::future::pending()).await;
    let second = App::start(config, |_| async { ok("second") }).await;
    let one = Side::start(&hub, "first", Some(first.port)).await;
    let caller = Side::start(&hub, "caller", None).await;
    let invoke_all =
        || {
            join_all((0..20).map(|n| {
                let mut dapr = caller.dapr.clone();
                async move {
                    dapr.invoke_actor(invoke("T", &n.to_string(), "m")).await.map(|answer| answer.into_inner().data)
                }
            }))
        };
    let stuck = tokio::spawn(invoke_all());
    for _ in 0..20 {
        first.call().await;
    }
    let _two = Side::start(&hub, "second", Some(second.port)).await;
    let waiting = tokio::spawn(invoke_all());
    sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    drop(one.sidecar);
    let answers = tokio::time::timeout(Duration::from_secs(3600), waiting).await.unwrap().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer == b"second")), "{answers:?}");
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stopping_sidecar_keeps_its_id_and_its_jobs() {
    let Test { hub, mut app, mut host, other } = Test::new(json!({"entities": ["T"]})).await;
    let mut dapr = other.dapr.clone();
    let slow = tokio::spawn(async move { dapr.invoke_actor(invoke("T", "1", "slow")).await });
    app.call().await;
    let job = Job { name: "j".into(), due_time: Some("500ms".into()), ..Job::default() };
    host.dapr.schedule_job(ScheduleJobRequest { job: Some(job), overwrite: false }).await.unwrap();
    let stop = tokio::spawn(host.sidecar.stop());
    tokio::task::yield_now().await;
    assert!(hub.app("host").app_port(app.port).start().await.unwrap_err().is_app_id_in_use());
    stop.await.unwrap();
    assert!(slow.await.unwrap().is_ok());
    let _again = Side::start(&hub, "host", Some(app.port)).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(app.drain().iter().filter(|call| call.path == "/job/j").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_sidecar_gives_calls_their_time_and_deactivates() {
    for (config, seconds, is_done) in [
        (json!({"entities": ["T"]}), 1, true),
        (json!({"entities": ["T"], "drainOngoingCallTimeout": "500ms"}), 0, false),
        (json!({"entities": ["T"], "drainRebalancedActors": false}), 0, false),
    ] {
        let mut test = Test::new(config).await;
        let mut dapr = test.other.dapr.clone();
        let call = tokio::spawn(async move { dapr.invoke_actor(invoke("T", "1", "slow")).await });
        sleep(Duration::from_millis(100)).await;
        test.host.dapr.invoke_actor(invoke("T", "2", "m")).await.unwrap();
        let start = Instant::now();
        test.host.sidecar.stop().await;
        assert_eq!((start.elapsed() + Duration::from_millis(200)).as_secs(), seconds);
        let answer = call.await.unwrap();
        assert_eq!(answer.is_ok(), is_done, "{answer:?}");
        if let Err(status) = answer {
            let message = "error invoke actor method: actor is closed, cannot handle slow";
            assert_eq!((status.code(), status.message()), (Code::Internal, message));
        }
        let calls = test.app.drain();
        let gone: HashSet<_> =
            calls.iter().filter(|call| call.method == Method::DELETE).map(|call| &call.path[..]).collect();
        assert_eq!(gone, HashSet::from(["/actors/T/1", "/actors/T/2"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_shuts_down_deactivates_and_a_reminder_waits_for_a_host() {
    let mut test = Test::new(json!({"entities": ["T"]})).await;
    test.host.handle().actor("T", "1").register_reminder("r").due("10s").await.unwrap();
    test.host.sidecar.stop().await;
    sleep(Duration::from_secs(60)).await;
    assert!(test.app.is_quiet());
    // Late, but not lost.
    let host = Side::start(&test.hub, "host", Some(test.app.port)).await;
    assert_eq!(test.app.call().await.path, "/actors/T/1/method/remind/r");
    test.hub.shutdown().await;
    let gone = test.app.call().await;
    assert_eq!((&gone.method, gone.path.as_str()), (&Method::DELETE, "/actors/T/1"));
    drop(host);
}

// ===== what is told, and what is not taken =====

#[tokio::test]
async fn metadata_tells_which_actors_are_active() {
    let mut test = Test::new(json!({"entities": ["T", "Idle"]})).await;
    test.host.dapr.invoke_actor(invoke("T", "1", "m")).await.unwrap();
    test.host.dapr.invoke_actor(invoke("T", "2", "m")).await.unwrap();
    let metadata = test.host.ask("GET", "/v1.0/metadata", "", &[]).await.body;
    let counts = json!([{"type": "Idle"}, {"type": "T", "count": 2}]);
    let runtime = json!({"runtimeStatus": "RUNNING", "hostReady": true, "placement": "placement: connected", "activeActors": counts});
    assert_eq!((&metadata["actorRuntime"], &metadata["actors"]), (&runtime, &counts));
    let runtime =
        test.other.dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner().actor_runtime.unwrap();
    assert_eq!((runtime.runtime_status(), runtime.active_actors.len()), (ActorRuntimeStatus::Running, 0));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_hosts_nothing() {
    for config in [json!({"entities": ["T"], "actorIdleTimeout": "soon"}), json!(["T"]), json!({"entities": "T"})] {
        let app = App::start(config, |_| async { ok("") }).await;
        let hub = Hub::builder().build();
        let host = Side::start(&hub, "host", Some(app.port)).await;
        let metadata = host.ask("GET", "/v1.0/metadata", "", &[]).await.body;
        assert_eq!(metadata["actorRuntime"].get("activeActors"), None);
        assert_eq!(metadata["actorRuntime"]["runtimeStatus"], "RUNNING");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_until_the_app_was_asked() {
    // Nobody listens there, and nobody else is given the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let hub = Hub::builder().build();
    let sidecar = hub.app("host").app_port(port).start().await.unwrap();
    let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    let metadata = dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(metadata.actor_runtime.unwrap().runtime_status(), ActorRuntimeStatus::Initializing);
    let call = tokio::spawn(async move { dapr.invoke_actor(invoke("T", "1", "m")).await });
    sleep(Duration::from_secs(60)).await;
    assert!(!call.is_finished());
    let app = App::start_at(port, json!({"entities": ["T"]}), |_| async { ok("here") }).await;
    assert_eq!(call.await.unwrap().unwrap().into_inner().data, b"here");
    drop(app);
}

#[tokio::test]
async fn the_apps_own_configuration_hosts_actors() {
    let routes =
        Subscriptions::<()>::new().app_config(AppConfig::new().entity("Cart").reentrancy(4)).into_router().unwrap();
    let routes = routes.route(
        "/actors/Cart/{id}/method/add",
        put(async |path: axum::extract::Path<String>, headers: HeaderMap| {
            format!("{} {}", path.0, headers.contains_key("dapr-reentrancy-id"))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let hub = Hub::builder().build();
    let host = Side::start(&hub, "host", Some(port)).await;
    assert_eq!(host.handle().actor("Cart", "alice").invoke("add").await.unwrap().bytes(), b"alice true");
}

#[tokio::test]
async fn only_so_many_calls_wait_for_an_actor() {
    let (sender, gate) = tokio::sync::watch::channel(false);
    let app = App::start(json!({"entities": ["T"]}), move |_| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            ok("")
        }
    })
    .await;
    let hub = Hub::builder().build();
    let host = Side::start(&hub, "host", Some(app.port)).await;
    // A connection has 200 calls at a time.
    let connect = || DaprClient::connect(host.sidecar.grpc_endpoint());
    let connections = join_all((0..8).map(|_| connect())).await;
    let calls: Vec<_> = (0..1030)
        .map(|n| {
            let mut dapr = connections[n % 8].as_ref().unwrap().clone();
            tokio::spawn(async move { dapr.invoke_actor(invoke("T", "1", "m")).await })
        })
        .collect();
    // One has its turn, 1,024 wait, and five are refused before any has ended.
    while calls.iter().filter(|call| call.is_finished()).count() < 5 {
        tokio::task::yield_now().await;
    }
    sender.send_replace(true);
    let mut refused = 0;
    for call in calls {
        if let Err(status) = call.await.unwrap() {
            let message = "1024 calls wait for this actor already";
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, message));
            refused += 1;
        }
    }
    assert_eq!(refused, 5);
}

#[tokio::test]
async fn there_are_only_so_many_actors_timers_and_reminders() {
    let app = App::start(json!({"entities": ["T"]}), |_| async { ok("") }).await;
    let hub = Hub::builder().build();
    let host = Side::start(&hub, "host", Some(app.port)).await;
    let last = refused_in(10_001, 50, |n| {
        let mut dapr = host.dapr.clone();
        async move { dapr.invoke_actor(invoke("T", &n.to_string(), "m")).await.map(drop) }
    })
    .await;
    assert_eq!((last.code(), last.message()), (Code::ResourceExhausted, "the app has 10000 active actors already"));
    // Those that are active are not refused.
    assert!(host.dapr.clone().invoke_actor(invoke("T", "1", "m")).await.is_ok());

    let timer = |name: usize| RegisterActorTimerRequest {
        actor_type: "T".into(),
        actor_id: "1".into(),
        name: name.to_string(),
        due_time: "1h".into(),
        ..Default::default()
    };
    let last = refused_in(4097, 50, |n| {
        let mut dapr = host.dapr.clone();
        async move { dapr.register_actor_timer(timer(n)).await.map(drop) }
    })
    .await;
    let message = "error creating actor timer: the app has 4096 timers already";
    assert_eq!((last.code(), last.message()), (Code::Internal, message));
    assert!(host.dapr.clone().register_actor_timer(timer(0)).await.is_ok(), "replaced");

    let reminder = |name: usize| RegisterActorReminderRequest {
        actor_type: "T".into(),
        actor_id: "1".into(),
        name: name.to_string(),
        due_time: "1h".into(),
        ..Default::default()
    };
    let last = refused_in(4097, 50, |n| {
        let mut dapr = host.dapr.clone();
        async move { dapr.register_actor_reminder(reminder(n)).await.map(drop) }
    })
    .await;
    let message = "error creating actor reminder: there are 4096 reminders already";
    assert_eq!((last.code(), last.message()), (Code::Internal, message));
    assert!(host.dapr.clone().register_actor_reminder(reminder(0)).await.is_ok(), "replaced");
}

// ===== helpers =====

/// The one refusal of this many calls.
async fn refused_in<F>(calls: usize, concurrent: usize, call: impl Fn(usize) -> F) -> tonic::Status
where
    F: Future<Output = Result<(), tonic::Status>>,
{
    use futures_util::StreamExt as _;
    let calls = futures_util::stream::iter(0..calls).map(call).buffer_unordered(concurrent);
    let mut refused: Vec<_> = calls.filter_map(|done| async { done.err() }).collect().await;
    assert_eq!(refused.len(), 1, "{:?}", refused.first());
    refused.remove(0)
}

/// An app that hosts actors, and one that only calls.
struct Test {
    hub: Hub,
    app: App,
    host: Side,
    other: Side,
}

impl Test {
    async fn new(config: Value) -> Self {
        let app = App::start(config, |call| async move {
            match call.path.rsplit(['/', '?']).find(|part| !part.contains('=')).unwrap() {
                "nope" => (StatusCode::NOT_FOUND, "no such").into_response(),
                "fail" => (StatusCode::INTERNAL_SERVER_ERROR, "{\"e\":1}").into_response(),
                "long" => (StatusCode::INTERNAL_SERVER_ERROR, "x".repeat(10_000)).into_response(),
                "created" => (StatusCode::CREATED, "c").into_response(),
                "cancel" => ([("X-DaprReminderCancel", "true")], "x").into_response(),
                "error" => ([("X-DaprErrorResponseHeader", "true")], "{\"bad\":1}").into_response(),
                "slow" => {
                    sleep(Duration::from_secs(1)).await;
                    ok("slow")
                }
                _ => ([("content-type", "application/json"), ("x-answer", "a")], "{\"ok\":1}").into_response(),
            }
        })
        .await;
        let hub = Hub::builder().actor_state_store("store").build();
        let host = Side::start(&hub, "host", Some(app.port)).await;
        let other = Side::start(&hub, "other", None).await;
        Self { hub, app, host, other }
    }
}

/// A sidecar and its clients.
struct Side {
    sidecar: Sidecar,
    dapr: DaprClient<Channel>,
}

impl Side {
    async fn start(hub: &Hub, id: &str, port: Option<u16>) -> Self {
        let builder = hub.app(id);
        let builder = if let Some(port) = port { builder.app_port(port) } else { builder };
        let sidecar = builder.start().await.unwrap();
        sidecar.ready().await;
        let dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
        let dapr = dapr.max_encoding_message_size(usize::MAX).max_decoding_message_size(usize::MAX);
        Self { sidecar, dapr }
    }

    fn handle(&self) -> Dapr {
        Dapr::builder().endpoint(Endpoint::local(self.sidecar.grpc_port())).build().unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = TcpStream::connect(("127.0.0.1", self.sidecar.http_port())).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let (parts, body) = client.send_request(request.body(body).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn is(&self, status: u16, body: &Value) {
        assert_eq!((self.status, &self.body), (status, body));
    }

    #[track_caller]
    fn fails(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.body["errorCode"]), (status, &json!(code)), "{}", self.body);
    }

    #[track_caller]
    fn says(&self, status: u16, code: &str, message: &str) {
        self.fails(status, code);
        assert_eq!(self.body["message"], message);
    }
}

#[derive(Clone, Debug)]
struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

impl Call {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An app that records the calls of its actors.
struct App {
    port: u16,
    seen: mpsc::UnboundedReceiver<Call>,
}

impl App {
    async fn start<F>(config: Value, answer: impl Fn(Call) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Self::start_at(0, config, answer).await
    }

    async fn start_at<F>(port: u16, config: Value, answer: impl Fn(Call) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let (sender, seen) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move |request: Request| {
            let (sender, config, answer) = (sender.clone(), config.to_string(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let path = parts.uri.path_and_query().unwrap().to_string();
                match path.as_str() {
                    "/dapr/config" => return config.into_response(),
                    "/dapr/subscribe" => return StatusCode::NOT_FOUND.into_response(),
                    _ => {}
                }
                let body = body.collect().await.unwrap().to_bytes();
                let call = Call { method: parts.method, path, headers: parts.headers, body, at: Instant::now() };
                let _ = sender.send(call.clone());
                answer(call).await
            }
        });
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, seen }
    }

    async fn call(&mut self) -> Call {
        self.seen.recv().await.unwrap()
    }

    /// What has come so far.
    fn drain(&mut self) -> Vec<Call> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    fn is_quiet(&mut self) -> bool {
        self.drain().is_empty()
    }
}

fn ok(body: &str) -> Response {
    body.to_owned().into_response()
}

fn invoke(kind: &str, id: &str, method: &str) -> InvokeActorRequest {
    InvokeActorRequest {
        actor_type: kind.into(),
        actor_id: id.into(),
        method: method.into(),
        ..InvokeActorRequest::default()
    }
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
