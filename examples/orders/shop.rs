//! The whole shop in one process: an embedded sidecar beside each service, and everything that they record.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{Router, extract::Request, middleware};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_sdk::trace::SimpleSpanProcessor;
use tokio::{net::TcpListener, task::JoinHandle};
use tower::{Layer, ServiceExt};
use tower_dapr::{
    metrics::MetricsLayer,
    observe::{Observe, ObserveLayer},
    outbound::{Dapr, Endpoint},
    sidecar::{Hub, RetryPolicy, Sidecar},
    telemetry::{Telemetry, TelemetryError},
    testing::{MetricRecorder, SpanRecorder},
    trace::TraceLayer,
};
use tracing::{Dispatch, instrument::WithSubscriber};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt};

use crate::{
    order::Order,
    services::{Service, observed},
};

/// How long an export may take.
const TIMEOUT: Duration = Duration::from_secs(3);

pub type BoxError = Box<dyn Error + Send + Sync>;

/// The shop's customers call it by HTTP, and are observed as well.
type Customer = Observe<Client<HttpConnector, Full<Bytes>>, (TraceLayer, MetricsLayer)>;

pub struct Shop {
    pub hub: Hub,
    pub spans: SpanRecorder,
    pub metrics: MetricRecorder,
    customer: Customer,
    orders: String,
    telemetry: Vec<Telemetry>,
    sidecars: Vec<Sidecar>,
    servers: Vec<JoinHandle<()>>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    Accepted,
    /// Not enough of it in stock.
    Refused,
    /// The status, and what the service said.
    Failed(u16, String),
}

impl Shop {
    /// Opens the shop. Telemetry is kept here, and exported as well if `OTEL_EXPORTER_OTLP_ENDPOINT` says where to.
    pub async fn open() -> Result<Self, BoxError> {
        let hub = Hub::builder()
            .state_store("statestore")
            .pubsub("pubsub")
            // Without a policy a refused event is gone, here as with daprd.
            .inbound_retry("pubsub", RetryPolicy::constant(Duration::from_millis(200)).max_retries(5))
            .build();
        let (spans, metrics) = (SpanRecorder::new(), MetricRecorder::new());
        let telemetry = recorded("customer", &spans, &metrics)?;
        let mut shop = Self {
            hub,
            spans,
            metrics,
            customer: customer(&telemetry),
            orders: String::new(),
            telemetry: vec![telemetry],
            sidecars: Vec::new(),
            servers: Vec::new(),
        };
        for service in Service::ALL {
            let address = shop.serve(service).await?;
            if service == Service::Order {
                shop.orders = format!("http://{address}/orders");
            }
        }
        for sidecar in &shop.sidecars {
            sidecar.ready().await;
        }
        Ok(shop)
    }

    async fn serve(&mut self, service: Service) -> Result<SocketAddr, BoxError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let sidecar = self.hub.app(service.app_id()).app_port(address.port()).start().await?;
        let telemetry = recorded(service.app_id(), &self.spans, &self.metrics)?;
        let builder = Dapr::builder().endpoint(Endpoint::local(sidecar.grpc_port()));
        let dapr = observed(builder, &telemetry).build()?;
        let app = with_own_subscriber(service.router(dapr, &telemetry, None)?, &telemetry);
        self.servers.push(tokio::spawn(async move {
            axum::serve(listener, app).await.expect("axum's server does not return errors");
        }));
        self.sidecars.push(sidecar);
        self.telemetry.push(telemetry);
        Ok(address)
    }

    /// Sends one order.
    pub async fn place(&self, order: &Order) -> Result<Placed, BoxError> {
        let request = axum::http::Request::post(&self.orders)
            .header("content-type", "application/json")
            .body(Full::from(serde_json::to_vec(order)?))?;
        let response = self.customer.clone().oneshot(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(match status {
            201 => Placed::Accepted,
            409 => Placed::Refused,
            _ => Placed::Failed(status, String::from_utf8_lossy(&body).into_owned()),
        })
    }

    /// Waits until every event has found its end, and all that was recorded is in the recorders. What could not be
    /// exported besides is told by [`close`](Self::close).
    pub async fn settled(&self) {
        self.hub.settled().await;
        join_all(self.telemetry.iter().map(|telemetry| telemetry.flush(TIMEOUT))).await;
    }

    /// Closes the shop.
    ///
    /// # Errors
    ///
    /// If what was recorded could not be exported.
    pub async fn close(self) -> Result<(), TelemetryError> {
        for sidecar in self.sidecars {
            sidecar.stop().await;
        }
        for server in self.servers {
            server.abort();
        }
        let shutdowns = self.telemetry.into_iter().map(|telemetry| telemetry.shutdown(TIMEOUT));
        join_all(shutdowns).await.into_iter().collect()
    }
}

/// Telemetry of one service, kept in the recorders.
fn recorded(name: &'static str, spans: &SpanRecorder, metrics: &MetricRecorder) -> Result<Telemetry, BoxError> {
    let telemetry = Telemetry::builder(name)
        .with_span_processor(SimpleSpanProcessor::new(spans.exporter(name)))
        .with_metric_exporter(metrics.exporter(name))
        .only_if_configured()
        .build()?;
    Ok(telemetry)
}

fn customer(telemetry: &Telemetry) -> Customer {
    let (mut trace, mut metrics) = (TraceLayer::client(), MetricsLayer::client());
    if let (Some(traces), Some(meters)) = (telemetry.tracer_provider(), telemetry.meter_provider()) {
        trace = trace.with_tracer_provider(traces);
        metrics = metrics.with_meter_provider(meters);
    }
    ObserveLayer::new((trace, metrics)).layer(Client::builder(TokioExecutor::new()).build_http())
}

/// Four services share this process, and each has a `tracing` subscriber of its own, so that the spans of its handlers
/// bear its name. A process of one service installs one globally, and needs nothing of this.
fn with_own_subscriber(app: Router, telemetry: &Telemetry) -> Router {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::WARN.into()).from_env_lossy();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let subscriber = Dispatch::new(tracing_subscriber::registry().with(telemetry.tracing_layer()).with(log));
    app.layer(middleware::from_fn(move |request: Request, next: middleware::Next| {
        next.run(request).with_subscriber(subscriber.clone())
    }))
}
