//! The embedded sidecar's HTTP API, where the recorded calls do not go.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower_dapr::sidecar::{Hub, Sidecar};

#[tokio::test]
async fn state_is_written_read_and_deleted() {
    let test = Test::new().await;
    let item = r#"[{"key":"k","value":{"n":1},"metadata":{"ttlInSeconds":"60"}},{"key":"b","value":"text"}]"#;
    test.ask("POST", "/v1.0/state/store", item).await.is(204, Value::Null);
    let read = test.ask("GET", "/v1.0/state/store/k", "").await;
    let etag = read.headers["etag"].to_str().unwrap().to_owned();
    assert!(read.headers.contains_key("metadata.ttlexpiretime"));
    read.is(200, json!({"n": 1}));

    let bulk = test.ask("POST", "/v1.0/state/store/bulk", r#"{"keys":["b","none"]}"#).await;
    assert_eq!((&bulk.body[0]["data"], &bulk.body[1]), (&json!("text"), &json!({"key": "none"})));
    let stale = [("if-match", "stale")];
    test.ask_with("DELETE", "/v1.0/state/store/k", "", &stale).await.fails(409, "ERR_STATE_DELETE");
    test.ask_with("DELETE", "/v1.0/state/store/k", "", &[("if-match", &etag)]).await.is(204, Value::Null);
    test.ask("GET", "/v1.0/state/store/k", "").await.is(204, Value::Null);
    test.ask("DELETE", "/v1.0/state/store/k", "").await.is(204, Value::Null);

    let transaction = json!({"operations": [
        {"operation": "upsert", "request": {"key": "x", "value": 1}},
        {"operation": "delete", "request": {"key": "b"}},
    ]});
    let path = "/v1.0/state/store/transaction?metadata.ttlInSeconds=60";
    test.ask("POST", path, &transaction.to_string()).await.is(204, Value::Null);
    let expires = test.ask("GET", "/v1.0/state/store/x", "").await;
    assert!(expires.headers.contains_key("metadata.ttlexpiretime"), "each operation has the metadata of the query");
    test.ask("GET", "/v1.0/state/store/b", "").await.is(204, Value::Null);
    let unknown = r#"{"operations":[{"operation":"zap","request":{"key":"x"}}]}"#;
    test.ask("POST", "/v1.0/state/store/transaction", unknown).await.fails(400, "ERR_NOT_SUPPORTED_STATE_OPERATION");
    let stale = r#"{"operations":[{"operation":"upsert","request":{"key":"x","value":1,"etag":"1"}}]}"#;
    test.ask("POST", "/v1.0/state/store/transaction", stale).await.fails(500, "ERR_STATE_TRANSACTION");
    let first = r#"[{"key":"x","value":2,"options":{"concurrency":"first-write"}}]"#;
    test.ask("PUT", "/v1.0/state/store", first).await.fails(409, "ERR_STATE_SAVE");
    let nameless = test.ask("POST", "/v1.0/state/store", r#"[{"value":1}]"#).await;
    assert_eq!(nameless.body["message"], "\"key\" is a required field");
    nameless.fails(400, "ERR_MALFORMED_REQUEST");
    test.ask("GET", "/v1.0/state/store/a%7C%7Cb", "").await.fails(400, "ERR_MALFORMED_REQUEST");
    test.ask("POST", "/v1.0/state/store", r#"[{"Key":"c","VALUE":1}]"#).await.is(204, Value::Null);
    test.ask("GET", "/v1.0/state/store/c", "").await.is(200, json!(1));
    test.ask("POST", "/v1.0-alpha1/state/store/query", "{}").await.fails(500, "ERR_STATE_STORE_NOT_SUPPORTED");
}

#[tokio::test]
async fn events_are_published_one_by_one_and_together() {
    let mut test = Test::new().await;
    let published = test.ask("POST", "/v1.0/publish/bus/t?metadata.cloudevent.type=own", "[1]").await;
    published.is(204, Value::Null);
    let (path, event) = test.seen.recv().await.unwrap();
    assert_eq!((path.as_str(), &event["type"], &event["data"]), ("/t", &json!("own"), &json!([1])));

    let bulk = json!([
        {"entryId": "1", "event": {"n": 1}, "contentType": "application/json"},
        {"entryId": "2", "event": "text", "contentType": "text/plain"},
        {"entryId": "3", "event": "AAE=", "contentType": "application/octet-stream"},
    ]);
    test.ask("POST", "/v1.0/publish/bulk/bus/t", &bulk.to_string()).await.is(204, Value::Null);
    let mut data = Vec::new();
    for member in ["data", "data", "data_base64"] {
        data.push(test.seen.recv().await.unwrap().1[member].clone());
    }
    assert_eq!(data, [json!({"n": 1}), json!("text"), json!("AAE=")]);
    // As the JavaScript SDK writes it.
    let other_case = r#"[{"entryID":"1","event":2,"contentType":"application/json"}]"#;
    test.ask("POST", "/v1.0/publish/bulk/bus/t", other_case).await.is(204, Value::Null);
    assert_eq!(test.seen.recv().await.unwrap().1["data"], 2);
    for (bulk, code) in [
        ("{}", "ERR_PUBSUB_EVENTS_SER"),
        (r#"[{"entryId":"1","event":1,"contentType":"image/png"}]"#, "ERR_PUBSUB_EVENTS_SER"),
        (r#"[{"entryId":"","event":1,"contentType":"application/json"}]"#, "ERR_PUBSUB_EVENTS_SER"),
        (r#"[{"entryId":"1","event":"no type"}]"#, "ERR_PUBSUB_EVENTS_SER"),
    ] {
        test.ask("POST", "/v1.0/publish/bulk/bus/t", bulk).await.fails(400, code);
    }
    test.ask("POST", "/v1.0/publish/bulk/nope/t", "no JSON").await.fails(404, "ERR_PUBSUB_NOT_FOUND");
    let xml = r#"[{"entryId":"1","event":"<a/>","contentType":"application/xml"}]"#;
    test.ask("POST", "/v1.0/publish/bulk/bus/t", xml).await.is(204, Value::Null);
    assert_eq!(test.seen.recv().await.unwrap().1["data"], "<a/>");
    test.ask("POST", "/v1.0/publish/bus", "1").await.fails(404, "ERR_DIRECT_INVOKE");
    let bad = test.ask("POST", "/v1.0/publish/bus/t?metadata.rawPayload=maybe", "1").await;
    bad.fails(400, "ERR_PUBSUB_REQUEST_METADATA");
}

#[tokio::test]
async fn the_other_blocks_answer_as_over_grpc() {
    let mut test = Test::new().await;
    test.ask("GET", "/v1.0/secrets/vault/a", "").await.is(200, json!({"a": "1"}));
    test.ask("GET", "/v1.0/secrets/vault/bulk", "").await.is(200, json!({"a": {"a": "1"}}));
    test.ask("GET", "/v1.0/secrets/nope/a", "").await.fails(401, "ERR_SECRET_STORE_NOT_FOUND");
    test.ask("GET", "/v1.0/secrets/vault/none", "").await.fails(500, "ERR_SECRET_GET");

    test.hub.set_configuration("settings", "colour", "blue");
    let blue = json!({"colour": {"value": "blue", "version": "1", "metadata": {}}});
    test.ask("GET", "/v1.0/configuration/settings?key=colour&key=size", "").await.is(200, blue);
    test.ask("GET", "/v1.0/configuration/settings?key=size", "").await.is(204, Value::Null);
    test.ask("GET", "/v1.0/configuration/nope?key=size", "").await.fails(400, "ERR_CONFIGURATION_STORE_NOT_FOUND");
    let id = test.ask("GET", "/v1.0/configuration/settings/subscribe?key=colour", "").await.body["id"].clone();
    test.hub.set_configuration("settings", "colour", "red");
    let (path, update) = test.seen.recv().await.unwrap();
    assert_eq!(path, "/configuration/settings/colour");
    assert_eq!((&update["id"], &update["items"]["colour"]["value"]), (&id, &json!("red")));
    let path = format!("/v1.0/configuration/settings/{}/unsubscribe", id.as_str().unwrap());
    test.ask("GET", &path, "").await.is(200, json!({"ok": true}));
    let ended = test.ask("GET", &path, "").await;
    assert_eq!((ended.status, ended.body["ok"].is_null()), (500, true));

    let lock = r#"{"resourceId":"r","lockOwner":"o","expiryInSeconds":10}"#;
    test.ask("POST", "/v1.0-alpha1/lock/locks", lock).await.is(200, json!({"success": true}));
    test.ask("POST", "/v1.0-alpha1/lock/locks", lock).await.is(200, json!({"success": false}));
    test.ask("POST", "/v1.0-alpha1/unlock/locks", lock).await.is(200, json!({"status": 0}));
    test.ask("POST", "/v1.0-alpha1/unlock/locks", lock).await.is(200, json!({"status": 1}));
    test.ask("POST", "/v1.0-alpha1/lock/nope", lock).await.fails(400, "ERR_LOCK_STORE_NOT_FOUND");

    let idle = test.ask("POST", "/v1.0/bindings/nope", "{}").await;
    assert_eq!(idle.body["message"], "error invoking output binding nope: operation field is missing from request");
    let create = r#"{"operation":"create","data":"hi","metadata":{"fileName":"f"}}"#;
    test.ask("POST", "/v1.0/bindings/files", create).await.is(200, json!({"fileName": "f"}));
    test.ask("POST", "/v1.0/bindings/nope", create).await.fails(500, "ERR_INVOKE_OUTPUT_BINDING");
    test.ask("POST", "/v1.0/bindings/files", "{").await.fails(400, "ERR_MALFORMED_REQUEST");

    test.ask("POST", "/v1.0/jobs/tea", r#"{"dueTime":"0s","data":{"n":1}}"#).await.is(204, Value::Null);
    assert_eq!(test.seen.recv().await.unwrap(), ("/job/tea".to_owned(), json!({"n": 1})));
    test.ask("POST", "/v1.0/jobs/later", r#"{"dueTime":"1h","data":[1]}"#).await.is(204, Value::Null);
    test.ask("POST", "/v1.0/jobs/later", r#"{"dueTime":"1h"}"#).await.fails(409, "DAPR_SCHEDULER_SCHEDULE_JOB");
    let job = json!({"name": "later", "dueTime": "1h", "data": [1]});
    test.ask("GET", "/v1.0/jobs/later", "").await.is(200, job);
    test.ask("DELETE", "/v1.0/jobs/later", "").await.is(204, Value::Null);
    test.ask("GET", "/v1.0/jobs/later", "").await.fails(500, "DAPR_SCHEDULER_GET_JOB");
    for (sent, shown) in [
        (json!({"drop": {}}), json!({"drop": {}})),
        (
            json!({"constant": {"interval": "10s", "maxRetries": 1}}),
            json!({"constant": {"interval": "10s", "maxRetries": 1}}),
        ),
        (json!({"constant": {"maxRetries": 2}}), json!({"constant": {"maxRetries": 2}})),
    ] {
        let job = json!({"dueTime": "1h", "failurePolicy": sent, "overwrite": true}).to_string();
        test.ask("POST", "/v1.0/jobs/policy", &job).await.is(204, Value::Null);
        assert_eq!(test.ask("GET", "/v1.0/jobs/policy", "").await.body["failurePolicy"], shown);
    }
    let bad = r#"{"dueTime":"1h","failurePolicy":{"constant":{"interval":"soon"}}}"#;
    test.ask("POST", "/v1.0/jobs/bad", bad).await.fails(400, "ERR_MALFORMED_REQUEST");
    test.ask("POST", "/v1.0/jobs/never", "{}").await.fails(400, "DAPR_SCHEDULER_SCHEDULE_EMPTY");

    test.ask("PUT", "/v1.0/metadata/k", "v").await.is(204, Value::Null);
    let metadata = test.ask("GET", "/v1.0/metadata", "").await.body;
    assert_eq!((&metadata["id"], &metadata["extended"]["k"]), (&json!("app-a"), &json!("v")));
    assert_eq!(metadata["subscriptions"][0]["type"], "PROGRAMMATIC");
    test.ask("PATCH", "/v1.0/state/store", "").await.fails(404, "ERR_DIRECT_INVOKE");
}

#[tokio::test]
async fn an_app_is_named_by_path_or_by_header() {
    let mut test = Test::new().await;
    test.ask("PUT", "/v1.0/invoke/app-a/method/a/b?x=1", "{}").await.is(200, json!({}));
    assert_eq!(test.seen.recv().await.unwrap().0, "/a/b");
    test.ask_with("POST", "/c", "{}", &[("dapr-app-id", "app-a")]).await.is(200, json!({}));
    assert_eq!(test.seen.recv().await.unwrap().0, "/c");
    // The header goes before the path, and the API before the header.
    let named = [("dapr-app-id", "app-a")];
    let invocation = "/v1.0/invoke/nobody/method/d";
    test.ask_with("POST", invocation, "{}", &named).await.is(200, json!({}));
    assert_eq!(test.seen.recv().await.unwrap().0, invocation);
    assert_eq!(test.ask_with("GET", "/v1.0/metadata", "", &named).await.body["id"], "app-a");
    test.ask_with("POST", "/e", "{}", &[("dapr-app-id", "")]).await.fails(404, "ERR_DIRECT_INVOKE");
    // dapr-app-id:app-a
    let user = [("authorization", "Basic ZGFwci1hcHAtaWQ6YXBwLWE=")];
    test.ask_with("POST", "/f", "{}", &user).await.is(200, json!({}));
    assert_eq!(test.seen.recv().await.unwrap().0, "/f");
    for id in ["127.0.0.1:1", "http:%2f%2fexample.com", "..", "%2e%2e"] {
        let path = format!("/v1.0/invoke/{id}/method/x");
        test.ask("GET", &path, "").await.fails(500, "ERR_DIRECT_INVOKE");
    }
    let large = "x".repeat((4 << 20) + 1);
    test.ask("POST", "/v1.0/publish/bus/t", &large).await.fails(400, "ERR_BODY_READ");
    assert!(test.seen.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_follows_its_policy() {
    let mut test = Test::new().await;
    let constant = json!({"constant": {"interval": "1s", "maxRetries": 1}});
    for (policy, attempts) in [(json!({"drop": {}}), 1), (constant, 2)] {
        let job = json!({"dueTime": "0s", "failurePolicy": policy, "overwrite": true, "data": 1});
        test.ask("POST", "/v1.0/jobs/fails", &job.to_string()).await.is(204, Value::Null);
        for _ in 0..attempts {
            assert_eq!(test.seen.recv().await.unwrap().0, "/job/fails");
        }
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert!(test.seen.try_recv().is_err(), "{policy}");
    }
}

// ===== helpers =====

struct Test {
    hub: Hub,
    sidecar: Sidecar,
    seen: mpsc::UnboundedReceiver<(String, Value)>,
    #[allow(dead_code, reason = "kept there")]
    files: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Test {
    async fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move |request: Request| {
            let sender = sender.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                match path.as_str() {
                    "/dapr/config" => return StatusCode::NOT_FOUND.into_response(),
                    "/dapr/subscribe" => return r#"[{"pubsubname":"bus","topic":"t","route":"/t"}]"#.into_response(),
                    _ => {}
                }
                let status = if path == "/job/fails" { 500 } else { 200 };
                let _ = sender.send((path, serde_json::from_slice(&body).unwrap()));
                (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], "{}").into_response()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let hub = Hub::builder()
            .state_store("store")
            .pubsub("bus")
            .secrets("vault", [("a", "1")])
            .configuration_store("settings")
            .lock_store("locks")
            .local_storage("files", files.path())
            .unwrap()
            .build();
        let sidecar = hub.app("app-a").app_port(port).start().await.unwrap();
        sidecar.ready().await;
        Self { hub, sidecar, seen, files }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(method, path, body, &[]).await
    }

    async fn ask_with(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = TcpStream::connect(("127.0.0.1", self.sidecar.http_port())).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("content-type", "application/json");
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

impl Answer {
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "written at each call as json!(..)")]
    fn is(&self, status: u16, body: Value) {
        assert_eq!((self.status, &self.body), (status, &body));
        assert!(self.headers.contains_key("traceparent"));
    }

    #[track_caller]
    fn fails(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.body["errorCode"]), (status, &json!(code)), "{}", self.body);
    }
}
