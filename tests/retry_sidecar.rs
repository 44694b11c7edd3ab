//! The ready policy against an embedded sidecar with faults: how much more is sent, and that no write is done twice that
//! was not safe to do twice.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
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
    testing::MetricRecorder,
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

/// Each fault alone: what a caller sees, and how often it was sent. A read may be repeated, an invocation may not.
#[tokio::test]
async fn each_fault_is_repeated_as_often_as_it_may_be() {
    // `None`: the caller sees a success.
    let repeated = (None, 2);
    let lost = |code| (Some(code), 1);
    let bad = |status: &str| Fault::BadStatus(status.to_owned());
    for (fault, read, invocation) in [
        (Fault::Fail(Code::Unavailable), repeated, lost(Code::Unavailable)),
        (Fault::Lost(Code::Unavailable), repeated, lost(Code::Unavailable)),
        (Fault::Fail(Code::Internal), lost(Code::Internal), lost(Code::Internal)),
        // An answer has begun: nobody can know whether the rest would have been a success.
        (Fault::HangUp, lost(Code::Internal), lost(Code::Internal)),
        (Fault::CutBehindHead, lost(Code::Unknown), lost(Code::Unknown)),
        (Fault::CutBehindMessage, lost(Code::Unknown), lost(Code::Unknown)),
        (Fault::NoStatus, lost(Code::Unknown), lost(Code::Unknown)),
        (bad("done"), lost(Code::Unknown), lost(Code::Unknown)),
        (bad("-1"), lost(Code::Unknown), lost(Code::Unknown)),
        (bad(""), lost(Code::Unknown), lost(Code::Unknown)),
        // Certainly not handled: repeated at once, whatever the call is.
        (Fault::GoAway, repeated, repeated),
    ] {
        let app = App::start().await;
        let sent = Arc::new(AtomicU64::new(0));
        let dapr = dapr(&app.sidecar, &sent, 1);
        let store = dapr.state("statestore");
        store.save("k", &1_u32).await.unwrap();

        sent.store(0, Relaxed);
        app.hub.inject("GetState", fault.clone(), 1);
        let code = store.get::<u32>("k").await.err().and_then(|error| error.code());
        assert_eq!((code, sent.swap(0, Relaxed)), read, "a read, {fault:?}");

        app.hub.inject("InvokeService", fault.clone(), 1);
        let code = app.invoke(&dapr, 1).await.err().and_then(|error| error.code());
        assert_eq!((code, sent.swap(0, Relaxed)), invocation, "an invocation, {fault:?}");

        app.invoke(&dapr, 2).await.unwrap();
        assert_eq!(sent.load(Relaxed), 1, "well again after {fault:?}");
        app.hub.shutdown().await;
    }
}

/// The ready stack, against a sidecar of which every call goes wrong in the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_calls_fail_no_more_is_sent_than_the_budget_allows() {
    for fault in faults() {
        let (hub, sidecar) = start().await;
        let metrics = MetricRecorder::new();
        let dapr = Dapr::builder()
            .endpoint(Endpoint::local(sidecar.grpc_port()))
            .meter_provider(&metrics.provider("app"))
            .retry(policy())
            .build()
            .unwrap();
        hub.inject("GetState", fault.clone(), u32::MAX);
        let store = dapr.state("statestore");
        let failed = stream::iter(0..CALLS)
            .map(|_| async { store.get::<u32>("k").await.is_err() })
            .buffer_unordered(32)
            .filter(|failed| std::future::ready(*failed))
            .count()
            .await;
        assert_eq!(failed, CALLS as usize, "{fault:?}");
        let retries: f64 = metrics.histogram("dapr.client.retries").iter().map(|point| point.sum()).sum();
        let attempts = 1.0 + retries / f64::from(CALLS);
        assert!(attempts <= 1.10, "{fault:?}: {attempts} attempts a call");
        println!("{fault:?}: {attempts:.4} attempts a call");
        hub.shutdown().await;
    }
}

