//! What surrounds every call: token, baggage, trace context, and how errors look on the wire.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};
use percent_encoding::percent_decode;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::line::{CutBehind, Line};
use super::{MAX_MESSAGE, proxy, status};
use crate::propagation::TraceParent;
use crate::sidecar::app::App;
use crate::sidecar::baggage::{self, BAGGAGE};
use crate::sidecar::fault::Fault;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::GRPC_TRACE_BIN;
use crate::sidecar::{headers, trace};

pub(super) const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";

const DAPR: &str = "/dapr.proto.runtime.v1.Dapr/";
/// Calls whose answers end when their callers have enough.
const STREAMS: [&str; 3] = ["SubscribeConfiguration", "SubscribeConfigurationAlpha1", "SubscribeTopicEventsAlpha1"];
const INVOKE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";

/// What a handler knows of its caller, besides the metadata.
#[derive(Clone, Debug, Default)]
pub(in crate::sidecar) struct Caller {
    pub(in crate::sidecar) trace: Option<TraceParent>,
    /// Only HTTP keeps it.
    pub(in crate::sidecar) trace_state: Option<String>,
    pub(in crate::sidecar) authority: Option<String>,
    pub(in crate::sidecar) is_http: bool,
    /// That of the call, when there are spans.
    pub(in crate::sidecar) span: Option<Arc<OpenSpan>>,
    /// The trailers of an error, where an app has set them.
    pub(in crate::sidecar) trailers: Arc<OnceLock<HeaderMap>>,
}

/// Makes tonic's service look like daprd's.
#[derive(Clone, Debug)]
pub(super) struct Wire<S> {
    inner: S,
    app: Arc<App>,
    line: Line,
}

// ===== impl Wire =====

impl<S> Wire<S> {
    pub(super) fn new(inner: S, app: Arc<App>) -> Self {
        Self { inner, app, line: Line::default() }
    }

    /// The same for the calls of one connection.
    pub(super) fn on(&self, line: Line) -> Self
    where
        S: Clone,
    {
        Self { line, ..self.clone() }
    }

    /// Begins the span of a call, and tells its handler who calls. Gives the context that others are to get.
    fn introduce<B>(&self, request: &mut Request<B>) -> (Option<TraceParent>, Option<Arc<OpenSpan>>) {
        let parent = trace::of_grpc(request.headers());
        let path = request.uri().path();
        let span = match path.starts_with(DAPR) {
            true => self.app.spans.start_rpc(path, request.headers(), parent),
            false => proxy::start_span(&self.app, request, parent),
        };
        let span = span.map(Arc::new);
        let trace = span.as_ref().map_or(parent, |span| span.context());
        let authority = request.uri().authority().map(ToString::to_string);
        let caller = Caller { trace, authority, span: span.clone(), ..Caller::default() };
        request.extensions_mut().insert(caller);
        (trace, span)
    }

    /// # Errors
    /// daprd's status for a call without the token, or with another one.
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Status> {
        let Some(token) = &self.app.hub.api_token else { return Ok(()) };
        let reason = match headers.get(headers::API_TOKEN) {
            None => "missing api token in request metadata",
            Some(sent) if token.matches(sent.as_bytes()) => return Ok(()),
            Some(_) => "authentication error: api token mismatch",
        };
        Err(status::of_http(401, reason.as_bytes()).expect("401 is an error"))
    }
}

impl<S, B> Service<Request<B>> for Wire<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(stream) = self.line.next_call() else {
            // The client was told that it is not handled.
            return Box::pin(pending());
        };
        // These two never reach a handler, so no header was set when they fail.
        if let Err(refusal) = self.check_token(request.headers()) {
            return Box::pin(ready(Ok(trailers_only(refusal))));
        }
        let baggage = match baggage::checked(request.headers()) {
            Ok(baggage) => baggage,
            Err(reason) => return Box::pin(ready(Ok(trailers_only(Status::invalid_argument(reason))))),
        };
        let fault = request.uri().path().strip_prefix(DAPR).and_then(|rpc| self.app.hub.faults.take(rpc));
        if fault == Some(Fault::GoAway) {
            self.line.go_away();
            return Box::pin(pending());
        }
        let (trace, span) = self.introduce(&mut request);
        let path = request.uri().path();
        let is_ours = path.starts_with(DAPR);
        // Of what the proxy hands over, the headers are the app's.
        let is_proxied = !is_ours && proxy::names_an_app(request.headers());
        let has_trace = path != INVOKE && !is_proxied;
        let shape = Shape { trace: has_trace.then_some(trace), baggage, trailers: HeaderMap::new() };
        if !is_ours {
            let app = Arc::clone(&self.app);
            let request = request.map(Body::new);
            return Box::pin(async move {
                let response = proxy::forward(&app, request, trace).await.unwrap_or_else(|status| status.into_http());
                Ok(observed(shape.apply(response), span))
            });
        }
        match &fault {
            None | Some(Fault::Delay(_) | Fault::Lost(_) | Fault::GoAway) => {}
            Some(Fault::CutBehindHead) => self.line.cut(stream, CutBehind::Head),
            Some(Fault::CutBehindMessage) => self.line.cut(stream, CutBehind::Message),
            Some(fault) => return Box::pin(ready(Ok(broken(shape, fault)))),
        }
        let not_ready = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, not_ready);
        Box::pin(handle(ready, request, fault, shape, span))
    }
}

