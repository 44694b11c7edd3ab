//! The HTTP API (`dapr/dapr:pkg/api/http`): a translation of each route to the call that the gRPC API has for it.

mod actors;
mod blocks;
mod error;
mod go_json;
mod invoke;
mod pubsub;
mod span;
mod state;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::net::TcpListener;
use tonic::body::Body;

use self::error::{Refusal, plain};
use super::app::App;
use super::grpc::{Caller, MAX_MESSAGE};
use super::headers::API_TOKEN;
use super::trace::{TRACEPARENT, TRACESTATE};
use super::{baggage, headers, listen, trace};

/// What a route answers.
type Answer = Result<Response<Body>, Refusal>;

/// Serves HTTP/1.1 and HTTP/2 without TLS.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>) {
    let tasks = app.tasks.clone();
    listen::accept(listener, tasks.clone(), move |stream| {
        let (app, server) = (Arc::clone(&app), auto::Builder::new(tasks.clone()));
        async move {
            let service = service_fn(|request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, Infallible>(answer(&app, request).await) }
            });
            // A broken connection is the client's business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
}

/// A call, taken apart.
struct Call {
    app: Arc<App>,
    method: Method,
    /// The path behind the version, decoded.
    path: Vec<String>,
    /// As it came, without the question mark.
    query: String,
    headers: HeaderMap,
    body: Bytes,
    caller: Caller,
}

async fn answer<B>(app: &Arc<App>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !is_for_loopback(&request) {
        let message = "the Host header does not name this machine";
        return Refusal::new(StatusCode::FORBIDDEN, "ERR_FORBIDDEN_HOST", message).into_response();
    }
    if request.uri().path().starts_with("/v1.0/healthz") && request.method() == Method::GET {
        return healthz(app, request.uri().path(), request.uri().query().unwrap_or_default());
    }
    let baggage = match check(app, request.headers()) {
        Ok(baggage) => baggage,
        Err(refusal) => return *refusal,
    };
    let parent = trace::of_http(request.headers());
    let span = span::start(app, &request, parent).map(Arc::new);
    let caller = Caller {
        trace: span.as_ref().map_or(parent, |span| span.context()),
        trace_state: state_of(request.headers()),
        authority: None,
        is_http: true,
        span: span.clone(),
        ..Caller::default()
    };
    let (trace, trace_state) = (caller.trace, caller.trace_state.clone());
    let answer = match Call::read(app, request, caller).await {
        Ok(call) => call.route().await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answer.unwrap_or_else(Refusal::into_response);
    if let Some(span) = span {
        span::end(&span, response.status());
    }
    let headers = response.headers_mut();
    if !headers.contains_key(TRACEPARENT) {
        headers.insert(TRACEPARENT, trace::header(trace));
        if let (Some(_), Some(state)) = (trace, trace_state) {
            headers.insert(TRACESTATE, headers::value(&state));
        }
    }
    if let Some(baggage) = baggage {
        headers.insert(baggage::BAGGAGE, headers::value(&baggage));
    }
    response
}

/// The token and the baggage, before anything else. Gives the baggage back.
fn check(app: &App, headers: &HeaderMap) -> Result<Option<String>, Box<Response<Body>>> {
    let sent = headers.get(API_TOKEN);
    let matches = |sent: &HeaderValue| app.hub.api_token.as_ref().is_none_or(|token| token.matches(sent.as_bytes()));
    if app.hub.api_token.is_some() && !sent.is_some_and(matches) {
        return Err(Box::new(plain(StatusCode::UNAUTHORIZED, "invalid api token\n")));
    }
    baggage::checked(headers).map_err(|reason| Box::new(plain(StatusCode::BAD_REQUEST, &format!("{reason}\n"))))
}

/// Kept over HTTP, unlike over gRPC; more than 512 characters are dropped as a whole.
fn state_of(headers: &HeaderMap) -> Option<String> {
    let state = headers.get(TRACESTATE)?.to_str().ok()?;
    (!state.is_empty() && state.len() <= 512).then(|| state.to_owned())
}

fn healthz(app: &App, path: &str, query: &str) -> Response<Body> {
    // Served, so it is up.
    if path.trim_end_matches('/').ends_with("/outbound") {
        return empty();
    }
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("appid="));
    let refusal = |code, message| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, code, message).into_response();
    if !app.is_ready() {
        refusal("ERR_HEALTH_NOT_READY", "dapr is not ready: [app]")
    } else if asked.is_some_and(|id| id != app.id) {
        refusal("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")
    } else {
        empty()
    }
}

// ===== impl Call =====

