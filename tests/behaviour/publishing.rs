//! What is published, and how it arrives.

use bytes::Bytes;
use serde_json::{Value, json};
use tower_dapr::{
    event::Event,
    inbound::{Subscriptions, Topic},
};

use super::{
    app::{BOTH, Seen, beside, ids, serve, take},
    world::Backend,
};
use crate::real::Log;

super::tests![
    every_kind_of_data_arrives,
    the_publisher_chooses_the_attributes,
    a_raw_payload_is_wrapped_by_the_receiver,
    a_bulk_is_published_whole,
    what_cannot_be_published_is_refused,
];

async fn every_kind_of_data_arrives(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        let seen = Log::<Seen>::default();
        let app = serve(speaks, Subscriptions::new().topic(Topic::new("pubsub", "data"), take(&seen))).await;
        let app = beside(world.app("app"), speaks, &app).start().await;
        let dapr = app.dapr();
        let data = dapr.publish("pubsub", "data");
        data.json(&json!({ "n": 1, "name": "Zoë" })).id("json").await.unwrap();
        data.bytes("text/plain", "plain – text").id("text").await.unwrap();
        data.bytes("application/octet-stream", &b"\x00\xff\x01"[..]).id("octets").await.unwrap();
        data.bytes("application/json", "{\"n\":").id("broken").await.unwrap();

        let seen = seen.until_len(4).await;
        let one = |id: &str| seen.iter().find(|seen| seen.id == id).unwrap_or_else(|| panic!("{id}: {seen:#?}"));
        assert_eq!(one("json").event.data_as::<Value>().unwrap(), json!({ "n": 1, "name": "Zoë" }));
        assert_eq!(one("json").content_type.as_deref(), Some("application/json"));
        assert_eq!(one("text").data, "plain – text");
        assert_eq!(one("octets").data, &b"\x00\xff\x01"[..]);
        // Accepted as it is, and delivered as a string.
        assert!(one("broken").event.data_as::<Value>().is_ok_and(|data| data == "{\"n\":"), "{:?}", one("broken"));
        let seen = one("json");
        let what = (seen.source.as_str(), seen.ty.as_str(), seen.topic.as_deref(), seen.event.pubsub_name());
        assert_eq!(what, ("app", "com.dapr.event.sent", Some("data"), Some("pubsub")), "{speaks:?}");
        assert!(seen.event.timestamp().is_some());
    }
}

async fn the_publisher_chooses_the_attributes(backend: Backend) {
    let world = backend.start().await;
    let seen = Log::<Seen>::default();
    let app = serve(BOTH[0], Subscriptions::new().topic(Topic::new("pubsub", "chosen"), take(&seen))).await;
    let app = world.app("app").http(&app).start().await;
    let dapr = app.dapr();
    let chosen = dapr.publish("pubsub", "chosen");
    let event = chosen.json(&1).id("set").source("shop").event_type("order.placed").subject("tea");
    // Of those that begin so, Dapr knows only CloudEvents' own.
    event.metadata("cloudevent.own", "yes").await.unwrap();
    let whole = json!({
        "specversion": "1.0", "id": "whole", "source": "elsewhere", "type": "made", "datacontenttype": "application/json",
        "data": { "n": 2 }, "kept": "too",
    });
    chosen.cloud_event(whole.to_string()).await.unwrap();
    // Without one, each has an id of its own.
    chosen.json(&3).await.unwrap();
    chosen.json(&3).await.unwrap();

    let seen = seen.until_len(4).await;
    let set = seen.iter().find(|seen| seen.id == "set").unwrap();
    let what = (set.source.as_str(), set.ty.as_str(), set.subject.as_deref());
    assert_eq!(what, ("shop", "order.placed", Some("tea")));
    assert!(set.event.extension("own").is_none(), "{set:?}");
    let whole = seen.iter().find(|seen| seen.id == "whole").unwrap();
    assert_eq!((whole.source.as_str(), whole.ty.as_str()), ("elsewhere", "made"));
    assert!(whole.event.extension("kept").is_some(), "{whole:?}");
    assert_eq!(whole.event.data_as::<Value>().unwrap(), json!({ "n": 2 }));
    let mut ids = ids(&seen);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

async fn a_raw_payload_is_wrapped_by_the_receiver(backend: Backend) {
    for speaks in BOTH {
        let world = backend.start().await;
        let (bytes, json) = (Log::<Seen>::default(), Log::<Value>::default());
        let typed = json.clone();
        let subscriptions = Subscriptions::new()
            .topic(Topic::new("pubsub", "bytes").raw_payload(), take(&bytes))
            .topic(Topic::new("pubsub", "json").raw_json(), async move |event: Event<Value>| typed.push(event.data));
        let app = serve(speaks, subscriptions).await;
        let app = beside(world.app("app"), speaks, &app).start().await;
        let dapr = app.dapr();
        let octets = Bytes::from_static(b"\x01 not JSON");
        dapr.publish("pubsub", "bytes").bytes("application/octet-stream", octets.clone()).raw_payload().await.unwrap();
        dapr.publish("pubsub", "json").json(&json!({ "n": 1 })).raw_payload().await.unwrap();
        assert_eq!(bytes.until_len(1).await[0].data, octets, "{speaks:?}");
        assert_eq!(json.until_len(1).await[0], json!({ "n": 1 }), "{speaks:?}");
    }
}

async fn a_bulk_is_published_whole(backend: Backend) {
    let world = backend.start().await;
    let seen = Log::<Seen>::default();
    let app = serve(BOTH[0], Subscriptions::new().topic(Topic::new("pubsub", "many"), take(&seen))).await;
    let app = world.app("app").http(&app).start().await;
    let many = app.dapr().publish("pubsub", "many");
    let events = (0..20).map(|n| many.json(&n).id(format!("e-{n}")));
    assert_eq!(many.bulk(events).await.unwrap(), []);
    let seen = seen.until_len(20).await;
    let mut data: Vec<u32> = seen.iter().map(|seen| seen.event.data_as().unwrap()).collect();
    data.sort_unstable();
    assert_eq!(data, (0..20).collect::<Vec<_>>());
    assert!(seen.iter().all(|seen| seen.id == format!("e-{}", seen.event.data_as::<u32>().unwrap())), "{seen:#?}");
}

async fn what_cannot_be_published_is_refused(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let error = dapr.publish("nope", "topic").json(&1).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Some(tonic::Code::InvalidArgument), "pubsub nope is not found"));
    assert!(error.to_string().contains("`nope`"), "{error}");
    let error = dapr.publish("pubsub", "").json(&1).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::InvalidArgument), "{}", error.message());
    assert!(error.message().contains("topic is empty"), "{}", error.message());
}
