use std::{sync::Arc, time::Duration};

use opentelemetry::trace::{Tracer, TracerProvider};
use tower_layer::Layer;

use super::{CloudEventService, Process, READ_TIMEOUT};
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
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) read_timeout: Duration,
    pub(super) on_undecodable: Outcome,
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
            }),
            process: Process::new(SpanSource::global()),
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

    /// How much of an event is read. Defaults to [`Limits::default`].
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.change(|settings| settings.limits = limits)
    }

    /// How long the body of an event may take to arrive whole, from when it has to be waited for. Defaults to 30 seconds.
    #[must_use]
    pub fn with_read_timeout(self, timeout: Duration) -> Self {
        self.change(|settings| settings.read_timeout = timeout)
    }

    /// The answer for an event that cannot be decoded. Defaults to [`Outcome::Drop`], with which Dapr sends it to the dead
    /// letter topic, if there is one.
    ///
    /// With [`Outcome::Retry`] a poison message comes back as often as the resiliency policy and the broker let it.
    #[must_use]
    pub fn on_undecodable(self, outcome: Outcome) -> Self {
        self.change(|settings| settings.on_undecodable = outcome)
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
    type Service = CloudEventService<Observe<S, Process>>;

    fn layer(&self, inner: S) -> Self::Service {
        CloudEventService::new(Observe::new(inner, self.process.clone()), self.settings.clone())
    }
}
