//! The request body over several attempts.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::sync::mpsc;
use tonic::{Code, Status, body::Body};
use tower::{Layer, ServiceExt};
use tower_dapr::retry::{Backoff, Idempotent, Replay, RetryLayer, RetryPolicy};

use crate::{Answer, Handle, code, dapr, frames};

const MS: Duration = Duration::from_millis(1);

fn policy() -> RetryPolicy {
    RetryPolicy::new().without_budget().with_max_attempts(9).with_backoff(Backoff::new(MS, MS))
}

fn request(body: Body) -> Request<Body> {
    let mut request = dapr("GetState", &()).map(|_| body);
    request.extensions_mut().insert(Idempotent);
    request
}

fn data(text: &'static str) -> Result<Frame<Bytes>, Status> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> Result<Frame<Bytes>, Status> {
    Ok(Frame::trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "6".parse().unwrap())])))
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_sends_the_same_bytes_whatever_the_first_ones_read() {
    for reads in
        [vec![0], vec![1], vec![2], vec![3], vec![4], vec![0, 0], vec![1, 0], vec![1, 2], vec![3, 1], vec![4, 4]]
    {
        let script = reads.clone();
        let inner = Handle::new(move |n, _| match script.get(n) {
            Some(reads) => Answer::grpc(Code::Unavailable).reading(*reads),
            None => Answer::ok(),
        });
        let body = frames([data("one"), data("two"), data("three"), trailers()]);
        let response = RetryLayer::new(policy()).layer(inner.clone()).oneshot(request(body)).await.unwrap();
        assert_eq!(code(response).await, Code::Ok);
        let seen = inner.seen();
        assert_eq!(seen.len(), reads.len() + 1);
        let last = seen.last().unwrap();
        assert_eq!(last.body, b"onetwothree", "{reads:?}");
        assert_eq!(last.trailers.as_ref().unwrap()["x-sum"], "6", "{reads:?}");
        assert_eq!(last.body_error, None);
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_comes_after_the_refusal_is_sent_once() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let body = Body::new(StreamBody::new(tokio_stream_of(receiver)));
    let inner = Handle::new(move |n, _| match n {
        0 => Answer::grpc(Code::Unavailable).reading(1),
        _ => Answer::ok(),
    });
    sender.send(data("one")).unwrap();
    let call = tokio::spawn(RetryLayer::new(policy()).layer(inner.clone()).oneshot(request(body)));
    tokio::time::sleep(100 * MS).await;
    sender.send(data("two")).unwrap();
    drop(sender);
    assert_eq!(code(call.await.unwrap().unwrap()).await, Code::Ok);
    assert_eq!(inner.seen()[1].body, b"onetwo");
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_cap_is_sent_once_and_whole() {
    for exact in [true, false] {
        let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
        let long = Bytes::from(vec![7; 1000]);
        let body = if exact {
            Body::new(Full::new(long.clone()))
        } else {
            frames((0..10).map(move |n| Ok(Frame::data(long.slice(n * 100..(n + 1) * 100)))))
        };
        let policy = policy().with_max_body(999);
        let response = RetryLayer::new(policy).layer(inner.clone()).oneshot(request(body)).await.unwrap();
        assert_eq!(code(response).await, Code::Unavailable);
        assert_eq!(inner.calls(), 1, "size known: {exact}");
        assert_eq!(inner.seen()[0].body, vec![7; 1000]);
    }
    // One byte less, and it is kept.
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let body = Body::new(Full::new(Bytes::from(vec![7; 999])));
    let _ = RetryLayer::new(policy().with_max_body(999)).layer(inner.clone()).oneshot(request(body)).await.unwrap();
    assert_eq!(inner.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_body_error_of_the_caller_is_not_retried() {
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let body = frames([data("one"), Err(Status::data_loss("disk"))]);
    let _ = RetryLayer::new(policy()).layer(inner.clone()).oneshot(request(body)).await.unwrap();
    assert_eq!(inner.calls(), 1);
    assert!(inner.seen()[0].body_error.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_abandoned_attempt_ends_with_an_error() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut replay = Replay::try_new(Body::new(StreamBody::new(tokio_stream_of(receiver))), 100).unwrap();
    sender.send(data("one")).unwrap();
    let mut first = replay.next_body().unwrap();
    assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    // It waits for more when the second takes over.
    let abandoned = tokio::spawn(async move { first.frame().await });
    tokio::task::yield_now().await;
    let second = replay.next_body().unwrap();
    let error = abandoned.await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
    sender.send(data("two")).unwrap();
    drop(sender);
    assert_eq!(second.collect().await.unwrap().to_bytes(), "onetwo");
}

/// Counts the bytes that somebody still holds.
struct Held(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_cap_is_held() {
    const CHUNK: usize = 1000;
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, peak) = (held.clone(), most.clone());
    let body = frames((0..1000).map(move |_| {
        peak.fetch_max(counter.fetch_add(CHUNK, SeqCst) + CHUNK, SeqCst);
        Ok(Frame::data(Bytes::from_owner(Held(vec![0; CHUNK], counter.clone()))))
    }));
    let inner = Handle::new(|_, _| Answer::grpc(Code::Unavailable));
    let policy = policy().with_max_body(10 * CHUNK);
    let _ = RetryLayer::new(policy).layer(inner.clone()).oneshot(request(body)).await.unwrap();
    assert_eq!(inner.seen()[0].body.len(), 1000 * CHUNK);
    assert!(most.load(SeqCst) <= 12 * CHUNK, "{}", most.load(SeqCst));
    assert_eq!(held.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_shared_not_copied() {
    let bytes = Bytes::from(vec![1; 100]);
    let mut replay = Replay::try_new(Body::new(Full::new(bytes.clone())), 100).unwrap();
    for _ in 0..3 {
        let mut body = replay.next_body().unwrap();
        assert_eq!(HttpBody::size_hint(&body).exact(), Some(100));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data.as_ptr(), bytes.as_ptr());
        assert!(HttpBody::is_end_stream(&body));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_is_empty_each_time() {
    let mut replay = Replay::try_new(Body::empty(), 0).unwrap();
    for _ in 0..2 {
        let mut body = replay.next_body().unwrap();
        assert!(HttpBody::is_end_stream(&body));
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_of_plain_clients_are_retried_too() {
    async fn attempts<B>(body: B) -> usize
    where
        B: tower_dapr::retry::ReplayableBody + Send + 'static,
        B::Error: std::fmt::Debug,
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let inner = tower::service_fn(move |request: Request<B>| {
            let n = counter.fetch_add(1, SeqCst);
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                assert!(body.is_empty() || body == "text");
                let status = if n == 0 { 503 } else { 200 };
                Ok::<_, std::io::Error>(Response::builder().status(status).body(Full::new(Bytes::new())).unwrap())
            }
        });
        let request = Request::put("/a").body(body).unwrap();
        assert_eq!(RetryLayer::new(policy()).layer(inner).oneshot(request).await.unwrap().status(), 200);
        calls.load(SeqCst)
    }
    let text = || Full::new(Bytes::from_static(b"text"));
    assert_eq!(attempts(text()).await, 2);
    assert_eq!(attempts(Empty::<Bytes>::new()).await, 2);
    assert_eq!(attempts(axum::body::Body::from("text")).await, 2);
    assert_eq!(attempts(Body::new(text())).await, 2);
    let boxed = text().map_err(|never| -> tonic::codegen::StdError { match never {} });
    assert_eq!(attempts(boxed.clone().boxed()).await, 2);
    assert_eq!(attempts(boxed.boxed_unsync()).await, 2);
}

fn tokio_stream_of<T>(mut receiver: mpsc::UnboundedReceiver<T>) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::poll_fn(move |cx: &mut Context<'_>| -> Poll<Option<T>> {
        Pin::new(&mut receiver).get_mut().poll_recv(cx)
    })
}
