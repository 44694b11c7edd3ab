use std::sync::OnceLock;

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, MeterProvider},
};

use crate::{bound::Count, classify::Side, rpc::Rpc, semconv};

/// What the layer counts. The module docs list them.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) attempts: Counter<u64>,
    /// The attempts that did not fail, by the number of the call in Dapr's table. All others are one behind these.
    succeeded: Box<[OnceLock<Count>]>,
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
            succeeded: (0..=Rpc::all().count()).map(|_| OnceLock::new()).collect(),
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

    /// An attempt that did not fail.
    pub(super) fn succeeded(&self, rpc: Option<&'static Rpc>) {
        let number = rpc.map_or(self.succeeded.len() - 1, Rpc::number);
        let method = || rpc.map(|rpc| KeyValue::new(semconv::RPC_METHOD, rpc.full_method()));
        self.succeeded[number].get_or_init(|| Count::new(&self.attempts, method().as_slice())).add(1);
    }
}
