//! How much more is sent than was asked for, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::Request;
use tonic::{Code, body::Body};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_dapr::retry::{Backoff, Budget, RetryLayer, RetryPolicy};

use crate::{Answer, BoxError, Handle, dapr};

const CALLS: usize = 10_000;

fn get() -> Request<Body> {
    dapr("GetState", &())
}

/// Fails this share of its attempts, spread as by a hash.
fn failing(percent: u64) -> Handle {
    let random = AtomicU64::new(1);
    Handle::new(move |_, _| {
        let mixed = random.fetch_add(0x9e37_79b9_7f4a_7c15, SeqCst).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let draw = ((mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % 100;
        if draw < percent { Answer::grpc(Code::Unavailable) } else { Answer::ok() }.reading(0)
    })
}

async fn run<S>(stack: S)
where
    S: Service<Request<Body>> + Clone,
{
    stream::iter(0..CALLS)
        .for_each_concurrent(100, |n| {
            let stack = stack.clone();
            async move {
                let call = stack.oneshot(get());
                // Some callers go away.
                if n % 17 == 0 {
                    let _ = tokio::time::timeout(Duration::from_millis(20), call).await;
                } else {
                    let _ = call.await;
                }
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_what_is_sent() {
    for (percent, most) in [(0, 1.0), (10, 1.11), (50, 1.08), (100, 1.011)] {
        let inner = failing(percent);
        let budget = Budget::default().with_min_per_second(0);
        run(RetryLayer::new(RetryPolicy::new().with_budget(budget)).layer(inner.clone())).await;
        let amplification = inner.calls() as f64 / CALLS as f64;
        assert!((1.0..=most).contains(&amplification), "{percent} % -> {amplification}");
        println!("{percent} % of attempts fail: {amplification:.4} attempts per call");
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_budget_at_full_failure_is_within_a_tenth() {
    let inner = failing(100);
    run(RetryLayer::new(RetryPolicy::new()).layer(inner.clone())).await;
    let amplification = inner.calls() as f64 / CALLS as f64;
    assert!(amplification <= 1.10, "{amplification}");
}

#[tokio::test(start_paused = true)]
async fn two_stacks_multiply_to_a_fifth_at_most() {
    for percent in [0, 10, 50, 100] {
        let inner = failing(percent);
        let lower = BoxCloneSyncService::new(
            RetryLayer::new(RetryPolicy::new())
                .layer(inner.clone())
                .map_response(|response| response.map(Body::new))
                .map_err(BoxError::from),
        );
        run(RetryLayer::new(RetryPolicy::new()).layer(lower)).await;
        let amplification = inner.calls() as f64 / CALLS as f64;
        println!("{percent} % of attempts fail: {amplification:.4} attempts per call through two stacks");
        assert!(amplification <= 1.21, "{percent} % -> {amplification}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_budget_it_would_be_three_times_as_much() {
    let inner = failing(100);
    run(RetryLayer::new(RetryPolicy::new().without_budget()).layer(inner.clone())).await;
    assert!(inner.calls() > 2 * CALLS, "the test above would not notice a budget that is not wired");
}

#[tokio::test(start_paused = true)]
async fn the_balance_is_what_the_model_says() {
    for percent in [0, 10, 50, 100] {
        let inner = failing(percent);
        let budget = Budget::new(10, 100).with_min_per_second(0);
        let policy =
            RetryPolicy::new().with_budget(budget.clone()).with_backoff(Backoff::new(Duration::ZERO, Duration::ZERO));
        let stack = RetryLayer::new(policy).layer(inner.clone());
        // In thousandths. A failure that is followed by another attempt of the same call has cost a token.
        let mut model = 100_000_u64;
        for _ in 0..2000 {
            let before = inner.calls();
            let response = stack.clone().oneshot(get()).await.unwrap();
            let failed = crate::code(response).await != Code::Ok;
            model -= (inner.calls() - before - 1) as u64 * 1000;
            if !failed {
                model = (model + 100).min(100_000);
            }
        }
        assert_eq!(budget.balance(), model / 1000, "{percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_fail_together_do_not_come_back_together() {
    let mut histograms = Vec::new();
    for _ in 0..2 {
        let buckets: Arc<Vec<AtomicUsize>> = Arc::new((0..101).map(|_| AtomicUsize::new(0)).collect());
        let start = tokio::time::Instant::now();
        let clients = (0..1000).map(|_| {
            let buckets = buckets.clone();
            let inner = Handle::new(move |n, _| match n {
                0 => Answer::grpc(Code::Unavailable),
                _ => {
                    let at = start.elapsed().as_millis() as usize / 10;
                    buckets[at.min(100)].fetch_add(1, SeqCst);
                    Answer::ok()
                }
            });
            let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
            RetryLayer::new(RetryPolicy::new().with_backoff(backoff)).layer(inner).oneshot(get())
        });
        futures_util::future::join_all(clients).await;
        let histogram: Vec<_> = buckets.iter().map(|bucket| bucket.load(SeqCst)).collect();
        assert_eq!(histogram.iter().sum::<usize>(), 1000);
        assert!(*histogram.iter().max().unwrap() <= 30, "{histogram:?}");
        histograms.push(histogram);
    }
    assert_ne!(histograms[0], histograms[1]);
}
