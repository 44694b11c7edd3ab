//! The handle beside an embedded sidecar.

use std::time::Duration;

use axum::{Json, Router, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_dapr::{
    outbound::{Dapr, Endpoint, HttpEndpoint},
    sidecar::{Hub, Sidecar},
};

fn dapr(sidecar: &Sidecar) -> Dapr {
    let http = HttpEndpoint::local(sidecar.http_port());
    Dapr::builder().endpoint(Endpoint::local(sidecar.grpc_port())).http_endpoint(http).build().unwrap()
}

#[tokio::test]
async fn state_lives_through_its_whole_life() {
    let hub = Hub::builder().state_store("shelf").build();
    let sidecar = hub.app("shop").start().await.unwrap();
    let dapr = dapr(&sidecar);
    dapr.wait_until_ready(Duration::from_secs(9)).await.unwrap();
    let shelf = dapr.state("shelf");

    shelf.save("tea", &12).ttl(Duration::from_secs(60)).await.unwrap();
    let mut entry = shelf.get::<u32>("tea").strong().await.unwrap().unwrap();
    assert!(entry.expires_at().is_some());
    let stale = entry.clone();
    entry.value -= 1;
    entry.save().await.unwrap();
    let error = stale.save().await.unwrap_err();
    assert!(error.is_etag_mismatch(), "{error:?}");
    assert_eq!(error.dapr_error_code().as_deref(), Some("ERR_STATE_SAVE"));
    assert_eq!(shelf.update("tea", |tea: Option<u32>| tea.unwrap() - 1).await.unwrap(), 10);
    assert_eq!(shelf.update("coffee", |coffee: Option<u32>| coffee.unwrap_or(7)).await.unwrap(), 7);
    assert!(shelf.save("tea", &1).first_write().await.unwrap_err().is_etag_mismatch());

    shelf.save_bulk([shelf.save("a", &1), shelf.save("b", &2)]).await.unwrap();
    let entries = shelf.get_bulk::<u32>(["b", "a", "none"]).await.unwrap();
    let values = entries.into_iter().map(|entry| entry.result.unwrap().map(|entry| entry.value));
    assert_eq!(values.collect::<Vec<_>>(), [Some(2), Some(1), None]);
    shelf.transaction().with(shelf.save("a", &3)).with(shelf.delete("b")).await.unwrap();
    assert_eq!(shelf.get::<u32>("a").await.unwrap().unwrap().value, 3);
    shelf.get::<u32>("a").await.unwrap().unwrap().delete().await.unwrap();
    assert!(shelf.get::<u32>("a").await.unwrap().is_none());

    let error = shelf.save("a||b", &1).await.unwrap_err();
    assert_eq!(error.dapr_error_code().as_deref(), Some("DAPR_STATE_ILLEGAL_KEY"));
    assert_eq!(error.details().bad_request().unwrap().field_violations.len(), 1);
    let error = dapr.state("other").get::<u32>("a").await.unwrap_err();
    assert_eq!(error.dapr_error_code().as_deref(), Some("DAPR_STATE_NOT_FOUND"));
    assert_eq!(dapr.metadata().await.unwrap().id, "shop");
}

#[tokio::test]
async fn events_and_calls_reach_the_other_app() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let subscriptions = json!([{"pubsubname": "bus", "topic": "orders", "route": "/order"}]);
    let app = Router::new()
        .route("/dapr/subscribe", axum::routing::get(move || async { Json(subscriptions) }))
        .route(
            "/order",
            post(move |Json(event): Json<Value>| async move { sender.send(event).map_err(|_| StatusCode::GONE) }),
        )
        .route("/check", post(|Json(sku): Json<String>| async move { (StatusCode::CREATED, Json(sku.len())) }))
        .route("/refuse", post(|| async { StatusCode::CONFLICT }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, app).await });
    let hub = Hub::builder().pubsub("bus").build();
    let kitchen = hub.app("kitchen").app_port(port).start().await.unwrap();
    let shop = hub.app("shop").start().await.unwrap();
    kitchen.ready().await;
    let dapr = dapr(&shop);

    let orders = dapr.publish("bus", "orders");
    orders.json(&json!({"sku": "tea"})).id("o-1").event_type("placed").await.unwrap();
    assert!(orders.bulk([orders.json(&2).id("o-2"), orders.json(&3)]).await.unwrap().is_empty());
    orders.cloud_event(r#"{"specversion":"1.0","id":"o-4","type":"t","source":"s","data":4}"#).await.unwrap();
    hub.settled().await;
    let mut events = Vec::new();
    while let Ok(event) = received.try_recv() {
        events.push(event);
    }
    events.sort_by_key(|event| event["data"].to_string());
    assert_eq!(events.len(), 4, "{events:?}");
    assert_eq!((&events[3]["id"], &events[3]["type"]), (&json!("o-1"), &json!("placed")));
    assert_eq!((&events[0]["id"], &events[2]["id"]), (&json!("o-2"), &json!("o-4")));

    let answer = dapr.invoke("kitchen").post("check").json("tea").await.unwrap();
    assert_eq!((answer.status(), answer.json::<u32>().unwrap()), (StatusCode::CREATED, 3));
    let error = dapr.invoke("kitchen").post("refuse").await.unwrap_err();
    assert_eq!(error.http_status(), Some(StatusCode::CONFLICT));
    assert!(dapr.invoke("nobody").get("a").await.unwrap_err().http_status().is_none());
}
