//! How trace context travels: in the headers of a request and in the envelope of an event.
//!
//! ```
//! use http::{HeaderMap, HeaderValue};
//! use opentelemetry::Context;
//! use opentelemetry::trace::TraceContextExt;
//! use tower_dapr::propagation::{Propagation, TRACEPARENT};
//!
//! let propagation = Propagation::w3c();
//!
//! // Inbound: the caller's span becomes the parent of ours.
//! let mut request = HeaderMap::new();
//! let caller = "00-11111111111111111111111111111111-2222222222222222-01";
//! request.insert(TRACEPARENT, HeaderValue::from_static(caller));
//! let cx = propagation.extract_http(&request, &Context::new());
//! assert!(cx.span().span_context().is_remote());
//!
//! // Outbound: whatever span the context holds is written, replacing what stood there.
//! let mut outgoing = HeaderMap::new();
//! propagation.inject(&cx, &mut outgoing);
//! assert_eq!(outgoing[TRACEPARENT], caller);
//! ```
//!
//! # What is read
//!
//! [`extract_http`] and [`extract_grpc`] read strictly by [W3C Trace Context] and [W3C Baggage], and return the given
//! context unchanged when the headers say nothing that can be used. Nothing is logged: a sender could flood the log.
//!
//! | header | HTTP | gRPC |
//! | --- | --- | --- |
//! | `traceparent` | exactly one, or the trace starts anew | several are allowed if all are valid and of one trace: the last wins, because daprd appends its own when it proxies a call |
//! | `grpc-trace-bin` | not read | read when `traceparent` gives nothing |
//! | `tracestate` | with a valid `traceparent` only; all headers, in order | the same |
//! | `baggage` | the first 64 members and 8192 bytes | the same |
//!
//! daprd without tracing sends an all-zero `traceparent`: that is no context, not a broken one.
//!
//! The caller decides here which trace it belongs to and whether it is sampled. Behind daprd this is what one wants; a
//! server that the public can reach should link to the remote span and not continue it.
//!
//! # What is written
//!
//! [`inject`] leaves exactly one `traceparent`, a `tracestate` only if it has members, and no `grpc-trace-bin`, which
//! daprd would prefer to `traceparent`. Without a valid span in the context it touches none of these: headers that the
//! caller set by hand pass.
//!
//! The value of `traceparent` is marked as sensitive (`HeaderValue::set_sensitive`). It is no secret, but new with each
//! request: HTTP/2 then leaves it out of the connection's table of headers, where it would displace those that stay the same
//! (RFC 7541, section 6.2.3). `{:?}` shows it as `Sensitive`; `to_str` and `as_bytes` give it as ever.
//!
//! The context's baggage replaces the `baggage` header. If the context has none, a header set by hand passes if it is
//! flawless, and is removed if not: daprd refuses the whole call for one broken member.
//!
//! # What OpenTelemetry cannot carry
//!
//! [`SpanContext`] holds OpenTelemetry's own `tracestate` type, which refuses lists that the current W3C text allows (a
//! key such as `a@b@c`), and the SDK forgets the random flag of a trace that it does not sample. Extraction keeps both
//! beside the span in the [`Context`], and `inject` puts them back as long as the trace id is the same. They are lost
//! if the context is rebuilt from the bare `SpanContext`.
//!
//! [W3C Trace Context]: https://w3c.github.io/trace-context/
//! [W3C Baggage]: https://w3c.github.io/baggage/
//! [`Context`]: opentelemetry::Context
//! [`SpanContext`]: opentelemetry::trace::SpanContext

mod baggage;
mod carrier;
mod event;
mod grpc_trace_bin;
mod http;
mod propagator;
#[cfg(test)]
mod tests;
mod trace_parent;
mod trace_state;

pub use self::event::creation_context;
pub use self::http::{BAGGAGE, GRPC_TRACE_BIN, TRACEPARENT, TRACESTATE};
pub use self::http::{extract_grpc, extract_http, inject};
pub use self::propagator::Propagation;
pub use self::trace_parent::{InvalidTraceParent, TraceParent};
pub use self::trace_state::{InvalidTraceState, TraceState};
