//! Deadlines: [`DeadlineLayer`] ends what is not over in time, and tells the server how much time it has.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
//! use tower::ServiceBuilder;
//! use tower_dapr::{
//!     deadline::DeadlineLayer,
//!     retry::{RetryLayer, RetryPolicy},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
//! let stack = ServiceBuilder::new()
//!     // The call: all attempts, and the waits between them.
//!     .layer(DeadlineLayer::per_call(Duration::from_secs(5)))
//!     .layer(RetryLayer::new(RetryPolicy::new()))
//!     // One attempt.
//!     .layer(DeadlineLayer::per_attempt(Duration::from_secs(2)))
//!     .service(channel);
//!
//! let mut request = tonic::Request::new(GetStateRequest { store_name: "statestore".into(), ..Default::default() });
//! // Sooner, for this call.
//! request.set_timeout(Duration::from_secs(1));
//! let failed = DaprClient::new(stack).get_state(request).await.unwrap_err();
//! assert_eq!(failed.code(), tonic::Code::DeadlineExceeded);
//! # Ok(())
//! # }
//! ```
//!
//! The deadline of a call is the earliest of: the layer's timeout, the caller's `grpc-timeout`, a [`Deadline`] in the
//! request's extensions. It travels inward as that extension and, for gRPC, as a `grpc-timeout` with what is left. It covers
//! the response to its last frame ([`ResponseBody`]). The layer's own timeout is not applied to Dapr's streams, which live
//! as long as they are read; a deadline that their caller asks for is.
//!
//! # What the caller sees
//!
//! The error [`DeadlineExceeded`], from the future or the body, as a boxed error like that of tower's timeout. It has a
//! `tonic::Status` as its source, by which tonic's generated clients come to `Code::DeadlineExceeded` (a channel alone makes
//! `CANCELLED` of its own timeouts), and below it the failure of the last attempt. A retry that could not come in time is
//! reported so too, at once.
//!
//! # Cancel safety
//!
//! The inner future or body is dropped with the outer one. When time has run out, the server may still be at work.

mod body;
mod error;
mod future;
mod header;
mod layer;
mod service;
mod value;

pub use self::{
    body::ResponseBody,
    error::{DeadlineExceeded, LastFailure},
    future::ResponseFuture,
    header::{GRPC_TIMEOUT, grpc_timeout, parse_grpc_timeout},
    layer::DeadlineLayer,
    service::WithDeadline,
    value::Deadline,
};
