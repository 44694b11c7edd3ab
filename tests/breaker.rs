//! The circuit breaker around a channel: per target, fed by how calls truly end.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/script.rs"]
#[allow(dead_code, reason = "not every test file uses all of it")]
#[allow(unreachable_pub, reason = "a module of tests")]
mod script;

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    GetConfigurationRequest, GetStateRequest, InvokeActorRequest, InvokeServiceRequest, SubscribeConfigurationRequest,
    dapr_client::DaprClient,
};
use futures_util::StreamExt;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tonic::{Code, body::Body};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_dapr::{
    breaker::{BreakerLayer, BreakerOpen, BreakerPolicy},
    retry::{Backoff, RetryLayer, RetryPolicy},
};

use script::{Answer, BoxError, Handle, dapr, http};

const SECOND: Duration = Duration::from_secs(1);

fn get(store: &str) -> Request<Body> {
    dapr("GetState", &GetStateRequest { store_name: store.into(), key: "k".into(), ..Default::default() })
}

/// Was the call let through? Reads its answer to the end.
async fn passes<S, B>(stack: &S, request: Request<Body>) -> bool
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = BoxError> + Clone,
    B: http_body::Body,
{
    match stack.clone().oneshot(request).await {
        Ok(response) => {
            let _ = response.into_body().collect().await;
            true
        }
        Err(error) => !error.is::<BreakerOpen>(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_left_alone_and_no_other() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Internal));
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(3)).layer(inner.clone());
    for _ in 0..3 {
        assert!(passes(&stack, get("redis")).await);
    }
    let error = stack.clone().oneshot(get("redis")).await.unwrap_err();
    let open = error.downcast_ref::<BreakerOpen>().unwrap();
    assert_eq!((open.target(), open.retry_after()), ("redis", 30 * SECOND));
    assert_eq!(inner.calls(), 3);
    assert!(passes(&stack, get("postgres")).await);
    let invoke = dapr("InvokeService", &InvokeServiceRequest { id: "shop".into(), message: None });
    assert!(passes(&stack, invoke).await);
}

#[tokio::test(start_paused = true)]
async fn the_generated_client_sees_unavailable_and_when_to_come_back() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1).open_for(1500 * SECOND / 1000)).layer(inner);
    let mut client = DaprClient::new(stack);
    let request = || GetStateRequest { store_name: "redis".into(), ..Default::default() };
    client.get_state(request()).await.unwrap_err();
    let status = client.get_state(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("retry-after").unwrap(), "2");
    assert!(status.source().unwrap().is::<BreakerOpen>());
}

