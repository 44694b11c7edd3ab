//! What the tests of several files share: exported spans, and a gRPC server that answers as it is told to.
#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(unreachable_pub, reason = "a module of tests")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::{KeyValue, Value, trace::SpanId};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tokio::{net::TcpListener, task::JoinHandle};

/// A provider whose spans are kept.
pub struct Spans {
    pub provider: SdkTracerProvider,
    exporter: InMemorySpanExporter,
}

impl Spans {
    pub fn new() -> Self {
        Self::sampled(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    pub fn sampled(sampler: Sampler) -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider =
            SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_sampler(sampler).build();
        Self { provider, exporter }
    }

    /// All spans that have ended.
    pub fn all(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// The one span that has ended.
    pub fn one(&self) -> SpanData {
        let mut spans = self.all();
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.remove(0)
    }

    /// The one span of this name.
    pub fn named(&self, name: &str) -> SpanData {
        let mut spans = self.all();
        spans.retain(|span| span.name == name);
        assert_eq!(spans.len(), 1, "{name}: {:#?}", self.all());
        spans.remove(0)
    }
}

/// An attribute as text.
pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let values: Vec<_> = span.attributes.iter().filter(|kv| kv.key.as_str() == key).map(text).collect();
    // All that was set is exported: which one of two a backend shows is anyone's guess.
    assert!(values.len() <= 1, "{key} of {} is there several times: {values:?}", span.name);
    values.into_iter().next()
}

fn text(kv: &KeyValue) -> String {
    match &kv.value {
        Value::String(text) => text.as_str().to_owned(),
        value => value.to_string(),
    }
}

pub fn is_child(child: &SpanData, parent: &SpanData) -> bool {
    child.parent_span_id == parent.span_context.span_id()
        && child.span_context.trace_id() == parent.span_context.trace_id()
}

pub fn is_root(span: &SpanData) -> bool {
    span.parent_span_id == SpanId::INVALID
}

/// An HTTP/2 server that answers every request with these frames behind an empty gRPC head, and keeps the requests' headers.
pub struct GrpcServer {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<HeaderMap>>>,
    task: JoinHandle<()>,
}

impl GrpcServer {
    pub async fn answering(answer: impl Fn() -> GrpcAnswer + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (answer.clone(), log.clone());
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    log.lock().unwrap().push(request.headers().clone());
                    let answer = answer();
                    async move { Ok::<_, Infallible>(answer.into_response()) }
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, seen, task }
    }

    pub fn channel(&self) -> tonic::transport::Channel {
        tonic::transport::Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub fn last_headers(&self) -> HeaderMap {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Default)]
pub struct GrpcAnswer {
    /// Headers of the head.
    pub head: Vec<(&'static str, String)>,
    /// An encoded message.
    pub message: Option<Vec<u8>>,
    /// `None`: the stream ends without trailers.
    pub trailers: Option<Vec<(&'static str, String)>>,
    /// The stream stays open after the message.
    pub hangs: bool,
}

impl GrpcAnswer {
    pub fn message(message: &impl prost::Message) -> Self {
        Self {
            message: Some(message.encode_to_vec()),
            trailers: Some(vec![("grpc-status", "0".into())]),
            ..Self::default()
        }
    }

    /// As daprd fails: a head that says nothing, then trailers.
    pub fn error(code: tonic::Code, message: &str) -> Self {
        let trailers = vec![("grpc-status", (code as i32).to_string()), ("grpc-message", message.to_owned())];
        Self { trailers: Some(trailers), ..Self::default() }
    }

    pub fn trailers_only(code: tonic::Code) -> Self {
        Self { head: vec![("grpc-status", (code as i32).to_string())], ..Self::default() }
    }

    fn into_response(self) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Send> {
        let mut frames = Vec::new();
        if let Some(message) = self.message {
            let mut data = vec![0];
            data.extend((message.len() as u32).to_be_bytes());
            data.extend(message);
            frames.push(Ok(Frame::data(Bytes::from(data))));
        }
        if let Some(trailers) = self.trailers {
            let trailers = trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            frames.push(Ok(Frame::trailers(trailers.collect())));
        }
        let frames = futures_util::stream::iter(frames);
        let hangs = self.hangs;
        let tail =
            futures_util::stream::poll_fn(
                move |_| {
                    if hangs { std::task::Poll::Pending } else { std::task::Poll::Ready(None) }
                },
            );
        let mut response = Response::builder().header("content-type", "application/grpc");
        for (name, value) in self.head {
            response = response.header(name, value);
        }
        response.body(StreamBody::new(futures_util::StreamExt::chain(frames, tail))).unwrap()
    }
}

/// A provider that only counts: spans opened, spans closed.
#[derive(Clone, Debug, Default)]
pub struct SpanCount {
    pub opened: Arc<std::sync::atomic::AtomicU64>,
    pub closed: Arc<std::sync::atomic::AtomicU64>,
}

impl SpanCount {
    pub fn provider(&self) -> SdkTracerProvider {
        SdkTracerProvider::builder().with_span_processor(self.clone()).build()
    }

    /// How many were opened, and closed.
    pub fn get(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering::Relaxed;
        (self.opened.load(Relaxed), self.closed.load(Relaxed))
    }
}

impl opentelemetry_sdk::trace::SpanProcessor for SpanCount {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {
        self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn on_end(&self, _: SpanData) {
        self.closed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

/// Random numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
