//! Parts that fail in the middle of the work: nothing that was accepted is lost, and no app hangs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::Router;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tower_dapr::{
    event::Event,
    inbound::{Subscriptions, Topic},
};

use super::shop::{SERVICES, Shop};
use crate::real::{App, Customer, Daprd, Log, PATIENCE, Stack, eventually_within};

super::tests![
    a_daprd_that_dies_in_the_middle_of_a_thousand_orders_loses_none,
    redis_stopped_for_five_seconds_loses_no_order,
    an_app_restarted_in_the_middle_loses_no_order,
    without_a_collector_orders_go_on_and_the_apps_end_in_time,
    with_a_stuck_collector_orders_go_on_and_the_apps_end_in_time,
];

/// How long an app may take to end when it is told to: it gives the export five seconds, which would go on for a minute.
const EXIT: Duration = Duration::from_secs(20);
/// How much more memory an app may take in a test.
const MEMORY: u64 = 32 << 20;

async fn a_daprd_that_dies_in_the_middle_of_a_thousand_orders_loses_none() {
    let mut shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    let mut audit = Audit::start(&shop.stack).await;
    let before = shop.memory();
    let (port, sent) = (shop.services[0].port, AtomicUsize::new(0));
    let payment = &mut shop.services[2].daprd;
    let orders = place(port, 1_000, &sent);
    let fault = async {
        until(&sent, 300).await;
        // One is being handled when its sidecar dies: that has to deliver it again.
        audit.hold().await;
        audit.daprd.crash();
        payment.crash();
        audit.release();
        sleep(Duration::from_secs(2)).await;
        payment.restart();
        audit.daprd.restart();
        tokio::join!(payment.ready(), audit.daprd.ready());
    };
    let (accepted, ()) = tokio::join!(orders, fault);
    assert_eq!(accepted.len(), 1_000, "the sidecars of other services concern nobody who orders");
    // What they had taken is delivered again after `processingTimeout`, 20 s.
    all_processed(&shop, &accepted).await;
    audit.all_seen(&accepted).await;
    let after = shop.memory();
    eprintln!("figures: memory of the apps {before:?} KiB, then {after:?} KiB");
    for (before, after) in before.iter().zip(&after) {
        assert!(after * 1024 < before * 1024 + MEMORY, "from {before} to {after} KiB");
    }
    shop.close().await;
}

async fn redis_stopped_for_five_seconds_loses_no_order() {
    let mut shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    let (port, sent) = (shop.services[0].port, AtomicUsize::new(0));
    let stack = &mut shop.stack;
    let orders = place(port, 300, &sent);
    let fault = async {
        until(&sent, 100).await;
        stack.stop_redis().await;
        sleep(Duration::from_secs(5)).await;
        stack.start_redis().await;
    };
    let (accepted, ()) = tokio::join!(orders, fault);
    assert!(accepted.len() >= 100, "{}", accepted.len());
    all_processed(&shop, &accepted).await;
    // And it goes on.
    let again = AtomicUsize::new(1_000);
    eventually_within(PATIENCE, "an order is accepted again", async || {
        let id = format!("o-{}", again.fetch_add(1, Ordering::Relaxed));
        let answer = Shop::place_at(port, &Customer::new().traceparent(), &id, SKUS[0], 1).await;
        answer.is_ok_and(|answer| answer.status == 201)
    })
    .await;
    shop.close().await;
}

