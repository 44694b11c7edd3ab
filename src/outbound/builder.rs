use std::time::Duration;

use opentelemetry::{
    metrics::MeterProvider,
    trace::{Tracer, TracerProvider},
};
use tower::ServiceBuilder;

use super::{
    ApiToken, ApiTokenLayer, Dapr, DaprService, Endpoint, HttpEndpoint, dapr::Settings, endpoint::token_from_env,
};
use crate::{
    Error,
    deadline::DeadlineLayer,
    metrics::MetricsLayer,
    observe::ObserveLayer,
    retry::{RetryLayer, RetryPolicy, is_retry},
    trace::TraceLayer,
};

/// Builds a [`Dapr`] over the ready stack. Made by [`Dapr::builder`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    endpoint: Option<Endpoint>,
    http_endpoint: Option<HttpEndpoint>,
    token: Option<ApiToken>,
    trace: TraceLayer,
    metrics: MetricsLayer,
    retry: RetryLayer,
    policy: Option<RetryPolicy>,
    deadline: Option<DeadlineLayer>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            endpoint: None,
            http_endpoint: None,
            token: None,
            trace: TraceLayer::client(),
            metrics: MetricsLayer::client(),
            retry: RetryLayer::new(RetryPolicy::new()),
            policy: None,
            deadline: None,
        }
    }

    /// Where the sidecar is. Defaults to [`Endpoint::from_env`].
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Where the sidecar's HTTP API is; only its health is asked there ([`Dapr::wait_until_ready`]). Defaults to
    /// [`HttpEndpoint::from_env`] if the endpoint comes from the environment too, else to none.
    pub fn http_endpoint(mut self, endpoint: HttpEndpoint) -> Self {
        self.http_endpoint = Some(endpoint);
        self
    }

    /// The token that the sidecar asks for. Defaults to `DAPR_API_TOKEN`.
    pub fn api_token(mut self, token: ApiToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Where spans go. Defaults to the global provider.
    pub fn tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.trace = self.trace.with_tracer_provider(provider);
        self
    }

    /// Where metrics go. Defaults to the global provider.
    pub fn meter_provider(mut self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        self.metrics = self.metrics.with_meter_provider(provider);
        self.retry = self.retry.with_meter_provider(provider);
        self
    }

    /// What is sent again, and how often. Defaults to [`RetryPolicy::from_env`]: two retries of what is safe to repeat, or as
    /// many as `DAPR_API_MAX_RETRIES` says.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// How long a call may take, with all its attempts; Dapr's streams excepted. Defaults to `DAPR_API_TIMEOUT_SECONDS`,
    /// else to no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Some(DeadlineLayer::per_call(timeout));
        self
    }

    /// Puts the stack around a channel that connects when it is first used.
    ///
    /// # Errors
    ///
    /// If an environment variable that is not overridden here holds what it cannot, the endpoint asks for TLS and feature
    /// `tls` is off, or, with it, a unix socket is to speak TLS or a certificate or key cannot be used.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Dapr, Error> {
        let (endpoint, http) = match self.endpoint {
            // Another sidecar than the environment's: its variables say nothing about this one.
            Some(endpoint) => (endpoint, self.http_endpoint),
            None => {
                (Endpoint::from_env()?, self.http_endpoint.map_or_else(HttpEndpoint::from_env, |http| Ok(Some(http)))?)
            }
        };
        let token = self.token.map_or_else(token_from_env, |token| Ok(Some(token)))?;
        let retry = self.retry.with_policy(self.policy.map_or_else(RetryPolicy::from_env, Ok)?);
        let deadline = self.deadline.map_or_else(DeadlineLayer::from_env, Ok)?;
        let channel = endpoint.connect_lazy()?;

        let trace = self.trace.with_server_address(endpoint.host(), endpoint.port());
        let metrics = self.metrics.with_server_address(endpoint.host(), endpoint.port());
        let stack = ServiceBuilder::new()
            // Outermost: the whole call, as its caller sees it.
            .layer(ObserveLayer::new((trace.clone(), metrics)))
            // The call's time, which the attempts and the waits between them share.
            .layer(deadline)
            .layer(retry)
            // A span for each attempt but the first, with its own id on the wire.
            .layer(trace.with_filter(is_retry))
            // Next to the channel: no other layer sees the token.
            .layer(ApiTokenLayer::new(token))
            .service(channel);
        let settings = Settings {
            max_inbound: endpoint.max_inbound(),
            gzip: endpoint.is_gzip(),
            http,
            endpoint: Some(endpoint.to_string()),
        };
        Ok(Dapr::with_settings(DaprService::new(stack), settings))
    }
}
