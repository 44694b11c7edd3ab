use opentelemetry::{
    metrics::MeterProvider,
    trace::{Tracer, TracerProvider},
};
use tower_layer::Layer;

use crate::{
    metrics::MetricsLayer,
    observe::{Observe, ObserveLayer},
    trace::TraceLayer,
};

/// The layers of the inbound side, for [`Router::layer`](axum::Router::layer): from the outside in, the trace of a request
/// and its metrics, which watch it in one pass.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_dapr::inbound::InboundLayer;
///
/// let app: Router = Router::new().route("/stock/{sku}", get(async || "12")).layer(InboundLayer::new());
/// ```
///
/// It is nothing but `ObserveLayer::new((TraceLayer::server(), MetricsLayer::server()))`.
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct InboundLayer {
    trace: TraceLayer,
    metrics: MetricsLayer,
}

impl InboundLayer {
    /// [`TraceLayer::server`] and [`MetricsLayer::server`] with their defaults: the global providers.
    pub fn new() -> Self {
        Self { trace: TraceLayer::server(), metrics: MetricsLayer::server() }
    }

    /// Takes spans from this provider; see [`TraceLayer::with_tracer_provider`].
    pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.trace = self.trace.with_tracer_provider(provider);
        self
    }

    /// Takes instruments from this provider; see [`MetricsLayer::with_meter_provider`].
    pub fn with_meter_provider(mut self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        self.metrics = self.metrics.with_meter_provider(provider);
        self
    }

    /// A trace layer of your own making.
    pub fn with_trace(mut self, trace: TraceLayer) -> Self {
        self.trace = trace;
        self
    }

    /// A metrics layer of your own making.
    pub fn with_metrics(mut self, metrics: MetricsLayer) -> Self {
        self.metrics = metrics;
        self
    }
}

impl Default for InboundLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for InboundLayer {
    type Service = Observe<S, (TraceLayer, MetricsLayer)>;

    fn layer(&self, inner: S) -> Self::Service {
        // The span is outermost, so that a metric is recorded while it is open and may keep it as an exemplar.
        ObserveLayer::new((self.trace.clone(), self.metrics.clone())).layer(inner)
    }
}
