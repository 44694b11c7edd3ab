//! Whatever happens to a call, its recording ends exactly once, and says how.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_dapr::{
    classify::{Ending, Side},
    observe::{Call, End, Observe, ObserveLayer, Observer, Recording, ResponseHead},
};

#[tokio::test]
async fn a_whole_response_ends_complete_at_its_last_frame() {
    let log = Log::default();
    let mut body = answer(&log, Full::new(Bytes::from("hello"))).await;
    assert_eq!(log.take(), ["begin", "head 200"]);
    // The reader never asks for the `None` behind the last frame.
    body.frame().await.unwrap().unwrap();
    assert_eq!(log.take(), ["data 5", "end Complete"]);
    drop(body);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn an_empty_response_ends_with_its_head() {
    let log = Log::default();
    let body = answer(&log, Empty::<Bytes>::new()).await;
    assert_eq!(log.take(), ["begin", "head 200", "end Complete"]);
    drop(body);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn a_body_that_does_not_know_its_end_ends_at_the_none() {
    let log = Log::default();
    let body = answer(&log, frames([Ok(data("a")), Ok(data("b"))])).await;
    body.collect().await.unwrap();
    assert_eq!(log.take(), ["begin", "head 200", "data 1", "data 1", "end Complete"]);
}

#[tokio::test]
async fn trailers_are_the_end() {
    let log = Log::default();
    let mut body = answer(&log, frames([Ok(data("a")), Ok(Frame::trailers(HeaderMap::new()))])).await;
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(log.take(), ["begin", "head 200", "data 1", "end Complete"]);
}

#[tokio::test]
async fn a_body_error_ends_as_failed() {
    let log = Log::default();
    let body = answer(&log, frames([Ok(data("a")), Err(std::io::ErrorKind::ConnectionReset.into())])).await;
    body.collect().await.unwrap_err();
    assert_eq!(log.take(), ["begin", "head 200", "data 1", "end Failed connection_reset"]);
}

#[tokio::test]
async fn an_error_of_the_service_ends_as_failed_and_passes_through() {
    let log = Log::default();
    let service = log.observe(service_fn(async |_: Request<()>| {
        Err::<Response<Empty<Bytes>>, _>(std::io::Error::other("as it was"))
    }));
    let error = service.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error.to_string(), "as it was");
    assert_eq!(log.take(), ["begin", "end Failed io_error"]);
}

#[tokio::test]
async fn a_future_dropped_before_the_head_ends_as_cancelled() {
    let log = Log::default();
    let mut service = log.observe(service_fn(|_: Request<()>| pending::<Result<Response<Empty<Bytes>>, Infallible>>()));
    let future = service.ready().await.unwrap().call(Request::new(()));
    assert_eq!(log.take(), ["begin"]);
    drop(future); // never polled
    assert_eq!(log.take(), ["end Cancelled"]);
    let mut future = service.ready().await.unwrap().call(Request::new(()));
    assert!((&mut future).now_or_never().is_none());
    drop(future); // polled
    assert_eq!(log.take(), ["begin", "end Cancelled"]);
}

#[tokio::test]
async fn a_body_dropped_half_way_ends_as_cancelled() {
    let log = Log::default();
    let mut body = answer(&log, frames([Ok(data("a")), Ok(data("b"))])).await;
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(log.take(), ["begin", "head 200", "data 1", "end Cancelled"]);
}

#[tokio::test]
async fn a_body_of_known_length_that_was_read_whole_is_complete_when_dropped() {
    // A server stops asking once it has written what `content-length` says.
    struct Sized(Option<Bytes>);
    impl Body for Sized {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
        }
    }
    let log = Log::default();
    let mut body = answer(&log, Sized(Some(Bytes::from("abc")))).await;
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(log.take(), ["begin", "head 200", "data 3", "end Complete"]);
}

#[tokio::test]
async fn a_response_without_a_body_by_the_rules_of_http_ends_with_its_head() {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let log = Log::default();
        let service = log.observe(service_fn(async |_: Request<()>| {
            let body = frames([Ok(data("never read"))]);
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }));
        let request = Request::builder().method(method).body(()).unwrap();
        drop(service.oneshot(request).await.unwrap());
        assert_eq!(log.take(), ["begin".to_owned(), format!("head {status}"), "end Complete".to_owned()]);
    }
}

