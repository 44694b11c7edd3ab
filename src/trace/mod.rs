//! Spans: [`TraceLayer`] records each call of a service as an OpenTelemetry span and carries its context along.
//!
//! On the outbound side the span's context goes into the request's headers (`traceparent`, `tracestate`, `baggage`); on
//! the inbound side the caller's context is read from them and becomes the parent. It works on any
//! `Service<http::Request<B>>`: a tonic channel or server, an axum router, a hyper client.
//!
//! ```no_run
//! use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
//! use tower::ServiceBuilder;
//! use tower_dapr::trace::TraceLayer;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
//! let traced = ServiceBuilder::new()
//!     .layer(TraceLayer::client().with_server_address("127.0.0.1", 50001))
//!     .service(channel);
//!
//! // No line at the call site: this is a span of kind CLIENT with `dapr.building_block` = `state` and
//! // `dapr.component.name` = `statestore`, child of whatever span is current.
//! let request = GetStateRequest { store_name: "statestore".into(), key: "order-1".into(), ..Default::default() };
//! DaprClient::new(traced).get_state(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! and on the other side, inside the router, where the route is known:
//!
//! ```
//! use axum::{Router, routing::post};
//! use tower_dapr::trace::TraceLayer;
//!
//! let app: Router = Router::new().route("/orders", post(async || "taken")).layer(TraceLayer::server());
//! ```
//!
//! # What is recorded
//!
//! OpenTelemetry's semantic conventions 1.44 for RPC and HTTP spans, and for messaging on a publish:
//!
//! | exchange | name | kind |
//! | --- | --- | --- |
//! | gRPC call | `dapr.proto.runtime.v1.Dapr/GetState` | CLIENT / SERVER |
//! | publish | `publish orders`; `publish_bulk orders`, which says how many messages it has | PRODUCER |
//! | HTTP, inbound | `POST /orders/{id}`; the method alone if the route is not known | SERVER |
//! | HTTP, outbound | `POST` | CLIENT |
//!
//! A server's gRPC method outside of Dapr's own is `grpc`, with `rpc.method` = `_OTHER`, until its handler has answered a
//! call: what nobody has is not a name. A client's HTTP version is that of the answer.
//!
//! A call to Dapr says which building block, component, target app or actor type it is for. Payloads and tokens are never
//! recorded. An HTTP span has path, query (secrets in it redacted) and user agent; other headers only if they are
//! [listed](TraceLayer::with_request_headers). A failed call's span has the message of the answer, which may name a key,
//! unless [told otherwise](TraceLayer::with_error_messages).
//!
//! A span ends when the exchange has truly ended, see the [contract](crate::observe#the-contract); its status follows
//! [`Outcome::error_type`](crate::classify::Outcome::error_type).
//!
//! # `tracing`
//!
//! Spans are made through the OpenTelemetry API: the span's context is current while the inner service runs.
//! tracing-opentelemetry takes the current context as the parent, so a handler's `#[instrument]` span is a child of the
//! request's span, and a call made inside it is a child of that.
//!
//! # Cancel safety
//!
//! Dropping the response future or body ends the span, with `error.type` saying so.

mod console;
mod headers;
mod layer;
mod messages;
mod recording;
mod start;

/// The target of the spans that the layer makes with `tracing`.
pub(crate) const TARGET: &str = "tower_dapr::request";

pub use self::{
    headers::SecretHeader,
    layer::TraceLayer,
    recording::{TraceRecording, TraceScope},
};
