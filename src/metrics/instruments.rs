use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider, UpDownCounter};

use crate::{
    classify::{Protocol, Side},
    semconv,
};

/// The instruments of one side.
#[derive(Debug)]
pub(super) struct Instruments {
    http: Histogram<f64>,
    rpc: Histogram<f64>,
    /// Server side.
    pub(super) active: Option<UpDownCounter<i64>>,
    pub(super) request_size: Histogram<u64>,
    pub(super) response_size: Histogram<u64>,
    /// Client side.
    pub(super) dapr: Option<DaprInstruments>,
}

/// What is said of Dapr's building blocks beside the conventions' own.
#[derive(Debug)]
pub(super) struct DaprInstruments {
    pub(super) invocations: Counter<u64>,
    pub(super) invocation_duration: Histogram<f64>,
    pub(super) state_operations: Counter<u64>,
    pub(super) state_duration: Histogram<f64>,
    pub(super) published: Counter<u64>,
    pub(super) errors: Counter<u64>,
    pub(super) health: Gauge<u64>,
}

pub(super) fn meter(provider: &(impl MeterProvider + ?Sized)) -> Meter {
    let scope = semconv::scope();
    provider.meter_with_scope(scope)
}

// ===== impl Instruments =====

impl Instruments {
    pub(super) fn of(meter: &Meter, side: Side) -> Self {
        let [http, rpc, request_size, response_size] = match side {
            Side::Client => [
                ("http.client.request.duration", "Duration of HTTP client requests."),
                ("rpc.client.call.duration", "Duration of outgoing RPCs, retries included."),
                ("http.client.request.body.size", "Size of HTTP client request bodies."),
                ("http.client.response.body.size", "Size of HTTP client response bodies."),
            ],
            Side::Server => [
                ("http.server.request.duration", "Duration of HTTP server requests."),
                ("rpc.server.call.duration", "Duration of incoming RPCs."),
                ("http.server.request.body.size", "Size of HTTP server request bodies."),
                ("http.server.response.body.size", "Size of HTTP server response bodies."),
            ],
        };
        Self {
            http: duration(meter, http, "s", semconv::DURATION_BUCKETS),
            rpc: duration(meter, rpc, "s", semconv::DURATION_BUCKETS),
            active: (side == Side::Server).then(|| {
                meter
                    .i64_up_down_counter("http.server.active_requests")
                    .with_unit("{request}")
                    .with_description("Number of active HTTP server requests.")
                    .build()
            }),
            request_size: size(meter, request_size),
            response_size: size(meter, response_size),
            dapr: (side == Side::Client).then(|| DaprInstruments::of(meter)),
        }
    }

    pub(super) fn duration(&self, protocol: Protocol) -> &Histogram<f64> {
        match protocol {
            Protocol::Http => &self.http,
            Protocol::Grpc => &self.rpc,
        }
    }
}

// ===== impl DaprInstruments =====

impl DaprInstruments {
    fn of(meter: &Meter) -> Self {
        let counter =
            |name, unit, description| meter.u64_counter(name).with_unit(unit).with_description(description).build();
        let milliseconds = |name, description| duration(meter, (name, description), "ms", semconv::MILLISECOND_BUCKETS);
        Self {
            invocations: counter("dapr.service_invocations", "{invocation}", "Calls of other apps through Dapr."),
            invocation_duration: milliseconds("dapr.invocation_duration", "Duration of calls of other apps."),
            state_operations: counter("dapr.state_operations", "{operation}", "Calls of state stores."),
            state_duration: milliseconds("dapr.state_duration", "Duration of calls of state stores."),
            published: counter("dapr.pubsub_published", "{message}", "Messages given to Dapr to publish."),
            errors: counter("dapr.errors", "{error}", "Calls to Dapr that failed."),
            health: meter
                .u64_gauge("dapr.component.health")
                .with_unit("1")
                .with_description("Did the last call show the component working (1) or broken (0)?")
                .build(),
        }
    }
}

fn duration(
    meter: &Meter,
    (name, description): (&'static str, &'static str),
    unit: &'static str,
    buckets: [f64; 14],
) -> Histogram<f64> {
    meter.f64_histogram(name).with_unit(unit).with_description(description).with_boundaries(buckets.to_vec()).build()
}

fn size(meter: &Meter, (name, description): (&'static str, &'static str)) -> Histogram<u64> {
    meter
        .u64_histogram(name)
        .with_unit("By")
        .with_description(description)
        .with_boundaries(semconv::SIZE_BUCKETS.to_vec())
        .build()
}