#[tokio::test]
async fn grpc_trailers_only_ends_with_its_head() {
    let log = Log::default();
    let service = log.observe(service_fn(async |_: Request<()>| {
        let mut response = Response::new(frames([]));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
        Ok::<_, Infallible>(response)
    }));
    let body = service.oneshot(grpc_request()).await.unwrap().into_body();
    assert_eq!(log.take(), ["begin", "head 200", "end Complete NOT_FOUND"]);
    drop(body);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn grpc_trailers_decide_after_a_head_that_says_nothing() {
    let log = Log::default();
    let service = log.observe(service_fn(async |_: Request<()>| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("14"));
        Ok::<_, Infallible>(Response::new(frames([Ok(Frame::trailers(trailers))])))
    }));
    service.oneshot(grpc_request()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(log.take(), ["begin", "head 200", "end Complete UNAVAILABLE"]);
}

#[tokio::test]
async fn a_panic_in_call_ends_as_panicked() {
    let log = Log::default();
    let mut service = log.observe(service_fn(|_: Request<()>| -> Ready<Result<Response<Empty<Bytes>>, Infallible>> {
        panic!("in call")
    }));
    std::panic::catch_unwind(AssertUnwindSafe(|| service.call(Request::new(())))).unwrap_err();
    assert_eq!(log.take(), ["begin", "end Panicked"]);
}

#[tokio::test]
async fn a_panic_in_the_future_ends_as_panicked_even_if_it_is_dropped_later() {
    let log = Log::default();
    let mut service = log.observe(service_fn(async |_: Request<()>| -> Result<Response<Empty<Bytes>>, Infallible> {
        panic!("in the future")
    }));
    let mut future = Box::pin(service.call(Request::new(())));
    AssertUnwindSafe(future.as_mut()).catch_unwind().await.unwrap_err();
    assert_eq!(log.take(), ["begin"]);
    drop(future); // as a runtime does, after it has caught the panic
    assert_eq!(log.take(), ["end Panicked"]);
}

#[tokio::test]
async fn a_panic_in_the_body_ends_as_panicked() {
    struct Panics;
    impl Body for Panics {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("in the body")
        }
    }
    let log = Log::default();
    let body = answer(&log, Panics).await;
    AssertUnwindSafe(body.collect()).catch_unwind().await.unwrap_err();
    assert_eq!(log.take(), ["begin", "head 200", "end Panicked"]);
}

#[tokio::test]
async fn inner_code_runs_in_the_scope_and_nothing_else_does() {
    let log = Log::default();
    let inside = log.clone();
    let service = log.observe(service_fn(move |_: Request<()>| {
        inside.push(&format!("call {}", inside.depth()));
        let inside = inside.clone();
        async move {
            inside.push(&format!("future {}", inside.depth()));
            let inside = inside.clone();
            let body = StreamBody::new(futures_util::stream::poll_fn(move |_| {
                inside.push(&format!("body {}", inside.depth()));
                Poll::Ready(None::<Result<Frame<Bytes>, Infallible>>)
            }));
            Ok::<_, Infallible>(Response::new(body))
        }
    }));
    let body = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert_eq!(log.depth(), 0);
    body.collect().await.unwrap();
    assert_eq!(log.depth(), 0);
    assert_eq!(log.take(), ["begin", "call 1", "future 1", "head 200", "body 1", "end Complete"]);
}

#[tokio::test]
async fn a_recording_that_does_not_listen_is_entered_and_dropped_and_told_nothing() {
    let log = Log { deaf: true, ..Log::default() };
    let inside = log.clone();
    let service = log.observe(service_fn(move |_: Request<()>| {
        inside.push(&format!("call {}", inside.depth()));
        ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))))
    }));
    service.oneshot(Request::new(())).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(log.take(), ["begin", "call 1"]);
    assert_eq!(log.depth(), 0);
    assert_eq!(Arc::strong_count(&log.log), 1, "the recording is gone");

    // Beside one that listens it hears all the same, as one pair.
    let pair = ObserveLayer::new((log.clone(), Log { deaf: false, ..log.clone() })).layer(ok());
    pair.oneshot(Request::new(())).await.unwrap();
    assert_eq!(log.take().iter().filter(|line| line.starts_with("end")).count(), 2);
}

#[tokio::test]
async fn a_call_that_nobody_wants_is_not_recorded() {
    let log = Log { unwanted: true, ..Log::default() };
    answer(&log, Full::new(Bytes::from("hello"))).await.collect().await.unwrap();
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn readiness_and_its_errors_are_the_inner_services_own() {
    type Readiness = Poll<Result<(), &'static str>>;
    #[derive(Clone)]
    struct Steps(Arc<Mutex<Vec<Readiness>>>);
    impl Service<Request<()>> for Steps {
        type Response = Response<Empty<Bytes>>;
        type Error = &'static str;
        type Future = Ready<Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            self.0.lock().unwrap().pop().unwrap()
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(Response::new(Empty::new())))
        }
    }
    let steps = Steps(Arc::new(Mutex::new(vec![Poll::Ready(Err("closed")), Poll::Ready(Ok(())), Poll::Pending])));
    let mut service = Log::default().observe(steps);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(service.poll_ready(&mut cx), Poll::Pending);
    assert_eq!(service.poll_ready(&mut cx), Poll::Ready(Ok(())));
    assert_eq!(service.poll_ready(&mut cx), Poll::Ready(Err("closed")));
}

