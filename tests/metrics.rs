//! What `MetricsLayer` records, on all four sides.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, GetMetadataRequest, GetStateRequest, GetStateResponse, InvokeServiceRequest,
    PublishEventRequest, SaveStateRequest, SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1,
    dapr_client::DaprClient, subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType,
};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use opentelemetry::KeyValue;
use support::{GrpcAnswer, GrpcServer};
use tonic::Code;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_dapr::{
    metrics::MetricsLayer,
    observe::ObserveLayer,
    testing::{HistogramPoint, MetricRecorder},
    trace::TraceLayer,
};

#[tokio::test]
async fn a_call_to_dapr_is_measured_by_method_component_and_status() {
    let metrics = MetricRecorder::new();
    let answers = std::sync::Arc::new(std::sync::Mutex::new(vec![
        GrpcAnswer::message(&GetStateResponse::default()),
        GrpcAnswer::message(&GetStateResponse::default()),
        GrpcAnswer::error(Code::Internal, "down"),
    ]));
    let server = GrpcServer::answering(move || answers.lock().unwrap().remove(0)).await;
    let layer =
        MetricsLayer::client().with_meter_provider(&metrics.provider("app")).with_server_address("127.0.0.1", 50001);
    let mut client = DaprClient::new(layer.layer(server.channel()));
    for _ in 0..3 {
        let request = GetStateRequest { store_name: "statestore".into(), key: "k".into(), ..Default::default() };
        let _ = client.get_state(request).await;
    }

    let points = metrics.histogram("rpc.client.call.duration");
    assert_eq!(points.len(), 2);
    for point in &points {
        assert_labels(
            point,
            &[
                ("rpc.system.name", "grpc"),
                ("rpc.method", "dapr.proto.runtime.v1.Dapr/GetState"),
                ("dapr.building_block", "state"),
                ("dapr.component.name", "statestore"),
                ("server.address", "127.0.0.1"),
            ],
        );
        assert_eq!(point.bounds(), [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]);
    }
    let of =
        |status: &str| points.iter().find(|p| p.attribute_str("rpc.response.status_code") == Some(status)).unwrap();
    assert_eq!((of("OK").count(), of("OK").attribute("error.type")), (2, None));
    assert_eq!((of("INTERNAL").count(), of("INTERNAL").attribute_str("error.type")), (1, Some("INTERNAL")));
}

#[tokio::test]
async fn an_inbound_request_is_measured_by_method_route_and_status() {
    let metrics = MetricRecorder::new();
    let app: Router = Router::new()
        .route("/stock/{sku}", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .layer(MetricsLayer::server().with_meter_provider(&metrics.provider("app")));
    for sku in 0..10 {
        let request = Request::get(format!("/stock/{sku}")).header("host", format!("h{sku}")).body(Body::empty());
        app.clone().oneshot(request.unwrap()).await.unwrap();
    }
    let points = metrics.histogram("http.server.request.duration");
    assert_eq!(points.len(), 1, "neither the path nor the host is a label: {points:?}");
    assert_eq!(points[0].count(), 10);
    assert_labels(
        &points[0],
        &[
            ("http.request.method", "GET"),
            ("http.route", "/stock/{sku}"),
            ("url.scheme", "http"),
            ("network.protocol.version", "1.1"),
            ("error.type", "503"),
        ],
    );
}

#[tokio::test]
async fn odd_methods_and_paths_do_not_become_labels() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::server().with_meter_provider(&metrics.provider("app"));
    let app: Router = Router::new().layer(layer.clone());
    let unimplemented = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::builder().header("grpc-status", "12").body(Empty::<Bytes>::new()).unwrap())
    }));
    for n in 0..100 {
        let request = Request::builder().method(format!("M{n}").as_str()).uri(format!("/{n}")).body(Body::empty());
        app.clone().oneshot(request.unwrap()).await.unwrap();
        let request = Request::builder().uri(format!("/s{n}/m")).header("content-type", "application/grpc").body(());
        unimplemented.clone().oneshot(request.unwrap()).await.unwrap();
    }
    let http = metrics.histogram("http.server.request.duration");
    assert_eq!((http.len(), http[0].attribute_str("http.request.method")), (1, Some("_OTHER")));
    let rpc = metrics.histogram("rpc.server.call.duration");
    assert_eq!((rpc.len(), rpc[0].attribute_str("rpc.method")), (1, Some("_OTHER")));
}

