use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::request;
use opentelemetry::{
    Context, KeyValue, global,
    metrics::{Counter, Histogram, MeterProvider},
};

use super::{destination::Destination, future::Misfits, subject::Subject, verdict::Verdict};
use crate::{
    classify::Side,
    event::{Outcome, Tally},
    observe::{Call, End, Observer, Recording, ResponseHead},
    semconv,
};

/// Counts events and measures their processing. See the [module docs](crate::cloudevent#metrics).
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    instruments: Arc<OnceLock<Arc<Instruments>>>,
    destination: Option<Arc<Destination>>,
}

#[derive(Debug)]
struct Instruments {
    consumed: Counter<u64>,
    duration: Histogram<f64>,
}

/// In the extensions of a request whose events are counted already: there may be two layers.
#[derive(Debug, Clone, Copy)]
struct Counted;

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        Self { instruments: Arc::default(), destination: None }
    }

    /// For events that come from here.
    pub(crate) fn of(pubsub: &str, topic: &str) -> Self {
        let destination = Destination { pubsub: pubsub.into(), topic: topic.into() };
        Self { destination: Some(Arc::new(destination)), ..Self::new() }
    }

    pub(crate) fn set_provider(&mut self, provider: &(impl MeterProvider + ?Sized)) {
        self.instruments = Arc::new(OnceLock::from(Arc::new(Instruments::of(provider))));
    }

    pub(super) fn set_destination(&mut self, destination: Arc<Destination>) {
        self.destination = Some(destination);
    }

    /// Events that have not come to a handler.
    pub(crate) fn refused(&self, count: u64, outcome: Outcome, error_type: &'static str) {
        if count > 0 && !Context::is_current_telemetry_suppressed() {
            self.instruments().consumed.add(count, &self.attributes(Some(outcome), Some(error_type)));
        }
    }

    /// An event that came to a handler.
    pub(crate) fn processed(&self, outcome: Outcome, error_type: Option<&'static str>, elapsed: Duration) {
        let Instruments { consumed, duration } = &**self.instruments();
        consumed.add(1, &self.attributes(Some(outcome), error_type));
        duration.record(elapsed.as_secs_f64(), &self.attributes(None, error_type));
    }

    fn instruments(&self) -> &Arc<Instruments> {
        self.instruments.get_or_init(|| Arc::new(Instruments::of(&*global::meter_provider())))
    }

    fn attributes(&self, outcome: Option<Outcome>, error_type: Option<&'static str>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_DAPR));
        attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION, "process"));
        if let Some(Destination { pubsub, topic }) = self.destination.as_deref() {
            attributes.push(KeyValue::new(semconv::DAPR_COMPONENT, pubsub.clone()));
            attributes.push(KeyValue::new(semconv::MESSAGING_DESTINATION, topic.clone()));
        }
        if let Some(outcome) = outcome {
            attributes.push(KeyValue::new("dapr.pubsub.status", outcome.as_str()));
        }
        if let Some(error_type) = error_type {
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, error_type));
        }
        attributes
    }
}

impl Instruments {
    fn of(provider: &(impl MeterProvider + ?Sized)) -> Self {
        let scope = semconv::scope();
        let meter = provider.meter_with_scope(scope);
        Self {
            consumed: meter
                .u64_counter("dapr.pubsub_consumed")
                .with_unit("{message}")
                .with_description("Events that Dapr has delivered, redeliveries included.")
                .build(),
            duration: meter
                .f64_histogram("messaging.process.duration")
                .with_unit("s")
                .with_description("Duration of processing a delivery.")
                .with_boundaries(semconv::DURATION_BUCKETS.to_vec())
                .build(),
        }
    }
}

impl Observer for ProcessMetrics {
    type Recording = ProcessMetricsRecording;

    fn side(&self) -> Side {
        Side::Server
    }

    fn wants(&self, request: &request::Parts) -> bool {
        Subject::of(&request.extensions).is_some()
            && request.extensions.get::<Counted>().is_none()
            && !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<ProcessMetricsRecording> {
        let subject = Subject::of(&call.request.extensions)?;
        let count = subject.count();
        let misfits = subject.bulk().and_then(|_| call.request.extensions.get().cloned());
        call.request.extensions.insert(Counted);
        Some(ProcessMetricsRecording { metrics: self.clone(), count, misfits, verdict: Verdict::default() })
    }
}

/// What is measured of one delivery.
#[derive(Debug)]
pub struct ProcessMetricsRecording {
    metrics: ProcessMetrics,
    count: u64,
    misfits: Option<Misfits>,
    verdict: Verdict,
}

impl Recording for ProcessMetricsRecording {
    type Scope = ();

    fn enter(&self) {}

    fn head(&mut self, head: &ResponseHead<'_>) {
        self.verdict = Verdict::of(head);
    }

    fn end(self, end: &End<'_>) {
        let error_type = self.verdict.error_type(end);
        let Instruments { consumed, duration } = &**self.metrics.instruments();
        let Tally { success, retry, drop } = self.verdict.tally(self.count, self.misfits.as_ref(), end);
        for (outcome, count) in [(Outcome::Success, success), (Outcome::Retry, retry), (Outcome::Drop, drop)] {
            if count > 0 {
                // In a batch, what went wrong with one event is not what went wrong with the others.
                let error_type = match outcome {
                    Outcome::Success => None,
                    Outcome::Retry | Outcome::Drop if success + retry + drop == count => {
                        error_type.or(Some(outcome.as_str()))
                    }
                    Outcome::Retry | Outcome::Drop => Some(outcome.as_str()),
                };
                consumed.add(count, &self.metrics.attributes(Some(outcome), error_type));
            }
        }
        duration.record(end.elapsed.as_secs_f64(), &self.metrics.attributes(None, error_type));
    }
}
