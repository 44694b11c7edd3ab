//! An order travels through four services and two buses as one trace: the example's shop, from outside.
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(dead_code, unreachable_pub, reason = "the example's own modules")]

#[path = "../examples/orders/args.rs"]
mod args;
#[path = "../examples/orders/order.rs"]
mod order;
#[path = "real/ports.rs"]
mod ports;
#[path = "../examples/orders/report.rs"]
mod report;
#[path = "../examples/orders/services.rs"]
mod services;
#[path = "../examples/orders/shop.rs"]
mod shop;

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use order::Order;
use services::Service;
use shop::{Placed, Shop};
use tower::ServiceExt;
use tower_dapr::{
    inbound::RequireApiTokenLayer,
    outbound::{Dapr, Endpoint},
    sidecar::Hub,
    telemetry::Telemetry,
    testing::{SpanTree, span},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_one_trace() {
    let shop = open().await;
    assert_eq!(shop.place(&order("1", "tea-mint", 2)).await.unwrap(), Placed::Accepted);
    shop.settled().await;

    let traces = shop.spans.traces();
    assert_eq!(traces.len(), 1, "{}", traces.iter().map(tower_dapr::testing::Trace::outline).collect::<String>());
    traces[0].expect(
        span("POST").client().service("customer").no_error().child(
            span("POST /orders").server().service("order").attribute("http.route", "/orders").child(
                span("place_order").internal().service("order").in_order().children([
                    call("order", "InvokeService").attribute("dapr.app_id", "inventory").child(
                        span("POST /check")
                            .server()
                            .service("inventory")
                            .child(span("check").internal().service("inventory").child(state("inventory", "GetState"))),
                    ),
                    state("order", "SaveState"),
                    span("publish orders")
                        .producer()
                        .service("order")
                        .attribute("dapr.component.name", "pubsub")
                        .attribute("messaging.destination.name", "orders")
                        .children([
                            delivery(
                                "inventory",
                                span("reserve")
                                    .in_order()
                                    .children([state("inventory", "GetState"), state("inventory", "SaveState")]),
                            ),
                            delivery("payment", span("pay").child(state("payment", "SaveState"))),
                            delivery("notification", span("notify").child(state("notification", "SaveState"))),
                        ]),
                ]),
            ),
        ),
    );
    shop.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_for_more_than_the_stock_leaves_nothing_behind() {
    let shop = open().await;
    assert_eq!(shop.place(&order("1", "tea-mint", 501)).await.unwrap(), Placed::Refused);
    assert_eq!(shop.place(&order("2", "no-such-thing", 1)).await.unwrap(), Placed::Refused);
    shop.settled().await;
    for trace in shop.spans.traces() {
        assert!(!trace.outline().contains("SaveState"), "{}", trace.outline());
        assert!(!trace.outline().contains("publish"), "{}", trace.outline());
        // The customer was refused; the service did what it should.
        trace.expect(
            span("POST").client().error().at_least().child(span("POST /orders").server().no_error().at_least()),
        );
    }
    assert_eq!(shop.hub.stats().delivered, 0);
    shop.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_at_the_same_time_take_what_they_take() {
    let shop = open().await;
    // 40 orders of 10 and a stock of 500: the etag keeps every reservation.
    let orders: Vec<_> = (0..40).map(|n| order(&n.to_string(), "spoon", 10)).collect();
    let placed = futures_util::future::join_all(orders.iter().map(|order| shop.place(order))).await;
    assert!(placed.into_iter().all(|placed| placed.unwrap() == Placed::Accepted));
    shop.settled().await;
    assert_eq!(shop.place(&order("101", "spoon", 101)).await.unwrap(), Placed::Refused, "100 are left");
    assert_eq!(shop.place(&order("100", "spoon", 100)).await.unwrap(), Placed::Accepted);
    shop.settled().await;
    assert_eq!(shop.hub.stats().lost, 0);
    shop.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_order_is_refused_by_the_service() {
    let shop = open().await;
    for (order, status) in
        [(order("a||b", "spoon", 1), 400), (order("1", "spoon", 0), 400), (order("", "spoon", 1), 400)]
    {
        let placed = shop.place(&order).await.unwrap();
        assert!(matches!(placed, Placed::Failed(code, _) if code == status), "{placed:?}");
    }
    shop.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_counts_every_operation() {
    let shop = open().await;
    for order in order::sample(20) {
        shop.place(&order).await.unwrap();
    }
    shop.settled().await;
    let report = report::operations(&shop.metrics);
    for (service, operation, calls, errors) in [
        ("order", "POST /orders", "20", "0"),
        ("order", "InvokeService inventory", "20", "0"),
        ("order", "PublishEvent pubsub", "19", "0"),
        ("payment", "POST /events/orders", "19", "0"),
    ] {
        let row = report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| {
            row.first() == Some(&service) && row.get(1..3).is_some_and(|words| words.join(" ") == operation)
        });
        let row = row.unwrap_or_else(|| panic!("{service} {operation}: {report}"));
        assert_eq!((row[3], *row.last().unwrap()), (calls, errors), "{report}");
    }
    shop.close().await.unwrap();
}

// ===== the program =====

#[test]
fn bad_lines_are_named_the_others_processed_and_the_exit_code_is_2() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, r#"{{"id":"1","customer":"Zoë","sku":"tea-mint","quantity":1}}"#).unwrap();
    writeln!(file, "no json").unwrap();
    let output = orders(&["--json", file.path().to_str().unwrap()]);
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("line 2:"), "{err}");
    assert!(out.contains("1 accepted"), "{out}");
}

#[test]
fn wrong_arguments_and_unreadable_files_exit_with_2() {
    for (args, message) in [
        (&["--json", "/no/such/file"][..], "/no/such/file"),
        (&["--orders", "none"], "--orders"),
        (&["--service", "order"], "DAPR_GRPC_PORT"),
    ] {
        let output = orders(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output).1.contains(message), "{args:?}: {}", text(&output).1);
    }
    let output = orders(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output).0.contains("--orders N"));
}