/// Lets the handler answer, sooner or later, or to no avail.
async fn handle<S, B>(
    mut ready: S,
    request: Request<B>,
    fault: Option<Fault>,
    mut shape: Shape,
    span: Option<Arc<OpenSpan>>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    let path = request.uri().path();
    let (is_stream, is_invocation) = (STREAMS.contains(&path.trim_start_matches(DAPR)), path == INVOKE);
    let trailers = request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.trailers));
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let response = ready.call(request).await?;
    if let Some(Fault::Lost(code)) = fault {
        return Ok(broken(shape, &Fault::Fail(code)));
    }
    // An app that is invoked may say so too.
    let is_unknown = !is_invocation && is_unknown_method(response.headers());
    let mut response = if is_unknown { status::not_proxied().into_http() } else { response };
    if !is_stream {
        end(span.as_deref(), response.headers());
    }
    if tell_limit(response.headers_mut()) {
        // Too large a request is refused before anything is set.
        return Ok(response.map(|_| Body::new(End)));
    }
    shape.trailers = trailers.and_then(|trailers| trailers.get().cloned()).unwrap_or_default();
    let response = shape.apply(response.map(|body| Body::new(body.map_frame(with_limit))));
    Ok(if is_stream { observed(response, span) } else { response })
}

/// Ends the span with the answer's last frame.
fn observed(response: Response<Body>, span: Option<Arc<OpenSpan>>) -> Response<Body> {
    let Some(span) = span else { return response };
    end(Some(&*span), response.headers());
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            if let Some(trailers) = frame.trailers_ref() {
                end(Some(&*span), trailers);
            }
            frame
        }))
    })
}

/// Where there is a status, and it is an error, the span has failed.
fn end(span: Option<&OpenSpan>, headers: &HeaderMap) {
    let is_error = headers.get(STATUS).is_some_and(|status| status != "0");
    if let (Some(span), true) = (span, is_error) {
        span.fail(message(headers));
    }
}

/// What all answers to calls that reached a handler have in common.
struct Shape {
    /// `None` writes no header, `Some(None)` the zeroed one.
    trace: Option<Option<TraceParent>>,
    baggage: Option<String>,
    /// Besides those of the status.
    trailers: HeaderMap,
}

// ===== impl Shape =====

impl Shape {
    /// daprd sets headers on each call, so a failing one has HEADERS without a status, then trailers with it.
    fn apply(self, response: Response<Body>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        if let Some(trace) = self.trace {
            parts.headers.insert(GRPC_TRACE_BIN, trace::binary_header(trace));
        }
        if let Some(baggage) = self.baggage {
            parts.headers.insert(BAGGAGE, headers::value(&baggage));
        }
        let mut trailers = self.trailers;
        for name in [STATUS, MESSAGE, DETAILS] {
            if let Some(value) = parts.headers.remove(name) {
                trailers.insert(name, value);
            }
        }
        let body = if trailers.is_empty() { body } else { trailers_alone(trailers) };
        Response::from_parts(parts, body)
    }
}

/// An answer that was asked to be wrong.
fn broken(shape: Shape, fault: &Fault) -> Response<Body> {
    if let Fault::Fail(code) = fault {
        return shape.apply(Status::new(*code, "injected fault").into_http());
    }
    let end = match fault {
        Fault::HangUp => {
            let cut = futures_util::stream::once(async {
                // A reset takes back the headers that have not been sent yet.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                Err::<Frame<Bytes>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
            });
            Body::new(StreamBody::new(cut).map_err(|error| Status::from_error(Box::new(error))))
        }
        Fault::BadStatus(text) => {
            let trailers = HeaderMap::from_iter([(HeaderName::from_static(STATUS), headers::value(text))]);
            trailers_alone(trailers)
        }
        _ => Body::new(End),
    };
    let mut response = Response::new(end);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    shape.apply(response)
}

/// The last frame of an answer that ends like this.
pub(super) fn trailers(status: Status) -> Frame<Bytes> {
    let mut trailers = status.into_http::<()>().into_parts().0.headers;
    trailers.remove(CONTENT_TYPE);
    Frame::trailers(trailers)
}

pub(super) fn trailers_alone(trailers: HeaderMap) -> Body {
    Body::new(StreamBody::new(tokio_stream::once(Ok::<_, Infallible>(Frame::<Bytes>::trailers(trailers)))))
}

/// An answer of HEADERS alone.
fn trailers_only(status: Status) -> Response<Body> {
    status.into_http::<Body>().map(|_| Body::new(End))
}

/// No body, and no word of its length: hyper would add `content-length: 0`, which gRPC in Go does not.
struct End;

// ===== impl End =====

impl http_body::Body for End {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

fn with_limit(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            tell_limit(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// Says "too large" as grpc-go does. tonic has another code and another text for it; an app has another limit.
fn tell_limit(headers: &mut HeaderMap) -> bool {
    const READ: &str = "Error, decoded message length too large";
    const WROTE: &str = "Error, encoded message length too large";
    let message = message(headers);
    let verb = match &*message {
        message if message.starts_with(READ) => "received message",
        message if message.starts_with(WROTE) => "trying to send message",
        _ => return false,
    };
    let mut numbers = message.split(|char: char| !char.is_ascii_digit()).filter(|text| !text.is_empty());
    let (size, limit) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if limit != MAX_MESSAGE.to_string() {
        return false;
    }
    let text = format!("grpc: {verb} larger than max ({size} vs. {limit})");
    headers.insert(STATUS, HeaderValue::from(tonic::Code::ResourceExhausted as i32));
    // Nothing in it needs the percent-encoding of `grpc-message`.
    headers.insert(MESSAGE, headers::value(&text));
    true
}

/// The text of a status; empty without one.
fn message(headers: &HeaderMap) -> String {
    let text = headers.get(MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
    percent_decode(text).decode_utf8_lossy().into_owned()
}

/// The generated server answers a method that it does not know without a message; our handlers always have one.
fn is_unknown_method(headers: &HeaderMap) -> bool {
    headers.get(STATUS).is_some_and(|status| status == "12") && !headers.contains_key(MESSAGE)
}
