//! What leaves the process over OTLP, and what a broken collector does to it: nothing.
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::disallowed_types, reason = "another process cannot be on tokio's paused clock")]

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    routing::{get, post},
};
use http_body_util::BodyExt;
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SimpleSpanProcessor, Span, SpanData, SpanProcessor},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command},
};
use tower::ServiceExt;
use tower_dapr::{telemetry::Telemetry, testing::SpanRecorder, trace::TraceLayer};
use tracing_subscriber::layer::SubscriberExt;

/// An exporter that would wait longer than any test does.
const PATIENT: (&str, &str) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000");

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
            orders(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), PATIENT])
                .await;
        assert!(output.status.success(), "{protocol}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 accepted"));
        // 3 s for the flush and 3 s for the shutdown, whatever the exporter's own minute says.
        assert!(started.elapsed() < Duration::from_secs(30), "{protocol}: {:?}", started.elapsed());
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
    let (telemetry, spans) = recorded();
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
    telemetry.shutdown(Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_a_span_of_tracing_too_is_exported_once() {
    let (telemetry, spans) = recorded();
    let layer = TraceLayer::server().with_tracer_provider(telemetry.tracer_provider().unwrap());
    let app = Router::new().route("/", get(async || "here")).layer(layer.with_tracing_span(tracing::Level::INFO));
    let subscriber = tracing_subscriber::registry().with(telemetry.tracing_layer());
    let guard = tracing::subscriber::set_default(subscriber);
    let response = app.oneshot(http::Request::get("/").body(axum::body::Body::empty()).unwrap()).await.unwrap();
    response.into_body().collect().await.unwrap();
    drop(guard);
    let names: Vec<_> = spans.spans().iter().map(|span| span.name().to_owned()).collect();
    assert_eq!(names, ["GET /"]);
    telemetry.shutdown(Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn the_time_is_kept_and_told_and_a_drop_does_not_block() {
    let (stuck, release) = Stuck::new();
    let telemetry = Telemetry::builder("app").with_span_processor(stuck).only_if_configured().build().unwrap();
    let error = telemetry.flush(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("traces"), "{error}");
    // On a runtime of one thread, which the exporter may need.
    drop(telemetry);
    let ended = release.let_go();
    assert!(ended.recv_timeout(Duration::from_secs(60)).is_ok(), "the drop waited for the processor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_that_cannot_be_exported_do_not_cost_the_metrics() {
    let received = Received::default();
    let app = Router::new().route("/v1/metrics", post(take_metrics)).with_state(received.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let metrics = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let black_hole = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let traces = format!("http://{}/v1/traces", black_hole.local_addr().unwrap());

    let service = Service::start(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &metrics),
        PATIENT,
    ])
    .await;
    service.ask().await;
    let log = service.terminate().await;
    assert!(log.contains("traces were not exported within 5s"), "{log}");
    let received = received.lock().unwrap();
    assert!(received.iter().any(|(.., body)| contains(body, "http.server.request.duration")), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_export_is_told() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let mut service = Service::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{closed}")),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ])
    .await;
    service.ask().await;
    // What the settings are read as, and that no export succeeds: long before the end.
    for text in ["OTEL_TRACES_EXPORTER", "brotli", "ERROR opentelemetry"] {
        service.until(text).await;
    }
    service.terminate().await;
}

/// A record of TLS begins with 22, its type; the client speaks first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_collector_is_spoken_to_in_tls_or_refused_at_once() {
    let collector = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("https://{}", collector.local_addr().unwrap());
    let grpc = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let first = async {
        let (mut connection, _) = collector.accept().await.unwrap();
        connection.read_u8().await.unwrap()
    };
    let (first, output) = tokio::join!(first, orders(&grpc));
    assert!(output.status.success());
    assert_eq!(first, 22);

    let output = orders(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("traces cannot be built") && told.contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), "{told}");
}

// ===== helpers =====

/// Telemetry whose spans are kept here, and exported nowhere else.
fn recorded() -> (Telemetry, SpanRecorder) {
    let spans = SpanRecorder::new();
    let processor = SimpleSpanProcessor::new(spans.exporter("app"));
    let telemetry = Telemetry::builder("app").with_span_processor(processor).only_if_configured().build().unwrap();
    (telemetry, spans)
}

/// A span processor that never comes to its end, until it is let go.
#[derive(Debug)]
struct Stuck {
    gate: Mutex<mpsc::Receiver<()>>,
    ended: mpsc::Sender<()>,
}

struct Release {
    gate: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

impl Stuck {
    fn new() -> (Self, Release) {
        let ((open, gate), (end, ended)) = (mpsc::channel(), mpsc::channel());
        (Self { gate: Mutex::new(gate), ended: end }, Release { gate: open, ended })
    }

    fn wait(&self) -> OTelSdkResult {
        // Whoever holds the gate is gone: so it is when it is let go.
        let _ = self.gate.lock().unwrap().recv();
        Ok(())
    }
}

impl Release {
    fn let_go(self) -> mpsc::Receiver<()> {
        drop(self.gate);
        self.ended
    }
}

impl SpanProcessor for Stuck {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        self.wait()
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        let result = self.wait();
        let _ = self.ended.send(());
        result
    }
}

/// A service of the example's shop, without a sidecar.
struct Service {
    process: Child,
    address: String,
    log: tokio::io::Lines<BufReader<ChildStderr>>,
    logged: String,
}

impl Service {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example());
        let vars = vars.iter().map(|(name, value)| (*name, *value));
        command
            .args(["--service", "order"])
            .env("APP_PORT", "0")
            .env("DAPR_GRPC_PORT", "1")
            .envs(vars)
            .kill_on_drop(true);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = said.next_line().await.unwrap().unwrap();
        let address = line.rsplit_once("http://").unwrap().1.to_owned();
        Self { process, address, log, logged: String::new() }
    }

    /// One request, which is recorded.
    async fn ask(&self) {
        let mut connection = TcpStream::connect(&self.address).await.unwrap();
        connection.write_all(b"GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 404"));
    }

    /// Waits until the log has this.
    async fn until(&mut self, text: &str) {
        while !self.logged.contains(text) {
            let line = self.log.next_line().await.unwrap();
            self.logged += &line.unwrap_or_else(|| panic!("it ended without {text:?}: {}", self.logged));
            self.logged.push('\n');
        }
    }

    /// Ends it as a sidecar does, and gives all that it logged.
    async fn terminate(mut self) -> String {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        while let Some(line) = self.log.next_line().await.unwrap() {
            self.logged += &line;
            self.logged.push('\n');
        }
        self.process.wait().await.unwrap();
        self.logged
    }
}

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

/// The example's program. A plain `cargo test` builds it first.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/orders")
}

/// Sends one order through the example's shop.
async fn orders(vars: &[(&str, &str)]) -> Output {
    let vars = vars.iter().map(|(name, value)| (*name, *value));
    Command::new(example()).args(["--orders", "1"]).envs(vars).kill_on_drop(true).output().await.unwrap()
}
