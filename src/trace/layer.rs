use std::{fmt, sync::Arc};

use http::request;
use opentelemetry::{
    Context,
    trace::{TraceContextExt, Tracer, TracerProvider},
};
use tower_layer::Layer;

use super::{recording::TraceRecording, start};
use crate::{
    classify::{Protocol, Side},
    observe::{Call, Observe, Observer},
    propagation::Propagation,
    semconv::ServerAddress,
    spans::SpanSource,
};

/// Records each call as a span and propagates its context. See the [module docs](crate::trace) for examples.
#[derive(Debug, Clone)]
pub struct TraceLayer {
    settings: Arc<Settings>,
}

#[derive(Debug, Clone)]
struct Settings {
    side: Side,
    spans: SpanSource,
    propagation: Propagation,
    server: Option<ServerAddress>,
    filter: Option<Filter>,
    error_messages: bool,
}

#[derive(Clone)]
struct Filter(Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

impl TraceLayer {
    /// For a service that calls: CLIENT spans (PRODUCER for a publish), context injected into the request's headers.
    #[must_use]
    pub fn client() -> Self {
        Self::new(Side::Client)
    }

    /// For a service that is called: SERVER spans, whose parent is read from the request's headers.
    #[must_use]
    pub fn server() -> Self {
        Self::new(Side::Server)
    }

    fn new(side: Side) -> Self {
        Self {
            settings: Arc::new(Settings {
                side,
                spans: SpanSource::global(),
                propagation: Propagation::w3c(),
                server: None,
                filter: None,
                error_messages: true,
            }),
        }
    }

    /// Takes spans from this provider.
    ///
    /// Defaults to the global provider as it is when the first call is made; with none installed, calls pass untouched.
    #[must_use]
    pub fn with_tracer_provider<P>(self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        let spans = SpanSource::of(provider);
        self.change(|settings| settings.spans = spans)
    }

    /// How context travels in headers. Defaults to [`Propagation::w3c`], this crate's own strict one.
    #[must_use]
    pub fn with_propagation(self, propagation: Propagation) -> Self {
        self.change(|settings| settings.propagation = propagation)
    }

    /// Client side: what the calls go to, as configured (a host name or address, or a unix socket's path, without a
    /// port): `server.address` and `server.port`. Defaults to the authority of the request's URI; a tonic channel's
    /// requests have none.
    #[must_use]
    pub fn with_server_address(self, address: impl Into<Arc<str>>, port: impl Into<Option<u16>>) -> Self {
        let server = ServerAddress { address: address.into(), port: port.into() };
        self.change(|settings| settings.server = Some(server))
    }

    /// Records only the requests for which this says `true`. Defaults to all.
    ///
    /// A request that is not recorded passes untouched: its headers are neither read nor written.
    ///
    /// ```
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_filter(|request| request.uri.path() != "/healthz");
    /// ```
    #[must_use]
    pub fn with_filter(self, filter: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        self.change(|settings| settings.filter = Some(Filter(Arc::new(filter))))
    }

    /// Whether a failed call's `grpc-message` becomes the description of its span's status. Defaults to `true`.
    ///
    /// daprd's messages name components and may name keys, never values; an app's own messages say what the app puts there.
    #[must_use]
    pub fn with_error_messages(self, record: bool) -> Self {
        self.change(|settings| settings.error_messages = record)
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Observe<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe::new(inner, self.clone())
    }
}

impl Observer for TraceLayer {
    type Recording = TraceRecording;

    fn side(&self) -> Side {
        self.settings.side
    }

    fn wants(&self, request: &request::Parts) -> bool {
        self.settings.filter.as_ref().is_none_or(|filter| (filter.0)(request))
            && self.settings.spans.get().is_some()
            // The exporter's own calls may come through a traced channel.
            && !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<TraceRecording> {
        let Settings { side, propagation, server, error_messages, .. } = &*self.settings;
        let start = self.settings.spans.get()?;
        let parent = match (side, call.protocol) {
            (Side::Client, _) => Context::current(),
            (Side::Server, Protocol::Http) => propagation.extract_http(call.headers(), &Context::current()),
            (Side::Server, Protocol::Grpc) => propagation.extract_grpc(call.headers(), &Context::current()),
        };
        let context = start(start::builder(*side, call), &parent);
        if context.span().is_recording() {
            start::describe(*side, call, server.as_ref(), &context.span());
        }
        if *side == Side::Client {
            propagation.inject(&context, call.headers());
        }
        Some(TraceRecording::new(context, *side, call, *error_messages))
    }
}
