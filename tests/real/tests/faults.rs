//! Parts that fail in the middle of the work: nothing that was accepted is lost, and no app hangs.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::shop::{SERVICES, Shop, eventually};
use crate::real::{Customer, Stack};

super::tests![
    a_daprd_that_dies_in_the_middle_of_a_thousand_orders_loses_none,
    redis_stopped_for_five_seconds_loses_no_order,
    an_app_restarted_in_the_middle_loses_no_order,
    without_a_collector_orders_go_on_and_the_apps_end_in_time,
    with_a_stuck_collector_orders_go_on_and_the_apps_end_in_time,
];

/// How long an app may take to end when it is told to.
const EXIT: Duration = Duration::from_secs(6);

async fn a_daprd_that_dies_in_the_middle_of_a_thousand_orders_loses_none() {
    let mut shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    let before = shop.services[2].app.memory();
    let (port, sent) = (shop.services[0].port, AtomicUsize::new(0));
    let payment = &mut shop.services[2].daprd;
    let orders = place(port, 1_000, &sent);
    let fault = async {
        while sent.load(Ordering::Relaxed) < 300 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        payment.process.kill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        payment.restart();
        payment.ready().await;
    };
    let (accepted, ()) = tokio::join!(orders, fault);
    assert_eq!(accepted.len(), 1_000, "the sidecar of another service concerns nobody who orders");
    // What it had taken is delivered again after `processingTimeout`, 20 s.
    all_processed(&shop, &accepted, Duration::from_secs(90)).await;
    let after = shop.services[2].app.memory();
    eprintln!("figures: memory of the payment app {} KiB, then {} KiB", before / 1024, after / 1024);
    assert!(after < before + (32 << 20), "from {before} to {after} bytes");
}

async fn redis_stopped_for_five_seconds_loses_no_order() {
    let mut shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    let (port, sent) = (shop.services[0].port, AtomicUsize::new(0));
    let stack = &mut shop.stack;
    let orders = place(port, 300, &sent);
    let fault = async {
        while sent.load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stack.stop_redis().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        stack.start_redis().await;
    };
    let (accepted, ()) = tokio::join!(orders, fault);
    assert!(accepted.len() >= 100, "{}", accepted.len());
    all_processed(&shop, &accepted, Duration::from_secs(90)).await;
    // And it goes on.
    let sent = AtomicUsize::new(1_000);
    eventually_accepted(port, &sent).await;
}

async fn an_app_restarted_in_the_middle_loses_no_order() {
    let mut shop = Shop::open(Stack::start().await).await;
    let (port, sent) = (shop.services[0].port, AtomicUsize::new(0));
    let Shop { services, stack } = &mut shop;
    let payment = &mut services[2];
    let orders = place(port, 300, &sent);
    let fault = async {
        while sent.load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = payment.app.terminate(EXIT).await;
        assert!(status.success(), "{status}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        payment.restart_app(stack).await;
    };
    let (accepted, ()) = tokio::join!(orders, fault);
    assert_eq!(accepted.len(), 300);
    all_processed(&shop, &accepted, Duration::from_secs(90)).await;
}

async fn without_a_collector_orders_go_on_and_the_apps_end_in_time() {
    let shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    goes_on(shop).await;
}

async fn with_a_stuck_collector_orders_go_on_and_the_apps_end_in_time() {
    let mut shop = Shop::open(Stack::start().await).await;
    // It accepts connections, as far as the kernel is concerned, and says nothing.
    shop.stack.jaeger_process().signal("STOP");
    goes_on(shop).await;
}

// ===== helpers =====

/// Orders are taken as fast as ever, and the apps end when they are told to.
async fn goes_on(mut shop: Shop) {
    let sent = AtomicUsize::new(0);
    let started = Instant::now();
    let accepted = place(shop.services[0].port, 200, &sent).await;
    let took = started.elapsed();
    assert_eq!(accepted.len(), 200);
    all_processed(&shop, &accepted, Duration::from_secs(30)).await;
    let mut exits = Vec::new();
    for service in &mut shop.services {
        let started = Instant::now();
        // What could not be exported makes it a failure, but an orderly one.
        let status = service.app.terminate(EXIT).await;
        assert!(status.code().is_some(), "{status}\n{}", service.app.tail());
        exits.push(started.elapsed());
    }
    eprintln!("figures: 200 orders in {took:?}, the apps ended after {exits:?}");
}

/// Sends orders, 8 at a time, and gives the ids of those that were accepted.
async fn place(port: u16, orders: usize, sent: &AtomicUsize) -> BTreeSet<String> {
    let place = |n: usize| async move {
        let id = format!("o-{n}");
        let answer = Shop::place_at(port, &Customer::new().traceparent(), &id, SKUS[n % SKUS.len()], 1).await;
        sent.fetch_add(1, Ordering::Relaxed);
        // Refused in an orderly way, never hung or cut off.
        let answer = answer.unwrap_or_else(|error| panic!("order {id}: {error}"));
        if answer.status != 201 {
            eprintln!("order {id}: {} {}", answer.status, answer.text());
        }
        (answer.status == 201).then_some(id)
    };
    stream::iter(0..orders).map(place).buffer_unordered(8).filter_map(std::future::ready).collect().await
}

async fn eventually_accepted(port: u16, sent: &AtomicUsize) {
    let started = Instant::now();
    loop {
        let n = sent.fetch_add(1, Ordering::Relaxed);
        let answer = Shop::place_at(port, &Customer::new().traceparent(), &format!("o-{n}"), SKUS[0], 1).await;
        if answer.is_ok_and(|answer| answer.status == 201) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no order is accepted any more");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// 500 are in stock of each.
const SKUS: [&str; 8] =
    ["cocoa", "coffee-ethiopia", "coffee-guatemala", "mug-blue", "mug-red", "spoon", "tea-mint", "tea-sencha"];

/// Every order that was accepted was paid, and its customer told, under the id of its event: a repetition writes the same.
async fn all_processed(shop: &Shop, accepted: &BTreeSet<String>, within: Duration) {
    let started = Instant::now();
    for service in &SERVICES[2..] {
        let missing = || {
            let done = shop.keys(service, &format!("{service}:"));
            accepted.iter().filter(|id| !done.contains(*id)).cloned().collect::<Vec<_>>()
        };
        eventually(&format!("{service}: all of {}", accepted.len()), within, || missing().is_empty()).await;
    }
    eprintln!(
        "figures: {} accepted and processed, the last {:?} after the last order",
        accepted.len(),
        started.elapsed()
    );
}
