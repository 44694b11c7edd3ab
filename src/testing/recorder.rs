use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opentelemetry::trace::TraceId;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, ShouldSample, SpanData, SpanExporter, TracerProviderBuilder},
};

use super::{
    check::{self, Mismatch},
    span::RecordedSpan,
    trace::Trace,
    tree::SpanTree,
};

/// Collects the finished spans of any number of services in memory. Clones share what was recorded.
///
/// See the [module docs](crate::testing) for an example.
#[derive(Clone, Default)]
pub struct SpanRecorder {
    spans: Arc<Mutex<Vec<RecordedSpan>>>,
}

/// Writes one service's spans into a [`SpanRecorder`]: for a provider that you build yourself.
///
/// Made by [`SpanRecorder::exporter`].
#[derive(Clone, Debug)]
pub struct RecorderExporter {
    recorder: SpanRecorder,
    service: Arc<str>,
}

// ===== impl SpanRecorder =====

impl SpanRecorder {
    /// A recorder without spans.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tracer provider whose spans end up here, each at the moment it ends.
    ///
    /// Its resource is `service.name` and nothing else. It samples what its parent sampled, and every root.
    pub fn provider(&self, service: impl Into<Arc<str>>) -> SdkTracerProvider {
        self.provider_with_sampler(service, Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    /// The same as [`provider`](Self::provider) with a sampler of your own. Spans that are not sampled are not recorded.
    pub fn provider_with_sampler(
        &self,
        service: impl Into<Arc<str>>,
        sampler: impl ShouldSample + 'static,
    ) -> SdkTracerProvider {
        let service = service.into();
        TracerProviderBuilder::default()
            .with_resource(Resource::builder_empty().with_service_name(service.to_string()).build())
            .with_sampler(Box::new(sampler) as Box<dyn ShouldSample>)
            .with_simple_exporter(self.exporter(service))
            .build()
    }

    /// An exporter for a provider that you build yourself, for example with a batch processor and other limits.
    ///
    /// ```
    /// use opentelemetry::trace::{Tracer, TracerProvider};
    /// use opentelemetry_sdk::trace::SdkTracerProvider;
    /// use tower_dapr::testing::SpanRecorder;
    ///
    /// let recorder = SpanRecorder::new();
    /// let provider = SdkTracerProvider::builder()
    ///     .with_max_attributes_per_span(2)
    ///     .with_simple_exporter(recorder.exporter("order"))
    ///     .build();
    /// provider.tracer("my app").in_span("work", |_| ());
    /// assert_eq!(recorder.spans()[0].service(), "order");
    /// ```
    pub fn exporter(&self, service: impl Into<Arc<str>>) -> RecorderExporter {
        RecorderExporter { recorder: self.clone(), service: service.into() }
    }

    /// The spans recorded so far, in the order in which they ended.
    pub fn spans(&self) -> Vec<RecordedSpan> {
        self.lock().clone()
    }

    /// Forgets all spans.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The traces recorded so far, in the order in which they started.
    pub fn traces(&self) -> Vec<Trace> {
        let spans: Arc<[_]> = self.spans().into();
        let mut by_trace: HashMap<TraceId, Vec<usize>> = HashMap::new();
        for (at, span) in spans.iter().enumerate() {
            by_trace.entry(span.trace_id()).or_default().push(at);
        }
        let mut traces: Vec<_> =
            by_trace.into_iter().map(|(id, places)| Trace::new(id, Arc::clone(&spans), places)).collect();
        traces.sort_by_key(|trace| (trace.start(), trace.trace_id().to_bytes()));
        traces
    }

    /// One trace; empty if none of its spans was recorded.
    pub fn trace(&self, trace_id: TraceId) -> Trace {
        let spans: Arc<[_]> = self.spans().into();
        let places = (0..spans.len()).filter(|at| spans[*at].trace_id() == trace_id).collect();
        Trace::new(trace_id, spans, places)
    }

    /// Asserts that one of the recorded traces looks like this.
    ///
    /// # Panics
    ///
    /// If none does: with the tree, the trace that comes nearest to it (the first with a root of the same name, else the
    /// first), and the first difference. See [`Trace::check`].
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "a tree is written where it is expected")]
    pub fn expect(&self, tree: SpanTree) {
        if let Err(mismatch) = self.check(&tree) {
            panic!("{mismatch}");
        }
    }

    /// Does one of the recorded traces look like this?
    ///
    /// # Errors
    ///
    /// If none does: see [`expect`](Self::expect) for what is in it.
    pub fn check(&self, tree: &SpanTree) -> Result<(), Mismatch> {
        let traces = self.traces();
        let mut mismatches = Vec::new();
        for trace in &traces {
            match trace.check(tree) {
                Ok(()) => return Ok(()),
                Err(mismatch) => mismatches.push((trace, mismatch)),
            }
        }
        let total = mismatches.len();
        let nearest = mismatches.iter().position(|(trace, _)| check::same_root(trace, tree)).unwrap_or_default();
        match mismatches.into_iter().nth(nearest) {
            Some((_, mismatch)) => Err(mismatch.among(total)),
            None => Err(Mismatch::nothing_recorded(tree)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RecordedSpan>> {
        // A push cannot leave a vector half done: what is in it is good whoever panicked.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SpanRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanRecorder").field("spans", &self.lock().len()).finish()
    }
}

// ===== impl RecorderExporter =====

impl SpanExporter for RecorderExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.into_iter().map(|data| RecordedSpan::new(Arc::clone(&self.service), data));
        self.recorder.lock().extend(spans);
        Ok(())
    }
}