#[test]
fn the_demo_shows_a_waterfall_and_a_table() {
    let output = orders(&["--orders", "3"]);
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    for part in
        ["3 accepted", "publish orders", "process orders", "InvokeService inventory", "p99", "OTEL_EXPORTER_OTLP"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(err.contains("3 of 3 orders sent"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_runs_beside_a_sidecar_of_its_own() {
    let hub = Hub::builder().state_store("statestore").pubsub("pubsub").build();
    let mut processes = Vec::new();
    let mut sidecars = Vec::new();
    let mut orders = String::new();
    for service in Service::ALL {
        let port = ports::free_port();
        if service == Service::Order {
            orders = format!("http://127.0.0.1:{port}/orders");
        }
        let sidecar = hub.app(service.app_id()).app_port(port).start().await.unwrap();
        let process = tokio::process::Command::new(example())
            .args(["--service", service.app_id(), "--port", &port.to_string()])
            .env("DAPR_GRPC_PORT", sidecar.grpc_port().to_string())
            .env_remove("DAPR_GRPC_ENDPOINT")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        processes.push(process);
        sidecars.push(sidecar);
    }
    for sidecar in &sidecars {
        sidecar.ready().await;
    }

    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let body = Full::from(serde_json::to_vec(&order("1", "cocoa", 3)).unwrap());
    let request = http::Request::post(orders).header("content-type", "application/json").body(body).unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), 201);
    hub.settled().await;
    assert_eq!(hub.stats().delivered, 3);

    // Told to stop, a service ends by itself.
    for mut process in processes {
        let id = process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(process.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn with_a_token_no_service_answers_others_than_its_sidecar() {
    let telemetry = Telemetry::builder("shop").only_if_configured().build().unwrap();
    let dapr = Dapr::builder().endpoint(Endpoint::local(1)).build().unwrap();
    for (service, paths) in [
        (Service::Order, &["/orders", "/dapr/subscribe"][..]),
        (Service::Inventory, &["/check", "/events/orders"]),
        (Service::Payment, &["/events/orders"]),
        (Service::Notification, &["/events/orders"]),
    ] {
        let token = RequireApiTokenLayer::new("t0k3n").unwrap();
        let app = service.router(dapr.clone(), &telemetry, Some(token)).unwrap();
        let status = async |request: http::request::Builder| {
            app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap().status()
        };
        for &path in paths {
            assert_eq!(status(http::Request::post(path)).await, 401, "{service} {path}");
            let with_token = http::Request::post(path).header("dapr-api-token", "t0k3n");
            assert_ne!(status(with_token).await, 401, "{service} {path}");
        }
        assert!(status(http::Request::get("/healthz")).await.is_success(), "{service}");
    }
    telemetry.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
}

// ===== helpers =====

/// An open shop; what its sidecars asked of the services at the start is forgotten.
async fn open() -> Shop {
    let shop = Shop::open().await.unwrap();
    shop.spans.clear();
    shop
}

fn order(id: &str, sku: &str, quantity: u32) -> Order {
    Order { id: id.into(), customer: "Zoë Šimić".into(), sku: sku.into(), quantity }
}

fn call(service: &str, method: &str) -> SpanTree {
    span(format!("dapr.proto.runtime.v1.Dapr/{method}")).client().service(service).no_error()
}

fn state(service: &str, method: &str) -> SpanTree {
    call(service, method).attribute("dapr.building_block", "state").attribute("dapr.component.name", "statestore")
}

/// A delivery of the event, and what the service does with it.
fn delivery(service: &str, handler: SpanTree) -> SpanTree {
    span("POST /events/orders").server().service(service).no_error().child(
        span("process orders")
            .consumer()
            .service(service)
            .linked_to("publish orders")
            .attribute("dapr.component.name", "pubsub")
            .child(handler.internal().service(service)),
    )
}

/// Runs the example. A plain `cargo test` builds it first; `cargo test --test orders` alone does not.
fn orders(args: &[&str]) -> Output {
    Command::new(example())
        .args(args)
        .env_remove("DAPR_GRPC_PORT")
        .env_remove("DAPR_GRPC_ENDPOINT")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .output()
        .unwrap()
}

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/orders")
}

fn text(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}