#[tokio::test]
async fn two_observers_share_one_watch_and_decide_each_for_itself() {
    let (first, second) = (Log::default(), Log { unwanted: true, ..Log::default() });
    let service = ObserveLayer::new((first.clone(), second.clone())).layer(ok());
    service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(first.take(), ["begin", "head 200", "end Complete"]);
    assert_eq!(second.take(), [""; 0]);

    let second = Log { name: "2 ", log: first.log.clone(), ..Log::default() };
    let service = ObserveLayer::new((first.clone(), second)).layer(ok());
    service.oneshot(Request::new(())).await.unwrap();
    // The outer one ends last.
    assert_eq!(first.take(), ["begin", "2 begin", "head 200", "2 head 200", "2 end Complete", "end Complete"]);
}

#[test]
fn it_asks_for_neither_send_nor_clone() {
    struct NotSend(std::rc::Rc<()>);
    impl Service<Request<()>> for NotSend {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            let _ = &self.0;
            ready(Ok(Response::new(Empty::new())))
        }
    }
    let log = Log::default();
    let mut service = log.observe(NotSend(std::rc::Rc::new(())));
    service.call(Request::new(())).now_or_never().unwrap().unwrap();
    assert_eq!(log.take(), ["begin", "head 200", "end Complete"]);
}

// ===== helpers =====

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from(text))
}

/// A body that does not know when it is at its end.
fn frames<const N: usize>(
    frames: [std::io::Result<Frame<Bytes>>; N],
) -> impl Body<Data = Bytes, Error = std::io::Error> {
    StreamBody::new(futures_util::stream::iter(frames))
}

/// An observer that writes down what it is told.
#[derive(Clone, Debug, Default)]
struct Log {
    log: Arc<Mutex<Vec<String>>>,
    depth: Arc<Mutex<usize>>,
    name: &'static str,
    unwanted: bool,
    deaf: bool,
}

impl Log {
    fn observe<S>(&self, inner: S) -> Observe<S, Self> {
        ObserveLayer::new(self.clone()).layer(inner)
    }

    fn push(&self, line: &str) {
        self.log.lock().unwrap().push(format!("{}{line}", self.name));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn depth(&self) -> usize {
        *self.depth.lock().unwrap()
    }
}

impl Observer for Log {
    type Recording = Self;

    fn side(&self) -> Side {
        Side::Client
    }

    fn wants(&self, _: &http::request::Parts) -> bool {
        !self.unwanted
    }

    fn begin(&self, _: &mut Call<'_>) -> Option<Self> {
        self.push("begin");
        Some(self.clone())
    }
}

impl Recording for Log {
    type Scope = Depth;

    fn enter(&self) -> Depth {
        *self.depth.lock().unwrap() += 1;
        Depth(self.depth.clone())
    }

    fn is_listening(&self) -> bool {
        !self.deaf
    }

    fn head(&mut self, head: &ResponseHead<'_>) {
        self.push(&format!("head {}", head.status.as_u16()));
    }

    fn data(&mut self, bytes: usize) {
        self.push(&format!("data {bytes}"));
    }

    fn end(self, end: &End<'_>) {
        let how = match end.outcome.ending() {
            Ending::Failed(failure) => format!("Failed {}", failure.error_type()),
            ending => format!("{ending:?}"),
        };
        let code = end.outcome.grpc_code().map(|code| format!(" {}", tower_dapr::classify::code_name(code)));
        self.push(&format!("end {how}{}", code.unwrap_or_default()));
    }
}

struct Depth(Arc<Mutex<usize>>);

impl Drop for Depth {
    fn drop(&mut self) {
        *self.0.lock().unwrap() -= 1;
    }
}

fn grpc_request() -> Request<()> {
    Request::builder().header("content-type", "application/grpc").body(()).unwrap()
}

fn ok() -> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = Infallible, Future: Send> {
    service_fn(|_: Request<()>| ready(Ok(Response::new(Empty::new()))))
}

/// The body of an observed `200`.
async fn answer<B>(log: &Log, body: B) -> tower_dapr::observe::ResponseBody<B, Log>
where
    B: Body + 'static,
    B::Error: 'static,
{
    let body = Mutex::new(Some(body));
    let service = log.observe(service_fn(move |_: Request<()>| {
        let response = Response::builder().status(StatusCode::OK).body(body.lock().unwrap().take().unwrap());
        ready(Ok::<_, Infallible>(response.unwrap()))
    }));
    service.oneshot(Request::new(())).await.unwrap().into_body()
}
