use std::sync::OnceLock;

use opentelemetry::KeyValue;

use super::{dapr::DaprSeries, key::Key, shared::Shared};
use crate::{
    bound::Duration,
    classify::{Outcome, Protocol, code_name},
    semconv,
};

/// How many kinds of calls a layer keeps ready. More are measured as truly, only not as cheaply. A power of two.
const SERIES: usize = 1024;

/// How far a kind is searched for.
const PROBES: usize = 16;

/// How many results of one kind of call are kept ready. A power of two.
const RESULTS: usize = 32;

/// The kinds of calls that were seen: a table of fixed size that only grows and is read without a lock.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[OnceLock<Box<Series>>]>,
}

/// One kind of call, and what it came to so far.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) key: Key,
    attributes: Vec<KeyValue>,
    results: [OnceLock<Box<ResultSeries>>; RESULTS],
}

/// What one result adds to which series.
#[derive(Debug)]
pub(super) struct ResultSeries {
    result: CallResult,
    duration: Duration,
    /// All attributes of the call's duration.
    pub(super) attributes: Vec<KeyValue>,
    dapr: DaprSeries,
}

/// What a call came to, as far as it is an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallResult {
    /// gRPC: the code. HTTP: the status, 0 if there was none.
    code: u16,
    error: Option<&'static str>,
    protocol: Protocol,
}

// ===== impl Table =====

impl Table {
    pub(super) fn new() -> Self {
        Self { slots: (0..SERIES).map(|_| OnceLock::new()).collect() }
    }

    /// Where a kind of call stands; `None` if there is no room for it.
    pub(super) fn find(&self, key: &Key, shared: &Shared) -> Option<usize> {
        let start = key.hash();
        (0..PROBES).map(|probe| start.wrapping_add(probe) % SERIES).find(|at| {
            let series = self.slots[*at].get_or_init(|| Box::new(Series::new(*key, shared)));
            series.key == *key
        })
    }

    pub(super) fn get(&self, at: usize) -> Option<&Series> {
        self.slots.get(at)?.get().map(|series| &**series)
    }
}

// ===== impl Series =====

impl Series {
    pub(super) fn new(key: Key, shared: &Shared) -> Self {
        Self { key, attributes: key.attributes(shared), results: [const { OnceLock::new() }; RESULTS] }
    }

    /// Runs `record` with the series of a result, which is kept if there is room.
    pub(super) fn with(&self, result: CallResult, shared: &Shared, record: impl FnOnce(&ResultSeries)) {
        let start = usize::from(result.code);
        for probe in 0..RESULTS {
            let slot = &self.results[start.wrapping_add(probe) % RESULTS];
            let series = slot.get_or_init(|| Box::new(ResultSeries::new(self, result, shared)));
            if series.result == result {
                return record(series);
            }
        }
        record(&ResultSeries::new(self, result, shared));
    }
}

// ===== impl ResultSeries =====

impl ResultSeries {
    fn new(series: &Series, result: CallResult, shared: &Shared) -> Self {
        let protocol = series.key.parts.protocol;
        let mut attributes = series.attributes.clone();
        match protocol {
            Protocol::Grpc => {
                let code = tonic::Code::from_i32(result.code.into());
                attributes.push(KeyValue::new(semconv::RPC_STATUS, code_name(code)));
            }
            Protocol::Http if result.code > 0 => {
                attributes.push(KeyValue::new(semconv::HTTP_STATUS, i64::from(result.code)));
            }
            Protocol::Http => {}
        }
        attributes.extend(result.error.map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
        Self {
            result,
            duration: Duration::new(shared.instruments.duration(protocol), &attributes),
            dapr: DaprSeries::new(shared, &series.key, result.code, result.error),
            attributes,
        }
    }

    pub(super) fn record(&self, seconds: f64, messages: u64) {
        self.duration.record(seconds);
        self.dapr.record(seconds, messages);
    }

    /// The same, with more attributes on the call's duration.
    pub(super) fn record_with(&self, shared: &Shared, seconds: f64, messages: u64, more: &[KeyValue]) {
        let attributes = [&self.attributes, more].concat();
        shared.instruments.duration(self.result.protocol).record(seconds, &attributes);
        self.dapr.record(seconds, messages);
    }
}

// ===== impl CallResult =====

impl CallResult {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let code = match outcome.grpc_code() {
            Some(code) => u16::try_from(code as i32).unwrap_or_default(),
            None => outcome.http_status().map_or(0, |status| status.as_u16()),
        };
        Self { code, error: outcome.error_type(), protocol: outcome.protocol() }
    }
}
