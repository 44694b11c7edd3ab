//! Metrics: [`MetricsLayer`] records how long each call of a service took and what came of it.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_dapr::metrics::MetricsLayer;
//!
//! let app: Router = Router::new().route("/stock/{sku}", get(async || "12")).layer(MetricsLayer::server());
//! ```
//!
//! One histogram per kind of exchange, in seconds, by OpenTelemetry's semantic conventions 1.44:
//!
//! | exchange | instrument | attributes |
//! | --- | --- | --- |
//! | HTTP, inbound | `http.server.request.duration` | `http.request.method`, `url.scheme`, `http.route`, `http.response.status_code`, `network.protocol.version`, `error.type` |
//! | HTTP, outbound | `http.client.request.duration` | `http.request.method`, `server.address`, `server.port`, status, version, `error.type` |
//! | gRPC, outbound | `rpc.client.call.duration` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `server.address`, `server.port`, `error.type`; a call to Dapr: `dapr.building_block` and `dapr.component.name`, `dapr.app_id` or `dapr.actor.type` |
//! | gRPC, inbound | `rpc.server.call.duration` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `error.type` |
//!
//! Each call is counted once, when it has truly ended, cancelled and panicking calls included: see the
//! [contract](crate::observe#the-contract). Nothing that a stranger chooses becomes an attribute: an unknown method is
//! `_OTHER`, an unknown route or gRPC method is left out or `_OTHER`, the `Host` header is not read.

mod instruments;
mod layer;
mod recording;

pub use self::{layer::MetricsLayer, recording::MetricsRecording};
