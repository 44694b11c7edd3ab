//! The request as a span of `tracing`, for those who read logs.

use opentelemetry::{Context, trace::TraceContextExt};
use tracing::{Level, Span, field};

use crate::{
    classify::{Outcome, Side, code_name},
    observe::Call,
};

/// A span at this level. To be called where the request's own context is current.
pub(super) fn span(level: Level, side: Side, name: &str, call: &Call<'_>, context: Option<&Context>) -> Span {
    // A level is part of a call site.
    macro_rules! at {
        ($level:expr) => {
            tracing::span!(
                target: super::TARGET,
                $level,
                "request",
                otel.name = name,
                side = match side {
                    Side::Client => "client",
                    Side::Server => "server",
                },
                path = call.uri().path(),
                trace_id = field::Empty,
                status = field::Empty,
                "error.type" = field::Empty,
            )
        };
    }
    let span = match level {
        Level::ERROR => at!(Level::ERROR),
        Level::WARN => at!(Level::WARN),
        Level::INFO => at!(Level::INFO),
        Level::DEBUG => at!(Level::DEBUG),
        Level::TRACE => at!(Level::TRACE),
    };
    if let Some(context) = context.filter(|_| !span.is_disabled()) {
        span.record("trace_id", field::display(context.span().span_context().trace_id()));
    }
    span
}

/// Says what the request came to.
pub(super) fn record(span: &Span, outcome: &Outcome) {
    match (outcome.grpc_code(), outcome.http_status()) {
        (Some(code), _) => drop(span.record("status", code_name(code))),
        (None, Some(status)) => drop(span.record("status", status.as_u16())),
        (None, None) => {}
    }
    if let Some(error) = outcome.error_type() {
        span.record("error.type", error);
    }
}
