use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, request};
use opentelemetry::{
    Context, KeyValue,
    trace::{Link, TraceContextExt, Tracer, TracerProvider},
};
use tower_layer::Layer;
use tracing::Level;

use super::{
    console,
    headers::{RecordedHeaders, SecretHeader},
    recording::TraceRecording,
    start,
};
use crate::{
    classify::{Protocol, Side},
    intern::{Name, Names},
    observe::{Attributes, Call, Filter, Hook, Observe, Observer},
    propagation::Propagation,
    semconv::{self, ServerAddress},
    spans::SpanSource,
};

/// Records each call as a span and propagates its context. See the [module docs](crate::trace) for examples.
#[derive(Debug, Clone)]
pub struct TraceLayer {
    settings: Arc<Settings>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) side: Side,
    spans: SpanSource,
    propagation: Propagation,
    pub(super) server: Option<ServerAddress>,
    filter: Option<Filter>,
    pub(super) error_messages: bool,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) request_attributes: Option<Attributes>,
    pub(super) span_name: Option<SpanName>,
    pub(super) request_headers: RecordedHeaders,
    pub(super) response_headers: RecordedHeaders,
    pub(super) messages: bool,
    is_public: bool,
    tracing: Option<Level>,
    /// A server's gRPC methods, other than Dapr's, that have answered.
    methods: Arc<Names>,
}

/// How many methods of its own a gRPC server may have that are told apart by name from the start.
const MAX_METHODS: usize = 256;

impl Settings {
    pub(super) fn is_known_method(&self, method: &str) -> bool {
        self.methods.known(method, "").is_some()
    }

    /// `false` if there are too many already.
    pub(super) fn learn_method(&self, method: &str) -> bool {
        self.methods.number(method, "") != Name::OTHER
    }
}

