//! The ready policy against an embedded sidecar with faults: how much more is sent, and that no write is done twice that
//! was not safe to do twice.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tonic::Code;
use tower::ServiceBuilder;
use tower_dapr::{
    outbound::{Dapr, Endpoint},
    retry::{Backoff, Budget, RetryLayer, RetryPolicy},
    sidecar::{Fault, Hub, Sidecar},
};

const CALLS: u32 = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_sidecar_is_not_asked_much_more_than_it_was_called() {
    for (percent, at_most) in [(0, 1.0), (10, 1.11), (50, 1.10), (100, 1.10)] {
        let (hub, sidecar) = start().await;
        let sent = Arc::new(AtomicU64::new(0));
        let dapr = dapr(&sidecar, &sent, 1);
        hub.fail_next("GetState", Code::Unavailable, if percent == 100 { u32::MAX } else { 0 });
        let store = dapr.state("statestore");
        stream::iter(0..CALLS)
            .for_each_concurrent(32, |n| {
                let (store, hub) = (store.clone(), hub.clone());
                async move {
                    if percent < 100 && n % 100 < percent {
                        hub.fail_next("GetState", Code::Unavailable, 1);
                    }
                    let _ = store.get::<u32>("k").await;
                }
            })
            .await;
        let attempts = sent.load(Relaxed) as f64 / f64::from(CALLS);
        assert!((1.0..=at_most).contains(&attempts), "{percent} %: {attempts} attempts a call");
        hub.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stacked_policies_with_one_budget_each_do_not_multiply() {
    let (hub, sidecar) = start().await;
    hub.fail_next("GetState", Code::Unavailable, u32::MAX);
    let sent = Arc::new(AtomicU64::new(0));
    let store = dapr(&sidecar, &sent, 2).state("statestore");
    stream::iter(0..CALLS).for_each_concurrent(32, |_| async { drop(store.get::<u32>("k").await) }).await;
    let attempts = sent.load(Relaxed) as f64 / f64::from(CALLS);
    assert!(attempts <= 1.21, "{attempts} attempts a call");
    hub.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_is_not_done_twice_unless_that_is_safe() {
    let (hub, sidecar) = start().await;
    let sent = Arc::new(AtomicU64::new(0));
    let dapr = dapr(&sidecar, &sent, 1);

    // A publish: done once, whatever its caller was told.
    for _ in 0..100 {
        hub.inject("PublishEvent", Fault::Lost(Code::Unavailable), 1);
        assert!(dapr.publish("pubsub", "orders").json(&1).await.unwrap_err().is_unavailable());
    }
    assert_eq!(sent.swap(0, Relaxed), 100);

    // A conditional write: a second one would be refused for the first one's sake.
    let store = dapr.state("statestore");
    store.save("n", &0_u32).await.unwrap();
    sent.store(0, Relaxed);
    for _ in 0..100 {
        let entry = store.get::<u32>("n").await.unwrap().unwrap();
        hub.inject("SaveState", Fault::Lost(Code::Unavailable), 1);
        let saved = store.save("n", &(entry.value + 1)).if_match(entry.etag).await;
        assert!(saved.unwrap_err().is_unavailable());
    }
    assert_eq!(store.get::<u32>("n").await.unwrap().unwrap().value, 100, "each was done, and done once");
    assert_eq!(sent.swap(0, Relaxed), 201);

    // An unconditional write may be done twice: it is, and the caller never learns of the loss.
    hub.inject("SaveState", Fault::Lost(Code::Unavailable), 1);
    store.save("n", &7_u32).await.unwrap();
    assert_eq!(sent.load(Relaxed), 2);
    hub.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_break_off_or_say_nothing_are_no_reason_to_repeat_an_effect() {
    for fault in [Fault::HangUp, Fault::NoStatus] {
        let (hub, sidecar) = start().await;
        let sent = Arc::new(AtomicU64::new(0));
        let dapr = dapr(&sidecar, &sent, 1);
        hub.inject("PublishEvent", fault, 1);
        dapr.publish("pubsub", "orders").json(&1).await.unwrap_err();
        assert_eq!(sent.load(Relaxed), 1);
        dapr.publish("pubsub", "orders").json(&1).await.unwrap();
        hub.shutdown().await;
    }
}

// ===== helpers =====

async fn start() -> (Hub, Sidecar) {
    let hub = Hub::builder().state_store("statestore").pubsub("pubsub").build();
    let sidecar = hub.app("app").start().await.unwrap();
    (hub, sidecar)
}

/// A handle over so many retry layers, which counts what leaves it. No retries on top of the budget's.
fn dapr(sidecar: &Sidecar, sent: &Arc<AtomicU64>, layers: usize) -> Dapr {
    let channel = Endpoint::local(sidecar.grpc_port()).connect_lazy().unwrap();
    let sent = sent.clone();
    let policy = || {
        let backoff =
            Backoff::new(Duration::from_millis(1), Duration::from_millis(2)).with_floor(Duration::from_millis(1));
        RetryPolicy::new().with_backoff(backoff).with_budget(Budget::default().with_min_per_second(0))
    };
    let counted = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .map_request(move |request| {
            sent.fetch_add(1, Relaxed);
            request
        })
        .service(channel);
    match layers {
        1 => Dapr::new(counted),
        _ => Dapr::new(ServiceBuilder::new().layer(RetryLayer::new(policy())).service(counted)),
    }
}
