//! Bulk and raw subscriptions, input bindings, jobs, health, and the API token.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod recorded;

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, http::HeaderMap};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{Event, Limits, Outcome, Outcomes},
    inbound::{Binding, Bulk, Rejected, RequireApiTokenLayer, Subscriptions, Topic},
};

use self::recorded::Logged;

// ===== bulk and raw subscriptions =====

#[tokio::test]
async fn bulk_and_raw_payload_are_asked_for() {
    let app = router(
        Subscriptions::new()
            .topic(Topic::new("bus", "a").bulk(50, Duration::from_millis(200)), ok)
            .topic(Topic::new("bus", "a").when("true").bulk(50, Duration::from_millis(200)), ok)
            .topic(Topic::new("bus", "b").bulk(u32::MAX, Duration::MAX), ok)
            .topic(Topic::new("bus", "c").raw_payload(), ok)
            .with_cloud_event_layer(CloudEventLayer::new().with_limits(Limits::default().with_entries(usize::MAX))),
    );
    let document: Value = serde_json::from_str(&ask(&app, get("/dapr/subscribe")).await.1).unwrap();
    let bulk = |max, wait| json!({"enabled": true, "maxMessagesCount": max, "maxAwaitDurationMs": wait});
    assert_eq!(document[0]["bulkSubscribe"], bulk(50, 200));
    assert_eq!(document[1]["bulkSubscribe"], bulk(i32::MAX, i32::MAX));
    assert_eq!(document[2]["bulkSubscribe"], Value::Null);
    assert_eq!(document[2]["metadata"], json!({"rawPayload": "true"}));
}

#[tokio::test]
async fn a_bulk_subscription_answers_for_each_entry() {
    async fn handler(bulk: Bulk<u32>) -> Outcomes {
        bulk.each(async |event: Event<u32>| if event.data > 0 { Outcome::Success } else { Outcome::Drop }).await
    }
    let topic = || Topic::new("bus", "a").route("/a").bulk(0, Duration::ZERO);
    let body = json!({"topic":"a","pubsubname":"bus","entries":[
        {"entryId":"1","event":{"id":"x","data":1},"metadata":null,"contentType":"application/cloudevents+json"},
        {"entryId":"2","event":{"id":"y","data":0},"metadata":null,"contentType":"application/cloudevents+json"}]});
    let request = || {
        let mut request = post("/a", &body.to_string());
        request.headers_mut().insert("pubsubname", "bus".parse().unwrap());
        request
    };
    let statuses = |answer: &str| {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let mut all: Vec<_> = answer["statuses"].as_array().unwrap().iter().map(|s| s["status"].clone()).collect();
        all.sort_by_key(ToString::to_string);
        all
    };
    let each = ask(&router(Subscriptions::new().topic(topic(), handler)), request()).await;
    assert_eq!(statuses(&each.1), ["DROP", "SUCCESS"]);
    let all = router(Subscriptions::new().topic(topic(), async || Err::<(), _>(Rejected::drop("no"))));
    assert_eq!(statuses(&ask(&all, request()).await.1), ["DROP", "DROP"]);
}

