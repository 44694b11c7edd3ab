//! Deadlines: of a call, of an attempt, and of both around retries.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/busy.rs"]
#[allow(unreachable_pub, reason = "a module of tests")]
mod busy;
#[path = "support/script.rs"]
#[allow(dead_code, reason = "not every test file uses all of it")]
#[allow(unreachable_pub, reason = "a module of tests")]
mod script;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
use futures_util::StreamExt;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;
use tonic::{Code, body::Body};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_dapr::{
    deadline::{Deadline, DeadlineExceeded, DeadlineLayer, LastFailure, WithDeadline, parse_grpc_timeout},
    retry::{Backoff, Retry, RetryLayer, RetryPolicy},
};

use busy::keep_busy;
use script::{Answer, BoxError, Handle, code, dapr, frames, grpc, http};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// The timer's resolution.
const TICK: Duration = Duration::from_millis(1);

fn get() -> Request<Body> {
    dapr("GetState", &GetStateRequest::default())
}

fn with_timeout(mut request: Request<Body>, value: &'static str) -> Request<Body> {
    request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
    request
}

/// The timeouts that each attempt saw.
fn timeouts(inner: &Handle) -> Vec<Duration> {
    inner.seen().iter().map(|seen| parse_grpc_timeout(&seen.head.headers["grpc-timeout"]).unwrap()).collect()
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_all_wishes_counts() {
    for (layer, header, extension, expected) in [
        (Some(2), None, None, 2),
        (Some(2), Some("1S"), None, 1),
        (Some(2), Some("3S"), None, 2),
        (None, Some("3S"), None, 3),
        (Some(9), Some("5S"), Some(4), 4),
        (None, None, Some(4), 4),
        (Some(2), Some("nonsense"), None, 2),
    ] {
        let inner = Handle::new(|_, _| Answer::hang());
        let mut request = get();
        if let Some(header) = header {
            request = with_timeout(request, header);
        }
        if let Some(seconds) = extension {
            request.extensions_mut().insert(Deadline::after(seconds * SECOND));
        }
        let start = Instant::now();
        let stack = DeadlineLayer::per_call(layer.map(|seconds| seconds * SECOND)).layer(inner.clone());
        let error = stack.oneshot(request).await.unwrap_err();
        assert!(error.is::<DeadlineExceeded>());
        assert!(start.elapsed() - expected * SECOND <= TICK, "{:?}", start.elapsed());
        assert_eq!(timeouts(&inner), [expected * SECOND]);
        assert_eq!(inner.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_is_left_alone() {
    let inner = Handle::new(|_, _| Answer::ok().after(10_000 * SECOND));
    let response = DeadlineLayer::per_call(None).layer(inner.clone()).oneshot(get()).await.unwrap();
    assert_eq!(code(response).await, Code::Ok);
    assert!(!inner.seen()[0].head.headers.contains_key("grpc-timeout"));
}

#[tokio::test(start_paused = true)]
async fn plain_http_has_no_header_and_the_error() {
    let inner = Handle::new(|_, _| Answer::hang());
    let stack = DeadlineLayer::per_call(SECOND).layer(inner.clone());
    let error = stack.oneshot(http("GET", "/a")).await.unwrap_err();
    assert!(error.downcast_ref::<DeadlineExceeded>().unwrap().last_failure().is_none());
    assert!(!inner.seen()[0].head.headers.contains_key("grpc-timeout"));
}

#[tokio::test(start_paused = true)]
async fn the_generated_client_sees_the_code() {
    let inner = Handle::new(|_, _| Answer::hang());
    let stack = DeadlineLayer::per_call(SECOND).layer(inner);
    let status = DaprClient::new(stack).get_state(GetStateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(find::<DeadlineExceeded>(&status).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_cut() {
    let start = Instant::now();
    let inner = Handle::new(|_, _| {
        let message = Ok::<_, tonic::Status>(Frame::data(Bytes::from_static(b"\0\0\0\0\0")));
        let first = futures_util::stream::iter([message]);
        Answer::body(Body::new(StreamBody::new(first.chain(futures_util::stream::pending()))))
    });
    let stack = DeadlineLayer::per_call(SECOND).layer(inner);
    let status = DaprClient::new(stack.clone()).get_state(GetStateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(start.elapsed() - SECOND <= TICK);
    let mut body = stack.oneshot(get()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(body.frame().await.unwrap().unwrap_err().is::<DeadlineExceeded>());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_always_has_more_is_cut() {
    let inner = Handle::new(|_, _| {
        let message = || Frame::data(Bytes::from_static(b"\0\0\0\0\0"));
        Answer::body(frames(std::iter::repeat_with(message).take(10_000).map(Ok)))
    });
    let mut body = DeadlineLayer::per_call(SECOND).layer(inner).oneshot(get()).await.unwrap().into_body();
    for _ in 0..10 {
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(SECOND / 10).await;
    }
    assert!(body.frame().await.unwrap().unwrap_err().is::<DeadlineExceeded>());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_is_not_lost_for_being_read_late() {
    let inner = Handle::new(|_, _| Answer::message_then(Code::Ok));
    let mut body = DeadlineLayer::per_call(SECOND).layer(inner).oneshot(get()).await.unwrap().into_body();
    tokio::time::sleep(2 * SECOND).await;
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert!(body.frame().await.is_none());
}

/// tokio's timers say "not yet" to a task that has done much since it was polled (cooperative scheduling). What does much
/// each time it is polled is late all the same.
#[tokio::test(start_paused = true)]
async fn what_keeps_its_task_busy_is_ended_too() {
    let busy = tower::service_fn(async |_: Request<Body>| {
        keep_busy(2 * SECOND).await;
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
    });
    let error = DeadlineLayer::per_call(SECOND).layer(busy).oneshot(get()).await.unwrap_err();
    assert!(error.is::<DeadlineExceeded>());

    let inner = Handle::new(|_, _| {
        let frames = futures_util::stream::once(keep_busy(2 * SECOND))
            .map(|()| Ok::<_, tonic::Status>(Frame::data(Bytes::new())));
        Answer::body(Body::new(StreamBody::new(Box::pin(frames))))
    });
    let mut body = DeadlineLayer::per_call(SECOND).layer(inner).oneshot(get()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap_err().is::<DeadlineExceeded>());
}

#[tokio::test(start_paused = true)]
async fn streams_outlive_the_layers_timeout_but_not_their_callers() {
    for path in ["SubscribeTopicEventsAlpha1", "SubscribeConfiguration"] {
        let inner = Handle::new(|_, _| Answer::ok().after(100 * SECOND));
        let stack = DeadlineLayer::per_call(SECOND).layer(inner.clone());
        assert!(stack.clone().oneshot(dapr(path, &())).await.is_ok());
        assert!(stack.oneshot(with_timeout(dapr(path, &()), "9S")).await.unwrap_err().is::<DeadlineExceeded>());
    }
}

#[tokio::test(start_paused = true)]
async fn tonics_own_timeout_is_called_what_it_is() {
    let inner = Handle::new(|_, _| Answer::error(tonic::TimeoutExpired(())));
    let stack = DeadlineLayer::per_call(SECOND).layer(inner);
    assert!(stack.oneshot(get()).await.unwrap_err().is::<DeadlineExceeded>());
}

#[tokio::test(start_paused = true)]
async fn attempts_share_the_calls_deadline() {
    let inner = Handle::new(|_, _| Answer::hang());
    let policy = RetryPolicy::new().with_max_attempts(9).with_backoff(Backoff::new(100 * MS, 100 * MS));
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::per_call(2500 * MS))
        .layer(RetryLayer::new(policy.with_random(|| u64::MAX)))
        .layer(DeadlineLayer::per_attempt(SECOND))
        .service(inner.clone());
    let start = Instant::now();
    let error = stack.oneshot(get()).await.unwrap_err();
    assert!(start.elapsed() - 2500 * MS <= TICK, "{:?}", start.elapsed());
    let last = error.downcast_ref::<DeadlineExceeded>().unwrap().last_failure().unwrap();
    assert_eq!(last.code(), "DEADLINE_EXCEEDED");
    let timeouts = timeouts(&inner);
    assert_eq!(timeouts[..2], [SECOND, SECOND]);
    assert_eq!(timeouts.len(), 3);
    assert!(timeouts[2] <= 300 * MS && timeouts[2] > 290 * MS, "{timeouts:?}");
    assert!(inner.seen().iter().all(|seen| seen.at < start + 2500 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_retry_rewrites_the_callers_timeout_with_what_is_left() {
    // Without a deadline layer.
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable).after(300 * MS));
    let policy = RetryPolicy::new().with_backoff(Backoff::new(100 * MS, 100 * MS).with_floor(100 * MS));
    let response = RetryLayer::new(policy).layer(inner.clone()).oneshot(with_timeout(get(), "1S")).await.unwrap();
    assert_eq!(code(response).await, Code::Unavailable, "the status of the last attempt");
    assert_eq!(timeouts(&inner), [1000 * MS, 600 * MS, 200 * MS].map(|time| time.min(SECOND)));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_would_come_too_late_is_reported_at_once() {
    let start = Instant::now();
    let inner =
        Handle::new(|_, _| Answer::grpc_with(Code::Unavailable, "no%20sidecar", &[("grpc-retry-pushback-ms", "900")]));
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::per_call(SECOND))
        .layer(RetryLayer::new(RetryPolicy::new()))
        .service(inner.clone());
    let status = DaprClient::new(stack).get_state(GetStateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed(), 900 * MS);
    assert_eq!(inner.calls(), 2);
    let last = find::<LastFailure>(&status).unwrap();
    assert_eq!(last.code(), "UNAVAILABLE");
    assert!(status.message().contains("no sidecar"), "{status}");
}

/// Three calls with clones of one deadline: it leaves no time to try the first again, the second is well, and the third
/// hangs.
async fn share_a_deadline<S, B>(outer: impl Fn(Retries) -> S) -> [Result<Code, BoxError>; 3]
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = BoxError>,
    B: http_body::Body<Error: std::fmt::Debug> + Unpin,
{
    let inner = Handle::new(|n, _| match n {
        0 => Answer::grpc_with(Code::Unavailable, "", &[("grpc-retry-pushback-ms", "9000")]),
        1 => Answer::ok(),
        _ => Answer::hang(),
    });
    let attempt = DeadlineLayer::per_attempt(9 * SECOND).layer(inner);
    let retries = RetryLayer::new(RetryPolicy::new()).layer(attempt);
    let deadline = Deadline::after(SECOND);
    let call = async || {
        let mut request = get();
        request.extensions_mut().insert(deadline.clone());
        Ok(code(outer(retries.clone()).oneshot(request).await?).await)
    };
    [call().await, call().await, call().await]
}

type Retries = Retry<WithDeadline<Handle>>;

/// A caller may hand one deadline to all calls of a task.
#[tokio::test(start_paused = true)]
async fn what_one_call_gives_up_says_nothing_about_another_with_the_same_deadline() {
    let exceeded = |call: &Result<Code, BoxError>| {
        let exceeded = call.as_ref().unwrap_err().downcast_ref::<DeadlineExceeded>().unwrap();
        exceeded.last_failure().map(LastFailure::code)
    };
    let calls = share_a_deadline(|retries| DeadlineLayer::per_call(None).layer(retries)).await;
    assert_eq!(exceeded(&calls[0]), Some("UNAVAILABLE"));
    assert_eq!(*calls[1].as_ref().unwrap(), Code::Ok);
    assert_eq!(exceeded(&calls[2]), Some("DEADLINE_EXCEEDED"));

    // A layer for attempts does not speak for the call.
    let calls = share_a_deadline(|retries| retries).await;
    assert_eq!(*calls[0].as_ref().unwrap(), Code::Unavailable);
    assert_eq!(*calls[1].as_ref().unwrap(), Code::Ok);
    assert_eq!(exceeded(&calls[2]), None);
}

#[tokio::test(start_paused = true)]
async fn minus_one_repeats_until_the_deadline() {
    let start = Instant::now();
    let inner = Handle::new(|_, _| Answer::connect_error());
    let policy = RetryPolicy::from_vars(|_| Some("-1".into())).unwrap();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::per_call(60 * SECOND))
        .layer(RetryLayer::new(policy.with_random(|| u64::MAX)))
        .service(inner.clone());
    let error = stack.oneshot(get()).await.unwrap_err();
    let last = error.downcast_ref::<DeadlineExceeded>().unwrap().last_failure().unwrap();
    assert_eq!(last.code(), "UNAVAILABLE");
    assert!(start.elapsed() <= 60 * SECOND);
    // 0.1, 0.2, 0.4, .. 3.2, and then every 5 s.
    assert_eq!(inner.calls(), 17);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_grpc_method_has_the_layers_timeout() {
    let inner = Handle::new(|_, _| Answer::hang());
    let stack = DeadlineLayer::per_call(SECOND).layer(inner);
    assert!(stack.oneshot(grpc("/shop.Stock/Level", &())).await.is_err());
}
