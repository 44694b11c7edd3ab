use std::{borrow::Cow, env, fmt, io::IsTerminal, time::Duration};

use opentelemetry::{KeyValue, global, propagation::TextMapCompositePropagator, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    metrics::{MeterProviderBuilder, SdkMeterProvider, exporter::PushMetricExporter},
    propagation::{BaggagePropagator, TraceContextPropagator},
    trace::{SdkTracer, SdkTracerProvider, SpanProcessor, TracerProviderBuilder},
};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{Filtered, LevelFilter, Targets},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::{
    TelemetryError,
    env::{Exporter, Settings},
    error::Kind,
};
use crate::semconv;

/// Sets up [`Telemetry`]. See the [module docs](crate::telemetry) for an example.
#[must_use]
pub struct Builder {
    service_name: Cow<'static, str>,
    attributes: Vec<KeyValue>,
    only_if_configured: bool,
    traces: TracerProviderBuilder,
    metrics: MeterProviderBuilder,
}

impl Builder {
    /// Another attribute of the resource, such as `service.version`.
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Another processor of spans, beside the export.
    pub fn with_span_processor(mut self, processor: impl SpanProcessor + 'static) -> Self {
        self.traces = self.traces.with_span_processor(processor);
        self
    }

    /// Another exporter of metrics, beside OTLP; fed every `OTEL_METRIC_EXPORT_INTERVAL` and at a flush.
    pub fn with_metric_exporter(mut self, exporter: impl PushMetricExporter) -> Self {
        self.metrics = self.metrics.with_periodic_exporter(exporter);
        self
    }

    /// Exports only if a variable of the environment names an endpoint or an exporter. Defaults to exporting always, to
    /// the specification's default endpoint on this host.
    pub fn only_if_configured(mut self) -> Self {
        self.only_if_configured = true;
        self
    }

    /// Sets up the providers; touches nothing global.
    ///
    /// # Errors
    ///
    /// If an exporter cannot be built out of `OTEL_EXPORTER_OTLP_*`; an `https` endpoint needs the protocol `grpc` and this
    /// crate's feature `tls`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if the protocol is `grpc`.
    pub fn build(self) -> Result<Telemetry, TelemetryError> {
        let settings = Settings::read(self.only_if_configured, |name| env::var(name).ok());
        if settings.disabled {
            return Ok(Telemetry { providers: None });
        }
        if let Some((signal, reason)) = settings.refusal(cfg!(feature = "tls")) {
            return Err(Kind::Unsupported { signal, reason }.into());
        }
        let resource = resource(self.service_name, self.attributes);
        let mut traces = self.traces.with_resource(resource.clone());
        if settings.traces == Exporter::Otlp {
            let exporter = SpanExporter::builder().build();
            let exporter = exporter.map_err(|source| Kind::Exporter { signal: "traces", source })?;
            traces = traces.with_batch_exporter(exporter);
        }
        let mut metrics = self.metrics.with_resource(resource);
        if settings.metrics == Exporter::Otlp {
            let exporter = MetricExporter::builder().build();
            let exporter = exporter.map_err(|source| Kind::Exporter { signal: "metrics", source })?;
            metrics = metrics.with_periodic_exporter(exporter);
        }
        Ok(Telemetry { providers: Some(Providers { traces: traces.build(), metrics: metrics.build() }) })
    }

    /// Sets up the providers and makes them the global ones, with OpenTelemetry's propagators for trace context and
    /// baggage; and a `tracing` subscriber that shows events on standard error and bridges `tracing` spans.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build); and if another `tracing` subscriber is installed already.
    ///
    /// # Panics
    ///
    /// As [`build`](Self::build).
    pub fn install(self) -> Result<Telemetry, TelemetryError> {
        // What is said of the settings is shown as well, though the subscriber is not complete without them.
        let telemetry = tracing::subscriber::with_default(tracing_subscriber::registry().with(log()), || self.build())?;
        tracing_subscriber::registry()
            .with(telemetry.tracing_layer())
            .with(log())
            .try_init()
            .map_err(|_| Kind::Subscriber)?;
        global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ]));
        if let Some(providers) = &telemetry.providers {
            global::set_tracer_provider(providers.traces.clone());
            global::set_meter_provider(providers.metrics.clone());
        }
        Ok(telemetry)
    }
}

/// Events on standard error.
fn log<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into());
    let filter = match env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if !directives.is_empty() => filter.parse_lossy(directives),
        // OpenTelemetry tells of each thing that it sets up.
        _ => filter.parse_lossy("info,opentelemetry=warn"),
    };
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    stderr.with_ansi(std::io::stderr().is_terminal()).with_filter(filter)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service_name", &self.service_name).finish_non_exhaustive()
    }
}

/// The providers of one service. Keep it until the service ends, then [shut it down](Self::shutdown): what was not exported
/// by then is lost without.
#[must_use = "what is not exported yet when the process ends is lost without `shutdown`"]
pub struct Telemetry {
    /// `None` once shut down, or if the environment says so from the start.
    providers: Option<Providers>,
}

#[derive(Clone)]
struct Providers {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Telemetry {
    /// Telemetry of the service of this name; `OTEL_SERVICE_NAME` wins over it.
    pub fn builder(service_name: impl Into<Cow<'static, str>>) -> Builder {
        Builder {
            service_name: service_name.into(),
            attributes: Vec::new(),
            only_if_configured: false,
            traces: SdkTracerProvider::builder(),
            metrics: SdkMeterProvider::builder(),
        }
    }

