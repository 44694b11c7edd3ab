//! CloudEvents on the way in: [`CloudEventLayer`] decodes an event and records its processing as a span.
//!
//! It stands around the service that handles events. A request with `content-type: application/cloudevents+json` is read
//! and decoded; the [`CloudEvent`] goes into the request's extensions, and the body can still be read. Every other request
//! passes untouched.
//!
//! ```
//! use axum::{Extension, Router, body::Body, routing::post};
//! use http::{Request, StatusCode, header::CONTENT_TYPE};
//! use tower::ServiceExt;
//! use tower_dapr::{cloudevent::CloudEventLayer, event::CloudEvent};
//!
//! async fn handler(Extension(event): Extension<CloudEvent>) {
//!     assert_eq!(event.id(), Some("7"));
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Router::new().route("/orders", post(handler)).layer(CloudEventLayer::new());
//!
//! let request = Request::post("/orders")
//!     .header(CONTENT_TYPE, "application/cloudevents+json")
//!     .body(Body::from(r#"{"specversion":"1.0","id":"7","source":"shop","type":"order.paid.v1","data":{}}"#))?;
//! assert_eq!(app.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! A single event in structured mode and JSON is what is decoded. Batches pass as they are; a message in the broker's own
//! binary mode, whose bare bytes daprd delivers under the same content type, is not decoded yet.
//!
//! # An event that cannot be taken
//!
//! It does not reach the inner service. What cannot be decoded today cannot be decoded tomorrow, so the answer keeps Dapr
//! from delivering it for ever; a warning names the reason, and nothing that was in the event.
//!
//! | the body | answer |
//! | --- | --- |
//! | cannot be decoded, see [what is accepted](crate::event#what-is-accepted) | `DROP`, or as [`on_undecodable`](CloudEventLayer::on_undecodable) says |
//! | is longer than [`Limits::bytes`](crate::event::Limits::bytes), declared or not | the same |
//! | does not arrive whole within the [read timeout](CloudEventLayer::with_read_timeout) | `RETRY` |
//! | breaks off | `RETRY` |
//!
//! The answer has status 200, as Dapr asks for: a 4xx or 5xx means "try again".
//!
//! # The span
//!
//! OpenTelemetry's conventions 1.44 for messaging and for CloudEvents: `process {topic}`, of kind CONSUMER, child of the
//! current span (that of the HTTP request), with a link to the context in which the event was created. It is current while
//! the inner service runs, and ends when the response has truly ended. `error.type` is
//!
//! * `RETRY` or `DROP`, if the inner service answered with such an [`Outcome`](crate::event::Outcome),
//! * else the status code of an answer other than 2xx, for which Dapr tries again (for 404: drops),
//! * `panic`, `cancelled` or the failure, if there was no whole answer.
//!
//! Data is never recorded.
//!
//! # Cancel safety
//!
//! Dropping the response future stops reading, or ends the span with `error.type` = `cancelled`.
//!
//! # Panics
//!
//! The future panics outside of a tokio runtime with time enabled, if it has to wait for the body.
//!
//! [`CloudEvent`]: crate::event::CloudEvent

mod body;
mod future;
mod layer;
mod log;
mod mode;
mod process;
mod read;
mod service;

pub use self::{
    body::ResponseBody,
    future::ResponseFuture,
    layer::CloudEventLayer,
    process::{Process, ProcessRecording},
    service::CloudEventService,
};
pub(crate) use self::{
    body::respond,
    log::Printable,
    mode::is_structured,
    read::{READ_TIMEOUT, receive},
};
