use opentelemetry::{
    InstrumentationScope,
    metrics::{Histogram, Meter, MeterProvider},
};

use crate::{
    classify::{Protocol, Side},
    semconv,
};

/// The instruments of one side.
#[derive(Debug)]
pub(super) struct Instruments {
    http: Histogram<f64>,
    rpc: Histogram<f64>,
}

impl Instruments {
    pub(super) fn of(provider: &(impl MeterProvider + ?Sized), side: Side) -> Self {
        let scope = InstrumentationScope::builder(semconv::SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(semconv::SCHEMA_URL)
            .build();
        let meter = provider.meter_with_scope(scope);
        match side {
            Side::Client => Self {
                http: duration(&meter, "http.client.request.duration", "Duration of HTTP client requests."),
                rpc: duration(&meter, "rpc.client.call.duration", "Duration of outgoing RPCs, retries included."),
            },
            Side::Server => Self {
                http: duration(&meter, "http.server.request.duration", "Duration of HTTP server requests."),
                rpc: duration(&meter, "rpc.server.call.duration", "Duration of incoming RPCs."),
            },
        }
    }

    pub(super) fn duration(&self, protocol: Protocol) -> &Histogram<f64> {
        match protocol {
            Protocol::Http => &self.http,
            Protocol::Grpc => &self.rpc,
        }
    }
}

fn duration(meter: &Meter, name: &'static str, description: &'static str) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(description)
        .with_boundaries(semconv::DURATION_BUCKETS.to_vec())
        .build()
}