#[tokio::test(start_paused = true)]
async fn the_duration_ends_with_the_body() {
    let metrics = MetricRecorder::new();
    let service = MetricsLayer::client().with_meter_provider(&metrics.provider("app")).layer(service_fn(
        async |_: Request<()>| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let frames = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from("late")))
            });
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(frames)))
        },
    ));
    let body = service.oneshot(Request::get("http://shop:81/").body(()).unwrap()).await.unwrap().into_body();
    assert!(metrics.histogram("http.client.request.duration").is_empty());
    std::pin::pin!(body).collect().await.unwrap();
    let points = metrics.histogram("http.client.request.duration");
    assert_eq!((points[0].count(), points[0].sum()), (1, 3.0));
    assert_labels(&points[0], &[("server.address", "shop"), ("http.request.method", "GET")]);
}

#[tokio::test]
async fn every_call_is_counted_whatever_becomes_of_it() {
    let metrics = MetricRecorder::new();
    let mut service = MetricsLayer::server()
        .with_meter_provider(&metrics.provider("app"))
        .layer(service_fn(|_: Request<()>| std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()));
    for _ in 0..100 {
        drop(service.call(Request::new(())));
    }
    let points = metrics.histogram("http.server.request.duration");
    assert_eq!((points[0].count(), points[0].attribute_str("error.type")), (100, Some("cancelled")));
}

#[tokio::test]
async fn trace_and_metrics_share_one_watch() {
    let (spans, metrics) = (support::Spans::new(), MetricRecorder::new());
    let layer = ObserveLayer::new((
        TraceLayer::server().with_tracer_provider(&spans.provider),
        MetricsLayer::server().with_meter_provider(&metrics.provider("app")),
    ));
    let service =
        layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    service.oneshot(Request::new(())).await.unwrap();
    spans.one();
    assert_eq!(metrics.histogram("http.server.request.duration")[0].count(), 1);
}

// ===== Dapr's own instruments =====

#[tokio::test]
async fn state_calls_are_counted_by_store_and_timed_in_milliseconds() {
    let metrics = MetricRecorder::new();
    let mut dapr = dapr(&metrics, |n| if n == 1 { GrpcAnswer::error(Code::Internal, "down") } else { empty() }).await;
    for _ in 0..2 {
        let _ = dapr.get_state(get_state("statestore")).await;
    }
    dapr.save_state(SaveStateRequest { store_name: "carts".into(), ..Default::default() }).await.unwrap();

    let of = |store: &str, error: Option<&str>| {
        let operations = metrics.counter("dapr.state_operations");
        let of = |point: &&tower_dapr::testing::NumberPoint| {
            point.attribute_str("dapr.component.name") == Some(store) && point.attribute_str("error.type") == error
        };
        operations.iter().find(of).map(|point| point.value())
    };
    assert_eq!((of("statestore", None), of("statestore", Some("INTERNAL"))), (Some(1.0), Some(1.0)));
    assert_eq!(of("carts", None), Some(1.0));
    let durations = metrics.histogram("dapr.state_duration");
    assert_eq!(durations.iter().map(HistogramPoint::count).sum::<u64>(), 3);
    assert_eq!(durations[0].bounds()[..3], [5.0, 10.0, 25.0]);
    assert!(metrics.counter("dapr.service_invocations").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_invocation_is_counted_by_callee() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::client().with_meter_provider(&metrics.provider("app"));
    let service = layer.layer(service_fn(async |_: Request<tonic::body::Body>| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, Infallible>(Response::builder().header("grpc-status", "0").body(tonic::body::Body::empty()).unwrap())
    }));
    let _ = DaprClient::new(service)
        .invoke_service(InvokeServiceRequest { id: "inventory".into(), ..Default::default() })
        .await;
    let calls = metrics.counter("dapr.service_invocations");
    assert_eq!((calls[0].value(), calls[0].attribute_str("dapr.app_id")), (1.0, Some("inventory")));
    assert_eq!(metrics.histogram("dapr.invocation_duration")[0].sum(), 20.0);
}

