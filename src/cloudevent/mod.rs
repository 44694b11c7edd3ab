//! CloudEvents on the way in: [`CloudEventLayer`] decodes events, and records and counts their processing.
//!
//! It stands around the service that handles events. A request that holds events is read and decoded; what was decoded
//! goes into the request's extensions, and the body can still be read. Every other request passes untouched.
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
//! # What is decoded
//!
//! | request | in the extensions |
//! | --- | --- |
//! | `content-type: application/cloudevents+json`: structured mode | [`CloudEvent`] |
//! | the same, but the body is bare data, and the attributes are in headers `ce_..`: how daprd hands on what a broker had in its own binary mode | [`CloudEvent`] |
//! | headers `ce-specversion`, `ce-id`, `ce-source` and `ce-type`: binary mode | [`CloudEvent`] |
//! | `application/cloudevents-batch+json`: a batch | [`Batch`] |
//! | `application/json` with a header `pubsubname`, and an object with `entries`: Dapr's bulk delivery | [`Batch`] |
//!
//! A raw payload is one of these: daprd wraps it. Whether its bytes are JSON is [for you to
//! say](CloudEventLayer::with_json_octets).
//!
//! Dapr wants an outcome for each entry of a bulk delivery, and delivers again what is not named. An inner service that
//! answers with one [`Outcome`](crate::event::Outcome) or an empty body means all of them, and the layer says so;
//! [`Bulk`](crate::inbound::Bulk) is for those that tell them apart.
//!
//! # An event that cannot be taken
//!
//! It does not reach the inner service. What cannot be decoded today cannot be decoded tomorrow, so the answer keeps Dapr
//! from delivering it for ever; a warning names the reason, and nothing that was in the event.
//!
//! | the body | answer |
//! | --- | --- |
//! | cannot be decoded, see [what is accepted](crate::event#what-is-accepted) | `DROP`, or as [`on_undecodable`](CloudEventLayer::on_undecodable) says |
//! | is compressed: a layer outside, such as tower-http's `RequestDecompressionLayer`, makes it plain, and the limits count what comes out of it | the same |
//! | is longer than [`Limits::bytes`](crate::event::Limits::bytes), declared or not; the rest of it is read first, for at most a second and 16 MiB, since Dapr takes a connection that is closed while it sends for a failure | the same |
//! | does not arrive whole within the [read timeout](CloudEventLayer::with_read_timeout) | `RETRY` |
//! | breaks off | `RETRY` |
//! | is a bulk delivery, and longer than [`Limits::bulk_bytes`](crate::event::Limits::bulk_bytes), of more than [`Limits::entries`](crate::event::Limits::entries), or compressed | a status for no entry: Dapr tries all of them again and, if the resiliency policy gives up, sends them to the dead letter topic. A 404 would acknowledge them all |
//! | is a batch, some events of which cannot be decoded | the inner service gets the others |
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
//! Data is never recorded. For a batch there is one span, with a link to each event's context and
//! `messaging.batch.message_count`; what the events do not have in common is left out.
//!
//! # Metrics
//!
//! | instrument | counts | attributes |
//! | --- | --- | --- |
//! | `dapr.pubsub_consumed`, `{message}` | events that were delivered, whatever came of them | `dapr.pubsub.status` (`SUCCESS`, `RETRY`, `DROP`: as Dapr takes the answer), `error.type` |
//! | `messaging.process.duration`, `s` | deliveries that reached the inner service | `error.type` |
//!
//! Both have `messaging.system`, `messaging.operation.name` and, if the layer was [told](CloudEventLayer::with_destination),
//! `messaging.destination.name` and `dapr.component.name`. `error.type` is that of the span; for an event that did not reach
//! the inner service it is `decode_error`, `too_large`, `timeout`, `broken_body`, or `cancelled` if the client went away.
//!
//! # Cancel safety
//!
//! Dropping the response future stops reading, or ends the span with `error.type` = `cancelled`.
//!
//! # Panics
//!
//! The future panics outside of a tokio runtime with time enabled, if it has to wait for the body.
//!
//! [`Batch`]: crate::event::Batch
//! [`CloudEvent`]: crate::event::CloudEvent

mod body;
mod count;
mod destination;
mod discard;
mod future;
mod layer;
mod log;
mod mode;
mod process;
mod read;
mod service;
mod subject;
mod verdict;

pub use self::{
    body::ResponseBody,
    count::{ProcessMetrics, ProcessMetricsRecording},
    future::ResponseFuture,
    layer::CloudEventLayer,
    process::{Process, ProcessRecording},
    service::CloudEventService,
};
pub(crate) use self::{
    body::{respond, respond_bulk},
    discard::{PATIENCE, poll_discard},
    future::{Misfits, OnUndecodable},
    log::Printable,
    mode::{Decoded, Message, Mode},
    process::end_span,
    read::read,
    subject::Subject,
};
