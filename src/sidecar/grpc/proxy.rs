//! Calls of other apps' own gRPC services (`dapr/dapr:pkg/messaging/grpc_proxy.go`).

use std::error::Error;
use std::sync::Arc;

use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use opentelemetry::trace::SpanKind;
use tonic::body::Body;
use tonic::{Code, Status};

use super::status;
use super::wire::{self, STATUS};
use crate::classify::chain;
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
    let response = channel.forward(target, request).await;
    let response = response.map_err(|error| reset(&error).map_or_else(unreachable, terminated))?;
    let (mut head, body) = response.into_parts();
    headers::check_details(&mut head.headers);
    let body = if head.headers.contains_key(STATUS) { trailers_only(&mut head.headers) } else { ended(body, span) };
    let mut response = Response::from_parts(head, body);
    if let Some(baggage) = baggage {
        // Each of the two sidecars adds it; the other one is added with all answers.
        response.headers_mut().append(BAGGAGE, baggage);
    }
    Ok(response)
}

/// An answer of one block of headers: to grpc-go all of them are trailers.
fn trailers_only(headers: &mut HeaderMap) -> Body {
    let kind = headers.remove(CONTENT_TYPE);
    let trailers = std::mem::take(headers);
    headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    wire::trailers_alone(trailers)
}

/// The app's messages and its trailers. Where it breaks off, there are trailers that say so.
fn ended(body: Incoming, span: Option<OpenSpan>) -> Body {
    let frames = stream::unfold(Some((body, span)), |open| async move {
        let (mut body, span) = open?;
        let status = match body.frame().await {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) if trailers.contains_key(STATUS) => {
                    return Some((Ok(headers::check_trailers(Frame::trailers(trailers))), None));
                }
                Ok(_) => Status::unknown(""),
                Err(frame) => return Some((Ok(frame), Some((body, span)))),
            },
            Some(Err(error)) => {
                reset(&error).map_or_else(|| Status::unavailable("error reading from server: EOF"), terminated)
            }
            None if body.is_end_stream() => Status::internal("server closed the stream without sending trailers"),
            None => terminated(h2::Reason::NO_ERROR),
        };
        if let Some(span) = span {
            span.fail(status.message());
        }
        Some((Ok::<_, Status>(wire::trailers(status)), None))
    });
    Body::new(StreamBody::new(frames))
}

/// The reason, where the app has reset the stream.
fn reset(error: &(dyn Error + 'static)) -> Option<h2::Reason> {
    let reset = chain(error).find_map(|error| error.downcast_ref::<h2::Error>())?;
    reset.is_reset().then(|| reset.reason()).flatten()
}

/// What grpc-go makes of a stream without an end (`internal/transport/http2_client.go`).
fn terminated(reason: h2::Reason) -> Status {
    let code = match reason {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::FLOW_CONTROL_ERROR | h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(code, format!("stream terminated by RST_STREAM with error code: {reason:?}"))
}

/// What grpc-go says about a server that does not speak HTTP/2, or does not listen.
fn unreachable() -> Status {
    Status::unavailable("connection error: desc = \"error reading server preface: EOF\"")
}