/// Names a span.
type SpanName = Hook<dyn Fn(&request::Parts) -> Option<Cow<'static, str>> + Send + Sync>;

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
                attributes: Vec::new(),
                request_attributes: None,
                span_name: None,
                request_headers: RecordedHeaders::default(),
                response_headers: RecordedHeaders::default(),
                messages: false,
                is_public: false,
                tracing: None,
                methods: Arc::new(Names::new(MAX_METHODS)),
            }),
        }
    }

    /// Takes spans from this provider.
    ///
    /// Defaults to the global provider as it is when the first call is made; with none installed, calls pass untouched.
    /// OpenTelemetry boxes each span that comes through the global one: naming the provider here saves that.
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
        self.change(|settings| settings.filter = Some(Hook::new(Arc::new(filter))))
    }

    /// Whether a failed call's `grpc-message` becomes the description of its span's status. Defaults to `true`.
    ///
    /// daprd's messages name components and may name keys, never values; an app's own messages say what the app puts there.
    #[must_use]
    pub fn with_error_messages(self, record: bool) -> Self {
        self.change(|settings| settings.error_messages = record)
    }

    /// Adds these attributes to each span. Defaults to none.
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_attributes([KeyValue::new("listener", "admin")]);
    /// ```
    #[must_use]
    pub fn with_attributes(self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.change(|settings| settings.attributes = attributes.into_iter().collect())
    }

    /// Adds attributes of the request's to its span. Defaults to none.
    ///
    /// Asked for recorded spans only, once they were sampled.
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_request_attributes(|request| {
    ///     vec![KeyValue::new("tenant.gold", request.headers.contains_key("x-gold"))]
    /// });
    /// ```
    #[must_use]
    pub fn with_request_attributes(
        self,
        attributes: impl Fn(&request::Parts) -> Vec<KeyValue> + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| settings.request_attributes = Some(Hook::new(Arc::new(attributes))))
    }

    /// Names spans; where it says `None`, the span has the name of the [table](crate::trace#what-is-recorded), which is
    /// the default.
    ///
    /// Backends group spans by name: never one for each path or id.
    ///
    /// ```
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server()
    ///     .with_span_name(|request| request.uri.path().starts_with("/assets/").then(|| "asset".into()));
    /// ```
    #[must_use]
    pub fn with_span_name(
        self,
        name: impl Fn(&request::Parts) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| settings.span_name = Some(Hook::new(Arc::new(name))))
    }

    /// Server side: callers are strangers. A trace context that comes with a request becomes a link and not the parent, and
    /// its sampled flag decides nothing: each request starts a trace here. Its baggage is not taken over. Defaults to
    /// `false`, which is right behind a sidecar or a gateway of one's own.
    ///
    /// ```
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_public_endpoint(true);
    /// ```
    #[must_use]
    pub fn with_public_endpoint(self, is_public: bool) -> Self {
        self.change(|settings| settings.is_public = is_public)
    }

    /// Records these headers of requests, as `http.request.header.<name>` or `rpc.request.metadata.<name>`, each value cut
    /// at 1,024 bytes. Defaults to none.
    ///
    /// ```
    /// use http::{HeaderName, header};
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_request_headers([HeaderName::from_static("x-request-id")])?;
    /// assert!(layer.with_request_headers([header::AUTHORIZATION]).is_err());
    /// # Ok::<(), tower_dapr::trace::SecretHeader>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the name of one says that it holds a secret: `authorization`, `cookie`, `dapr-api-token`, `x-api-key` and all
    /// others that have `auth`, `cookie`, `token`, `secret`, `password`, `passwd`, `credential`, `session`, `signature`,
    /// `api-key`, `apikey` or `private` in it.
    pub fn with_request_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Result<Self, SecretHeader> {
        let keys = (semconv::HTTP_REQUEST_HEADER, semconv::RPC_REQUEST_METADATA);
        let headers = RecordedHeaders::new(names, keys)?;
        Ok(self.change(|settings| settings.request_headers = headers))
    }

    /// Records these headers of responses, as `http.response.header.<name>` or `rpc.response.metadata.<name>`; of gRPC
    /// those of the head, not of the trailers. Defaults to none.
    ///
    /// ```
    /// use http::header;
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_response_headers([header::RETRY_AFTER])?;
    /// # Ok::<(), tower_dapr::trace::SecretHeader>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If one holds a secret, as for [`with_request_headers`](Self::with_request_headers).
    pub fn with_response_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Result<Self, SecretHeader> {
        let keys = (semconv::HTTP_RESPONSE_HEADER, semconv::RPC_RESPONSE_METADATA);
        let headers = RecordedHeaders::new(names, keys)?;
        Ok(self.change(|settings| settings.response_headers = headers))
    }

    /// Records each message of a gRPC call as an event `rpc.message` with its number, its direction and its length on the
    /// wire. Defaults to `false`.
    ///
    /// Messages of requests are seen where the request's body is tonic's, which is so for a tonic client and server.
    ///
    /// ```
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::client().with_message_events(true);
    /// ```
    #[must_use]
    pub fn with_message_events(self, record: bool) -> Self {
        self.change(|settings| settings.messages = record)
    }

    /// Makes each request a span of `tracing` too, target `tower_dapr::request`, with its path, trace id, status and
    /// `error.type`, so that log lines on the console show which request they belong to. Defaults to none.
    ///
    /// It works without a provider as well. With tracing-opentelemetry in the subscriber it becomes a second span of the
    /// trace, inside of the one that this layer makes: keep it out of that layer with a filter on its target. It costs
    /// what spans of `tracing` cost: a microsecond and some ten allocations with a formatting subscriber, and about as
    /// much again with tracing-opentelemetry, whether the request is sampled or not.
    ///
    /// ```
    /// use tower_dapr::trace::TraceLayer;
    ///
    /// let layer = TraceLayer::server().with_tracing_span(tracing::Level::INFO);
    /// ```
    #[must_use]
    pub fn with_tracing_span(self, level: impl Into<Option<Level>>) -> Self {
        let level = level.into();
        self.change(|settings| settings.tracing = level)
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

    fn is_on(&self) -> bool {
        self.settings.spans.get().is_some() || self.settings.tracing.is_some()
    }

    fn wants(&self, request: &request::Parts) -> bool {
        self.is_on()
            && self.settings.filter.as_ref().is_none_or(|filter| filter(request))
            // The exporter's own calls may come through a traced channel.
            && !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<TraceRecording> {
        let settings = &self.settings;
        let mut name = None;
        let started = settings.spans.get_described().map(|start| {
            let mut builder = start::builder(settings, call);
            name = settings.tracing.map(|_| builder.name.clone());
            let parent = settings.parent(call);
            let parent = if settings.is_public && settings.side == Side::Server {
                let remote = parent.span().span_context().clone();
                builder.links = remote.is_valid().then(|| vec![Link::with_context(remote)]);
                Context::current()
            } else {
                parent
            };
            start(builder, &parent, &mut |set| start::describe(settings, call, set))
        });
        let (context, is_recording) = started.map_or((None, false), |(context, is)| (Some(context), is));
        if let Some(context) = context.as_ref().filter(|_| settings.side == Side::Client) {
            settings.propagation.inject(context, call.headers());
        }
        let console = settings.tracing.map(|level| {
            let name = name.unwrap_or_else(|| start::builder(settings, call).name);
            let _current = context.clone().map(Context::attach);
            console::span(level, settings.side, &name, call, context.as_ref())
        });
        Some(TraceRecording::new(settings, context, is_recording, console, call))
    }
}

impl Settings {
    /// The context that a call's span stands in, or, of a public endpoint, what it claims to stand in.
    fn parent(&self, call: &mut Call<'_>) -> Context {
        if self.side == Side::Client {
            return Context::current();
        }
        let around = if self.is_public { Context::new() } else { Context::current() };
        match call.protocol {
            Protocol::Http => self.propagation.extract_http(call.headers(), &around),
            Protocol::Grpc => self.propagation.extract_grpc(call.headers(), &around),
        }
    }
}
