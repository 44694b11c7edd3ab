//! What `MetricsLayer` records, on all four sides.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{GetStateRequest, GetStateResponse, dapr_client::DaprClient};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
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

fn assert_labels(point: &HistogramPoint, labels: &[(&str, &str)]) {
    for (key, value) in labels {
        assert_eq!(point.attribute_str(key), Some(*value), "{key}");
    }
}
