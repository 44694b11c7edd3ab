//! Circuit breaker: [`BreakerLayer`] stops calling a component or app that keeps failing, for a while.
//!
//! ```no_run
//! use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
//! use tower::ServiceBuilder;
//! use tower_dapr::{
//!     breaker::{BreakerLayer, BreakerPolicy},
//!     retry::{RetryLayer, RetryPolicy},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
//! let stack = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::new()))
//!     // Inside the retries: it counts every attempt, and ends them when it opens.
//!     .layer(BreakerLayer::new(BreakerPolicy::consecutive(5)))
//!     .service(channel);
//!
//! let request = GetStateRequest { store_name: "statestore".into(), key: "order-1".into(), ..Default::default() };
//! // After five failures in a row: UNAVAILABLE at once, for this store only.
//! DaprClient::new(stack).get_state(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each target has a breaker of its own, known from the wire: see [`BreakerLayer::with_target`]. It is *closed* until its
//! [policy](BreakerPolicy) trips, then *open*, then *half-open*: a few calls try, and decide.
//!
//! A call is judged when it is truly over, trailers included ([`observe`](crate::observe)). These count as failures: errors
//! of the transport; `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL` (daprd's answer to most failures of components),
//! `RESOURCE_EXHAUSTED`, `UNKNOWN` (its answer when an invoked app fails), `DATA_LOSS`; HTTP 5xx and 429. Any other
//! answer is a success. A call that its caller gave up says nothing. A stream of Dapr's that tries while the breaker is
//! half-open has succeeded with its first message: it may live for days.
//!
//! Refused calls fail with [`BreakerOpen`], which retries do not repeat.
//!
//! # Why not an existing one
//!
//! `tower-resilience-circuitbreaker` 0.14.0 (September 2026) keeps to tower's readiness contract, but judges the `Result` of
//! the response future: of a failing daprd that is an empty head, so it would never open. It has one circuit per service
//! where a sidecar needs one per component, takes an async lock and boxes a future per call, and measures on the system's
//! clock. tower itself has none.

mod circuit;
mod error;
mod gate;
mod layer;
mod policy;
mod recording;
mod targets;

pub use self::{
    error::BreakerOpen,
    gate::{Gate, ResponseFuture},
    layer::{Breaker, BreakerLayer},
    policy::BreakerPolicy,
    recording::BreakerRecording,
};
