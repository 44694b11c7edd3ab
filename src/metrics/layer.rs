use std::sync::{Arc, OnceLock};

use http::request;
use opentelemetry::{Context, global, metrics::MeterProvider};
use tower_layer::Layer;

use super::{instruments::Instruments, recording::MetricsRecording};
use crate::{
    classify::Side,
    observe::{Call, Observe, Observer},
    semconv::ServerAddress,
};

/// Records the duration and the result of each call. See the [module docs](crate::metrics) for an example.
#[derive(Debug, Clone)]
pub struct MetricsLayer {
    side: Side,
    server: Option<ServerAddress>,
    instruments: Arc<OnceLock<Arc<Instruments>>>,
}

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
        Self { side, server: None, instruments: Arc::default() }
    }

    /// Records with instruments of this provider.
    ///
    /// Defaults to the global provider as it is when the first call is made.
    #[must_use]
    pub fn with_meter_provider(mut self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        self.instruments = Arc::new(OnceLock::from(Arc::new(Instruments::of(provider, self.side))));
        self
    }

    /// Client side: what the calls go to, as configured: `server.address` and `server.port`. Defaults to the authority of
    /// the request's URI; a tonic channel's requests have none.
    #[must_use]
    pub fn with_server_address(mut self, address: impl Into<Arc<str>>, port: impl Into<Option<u16>>) -> Self {
        self.server = Some(ServerAddress { address: address.into(), port: port.into() });
        self
    }

    fn instruments(&self) -> &Arc<Instruments> {
        self.instruments.get_or_init(|| Arc::new(Instruments::of(&*global::meter_provider(), self.side)))
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
        self.side
    }

    fn wants(&self, _request: &request::Parts) -> bool {
        !Context::is_current_telemetry_suppressed()
    }

    fn begin(&self, call: &mut Call<'_>) -> Option<MetricsRecording> {
        Some(MetricsRecording::new(self.instruments().clone(), self.side, call, self.server.as_ref()))
    }
}
