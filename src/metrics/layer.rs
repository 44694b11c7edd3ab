use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::request;
use opentelemetry::{
    Context, KeyValue, global,
    metrics::{Meter, MeterProvider},
};
use tower_layer::Layer;

use super::{instruments::meter, recording::MetricsRecording, shared::Shared};
use crate::{
    classify::Side,
    observe::{Attributes, Call, Filter, Hook, Observe, Observer},
    semconv::ServerAddress,
};

/// Measures each call. See the [module docs](crate::metrics) for examples and for what is recorded.
#[derive(Clone)]
pub struct MetricsLayer(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// Made when the first call is. `None` inside: nothing listens.
    shared: OnceLock<Option<Arc<Shared>>>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) side: Side,
    meter: Option<Meter>,
    pub(super) server: Option<ServerAddress>,
    filter: Option<Filter>,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) request_attributes: Option<Attributes>,
    pub(super) body_sizes: bool,
    pub(super) max_names: usize,
}

/// Enough for the components, topics and callees of an app; few enough for a hostile one to leave 30 series at most.
const MAX_NAMES: usize = 24;

// ===== impl MetricsLayer =====

impl MetricsLayer {
    /// For a service that calls.
    #[must_use]
    pub fn client() -> Self {
        Self::new(Side::Client)
    }

    /// For a service that is called.
    #[must_use]
    pub fn server() -> Self {
        Self::new(Side::Server)
    }

    fn new(side: Side) -> Self {
        let settings = Settings {
            side,
            meter: None,
            server: None,
            filter: None,
            attributes: Vec::new(),
            request_attributes: None,
            body_sizes: false,
            max_names: MAX_NAMES,
        };
        Self(Arc::new(Inner { settings, shared: OnceLock::new() }))
    }

    /// Records with instruments of this provider.
    ///
    /// Defaults to the global provider as it is when the first call is made; with none installed, calls pass untouched.
    #[must_use]
    pub fn with_meter_provider(self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        let meter = meter(provider);
        self.change(|settings| settings.meter = Some(meter))
    }

    /// Client side: what the calls go to, as configured: `server.address` and `server.port`. Defaults to the authority of
    /// the request's URI; a tonic channel's requests have none.
    #[must_use]
    pub fn with_server_address(self, address: impl Into<Arc<str>>, port: impl Into<Option<u16>>) -> Self {
        let server = ServerAddress { address: address.into(), port: port.into() };
        self.change(|settings| settings.server = Some(server))
    }

    /// Measures only the requests for which this says `true`. Defaults to all.
    ///
    /// ```
    /// use tower_dapr::metrics::MetricsLayer;
    ///
    /// let layer = MetricsLayer::server().with_filter(|request| request.uri.path() != "/healthz");
    /// ```
    #[must_use]
    pub fn with_filter(self, filter: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        self.change(|settings| settings.filter = Some(Hook::new(Arc::new(filter))))
    }

    /// Adds these attributes to the duration and the body sizes of each call. Defaults to none.
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use tower_dapr::metrics::MetricsLayer;
    ///
    /// let layer = MetricsLayer::server().with_attributes([KeyValue::new("listener", "admin")]);
    /// ```
    #[must_use]
    pub fn with_attributes(self, attributes: impl IntoIterator<Item = KeyValue>) -> Self {
        self.change(|settings| settings.attributes = attributes.into_iter().collect())
    }

    /// Adds attributes of the request's to the duration of its call. Defaults to none.
    ///
    /// Each distinct value is one more series: to keep them few is up to the caller. A call with such attributes is not
    /// served from the layer's table, which costs some allocations.
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use tower_dapr::metrics::MetricsLayer;
    ///
    /// let layer = MetricsLayer::server().with_request_attributes(|request| {
    ///     vec![KeyValue::new("tenant.tier", if request.headers.contains_key("x-gold") { "gold" } else { "free" })]
    /// });
    /// ```
    #[must_use]
    pub fn with_request_attributes(
        self,
        attributes: impl Fn(&request::Parts) -> Vec<KeyValue> + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| settings.request_attributes = Some(Hook::new(Arc::new(attributes))))
    }

    /// Measures the sizes of HTTP bodies too, in bytes. Defaults to `false`.
    ///
    /// The request's is what its `content-length` says, and is left out if it says nothing. The response's is what went
    /// past, also if that was not all.
    ///
    /// ```
    /// use tower_dapr::metrics::MetricsLayer;
    ///
    /// let layer = MetricsLayer::server().with_body_sizes(true);
    /// ```
    #[must_use]
    pub fn with_body_sizes(self, record: bool) -> Self {
        self.change(|settings| settings.body_sizes = record)
    }

    /// How many names of each kind that come from the wire become attributes: components and callees, pairs of component
    /// and topic, gRPC methods outside of Dapr's own, hosts. All later ones count under `_OTHER`. Defaults to 24.
    ///
    /// ```
    /// use tower_dapr::metrics::MetricsLayer;
    ///
    /// let layer = MetricsLayer::client().with_max_names(100);
    /// ```
    #[must_use]
    pub fn with_max_names(self, max: usize) -> Self {
        self.change(|settings| settings.max_names = max)
    }

    fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.0.settings.clone();
        change(&mut settings);
        Self(Arc::new(Inner { settings, shared: OnceLock::new() }))
    }

    fn shared(&self) -> Option<&Arc<Shared>> {
        let make = || {
            let meter = self.0.settings.meter.clone().unwrap_or_else(|| meter(&*global::meter_provider()));
            Shared::new(self.0.settings.clone(), &meter).map(Arc::new)
        };
        self.0.shared.get_or_init(make).as_ref()
    }
}

impl fmt::Debug for MetricsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Observe<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe::new(inner, self.clone())
    }
}

impl Observer for MetricsLayer {
    type Recording = MetricsRecording;

    fn side(&self) -> Side {
        self.0.settings.side
    }

    fn is_on(&self) -> bool {
        self.shared().is_some()
    }

    fn wants(&self, request: &request::Parts) -> bool {
        self.is_on()
            && self.0.settings.filter.as_ref().is_none_or(|filter| filter(request))
            && !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<MetricsRecording> {
        Some(MetricsRecording::new(self.shared()?, call))
    }
}
