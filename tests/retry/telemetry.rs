//! What spans and metrics say about retries.

use std::time::Duration;

use dapr::dapr::proto::runtime::v1::GetStateRequest;
use http::Request;
use http_body_util::BodyExt;
use opentelemetry::trace::SpanKind;
use tonic::{Code, body::Body};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_dapr::{
    deadline::DeadlineLayer,
    retry::{Budget, Retried, RetryLayer, RetryPolicy, is_retry},
    rpc::{Rpc, Safety, Streaming},
    testing::MetricRecorder,
    trace::TraceLayer,
};

use crate::{
    Answer, Handle, dapr,
    support::{Spans, attribute, is_child, is_root},
};

const METHOD: &str = "dapr.proto.runtime.v1.Dapr/GetState";

fn get() -> Request<Body> {
    dapr("GetState", &GetStateRequest { store_name: "statestore".into(), key: "secret".into(), ..Default::default() })
}

fn parent_id(headers: &http::HeaderMap) -> String {
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    headers["traceparent"].to_str().unwrap()[36..52].to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_span_for_the_call_and_one_for_each_retry() {
    let spans = Spans::new();
    let inner = Handle::new(|n, _| if n < 2 { Answer::grpc(Code::Unavailable) } else { Answer::ok() });
    let trace = || TraceLayer::client().with_tracer_provider(&spans.provider);
    let stack = ServiceBuilder::new()
        .layer(trace())
        .layer(RetryLayer::new(RetryPolicy::new()))
        .layer(trace().with_filter(is_retry))
        .service(inner.clone());
    let response = stack.oneshot(get()).await.unwrap();
    response.into_body().collect().await.unwrap();

    let all = spans.all();
    assert_eq!(all.len(), 3);
    let call = all.iter().find(|span| is_root(span)).unwrap();
    assert_eq!(attribute(call, "rpc.response.status_code").unwrap(), "OK");
    let retries: Vec<_> = all.iter().filter(|span| is_child(span, call)).collect();
    assert_eq!(retries.len(), 2);
    assert!(retries.iter().all(|span| span.span_kind == SpanKind::Client && span.name == METHOD));
    assert_eq!(attribute(retries[0], "error.type").unwrap(), "UNAVAILABLE");
    assert_eq!(attribute(retries[1], "error.type"), None);

    // Each attempt has its own id on the wire: the call's for the first, its own for a retry.
    let seen: Vec<_> = inner.seen().iter().map(|seen| parent_id(&seen.head.headers)).collect();
    let ids = [call, retries[0], retries[1]].map(|span| span.span_context.span_id().to_string());
    assert_eq!(seen, ids);

    let events = &call.events.events;
    assert_eq!(events.len(), 2);
    let text = format!("{events:?}");
    assert!(events.iter().all(|event| event.name == "dapr.retry"));
    assert!(text.contains("UNAVAILABLE") && text.contains("dapr.retry.delay") && text.contains("dapr.retry.number"));
    assert!(!text.contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_retry_has_one_span() {
    let spans = Spans::new();
    let inner = Handle::new(|_, _| Answer::ok());
    let trace = || TraceLayer::client().with_tracer_provider(&spans.provider);
    let stack = ServiceBuilder::new()
        .layer(trace())
        .layer(RetryLayer::new(RetryPolicy::new()))
        .layer(trace().with_filter(is_retry))
        .service(inner.clone());
    stack.oneshot(get()).await.unwrap().into_body().collect().await.unwrap();
    assert!(spans.one().events.events.is_empty());
    assert_eq!(inner.seen()[0].head.extensions.get::<Retried>(), None);
}

#[tokio::test(start_paused = true)]
async fn retries_are_numbered_for_the_layers_inside() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let _ = RetryLayer::new(RetryPolicy::new()).layer(inner.clone()).oneshot(get()).await.unwrap();
    let numbers: Vec<_> =
        inner.seen().iter().map(|seen| seen.head.extensions.get::<Retried>().map(|retry| retry.number())).collect();
    assert_eq!(numbers, [None, Some(1), Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn attempts_retries_waits_and_the_empty_budget_are_counted() {
    let metrics = MetricRecorder::new();
    let budget = Budget::new(10, 2).with_min_per_second(0);
    let layer = RetryLayer::new(RetryPolicy::new().with_budget(budget)).with_meter_provider(&metrics.provider("app"));
    // One call that succeeds, one that needs two retries, one that finds no budget.
    let inner = Handle::new(|n, _| if matches!(n, 0 | 3) { Answer::ok() } else { Answer::grpc(Code::Unavailable) });
    for _ in 0..3 {
        let _ = layer.layer(inner.clone()).oneshot(get()).await.unwrap();
    }
    assert_eq!(inner.calls(), 5);

    let attempts = metrics.counter("dapr.client.attempts");
    let of = |status: Option<&str>| {
        let point = attempts.iter().find(|point| point.attribute_str("rpc.response.status_code") == status).unwrap();
        assert_eq!(point.attribute_str("rpc.method"), Some(METHOD));
        assert_eq!(point.attribute_str("dapr.component.name"), status.map(|_| "statestore"));
        point.value()
    };
    assert_eq!((of(None), of(Some("UNAVAILABLE"))), (2.0, 3.0));
    let retries = metrics.histogram("dapr.client.retries");
    assert_eq!((retries[0].count(), retries[0].sum()), (1, 2.0));
    let delays = metrics.histogram("dapr.client.retry.delay");
    assert_eq!(delays[0].count(), 2);
    assert_eq!(delays[0].attribute_str("dapr.component.name"), Some("statestore"));
    let exhausted = metrics.counter("dapr.client.retry.budget.exhausted");
    assert_eq!(exhausted[0].value(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_short_has_its_retries_counted_too() {
    let metrics = MetricRecorder::new();
    let layer = RetryLayer::new(RetryPolicy::new()).with_meter_provider(&metrics.provider("app"));
    // The deadline ends the first call in its first retry, the second call in its only attempt.
    let inner = Handle::new(|n, _| if n == 0 { Answer::grpc(Code::Unavailable) } else { Answer::hang() });
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::per_call(Duration::from_secs(5)))
        .layer(layer)
        .service(inner.clone());
    for calls in [2, 3] {
        stack.clone().oneshot(get()).await.unwrap_err();
        assert_eq!(inner.calls(), calls);
        let retries = metrics.histogram("dapr.client.retries");
        assert_eq!((retries.len(), retries[0].count(), retries[0].sum()), (1, 1, 1.0));
        assert_eq!(retries[0].attribute_str("rpc.method"), Some(METHOD));
    }
}

#[tokio::test(start_paused = true)]
async fn what_succeeds_is_counted_under_its_own_method() {
    let metrics = MetricRecorder::new();
    let layer = RetryLayer::new(RetryPolicy::new()).with_meter_provider(&metrics.provider("app"));
    let inner = Handle::new(|_, _| Answer::ok());
    let counted = |rpc: &&Rpc| rpc.streaming() == Streaming::Unary && rpc.safety() != Safety::Never;
    for _ in 0..2 {
        for rpc in Rpc::all().filter(counted) {
            let mut request = get();
            *request.uri_mut() = rpc.path().parse().unwrap();
            let _ = layer.layer(inner.clone()).oneshot(request).await.unwrap();
        }
        let mut request = get();
        *request.uri_mut() = "/orders.v1.Orders/Place".parse().unwrap();
        let _ = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    }
    let attempts = metrics.counter("dapr.client.attempts");
    let methods: Vec<_> = Rpc::all().filter(counted).map(|rpc| Some(rpc.full_method())).chain([None]).collect();
    for method in &methods {
        let point = attempts.iter().find(|point| point.attribute_str("rpc.method") == *method);
        assert_eq!(point.map(|point| point.value()), Some(2.0), "{method:?}");
    }
    assert_eq!(attempts.len(), methods.len());
}