    /// Where spans go; `None` if `OTEL_SDK_DISABLED` is set.
    #[must_use]
    pub fn tracer_provider(&self) -> Option<&SdkTracerProvider> {
        self.providers.as_ref().map(|providers| &providers.traces)
    }

    /// Where metrics go; `None` if `OTEL_SDK_DISABLED` is set.
    #[must_use]
    pub fn meter_provider(&self) -> Option<&SdkMeterProvider> {
        self.providers.as_ref().map(|providers| &providers.metrics)
    }

    /// A layer for a `tracing` subscriber that turns `#[instrument]` spans into spans of this service, children of the
    /// request's span: those of level `INFO` and above, and none of the HTTP and gRPC crates underneath. Their spans cover
    /// the exporter's own connection too: exporting them would make new ones for ever. Nor
    /// [those of our own layers](crate::trace::TraceLayer::with_tracing_span): each stands for a span that is exported
    /// already. `None` if `OTEL_SDK_DISABLED` is set.
    #[must_use]
    pub fn tracing_layer<S>(&self) -> Option<Filtered<OpenTelemetryLayer<S, SdkTracer>, Targets, S>>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        // Prefixes of targets, to the letter: without the colons, `tower` would be `tower_shop` too.
        const UNDERNEATH: [&str; 8] = [
            "h2::",
            "hyper::",
            "hyper_util::",
            "opentelemetry",
            "reqwest::",
            "tonic::",
            "tower::",
            crate::trace::TARGET,
        ];
        let tracer = self.tracer_provider()?.tracer(semconv::SCOPE);
        let targets = UNDERNEATH.map(|target| (target, LevelFilter::OFF));
        let filter = Targets::new().with_default(LevelFilter::INFO).with_targets(targets);
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter))
    }

    /// Exports what was recorded up to now, within `timeout`. The SDK itself gives up a signal after 5 seconds.
    ///
    /// # Errors
    ///
    /// If a signal could not be exported, or not in time ([`TelemetryError::is_timeout`]). The other one is exported all
    /// the same.
    pub async fn flush(&self, timeout: Duration) -> Result<(), TelemetryError> {
        let Some(Providers { traces, metrics }) = self.providers.clone() else { return Ok(()) };
        let traces = within(timeout, "traces", move || traces.force_flush());
        let metrics = within(timeout, "metrics", move || metrics.force_flush());
        let (traces, metrics) = tokio::join!(traces, metrics);
        traces.and(metrics)
    }

    /// Exports what is left and ends the export, within `timeout`. The SDK itself gives up metrics after 5 seconds.
    ///
    /// # Errors
    ///
    /// If a signal could not be exported, or not in time ([`TelemetryError::is_timeout`]). The other one is exported all
    /// the same.
    pub async fn shutdown(mut self, timeout: Duration) -> Result<(), TelemetryError> {
        let Some(Providers { traces, metrics }) = self.providers.take() else { return Ok(()) };
        let traces = within(timeout, "traces", move || traces.shutdown_with_timeout(timeout));
        let metrics = within(timeout, "metrics", move || metrics.shutdown_with_timeout(timeout));
        let (traces, metrics) = tokio::join!(traces, metrics);
        traces.and(metrics)
    }
}

/// Runs on a thread of its own what the SDK can only do blocking: the runtime goes on, which an exporter may need, and a
/// collector that hangs keeps that thread and not us.
async fn within(
    timeout: Duration,
    signal: &'static str,
    export: impl FnOnce() -> OTelSdkResult + Send + 'static,
) -> Result<(), TelemetryError> {
    let (done, finished) = tokio::sync::oneshot::channel();
    let start = tokio::time::Instant::now();
    std::thread::spawn(move || {
        // Nobody listens any more if the time is over.
        let _ = done.send(export());
    });
    let kind = match tokio::time::timeout(timeout, finished).await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(OTelSdkError::Timeout(after)))) => Kind::Timeout { signal, after },
        // The SDK's own end of the same time, wrapped in another error.
        Ok(Ok(Err(_))) if start.elapsed() >= timeout => Kind::Timeout { signal, after: timeout },
        Ok(Ok(Err(error))) => Kind::Export { signal, reason: error.to_string() },
        Ok(Err(_)) => Kind::Export { signal, reason: "its thread panicked".into() },
        Err(_) => Kind::Timeout { signal, after: timeout },
    };
    Err(kind.into())
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(providers) = self.providers.take() {
            tracing::warn!("telemetry was dropped without `shutdown`: what was not exported yet may be lost");
            // The last clone of a provider exports when it is dropped, and blocks: not here, where a runtime may run.
            let _ = std::thread::Builder::new().spawn(move || drop(providers));
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("enabled", &self.providers.is_some()).finish()
    }
}

/// The environment wins over the name that stands in the code.
fn resource(service_name: Cow<'static, str>, attributes: Vec<KeyValue>) -> Resource {
    let from_env = Resource::builder().build();
    let is_named = from_env
        .get(&"service.name".into())
        .is_some_and(|name| !name.as_str().is_empty() && !name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder().with_attributes(attributes);
    if !is_named {
        builder = builder.with_attribute(KeyValue::new("service.name", service_name));
    }
    builder.build()
}