#[tokio::test]
async fn raw_json_is_read_as_json() {
    let raw = r#"{"data_base64":"Nw==","datacontenttype":"application/octet-stream","id":"1"}"#;
    for (topic, expected) in
        [(Topic::new("bus", "a").raw_json(), ""), (Topic::new("bus", "a").raw_payload(), r#"{"status":"DROP"}"#)]
    {
        let app = router(Subscriptions::new().topic(topic.route("/a"), async |_: Event<u32>| {}));
        let mut request = post("/a", raw);
        request.headers_mut().insert(CONTENT_TYPE, "application/cloudevents+json".parse().unwrap());
        assert_eq!(ask(&app, request).await, (StatusCode::OK, expected.to_owned()));
    }
}

// ===== bindings and jobs =====

#[tokio::test]
async fn a_binding_is_probed_and_called() {
    let app = router(
        Subscriptions::new()
            .binding("cron", async |headers: HeaderMap, body: Bytes| {
                assert_eq!(headers["x-meta"], "1");
                body
            })
            .binding(Binding::new("files").route("/in/files"), async || Outcome::Success),
    );
    for path in ["/cron", "/in/files"] {
        let probe = Request::builder().method(Method::OPTIONS).uri(path).body(Body::empty()).unwrap();
        assert_eq!(ask(&app, probe).await.0, StatusCode::OK);
    }
    let mut event = post("/cron", "tick");
    event.headers_mut().insert("x-meta", "1".parse().unwrap());
    assert_eq!(ask(&app, event).await, (StatusCode::OK, "tick".to_owned()), "the answer goes back to the binding");
    assert_eq!(ask(&app, post("/files", "")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bindings_and_jobs_answer_with_a_status_code() {
    fn decide(kind: &str) -> Result<Outcome, Rejected> {
        match kind {
            "success" => Ok(Outcome::Success),
            "retry" => Ok(Outcome::Retry),
            "drop" => Ok(Outcome::Drop),
            "error" => Err(Rejected::retry("no")),
            "drop-error" => Err(Rejected::drop("no")),
            _ => panic!("on purpose"),
        }
    }
    for (kind, binding, job) in [
        ("success", 200, 200),
        ("retry", 500, 500),
        ("drop", 200, 404),
        ("error", 500, 500),
        ("drop-error", 200, 404),
        ("panic", 500, 500),
    ] {
        let app = router(
            Subscriptions::new().binding(kind, async move || decide(kind)).job(kind, async move || decide(kind)),
        );
        assert_eq!(ask(&app, post(&format!("/{kind}"), "")).await.0, binding, "{kind}");
        assert_eq!(ask(&app, post(&format!("/job/{kind}"), "")).await.0, job, "{kind}");
    }
    let own = router(Subscriptions::new().job("a", async || (StatusCode::BAD_GATEWAY, "own")));
    assert_eq!(ask(&own, post("/job/a", "")).await, (StatusCode::BAD_GATEWAY, "own".to_owned()));
}

#[test]
fn what_collides_is_named() {
    let long = "x".repeat(513);
    for (subscriptions, reason) in [
        (Subscriptions::<()>::new().binding("", ok), r#"subscription of binding "": the name is empty"#.to_owned()),
        (Subscriptions::new().binding("a", ok).binding("a", ok), r#"route "/a" is already that of binding "a""#.into()),
        (
            Subscriptions::new().topic(Topic::new("bus", "a").route("/a"), ok).binding("a", ok),
            r#"subscription of binding "a": route "/a" is already that of topic "a" of pubsub "bus""#.into(),
        ),
        (
            Subscriptions::new().job("a", ok).job("a", ok),
            r#"of job "a": route "/job/a" is already that of job "a""#.into(),
        ),
        (Subscriptions::new().job("a b", ok), r#"route "/job/a b" is not a plain path"#.into()),
        (Subscriptions::new().job(&long, ok), "the name is longer than 512 bytes".into()),
        (Subscriptions::new().binding("healthz", ok), r#"route "/healthz" is daprd's own"#.into()),
        (Subscriptions::new().binding(Binding::new("x").route("/a/"), ok), "is not a plain path".into()),
        (Subscriptions::new().topic(Topic::new("b", "t").when(""), ok), "the condition is empty".into()),
        (Subscriptions::new().topic(Topic::new("b", "t").when(" \n"), ok), "the condition is empty".into()),
        (
            Subscriptions::new()
                .topic(Topic::new("b", "t").bulk(1, Duration::ZERO), ok)
                .topic(Topic::new("b", "t").when("true").bulk(2, Duration::ZERO), ok),
            "bulk delivery differs from that of an earlier subscription".into(),
        ),
        (
            Subscriptions::new().topic(Topic::new("b", "t").bulk(10_001, Duration::ZERO), ok),
            r#"topic "t" of pubsub "b": a bulk delivery of 10001 events is more than the limits' 10000"#.into(),
        ),
        (
            Subscriptions::new()
                .topic(Topic::new("b", "t").bulk(0, Duration::ZERO), ok)
                .with_cloud_event_layer(CloudEventLayer::new().with_limits(Limits::default().with_entries(99))),
            "a bulk delivery of 100 events is more than the limits' 99".into(),
        ),
    ] {
        let error = subscriptions.into_router().unwrap_err().to_string();
        assert!(error.contains(&reason), "{error}");
    }
}

#[tokio::test]
async fn health_is_what_the_app_says() {
    let app = router(Subscriptions::new().health(async || StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(ask(&app, get("/healthz")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn debug_shows_what_is_subscribed_and_no_token() {
    let subscriptions = Subscriptions::<()>::new()
        .binding("cron", ok)
        .job("nightly", ok)
        .require_api_token(RequireApiTokenLayer::new("s3cret").unwrap());
    let shown = format!("{subscriptions:?}");
    assert!(shown.contains("cron") && shown.contains("nightly") && !shown.contains("s3cret"), "{shown}");
}

// ===== the API token =====

#[tokio::test]
async fn only_exactly_one_right_token_is_admitted() {
    let tokens: [(&[&[u8]], bool); 10] = [
        (&[b"t0k3n"], true),
        (&[], false),
        (&[b""], false),
        (&[b"t0k3"], false),
        (&[b"t0k3nn"], false),
        (&[b"T0K3N"], false),
        (&[b"t0k3n", b"t0k3n"], false),
        (&[b"t0k3n", b"x"], false),
        (&[b"x", b"t0k3n"], false),
        (&[b"t0k3\xff"], false),
    ];
    for (tokens, admitted) in tokens {
        let service = RequireApiTokenLayer::new("t0k3n").unwrap().layer(service_fn(async |request: Request<Body>| {
            assert!(!request.headers().contains_key("dapr-api-token"), "the inner service never sees it");
            Ok::<_, Infallible>(Response::new(Body::from("in")))
        }));
        let mut request = get("/");
        for token in tokens {
            request.headers_mut().append("Dapr-Api-Token", http::HeaderValue::from_bytes(token).unwrap());
        }
        let response = service.oneshot(request).await.unwrap();
        let expected = if admitted { (StatusCode::OK, "in") } else { (StatusCode::UNAUTHORIZED, "") };
        assert_eq!((response.status(), text(response).await.as_str()), expected, "{tokens:?}");
    }
}

#[tokio::test]
async fn no_path_gets_around_the_token() {
    let layer = RequireApiTokenLayer::new("t0k3n").unwrap();
    let alone = layer.clone().layer(service_fn(async |_: Request<Body>| -> Result<Response<Body>, Infallible> {
        panic!("called without a token")
    }));
    let app = router(
        Subscriptions::new()
            .topic(Topic::new("bus", "a").route("/a"), unreached)
            .binding("cron", unreached)
            .job("nightly", unreached)
            .require_api_token(layer),
    );
    for (method, path) in [
        (Method::GET, "/dapr/subscribe"),
        (Method::GET, "/dapr/config"),
        (Method::POST, "/a"),
        (Method::POST, "/a?x=/healthz"),
        (Method::POST, "/a?/v1.0/healthz"),
        (Method::POST, "/cron"),
        (Method::OPTIONS, "/cron"),
        (Method::POST, "/job/nightly"),
    ] {
        let request = || Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(ask(&app, request()).await.0, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(alone.clone().oneshot(request()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    for (method, path) in [
        (Method::POST, "/healthz"),
        (Method::GET, "/healthz/"),
        (Method::GET, "//healthz"),
        (Method::POST, "/healthz/../a"),
        (Method::POST, "/a/../healthz"),
    ] {
        let request = || Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        assert!(!ask(&app, request()).await.0.is_success(), "{path}: neither the probe nor anything else");
        assert_eq!(alone.clone().oneshot(request()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ask(&app, get("/healthz")).await.0, StatusCode::OK, "Dapr probes without a token");
}

#[tokio::test]
async fn a_grpc_call_without_token_is_unauthenticated() {
    let service = RequireApiTokenLayer::new("t0k3n").unwrap().layer(service_fn(
        async |_: Request<Body>| -> Result<Response<Body>, Infallible> { panic!("called without a token") },
    ));
    let request = Request::post("/dapr.proto.runtime.v1.AppCallback/OnTopicEvent")
        .header(CONTENT_TYPE, "application/grpc+proto")
        .header("dapr-api-token", "wrong");
    let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!((status.code(), status.message()), (tonic::Code::Unauthenticated, "invalid api token"));
    assert!(http_body::Body::is_end_stream(response.body()));
}

#[tokio::test]
async fn a_wrong_token_is_not_logged() {
    let (logged, _guard) = Logged::start();
    let layer = RequireApiTokenLayer::new("s3cret").unwrap();
    let app = router(Subscriptions::new().require_api_token(layer.clone()));
    let mut request = get("/dapr/config");
    request.headers_mut().insert("dapr-api-token", "gu3ss".parse().unwrap());
    ask(&app, request).await;
    let shown = format!("{}{layer:?}", logged.take());
    assert!(!shown.contains("s3cret") && !shown.contains("gu3ss"), "{shown}");
}

#[test]
fn an_empty_token_is_none() {
    assert!(RequireApiTokenLayer::new("").unwrap_err().is_invalid());
}

// ===== helpers =====

async fn ok() -> Outcome {
    Outcome::Success
}

async fn unreached() {
    panic!("called without a token")
}

fn router(subscriptions: Subscriptions) -> Router {
    subscriptions.into_router().unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post(path: &str, body: &str) -> Request<Body> {
    Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_owned())).unwrap()
}

async fn ask(app: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    (response.status(), text(response).await)
}

async fn text<B: http_body::Body>(response: Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
