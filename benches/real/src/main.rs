//! What the layers cost on a real daprd with Redis: closed-loop load, with and without them, in turns.
//!
//! ```text
//! tests/real/build
//! cargo run --release                  about 5 minutes
//! cargo run --release -- --rounds 3    faster, and noisier
//! cargo run --release -- --count       instructions instead of time, counted by valgrind: the same on a busy machine
//! cargo run --release -- --memory      what is kept after a million calls
//! ```
//!
//! Candidates take turns within each round, in another order each time; what is shown is the median over the rounds, and
//! the difference to `bare` of the same round. daprd itself records nothing (`samplingRate: "0"`): it costs the same for
//! all. Spans are sampled and go through the SDK's batch processor, whose exporter drops them: an export over OTLP would
//! take its time on the cores that the load needs. `peer` is what one would take instead, sampled: the layer of
//! tonic-tracing-opentelemetry around the channel, and for `receive` that of axum-tracing-opentelemetry around the app;
//! both go through `tracing`, whose subscriber lets nothing else through.
//!
//! CPU is that of this process: caller, runtime, tonic and our layers; for `receive` the app as well. So are the writes (system
//! calls) and the switches (threads that went to sleep). Unlike times, they are the same however busy the machine is: a
//! layer that made the channel write or wake once more would show there.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]

#[path = "../../../tests/real/mod.rs"]
mod real;

use std::{
    collections::HashMap,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use axum::{Router, routing::post};
use axum_tracing_opentelemetry::middleware::OtelAxumLayer;
use bytes::Bytes;
use futures_util::future::join_all;
use opentelemetry::{global, trace::TracerProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use real::{App, Daprd, Stack};
use tonic_tracing_opentelemetry::middleware::client::OtelGrpcLayer;
use tower::ServiceBuilder;
use tower_dapr::{
    inbound::InboundLayer,
    metrics::MetricsLayer,
    observe::ObserveLayer,
    outbound::{Dapr, Endpoint},
    testing::MetricRecorder,
    trace::TraceLayer,
};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt};

const CANDIDATES: [&str; 6] = ["bare", "unsampled", "sampled", "metrics", "full", "peer"];
const CALLS: [&str; 5] = ["state get", "state save", "publish", "invoke", "receive"];
const IN_FLIGHT: [usize; 3] = [1, 8, 64];
const TURN: Duration = Duration::from_millis(300);

/// Without tracing: daprd costs the same whatever it is sent.
const CONFIG: &str = r#"
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: bench
spec:
  tracing:
    samplingRate: "0"
  metric:
    enabled: false
  nameResolution:
    component: sqlite
    version: v1
    configuration:
      connectionString: names.db
      updateInterval: "15s"
      timeout: "5s"
"#;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    if let ["--calls", times, call, candidate, port] = arguments[..] {
        return calls(times.parse().unwrap(), call, candidate, port.parse().unwrap()).await;
    }
    let bench = Bench::start().await;
    match arguments[..] {
        ["--count"] => bench.count(),
        ["--memory"] => bench.memory().await,
        ["--rounds", rounds] => bench.run(rounds.parse().expect("--rounds: a number")).await,
        [] => bench.run(10).await,
        _ => panic!("usage: cargo run --release -- [--rounds N | --count | --memory]"),
    }
}

struct Bench {
    /// One for each candidate.
    handles: Vec<Dapr>,
    daprds: [Daprd; 2],
    _app: App,
    _stack: Stack,
}

/// What one turn gave.
struct Turn {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
    /// A call: system calls that write, and switches to another thread.
    writes: f64,
    switches: f64,
}

impl Bench {
    async fn start() -> Self {
        let stack = Stack::builder().without_jaeger().without_resiliency().config(CONFIG).start().await;
        let telemetry = Telemetry::new();
        let mut router = Router::new();
        for candidate in CANDIDATES {
            router = router.merge(telemetry.receiver(candidate));
        }
        let app = App::serve(router).await;
        let callee = stack.daprd("callee").app_port(app.port()).start().await;
        let caller = stack.daprd("caller").start().await;
        let handles: Vec<_> = CANDIDATES.map(|candidate| telemetry.handle(candidate, caller.grpc)).into();
        handles[0].state("statestore").save("key", &1_u32).await.unwrap();
        Self { handles, daprds: [callee, caller], _app: app, _stack: stack }
    }

    async fn run(&self, rounds: usize) {
        println!("median of {rounds} rounds of {TURN:?} each; in brackets the quartiles of the rounds\n");
        println!(
            "| call | in flight | candidate | calls/s | throughput lost | p50 us | p50 added | p99 added | CPU us/call | CPU added | writes/call | switches/call |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for call in CALLS {
            for in_flight in IN_FLIGHT {
                let mut turns: Vec<Vec<Turn>> = CANDIDATES.map(|_| Vec::new()).into();
                for round in 0..=rounds {
                    for turn in 0..CANDIDATES.len() {
                        // Each is first once, and comes behind another one in every other round.
                        let turn = if round % 2 == 0 { turn } else { CANDIDATES.len() - 1 - turn };
                        let candidate = (turn + round) % CANDIDATES.len();
                        let measured = self.turn(call, candidate, in_flight).await;
                        // The first round only warms up.
                        if round > 0 {
                            turns[candidate].push(measured);
                        }
                    }
                }
                for (candidate, of) in CANDIDATES.iter().zip(&turns) {
                    report(call, in_flight, candidate, of, &turns[0]);
                }
            }
        }
    }

