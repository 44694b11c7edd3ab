//! Events that an app pulls, instead of being called.

use std::time::Duration;

use tower_dapr::{
    event::{CloudEvent, Outcome},
    outbound::{Dapr, PulledEvents},
};

use super::{
    app::{Seen, ids},
    world::Backend,
};
use crate::real::{Log, PATIENCE};

super::tests![
    an_event_is_pulled_and_comes_again_until_it_is_taken,
    a_dropped_event_goes_to_the_dead_letter_topic_and_may_be_pulled_there,
    no_more_are_handed_out_than_may_be_in_flight,
    what_cannot_be_subscribed_is_an_error_and_the_end,
    a_sidecar_that_comes_back_is_subscribed_again,
];

async fn an_event_is_pulled_and_comes_again_until_it_is_taken(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let mut events = dapr.subscribe("pubsub", "orders").events();
    publish_until_seen(&dapr, "orders", &mut events).await;

    dapr.publish("pubsub", "orders").json(&12).id("1").subject("tea").event_type("placed").await.unwrap();
    let seen = Log::<Seen>::default();
    for outcome in [Outcome::Retry, Outcome::Retry, Outcome::Success] {
        let event = next(&mut events, "1").await;
        event
            .handle(async |event: &CloudEvent| {
                seen.push(Seen::from(event));
                outcome
            })
            .await;
    }
    let all = seen.all();
    assert_eq!(ids(&all), ["1", "1", "1"]);
    let what = (all[0].source.as_str(), all[0].ty.as_str(), all[0].subject.as_deref(), all[0].topic.as_deref());
    assert_eq!(what, ("app", "placed", Some("tea"), Some("orders")));
    assert_eq!(all[0].event.data_as::<u32>().unwrap(), 12);
    // One that was not answered comes again as well.
    dapr.publish("pubsub", "orders").json(&13).id("2").await.unwrap();
    drop(next(&mut events, "2").await);
    next(&mut events, "2").await.acknowledge(Outcome::Success);
}

async fn a_dropped_event_goes_to_the_dead_letter_topic_and_may_be_pulled_there(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let mut letters = dapr.subscribe("pubsub", "poison").events();
    publish_until_seen(&dapr, "poison", &mut letters).await;
    let mut events = dapr.subscribe("pubsub", "dead").dead_letter("poison").events();
    publish_until_seen(&dapr, "dead", &mut events).await;
    dapr.publish("pubsub", "dead").json(&1).id("dropped").await.unwrap();
    next(&mut events, "dropped").await.acknowledge(Outcome::Drop);
    let letter = next(&mut letters, "dropped").await;
    assert_eq!(letter.event().topic(), Some("poison"));
    letter.acknowledge(Outcome::Success);
}

async fn no_more_are_handed_out_than_may_be_in_flight(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let mut events = dapr.subscribe("pubsub", "orders").max_in_flight(1).events();
    publish_until_seen(&dapr, "orders", &mut events).await;
    let publish = dapr.publish("pubsub", "orders");
    publish.bulk((0..20).map(|n| publish.json(&n).id(format!("e-{n}")))).await.unwrap();
    let mut data = Vec::new();
    while data.len() < 20 {
        let event = next(&mut events, "e-").await;
        // While one is out there is no other.
        let more = tokio::time::timeout(Duration::from_millis(5), events.next()).await;
        assert!(more.is_err(), "{more:?}");
        data.push(event.event().data_as::<u32>().unwrap());
        event.acknowledge(Outcome::Success);
    }
    data.sort_unstable();
    assert_eq!(data, (0..20).collect::<Vec<_>>());
}

async fn what_cannot_be_subscribed_is_an_error_and_the_end(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let mut events = app.dapr().subscribe("nope", "orders").events();
    let error = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap_err();
    assert!(error.message().contains("nope") && error.to_string().contains("`nope`"), "{error}: {}", error.message());
    assert!(events.next().await.is_none());
}

async fn a_sidecar_that_comes_back_is_subscribed_again(backend: Backend) {
    let world = backend.start().await;
    let mut app = world.app("app").start().await;
    let dapr = app.dapr();
    let events = dapr.subscribe("pubsub", "orders").backoff(Duration::from_millis(100), Duration::from_secs(1));
    let mut events = events.events();
    publish_until_seen(&dapr, "orders", &mut events).await;
    dapr.publish("pubsub", "orders").json(&1).id("before").await.unwrap();
    next(&mut events, "before").await.acknowledge(Outcome::Success);

    // The stream is polled meanwhile, as an app does.
    let seen = Log::<String>::default();
    let pulling = {
        let log = seen.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let event = event.unwrap();
                log.push(event.event().id().unwrap_or_default().to_owned());
                event.acknowledge(Outcome::Success);
            }
        })
    };
    for round in 0..2 {
        app.restart().await;
        // Subscribed again when the first of these is seen: what is published before that may be gone.
        let started = tokio::time::Instant::now();
        let is_seen = |log: &Log<String>| log.all().iter().any(|id| id.starts_with(&format!("after-{round}-")));
        let mut tries = 0;
        while !is_seen(&seen) {
            assert!(started.elapsed() < PATIENCE, "not subscribed again");
            // The handle is the same; its connection was lost as well.
            let _ = dapr.publish("pubsub", "orders").json(&tries).id(format!("after-{round}-{tries}")).await;
            tries += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // From then on each event comes, once.
    for n in 0..10 {
        dapr.publish("pubsub", "orders").json(&n).id(format!("then-{n}")).await.unwrap();
    }
    let all = seen.until("all", |seen| seen.iter().filter(|id| id.starts_with("then-")).count() >= 10).await;
    let mut then: Vec<_> = all.iter().filter(|id| id.starts_with("then-")).collect();
    then.sort_unstable();
    then.dedup();
    assert_eq!(then.len(), 10);
    pulling.abort();
}

// ===== helpers =====

/// The next event whose id begins so.
async fn next(events: &mut PulledEvents, id: &str) -> tower_dapr::outbound::PulledEvent {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap_or_else(|_| panic!("no event {id}"));
        let event = event.expect("it does not end").unwrap();
        if event.event().id().is_some_and(|of| of.starts_with(id)) {
            return event;
        }
        // A probe that came late.
        event.acknowledge(Outcome::Success);
    }
}

/// Nothing says when a subscription stands: publishes until an event arrives.
async fn publish_until_seen(dapr: &Dapr, topic: &str, events: &mut PulledEvents) {
    let probe = async {
        loop {
            dapr.publish("pubsub", topic).json(&0).id("probe").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = probe => {}
        event = next(events, "probe") => event.acknowledge(Outcome::Success),
    }
}
