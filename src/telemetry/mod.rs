//! Setting up OpenTelemetry with OTLP export: an optional helper, no layer needs it.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use tower_dapr::telemetry::Telemetry;
//!
//! # async fn serve() {}
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::builder("order").install()?;
//! serve().await;
//! telemetry.shutdown(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Environment
//!
//! The variables of the OpenTelemetry specification. Unset and empty are the same.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `OTEL_SDK_DISABLED` | `true`: nothing is recorded, nothing is exported |
//! | `OTEL_SERVICE_NAME` | wins over the name given here; so does a `service.name` in `OTEL_RESOURCE_ATTRIBUTES` |
//! | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `otlp` (default) or `none` |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT`, `.._PROTOCOL`, `.._HEADERS`, `.._TIMEOUT`, `.._COMPRESSION`, and per signal | where to and how; read by the exporter. `grpc` and `http/protobuf` (default) are built in; `gzip` with feature `gzip`, an `https` endpoint with feature `tls` and protocol `grpc` |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | read by the SDK; default `parentbased_always_on` |
//! | `OTEL_BSP_*`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SPAN_*_LIMIT` | read by the SDK |
//! | `RUST_LOG` | what [`install`](Builder::install) shows on standard error, default `info,opentelemetry=warn` |
//!
//! # Shutdown
//!
//! [`Telemetry::shutdown`] exports what is left and never takes longer than it is told to, also on a runtime of one thread
//! and with a collector that hangs. Dropping [`Telemetry`] without it loses what was not exported yet, and says so.

mod builder;
mod env;
mod error;

pub use self::{
    builder::{Builder, Telemetry},
    error::TelemetryError,
};
