//! Retry: [`RetryLayer`] sends again what failed, where that is safe, worth it, and paid for.
//!
//! ```no_run
//! use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
//! use tower::ServiceBuilder;
//! use tower_dapr::retry::{RetryLayer, RetryPolicy};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
//! let stack = ServiceBuilder::new().layer(RetryLayer::new(RetryPolicy::from_env()?)).service(channel);
//!
//! // The sidecar may be restarting: this is a read, so it is tried again.
//! let request = GetStateRequest { store_name: "statestore".into(), key: "order-1".into(), ..Default::default() };
//! DaprClient::new(stack).get_state(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It works the same around a client of plain HTTP:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt};
//! use tower_dapr::retry::{RetryLayer, RetryPolicy};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let client = tower::service_fn(async |_: Request<Full<Bytes>>| {
//!     Ok::<_, std::io::Error>(Response::builder().status(503).body(Full::new(Bytes::new())).unwrap())
//! });
//! let request = Request::get("http://shop/stock").body(Full::default()).unwrap();
//! // Three attempts, and then what the last one said.
//! let response = RetryLayer::new(RetryPolicy::new()).layer(client).oneshot(request).await.unwrap();
//! assert_eq!(response.status(), 503);
//! # }
//! ```
//!
//! # What is sent again
//!
//! Two things decide: what the failure proves, and what a second execution would do. The latter is known from
//! [Dapr's table](crate::rpc), from the request itself (an etag makes a state write conditional) and, for plain HTTP, from
//! the method, where Dapr's HTTP API takes it as HTTP means it: not in a publish, a binding or an actor's method. A
//! policy or a call can say otherwise: [`RetryPolicy::with_safety`], [`Idempotent`], [`NotIdempotent`].
//!
//! | call | never handled¹ | `UNAVAILABLE`, 502, 503 | `DEADLINE_EXCEEDED`, 408, 504 | `RESOURCE_EXHAUSTED`, 429² |
//! | --- | --- | --- | --- | --- |
//! | reads; `GET`, `HEAD`, `OPTIONS`, `TRACE` | yes | yes | yes | yes |
//! | idempotent writes; `PUT`, `DELETE` | yes | yes | yes | yes |
//! | conditional writes: etag, first-write, "do not overwrite", `If-Match` | yes | opt-in³ | opt-in³ | yes |
//! | publish | yes | opt-in⁴ | opt-in⁴ | opt-in⁴ |
//! | invocation, bindings, actors, locks, ..; `POST`, `PATCH`; methods of other services | yes | opt-in⁵ | opt-in⁵ | opt-in⁵ |
//! | server streams | yes, before the response head | no | no | no |
//! | client and bidirectional streams; `Shutdown` | no | no | no | no |
//!
//! 1. No connection; one that closed while the request was waiting to be sent; a stream that the server refused
//!    (`REFUSED_STREAM`, or above the last one of its `GOAWAY`). The latter two are repeated once at once and for free, as
//!    gRFC A6 has it, before the policy is asked; but not while the [`Budget`] is empty, so that a server which refuses
//!    everything is not asked for everything twice.
//! 2. After at least one second, if the server does not say how long. Not if the message is too large.
//! 3. [`RetryPolicy::repeat_conditional_writes`]. 4. [`RetryPolicy::at_least_once_publish`].
//!    5. [`Idempotent`], [`RetryPolicy::with_safety`], [`RetryPolicy::invoke_verbs`].
//!
//! No other result is tried again. `INTERNAL` is for reads by [option](RetryPolicy::repeat_internal_errors_of_reads).
//! daprd's `UNAVAILABLE` for what is a matter of its configuration is not, and neither is the answer 503 of an app that was
//! [invoked](RetryPolicy::repeat_app_unavailable).
//!
//! The status of a unary call may be in the trailers: daprd's errors come behind a head that says nothing. So one frame of
//! a unary response is waited for; if it is trailers, the caller has seen nothing and the call may be tried again. gRFC A6
//! to the letter would call it committed at the head: [`RetryPolicy::with_strict_a6`].
//!
//! # How often, and when
//!
//! 3 attempts, or one more than `DAPR_API_MAX_RETRIES`; waits by [`Backoff`], or as the server says (`grpc-retry-pushback-ms`,
//! `google.rpc.RetryInfo`, `Retry-After`); within the [`Budget`]; never past the call's
//! [`Deadline`](crate::deadline::Deadline), which is also written into each attempt's `grpc-timeout`. A retry that finds the
//! inner service not ready gives up. Whatever ends the attempts, the caller gets the last result.
//!
//! daprd retries too: what a `Resiliency` resource says, and three times between sidecars. Total attempts multiply. Where
//! such a resource covers a component or an app, leave its calls to it: `with_safety(path, Safety::Never)`, or
//! `DAPR_API_MAX_RETRIES=0`.
//!
//! # The bodies
//!
//! The request's body is remembered while it is sent, up to 256 KiB, and shared with the attempts, not copied
//! ([`ReplayableBody`]). A longer one is sent once. The attempt that a retry takes the place of is aborted: its body ends with
//! [`Superseded`]. A call that can never be tried again passes through: nothing is boxed, buffered or cloned. For one that
//! can, nothing is boxed before its first attempt has failed.
//!
//! # What is recorded
//!
//! | instrument | unit | what | attributes |
//! | --- | --- | --- | --- |
//! | `dapr.client.attempts` | `{attempt}` | attempts of calls that could be tried again | `rpc.method`; of a failed one `rpc.response.status_code` (HTTP: `error.type`) and `dapr.component.name` (or app id, or actor type) |
//! | `dapr.client.retries` | `{retry}` | retries of a call that had any | `rpc.method` |
//! | `dapr.client.retry.delay` | `s` | the waits | as of a failed attempt |
//! | `dapr.client.retry.budget.exhausted` | `{call}` | calls that were not tried again for want of budget | the same |
//!
//! Around a handler their names begin with `dapr.server`. The current span gets an event `dapr.retry` per retry. A
//! [`TraceLayer`](crate::trace::TraceLayer) *outside* makes the span of the call; a second one *inside*, with the filter
//! [`is_retry`], gives each retry a span of its own below it, whose id goes out on the wire.
//!
//! # Inbound
//!
//! The same layer around the handlers of subscriptions, with [`InboundRetry`]: an answer that asks for the event again, or
//! a 5xx, runs the handler again before it is given to the sidecar. Over gRPC this holds for `OnTopicEvent`, where a
//! status such as `UNAVAILABLE` is what a 5xx is ([`asks_for_retry`]); bulk deliveries, bindings, jobs, invocations and
//! the app's own services pass through.
//!
//! ```
//! use axum::{Router, routing::post};
//! use tower_dapr::retry::{InboundRetry, RetryLayer};
//!
//! let app: Router = Router::new()
//!     .route("/orders", post(async || "done"))
//!     .layer(RetryLayer::inbound(InboundRetry::new()));
//! ```
//!
//! Whatever is inside runs again, an HTTP route of your own that answers 5xx among it: put the layer around the router
//! of the subscriptions before others are merged into it.
//!
//! This is worth having because `RETRY` is not redelivery: without a `Resiliency` resource, daprd 1.18 acknowledges a refused
//! message to Redis or to the in-memory broker, and the message is gone. What it costs:
//!
//! * *Order.* The event waits in the app while others overtake it, if the broker delivers several at a time.
//! * *The broker's patience.* It sees one long delivery. Let [`within`](InboundRetry::within) be well below the time after
//!   which it takes the consumer for dead and delivers to another (`processingTimeout` of `pubsub.redis`: 15 s) and below a
//!   timeout of the `Resiliency` resource.
//! * *Shutdown.* A delivery that waits here ends with the app, unanswered; the broker delivers it again, or not.
//!
//! A handler that must not run twice is left out by [`except`](InboundRetry::except). Each run is a call of the inner
//! service: a layer inside makes a span for each of them.
//!
//! # Cancel safety
//!
//! Dropping the response future at any point ends the call: nothing more is sent, and a retry that was granted but not sent
//! goes back to the budget.

mod attempt;
mod backoff;
mod body;
mod budget;
mod call;
mod evidence;
mod future;
mod inbound;
mod instruments;
mod kept;
mod layer;
mod policy;
mod proto;
mod pushback;
mod random;
mod replay;
mod retried;
mod safety;
mod service;

pub use self::{
    backoff::Backoff,
    body::ResponseBody,
    budget::Budget,
    future::ResponseFuture,
    inbound::{InboundRetry, asks_for_retry},
    layer::RetryLayer,
    policy::RetryPolicy,
    replay::{Replay, ReplayBody, ReplayableBody, Superseded},
    retried::{Retried, is_retry},
    safety::{Idempotent, NotIdempotent},
    service::Retry,
};
