//! Headers as the carrier of somebody else's propagator.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;

use super::http::{BAGGAGE, GRPC_TRACE_BIN, drop_broken_baggage, replace};

struct HeaderExtractor<'a>(&'a HeaderMap);

struct HeaderInjector<'a>(&'a mut HeaderMap);

pub(super) fn extract(propagator: &dyn TextMapPropagator, headers: &HeaderMap, cx: &Context) -> Context {
    propagator.extract_with_context(cx, &HeaderExtractor(headers))
}

pub(super) fn inject(propagator: &dyn TextMapPropagator, cx: &Context, headers: &mut HeaderMap) {
    // A propagator that writes nothing (OpenTelemetry's default) has no fields, and must not cost the caller's headers.
    if cx.span().span_context().is_valid() && propagator.fields().next().is_some() {
        headers.remove(GRPC_TRACE_BIN);
        for field in propagator.fields().filter(|field| *field != BAGGAGE.as_str()) {
            headers.remove(field);
        }
    }
    propagator.inject_context(cx, &mut HeaderInjector(headers));
    drop_broken_baggage(headers);
}

// ===== impl HeaderExtractor =====

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.get_all(key).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.is_empty() { None } else { Some(values) }
    }
}

// ===== impl HeaderInjector =====

impl Injector for HeaderInjector<'_> {
    /// A value that cannot be a header of visible ASCII is dropped, and so is an empty one: the SDK's propagator writes
    /// `tracestate` even if there is none. What stood there before is gone in both cases.
    fn set(&mut self, key: &str, value: String) {
        let Ok(name) = HeaderName::try_from(key) else { return };
        let sendable = !value.is_empty() && value.is_ascii();
        replace(self.0, name, if sendable { HeaderValue::try_from(value).ok() } else { None });
    }

    fn reserve(&mut self, additional: usize) {
        // A hint: a map that is too large already says so on insertion.
        drop(self.0.try_reserve(additional));
    }
}
