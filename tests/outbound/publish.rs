use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishResponse, BulkPublishResponseFailedEntry, PublishEventRequest,
};
use serde_json::json;

use crate::{
    dapr_server::{Answer, DaprServer},
    map,
};

#[tokio::test]
async fn attributes_travel_as_metadata() {
    let server = DaprServer::default();
    let orders = server.dapr().publish("bus", "orders");
    let event = orders.json(&json!({"sku": "tea"})).id("1").source("shop").event_type("placed").subject("tea");
    event.ttl(Duration::from_secs(60)).metadata("partitionKey", "p").await.unwrap();

    let request: PublishEventRequest = server.one("PublishEvent");
    assert_eq!((request.pubsub_name.as_str(), request.topic.as_str()), ("bus", "orders"));
    assert_eq!((&request.data[..], request.data_content_type.as_str()), (&br#"{"sku":"tea"}"#[..], "application/json"));
    let metadata = map([
        ("cloudevent.id", "1"),
        ("cloudevent.source", "shop"),
        ("cloudevent.type", "placed"),
        ("cloudevent.subject", "tea"),
        ("ttlInSeconds", "60"),
        ("partitionKey", "p"),
    ]);
    assert_eq!(request.metadata, metadata);
}

#[tokio::test]
async fn each_event_that_dapr_wraps_has_an_id_of_its_own() {
    let server = DaprServer::default();
    let orders = server.dapr().publish("bus", "orders");
    orders.json(&1).await.unwrap();
    orders.bytes("text/plain", "tea").await.unwrap();
    orders.json(&1).metadata("CloudEvent.ID", "own").await.unwrap();
    orders.json(&1).raw_payload().await.unwrap();
    orders.cloud_event(r#"{"id":"own"}"#).await.unwrap();

    let requests: Vec<PublishEventRequest> = server.all("PublishEvent");
    let ids: Vec<_> = requests.iter().map(|request| request.metadata.get("cloudevent.id")).collect();
    assert!(ids[0].is_some() && ids[1].is_some() && ids[0] != ids[1]);
    assert_eq!(ids[2..], [None; 3]);
    assert_eq!(requests[3].metadata, map([("rawPayload", "true")]));
    assert_eq!(requests[4].data_content_type, "application/cloudevents+json");
}

#[tokio::test]
async fn a_bulk_tells_which_events_failed() {
    let failed = |entry_id: &str| BulkPublishResponseFailedEntry { entry_id: entry_id.into(), error: "full".into() };
    let answer = BulkPublishResponse { failed_entries: vec![failed("1"), failed("not ours")] };
    let server = DaprServer::default();
    server.answer("BulkPublishEvent", Answer::message(&answer));
    let orders = server.dapr().publish("bus", "orders");
    let bulk = orders.bulk([orders.json(&1).id("a"), orders.bytes("text/plain", "2")]).metadata("rawPayload", "false");
    let failures = bulk.await.unwrap();

    assert_eq!(failures.iter().map(|failure| failure.index).collect::<Vec<_>>(), [1]);
    assert_eq!(failures[0].message, "full");
    let request: BulkPublishRequest = server.one("BulkPublishEvent");
    let entries: Vec<_> =
        request.entries.iter().map(|entry| (entry.entry_id.as_str(), entry.content_type.as_str())).collect();
    assert_eq!(entries, [("0", "application/json"), ("1", "text/plain")]);
    assert_eq!(request.entries[0].metadata, map([("cloudevent.id", "a")]));
    assert!(request.entries[1].metadata.contains_key("cloudevent.id"));
    assert_eq!(request.metadata, map([("rawPayload", "false")]));
}

#[tokio::test]
async fn what_daprd_would_misunderstand_is_not_sent() {
    let server = DaprServer::default();
    let orders = server.dapr().publish("bus", "orders");
    let no_time = || orders.json(&1).ttl(Duration::ZERO);
    assert!(no_time().await.unwrap_err().is_invalid());
    assert!(orders.bulk([no_time()]).await.unwrap_err().is_invalid());
    let raw = || orders.json(&1).raw_payload();
    assert!(orders.bulk([raw(), orders.json(&2)]).await.unwrap_err().is_invalid(), "raw and not");
    assert!(orders.bulk([raw()]).metadata("rawPayload", "false").await.unwrap_err().is_invalid(), "raw and not");
    assert!(server.dapr().publish("", "orders").json(&1).await.unwrap_err().is_invalid());
    assert!(server.rpcs().is_empty());
}

/// daprd reads it from the metadata of the call, and there only.
#[tokio::test]
async fn a_bulk_of_raw_payloads_is_raw() {
    let server = DaprServer::default();
    let orders = server.dapr().publish("bus", "orders");
    orders.bulk([orders.json(&1).raw_payload(), orders.json(&2).raw_payload()]).await.unwrap();
    orders.bulk([orders.json(&1).raw_payload(), orders.json(&2)]).metadata("rawPayload", "1").await.unwrap();
    orders.bulk([orders.json(&1), orders.json(&2)]).await.unwrap();

    let requests: Vec<BulkPublishRequest> = server.all("BulkPublishEvent");
    let metadata: Vec<_> = requests.into_iter().map(|request| request.metadata).collect();
    assert_eq!(metadata, [map([("rawPayload", "true")]), map([("rawPayload", "1")]), map([])]);
}
