//! The HTTP API: its health routes; everything else is not found.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::TcpListener;

use super::app::App;
use super::trace::TRACEPARENT;
use super::{baggage, headers, listen, trace};

/// Serves HTTP/1.1 and HTTP/2 without TLS.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>) {
    let tasks = app.tasks.clone();
    listen::accept(listener, tasks.clone(), move |stream| {
        let (app, server) = (Arc::clone(&app), auto::Builder::new(tasks.clone()));
        async move {
            let service = service_fn(|request| {
                let response = answer(&app, &request);
                async { Ok::<_, Infallible>(response) }
            });
            // A broken connection is the client's business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
}

fn answer<B>(app: &App, request: &Request<B>) -> Response<Full<Bytes>> {
    if !is_for_loopback(request) {
        return error(StatusCode::FORBIDDEN, "ERR_FORBIDDEN_HOST", "the Host header does not name this machine");
    }
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::GET, "/v1.0/healthz") => healthz(app, request.uri().query().unwrap_or_default()),
        // Served, so it is up.
        (&Method::GET, "/v1.0/healthz/outbound") => empty(),
        _ => not_found(app, request.headers()),
    }
}

fn healthz(app: &App, query: &str) -> Response<Full<Bytes>> {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("appid="));
    if !app.is_ready() {
        error(StatusCode::INTERNAL_SERVER_ERROR, "ERR_HEALTH_NOT_READY", "dapr is not ready: [app]")
    } else if asked.is_some_and(|id| id != app.id) {
        error(StatusCode::INTERNAL_SERVER_ERROR, "ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
    } else {
        empty()
    }
}

/// daprd takes an unknown path for an invocation that names no app.
fn not_found(app: &App, headers: &HeaderMap) -> Response<Full<Bytes>> {
    if let Some(token) = &app.hub.api_token {
        let sent = headers.get(headers::API_TOKEN).is_some_and(|sent| token.matches(sent.as_bytes()));
        if !sent {
            return plain(StatusCode::UNAUTHORIZED, "invalid api token");
        }
    }
    if let Err(reason) = baggage::checked(headers) {
        return plain(StatusCode::BAD_REQUEST, &format!("{reason}\n"));
    }
    let mut response = error(
        StatusCode::NOT_FOUND,
        "ERR_DIRECT_INVOKE",
        "failed getting app id either from the URL path or the header dapr-app-id",
    );
    response.headers_mut().insert(TRACEPARENT, trace::header(trace::of_http(headers)));
    response
}

/// A page of another site that resolves its name to 127.0.0.1 (DNS rebinding) does not get in.
fn is_for_loopback<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let Some(authority) = host.and_then(|host| host.parse::<http::uri::Authority>().ok()) else { return false };
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn empty() -> Response<Full<Bytes>> {
    respond(StatusCode::NO_CONTENT, None, Bytes::new())
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, Some("text/plain; charset=utf-8"), Bytes::copy_from_slice(text.as_bytes()))
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let body = json!({ "errorCode": code, "message": message }).to_string();
    respond(status, Some("application/json"), body.into())
}

fn respond(status: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