#[tokio::test(start_paused = true)]
async fn one_call_tries_when_the_time_has_come() {
    let inner = Handle::new(|n, _| if n < 2 { Answer::grpc(Code::Unavailable) } else { Answer::ok() });
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(inner.clone());
    assert!(passes(&stack, get("redis")).await);
    tokio::time::advance(30 * SECOND).await;
    assert!(passes(&stack, get("redis")).await, "a probe, which fails");
    assert!(!passes(&stack, get("redis")).await);
    tokio::time::advance(30 * SECOND).await;
    // A probe that is on its way keeps others out.
    let probe = stack.clone().oneshot(get("redis")).await.unwrap();
    assert!(!passes(&stack, get("redis")).await);
    probe.into_body().collect().await.unwrap();
    assert!(passes(&stack, get("redis")).await);
    assert!(passes(&stack, get("redis")).await);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_leaves_its_place() {
    let inner = Handle::new(|n, _| if n == 0 { Answer::grpc(Code::Unavailable) } else { Answer::ok().after(SECOND) });
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(inner);
    assert!(passes(&stack, get("redis")).await);
    tokio::time::advance(30 * SECOND).await;
    assert!(tokio::time::timeout(SECOND / 2, stack.clone().oneshot(get("redis"))).await.is_err());
    assert!(passes(&stack, get("redis")).await);
}

fn subscribe() -> Request<Body> {
    dapr("SubscribeConfiguration", &SubscribeConfigurationRequest { store_name: "redis".into(), ..Default::default() })
}

fn configuration() -> Request<Body> {
    dapr("GetConfiguration", &GetConfigurationRequest { store_name: "redis".into(), ..Default::default() })
}

/// A message, and then nothing for as long as it is read.
fn endless() -> Answer {
    let message = Ok::<_, tonic::Status>(Frame::data(Bytes::from_static(b"\0\0\0\0\0")));
    Answer::body(Body::new(StreamBody::new(
        futures_util::stream::iter([message]).chain(futures_util::stream::pending()),
    )))
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_tries_has_succeeded_with_its_first_message() {
    let inner = Handle::new(|n, _| match n {
        0 => Answer::grpc(Code::Unavailable),
        1 => endless(),
        _ => Answer::ok(),
    });
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(inner);
    assert!(passes(&stack, configuration()).await);
    tokio::time::advance(30 * SECOND).await;
    let mut stream = stack.clone().oneshot(subscribe()).await.unwrap().into_body();
    assert!(!passes(&stack, configuration()).await, "daprd's head says nothing");
    stream.frame().await.unwrap().unwrap();
    for _ in 0..2 {
        assert!(passes(&stack, configuration()).await);
    }
    // It is no call of the breaker's any more.
    drop(stream);
    assert!(passes(&stack, configuration()).await);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_counts_whether_it_tries_or_not() {
    for answer in [Answer::grpc as fn(Code) -> Answer, Answer::message_then, |code| Answer::trailers_only(code, &[])] {
        let inner = Handle::new(move |_, _| answer(Code::Unavailable));
        let stack = BreakerLayer::new(BreakerPolicy::consecutive(2)).layer(inner);
        assert!(passes(&stack, subscribe()).await);
        assert!(passes(&stack, subscribe()).await);
        assert!(!passes(&stack, subscribe()).await);
    }
    let stack =
        BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(Handle::new(|_, _| Answer::grpc(Code::Internal)));
    assert!(passes(&stack, subscribe()).await);
    tokio::time::advance(30 * SECOND).await;
    assert!(passes(&stack, subscribe()).await, "a probe, which fails");
    assert!(!passes(&stack, configuration()).await);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_keeps_others_out_for_as_long_as_an_open_breaker() {
    let inner = Handle::new(|n, _| match n {
        0 => Answer::grpc(Code::Unavailable),
        1 => Answer::hang(),
        _ => Answer::ok(),
    });
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(inner);
    assert!(passes(&stack, get("redis")).await);
    tokio::time::advance(30 * SECOND).await;
    let hanging = stack.clone().ready().await.unwrap().call(get("redis"));
    tokio::time::advance(29 * SECOND).await;
    assert!(!passes(&stack, get("redis")).await);
    tokio::time::advance(SECOND).await;
    for _ in 0..2 {
        assert!(passes(&stack, get("redis")).await);
    }
    drop(hanging);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_may_stay_open_for_good() {
    let policy = BreakerPolicy::consecutive(1).open_for(Duration::MAX);
    let stack = BreakerLayer::new(policy).layer(Handle::new(|_, _| Answer::grpc(Code::Unavailable)));
    assert!(passes(&stack, get("redis")).await);
    tokio::time::advance(1_000_000 * SECOND).await;
    let error = stack.oneshot(get("redis")).await.unwrap_err();
    assert!(error.downcast_ref::<BreakerOpen>().unwrap().retry_after() > 1_000_000 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_store_an_app_and_an_actor_type_of_the_same_name_are_three_targets() {
    let stack =
        BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(Handle::new(|_, _| Answer::grpc(Code::Internal)));
    let invoke = || dapr("InvokeService", &InvokeServiceRequest { id: "orders".into(), message: None });
    let actor = || dapr("InvokeActor", &InvokeActorRequest { actor_type: "orders".into(), ..Default::default() });
    let makes: [&dyn Fn() -> Request<Body>; 3] = [&|| get("orders"), &invoke, &actor];
    for make in makes {
        assert!(passes(&stack, make()).await);
        let error = stack.clone().oneshot(make()).await.unwrap_err();
        assert_eq!(error.downcast_ref::<BreakerOpen>().unwrap().target(), "orders");
    }
    let mut proxied = script::grpc("/shop.Stock/Level", &());
    proxied.headers_mut().insert("dapr-app-id", "orders".parse().unwrap());
    assert!(!passes(&stack, proxied).await, "it is the app that is invoked");
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_target_that_is_well_keep_it_closed() {
    for code in [Code::NotFound, Code::Aborted, Code::InvalidArgument, Code::PermissionDenied, Code::FailedPrecondition]
    {
        let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(Handle::new(move |_, _| Answer::grpc(code)));
        assert!(passes(&stack, get("redis")).await);
        assert!(passes(&stack, get("redis")).await, "{code:?}");
    }
    for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::ResourceExhausted, Code::Unknown] {
        for answer in
            [Answer::grpc as fn(Code) -> Answer, Answer::message_then, |code| Answer::trailers_only(code, &[])]
        {
            let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(Handle::new(move |_, _| answer(code)));
            assert!(passes(&stack, get("redis")).await);
            assert!(!passes(&stack, get("redis")).await, "{code:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_transport_count() {
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(Handle::new(|_, _| Answer::connect_error()));
    assert!(passes(&stack, get("redis")).await);
    assert!(!passes(&stack, get("redis")).await);
}

#[tokio::test(start_paused = true)]
async fn retries_end_when_it_opens() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let policy = RetryPolicy::new().with_max_attempts(9).with_backoff(Backoff::new(SECOND / 100, SECOND / 100));
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(BreakerLayer::new(BreakerPolicy::consecutive(3)))
        .service(inner.clone());
    let error = stack.oneshot(get("redis")).await.unwrap_err();
    assert!(error.is::<BreakerOpen>());
    assert_eq!(inner.calls(), 3);
}

/// As a proxy gives one. The retry reads none of its body.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_grpc_counts_although_nobody_reads_it() {
    let inner = Handle::new(|_, _| Answer::http(503, &[("content-type", "text/plain")], "no healthy upstream"));
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::new()))
        .layer(BreakerLayer::new(BreakerPolicy::consecutive(1)))
        .service(inner.clone());
    let error = stack.oneshot(get("redis")).await.unwrap_err();
    assert!(error.is::<BreakerOpen>());
    assert_eq!(inner.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_told_apart_by_its_target() {
    let inner = Handle::new(|_, _| Answer::http(503, &[], "no"));
    let stack = BreakerLayer::new(BreakerPolicy::consecutive(1)).layer(inner);
    for [uri, same, other] in [
        [
            "http://localhost/v1.0/state/redis/a",
            "http://localhost/v1.0/state/redis/b",
            "http://localhost/v1.0/state/pg/a",
        ],
        [
            "http://localhost/v1.0/publish/bus/t",
            "http://localhost/v1.0/publish/bus/u",
            "http://localhost/v1.0/bindings/bus",
        ],
        [
            "http://localhost/v1.0-alpha1/publish/bulk/bus/t",
            "http://localhost/v1.0-alpha1/publish/bulk/bus/u",
            "http://localhost/v1.0-alpha1/publish/bulk/other/t",
        ],
        [
            "http://localhost/v1.0-alpha1/state/mongo/query",
            "http://localhost/v1.0/state/mongo/a",
            "http://localhost/v1.0-alpha1/lock/mongo",
        ],
        ["http://a/x", "http://a/y", "http://b/x"],
    ] {
        assert!(passes(&stack, http("GET", uri)).await, "{uri}");
        assert!(!passes(&stack, http("GET", same)).await, "{same}");
        assert!(passes(&stack, http("GET", other)).await, "{other}");
    }
    let of_app = |id: &str| {
        let mut request = http("GET", "http://c/x");
        request.headers_mut().insert("dapr-app-id", id.parse().unwrap());
        request
    };
    assert!(passes(&stack, of_app("shop")).await);
    assert!(!passes(&stack, of_app("shop")).await);
    assert!(passes(&stack, of_app("stock")).await);
}

#[tokio::test(start_paused = true)]
async fn the_target_may_be_the_callers_own() {
    let inner = Handle::new(|_, _| Answer::http(500, &[], ""));
    let layer = BreakerLayer::new(BreakerPolicy::consecutive(1))
        .with_target(|request| request.headers.get("x-tenant").map(|tenant| Arc::from(tenant.to_str().unwrap())));
    let stack = layer.layer(inner);
    let of = |tenant: &str| {
        let mut request = http("GET", "/");
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        request
    };
    assert!(passes(&stack, of("a")).await);
    assert!(!passes(&stack, of("a")).await);
    assert!(passes(&stack, of("b")).await);
    for _ in 0..3 {
        assert!(passes(&stack, http("GET", "/")).await, "no target, no breaker");
    }
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_state_and_only_a_ready_instance_is_called() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let layer = BreakerLayer::default();
    let (mut a, mut b) = (layer.layer(inner.clone()), layer.layer(inner.clone()));
    for n in 0..10 {
        let stack = if n % 2 == 0 { &mut a } else { &mut b };
        if let Ok(response) = stack.ready().await.unwrap().call(get("redis")).await {
            response.into_body().collect().await.unwrap();
        }
    }
    assert_eq!(inner.calls(), 5);
}
