//! What is measured: one call through a service, with and without layers, and what a layer cannot do without (floors).
//!
//! Inbound: a `POST` with six headers to a route of an axum router, its body read. Outbound: `GetState` by the generated
//! client, answered in memory by a message and trailers. Nothing waits, so that nothing but the layers is measured.
#![allow(dead_code, reason = "not every bench uses all of it")]
#![allow(unreachable_pub, reason = "a module of benches")]
#![allow(clippy::unwrap_used, reason = "a bench may")]

use std::{convert::Infallible, hint::black_box};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::{
    Context, KeyValue,
    metrics::MeterProvider,
    trace::{Span, SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracerProvider, SpanData, SpanProcessor},
};
use tower::{Layer, Service, service_fn};
use tower_dapr::{metrics::MetricsLayer, observe::ObserveLayer, trace::TraceLayer};

/// One call, again and again.
pub type Call = Box<dyn FnMut()>;

/// All scenarios by name: `in/..` HTTP inbound, `out/..` gRPC outbound, `floor/..` what cannot be saved.
pub fn all() -> Vec<(&'static str, Call)> {
    let (on, off) = (tracer(Sampler::AlwaysOn), tracer(Sampler::AlwaysOff));
    let meter = meter();
    let server = || TraceLayer::server();
    let client = || TraceLayer::client().with_server_address("127.0.0.1", 50001);
    let server_metrics = MetricsLayer::server().with_meter_provider(&meter);
    let client_metrics = MetricsLayer::client().with_meter_provider(&meter).with_server_address("127.0.0.1", 50001);
    let both_in = ObserveLayer::new((server().with_tracer_provider(&on), server_metrics.clone()));
    let both_out = ObserveLayer::new((client().with_tracer_provider(&on), client_metrics.clone()));
    vec![
        ("floor/span", floor_span(&on)),
        ("floor/histogram", floor_histogram(&meter)),
        #[cfg(feature = "bound-instruments")]
        ("floor/bound histogram", floor_bound_histogram(&meter)),
        ("in/bare", inbound(router())),
        // A layer that does nothing: what axum itself charges for one.
        ("in/empty layer", inbound(router().layer(tower::layer::util::Identity::new()))),
        ("in/trace off", inbound(router().layer(server()))),
        ("in/trace unsampled", inbound(router().layer(server().with_tracer_provider(&off)))),
        ("in/trace sampled", inbound(router().layer(server().with_tracer_provider(&on)))),
        ("in/metrics off", inbound(router().layer(MetricsLayer::server()))),
        ("in/metrics", inbound(router().layer(server_metrics.clone()))),
        ("in/both, one pass", inbound(router().layer(both_in))),
        ("in/both, two layers", inbound(router().layer(server_metrics).layer(server().with_tracer_provider(&on)))),
        ("out/bare", outbound(sidecar())),
        ("out/trace off", outbound(client().layer(sidecar()))),
        ("out/trace unsampled", outbound(client().with_tracer_provider(&off).layer(sidecar()))),
        ("out/trace sampled", outbound(client().with_tracer_provider(&on).layer(sidecar()))),
        ("out/metrics off", outbound(MetricsLayer::client().layer(sidecar()))),
        ("out/metrics", outbound(client_metrics.layer(sidecar()))),
        ("out/both, one pass", outbound(both_out.layer(sidecar()))),
        ("out/both, two layers", outbound(client().with_tracer_provider(&on).layer(client_metrics.layer(sidecar())))),
    ]
}

/// A provider whose spans are made whole and then dropped.
pub fn tracer(sampler: Sampler) -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(Drops).build()
}

pub fn meter() -> SdkMeterProvider {
    let never = std::time::Duration::from_secs(86_400);
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).with_interval(never).build();
    SdkMeterProvider::builder().with_reader(reader).build()
}

// ===== inbound =====

pub fn router() -> Router {
    Router::new().route("/orders/{id}", post(async || "placed"))
}

pub fn inbound(mut app: Router) -> Call {
    Box::new(move || {
        let response = app.call(http_request()).now_or_never().unwrap().unwrap();
        let body = response.into_body().collect().now_or_never().unwrap().unwrap();
        black_box(body.to_bytes());
    })
}

pub fn http_request() -> Request<Body> {
    Request::post("/orders/7?page=2")
        .header("host", "shop:8080")
        .header("user-agent", "Go-http-client/1.1")
        .header("content-type", "application/json")
        .header("content-length", "0")
        .header("accept-encoding", "gzip")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .body(Body::empty())
        .unwrap()
}

// ===== outbound =====

/// Answers with a message and trailers, as daprd does.
pub fn sidecar()
-> impl Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(async |request: Request<tonic::body::Body>| {
        black_box(request.into_body().collect().await.unwrap().to_bytes());
        let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect();
        let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)].map(Ok::<_, tonic::Status>);
        let body = tonic::body::Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
    })
}

pub fn outbound<S, B>(service: S) -> Call
where
    S: Service<Request<tonic::body::Body>, Response = Response<B>> + 'static,
    S::Error: Into<tonic::codegen::StdError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    let mut client = DaprClient::new(service);
    Box::new(move || {
        let request = GetStateRequest { store_name: "statestore".into(), key: "order-1".into(), ..Default::default() };
        black_box(client.get_state(request).now_or_never().unwrap().unwrap());
    })
}

// ===== floors =====

/// A span of the SDK with as many attributes as ours has, in a context that is attached as often as ours is.
fn floor_span(provider: &SdkTracerProvider) -> Call {
    let tracer = provider.tracer("floor");
    let attributes = attributes();
    Box::new(move || {
        let builder = tracer.span_builder("floor").with_kind(SpanKind::Client).with_attributes(attributes.clone());
        let context = Context::current().with_span(tracer.build(builder));
        for _ in 0..3 {
            drop(black_box(context.clone().attach()));
        }
        context.span().set_attribute(KeyValue::new("rpc.response.status_code", "OK"));
        context.span().end();
    })
}

fn floor_histogram(provider: &SdkMeterProvider) -> Call {
    let histogram = provider.meter("floor").f64_histogram("floor").build();
    let attributes = attributes();
    Box::new(move || histogram.record(black_box(0.1), &attributes))
}

#[cfg(feature = "bound-instruments")]
fn floor_bound_histogram(provider: &SdkMeterProvider) -> Call {
    let histogram = provider.meter("floor").f64_histogram("bound_floor").build().bind(&attributes());
    Box::new(move || histogram.record(black_box(0.1)))
}

fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", "dapr.proto.runtime.v1.Dapr/GetState"),
        KeyValue::new("dapr.building_block", "state"),
        KeyValue::new("dapr.component.name", "statestore"),
        KeyValue::new("server.address", "127.0.0.1"),
        KeyValue::new("server.port", 50001),
    ]
}

/// Takes spans as an exporter's queue does, and drops them.
#[derive(Debug)]
pub struct Drops;

impl SpanProcessor for Drops {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, _: &Context) {
        black_box(span.span_context());
    }

    fn on_end(&self, span: SpanData) {
        drop(black_box(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}