impl Call {
    async fn read<B>(app: &Arc<App>, request: Request<B>, caller: Caller) -> Result<Self, Refusal>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_MESSAGE).collect().await;
        let body = body.map_err(|error| {
            let message = format!("failed to read request body: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, "ERR_BODY_READ", &message)
        })?;
        let path = parts.uri.path().split('/').filter(|part| !part.is_empty());
        Ok(Self {
            app: Arc::clone(app),
            method: parts.method,
            path: path.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: body.to_bytes(),
            caller,
        })
    }

    /// Unknown paths, and known ones with another method, are taken for invocations.
    async fn route(self) -> Answer {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let writes = self.method == Method::POST || self.method == Method::PUT;
        let (get, delete) = (self.method == Method::GET, self.method == Method::DELETE);
        match path.as_slice() {
            ["v1.0", "state", store] if writes => state::save(&self, store).await,
            ["v1.0", "state", store, "bulk"] if writes => state::get_bulk(&self, store).await,
            ["v1.0", "state", store, "transaction"] if writes => state::transaction(&self, store).await,
            ["v1.0-alpha1", "state", store, "query"] if writes => state::query(&self, store).await,
            ["v1.0", "state", store, key] if get => state::get(&self, store, key).await,
            ["v1.0", "state", store, key] if delete => state::delete(&self, store, key).await,
            ["v1.0" | "v1.0-alpha1", "publish", "bulk", name, topic @ ..] if writes => {
                pubsub::publish_bulk(&self, name, &topic.join("/")).await
            }
            ["v1.0", "publish", name, topic @ ..] if writes && !topic.is_empty() => {
                pubsub::publish(&self, name, &topic.join("/")).await
            }
            ["v1.0", "bindings", name] if writes => blocks::binding(&self, name).await,
            ["v1.0", "secrets", store, "bulk"] if get => blocks::secrets(&self, store).await,
            ["v1.0", "secrets", store, key] if get => blocks::secret(&self, store, key).await,
            ["v1.0" | "v1.0-alpha1", "configuration", store] if get => blocks::configuration(&self, store).await,
            ["v1.0" | "v1.0-alpha1", "configuration", store, "subscribe"] if get => {
                blocks::subscribe(&self, store).await
            }
            ["v1.0" | "v1.0-alpha1", "configuration", store, id, "unsubscribe"] if get => {
                blocks::unsubscribe(&self, store, id).await
            }
            ["v1.0-alpha1", "lock", store] if self.method == Method::POST => blocks::lock(&self, store).await,
            ["v1.0-alpha1", "unlock", store] if self.method == Method::POST => blocks::unlock(&self, store).await,
            ["v1.0" | "v1.0-alpha1", "jobs", name] if self.method == Method::POST => {
                blocks::schedule(&self, name).await
            }
            ["v1.0" | "v1.0-alpha1", "jobs", name] if get => blocks::job(&self, name).await,
            ["v1.0" | "v1.0-alpha1", "jobs", name] if delete => blocks::delete_job(&self, name).await,
            ["v1.0", "actors", kind, id, rest @ ..] => actors::route(&self, kind, id, rest).await,
            ["v1.0", "metadata"] if get => blocks::metadata(&self).await,
            ["v1.0", "metadata", key] if self.method == Method::PUT => blocks::set_metadata(&self, key).await,
            ["v1.0", "shutdown"] if self.method == Method::POST => blocks::shutdown(&self).await,
            path => invoke::route(&self, path).await,
        }
    }

    /// The call as one of the gRPC API.
    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self.caller.clone());
        request
    }

    /// The values of a query parameter.
    fn query(&self, name: &str) -> Vec<String> {
        self.pairs().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// `?metadata.<key>=<value>`.
    fn metadata(&self) -> HashMap<String, String> {
        let pairs = self.pairs().filter_map(|(key, value)| Some((key.strip_prefix("metadata.")?.to_owned(), value)));
        pairs.collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        self.query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
    }

    fn content_type(&self) -> String {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        kind.unwrap_or_default().to_owned()
    }
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

fn no_route() -> Refusal {
    let message = "failed getting app id either from the URL path or the header dapr-app-id";
    Refusal::new(StatusCode::NOT_FOUND, "ERR_DIRECT_INVOKE", message)
}

fn empty() -> Response<Body> {
    respond(StatusCode::NO_CONTENT, None, Bytes::new())
}

fn json(value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).expect("maps with text keys make JSON");
    respond(StatusCode::OK, Some("application/json"), body.into())
}

/// With the newline of Go's encoder, where daprd has it.
fn line(value: &impl Serialize) -> Response<Body> {
    let mut body = serde_json::to_vec(value).expect("maps with text keys make JSON");
    body.push(b'\n');
    respond(StatusCode::OK, Some("application/json"), body.into())
}

fn respond(status: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body)));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