#[tokio::test]
async fn published_messages_are_counted_by_topic_and_a_bulk_by_its_entries() {
    let metrics = MetricRecorder::new();
    let mut dapr = dapr(&metrics, |_| empty()).await;
    let request = PublishEventRequest { pubsub_name: "pubsub".into(), topic: "orders".into(), ..Default::default() };
    dapr.publish_event(request).await.unwrap();
    let request = BulkPublishRequest {
        pubsub_name: "pubsub".into(),
        topic: "orders".into(),
        entries: vec![Default::default(); 7],
        ..Default::default()
    };
    dapr.bulk_publish_event(request).await.unwrap();
    let published = metrics.counter("dapr.pubsub_published");
    assert_eq!((published.len(), published[0].value()), (1, 8.0));
    assert_eq!(published[0].attribute_str("dapr.component.name"), Some("pubsub"));
    assert_eq!(published[0].attribute_str("messaging.destination.name"), Some("orders"));
}

#[tokio::test]
async fn errors_and_health_are_told_by_component() {
    let metrics = MetricRecorder::new();
    let codes = [Code::Ok, Code::Unavailable, Code::InvalidArgument, Code::Aborted];
    let mut dapr = dapr(&metrics, move |n| match codes[n] {
        Code::Ok => empty(),
        code => GrpcAnswer::error(code, "no"),
    })
    .await;
    // Works; is broken; the call never reached it, which says nothing; works, though it says no.
    for health in [1.0, 0.0, 0.0, 1.0] {
        let _ = dapr.get_state(get_state("statestore")).await;
        let gauge = metrics.gauge("dapr.component.health");
        assert_eq!((gauge.len(), gauge[0].value()), (1, health));
        assert_eq!(gauge[0].attribute_str("dapr.component.name"), Some("statestore"));
    }
    let mut errors: Vec<_> = metrics
        .counter("dapr.errors")
        .iter()
        .map(|point| {
            assert_eq!(point.attribute_str("dapr.component.name"), Some("statestore"));
            assert_eq!(point.attribute_str("dapr.building_block"), Some("state"));
            (point.attribute_str("error.type").unwrap().to_owned(), point.value())
        })
        .collect();
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = ["ABORTED", "INVALID_ARGUMENT", "UNAVAILABLE"].map(|code| (code.to_owned(), 1.0));
    assert_eq!(errors, expected);
}

#[tokio::test]
async fn asking_for_metadata_or_healthz_tells_the_sidecars_health() {
    let metrics = MetricRecorder::new();
    let mut dapr = dapr(&metrics, |_| empty()).await;
    dapr.get_metadata(GetMetadataRequest {}).await.unwrap();
    let health = || {
        let gauge = metrics.gauge("dapr.component.health");
        assert_eq!((gauge.len(), gauge[0].attribute_str("dapr.building_block")), (1, Some("health")));
        assert_eq!(gauge[0].attribute("dapr.component.name"), None);
        gauge[0].value()
    };
    assert_eq!(health(), 1.0);

    let layer = MetricsLayer::client().with_meter_provider(&metrics.provider("app"));
    for (status, value) in [(500, 0.0), (204, 1.0)] {
        let service = layer.layer(answering(status));
        let request = Request::get("http://127.0.0.1:3500/v1.0/healthz").body(()).unwrap();
        service.oneshot(request).await.unwrap();
        let gauge = metrics.gauge("dapr.component.health");
        assert!(gauge.iter().any(|point| point.value() == value), "{gauge:?}");
    }
}

#[tokio::test]
async fn a_streams_names_are_read_as_its_first_message_passes() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::client().with_meter_provider(&metrics.provider("app"));
    let service = layer.layer(service_fn(async |request: Request<tonic::body::Body>| {
        request.into_body().collect().await.unwrap();
        Ok::<_, Infallible>(Response::builder().header("grpc-status", "0").body(tonic::body::Body::empty()).unwrap())
    }));
    let first = SubscribeTopicEventsRequestAlpha1 {
        subscribe_topic_events_request_type: Some(SubscribeTopicEventsRequestType::InitialRequest(
            SubscribeTopicEventsRequestInitialAlpha1 {
                pubsub_name: "pubsub".into(),
                topic: "orders".into(),
                ..Default::default()
            },
        )),
    };
    let messages = futures_util::stream::once(async {
        tokio::task::yield_now().await; // not ready when the call is made
        first
    });
    let _ = DaprClient::new(service).subscribe_topic_events_alpha1(messages).await;
    let points = metrics.histogram("rpc.client.call.duration");
    assert_labels(&points[0], &[("dapr.component.name", "pubsub"), ("dapr.building_block", "pubsub")]);
}

