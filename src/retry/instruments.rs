use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, MeterProvider},
};

use crate::{classify::Side, semconv};

/// What the layer counts. The module docs list them.
#[derive(Debug, Clone)]
pub(super) struct Instruments {
    pub(super) attempts: Counter<u64>,
    pub(super) retries: Histogram<u64>,
    pub(super) delay: Histogram<f64>,
    pub(super) budget_exhausted: Counter<u64>,
}

impl Instruments {
    pub(super) fn of(provider: &(impl MeterProvider + ?Sized), side: Side) -> Self {
        let scope = semconv::scope();
        let meter = provider.meter_with_scope(scope);
        let [attempts, retries, delay, exhausted] = match side {
            Side::Client => [
                "dapr.client.attempts",
                "dapr.client.retries",
                "dapr.client.retry.delay",
                "dapr.client.retry.budget.exhausted",
            ],
            Side::Server => [
                "dapr.server.attempts",
                "dapr.server.retries",
                "dapr.server.retry.delay",
                "dapr.server.retry.budget.exhausted",
            ],
        };
        Self {
            attempts: meter
                .u64_counter(attempts)
                .with_unit("{attempt}")
                .with_description("Attempts of calls that may be tried again.")
                .build(),
            retries: meter
                .u64_histogram(retries)
                .with_unit("{retry}")
                .with_description("Retries per call, of the calls that had any.")
                .with_boundaries(vec![1.0, 2.0, 3.0, 4.0, 5.0, 10.0])
                .build(),
            delay: meter
                .f64_histogram(delay)
                .with_unit("s")
                .with_description("Waits before retries.")
                .with_boundaries(semconv::DURATION_BUCKETS.to_vec())
                .build(),
            budget_exhausted: meter
                .u64_counter(exhausted)
                .with_unit("{call}")
                .with_description("Calls that were not tried again because the retry budget was empty.")
                .build(),
        }
    }

    /// An attempt that did not fail. No attribute of it is allocated.
    pub(super) fn succeeded(&self, method: Option<&'static str>) {
        match method {
            Some(method) => self.attempts.add(1, &[KeyValue::new(semconv::RPC_METHOD, method)]),
            None => self.attempts.add(1, &[]),
        }
    }
}
