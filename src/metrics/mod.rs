//! Metrics: [`MetricsLayer`] records how long each call of a service took and what came of it.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_dapr::metrics::MetricsLayer;
//!
//! let app: Router = Router::new().route("/stock/{sku}", get(async || "12")).layer(MetricsLayer::server());
//! ```
//!
//! # What is recorded
//!
//! One duration per kind of exchange, in seconds, by OpenTelemetry's semantic conventions 1.44:
//!
//! | exchange | instrument | attributes |
//! | --- | --- | --- |
//! | HTTP, inbound | `http.server.request.duration` | `http.request.method`, `url.scheme`, `http.route`, `http.response.status_code`, `network.protocol.version`, `error.type` |
//! | HTTP, outbound | `http.client.request.duration` | `http.request.method`, `server.address`, `server.port`, status, version, `error.type` |
//! | gRPC, outbound | `rpc.client.call.duration` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `server.address`, `server.port`, `error.type`; a call to Dapr: `dapr.building_block` and `dapr.component.name`, `dapr.app_id` or `dapr.actor.type` |
//! | gRPC, inbound | `rpc.server.call.duration` | `rpc.system.name`, `rpc.method`, `rpc.response.status_code`, `error.type` |
//!
//! beside `http.server.active_requests` (by method and scheme) and, [if asked for](MetricsLayer::with_body_sizes), the
//! sizes of HTTP bodies.
//!
//! Calls to Dapr have instruments of their own, read off the wire by the client's layer:
//!
//! | instrument | unit | what | attributes |
//! | --- | --- | --- | --- |
//! | `dapr.service_invocations`, `dapr.invocation_duration` | `{invocation}`, `ms` | `InvokeService` | `dapr.app_id`, `error.type` |
//! | `dapr.state_operations`, `dapr.state_duration` | `{operation}`, `ms` | calls of state stores | `dapr.component.name`, `rpc.method`, `error.type` |
//! | `dapr.pubsub_published` | `{message}` | publishes; a bulk counts its entries, up to 10,000 | `dapr.component.name`, `messaging.destination.name`, `error.type` |
//! | `dapr.errors` | `{error}` | failed calls | `dapr.building_block`, the name as above, `error.type` |
//! | `dapr.component.health` | 1 or 0 | did the last call show the component working? | `dapr.component.name` |
//!
//! A component is shown broken by `UNKNOWN`, `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `INTERNAL`, `UNAVAILABLE` and
//! `DATA_LOSS`, and working by `OK` and answers that only it can give (`NOT_FOUND`, `ALREADY_EXISTS`, `ABORTED`,
//! `OUT_OF_RANGE`). All others leave the gauge as it is: such a call may never have reached the component. The sidecar
//! itself is the series with `dapr.building_block` = `health`; it is known if somebody polls `GetMetadata`, or
//! `/v1.0/healthz` through a client's layer.
//!
//! # Truth
//!
//! Each call is counted once, when it has truly ended, cancelled and panicking calls included: see the
//! [contract](crate::observe#the-contract).
//!
//! Nothing that a stranger chooses becomes an attribute without bound: an unknown method is `_OTHER`, the `Host` header
//! is not read, an error's text is no label, and of the names that come from the wire only the first
//! [24 of each kind](MetricsLayer::with_max_names) are told apart. A server's gRPC method outside of Dapr's own counts
//! under its name once its handler has answered it.
//!
//! # Cost
//!
//! A kind of call is looked up by numbers in a table that only grows, has a fixed size and is read without a lock; its
//! attributes were put together when it was first seen. With the feature `bound-instruments` they are resolved to their
//! series as well. No call allocates for its measurement but: one with
//! [attributes of its request](MetricsLayer::with_request_attributes), one whose
//! [body sizes](MetricsLayer::with_body_sizes) are measured, a publish, a stream to Dapr, a server's gRPC method that is not
//! known yet, and calls beyond 1,024 kinds.

mod active;
mod dapr;
mod instruments;
mod key;
mod layer;
mod recording;
mod series;
mod shared;

pub use self::{layer::MetricsLayer, recording::MetricsRecording};