// ===== settings =====

#[tokio::test]
async fn active_requests_are_those_between_call_and_end() {
    let metrics = MetricRecorder::new();
    let mut service = MetricsLayer::server().with_meter_provider(&metrics.provider("app")).layer(answering(200));
    let active = || {
        let points = metrics.up_down("http.server.active_requests");
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].attribute_str("http.request.method"), Some("GET"));
        assert_eq!(points[0].attribute_str("url.scheme"), Some("http"));
        points[0].value()
    };
    let calls = [service.call(Request::new(())), service.call(Request::new(()))];
    assert_eq!(active(), 2.0);
    let [first, second] = calls;
    first.await.unwrap();
    assert_eq!(active(), 1.0);
    drop(second);
    assert_eq!(active(), 0.0);
}

#[tokio::test]
async fn a_hook_that_panics_leaves_nothing_active() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::server()
        .with_meter_provider(&metrics.provider("app"))
        .with_request_attributes(|request| if request.uri.path() == "/bad" { panic() } else { Vec::new() });
    for path in ["/bad", "/good"] {
        let service = layer.layer(answering(200));
        let request = Request::get(path).body(()).unwrap();
        let _ = AssertUnwindSafe(service.oneshot(request)).catch_unwind().await;
    }
    assert_eq!(metrics.up_down("http.server.active_requests")[0].value(), 0.0);
    assert_eq!(metrics.histogram("http.server.request.duration")[0].count(), 1);
}

#[tokio::test]
async fn two_layers_of_one_provider_count_their_active_requests_together() {
    let metrics = MetricRecorder::new();
    let provider = metrics.provider("app");
    let calls: Vec<_> = (0..2)
        .map(|_| MetricsLayer::server().with_meter_provider(&provider).layer(answering(200)).call(Request::new(())))
        .collect();
    assert_eq!(metrics.up_down("http.server.active_requests")[0].value(), 2.0);
    drop(calls);
    assert_eq!(metrics.up_down("http.server.active_requests")[0].value(), 0.0);
}

#[tokio::test]
async fn body_sizes_are_measured_if_asked_for() {
    for (wanted, sizes) in [(false, None), (true, Some((5.0, 8192.0)))] {
        let metrics = MetricRecorder::new();
        let layer = MetricsLayer::server().with_meter_provider(&metrics.provider("app")).with_body_sizes(wanted);
        let app: Router = Router::new().route("/", post(async || "x".repeat(8192))).layer(layer);
        let request = Request::post("/").header("content-length", "5").body(Body::from("hello")).unwrap();
        app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        let request = metrics.histogram("http.server.request.body.size");
        let response = metrics.histogram("http.server.response.body.size");
        assert_eq!(request.first().zip(response.first()).map(|(a, b)| (a.sum(), b.sum())), sizes);
        if wanted {
            assert_labels(&response[0], &[("http.route", "/"), ("http.request.method", "POST")]);
        }
    }
}

#[tokio::test]
async fn what_the_filter_refuses_is_not_measured() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::server()
        .with_meter_provider(&metrics.provider("app"))
        .with_filter(|request| request.uri.path() != "/healthz");
    for path in ["/healthz", "/orders"] {
        layer.layer(answering(200)).oneshot(Request::get(path).body(()).unwrap()).await.unwrap();
    }
    assert_eq!(metrics.histogram("http.server.request.duration")[0].count(), 1);
}

