//! The span of a call (`dapr/dapr:pkg/diagnostics/http_tracing.go`).

use http::{Request, StatusCode};
use opentelemetry::trace::SpanKind;

use crate::propagation::TraceParent;
use crate::sidecar::app::App;
use crate::sidecar::spans::OpenSpan;

/// Named after the path, and told what the call is about.
pub(super) fn start<B>(app: &App, request: &Request<B>, parent: Option<TraceParent>) -> Option<OpenSpan> {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let span = app.spans.start(path, SpanKind::Client, parent)?;
    let api = format!("{method} {path}");
    span.set_prefixed(request.headers());
    span.set("dapr.api", &api);
    span.set("dapr.protocol", "http");
    span.set("http.request.method", method);
    span.set("url.full", request.uri().path_and_query().map_or(path, |target| target.as_str()));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["v1.0", "invoke", id, "method", rest @ ..] => span.set_invocation(id, &rest.join("/")),
        [_, block @ ("state" | "secrets" | "bindings"), name, ..] => span.set_database(block, name, &api),
        [_, "publish", "bulk", _, topic @ ..] | [_, "publish", _, topic @ ..] => span.set_messaging(&topic.join("/")),
        _ => {}
    }
    Some(span)
}

pub(super) fn end(span: &OpenSpan, status: StatusCode) {
    span.set("dapr.status_code", status.as_str());
    span.answered(status);
}
