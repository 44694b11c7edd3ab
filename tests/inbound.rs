//! Subscriptions as daprd sees them: its own questions, deliveries, verdicts; and the layers around the whole.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod recorded;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::State, response::IntoResponse};
use http::{
    Method, Request, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::BodyExt;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{CloudEvent, Event, Limits, Outcome},
    inbound::{AppConfig, InboundLayer, Rejected, Subscriptions, Topic},
    metrics::MetricsLayer,
    trace::TraceLayer,
};

use self::recorded::{Logged, Spans, attribute};

#[derive(Debug, Deserialize)]
struct Order {
    n: u32,
}

// ===== what daprd asks for =====

#[tokio::test]
async fn subscriptions_are_derived_from_the_topics() {
    let app = router(
        Subscriptions::new()
            .topic(
                Topic::new("bus", "orders").route("/orders").dead_letter("poison").metadata("rawPayload", "false"),
                ok,
            )
            .topic(Topic::new("bus", "orders").when(r#"event.type == "order.v2""#).route("/orders/v2"), ok)
            .topic(Topic::new("bus", "orders").when("event.type == \"x\"").dead_letter("poison"), ok)
            .topic(Topic::new("bus", "a/b"), ok),
    );
    let response = app.oneshot(get("/dapr/subscribe")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(
        serde_json::from_str::<Value>(&text(response).await).unwrap(),
        json!([
            {
                "pubsubname": "bus",
                "topic": "orders",
                "routes": {
                    "rules": [
                        {"match": "event.type == \"order.v2\"", "path": "/orders/v2"},
                        {"match": "event.type == \"x\"", "path": "/dapr/events/bus/orders/when/1"},
                    ],
                    "default": "/orders",
                },
                "deadLetterTopic": "poison",
                "metadata": {"rawPayload": "false"},
            },
            {"pubsubname": "bus", "topic": "a/b", "routes": {"default": "/dapr/events/bus/a~2Fb"}},
        ])
    );
}

#[tokio::test]
async fn actor_types_are_told_in_the_words_of_dapr() {
    async fn told(config: AppConfig) -> Value {
        let response = router(Subscriptions::new().app_config(config)).oneshot(get("/dapr/config")).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        serde_json::from_str(&text(response).await).unwrap()
    }
    let config = AppConfig::new()
        .entity("Cart")
        .entity("Order")
        .actor_idle_timeout(Duration::from_secs(90))
        .drain_ongoing_call_timeout(Duration::from_nanos(1))
        .drain_rebalanced_actors(false)
        .reentrancy(5);
    let expected = json!({
        "entities": ["Cart", "Order"],
        "actorIdleTimeout": "90000ms",
        "drainOngoingCallTimeout": "1ns",
        "drainRebalancedActors": false,
        "reentrancy": {"enabled": true, "maxStackDepth": 5},
    });
    assert_eq!(told(config).await, expected);
    assert_eq!(told(AppConfig::new()).await, json!({}));
}

#[test]
fn a_wrong_actor_type_is_named_at_the_start() {
    let many = (0..1025).fold(AppConfig::new(), |config, n| config.entity(n.to_string()));
    let never = Duration::from_secs(u64::MAX);
    for (config, expected) in [
        (AppConfig::new().entity("Cart").entity(""), "actor type \"\": the name is empty"),
        (AppConfig::new().entity("Cart").entity("Cart"), "actor type \"Cart\": it is there twice"),
        (
            AppConfig::new().entity("a/b"),
            "actor type \"a/b\": a path or a control character is in it, or it is `.` or `..`",
        ),
        (
            AppConfig::new().entity(".."),
            "actor type \"..\": a path or a control character is in it, or it is `.` or `..`",
        ),
        (
            AppConfig::new().entity("dapr.internal.x"),
            "actor type \"dapr.internal.x\": the name is one of Dapr's workflows",
        ),
        (many, "actor type \"1024\": more than 1024 actor types"),
        (
            AppConfig::new().actor_idle_timeout(never),
            "app configuration: the idle timeout is longer than Dapr can count",
        ),
        (
            AppConfig::new().drain_ongoing_call_timeout(never),
            "app configuration: the drain timeout is longer than Dapr can count",
        ),
        (AppConfig::new().reentrancy(0), "app configuration: a stack depth of zero lets no call come back"),
    ] {
        let error = Subscriptions::<()>::new().app_config(config).into_router().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.topic(), error.pubsub()), (expected, "", ""));
    }
    let long = Subscriptions::<()>::new().app_config(AppConfig::new().entity("x".repeat(513))).into_router();
    assert!(long.unwrap_err().to_string().ends_with("the name is longer than 512 bytes"));
    assert!(Subscriptions::<()>::new().app_config(AppConfig::new().entity("x".repeat(512))).into_router().is_ok());
}

#[tokio::test]
async fn every_advertised_route_is_served() {
    let app = router(
        Subscriptions::new()
            .topic(Topic::new("bus", "ä {x} %?#/..").when("true"), ok)
            .topic(Topic::new("bus", "ä {x} %?#/.."), ok)
            .topic(Topic::new("..", ":*"), ok)
            .topic(Topic::new("bus", "orders").route("/a-._~!$&'()+,;=:@*/b"), ok),
    );
    let document: Value =
        serde_json::from_str(&text(app.clone().oneshot(get("/dapr/subscribe")).await.unwrap()).await).unwrap();
    let mut paths: Vec<&str> =
        document.as_array().unwrap().iter().map(|s| s["routes"]["default"].as_str().unwrap()).collect();
    paths.push(document[0]["routes"]["rules"][0]["path"].as_str().unwrap());
    assert_eq!(paths.len(), 4);
    for path in paths {
        let response = app.clone().oneshot(delivery_to(path, r#"{"id":"1"}"#)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.extensions().get::<Outcome>(), Some(&Outcome::Success), "{path}");
    }
}

#[tokio::test]
async fn an_app_without_topics_still_answers_daprd() {
    let app = router(Subscriptions::new());
    for (path, body) in [("/dapr/subscribe", "[]"), ("/dapr/config", "{}"), ("/healthz", "")] {
        let response = app.clone().oneshot(get(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, body);
    }
}

#[tokio::test]
async fn a_topics_route_takes_posts_only() {
    let app = router(Subscriptions::new().topic(Topic::new("bus", "orders").route("/orders"), ok));
    let mut request = delivery("{");
    *request.method_mut() = Method::PUT;
    assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

// ===== subscriptions that cannot be =====

#[test]
fn a_wrong_subscription_is_named() {
    let long = "x".repeat(513);
    let orders = || Topic::new("bus", "orders");
    for (topics, reason) in [
        (vec![Topic::new("", "orders")], r#"topic "orders" of pubsub "": the name of the pubsub component is empty"#),
        (vec![Topic::new("bus", "")], r#"topic "" of pubsub "bus": the name of the topic is empty"#),
        (vec![Topic::new("bus", &long)], "the name of the topic is longer than 512 bytes"),
        (vec![Topic::new(&long, "t")], "the name of the pubsub component is longer than 512 bytes"),
        (vec![orders().dead_letter(&long)], "the dead letter topic is longer than 512 bytes"),
        (vec![orders().metadata("k", &long)], "metadata is longer than 512 bytes"),
        (vec![orders().metadata(&long, "v")], "metadata is longer than 512 bytes"),
        (vec![orders().route(format!("/{long}"))], "the route is longer than 512 bytes"),
        (vec![orders().when("x".repeat(4097))], "the condition is longer than 4096 bytes"),
        (
            vec![(0..65).fold(orders(), |topic, index| topic.metadata(format!("k{index}"), ""))],
            "more than 64 entries of metadata",
        ),
        (vec![orders(), orders().route("/other")], r#"topic "orders" of pubsub "bus": it is subscribed twice"#),
        (vec![orders().when("a"), orders().when("a")], "it is subscribed twice with the same condition"),
        (
            vec![orders().route("/x"), Topic::new("bus", "shipments").route("/x")],
            r#"topic "shipments" of pubsub "bus": route "/x" is already that of topic "orders" of pubsub "bus""#,
        ),
        (
            vec![orders().dead_letter("a"), orders().when("b").dead_letter("c")],
            "the dead letter topic differs from that of an earlier subscription",
        ),
        (
            vec![orders().metadata("k", "1"), orders().when("b").metadata("k", "2")],
            r#"metadata "k" differs from that of an earlier subscription"#,
        ),
        (vec![orders().route("/dapr/subscribe")], r#"route "/dapr/subscribe" is daprd's own"#),
        (vec![orders().route("/dapr/config")], "daprd's own"),
        (vec![orders().route("/healthz")], "daprd's own"),
    ] {
        let error = subscribe(topics).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(error.starts_with("subscription of topic") && error.len() < 600, "{error}");
    }
}

#[test]
fn a_route_must_be_a_plain_path() {
    for route in [
        "",
        "/",
        "orders",
        "/orders/",
        "/{id}",
        "/a/{*rest}",
        "/:id",
        "/a/*rest",
        "/a//b",
        "/a/./b",
        "/../b",
        "/a?b",
        "/a#b",
        "/a b",
        "/ä",
        "/a%2Fb",
        "/a\n",
        "http://x/a",
        "//x/a",
    ] {
        let error = subscribe(vec![Topic::new("bus", "orders").route(route)]).unwrap_err();
        assert_eq!((error.pubsub(), error.topic()), ("bus", "orders"));
        assert!(error.to_string().contains(&format!("route {route:?} is not a plain path")), "{error}");
    }
}

#[test]
fn there_may_be_many_subscriptions_but_not_any_number() {
    let topics = |count| (0..count).map(|index| Topic::new("bus", format!("t{index}"))).collect();
    assert!(subscribe(topics(1024)).is_ok());
    assert!(subscribe(topics(1025)).unwrap_err().to_string().contains("more than 1024 subscriptions"));
}

#[test]
fn the_longest_names_make_a_route() {
    let name = "/".repeat(512);
    assert!(subscribe(vec![Topic::new(&name, &name)]).is_ok());
}

// ===== verdicts =====

#[tokio::test]
async fn what_a_handler_returns_is_what_daprd_reads() {
    async fn fails() -> io::Result<()> {
        Err(io::Error::other("no"))
    }

    let app = router(
        Subscriptions::new()
            .topic(Topic::new("b", "unit").route("/unit"), async |_: Event<Order>| {})
            .topic(Topic::new("b", "success").route("/success"), async |_: Event<Order>| Outcome::Success)
            .topic(Topic::new("b", "retry").route("/retry"), async |_: Event<Order>| Outcome::Retry)
            .topic(Topic::new("b", "drop").route("/drop"), async |_: Event<Order>| Outcome::Drop)
            .topic(Topic::new("b", "ok").route("/ok"), async |_: Event<Order>| Ok::<_, Rejected>(()))
            .topic(Topic::new("b", "ok-drop").route("/ok-drop"), async |_: Event<Order>| {
                Ok::<_, Rejected>(Outcome::Drop)
            })
            .topic(Topic::new("b", "err").route("/err"), async |_: Event<Order>| Ok::<_, Rejected>(fails().await?))
            .topic(Topic::new("b", "err-drop").route("/err-drop"), async |_: Event<Order>| {
                fails().await.map_err(Rejected::drop)
            })
            .topic(Topic::new("b", "text").route("/text"), async || Err::<(), _>(Rejected::retry("text")))
            .topic(Topic::new("b", "status").route("/status"), async || StatusCode::BAD_GATEWAY),
    );
    for (path, status, body, outcome) in [
        ("/unit", 200, "", None),
        ("/success", 200, r#"{"status":"SUCCESS"}"#, Some(Outcome::Success)),
        ("/retry", 200, r#"{"status":"RETRY"}"#, Some(Outcome::Retry)),
        ("/drop", 200, r#"{"status":"DROP"}"#, Some(Outcome::Drop)),
        ("/ok", 200, "", None),
        ("/ok-drop", 200, r#"{"status":"DROP"}"#, Some(Outcome::Drop)),
        ("/err", 200, r#"{"status":"RETRY"}"#, Some(Outcome::Retry)),
        ("/err-drop", 200, r#"{"status":"DROP"}"#, Some(Outcome::Drop)),
        ("/text", 200, r#"{"status":"RETRY"}"#, Some(Outcome::Retry)),
        ("/status", 502, "", None),
    ] {
        let response = app.clone().oneshot(delivery_to(path, r#"{"id":"1","data":{"n":1}}"#)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.extensions().get(), outcome.as_ref(), "{path}");
        assert_eq!(text(response).await, body, "{path}");
    }
}

#[tokio::test]
async fn a_handler_gets_event_and_state() {
    #[derive(Clone, Default)]
    struct App(Arc<AtomicUsize>);

    async fn add(State(app): State<App>, event: Event<Order>) -> Outcome {
        assert_eq!((event.id(), event.topic()), (Some("1"), Some("orders")));
        app.0.fetch_add(event.data.n as usize, Ordering::Relaxed);
        Outcome::Success
    }

    let state = App::default();
    let subscriptions = Subscriptions::new().topic(Topic::new("bus", "orders").route("/orders"), add);
    let app = subscriptions.into_router().unwrap().with_state(state.clone());
    app.oneshot(delivery(r#"{"id":"1","topic":"orders","data":{"n":3}}"#)).await.unwrap();
    assert_eq!(state.0.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_raw_subscription_gets_bytes() {
    let app = router(Subscriptions::new().topic(
        Topic::new("bus", "raw").route("/orders").metadata("rawPayload", "true"),
        async |event: Event<Vec<u8>>| assert_eq!(event.data, br#"{"raw":1}"#),
    ));
    let recorded =
        r#"{"data_base64":"eyJyYXciOjF9","datacontenttype":"application/octet-stream","id":"3b9d","source":"Dapr"}"#;
    assert_eq!(text(app.oneshot(delivery(recorded)).await.unwrap()).await, "");
}

#[tokio::test]
async fn every_recorded_delivery_reaches_its_handler() {
    #[derive(Deserialize)]
    struct Delivery {
        path: String,
        headers: std::collections::HashMap<String, String>,
        body: String,
    }

    let count = Arc::new(AtomicUsize::new(0));
    let mut subscriptions = Subscriptions::new();
    for name in ["orders", "raw", "flaky", "drop", "dead", "poison", "routed-default", "routed-a"] {
        let count = count.clone();
        subscriptions =
            subscriptions.topic(Topic::new("pubsub", name).route(format!("/{name}")), async move |_: CloudEvent| {
                count.fetch_add(1, Ordering::Relaxed);
            });
    }
    let app = router(subscriptions);
    let recorded: Vec<Delivery> =
        include_str!("golden/structured.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for Delivery { path, headers, body } in &recorded {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = app.clone().oneshot(request.body(Body::from(body.clone())).unwrap()).await.unwrap();
        assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, ""), "{path}");
    }
    assert_eq!(count.load(Ordering::Relaxed), recorded.len());
    assert_eq!(recorded.len(), 25);
}

#[tokio::test]
async fn what_cannot_be_decoded_never_reaches_the_handler() {
    let app = |layer| {
        router(
            Subscriptions::new()
                .topic(Topic::new("bus", "orders").route("/orders"), unreached)
                .with_cloud_event_layer(layer),
        )
    };
    for (layer, body, verdict) in [
        (CloudEventLayer::new(), "{", "DROP"),
        (CloudEventLayer::new(), r#"{"specversion":"0.3"}"#, "DROP"),
        (CloudEventLayer::new().on_undecodable(Outcome::Retry), "{", "RETRY"),
        (CloudEventLayer::new().with_limits(Limits::default().with_bytes(5)), r#"{"id":"1"}"#, "DROP"),
    ] {
        let answer = text(app(layer).oneshot(delivery(body)).await.unwrap()).await;
        assert_eq!(answer, format!(r#"{{"status":"{verdict}"}}"#));
    }
}

#[tokio::test]
async fn data_that_does_not_fit_is_dropped_with_a_warning_that_names_the_event() {
    let (logged, _guard) = Logged::start();
    let app = router(Subscriptions::new().topic(Topic::new("bus", "orders").route("/orders"), unreached));
    let body = json!({"id": format!("1\n{}", "x".repeat(1000)), "topic": "ord\u{1b}[31mers", "data": {"n": "secret"}});
    let response = app.oneshot(delivery(&body.to_string())).await.unwrap();
    assert_eq!(text(response).await, r#"{"status":"DROP"}"#);
    let logged = logged.take();
    assert!(logged.contains("WARN") && logged.contains("event rejected"), "{logged}");
    assert!(logged.contains("does not fit the handler's type") && logged.contains("outcome=DROP"), "{logged}");
    assert!(logged.contains(r"id=1\u{a}xxx") && logged.contains(r"topic=ord\u{1b}[31mers"), "{logged}");
    assert_eq!(logged.lines().count(), 1);
    assert!(!logged.contains("secret") && logged.len() < 600, "{logged}");
}

#[tokio::test]
async fn a_handlers_error_is_logged_with_its_chain() {
    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("stock is closed")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let (logged, _guard) = Logged::start();
    let rejected = Rejected::from(Outer(io::Error::other(format!("gone\n{}", "x".repeat(5000)))));
    assert_eq!(rejected.outcome(), Outcome::Retry);
    assert_eq!(rejected.error().to_string(), "stock is closed");
    assert!(format!("{rejected:?}").contains("Outer"));
    assert_eq!(rejected.into_response().status(), StatusCode::OK);
    let logged = logged.take();
    assert!(logged.contains(r"outcome=RETRY reason=stock is closed: gone\u{a}xxx"), "{logged}");
    assert!(logged.lines().count() == 1 && logged.len() < 1300, "{logged}");
}

#[test]
fn data_that_does_not_fit_is_not_tried_again() {
    let event = CloudEvent::from_json(r#"{"data":"x"}"#.into()).unwrap();
    assert_eq!(Rejected::from(event.data_as::<Order>().unwrap_err()).outcome(), Outcome::Drop);
    assert_eq!(Rejected::from(CloudEvent::from_json("{".into()).unwrap_err()).outcome(), Outcome::Drop);
    assert_eq!(Rejected::from("x".parse::<u8>().unwrap_err()).outcome(), Outcome::Retry);
}

// ===== the extractors alone =====

#[tokio::test]
async fn an_event_is_extracted_without_a_layer() {
    let app: Router = Router::new()
        .route("/orders", axum::routing::post(async |event: Event<Order>| format!("{}", event.data.n)))
        .route(
            "/any",
            axum::routing::post(async |event: CloudEvent| event.id().map(str::to_owned).unwrap_or_default()),
        );
    for (path, body, answer) in [
        ("/orders", r#"{"id":"1","data":{"n":3}}"#, "3"),
        ("/any", r#"{"id":"1"}"#, "1"),
        ("/orders", "{", r#"{"status":"DROP"}"#),
        ("/orders", r#"{"id":"1"}"#, r#"{"status":"DROP"}"#),
        ("/orders", r#"{"id":"1","data":"x"}"#, r#"{"status":"DROP"}"#),
        ("/any", r#"{"specversion":"0.3"}"#, r#"{"status":"DROP"}"#),
    ] {
        let response = app.clone().oneshot(delivery_to(path, body)).await.unwrap();
        assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, answer), "{body}");
    }

    let no_event = Request::post("/orders").body(Body::from(r#"{"id":"1","data":{"n":3}}"#)).unwrap();
    assert_eq!(text(app.clone().oneshot(no_event).await.unwrap()).await, r#"{"status":"DROP"}"#);

    let mut decoded = Request::post("/any").body(Body::empty()).unwrap();
    decoded.extensions_mut().insert(CloudEvent::from_json(r#"{"id":"2"}"#.into()).unwrap());
    assert_eq!(text(app.clone().oneshot(decoded).await.unwrap()).await, "2", "what a layer has decoded is taken");

    let mut too_large = delivery("{}");
    too_large.headers_mut().insert(CONTENT_LENGTH, (8 * 1024 * 1024 + 1).into());
    assert_eq!(text(app.oneshot(too_large).await.unwrap()).await, r#"{"status":"DROP"}"#);
}

// ===== panics =====

#[tokio::test]
async fn a_panicking_handler_is_answered_with_retry_and_the_app_lives() {
    let spans = Spans::new();
    let app = router(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").route("/orders"), async |event: Event<Order>| {
                tokio::task::yield_now().await;
                assert!(event.data.n > 0, "on purpose");
            })
            .with_cloud_event_layer(CloudEventLayer::new().with_tracer_provider(&spans.provider)),
    );
    let response = app.clone().oneshot(delivery(r#"{"topic":"orders","data":{"n":0}}"#)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, r#"{"status":"RETRY"}"#);
    let panicked = spans.take();
    assert_eq!(panicked.len(), 1);
    assert_eq!(
        (panicked[0].name.as_ref(), attribute(&panicked[0], "error.type").as_deref()),
        ("process orders", Some("panic"))
    );

    for _ in 0..100 {
        let response = app.clone().oneshot(delivery(r#"{"data":{"n":1}}"#)).await.unwrap();
        assert_eq!(text(response).await, "");
    }
    assert!(spans.take().iter().all(|span| span.status == Status::Unset));
}

// ===== the whole side =====

#[tokio::test]
async fn the_inbound_layer_records_the_request_around_the_event() {
    let spans = Spans::new();
    let metrics = InMemoryMetricExporter::default();
    let meters = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(metrics.clone()).build()).build();
    let subscriptions = Subscriptions::new()
        .topic(Topic::new("bus", "orders").route("/orders"), async |_: Event<Order>| Outcome::Retry)
        .with_cloud_event_layer(CloudEventLayer::new().with_tracer_provider(&spans.provider));
    let layer = InboundLayer::new().with_tracer_provider(&spans.provider).with_meter_provider(&meters);
    let app = Router::new().merge(subscriptions.into_router().unwrap()).layer(layer);

    let body =
        r#"{"topic":"orders","traceparent":"00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01","data":{"n":1}}"#;
    text(app.oneshot(delivery(body)).await.unwrap()).await;

    let finished = spans.take();
    let [process, server] = finished.as_slice() else { panic!("{finished:?}") };
    assert_eq!((process.name.as_ref(), server.name.as_ref()), ("process orders", "POST /orders"));
    assert_eq!((&process.span_kind, &server.span_kind), (&SpanKind::Consumer, &SpanKind::Server));
    assert_eq!(process.parent_span_id, server.span_context.span_id());
    assert_eq!(process.links.len(), 1);
    assert_eq!(attribute(process, "error.type").as_deref(), Some("RETRY"));
    assert_eq!(server.status, Status::Unset);

    meters.force_flush().unwrap();
    let names: Vec<_> = metrics.get_finished_metrics().unwrap();
    assert!(format!("{names:?}").contains("http.server.request.duration"));
}

#[tokio::test]
async fn the_inbound_layer_takes_layers_of_ones_own() {
    let spans = Spans::new();
    let trace =
        TraceLayer::server().with_tracer_provider(&spans.provider).with_filter(|head| head.uri.path() != "/healthz");
    let layer = InboundLayer::default().with_trace(trace).with_metrics(MetricsLayer::server());
    let app = router(Subscriptions::new()).layer(layer);
    for path in ["/healthz", "/dapr/config"] {
        text(app.clone().oneshot(get(path)).await.unwrap()).await;
    }
    assert_eq!(spans.take().iter().map(|span| span.name.to_string()).collect::<Vec<_>>(), ["GET /dapr/config"]);
}

#[test]
fn debug_names_the_topics() {
    let subscriptions = Subscriptions::<()>::new().topic(Topic::new("bus", "orders"), ok);
    assert!(format!("{subscriptions:?}").contains(r#"name: "orders""#));
}

// ===== helpers =====

async fn ok(_: CloudEvent) -> Outcome {
    Outcome::Success
}

async fn unreached(event: Event<Order>) {
    panic!("reached: {event:?}")
}

fn router(subscriptions: Subscriptions) -> Router {
    subscriptions.into_router().unwrap()
}

fn subscribe(topics: Vec<Topic>) -> Result<Router, tower_dapr::inbound::SubscriptionError> {
    topics.into_iter().fold(Subscriptions::new(), |all, topic| all.topic(topic, ok)).into_router()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn delivery(body: &str) -> Request<Body> {
    delivery_to("/orders", body)
}

fn delivery_to(path: &str, body: &str) -> Request<Body> {
    Request::post(path).header(CONTENT_TYPE, "application/cloudevents+json").body(Body::from(body.to_owned())).unwrap()
}

async fn text(response: axum::response::Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

// ===== handlers that do not read their request =====

/// A connection of one app, as a client has it.
fn connect(app: Router) -> tokio::io::DuplexStream {
    let (client, server) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        let service = hyper_util::service::TowerToHyperService::new(app);
        let connection = hyper::server::conn::http1::Builder::new();
        let _ = connection.serve_connection(hyper_util::rt::TokioIo::new(server), service).await;
    });
    client
}

/// The status of the next answer.
async fn status(client: &mut tokio::io::DuplexStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    client.read_exact(&mut vec![0; length.parse().unwrap()]).await?;
    Ok(head[9..12].to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_read_its_request_keeps_the_connection() {
    let unread = Subscriptions::new()
        .binding("cron", async || Outcome::Success)
        .binding("full", async || Outcome::Retry)
        .job("nightly", async || Outcome::Drop);
    let mut client = connect(router(unread));
    let body = vec![b'x'; 1 << 20];
    for (path, expected) in [("/cron", "200"), ("/full", "500"), ("/job/nightly", "404"), ("/cron", "200")] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap();
        assert_eq!(status(&mut client).await.unwrap(), expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_keeps_the_connection() {
    let limits = Limits::default().with_bytes(1000).with_bulk_bytes(1000);
    let subscriptions = Subscriptions::new()
        .topic(Topic::new("bus", "orders").route("/orders"), ok)
        .with_cloud_event_layer(CloudEventLayer::new().with_limits(limits));
    let mut client = connect(router(subscriptions));
    let body = vec![b'x'; 1 << 20];
    for content_type in ["application/cloudevents+json", "application/json"] {
        for _ in 0..2 {
            let head = format!(
                "POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\npubsubname: bus\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(&body).await.unwrap();
            assert_eq!(status(&mut client).await.unwrap(), "200", "{content_type}");
        }
    }
    client
        .write_all(b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\n")
        .await
        .unwrap();
    client.write_all(b"transfer-encoding: chunked\r\n\r\n").await.unwrap();
    for _ in 0..1000 {
        client.write_all(format!("3e8\r\n{}\r\n", "x".repeat(1000)).as_bytes()).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(status(&mut client).await.unwrap(), "200");
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_does_not_read_is_not_waited_for_without_end() {
    let unread = Subscriptions::new().binding("cron", async || Outcome::Success);
    let mut client = connect(router(unread));
    let start = tokio::time::Instant::now();
    client.write_all(b"POST /cron HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
    assert_eq!(status(&mut client).await.unwrap(), "200");
    assert_eq!(start.elapsed(), Duration::from_secs(1));

    // Nor is it read without end.
    let limits = Limits::default().with_bytes(1000);
    let small = Subscriptions::new().binding("cron", async || Outcome::Success);
    let mut client = connect(router(small.with_cloud_event_layer(CloudEventLayer::new().with_limits(limits))));
    let endless: io::Result<()> = async {
        client.write_all(b"POST /cron HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            client.write_all(b"4\r\nabcd\r\n").await?;
        }
    }
    .await;
    assert!(endless.is_err());
}

#[tokio::test]
async fn a_body_that_is_read_is_handed_on_as_it_is() {
    let echo = Subscriptions::new().binding("echo", async |body: axum::body::Bytes| body);
    let request = Request::post("/echo").body(Body::from("as it is")).unwrap();
    assert_eq!(text(router(echo).oneshot(request).await.unwrap()).await, "as it is");
}