#[tokio::test]
async fn the_users_own_attributes_are_on_the_duration() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::server()
        .with_meter_provider(&metrics.provider("app"))
        .with_attributes([KeyValue::new("listener", "admin")])
        .with_request_attributes(|request| vec![KeyValue::new("gold", request.headers.contains_key("x-gold"))]);
    let request = Request::get("/").header("x-gold", "1").body(()).unwrap();
    layer.layer(answering(200)).oneshot(request).await.unwrap();
    let points = metrics.histogram("http.server.request.duration");
    assert_labels(&points[0], &[("listener", "admin"), ("http.request.method", "GET")]);
    assert_eq!(points[0].attribute("gold"), Some(&true.into()));
}

#[tokio::test]
async fn a_layer_outside_of_the_router_is_told_the_route() {
    let metrics = MetricRecorder::new();
    let app: Router =
        Router::new().route("/stock/{sku}", get(async || "12")).layer(tower_dapr::observe::RouteLayer::new());
    let app = MetricsLayer::server().with_meter_provider(&metrics.provider("app")).layer(app);
    app.clone().oneshot(Request::get("/stock/7").body(Body::empty()).unwrap()).await.unwrap();
    app.oneshot(Request::get("/nowhere").body(Body::empty()).unwrap()).await.unwrap();
    let points = metrics.histogram("http.server.request.duration");
    let mut routes: Vec<_> = points.iter().map(|point| point.attribute_str("http.route")).collect();
    routes.sort();
    assert_eq!(routes, [None, Some("/stock/{sku}")]);
}

#[tokio::test]
async fn without_a_provider_nothing_is_recorded_and_nothing_breaks() {
    // No global provider is installed in this process.
    let noop = opentelemetry::metrics::noop::NoopMeterProvider::new();
    for layer in [MetricsLayer::server(), MetricsLayer::client().with_meter_provider(&noop)] {
        layer.layer(answering(200)).oneshot(Request::new(())).await.unwrap();
    }
}

#[tokio::test]
async fn the_question_whether_anybody_listens_is_not_exported() {
    let metrics = MetricRecorder::new();
    let layer = MetricsLayer::server().with_meter_provider(&metrics.provider("app"));
    layer.layer(answering(200)).oneshot(Request::new(())).await.unwrap();
    assert_eq!(metrics.names(), ["http.server.active_requests", "http.server.request.duration"]);
}

// ===== truth under attack =====

/// Each instrument of 100,000 requests of which everything is made up.
#[tokio::test]
async fn a_hostile_world_leaves_at_most_thirty_series() {
    const REQUESTS: usize = 100_000;
    let metrics = MetricRecorder::new();
    let provider = metrics.provider("app");
    let http = MetricsLayer::server().with_meter_provider(&provider).with_body_sizes(true);
    let mut app: Router = Router::new()
        .route("/orders/{id}", post(async || (StatusCode::INTERNAL_SERVER_ERROR, "why")))
        .layer(http.clone());
    let mut catch_all = http.layer(grpc_answering("0"));
    let client = MetricsLayer::client().with_meter_provider(&provider);
    let mut callee = client.layer(answering(200));
    let mut dapr = DaprClient::new(client.layer(grpc_answering("0")));
    let mut random = support::Random(7);
    for n in 0..REQUESTS / 5 {
        let method = match random.below(3) {
            0 => format!("M{n}"),
            _ => ["GET", "PUT", "POST", "BREW", "DELETE"][random.below(5) as usize].to_owned(),
        };
        let path = if random.below(2) == 0 { format!("/orders/{n}") } else { format!("/{n}?q={n}") };
        let request = Request::builder()
            .method(method.as_str())
            .uri(path)
            .header("host", format!("h{n}"))
            .header("user-agent", format!("u{n}"))
            .header("traceparent", format!("t{n}"));
        app.call(request.body(Body::empty()).unwrap()).await.unwrap();
        let request = Request::builder().uri(format!("/s{n}/m{n}")).header("content-type", "application/grpc");
        catch_all.call(request.body(tonic::body::Body::empty()).unwrap()).await.unwrap();
        callee.call(Request::get(format!("http://h{n}:{}/", n % 60_000 + 1)).body(()).unwrap()).await.unwrap();
        let (component, topic) = (format!("c{n}"), format!("t{n}"));
        let request = PublishEventRequest { pubsub_name: component.clone(), topic, ..Default::default() };
        let _ = dapr.publish_event(request).await;
        match n % 2 {
            0 => drop(dapr.get_state(get_state(&component)).await),
            _ => drop(dapr.invoke_service(InvokeServiceRequest { id: component, ..Default::default() }).await),
        }
    }
    for name in metrics.names() {
        let histogram = metrics.histogram(&name).len();
        let number = metrics.counter(&name).len() + metrics.up_down(&name).len() + metrics.gauge(&name).len();
        // One instrument is of three rpcs here, and which rpcs there are is up to the app's code, not to strangers.
        let kinds = if name == "rpc.client.call.duration" { 3 } else { 1 };
        assert!(histogram + number <= 30 * kinds, "{name}: {}", histogram + number);
    }
    let counted = |name: &str| metrics.histogram(name).iter().map(HistogramPoint::count).sum::<u64>();
    let names = ["http.server.request.duration", "rpc.server.call.duration", "http.client.request.duration"];
    assert_eq!(names.map(counted), [REQUESTS as u64 / 5; 3]);
    assert_eq!(counted("rpc.client.call.duration"), REQUESTS as u64 * 2 / 5);
    let published = metrics.counter("dapr.pubsub_published");
    let other = published.iter().find(|p| p.attribute_str("messaging.destination.name") == Some("_OTHER")).unwrap();
    assert_eq!(other.value(), (REQUESTS / 5 - 24) as f64);
}

