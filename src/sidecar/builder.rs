//! Starting a sidecar.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use opentelemetry::trace::{Tracer, TracerProvider};
use tokio::net::TcpListener;

use super::app::App;
use super::app_channel::{AppChannel, AppProtocol};
use super::handle::Sidecar;
use super::hub::HubState;
use super::jobs::Jobs;
use super::secret::Secret;
use super::spans::Spans;
use super::tasks::Tasks;
use super::{StartError, grpc, http_api};

/// Settings of a [`Sidecar`]. Made by [`Hub::app`](super::Hub::app).
#[derive(Clone, Debug)]
#[must_use = "a sidecar runs once `start` was awaited"]
pub struct SidecarBuilder {
    id: String,
    hub: Arc<HubState>,
    app: Option<SocketAddr>,
    protocol: AppProtocol,
    app_token: Option<Secret>,
    grpc_port: u16,
    http_port: u16,
    spans: Spans,
}

// ===== impl SidecarBuilder =====

impl SidecarBuilder {
    pub(super) fn new(id: String, hub: Arc<HubState>) -> Self {
        Self {
            id,
            hub,
            app: None,
            protocol: AppProtocol::Http,
            app_token: None,
            grpc_port: 0,
            http_port: 0,
            spans: Spans::default(),
        }
    }

    /// The app listens on this port of 127.0.0.1. Defaults to none: an app that only calls.
    pub fn app_port(self, port: u16) -> Self {
        self.app_address(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The app listens on this address.
    pub const fn app_address(mut self, address: SocketAddr) -> Self {
        self.app = Some(address);
        self
    }

    /// What the app speaks. Defaults to HTTP/1.1.
    pub const fn app_protocol(mut self, protocol: AppProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The app gets this token as `dapr-api-token` with each call, as with `APP_API_TOKEN`. Defaults to none; an empty
    /// token is none.
    pub fn app_token(mut self, token: impl Into<String>) -> Self {
        self.app_token = Secret::new(token.into());
        self
    }

    /// The port of the gRPC API on 127.0.0.1. Defaults to 0: any free one.
    pub const fn grpc_port(mut self, port: u16) -> Self {
        self.grpc_port = port;
        self
    }

    /// The port of the HTTP API on 127.0.0.1. Defaults to 0: any free one.
    pub const fn http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// Makes the spans that a daprd with a tracing configuration makes, under the scope `dapr-diagnostics`, and propagates
    /// them: apps, envelopes and answers get the context of the sidecar's span. Defaults to none: the caller's context is
    /// passed on unchanged. Give each app's sidecar a provider of its own with the app id for `service.name`, as daprd has it.
    ///
    /// The provider's sampler decides; a parent-based one, the SDK's default, respects the caller's decision. Spans of its
    /// HTTP API lack the address of the caller, and streaming subscriptions have none for each event.
    ///
    /// ```
    /// use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    /// use tower_dapr::sidecar::Hub;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let resource = Resource::builder().with_service_name("shop").build();
    /// let provider = SdkTracerProvider::builder().with_resource(resource).build();
    /// let hub = Hub::builder().pubsub("bus").build();
    /// let sidecar = hub.app("shop").tracer_provider(&provider).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.spans = Spans::of(provider);
        self
    }

    /// Starts the sidecar. It serves its APIs at once; the app may come later, see [`Sidecar::ready`].
    ///
    /// # Errors
    /// When a port cannot be listened on, the app id is not a name or has a sidecar already, a token cannot stand in a
    /// header, or the hub was shut down.
    pub async fn start(self) -> Result<Sidecar, StartError> {
        if !is_name(&self.id) {
            return Err(StartError::invalid_app_id(&self.id));
        }
        if self.hub.shutdown.is_cancelled() {
            return Err(StartError::hub_is_shut_down());
        }
        let token = self.app_token.as_ref().map(Secret::header).transpose()?;
        let grpc = listen("gRPC", self.grpc_port).await?;
        let http = listen("HTTP", self.http_port).await?;
        let ports = (port_of(&grpc), port_of(&http));
        let tasks = Tasks::child_of(&self.hub.shutdown);
        let channel = self.app.map(|address| AppChannel::new(address, self.protocol, token, &tasks));
        let app = Arc::new(App::new(self.id, self.hub, self.spans, channel, tasks));
        if !app.hub.enter(&app) {
            return Err(StartError::app_id_in_use(&app.id));
        }
        Jobs::resume(&app);
        for (file, store) in &app.hub.configuration_files {
            app.tasks.spawn(file.clone().follow(Arc::clone(store)));
        }
        app.tasks.spawn(grpc::serve(grpc, Arc::clone(&app)));
        app.tasks.spawn(http_api::serve(http, Arc::clone(&app)));
        app.tasks.spawn(Arc::clone(&app).connect());
        Ok(Sidecar::new(app, ports))
    }
}

async fn listen(api: &'static str, port: u16) -> Result<TcpListener, StartError> {
    let failed = |error| StartError::listen(api, port, error);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

fn is_name(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=256).contains(&id.len()) && id.bytes().all(allowed)
}
