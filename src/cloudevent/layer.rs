use std::{sync::Arc, time::Duration};

use opentelemetry::{
    metrics::MeterProvider,
    trace::{Tracer, TracerProvider},
};
use tower_layer::Layer;

use super::{CloudEventService, Process, ProcessMetrics, destination::Destination, read::READ_TIMEOUT};
use crate::{
    event::{Limits, Outcome},
    observe::Observe,
    spans::SpanSource,
};

/// Decodes events and records their processing. See the [module docs](crate::cloudevent) for an example.
#[derive(Debug, Clone)]
pub struct CloudEventLayer {
    settings: Arc<Settings>,
    process: Process,
    metrics: ProcessMetrics,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) read_timeout: Duration,
    pub(super) on_undecodable: Outcome,
    pub(super) octets_are_json: bool,
}

impl CloudEventLayer {
    /// A layer with the defaults that its setters name.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                limits: Limits::default(),
                read_timeout: READ_TIMEOUT,
                on_undecodable: Outcome::Drop,
                octets_are_json: false,
            }),
            process: Process::new(SpanSource::global()),
            metrics: ProcessMetrics::new(),
        }
    }

    /// Takes spans from this provider.
    ///
    /// Defaults to the global provider as it is when the first event arrives; with none installed, there are no spans.
    #[must_use]
    pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.process = Process::new(SpanSource::of(provider));
        self
    }

    /// Takes instruments from this provider.
    ///
    /// Defaults to the global provider as it is when the first event arrives.
    #[must_use]
    pub fn with_meter_provider(mut self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        self.metrics.set_provider(provider);
        self
    }

    /// What the events come from, for metrics: an event's own word for it may be anything, so it becomes no attribute.
    /// [`Subscriptions`](crate::inbound::Subscriptions) say it for each topic. Defaults to nothing.
    #[must_use]
    pub fn with_destination(mut self, pubsub: &str, topic: &str) -> Self {
        self.metrics.set_destination(Arc::new(Destination { pubsub: pubsub.into(), topic: topic.into() }));
        self
    }

    /// Data of which only the bytes are known (`application/octet-stream`, or no content type) is read as JSON: for raw
    /// payloads, from publishers that know nothing of CloudEvents. Defaults to `false`: it is read as bytes.
    #[must_use]
    pub fn with_json_octets(self, octets_are_json: bool) -> Self {
        self.change(|settings| settings.octets_are_json = octets_are_json)
    }

    /// How much of a message is read. Defaults to [`Limits::default`].
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.change(|settings| settings.limits = limits)
    }

    /// How long the body of an event may take to arrive whole, from when it has to be waited for. Defaults to 30 seconds.
    #[must_use]
    pub fn with_read_timeout(self, timeout: Duration) -> Self {
        self.change(|settings| settings.read_timeout = timeout)
    }

    /// The answer for an event that cannot be decoded. Defaults to [`Outcome::Drop`], with which Dapr sends it to the
    /// dead letter topic, if there is one. The same holds for one event of a bulk delivery, but not for one that cannot
    /// be read as a whole: Dapr has no answer that drops its events and keeps them as dead letters, so they come again.
    ///
    /// With [`Outcome::Retry`] a poison message comes back as often as the resiliency policy and the broker let it.
    #[must_use]
    pub fn on_undecodable(self, outcome: Outcome) -> Self {
        self.change(|settings| settings.on_undecodable = outcome)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for CloudEventLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CloudEventLayer {
    type Service = CloudEventService<Observe<S, (Process, ProcessMetrics)>>;

    fn layer(&self, inner: S) -> Self::Service {
        // One watch for both. The span is outermost, so that a metric may keep it as an exemplar.
        let observers = (self.process.clone(), self.metrics.clone());
        CloudEventService::new(Observe::new(inner, observers), self.settings.clone(), self.metrics.clone())
    }
}
