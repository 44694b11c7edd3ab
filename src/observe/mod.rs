//! Watches one exchange to its true end: head, frames, trailers, error, or drop.
//!
//! Tracing and metrics need the same life cycle, so it is written once, here. [`ObserveLayer`] puts an [`Observer`]
//! around any `Service<http::Request<B>>`; the observer decides per call whether it wants it, and if so gets a
//! [`Recording`] that is told what happens. [`TraceLayer`](crate::trace::TraceLayer) and
//! [`MetricsLayer`](crate::metrics::MetricsLayer) are observers; a tuple of two is an observer as well, so that both
//! share one body wrapper, one clock and one look at the request.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//!
//! use tower_dapr::{
//!     classify::Side,
//!     observe::{Call, End, ObserveLayer, Observer, Recording, ResponseHead},
//! };
//!
//! /// Counts the calls that went wrong.
//! #[derive(Clone, Debug, Default)]
//! struct Errors(Arc<AtomicU64>);
//!
//! impl Observer for Errors {
//!     type Recording = Self;
//!
//!     fn side(&self) -> Side {
//!         Side::Server
//!     }
//!
//!     fn begin(&self, _call: &mut Call<'_>) -> Option<Self> {
//!         Some(self.clone())
//!     }
//! }
//!
//! impl Recording for Errors {
//!     type Scope = ();
//!
//!     fn enter(&self) {}
//!
//!     fn end(self, end: &End<'_>) {
//!         if end.outcome.is_error() {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use tower::{Layer, ServiceExt};
//!
//! let errors = Errors::default();
//! let service = ObserveLayer::new(errors.clone()).layer(tower::service_fn(async |_: http::Request<String>| {
//!     Err::<http::Response<String>, _>(std::io::Error::other("no"))
//! }));
//! service.oneshot(http::Request::new(String::new())).await.unwrap_err();
//! assert_eq!(errors.0.load(Ordering::Relaxed), 1);
//! # }
//! ```
//!
//! # The contract
//!
//! * A call whose `begin` gave a recording (that [listens](Recording::is_listening)) has exactly one `end`, whatever happens: an answer, an error, trailers, a
//!   future dropped before the head, a body dropped half-way, a panic in `call`, in the future or in the body.
//! * `end` comes as soon as nothing can follow: at gRPC trailers, at a head that is the whole answer, at the last frame
//!   (also if the reader never asks for the `None` after it), at an error, or at the drop.
//! * The inner service is called, and its future and body are polled, inside the recording's [`scope`](Recording::enter).
//!   A scope never outlives a poll, so futures that run in turn on one thread do not see each other's.
//! * Errors pass through untouched. Nothing is boxed or cloned, and a call that no observer wants is not wrapped at all.
//!
//! # Dapr calls
//!
//! An outbound gRPC request to daprd is looked up in the [table of its rpcs](crate::rpc), and the names of component and
//! topic are read from the first message if the body has it ready when the call is made, which a unary call's body
//! always has. This reads, it never waits, and it cannot fail the call. Of a stream whose first message comes later the
//! names are read as it passes: they are on the span and in the metrics, but a sampler and the span's name do not know
//! them.
//!
//! # Routes
//!
//! A server's route is axum's matched path, which exists inside of the router only. A layer that stands outside, around
//! the whole router, is told by a [`RouteLayer`] inside: with the head of the response.

mod body;
mod future;
mod hook;
mod layer;
mod observer;
mod peek;
mod route;
mod service;
mod watch;

pub(crate) use self::hook::{Attributes, Filter, Hook};
pub use self::{
    body::ResponseBody,
    future::ResponseFuture,
    layer::ObserveLayer,
    observer::{Call, End, Observer, Recording, RequestWatch, ResponseHead},
    route::{Route, RouteFuture, RouteLayer},
    service::Observe,
};
