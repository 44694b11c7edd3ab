//! What becomes of an event: routes, verdicts, redelivery, dead letters, bulks; over HTTP and gRPC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;
use tower_dapr::{
    event::{CloudEvent, Event, Outcome, Outcomes},
    inbound::{Bulk, Subscriptions, Topic},
};

use super::{
    app::{BOTH, Seen, Speaks, beside, ids, serve, take},
    world::Backend,
};
use crate::real::Log;

super::tests![
    an_event_goes_where_its_route_says,
    a_refused_event_comes_again_until_it_is_taken,
    without_a_policy_a_refused_event_is_gone,
    a_dropped_event_goes_to_the_dead_letter_topic,
    an_event_refused_to_the_end_goes_to_the_dead_letter_topic,
    data_that_does_not_fit_is_dropped,
    a_bulk_is_delivered_together_and_answered_one_by_one,
    each_app_gets_its_own_copy,
];

async fn an_event_goes_where_its_route_says(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        let (urgent, paid, other) = (Log::<Seen>::default(), Log::<Seen>::default(), Log::<Seen>::default());
        let topic = || Topic::new("pubsub", "routed");
        let subscriptions = Subscriptions::new()
            .topic(topic().when(r#"event.type == "urgent""#), take(&urgent))
            .topic(topic().when("event.data.paid == true"), take(&paid))
            .topic(topic().route("/other"), take(&other));
        let app = serve(speaks, subscriptions).await;
        let app = beside(world.app("app"), speaks, &app).start().await;
        let dapr = app.dapr();
        let routed = dapr.publish("pubsub", "routed");
        routed.json(&serde_json::json!({ "paid": true })).id("1").event_type("urgent").await.unwrap();
        routed.json(&serde_json::json!({ "paid": true })).id("2").await.unwrap();
        routed.json(&serde_json::json!({ "paid": false })).id("3").await.unwrap();
        assert_eq!(ids(&urgent.until_len(1).await), ["1"]);
        assert_eq!(ids(&paid.until_len(1).await), ["2"]);
        assert_eq!(ids(&other.until_len(1).await), ["3"]);
        world.settled("app", "routed").await;
        assert_eq!((urgent.all().len(), paid.all().len(), other.all().len()), (1, 1, 1));
    }
}

async fn a_refused_event_comes_again_until_it_is_taken(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        let (seen, refuse) = (Log::<(Seen, Instant)>::default(), Arc::new(AtomicU32::new(2)));
        let log = seen.clone();
        let handler = async move |event: CloudEvent| {
            log.push((Seen::from(&event), Instant::now()));
            let left = refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if left.is_ok() { Outcome::Retry } else { Outcome::Success }
        };
        let app = serve(speaks, Subscriptions::new().topic(Topic::new("pubsub", "flaky"), handler)).await;
        let app = beside(world.app("app"), speaks, &app).start().await;
        app.dapr().publish("pubsub", "flaky").json(&1).id("again").await.unwrap();
        let all = seen.until_len(3).await;
        for (earlier, later) in all.iter().zip(&all[1..]) {
            let pause = later.1 - earlier.1;
            assert!(pause >= Duration::from_millis(400), "deploy/resiliency.yaml says 500 ms: {pause:?}");
            assert_eq!((&earlier.0.id, &earlier.0.data), (&later.0.id, &later.0.data));
        }
        world.settled("app", "flaky").await;
        assert_eq!(seen.all().len(), 3, "{speaks:?}");
    }
}

async fn without_a_policy_a_refused_event_is_gone(backend: Backend) {
    let world = backend.builder().without_resiliency().start().await;
    let seen = Log::<Seen>::default();
    let log = seen.clone();
    let refuse = async move |event: CloudEvent| {
        log.push(Seen::from(&event));
        Outcome::Retry
    };
    let app = serve(Speaks::Http, Subscriptions::new().topic(Topic::new("pubsub", "flaky"), refuse)).await;
    let app = world.app("app").http(&app).start().await;
    for id in ["1", "2"] {
        app.dapr().publish("pubsub", "flaky").json(&1).id(id).await.unwrap();
    }
    seen.until_len(2).await;
    // Neither delivered again, nor kept for later.
    world.settled("app", "flaky").await;
    assert_eq!(ids(&seen.all()), ["1", "2"]);
}