/// Six calls in a hundred go wrong, each in another way, and with them those that share their connection: whatever a
/// caller is told, the app has seen its call once at most, and once if the caller was told of a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_with_an_effect_is_done_twice() {
    let app = App::start().await;
    let (done, sent) = app.count(CALLS, |n| faults().nth(n as usize % 100)).await;
    let seen = app.seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1), "done twice");
    assert!(done.iter().all(|n| seen.contains_key(n)), "a success that did not happen");
    println!("{} of {CALLS} done, {} seen, {sent} sent", done.len(), seen.len());
    assert!(done.len() > CALLS as usize / 4 && done.len() < seen.len(), "some were done and their answers lost");
}

/// A connection that goes away takes no call with it, whatever the call does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_away_is_not_noticed() {
    let app = App::start().await;
    let (done, sent) = app.count(CALLS, |n| (n % 100 == 0).then_some(Fault::GoAway)).await;
    let seen = app.seen.lock().unwrap();
    println!("{} of {CALLS} done, {sent} sent", done.len());
    assert_eq!((done.len(), seen.len()), (CALLS as usize, CALLS as usize));
    assert!(seen.values().all(|times| *times == 1), "done twice");
}

// ===== helpers =====

fn faults() -> impl Iterator<Item = Fault> {
    let bad = Fault::BadStatus("done".to_owned());
    [Fault::HangUp, Fault::CutBehindHead, Fault::CutBehindMessage, Fault::NoStatus, bad, Fault::GoAway].into_iter()
}

/// An app that counts how often it sees each number.
struct App {
    hub: Hub,
    sidecar: Sidecar,
    seen: Arc<Mutex<HashMap<u32, u32>>>,
}

impl App {
    async fn start() -> Self {
        let seen: Arc<Mutex<HashMap<u32, u32>>> = Arc::default();
        let counts = seen.clone();
        let router = axum::Router::new().route(
            "/count/{n}",
            axum::routing::post(async move |axum::extract::Path(n): axum::extract::Path<u32>| {
                *counts.lock().unwrap().entry(n).or_default() += 1;
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let hub = Hub::builder().state_store("statestore").build();
        let sidecar = hub.app("app").app_port(port).start().await.unwrap();
        sidecar.ready().await;
        Self { hub, sidecar, seen }
    }

    /// Calls it with each number, 32 at a time. Gives the numbers whose callers were told of a success, and the attempts.
    async fn count(&self, calls: u32, fault: impl Fn(u32) -> Option<Fault>) -> (HashSet<u32>, u64) {
        let sent = Arc::new(AtomicU64::new(0));
        let dapr = dapr(&self.sidecar, &sent, 1);
        let results = stream::iter(0..calls).map(|n| {
            if let Some(fault) = fault(n) {
                self.hub.inject("InvokeService", fault, 1);
            }
            let dapr = &dapr;
            async move { self.invoke(dapr, n).await.ok().map(|()| n) }
        });
        let done = results.buffer_unordered(32).filter_map(std::future::ready).collect().await;
        (done, sent.load(Relaxed))
    }

    async fn invoke(&self, dapr: &Dapr, n: u32) -> Result<(), tower_dapr::Error> {
        dapr.invoke("app").post(format!("count/{n}")).await.map(drop)
    }
}

async fn start() -> (Hub, Sidecar) {
    let hub = Hub::builder().state_store("statestore").pubsub("pubsub").build();
    let sidecar = hub.app("app").start().await.unwrap();
    (hub, sidecar)
}

/// A handle over so many retry layers, which counts what leaves it. No retries on top of the budget's.
fn dapr(sidecar: &Sidecar, sent: &Arc<AtomicU64>, layers: usize) -> Dapr {
    let channel = Endpoint::local(sidecar.grpc_port()).connect_lazy().unwrap();
    let sent = sent.clone();
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

fn policy() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2)).with_floor(Duration::from_millis(1));
    RetryPolicy::new().with_backoff(backoff).with_budget(Budget::default().with_min_per_second(0))
}
