use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Printable, ResponseBody,
    read::{Receive, Unreadable},
    respond,
};
use crate::event::{CloudEvent, Outcome};

pin_project! {
    /// The response future of [`CloudEventService`](super::CloudEventService).
    pub struct ResponseFuture<S, B, F> {
        #[pin]
        state: State<S, B, F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F> {
        // Polls the request's body. The delivery is taken out when it has been read.
        Receiving { #[pin] receive: Receive<B>, delivery: Option<Delivery<S>> },
        // Polls the inner service's future.
        Calling { #[pin] inner: F },
    }
}

/// A request whose body is being read.
pub(super) struct Delivery<S> {
    pub(super) head: request::Parts,
    pub(super) ready: S,
    pub(super) on_undecodable: Outcome,
}

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) const fn calling(inner: F) -> Self {
        Self { state: State::Calling { inner } }
    }

    pub(super) const fn receiving(receive: Receive<B>, delivery: Delivery<S>) -> Self {
        Self { state: State::Receiving { receive, delivery: Some(delivery) } }
    }
}

impl<S, B, F, ResBody> Future for ResponseFuture<S, B, F>
where
    S: Service<Request<B>, Response = Response<ResBody>, Future = F>,
    B: Body + From<Bytes>,
    F: Future<Output = Result<Response<ResBody>, S::Error>>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Receiving { receive, delivery } => {
                    let received = ready!(receive.poll(cx));
                    let delivery = delivery.take().expect("not polled after it was ready");
                    match received {
                        Ok((body, event)) => state.set(State::Calling { inner: delivery.call(body, event) }),
                        Err(reason) => return Poll::Ready(Ok(delivery.refuse(&reason).map(ResponseBody::answer))),
                    }
                }
                StateProjection::Calling { inner } => {
                    return inner.poll(cx).map_ok(|response| response.map(ResponseBody::inner));
                }
            }
        }
    }
}

impl<S> Delivery<S> {
    fn call<B>(mut self, body: Bytes, event: CloudEvent) -> S::Future
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        self.head.extensions.insert(event);
        self.ready.call(Request::from_parts(self.head, body.into()))
    }

    fn refuse(&self, reason: &Unreadable) -> Response<Bytes> {
        let outcome = reason.outcome(self.on_undecodable);
        let pubsub = self.head.headers.get("pubsubname").and_then(|name| name.to_str().ok()).unwrap_or_default();
        tracing::warn!(
            path = %Printable::name(self.head.uri.path()),
            pubsub = %Printable::name(pubsub),
            %outcome,
            %reason,
            "event refused"
        );
        respond(outcome)
    }
}

impl<S, B, F> fmt::Debug for ResponseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Receiving { .. } => "receiving",
            State::Calling { .. } => "calling",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
