//! A service that answers as a script says, keeps what it was asked, and panics if it is called without being ready.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;
use tonic::body::Body;
use tower_service::Service;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Script = dyn Fn(usize, &request::Parts) -> Answer + Send + Sync;

pub struct Answer {
    /// How many frames of the request are read before the answer.
    pub reads: usize,
    pub delay: Duration,
    pub result: Result<Response<Body>, BoxError>,
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub head: request::Parts,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    pub body_error: Option<String>,
}

#[derive(Clone)]
pub struct Scripted {
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    calls: AtomicUsize,
    in_flight: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

/// One handle of the service: its clones are not ready.
pub struct Handle {
    pub shared: Scripted,
    ready: bool,
    overloaded: Arc<std::sync::atomic::AtomicBool>,
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), ready: false, overloaded: self.overloaded.clone() }
    }
}

impl Handle {
    pub fn new(script: impl Fn(usize, &request::Parts) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Shared {
            script: Box::new(script),
            calls: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            seen: Mutex::new(Vec::new()),
        };
        Self { shared: Scripted { shared: Arc::new(shared) }, ready: false, overloaded: Arc::default() }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.shared.seen.lock().unwrap().clone()
    }

    pub fn calls(&self) -> usize {
        self.shared.shared.calls.load(SeqCst)
    }

    pub fn in_flight(&self) -> usize {
        self.shared.shared.in_flight.load(SeqCst)
    }

    pub fn overload(&self, overloaded: bool) {
        self.overloaded.store(overloaded, SeqCst);
    }
}

struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

impl Service<Request<Body>> for Handle {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.overloaded.load(SeqCst) {
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let (head, mut body) = request.into_parts();
        let shared = self.shared.shared.clone();
        let index = shared.calls.fetch_add(1, SeqCst);
        let answer = (shared.script)(index, &head);
        shared.in_flight.fetch_add(1, SeqCst);
        let in_flight = InFlight(shared.clone());
        Box::pin(async move {
            let _in_flight = in_flight;
            let mut seen = Seen { at: Instant::now(), head, body: Vec::new(), trailers: None, body_error: None };
            for _ in 0..answer.reads {
                match body.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => seen.body.extend_from_slice(&data),
                        Err(frame) => seen.trailers = frame.into_trailers().ok(),
                    },
                    Some(Err(error)) => {
                        seen.body_error = Some(error.to_string());
                        break;
                    }
                    None => break,
                }
            }
            if seen.body_error.is_none() && answer.reads == usize::MAX {
                assert!(body.is_end_stream() || seen.trailers.is_some() || body.frame().await.is_none());
            }
            shared.seen.lock().unwrap().push(seen);
            tokio::time::sleep(answer.delay).await;
            answer.result
        })
    }
}

impl Answer {
    fn of(result: Result<Response<Body>, BoxError>) -> Self {
        Self { reads: usize::MAX, delay: Duration::ZERO, result }
    }

    /// daprd's usual shape: a head that says nothing, then trailers.
    pub fn grpc(code: tonic::Code) -> Self {
        Self::grpc_with(code, "", &[])
    }

    pub fn grpc_with(code: tonic::Code, message: &str, trailers: &[(&'static str, &str)]) -> Self {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", (code as i32).to_string().parse().unwrap());
        if !message.is_empty() {
            map.insert("grpc-message", message.parse().unwrap());
        }
        for (name, value) in trailers {
            map.append(*name, value.parse().unwrap());
        }
        Self::of(Ok(grpc_head().body(frames([Ok(Frame::trailers(map))])).unwrap()))
    }

    pub fn trailers_only(code: tonic::Code, headers: &[(&'static str, &str)]) -> Self {
        let mut response = grpc_head().header("grpc-status", code as i32);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Self::of(Ok(response.body(Body::empty()).unwrap()))
    }

    /// A message, then this status.
    pub fn message_then(code: tonic::Code) -> Self {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", (code as i32).to_string().parse().unwrap());
        let data = Frame::data(Bytes::from_static(b"\0\0\0\0\0"));
        Self::of(Ok(grpc_head().body(frames([Ok(data), Ok(Frame::trailers(map))])).unwrap()))
    }

    pub fn ok() -> Self {
        Self::message_then(tonic::Code::Ok)
    }

    pub fn http(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let body = Body::new(http_body_util::Full::new(Bytes::from(body.to_owned())));
        Self::of(Ok(response.body(body).unwrap()))
    }

    pub fn body(body: Body) -> Self {
        Self::of(Ok(grpc_head().body(body).unwrap()))
    }

    pub fn error(error: impl Into<BoxError>) -> Self {
        Self::of(Err(error.into()))
    }

    /// Nobody listens.
    pub fn connect_error() -> Self {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        Self::error(tonic::ConnectError(refused.into())).reading(0)
    }

    pub fn hang() -> Self {
        Self::ok().after(Duration::from_secs(100_000))
    }

    pub fn reading(mut self, frames: usize) -> Self {
        self.reads = frames;
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

fn grpc_head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

pub fn frames<I>(frames: I) -> Body
where
    I: IntoIterator<Item = Result<Frame<Bytes>, tonic::Status>>,
    I::IntoIter: Send + 'static,
{
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

/// A unary call of Dapr.
pub fn dapr(method: &str, message: &impl prost::Message) -> Request<Body> {
    grpc(&format!("/dapr.proto.runtime.v1.Dapr/{method}"), message)
}

pub fn grpc(path: &str, message: &impl prost::Message) -> Request<Body> {
    let mut data = vec![0];
    data.extend((message.encoded_len() as u32).to_be_bytes());
    message.encode(&mut data).unwrap();
    Request::post(path)
        .header("content-type", "application/grpc")
        .body(Body::new(http_body_util::Full::new(Bytes::from(data))))
        .unwrap()
}

pub fn http(method: &str, uri: &str) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
}

/// The status of a gRPC response: of its head or its trailers.
pub async fn code<B>(response: Response<B>) -> tonic::Code
where
    B: http_body::Body + Unpin,
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let found = head.headers.get("grpc-status").cloned();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let value = found.or_else(|| trailers.get("grpc-status").cloned()).expect("a status");
    tonic::Code::from_bytes(value.as_bytes())
}