    async fn turn(&self, call: &str, candidate: usize, in_flight: usize) -> Turn {
        let (started, cpu, before) = (Instant::now(), cpu(), (written(), switched()));
        let worker = || {
            let (call, handle) = (call.to_owned(), self.handle(call, candidate));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < TURN {
                    let begun = Instant::now();
                    send(&handle, &call, CANDIDATES[candidate]).await;
                    took.push(begun.elapsed().as_secs_f64() * 1e6);
                }
                took
            })
        };
        let workers: Vec<_> = (0..in_flight).map(|_| worker()).collect();
        let mut took: Vec<_> = join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
        let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_since(&cpu));
        // A thread that has ended takes its count along.
        let (writes, switches) = (written() - before.0, switched().saturating_sub(before.1));
        took.sort_by(f64::total_cmp);
        let calls = took.len() as f64;
        let at = |part: f64| took[((calls - 1.0) * part) as usize];
        let (writes, switches) = (writes as f64 / calls, switches as f64 / calls);
        Turn { per_second: calls / elapsed, p50: at(0.5), p99: at(0.99), cpu: cpu / calls, writes, switches }
    }

    /// The receiving side is measured with a bare caller.
    fn handle(&self, call: &str, candidate: usize) -> Dapr {
        self.handles[if call == "receive" { 0 } else { candidate }].clone()
    }

    /// In processes of their own, which valgrind watches.
    fn count(&self) {
        println!("| call | candidate | instructions/call | added |\n| --- | --- | --- | --- |");
        for call in CALLS.into_iter().filter(|call| *call != "receive") {
            let mut bare = None;
            for candidate in CANDIDATES {
                let of = |times| instructions(times, call, candidate, self.daprds[1].grpc);
                // What the start costs is in both, and so is what the first calls make.
                let each = (of(COUNTED[1]) - of(COUNTED[0])) / (COUNTED[1] - COUNTED[0]);
                let added = each.saturating_sub(*bare.get_or_insert(each));
                println!("| {call} | {candidate} | {each} | {added} |");
            }
        }
    }

    async fn memory(&self) {
        let full = CANDIDATES.iter().position(|candidate| *candidate == "full").expect("it is one of them");
        let handle = &self.handles[full];
        let mut done = 0;
        println!("| calls | resident KiB |\n| --- | --- |");
        for calls in [0, 10_000, 100_000, 500_000, 1_000_000] {
            let workers = (0..64).map(|_| {
                let handle = handle.clone();
                let part = (calls - done) / 64;
                tokio::spawn(async move {
                    for _ in 0..part {
                        send(&handle, "state get", "full").await;
                    }
                })
            });
            join_all(workers.collect::<Vec<_>>()).await;
            done = calls;
            println!("| {calls} | {} |", resident());
        }
    }
}

/// How many calls valgrind watches.
const COUNTED: [u64; 2] = [500, 2500];

fn instructions(times: u64, call: &str, candidate: &str, port: u16) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe().unwrap());
    valgrind.args(["--calls", &times.to_string(), call, candidate, &port.to_string()]);
    let output = valgrind.output().expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split_once("Collected : "));
    counted.unwrap_or_else(|| panic!("{text}")).1.trim().parse().unwrap()
}

/// What valgrind watches: so many calls, one after the other.
async fn calls(times: u64, call: &str, candidate: &str, port: u16) {
    let handle = Telemetry::new().handle(candidate, port);
    for _ in 0..times {
        send(&handle, call, candidate).await;
    }
}

async fn send(dapr: &Dapr, call: &str, candidate: &str) {
    match call {
        "state get" => drop(dapr.state("statestore").get::<u32>("key").await.unwrap()),
        "state save" => dapr.state("statestore").save("key", &1_u32).await.unwrap(),
        "publish" => dapr.publish("pubsub", "bench").json(&1_u32).await.unwrap(),
        "invoke" => drop(dapr.invoke("callee").post("bare").json(&1_u32).send().await.unwrap()),
        _ => drop(dapr.invoke("callee").post(candidate).json(&1_u32).send().await.unwrap()),
    }
}

// ===== candidates =====

