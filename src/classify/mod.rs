//! What a result means: did the call succeed, with which status, and what is its `error.type`.
//!
//! A layer that looks at response heads only is wrong about gRPC: the result of a gRPC call is in the trailers, and a
//! failing daprd answers with a head that says nothing (`200`, no `grpc-status`) and then trailers. So a result is
//! classified in two steps: [`Classifier::head`] when the head arrives, [`Classifier::trailers`] when the trailers do,
//! and [`Classifier::finish`] once, when the exchange has come to its end, whatever that end was.
//!
//! ```
//! use http::{HeaderMap, HeaderValue, StatusCode};
//! use tower_dapr::classify::{Classifier, Ending, Protocol, Side};
//!
//! let mut call = Classifier::new(Protocol::Grpc, Side::Client);
//! call.head(StatusCode::OK, &HeaderMap::new()); // says nothing yet
//! let mut trailers = HeaderMap::new();
//! trailers.insert("grpc-status", HeaderValue::from_static("14"));
//! call.trailers(&trailers);
//!
//! let outcome = call.finish(Ending::Complete);
//! assert_eq!(outcome.grpc_code(), Some(tonic::Code::Unavailable));
//! assert_eq!(outcome.error_type(), Some("UNAVAILABLE"));
//! ```
//!
//! The rules are OpenTelemetry's semantic conventions 1.44 (HTTP spans: *Status*; gRPC: *Status code mapping*) and
//! gRPC's HTTP/2 status mapping.

mod code;
mod failure;
mod outcome;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    code::is_server_error,
    failure::{as_dyn_error, chain, was_waiting},
};
pub use self::{
    code::{code_name, http_status_text},
    failure::Failure,
    outcome::{Classifier, Ending, Outcome, Protocol, Side},
};