/// The address of a webhook, say, is somebody else's choice.
#[tokio::test]
async fn the_ports_of_one_host_are_not_told_apart_without_end() {
    let metrics = MetricRecorder::new();
    let mut callee = MetricsLayer::client().with_meter_provider(&metrics.provider("app")).layer(answering(200));
    for port in 1..=1_000 {
        callee.call(Request::get(format!("http://h:{port}/")).body(()).unwrap()).await.unwrap();
    }
    let points = metrics.histogram("http.client.request.duration");
    assert!(points.len() <= 30, "{}: {:?}", points.len(), points.last());
    let port = |n: i64| points.iter().any(|point| point.attribute("server.port") == Some(&n.into()));
    assert!(port(1) && port(24) && !port(25));
}

/// Where a call of the next test comes to its end.
#[derive(Clone, Copy, Debug)]
enum Fate {
    PanicInCall,
    FutureDropped { polls: u64 },
    PanicInFuture { polls: u64 },
    Error,
    BodyDropped { frames: u64 },
    PanicInBody { frames: u64 },
    BodyError { frames: u64 },
    Whole,
}

#[tokio::test]
async fn a_hundred_thousand_calls_cut_anywhere_are_each_opened_closed_and_counted_once() {
    const CALLS: u64 = 100_000;
    let (spans, metrics) = (support::SpanCount::default(), MetricRecorder::new());
    let provider = metrics.provider("app");
    let trace = TraceLayer::server().with_tracer_provider(&spans.provider());
    let layer = ObserveLayer::new((trace, MetricsLayer::server().with_meter_provider(&provider)));
    let mut service =
        layer.layer(service_fn(|request: Request<()>| doomed(*request.extensions().get::<Fate>().unwrap())));
    let mut random = support::Random(42);
    for n in 0..CALLS {
        let count = random.below(4);
        let fate = match random.below(8) {
            0 => Fate::PanicInCall,
            1 => Fate::FutureDropped { polls: count },
            2 => Fate::PanicInFuture { polls: count },
            3 => Fate::Error,
            4 => Fate::BodyDropped { frames: count },
            5 => Fate::PanicInBody { frames: count },
            6 => Fate::BodyError { frames: count },
            _ => Fate::Whole,
        };
        let mut request = Request::builder().extension(fate);
        if random.below(2) == 0 {
            request = request.uri("/pkg.S/M").header("content-type", "application/grpc");
        }
        let request = request.body(()).unwrap();
        let Ok(future) = catch_unwind(AssertUnwindSafe(|| service.call(request))) else { continue };
        let polls = if let Fate::FutureDropped { polls } = fate { polls } else { u64::MAX };
        let frames = if let Fate::BodyDropped { frames } = fate { frames } else { u64::MAX };
        let _ = catch_unwind(AssertUnwindSafe(|| poll_through(future, polls, frames)));
        if n % 10_000 == 0 {
            let active = metrics.up_down("http.server.active_requests");
            assert!(active.iter().all(|point| point.value() == 0.0), "{fate:?}: {active:?}");
        }
    }
    assert_eq!(spans.get(), (CALLS, CALLS));
    let counted = |name: &str| metrics.histogram(name).iter().map(HistogramPoint::count).sum::<u64>();
    assert_eq!(counted("http.server.request.duration") + counted("rpc.server.call.duration"), CALLS);
    let active = metrics.up_down("http.server.active_requests");
    assert_eq!((active.len(), active[0].value()), (1, 0.0));
    assert!(!opentelemetry::trace::TraceContextExt::has_active_span(&opentelemetry::Context::current()));
}

