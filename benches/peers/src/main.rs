//! Peers beside ours: what each adds to the same call, in one process, in turns. `cargo run --release` in this folder, with
//! `--features bound-instruments` for that path.
//!
//! Each mode is a process of its own, because peers take the global provider or the global subscriber of `tracing`. There
//! the candidates take turns in short batches and the smallest mean of each counts: what disturbs, only adds.
//!
//! Peers that go through `tracing` have tracing-opentelemetry as the only layer of the subscriber; those that use the API
//! take the same provider. `off` is no subscriber and no provider. All have W3C propagation, and none exports.
//!
//! Not here: tower-otel-http-metrics 0.16, which is for opentelemetry 0.30 and records nothing with 0.33.

#[path = "../../scenarios/mod.rs"]
mod scenarios;

use std::{
    alloc::System,
    process::Command,
    time::{Duration, Instant},
};

use opentelemetry::{global, metrics::MeterProvider, trace::TracerProvider};
use opentelemetry_instrumentation_tower::http::server::LayerBuilder;
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use scenarios::{Call, inbound, meter, outbound, router, sidecar};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, layer::util::Identity};
use tower_dapr::{metrics::MetricsLayer, observe::ObserveLayer, trace::TraceLayer};
use tower_http_opentelemetry::http::server::{HttpServerTelemetryConfig, HttpServerTelemetryLayer};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MODES: [&str; 4] = ["off", "unsampled", "sampled", "metrics"];
const BATCH: u32 = 500;
const ROUNDS: u32 = 400;

/// No peer: what cannot be saved.
const FLOOR: &str = "floor";

fn main() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let Some(mode) = std::env::args().nth(1) else {
        let me = std::env::current_exe().expect("a process has a file");
        for mode in MODES {
            let status = Command::new(&me).arg(mode).status().expect("the same file runs again");
            assert!(status.success(), "{mode}");
        }
        return;
    };
    let provider = match &*mode {
        "off" => None,
        "unsampled" => Some(install(Sampler::AlwaysOff)),
        "sampled" => Some(install(Sampler::AlwaysOn)),
        _ => return metrics(),
    };
    // The peers' bridge holds the SDK's tracer, so ours does too: through the global provider a span is boxed once more.
    let with_provider = |layer: TraceLayer| match &provider {
        Some(provider) => layer.with_tracer_provider(provider),
        None => layer,
    };
    table(&format!("inbound trace, {mode}"), inbound_trace(with_provider(TraceLayer::server())));
    table(&format!("outbound gRPC trace, {mode}"), outbound_trace(with_provider(TraceLayer::client())));
}

