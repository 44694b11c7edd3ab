use std::{net::SocketAddr, time::Duration};

use axum::Router;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_dapr::telemetry::Telemetry;

use super::Stack;

/// An axum app of the test itself, on a port of its own.
pub struct App {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl App {
    pub async fn serve(router: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::free_port())).await.unwrap();
        Self::on(listener, router)
    }

    /// Listens first, and serves what needs to know the port.
    pub fn on(listener: TcpListener, router: Router) -> Self {
        let address = listener.local_addr().unwrap();
        Self { address, task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }) }
    }

    /// One that is served already, until it is dropped.
    pub fn served(address: SocketAddr, task: JoinHandle<()>) -> Self {
        Self { address, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Telemetry of an app of the test itself, whose spans go where those of the stack's daprds go.
pub fn telemetry(service: &'static str, stack: &Stack) -> Telemetry {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(stack.otlp_endpoint()).build().unwrap();
    let often = BatchConfigBuilder::default().with_scheduled_delay(Duration::from_millis(200)).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(often).build();
    Telemetry::builder(service).with_span_processor(processor).only_if_configured().build().unwrap()
}