async fn an_app_restarted_in_the_middle_loses_no_order() {
    let mut shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    let (port, sent) = (shop.services[0].port, AtomicUsize::new(0));
    let Shop { services, stack } = &mut shop;
    let payment = &mut services[2];
    let orders = place(port, 300, &sent);
    let fault = async {
        until(&sent, 100).await;
        payment.end_app(EXIT).await;
        sleep(Duration::from_secs(2)).await;
        payment.restart_app(stack).await;
    };
    let (accepted, ()) = tokio::join!(orders, fault);
    assert_eq!(accepted.len(), 300);
    all_processed(&shop, &accepted).await;
    shop.close().await;
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
async fn goes_on(shop: Shop) {
    let sent = AtomicUsize::new(0);
    let started = Instant::now();
    let accepted = place(shop.services[0].port, 200, &sent).await;
    eprintln!("figures: 200 orders in {:.1?}", started.elapsed());
    assert_eq!(accepted.len(), 200);
    all_processed(&shop, &accepted).await;
    shop.close().await;
}

impl Shop {
    /// What each app keeps in memory, in KiB.
    fn memory(&self) -> Vec<u64> {
        self.services.iter().map(|service| service.app.memory() / 1024).collect()
    }

    /// Ends the apps, each of which must do so in time.
    async fn close(mut self) {
        let mut exits = Vec::new();
        for service in &mut self.services {
            exits.push(service.end_app(EXIT).await);
        }
        eprintln!("figures: the apps ended after {exits:.1?}");
    }
}

/// One more that is told of each order: every delivery is taken down.
struct Audit {
    seen: Log<(String, Value)>,
    /// Handlers wait while it is closed.
    gate: watch::Sender<bool>,
    waiting: Log<String>,
    daprd: Daprd,
    _app: App,
}

impl Audit {
    async fn start(stack: &Stack) -> Self {
        let (seen, waiting, gate) = (Log::default(), Log::default(), watch::Sender::new(true));
        let (log, held, open) = (Log::clone(&seen), Log::clone(&waiting), gate.clone());
        let take = async move |event: Event<Value>| {
            let id = event.id().unwrap_or_default().to_owned();
            log.push((id.clone(), event.data));
            if !*open.borrow() {
                held.push(id);
            }
            open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
        };
        let app: Router = Subscriptions::new().topic(Topic::new("pubsub", "orders"), take).into_router().unwrap();
        let app = App::serve(app).await;
        let daprd = stack.daprd("audit").app_port(app.port()).start().await;
        Self { seen, gate, waiting, daprd, _app: app }
    }

    /// Holds up deliveries, and waits for one that is.
    async fn hold(&self) {
        self.gate.send_replace(false);
        self.waiting.until_len(1).await;
    }

    fn release(&self) {
        self.gate.send_replace(true);
    }

    /// Every order was told, some of them twice: with the same id, so that it can be known, and the same data.
    async fn all_seen(&self, accepted: &BTreeSet<String>) {
        let again = self.waiting.all();
        let is_again = |seen: &[(String, Value)]| seen.iter().filter(|(id, _)| *id == again[0]).count() >= 2;
        eventually_within(RECOVERY, "all of them, and what was held up again", async || {
            let seen = self.seen.all();
            accepted.iter().all(|id| seen.iter().any(|(of, _)| of == id)) && is_again(&seen)
        })
        .await;
        let seen = self.seen.all();
        let mut by_id = BTreeMap::new();
        for (id, data) in &seen {
            assert_eq!(by_id.entry(id).or_insert(data), &data, "{id}");
        }
        assert_eq!(by_id.into_keys().cloned().collect::<BTreeSet<_>>(), *accepted);
        eprintln!("figures: {} deliveries of {} events", seen.len(), accepted.len());
    }
}

async fn until(sent: &AtomicUsize, count: usize) {
    while sent.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(5)).await;
    }
}

/// How long it may take until what a dead daprd had taken was delivered again.
const RECOVERY: Duration = Duration::from_secs(120);

/// Sends orders, 8 at a time, and gives the ids of those that were accepted.
async fn place(port: u16, orders: usize, sent: &AtomicUsize) -> BTreeSet<String> {
    let slowest = AtomicUsize::new(0);
    let slowest = &slowest;
    let place = |n: usize| async move {
        let started = Instant::now();
        let id = format!("o-{n}");
        let answer = Shop::place_at(port, &Customer::new().traceparent(), &id, SKUS[n % SKUS.len()], 1).await;
        sent.fetch_add(1, Ordering::Relaxed);
        slowest.fetch_max(started.elapsed().as_millis() as usize, Ordering::Relaxed);
        // Refused in an orderly way, never hung or cut off.
        let answer = answer.unwrap_or_else(|error| panic!("order {id}: {error}"));
        assert!([201, 502, 503].contains(&answer.status.as_u16()), "order {id}: {} {}", answer.status, answer.text());
        (answer.status == 201).then_some(id)
    };
    let accepted: BTreeSet<_> =
        stream::iter(0..orders).map(place).buffer_unordered(8).filter_map(std::future::ready).collect().await;
    let slowest = slowest.load(Ordering::Relaxed);
    eprintln!("figures: {} of {orders} orders accepted, each answered within {slowest} ms", accepted.len());
    accepted
}

/// 500 are in stock of each.
const SKUS: [&str; 8] =
    ["cocoa", "coffee-ethiopia", "coffee-guatemala", "mug-blue", "mug-red", "spoon", "tea-mint", "tea-sencha"];

/// Every order that was accepted was paid, and its customer told, under the id of its event: a repetition writes the same.
async fn all_processed(shop: &Shop, accepted: &BTreeSet<String>) {
    let started = Instant::now();
    for service in &SERVICES[2..] {
        let missing = || {
            let done = shop.keys(service, &format!("{service}:"));
            accepted.iter().filter(|id| !done.contains(*id)).cloned().collect::<Vec<_>>()
        };
        eventually_within(RECOVERY, &format!("{service}: all of {}", accepted.len()), async || missing().is_empty())
            .await;
    }
    eprintln!(
        "figures: {} accepted and processed, the last {:?} after the last order",
        accepted.len(),
        started.elapsed()
    );
}
