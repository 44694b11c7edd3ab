//! What leaves the process over OTLP, and what a broken collector does to it: nothing.
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::disallowed_types, reason = "another process cannot be on tokio's paused clock")]

use std::{
    path::PathBuf,
    process::Output,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_sdk::trace::SimpleSpanProcessor;
use tokio::{net::TcpListener, process::Command};
use tower_dapr::{telemetry::Telemetry, testing::SpanRecorder};
use tracing_subscriber::layer::SubscriberExt;

type Received = Arc<Mutex<Vec<(&'static str, HeaderMap, Bytes)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_and_metrics_of_every_service_arrive_at_the_collector() {
    let received = Received::default();
    let app = Router::new()
        .route("/v1/traces", post(take_traces))
        .route("/v1/metrics", post(take_metrics))
        .with_state(received.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let output =
        orders(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k1")]).await;
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("Exported to {endpoint}")));

    let received = received.lock().unwrap();
    let of = |signal: &str| -> Vec<u8> {
        received.iter().filter(|(name, ..)| *name == signal).flat_map(|(.., body)| body.to_vec()).collect()
    };
    let (traces, metrics) = (of("traces"), of("metrics"));
    for text in ["publish orders", "process orders", "place_order", "https://opentelemetry.io/schemas/1.44.0"] {
        assert!(contains(&traces, text), "{text}");
    }
    for service in ["customer", "order", "inventory", "payment", "notification"] {
        assert!(contains(&traces, service) && contains(&metrics, service), "{service}");
    }
    for text in ["rpc.client.call.duration", "http.server.request.duration"] {
        assert!(contains(&metrics, text), "{text}");
    }
    assert!(received.iter().all(|(_, headers, _)| headers["x-key"] == "k1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_is_told_and_does_no_harm() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let output = orders(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{closed}"))]).await;
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 accepted"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not exported"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_does_not_keep_the_process() {
    for protocol in ["http/protobuf", "grpc"] {
        let black_hole = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", black_hole.local_addr().unwrap());
        let started = Instant::now();
        let output =
            orders(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]).await;
        assert!(output.status.success(), "{protocol}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 accepted"));
        // 3 s for the flush and 3 s for the shutdown, whatever the exporter's own 10 s say.
        assert!(started.elapsed() < Duration::from_secs(9), "{protocol}: {:?}", started.elapsed());
        drop(black_hole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_sdk_records_nothing_and_everything_works() {
    let output = orders(&[("OTEL_SDK_DISABLED", "true")]).await;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && out.contains("1 accepted"), "{out}");
    assert!(!out.contains("publish orders"), "{out}");
}

#[tokio::test]
async fn the_spans_of_the_crates_underneath_are_not_exported() {
    // They cover the exporter's own connection: exporting them would make new ones for ever.
    let spans = SpanRecorder::new();
    let telemetry = Telemetry::builder("app")
        .with_span_processor(SimpleSpanProcessor::new(spans.exporter("app")))
        .only_if_configured()
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(telemetry.tracing_layer());
    tracing::subscriber::with_default(subscriber, || {
        let _mine = tracing::info_span!("mine").entered();
        drop(tracing::trace_span!(target: "h2::proto::connection", "Connection").entered());
        drop(tracing::info_span!(target: "tonic::transport", "connect").entered());
        drop(tracing::debug_span!("detail").entered());
        drop(tracing::info_span!(target: "tower_shop", "also mine").entered());
    });
    let names: Vec<_> = spans.spans().iter().map(|span| span.name().to_owned()).collect();
    assert_eq!(names, ["also mine", "mine"]);
    telemetry.shutdown(Duration::from_secs(1)).await.unwrap();
}

// ===== helpers =====

async fn take_traces(State(received): State<Received>, headers: HeaderMap, body: Bytes) {
    received.lock().unwrap().push(("traces", headers, body));
}

async fn take_metrics(State(received): State<Received>, headers: HeaderMap, body: Bytes) {
    received.lock().unwrap().push(("metrics", headers, body));
}

/// Protobuf holds texts as they are.
fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Sends one order through the example's shop. A plain `cargo test` builds it first.
async fn orders(vars: &[(&str, &str)]) -> Output {
    let test = std::env::current_exe().unwrap();
    let example: PathBuf = test.parent().unwrap().parent().unwrap().join("examples/orders");
    let vars = vars.iter().map(|(name, value)| (*name, *value));
    Command::new(example).args(["--orders", "1"]).envs(vars).kill_on_drop(true).output().await.unwrap()
}