/// Panics without a word on stderr.
fn panic() -> ! {
    std::panic::resume_unwind(Box::new("doomed"))
}

fn doomed(fate: Fate) -> impl Future<Output = std::io::Result<Response<impl http_body::Body<Data = Bytes>>>> {
    if matches!(fate, Fate::PanicInCall) {
        panic();
    }
    async move {
        let yields = if let Fate::PanicInFuture { polls } | Fate::FutureDropped { polls } = fate { polls } else { 1 };
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        match fate {
            Fate::PanicInFuture { .. } => panic(),
            Fate::FutureDropped { .. } => std::future::pending().await,
            Fate::Error => return Err(std::io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        let mut left = if let Fate::PanicInBody { frames } | Fate::BodyError { frames } = fate { frames } else { 4 };
        let frames = futures_util::stream::poll_fn(move |_| {
            if left > 0 {
                left -= 1;
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))));
            }
            match fate {
                Fate::PanicInBody { .. } => panic(),
                Fate::BodyError { .. } => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
                _ => Poll::Ready(None),
            }
        });
        Ok(Response::new(http_body_util::StreamBody::new(frames)))
    }
}

/// Polls a call at most so often, then its body for at most so many frames, and drops what is left.
fn poll_through<B: http_body::Body>(
    future: impl Future<Output = std::io::Result<Response<B>>>,
    polls: u64,
    frames: u64,
) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(future);
    let mut polls = 0..polls;
    let response = loop {
        if polls.next().is_none() {
            return;
        }
        if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
            break response;
        }
    };
    let Ok(response) = response else { return };
    let mut body = std::pin::pin!(response.into_body());
    for _ in 0..frames {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(_))) => {}
            _ => return,
        }
    }
}

// ===== helpers =====

fn get_state(store: &str) -> GetStateRequest {
    GetStateRequest { store_name: store.into(), key: "k".into(), ..Default::default() }
}

fn empty() -> GrpcAnswer {
    GrpcAnswer::message(&())
}

/// A measured client of a sidecar that gives these answers in turn.
async fn dapr(
    metrics: &MetricRecorder,
    answer: impl Fn(usize) -> GrpcAnswer + Send + Sync + 'static,
) -> DaprClient<tower_dapr::observe::Observe<tonic::transport::Channel, MetricsLayer>> {
    let (count, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let server = GrpcServer::answering(move || answer(count.fetch_add(1, Ordering::Relaxed))).await;
    let channel = server.channel();
    std::mem::forget(server); // ends with the test's runtime
    DaprClient::new(MetricsLayer::client().with_meter_provider(&metrics.provider("app")).layer(channel))
}

fn answering(
    status: u16,
) -> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = Infallible, Future: Send> + Clone {
    service_fn(move |_: Request<()>| std::future::ready(Ok(with_status(status))))
}

/// Answers with a head that is all there is.
fn grpc_answering(
    code: &'static str,
) -> impl Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>, Error = Infallible, Future: Send> + Clone
{
    service_fn(move |_: Request<tonic::body::Body>| {
        let response = Response::builder().header("grpc-status", code).body(tonic::body::Body::empty());
        std::future::ready(Ok(response.unwrap()))
    })
}

fn with_status(status: u16) -> Response<Empty<Bytes>> {
    Response::builder().status(status).body(Empty::new()).unwrap()
}

fn assert_labels(point: &HistogramPoint, labels: &[(&str, &str)]) {
    for (key, value) in labels {
        assert_eq!(point.attribute_str(key), Some(*value), "{key}");
    }
}