fn install(sampler: Sampler) -> SdkTracerProvider {
    let provider = scenarios::tracer(sampler);
    let bridge = tracing_opentelemetry::layer().with_tracer(provider.tracer("peers"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(bridge)).expect("the first one");
    global::set_tracer_provider(provider.clone());
    provider
}

type Candidate = (&'static str, Call);

fn inbound_trace(ours: TraceLayer) -> Vec<Candidate> {
    let mut without_metrics = HttpServerTelemetryConfig::recommended();
    without_metrics.metrics.request_duration.enabled = false;
    let telemetry = HttpServerTelemetryLayer::with_config(without_metrics)
        .with_http_route_extractor(tower_http_opentelemetry::extract::AxumHttpRouteExtractor);
    let contrib = LayerBuilder::builder().with_metrics(false).build().expect("nothing to refuse");
    vec![
        ("bare", inbound(router())),
        ("tower-dapr", inbound(router().layer(ours))),
        ("opentelemetry-instrumentation-tower", inbound(router().layer(contrib))),
        (
            "axum-tracing-opentelemetry",
            inbound(router().layer(axum_tracing_opentelemetry::middleware::OtelAxumLayer::default())),
        ),
        ("tower-otel", inbound(router().layer(tower_otel::trace::HttpLayer::server(Level::INFO)))),
        ("tower-http-opentelemetry", inbound(router().layer(telemetry))),
        ("tower-http", inbound(router().layer(tower_http::trace::TraceLayer::new_for_http()))),
        ("floor: a layer that does nothing", inbound(router().layer(Identity::new()))),
    ]
}

fn outbound_trace(ours: TraceLayer) -> Vec<Candidate> {
    vec![
        ("bare", outbound(sidecar())),
        ("tower-dapr", outbound(ours.with_server_address("127.0.0.1", 50001).layer(sidecar()))),
        (
            "tonic-tracing-opentelemetry",
            outbound(tonic_tracing_opentelemetry::middleware::client::OtelGrpcLayer.layer(sidecar())),
        ),
        ("tower-otel", outbound(tower_otel::trace::GrpcLayer::client(Level::INFO).layer(sidecar()))),
        ("tower-http", outbound(tower_http::trace::TraceLayer::new_for_grpc().layer(sidecar()))),
    ]
}

fn metrics() {
    let provider = meter();
    global::set_meter_provider(provider.clone());
    let contrib = LayerBuilder::builder().with_tracing(false).build().expect("nothing to refuse");
    let telemetry = HttpServerTelemetryLayer::new()
        .with_http_route_extractor(tower_http_opentelemetry::extract::AxumHttpRouteExtractor);
    let meter = provider.meter("peers");
    let candidates = vec![
        ("bare", inbound(router())),
        ("tower-dapr", inbound(router().layer(MetricsLayer::server()))),
        ("opentelemetry-instrumentation-tower", inbound(router().layer(contrib))),
        ("tower-otel", inbound(router().layer(tower_otel::metrics::HttpLayer::server(&meter)))),
        ("tower-http-opentelemetry", inbound(router().layer(telemetry))),
        ("floor: a layer that does nothing", inbound(router().layer(Identity::new()))),
    ];
    table("inbound metrics", candidates);

    let spans = scenarios::tracer(Sampler::AlwaysOn);
    let (trace, metrics) = (TraceLayer::server().with_tracer_provider(&spans), MetricsLayer::server());
    let candidates = vec![
        ("bare", inbound(router())),
        ("tower-dapr, trace", inbound(router().layer(trace.clone()))),
        ("tower-dapr, metrics", inbound(router().layer(metrics.clone()))),
        ("tower-dapr, both", inbound(router().layer(ObserveLayer::new((trace, metrics))))),
    ];
    table("inbound trace and metrics, sampled", candidates);
}

/// Measures all candidates in turns. The first one is the call itself, the second one ours.
fn table(title: &str, mut candidates: Vec<Candidate>) {
    let allocations: Vec<_> = candidates.iter_mut().map(|(_, call)| allocations(call)).collect();
    let mut best = vec![Duration::MAX; candidates.len()];
    for _ in 0..ROUNDS {
        for ((_, call), best) in candidates.iter_mut().zip(&mut best) {
            let start = Instant::now();
            (0..BATCH).for_each(|_| call());
            *best = start.elapsed().min(*best);
        }
    }
    let nanos = |time: &Duration| time.as_secs_f64() * 1e9 / f64::from(BATCH);
    let added: Vec<_> = best.iter().map(|time| nanos(time) - nanos(&best[0])).collect();
    let peers = candidates.iter().zip(&added).skip(2).filter(|((name, _), _)| !name.starts_with(FLOOR));
    let best_peer = peers.map(|(_, added)| *added).fold(f64::INFINITY, f64::min);
    println!("\n{title} (the call itself: {:.0} ns, {} allocations)", nanos(&best[0]), allocations[0]);
    println!("{:38} {:>9} {:>15} {:>13}", "", "added ns", "/ best peer's", "allocations");
    for (at, (name, _)) in candidates.iter().enumerate().skip(1) {
        let more = allocations[at].saturating_sub(allocations[0]);
        println!("{name:38} {:>9.0} {:>15.2} {more:>13}", added[at], added[at] / best_peer);
    }
}

/// Allocations and reallocations of one call, once everything is warm.
fn allocations(call: &mut Call) -> usize {
    (0..1000).for_each(|_| call());
    let region = Region::new(ALLOCATOR);
    (0..100).for_each(|_| call());
    let change = region.change();
    (change.allocations + change.reallocations) / 100
}
