//! An order over four daprds.

use tower_dapr::testing::{SpanTree, span};

use super::{
    shop::Shop,
    tree::{delivery, ours, publish, state},
};
use crate::real::{Customer, Stack, eventually};

super::tests![
    an_order_is_one_trace_over_four_daprds,
    an_unsampled_order_leaves_no_span_anywhere,
    orders_at_the_same_time_take_what_they_take,
    what_the_shop_refuses_is_not_published,
];

async fn an_order_is_one_trace_over_four_daprds() {
    let shop = Shop::open(Stack::start().await).await;
    let customer = Customer::new();
    let answer = shop.place(&customer, "1", "tea-mint").await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());

    let handler = |service: &str, name: &str, calls: Vec<SpanTree>| {
        span(name).internal().service(service).no_error().in_order().children(calls)
    };
    let route = "/events/orders";
    let reserve =
        handler("inventory", "reserve", vec![state("inventory", "GetState"), state("inventory", "SaveState")]);
    let pay = handler("payment", "pay", vec![state("payment", "SaveState")]);
    let notify = handler("notification", "notify", vec![state("notification", "SaveState")]);
    let invoke = ours("order", "InvokeService").attribute("dapr.app_id", "inventory").child(
        // Both sidecars' own, then ours.
        span("CallLocal/inventory/check").client().service("order").child(
            span("CallLocal/inventory/check").server().service("inventory").child(
                span("POST /check").server().service("inventory").child(handler(
                    "inventory",
                    "check",
                    vec![state("inventory", "GetState")],
                )),
            ),
        ),
    );
    let deliveries = [
        delivery("inventory", "orders", route, [reserve]),
        delivery("payment", "orders", route, [pay]),
        delivery("notification", "orders", route, [notify]),
    ];
    let order = handler(
        "order",
        "place_order",
        vec![invoke, state("order", "SaveState"), publish("order", "orders", deliveries)],
    );
    let root =
        span("POST /orders").server().service("order").no_error().attribute("http.route", "/orders").child(order);
    shop.stack.jaeger().expect(&customer, root).await;
}

async fn an_unsampled_order_leaves_no_span_anywhere() {
    let shop = Shop::open(Stack::start().await).await;
    let (unsampled, sampled) = (Customer::new(), Customer::new());
    assert_eq!(shop.place_as(&unsampled.unsampled(), "1", "cocoa", 1).await.unwrap().status, 201);
    assert_eq!(shop.place(&sampled, "2", "cocoa").await.unwrap().status, 201);
    for service in ["payment", "notification"] {
        for order in ["1", "2"] {
            let key = format!("{service}:{order}");
            eventually(&key, async || shop.has(service, &key)).await;
        }
    }
    // The later one has arrived, with the spans of both of its ends.
    let ends = span("POST /orders").at_least();
    shop.stack.jaeger().expect(&sampled, ends).await;
    assert!(shop.stack.jaeger().trace(&unsampled).await.is_none());
}

async fn orders_at_the_same_time_take_what_they_take() {
    let shop = Shop::open(Stack::builder().without_jaeger().start().await).await;
    // 20 orders of 25 and a stock of 500: Redis' etag keeps every reservation.
    let ids: Vec<_> = (0..20).map(|n| format!("same-{n}")).collect();
    let placed = ids.iter().map(|id| async {
        let parent = Customer::new().traceparent();
        shop.place_as(&parent, id, "spoon", 25).await.unwrap().status
    });
    let placed = futures_util::future::join_all(placed).await;
    assert!(placed.iter().all(|status| *status == 201), "{placed:?}");
    let stock = || shop.stack.redis(&["HGET", "inventory||stock:spoon", "data"]);
    eventually("all reserved", async || stock().contains("\"available\":0")).await;
    let answer = shop.place_as(&Customer::new().traceparent(), "one-more", "spoon", 1).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()["available"].as_u64()), (409, Some(0)));
}

async fn what_the_shop_refuses_is_not_published() {
    let shop = Shop::open(Stack::start().await).await;
    let customer = Customer::new();
    let answer = shop.place_as(&customer.traceparent(), "1", "tea-mint", 501).await.unwrap();
    assert_eq!(answer.status, 409, "{}", answer.text());
    let check = span("CallLocal/inventory/check").client().at_least();
    let invoke = ours("order", "InvokeService").child(check);
    // Being refused is no error of the service.
    let root = span("POST /orders").server().no_error().child(span("place_order").internal().child(invoke));
    shop.stack.jaeger().expect(&customer, root).await;
    assert_eq!(shop.stack.redis(&["XLEN", "orders"]), "0", "the stream of the topic");
}
