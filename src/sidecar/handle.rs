//! A running sidecar.

use std::sync::Arc;

use super::actors::Host;
use super::app::App;

/// A running sidecar. It stops when it is dropped. See the [module docs](super) for an example.
#[derive(Debug)]
#[must_use = "dropping a sidecar stops it"]
pub struct Sidecar {
    app: Arc<App>,
    grpc_port: u16,
    http_port: u16,
}

// ===== impl Sidecar =====

impl Sidecar {
    pub(super) const fn new(app: Arc<App>, (grpc_port, http_port): (u16, u16)) -> Self {
        Self { app, grpc_port, http_port }
    }

    /// The port of the gRPC API on 127.0.0.1.
    pub const fn grpc_port(&self) -> u16 {
        self.grpc_port
    }

    /// The port of the HTTP API on 127.0.0.1.
    pub const fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Where to connect a gRPC client: `http://127.0.0.1:<port>`.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// Waits until the app was reached and its subscriptions were read: what `GET /v1.0/healthz` says.
    ///
    /// Before, what is published to its topics is lost, as with daprd. Cancel safe. Returns at once for an app without a
    /// port, and never for an app that does not come.
    pub async fn ready(&self) {
        self.app.ready().await;
    }

    /// Waits until the app asked its sidecar to shut down (rpc `Shutdown`, `POST /v1.0/shutdown`). The sidecar goes on:
    /// it lives in this process, and whoever started it stops it.
    ///
    /// Cancel safe.
    pub async fn shutdown_asked(&self) {
        self.app.shutdown_asked.cancelled().await;
    }

    /// Stops the sidecar and waits until its last task and its listeners are gone.
    ///
    /// The app's actors are deactivated first: it is told while its sidecar still answers, and a call of an actor that is
    /// under way has the time that the app's configuration gives it. The app id is in use until then. Other calls and deliveries under way are cut; wait for
    /// [`Hub::settled`](super::Hub::settled) first where that matters.
    pub async fn stop(self) {
        let app = Arc::clone(&self.app);
        Host::drain(&app).await;
        drop(self);
        app.tasks.join().await;
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.app.hub.leave(&self.app);
        self.app.tasks.cancel();
    }
}
