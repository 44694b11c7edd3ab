//! Calls of other apps' own gRPC services (`dapr/dapr:pkg/messaging/grpc_proxy.go`).

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use opentelemetry::trace::SpanKind;
use tonic::Status;
use tonic::body::Body;

use super::status;
use crate::propagation::TraceParent;
use crate::sidecar::app::App;
use crate::sidecar::baggage::BAGGAGE;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::{self, GRPC_TRACE_BIN, TRACEPARENT};
use crate::sidecar::{headers, invocation};

const CALLEE: [&str; 2] = ["dapr-callee-app-id", "dapr-app-id"];

/// Whether the call names an app to go to.
pub(super) fn names_an_app(headers: &HeaderMap) -> bool {
    CALLEE.iter().any(|name| headers.contains_key(*name))
}

/// The span of a call that names an app: a server's at the sidecar of this app, else a client's.
pub(super) fn start_span<B>(app: &App, request: &Request<B>, parent: Option<TraceParent>) -> Option<OpenSpan> {
    let headers = request.headers();
    let callee = CALLEE.iter().find_map(|name| headers.get(*name))?;
    let kind = if callee.as_bytes() == app.id.as_bytes() { SpanKind::Server } else { SpanKind::Client };
    let span = app.spans.start(request.uri().path(), kind, parent)?;
    span.set_prefixed(headers);
    span.set("dapr.api", request.uri().path());
    Some(span)
}

/// Hands the call over as it is: its body and the answer's are streams, its trailers those of the app.
///
/// # Errors
/// When no app is named, none has this name, or it cannot be reached.
pub(super) async fn forward(
    app: &Arc<App>,
    mut request: Request<Body>,
    trace: Option<TraceParent>,
) -> Result<Response<Body>, Status> {
    let id = CALLEE.iter().find_map(|name| request.headers().get(*name)).ok_or_else(status::not_proxied)?;
    let id = id.to_str().unwrap_or_default().to_owned();
    let callee = invocation::find(app, &id).map_err(Status::unknown)?;
    let channel = callee.channel.clone().ok_or_else(|| Status::unknown("app channel is not initialized"))?;
    let is_self = callee.id == app.id;
    let target = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let baggage = request.headers().get(BAGGAGE).cloned().filter(|_| !is_self);

    let metadata = request.headers_mut();
    metadata.remove("dapr-app-id");
    if !is_self {
        metadata.insert("dapr-caller-app-id", headers::value(&app.id));
        metadata.insert("dapr-callee-app-id", headers::value(&callee.id));
    }
    metadata.remove(http::header::HOST);
    metadata.insert(TRACEPARENT, trace::header(trace));
    metadata.insert(GRPC_TRACE_BIN, trace::binary_header(trace));
    if !channel.is_grpc() {
        return Err(unreachable());
    }
    // The callee's sidecar has a span too, which it does not tell its app of.
    let span = if is_self { None } else { callee.spans.start(target.path(), SpanKind::Server, trace) };
    let response = channel.forward(target, request).await.map_err(|_| unreachable())?;
    let mut response = response.map(|body| {
        Body::new(body.map_err(move |error| {
            let status = Status::unavailable(error.to_string());
            if let Some(span) = &span {
                span.fail(status.message());
            }
            status
        }))
    });
    if let Some(baggage) = baggage {
        // Each of the two sidecars adds it; the other one is added with all answers.
        response.headers_mut().append(BAGGAGE, baggage);
    }
    Ok(response)
}

/// What grpc-go says about a server that does not speak HTTP/2, or does not listen.
fn unreachable() -> Status {
    Status::unavailable("connection error: desc = \"error reading server preface: EOF\"")
}
