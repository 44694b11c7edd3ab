use std::sync::{Arc, OnceLock};

use opentelemetry::{global, metrics::MeterProvider};
use tower_layer::Layer;

use super::{InboundRetry, Retry, RetryPolicy, instruments::Instruments};
use crate::classify::Side;

/// Sends again what failed and may be sent again. See the [module docs](crate::retry) for examples.
#[derive(Debug, Clone)]
pub struct RetryLayer {
    settings: Arc<Settings>,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) policy: RetryPolicy,
    pub(super) inbound: Option<InboundRetry>,
    instruments: OnceLock<Arc<Instruments>>,
}

impl RetryLayer {
    /// Around a service that calls: a tonic channel, an HTTP client.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self { settings: Arc::new(Settings { policy, inbound: None, instruments: OnceLock::new() }) }
    }

    /// Around a service that is called: the handlers of an app's subscriptions.
    #[must_use]
    pub fn inbound(retry: InboundRetry) -> Self {
        let policy = retry.policy.clone();
        Self { settings: Arc::new(Settings { policy, inbound: Some(retry), instruments: OnceLock::new() }) }
    }

    /// Records with instruments of this provider.
    ///
    /// Defaults to the global provider as it is when the first call is made.
    #[must_use]
    pub fn with_meter_provider(self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        let Settings { policy, inbound, .. } = &*self.settings;
        let instruments = OnceLock::from(Arc::new(Instruments::of(provider, self.settings.side())));
        Self { settings: Arc::new(Settings { policy: policy.clone(), inbound: inbound.clone(), instruments }) }
    }

    /// The same layer, deciding by this policy.
    pub(crate) fn with_policy(self, policy: RetryPolicy) -> Self {
        let Settings { inbound, instruments, .. } = &*self.settings;
        Self { settings: Arc::new(Settings { policy, inbound: inbound.clone(), instruments: instruments.clone() }) }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry::with_settings(inner, self.settings.clone())
    }
}

impl Settings {
    pub(super) fn instruments(&self) -> &Instruments {
        self.instruments.get_or_init(|| Arc::new(Instruments::of(&*global::meter_provider(), self.side())))
    }

    fn side(&self) -> Side {
        if self.inbound.is_some() { Side::Server } else { Side::Client }
    }
}
