use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::{Context, global};

use super::{carrier, http as w3c};

/// How a layer reads and writes trace context. Defaults to [`Propagation::w3c`].
///
/// See the [module docs](crate::propagation) for an example.
#[derive(Clone, Default)]
pub struct Propagation(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    W3c,
    Custom(Arc<dyn TextMapPropagator + Send + Sync>),
    Global,
    None,
}

impl Propagation {
    /// W3C Trace Context and W3C Baggage, strictly, as the [module docs](crate::propagation) say.
    pub const fn w3c() -> Self {
        Self(Kind::W3c)
    }

    /// A propagator of the user's choice, for HTTP and gRPC alike.
    ///
    /// It decides what is valid. This crate adds, for its sake: values that cannot be a header are dropped, empty ones
    /// not sent, and with a valid span in the context its stale fields and `grpc-trace-bin` are removed. A `baggage`
    /// header that daprd would refuse the call for is removed always.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use opentelemetry::Context;
    /// use opentelemetry_sdk::propagation::TraceContextPropagator;
    /// use tower_dapr::propagation::Propagation;
    ///
    /// let propagation = Propagation::custom(TraceContextPropagator::new());
    /// let mut headers = HeaderMap::new();
    /// propagation.inject(&Context::new(), &mut headers);
    /// assert!(headers.is_empty());
    /// ```
    pub fn custom(propagator: impl TextMapPropagator + Send + Sync + 'static) -> Self {
        Self(Kind::Custom(Arc::new(propagator)))
    }

    /// The propagator that is set with [`global::set_text_map_propagator`] at the time of each call; treated as
    /// [`Propagation::custom`]. OpenTelemetry's default does nothing.
    ///
    /// ```standalone_crate
    /// use http::{HeaderMap, HeaderValue};
    /// use opentelemetry::trace::TraceContextExt;
    /// use opentelemetry::{Context, global};
    /// use opentelemetry_sdk::propagation::TraceContextPropagator;
    /// use tower_dapr::propagation::{GRPC_TRACE_BIN, Propagation, TRACEPARENT, creation_context};
    ///
    /// let caller = "00-11111111111111111111111111111111-2222222222222222-01";
    /// let span = creation_context(Some(caller), None, None).expect("a valid traceparent");
    /// let cx = Context::new().with_remote_span_context(span);
    ///
    /// let propagation = Propagation::global();
    /// let mut headers = HeaderMap::new();
    /// headers.insert(GRPC_TRACE_BIN, HeaderValue::from_static("left alone"));
    /// propagation.inject(&cx, &mut headers);
    /// assert_eq!(headers.len(), 1);
    ///
    /// global::set_text_map_propagator(TraceContextPropagator::new());
    /// propagation.inject(&cx, &mut headers);
    /// assert_eq!(headers[TRACEPARENT], caller);
    /// assert!(!headers.contains_key(GRPC_TRACE_BIN));
    ///
    /// let read = propagation.extract_grpc(&headers, &Context::new());
    /// assert_eq!(read.span().span_context(), cx.span().span_context());
    /// ```
    pub const fn global() -> Self {
        Self(Kind::Global)
    }

    /// Reads nothing and writes nothing: all headers pass as they are.
    pub const fn none() -> Self {
        Self(Kind::None)
    }

    /// Adds the caller's span and baggage to `cx`, from the headers of an HTTP request:
    /// [`extract_http`](w3c::extract_http).
    pub fn extract_http(&self, headers: &HeaderMap, cx: &Context) -> Context {
        self.extract_other(headers, cx).unwrap_or_else(|| w3c::extract_http(headers, cx))
    }

    /// Adds the caller's span and baggage to `cx`, from the metadata of a gRPC call:
    /// [`extract_grpc`](w3c::extract_grpc).
    pub fn extract_grpc(&self, headers: &HeaderMap, cx: &Context) -> Context {
        self.extract_other(headers, cx).unwrap_or_else(|| w3c::extract_grpc(headers, cx))
    }

    /// Writes the span and the baggage of `cx` into the headers of a request: [`inject`](w3c::inject).
    pub fn inject(&self, cx: &Context, headers: &mut HeaderMap) {
        match &self.0 {
            Kind::W3c => w3c::inject(cx, headers),
            Kind::Custom(propagator) => carrier::inject(&**propagator, cx, headers),
            Kind::Global => global::get_text_map_propagator(|propagator| carrier::inject(propagator, cx, headers)),
            Kind::None => {}
        }
    }

    /// `None` if it is W3C, the only one that tells HTTP from gRPC.
    fn extract_other(&self, headers: &HeaderMap, cx: &Context) -> Option<Context> {
        match &self.0 {
            Kind::W3c => None,
            Kind::Custom(propagator) => Some(carrier::extract(&**propagator, headers, cx)),
            Kind::Global => {
                Some(global::get_text_map_propagator(|propagator| carrier::extract(propagator, headers, cx)))
            }
            Kind::None => Some(cx.clone()),
        }
    }
}

impl fmt::Debug for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the custom propagator's own `Debug`: what it shows is not ours to vouch for.
        f.debug_tuple("Propagation")
            .field(&format_args!(
                "{}",
                match self.0 {
                    Kind::W3c => "w3c",
                    Kind::Custom(_) => "custom",
                    Kind::Global => "global",
                    Kind::None => "none",
                }
            ))
            .finish()
    }
}
