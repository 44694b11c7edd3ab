//! Retries inside the app, around the handlers of its subscriptions.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Body,
    http::{Request, Response, StatusCode},
    response::IntoResponse,
    routing::post,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;
use tower::{Layer, ServiceExt};
use tower_dapr::retry::{Backoff, InboundRetry, NotIdempotent, RetryLayer, asks_for_retry};

use crate::{Answer, Handle, frames, grpc};

const MS: Duration = Duration::from_millis(1);

fn policy() -> InboundRetry {
    InboundRetry::new().with_backoff(Backoff::new(100 * MS, 100 * MS)).with_random(|| u64::MAX)
}

/// A handler that answers so, one after the other, and what it was given.
fn app(retry: InboundRetry, answers: Vec<fn() -> Response<Body>>) -> (Router, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    let handler = async move |body: String| {
        let mut log = log.lock().unwrap();
        log.push(body);
        answers[(log.len() - 1).min(answers.len() - 1)]()
    };
    (Router::new().route("/orders", post(handler)).layer(RetryLayer::inbound(retry)), seen)
}

fn delivery() -> Request<Body> {
    Request::post("/orders").body(Body::from("event")).unwrap()
}

fn again() -> Response<Body> {
    Json(json!({ "status": "RETRY" })).into_response()
}

fn done() -> Response<Body> {
    Json(json!({ "status": "SUCCESS" })).into_response()
}

fn failed() -> Response<Body> {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn json(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_refused_delivery_is_handled_again_with_the_same_body() {
    let (app, seen) = app(policy(), vec![again, failed, done]);
    let response = app.oneshot(delivery()).await.unwrap();
    assert_eq!(json(response).await, json!({ "status": "SUCCESS" }));
    assert_eq!(*seen.lock().unwrap(), ["event"; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_last_verdict_goes_to_the_sidecar() {
    let (app, seen) = app(policy().with_max_attempts(4), vec![again]);
    let response = app.oneshot(delivery()).await.unwrap();
    assert_eq!(json(response).await, json!({ "status": "RETRY" }));
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_or_dropped_is_not_handled_again() {
    let dropped: fn() -> Response<Body> = || Json(json!({ "status": "DROP" })).into_response();
    let not_found: fn() -> Response<Body> = || StatusCode::NOT_FOUND.into_response();
    let empty: fn() -> Response<Body> = || StatusCode::OK.into_response();
    let bulk: fn() -> Response<Body> =
        || Json(json!({ "statuses": [{ "entryId": "1", "status": "RETRY" }] })).into_response();
    let long: fn() -> Response<Body> = || Json(json!({ "status": "RETRY", "more": "x".repeat(2000) })).into_response();
    for answer in [done, dropped, not_found, empty, bulk, long] {
        let (app, seen) = app(policy(), vec![answer]);
        let response = app.oneshot(delivery()).await.unwrap();
        let expected = answer().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected, "looked at, and put back");
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_time() {
    let start = Instant::now();
    let (app, seen) = app(policy().with_max_attempts(1000).within(1050 * MS), vec![failed]);
    let response = app.oneshot(delivery()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(start.elapsed() <= 1050 * MS);
    assert_eq!(seen.lock().unwrap().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_must_not_run_twice_is_left_out() {
    let (excepted, seen) = app(policy().except("/orders"), vec![failed]);
    excepted.oneshot(delivery()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    let (marked, seen) = app(policy(), vec![failed]);
    marked.layer(Extension(NotIdempotent)).oneshot(delivery()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    let (off, seen) = app(policy().with_max_attempts(1), vec![failed]);
    off.oneshot(delivery()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_verdict_may_be_the_apps_own() {
    #[derive(Clone, PartialEq)]
    enum Outcome {
        Retry,
    }
    let answer: fn() -> Response<Body> = || (Extension(Outcome::Retry), "as you like it").into_response();
    let retry = policy().with_verdict(|head, body| {
        head.extensions.get::<Outcome>() == Some(&Outcome::Retry) || asks_for_retry(head, body)
    });
    let (app, seen) = app(retry, vec![answer]);
    app.oneshot(delivery()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_run_is_a_call_of_the_layers_inside() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let inside = axum::middleware::map_request(move |request: Request<Body>| {
        counter.fetch_add(1, SeqCst);
        std::future::ready(request)
    });
    let app = Router::new()
        .route("/orders", post(async || StatusCode::SERVICE_UNAVAILABLE))
        .layer(inside)
        .layer(RetryLayer::inbound(policy()));
    app.oneshot(delivery()).await.unwrap();
    assert_eq!(runs.load(SeqCst), 3);
}

/// `TopicEventResponse { status: RETRY }`, and what any other message with a 1 in its first field looks like.
fn grpc_again() -> Answer {
    let data = http_body::Frame::data(bytes::Bytes::from_static(b"\0\0\0\0\x02\x08\x01"));
    let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    Answer::body(frames([Ok(data), Ok(http_body::Frame::trailers(trailers))]))
}

/// How often a gRPC method runs that always answers so.
async fn runs(retry: InboundRetry, path: &str, answer: impl Fn() -> Answer + Send + Sync + 'static) -> usize {
    let inner = Handle::new(move |_, _| answer());
    let _ = RetryLayer::inbound(retry).layer(inner.clone()).oneshot(grpc(path, &())).await.unwrap();
    inner.calls()
}

#[tokio::test(start_paused = true)]
async fn a_grpc_subscriber_is_understood_too() {
    let request = || grpc("/dapr.proto.runtime.v1.AppCallback/OnTopicEvent", &());
    let inner = Handle::new(|_, _| grpc_again());
    let response = RetryLayer::inbound(policy()).layer(inner.clone()).oneshot(request()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), &b"\0\0\0\0\x02\x08\x01"[..]);
    assert_eq!(inner.calls(), 3);
    assert!(inner.seen().iter().all(|seen| !seen.head.headers.contains_key("grpc-previous-rpc-attempts")));

    let inner = Handle::new(|_, _| Answer::message_then(Code::Ok));
    let _ = RetryLayer::inbound(policy()).layer(inner.clone()).oneshot(request()).await.unwrap();
    assert_eq!(inner.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_subscriber_that_fails_is_run_again() {
    for (code, expected) in [
        (Code::Unavailable, 3),
        (Code::Internal, 3),
        (Code::Unknown, 3),
        (Code::DeadlineExceeded, 3),
        (Code::DataLoss, 3),
        (Code::Unimplemented, 1),
        (Code::NotFound, 1),
    ] {
        let failed = move || Answer::trailers_only(code, &[]);
        let path = "/dapr.proto.runtime.v1.AppCallback/OnTopicEvent";
        assert_eq!(runs(policy(), path, failed).await, expected, "{code:?}");
        assert_eq!(runs(policy().except(path), path, failed).await, 1, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_an_events_answer_over_grpc_can_ask_for_another_run() {
    let failed = || Answer::trailers_only(Code::Unavailable, &[]);
    for path in [
        "/shop.Stock/Reserve",
        "/shop.AppCallback/OnTopicEvent",
        "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
        "/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent",
        "/dapr.proto.runtime.v1.Dapr/GetState",
    ] {
        assert_eq!(runs(policy(), path, grpc_again).await, 1, "{path}");
        assert_eq!(runs(policy(), path, failed).await, 1, "{path}");
    }
    // A verdict of the app's own is asked about what the sidecar calls.
    let always = policy().with_verdict(|_, _| true);
    assert_eq!(runs(always.clone(), "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent", Answer::ok).await, 3);
    assert_eq!(runs(always, "/shop.Stock/Reserve", Answer::ok).await, 1);
}
