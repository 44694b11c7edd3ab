//! The layer as a tower service: readiness, back-pressure, cancellation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use tonic::{Code, body::Body};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_dapr::retry::{Backoff, Budget, Retry, RetryLayer, RetryPolicy};

use crate::{Answer, BoxError, Handle, busy::spend_the_turn, code, dapr};

const MS: Duration = Duration::from_millis(1);

fn get() -> Request<Body> {
    dapr("GetState", &())
}

fn fast() -> RetryPolicy {
    RetryPolicy::new().without_budget().with_backoff(Backoff::new(MS, MS))
}

#[tokio::test(start_paused = true)]
async fn only_a_ready_instance_is_called() {
    // The handle panics otherwise. Clones begin not ready.
    let inner = Handle::new(|n, _| if n % 2 == 0 { Answer::grpc(Code::Unavailable) } else { Answer::ok() });
    let mut a = RetryLayer::new(fast()).layer(inner.clone());
    for _ in 0..20 {
        let mut b = a.clone();
        a.ready().await.unwrap();
        b.ready().await.unwrap();
        let (x, y) = (a.call(get()), b.call(get()));
        x.await.unwrap();
        y.await.unwrap();
    }
    assert_eq!(inner.seen().len(), inner.calls());
}

#[tokio::test(start_paused = true)]
async fn it_works_around_one_permit_and_around_a_buffer() {
    for buffer in [false, true] {
        let inner = Handle::new(|n, _| if n % 3 != 2 { Answer::grpc(Code::Unavailable) } else { Answer::ok() });
        let limited = tower::limit::ConcurrencyLimit::new(inner.clone(), 1);
        let mut stack = if buffer {
            let buffered = tower::buffer::Buffer::new(limited, 1);
            tower::util::BoxCloneSyncService::new(RetryLayer::new(fast()).layer(buffered))
        } else {
            let boxed = limited.map_err(BoxError::from);
            tower::util::BoxCloneSyncService::new(RetryLayer::new(fast()).layer(boxed))
        };
        for _ in 0..20 {
            let response = stack.ready().await.unwrap().call(get()).await.unwrap();
            assert_eq!(code(response).await, Code::Ok);
        }
        assert_eq!(inner.calls(), 60);
    }
}

#[tokio::test(start_paused = true)]
async fn back_pressure_holds() {
    let most = Arc::new(AtomicUsize::new(0));
    let inner = Handle::new(|n, _| {
        let answer = if n % 5 == 0 { Answer::grpc(Code::Unavailable) } else { Answer::ok() };
        answer.after(MS)
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(fast()))
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(8))
        .service(inner.clone());
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (mut stack, inner, most) = (stack.clone(), inner.clone(), most.clone());
            tokio::spawn(async move {
                for _ in 0..100 {
                    let call = stack.ready().await.unwrap().call(get());
                    most.fetch_max(inner.in_flight(), SeqCst);
                    drop(call.await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(most.load(SeqCst) <= 8);
    assert!(inner.calls() >= 6400);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_the_inner_services() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    handle.allow(0);
    let mut stack = tower_test::mock::Spawn::new(RetryLayer::new(fast()).layer(mock));
    assert!(stack.poll_ready().is_pending());
    handle.allow(1);
    assert!(stack.is_woken());
    for _ in 0..5 {
        assert!(stack.poll_ready().is_ready());
    }
    handle.send_error("gone");
    assert!(matches!(stack.poll_ready(), std::task::Poll::Ready(Err(_))));
}

#[tokio::test(start_paused = true)]
async fn a_retry_gives_up_when_the_stack_is_overloaded() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let mut stack = RetryLayer::new(fast()).layer(inner.clone());
    let call = stack.ready().await.unwrap().call(get());
    inner.overload(true);
    assert_eq!(code(call.await.unwrap()).await, Code::Unavailable);
    assert_eq!(inner.calls(), 1);
}

/// A buffer, as tonic's channel has one, says "not ready" also to a task that has done much since it was polled, so that it
/// lets others run (tokio's cooperative scheduling). That is no overload.
#[tokio::test(start_paused = true)]
async fn a_busy_task_is_no_overload() {
    let inner = Handle::new(|n, _| if n == 0 { Answer::grpc(Code::Unavailable) } else { Answer::grpc(Code::Ok) });
    let at_once = Backoff::new(Duration::ZERO, Duration::ZERO).with_floor(Duration::ZERO);
    let busy = ServiceBuilder::new()
        .layer(RetryLayer::new(fast().with_backoff(at_once)))
        .map_response(|response| {
            spend_the_turn();
            response
        })
        .buffer(8)
        .service(inner.clone());
    assert_eq!(code(busy.oneshot(get()).await.unwrap()).await, Code::Ok);
    assert_eq!(inner.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_during_the_wait_sends_nothing_and_returns_the_token() {
    let budget = Budget::new(10, 5);
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let policy = RetryPolicy::new().with_budget(budget.clone()).with_backoff(Backoff::new(10_000 * MS, 10_000 * MS));
    let call = RetryLayer::new(policy.with_random(|| u64::MAX)).layer(inner.clone()).oneshot(get());
    assert!(tokio::time::timeout(5000 * MS, call).await.is_err());
    tokio::time::sleep(60_000 * MS).await;
    assert_eq!(inner.calls(), 1);
    assert_eq!(budget.balance(), 5);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_call_in_an_attempt_ends_it() {
    for hangs in [0, 1] {
        let inner = Handle::new(move |n, _| if n == hangs { Answer::hang() } else { Answer::grpc(Code::Unavailable) });
        let call = RetryLayer::new(fast()).layer(inner.clone()).oneshot(get());
        assert!(tokio::time::timeout(5000 * MS, call).await.is_err());
        assert_eq!(inner.in_flight(), 0);
        assert_eq!(inner.calls(), hangs + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_budget() {
    let budget = Budget::new(10, 3).with_min_per_second(0);
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let policy = fast().with_budget(budget.clone());
    let stack = RetryLayer::new(policy).layer(inner.clone());
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(stack.clone().oneshot(get()))).collect();
    for call in calls {
        drop(call.await.unwrap().unwrap());
    }
    assert_eq!(inner.calls(), 10 + 3);
    assert_eq!(budget.balance(), 0);
}

#[tokio::test]
async fn futures_of_the_layer_are_send_and_small_enough_to_inline() {
    fn assert_send<T: Send>(_: &T) {}
    let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let mut stack = Retry::new(channel, RetryPolicy::new());
    stack.ready().await.unwrap();
    let call = stack.call(get());
    assert_send(&call);
    assert!(size_of_val(&call) <= 1024, "{}", size_of_val(&call));
}
