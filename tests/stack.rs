//! The ready outbound stack: what its layers do together, with no line at the call site.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dapr::dapr::proto::runtime::v1::GetStateResponse;
use support::{GrpcAnswer, GrpcServer, attribute, is_child};
use tonic::Code;
use tower_dapr::{
    outbound::{Dapr, Endpoint},
    retry::{Backoff, RetryPolicy},
    testing::MetricRecorder,
};

#[tokio::test]
async fn a_read_that_fails_twice_succeeds_as_one_call_with_a_span_per_retry() {
    let server = failing(2).await;
    let (spans, metrics) = (support::Spans::new(), MetricRecorder::new());
    let dapr = dapr(&server, &spans, &metrics);
    assert!(dapr.state("statestore").get::<u32>("k").await.unwrap().is_none());

    let name = "dapr.proto.runtime.v1.Dapr/GetState";
    let all = spans.all();
    // The call ends last, and well; its retries are below it.
    let (call, retries) = all.split_last().unwrap();
    assert_eq!((call.name.as_ref(), attribute(call, "error.type")), (name, None));
    let results: Vec<_> = retries.iter().map(|span| attribute(span, "rpc.response.status_code").unwrap()).collect();
    assert_eq!(results, ["UNAVAILABLE", "OK"]);
    assert!(retries.iter().all(|retry| is_child(retry, call)));

    // Each attempt went out under a span of its own.
    let seen = server.seen.lock().unwrap();
    let sent: HashSet<_> = seen.iter().map(|headers| headers["traceparent"].clone()).collect();
    assert_eq!((seen.len(), sent.len()), (3, 3));
    assert_eq!(seen[2]["grpc-previous-rpc-attempts"], "2");
    drop(seen);

    let calls = metrics.histogram("rpc.client.call.duration");
    assert_eq!((calls.len(), calls[0].count()), (1, 1), "one call, however many attempts");
    assert_eq!(metrics.histogram("dapr.client.retries")[0].sum(), 2.0);
}

#[tokio::test]
async fn a_publish_is_not_sent_twice() {
    let server = failing(1).await;
    let dapr = dapr(&server, &support::Spans::new(), &MetricRecorder::new());
    assert!(dapr.publish("pubsub", "orders").json(&1).await.unwrap_err().is_unavailable());
    assert_eq!(server.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_conditional_write_is_not_sent_twice_and_an_unconditional_one_is() {
    let server = failing(1).await;
    let dapr = dapr(&server, &support::Spans::new(), &MetricRecorder::new());
    let store = dapr.state("statestore");
    assert!(store.save("k", &1).if_match("7").await.unwrap_err().is_unavailable());
    assert_eq!(server.seen.lock().unwrap().len(), 1);

    let server = failing(1).await;
    let dapr = self::dapr(&server, &support::Spans::new(), &MetricRecorder::new());
    dapr.state("statestore").save("k", &1).await.unwrap();
    assert_eq!(server.seen.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn time_that_runs_out_is_deadline_exceeded_and_told_to_the_server() {
    let server = GrpcServer::answering(|| GrpcAnswer { hangs: true, ..GrpcAnswer::default() }).await;
    let spans = support::Spans::new();
    let dapr = Dapr::builder()
        .endpoint(Endpoint::local(server.address.port()))
        .tracer_provider(&spans.provider)
        .timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let error = dapr.state("statestore").get::<u32>("k").await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(server.last_headers().contains_key("grpc-timeout"));
    assert_eq!(attribute(&spans.one(), "rpc.response.status_code").as_deref(), Some("DEADLINE_EXCEEDED"));
}

// ===== helpers =====

/// A sidecar that is not available for the first calls.
async fn failing(times: usize) -> GrpcServer {
    let calls = Arc::new(AtomicUsize::new(0));
    GrpcServer::answering(move || {
        if calls.fetch_add(1, Ordering::Relaxed) < times {
            GrpcAnswer::error(Code::Unavailable, "starting")
        } else {
            GrpcAnswer::message(&GetStateResponse::default())
        }
    })
    .await
}

fn dapr(server: &GrpcServer, spans: &support::Spans, metrics: &MetricRecorder) -> Dapr {
    let quick = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
    Dapr::builder()
        .endpoint(Endpoint::local(server.address.port()))
        .tracer_provider(&spans.provider)
        .meter_provider(&metrics.provider("app"))
        .retry(RetryPolicy::new().with_backoff(quick))
        .build()
        .unwrap()
}