async fn a_dropped_event_goes_to_the_dead_letter_topic(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        let (seen, letters) = (Log::<Seen>::default(), Log::<Seen>::default());
        let log = seen.clone();
        let drop = async move |event: CloudEvent| {
            log.push(Seen::from(&event));
            Outcome::Drop
        };
        let subscriptions = Subscriptions::new()
            .topic(Topic::new("pubsub", "dead").dead_letter("poison"), drop)
            .topic(Topic::new("pubsub", "poison"), take(&letters));
        let app = serve(speaks, subscriptions).await;
        let app = beside(world.app("app"), speaks, &app).start().await;
        app.dapr().publish("pubsub", "dead").json(&1).id("dropped").await.unwrap();
        let letters = letters.until_len(1).await;
        // The envelope is the same, with the topic it was published to; a gRPC app gets that of the delivery beside it.
        let topic = if speaks == Speaks::Http { "dead" } else { "poison" };
        assert_eq!((letters[0].id.as_str(), letters[0].topic.as_deref()), ("dropped", Some(topic)));
        world.settled("app", "dead").await;
        assert_eq!(seen.all().len(), 1, "not tried again");
    }
}

async fn an_event_refused_to_the_end_goes_to_the_dead_letter_topic(backend: Backend) {
    let world = backend.builder().max_retries(2).start().await;
    let (seen, letters) = (Log::<Seen>::default(), Log::<Seen>::default());
    let log = seen.clone();
    let refuse = async move |event: CloudEvent| {
        log.push(Seen::from(&event));
        Outcome::Retry
    };
    let subscriptions = Subscriptions::new()
        .topic(Topic::new("pubsub", "dead").dead_letter("poison"), refuse)
        .topic(Topic::new("pubsub", "poison"), take(&letters));
    let app = serve(Speaks::Http, subscriptions).await;
    let app = world.app("app").http(&app).start().await;
    app.dapr().publish("pubsub", "dead").json(&1).id("refused").await.unwrap();
    assert_eq!(ids(&letters.until_len(1).await), ["refused"]);
    world.settled("app", "dead").await;
    assert_eq!(seen.all().len(), 3, "once, and two retries");
}

async fn data_that_does_not_fit_is_dropped(backend: Backend) {
    let world = backend.start().await;
    let (handled, letters) = (Log::<u32>::default(), Log::<Seen>::default());
    let log = handled.clone();
    let subscriptions = Subscriptions::new()
        .topic(Topic::new("pubsub", "typed").dead_letter("poison"), async move |event: Event<u32>| log.push(event.data))
        .topic(Topic::new("pubsub", "poison"), take(&letters));
    let app = serve(Speaks::Http, subscriptions).await;
    let app = world.app("app").http(&app).start().await;
    let dapr = app.dapr();
    dapr.publish("pubsub", "typed").json(&"not a number").id("bad").await.unwrap();
    dapr.publish("pubsub", "typed").json(&7).id("good").await.unwrap();
    assert_eq!(handled.until_len(1).await, [7]);
    assert_eq!(ids(&letters.until_len(1).await), ["bad"]);
    world.settled("app", "typed").await;
    assert_eq!((handled.all().len(), letters.all().len()), (1, 1));
}

async fn a_bulk_is_delivered_together_and_answered_one_by_one(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        // The ids of each delivery.
        let seen = Log::<Vec<String>>::default();
        let log = seen.clone();
        let handler = async move |bulk: Bulk<Value>| -> Outcomes {
            let is_first = log.all().is_empty();
            let (entries, mut outcomes) = bulk.into_parts();
            let ids: Vec<_> = entries.iter().map(|entry| entry.event.id().unwrap_or_default().to_owned()).collect();
            for (entry, id) in entries.iter().zip(&ids) {
                // Of the first delivery, one is refused.
                let outcome = if is_first && id == "e-1" { Outcome::Retry } else { Outcome::Success };
                outcomes.set(&entry.id, outcome);
            }
            log.push(ids);
            outcomes
        };
        let topic = Topic::new("pubsub", "bulk").bulk(3, Duration::from_secs(30));
        let app = serve(speaks, Subscriptions::new().topic(topic, handler)).await;
        let app = beside(world.app("app"), speaks, &app).start().await;
        let dapr = app.dapr();
        let publish = dapr.publish("pubsub", "bulk");
        publish.bulk((0..3).map(|n| publish.json(&n).id(format!("e-{n}")))).await.unwrap();
        let mut all = seen.until_len(2).await;
        all[0].sort_unstable();
        assert_eq!(all, [vec!["e-0", "e-1", "e-2"], vec!["e-1"]], "{speaks:?}");
        world.settled("app", "bulk").await;
        assert_eq!(seen.all().len(), 2);
    }
}

async fn each_app_gets_its_own_copy(backend: Backend) {
    let world = backend.start().await;
    let logs = [Log::<Seen>::default(), Log::<Seen>::default()];
    let mut apps = Vec::new();
    for (id, log) in ["one", "two"].into_iter().zip(&logs) {
        let app = serve(Speaks::Http, Subscriptions::new().topic(Topic::new("pubsub", "news"), take(log))).await;
        let beside = world.app(id).http(&app).start().await;
        apps.push((app, beside));
    }
    apps[0].1.dapr().publish("pubsub", "news").json(&1).id("n").await.unwrap();
    for log in &logs {
        assert_eq!(ids(&log.until_len(1).await), ["n"]);
    }
}