struct Telemetry {
    unsampled: SdkTracerProvider,
    sampled: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Telemetry {
    fn new() -> Self {
        let traces = |sampler| SdkTracerProvider::builder().with_batch_exporter(Nowhere).with_sampler(sampler).build();
        let sampled = traces(Sampler::AlwaysOn);
        // What the peer needs. Its own target only: whatever else makes spans would be made for all candidates.
        global::set_text_map_propagator(TraceContextPropagator::new());
        let bridge = tracing_opentelemetry::layer().with_tracer(sampled.tracer("bench"));
        let filter = Targets::new().with_target("otel::tracing", tracing::Level::TRACE);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(bridge.with_filter(filter)))
            .expect("the first one");
        let meters =
            SdkMeterProvider::builder().with_periodic_exporter(MetricRecorder::new().exporter("bench")).build();
        Self { unsampled: traces(Sampler::AlwaysOff), sampled, meters }
    }

    fn handle(&self, candidate: &str, port: u16) -> Dapr {
        let endpoint = Endpoint::local(port);
        let channel = || endpoint.connect_lazy().unwrap();
        let trace = |traces| ObserveLayer::new(TraceLayer::client().with_tracer_provider(traces));
        let metrics = ObserveLayer::new(MetricsLayer::client().with_meter_provider(&self.meters));
        match candidate {
            "bare" => Dapr::new(channel()),
            "unsampled" => Dapr::new(ServiceBuilder::new().layer(trace(&self.unsampled)).service(channel())),
            "sampled" => Dapr::new(ServiceBuilder::new().layer(trace(&self.sampled)).service(channel())),
            "metrics" => Dapr::new(ServiceBuilder::new().layer(metrics).service(channel())),
            "peer" => Dapr::new(ServiceBuilder::new().layer(OtelGrpcLayer).service(channel())),
            _ => {
                let builder = Dapr::builder().endpoint(endpoint).tracer_provider(&self.sampled);
                builder.meter_provider(&self.meters).build().unwrap()
            }
        }
    }

    fn receiver(&self, candidate: &'static str) -> Router {
        let router = Router::new().route(&format!("/{candidate}"), post(|body: Bytes| async { body }));
        let trace = |traces| ObserveLayer::new(TraceLayer::server().with_tracer_provider(traces));
        match candidate {
            "bare" => router,
            "unsampled" => router.layer(trace(&self.unsampled)),
            "sampled" => router.layer(trace(&self.sampled)),
            "metrics" => router.layer(ObserveLayer::new(MetricsLayer::server().with_meter_provider(&self.meters))),
            "peer" => router.layer(OtelAxumLayer::default()),
            _ => {
                let full = InboundLayer::new().with_tracer_provider(&self.sampled).with_meter_provider(&self.meters);
                router.layer(full)
            }
        }
    }
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

// ===== figures =====

fn report(call: &str, in_flight: usize, candidate: &str, turns: &[Turn], bare: &[Turn]) {
    let of = |figure: fn(&Turn) -> f64| quartiles(turns.iter().map(figure).collect());
    let against = |difference: fn(&Turn, &Turn) -> f64| {
        quartiles(turns.iter().zip(bare).map(|(turn, bare)| difference(turn, bare)).collect())
    };
    let lost = against(|turn, bare| (1.0 - turn.per_second / bare.per_second) * 100.0);
    let (p50, p99) = (against(|turn, bare| turn.p50 - bare.p50), against(|turn, bare| turn.p99 - bare.p99));
    let cpu = against(|turn, bare| turn.cpu - bare.cpu);
    let added = |[low, middle, high]: [f64; 3], unit: &str| {
        if candidate == "bare" { "-".to_owned() } else { format!("{middle:+.1}{unit} ({low:+.1} to {high:+.1})") }
    };
    println!(
        "| {call} | {in_flight} | {candidate} | {:.0} | {} | {:.0} | {} | {} | {:.1} | {} | {:.2} | {:.2} |",
        of(|turn| turn.per_second)[1],
        added(lost, " %"),
        of(|turn| turn.p50)[1],
        added(p50, ""),
        added(p99, ""),
        of(|turn| turn.cpu)[1],
        added(cpu, ""),
        of(|turn| turn.writes)[1],
        of(|turn| turn.switches)[1],
    );
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|part| values[((values.len() - 1) as f64 * part).round() as usize])
}

/// Nanoseconds that each of our threads has run.
fn cpu() -> HashMap<String, u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let ran = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((task.file_name().to_string_lossy().into_owned(), stat.split(' ').next()?.parse().ok()?))
    };
    tasks.filter_map(ran).collect()
}

/// Microseconds that our threads have run since then.
fn cpu_since(before: &HashMap<String, u64>) -> f64 {
    let now = cpu();
    let ran = now.iter().map(|(thread, ran)| ran - before.get(thread).copied().unwrap_or_default());
    ran.sum::<u64>() as f64 / 1_000.0
}

/// System calls of this process that write.
fn written() -> u64 {
    figure(&fs::read_to_string("/proc/self/io").unwrap(), "syscw")
}

/// How often our threads went to sleep.
fn switched() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses.map(|status| figure(&status, "voluntary_ctxt_switches")).sum()
}

fn resident() -> u64 {
    figure(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS")
}

/// The number in the line of this name.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
