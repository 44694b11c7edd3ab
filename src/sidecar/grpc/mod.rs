//! The gRPC API.

pub(super) mod actors;
pub(super) mod bindings;
pub(super) mod configuration;
mod invoke;
pub(super) mod jobs;
mod line;
pub(super) mod locks;
pub(super) mod metadata;
mod proxy;
pub(super) mod publish;
mod refused;
pub(super) mod reminders;
pub(super) mod secrets;
mod service;
pub(super) mod state;
mod status;
mod streaming;
mod wire;

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::dapr_server::DaprServer;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tower_service::Service as _;

use self::line::{Line, Watched};
use self::service::Service;
pub(super) use self::status::HttpFace;
pub(super) use self::wire::Caller;
use self::wire::Wire;
use super::app::App;
use super::listen;

/// daprd's `--max-body-size`, in bytes, for requests and for responses.
pub(super) const MAX_MESSAGE: usize = 4 << 20;

/// The most that HTTP/2 has: only the window of each stream limits what is sent.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Serves HTTP/2 without TLS.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>) {
    let tasks = app.tasks.clone();
    let server = DaprServer::new(Service::new(Arc::clone(&app)))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let service = Wire::new(server, app);
    listen::accept(listener, tasks.clone(), move |stream| {
        let mut connections = auto::Builder::new(tasks.clone()).http2_only();
        // gRPC in Go sends no date, and one call does not wait for the end, or for the reading, of others.
        connections.http2().auto_date_header(false).max_concurrent_streams(None);
        connections.http2().initial_connection_window_size(CONNECTION_WINDOW);
        let line = Line::default();
        let service = service.on(line.clone());
        // Made here and now, in the order of the streams; it is always ready.
        let service = service_fn(move |request| service.clone().call(request));
        async move {
            // A broken connection is the client's business.
            let _ = connections.serve_connection(TokioIo::new(Watched::new(stream, line)), service).await;
        }
    })
    .await;
}
