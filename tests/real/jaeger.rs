//! Jaeger, and the traces that it collected: read by its API as OTLP JSON and given to the crate's own recorder, so that
//! they are compared like those of the embedded sidecar.

use std::{
    fmt::Write as _,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue, Value,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use serde_json::Value as Json;
use tokio::time::{Instant, sleep};
use tower_dapr::testing::{SpanRecorder, SpanTree, Trace};

use super::{Binaries, PATIENCE, Process, free_port, get, root};

/// How long after the others a span may come that is too many: every sender exports after 200 ms.
const LATE: Duration = Duration::from_millis(500);

pub struct Jaeger {
    pub process: Process,
    otlp: u16,
    ui: u16,
}

impl Jaeger {
    /// The port on which the collector will take spans: known before it is there.
    pub async fn start(binaries: &Binaries, folder: &Path, otlp: u16) -> Self {
        let (ui, health) = (free_port(), free_port());
        let mut command = Command::new(&binaries.jaeger);
        command.arg("--config").arg(root().join("deploy/jaeger.yaml"));
        let ports = [("UI", ui), ("HEALTH", health), ("QUERY", free_port()), ("OTLP_GRPC", otlp)];
        for (name, port) in ports.into_iter().chain([("OTLP_HTTP", free_port())]) {
            command.env(format!("JAEGER_{name}_PORT"), port.to_string());
        }
        let mut process = Process::start("jaeger", command, folder);
        let url = format!("http://127.0.0.1:{health}/status");
        let healthy = || async { get(&url).await.is_ok_and(|answer| answer.status == 200) };
        process.until("healthy", PATIENCE, healthy).await;
        Self { process, otlp, ui }
    }

    /// Where spans go, by OTLP over gRPC.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.otlp)
    }

    /// The spans of a trace that have arrived; none if there are none.
    pub async fn spans(&self, id: TraceId) -> Vec<JaegerSpan> {
        let url = format!("http://127.0.0.1:{}/api/v3/traces/{id}", self.ui);
        let answer = get(&url).await.unwrap_or_else(|error| panic!("{url}: {error}\n{}", self.process.tail()));
        if answer.status == 404 {
            return Vec::new();
        }
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        read(&answer.json()["result"])
    }

    /// Where one asks for all that it has of a service, in its own JSON.
    pub fn search(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}/api/traces?service={service}&limit=1000", self.ui)
    }

    /// Waits until the trace looks like this.
    ///
    /// # Panics
    ///
    /// With the difference, if it does not in time; if a span is an orphan, whose parent is not in the trace nor `customer`.
    pub async fn expect(&self, customer: &Customer, tree: SpanTree) {
        self.expect_linked(customer, tree, customer).await;
    }

    /// The same of a trace that has links to spans of another one.
    pub async fn expect_linked(&self, customer: &Customer, tree: SpanTree, to: &Customer) {
        let started = Instant::now();
        loop {
            let trace = self.trace_among(customer, to).await;
            let checked = trace.as_ref().map(|trace| trace.check(&tree));
            match checked {
                Some(Ok(())) => {
                    // Nothing comes late.
                    sleep(LATE).await;
                    return self.trace_among(customer, to).await.expect("it was there").expect(tree);
                }
                Some(Err(difference)) if started.elapsed() > PATIENCE => panic!("{difference}"),
                None if started.elapsed() > PATIENCE => panic!("no span of {} arrived", customer.trace_id),
                _ => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// The trace as far as it has arrived.
    pub async fn trace(&self, customer: &Customer) -> Option<Trace> {
        self.trace_among(customer, customer).await
    }

    async fn trace_among(&self, customer: &Customer, other: &Customer) -> Option<Trace> {
        let recorder = SpanRecorder::new();
        let mut spans = self.spans(customer.trace_id).await;
        if other.trace_id != customer.trace_id {
            spans.extend(self.spans(other.trace_id).await);
        }
        for JaegerSpan { service, mut data } in spans {
            data.parent_span_is_remote = [customer.span_id, other.span_id].contains(&data.parent_span_id);
            recorder.exporter(service).export(vec![data]).await.unwrap();
        }
        recorder.traces().into_iter().find(|trace| trace.trace_id() == customer.trace_id)
    }
}

/// Somebody outside, who has no spans in Jaeger but starts a trace.
#[derive(Debug, Clone, Copy)]
pub struct Customer {
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

impl Customer {
    pub fn new() -> Self {
        let (trace, span) = (uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes());
        let span: [u8; 8] = span[..8].try_into().unwrap();
        Self { trace_id: TraceId::from_bytes(trace), span_id: SpanId::from_bytes(span) }
    }

    /// Nobody outside: the trace begins within, with a span of its own.
    pub fn nobody(trace_id: TraceId) -> Self {
        Self { trace_id, span_id: SpanId::INVALID }
    }

    /// In which what is called has this customer for its parent.
    pub fn context(&self) -> Context {
        let (trace, span) = (self.trace_id, self.span_id);
        let parent = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
        Context::new().with_remote_span_context(parent)
    }

    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    pub fn unsampled(&self) -> String {
        format!("00-{}-{}-00", self.trace_id, self.span_id)
    }
}

#[derive(Debug)]
pub struct JaegerSpan {
    pub service: String,
    pub data: SpanData,
}

/// Reads OTLP JSON: <https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md#json-protobuf-encoding>.
fn read(traces: &Json) -> Vec<JaegerSpan> {
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let mut spans = Vec::new();
    for resource in list(&traces["resourceSpans"]) {
        let attributes = read_attributes(&resource["resource"]["attributes"]);
        let service = attributes.iter().find(|kv| kv.key.as_str() == "service.name").map(|kv| kv.value.to_string());
        for scope in list(&resource["scopeSpans"]) {
            let name = scope["scope"]["name"].as_str().unwrap_or_default().to_owned();
            for span in list(&scope["spans"]) {
                let data = read_span(&span, InstrumentationScope::builder(name.clone()).build());
                spans.push(JaegerSpan { service: service.clone().unwrap_or_default(), data });
            }
        }
    }
    spans
}

fn read_span(span: &Json, scope: InstrumentationScope) -> SpanData {
    let context = |of: &Json| {
        let trace = TraceId::from_hex(of["traceId"].as_str().unwrap()).unwrap();
        let span = SpanId::from_hex(of["spanId"].as_str().unwrap()).unwrap();
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
    };
    let parent = span["parentSpanId"].as_str().filter(|id| !id.is_empty());
    let time = |name: &str| {
        let nanoseconds = span[name].as_str().unwrap().parse().unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    };
    let mut links = SpanLinks::default();
    for link in span["links"].as_array().into_iter().flatten() {
        links.links.push(Link::with_context(context(link)));
    }
    SpanData {
        span_context: context(span),
        parent_span_id: parent.map_or(SpanId::INVALID, |id| SpanId::from_hex(id).unwrap()),
        parent_span_is_remote: false,
        span_kind: match span["kind"].as_u64() {
            Some(2) => SpanKind::Server,
            Some(3) => SpanKind::Client,
            Some(4) => SpanKind::Producer,
            Some(5) => SpanKind::Consumer,
            _ => SpanKind::Internal,
        },
        name: span["name"].as_str().unwrap_or_default().to_owned().into(),
        start_time: time("startTimeUnixNano"),
        end_time: time("endTimeUnixNano"),
        attributes: read_attributes(&span["attributes"]),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: match span["status"]["code"].as_u64() {
            Some(1) => Status::Ok,
            Some(2) => Status::error(span["status"]["message"].as_str().unwrap_or_default().to_owned()),
            _ => Status::Unset,
        },
        instrumentation_scope: scope,
    }
}

fn read_attributes(attributes: &Json) -> Vec<KeyValue> {
    let value = |value: &Json| -> Value {
        match value.as_object().and_then(|object| object.iter().next()) {
            Some((kind, value)) if kind == "intValue" => match value {
                Json::String(text) => text.parse::<i64>().unwrap().into(),
                value => value.as_i64().unwrap().into(),
            },
            Some((kind, Json::Bool(value))) if kind == "boolValue" => (*value).into(),
            Some((kind, value)) if kind == "doubleValue" => value.as_f64().unwrap().into(),
            Some((_, Json::String(text))) => text.clone().into(),
            other => {
                let mut text = String::new();
                write!(text, "{other:?}").unwrap();
                text.into()
            }
        }
    };
    let attributes = attributes.as_array().into_iter().flatten();
    attributes.map(|kv| KeyValue::new(kv["key"].as_str().unwrap().to_owned(), value(&kv["value"]))).collect()
}
