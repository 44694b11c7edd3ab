use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Printable, ProcessMetrics, ResponseBody,
    body::{answer_each_entry, respond, respond_unread_bulk},
    layer::Settings,
    mode::{Message, Mode},
    read::{Receive, Unreadable},
};
use crate::event::{Batch, Outcome};

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
        Calling { #[pin] inner: F, bulk: Option<Batch>, on_undecodable: Outcome },
    }
}

/// A request whose body is being read.
pub(super) struct Delivery<S> {
    mode: Mode,
    head: request::Parts,
    ready: S,
    settings: Arc<Settings>,
    unread: Unread,
}

/// The answer in the inner service's place. Boxed, since it is seldom.
type Refusal = Box<Response<Bytes>>;

/// Counts a client that went away before its event was read.
struct Unread {
    metrics: ProcessMetrics,
    is_read: bool,
}

impl Drop for Unread {
    fn drop(&mut self) {
        if !self.is_read {
            self.metrics.refused(1, Outcome::Retry, "cancelled");
        }
    }
}

/// In the extensions of a request: what becomes of an entry of a batch that cannot be decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnUndecodable(pub(crate) Outcome);

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) const fn calling(inner: F, bulk: Option<Batch>, on_undecodable: Outcome) -> Self {
        Self { state: State::Calling { inner, bulk, on_undecodable } }
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
    ResBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Receiving { receive, delivery } => {
                    let received = ready!(receive.poll(cx));
                    let delivery = delivery.take().expect("not polled after it was ready");
                    let on_undecodable = delivery.settings.on_undecodable;
                    match delivery.call(received) {
                        Ok((inner, bulk)) => state.set(State::Calling { inner, bulk, on_undecodable }),
                        Err(refusal) => return Poll::Ready(Ok((*refusal).map(ResponseBody::answer))),
                    }
                }
                StateProjection::Calling { inner, bulk, on_undecodable } => {
                    let response = ready!(inner.poll(cx))?;
                    return Poll::Ready(Ok(match bulk {
                        Some(batch) => answer_each_entry(response, batch, *on_undecodable),
                        None => response.map(ResponseBody::inner),
                    }));
                }
            }
        }
    }
}

impl<S> Delivery<S> {
    pub(super) const fn new(
        mode: Mode,
        head: request::Parts,
        ready: S,
        settings: Arc<Settings>,
        metrics: ProcessMetrics,
    ) -> Self {
        Self { mode, head, ready, settings, unread: Unread { metrics, is_read: false } }
    }

    /// Decodes, and calls the inner service with what was decoded, or answers in its place.
    fn call<B>(mut self, received: Result<Bytes, Unreadable>) -> Result<(S::Future, Option<Batch>), Refusal>
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        self.unread.is_read = true;
        let decoded = received.and_then(|body| {
            let message = self.mode.decode(&self.head.headers, &body, &self.settings.limits);
            message.map(|message| (body, message)).map_err(Unreadable::Undecodable)
        });
        let (body, message) = decoded.map_err(|reason| self.refuse(&reason))?;
        let mut bulk = None;
        match message.map(|message| if self.settings.octets_are_json { message.read_octets_as_json() } else { message })
        {
            None => {}
            Some(Message::One(event)) => drop(self.head.extensions.insert(event)),
            Some(Message::Many(batch)) => {
                self.warn_of_refused(&batch);
                self.head.extensions.insert(OnUndecodable(self.settings.on_undecodable));
                bulk = Some(batch.clone()).filter(Batch::is_bulk);
                self.head.extensions.insert(batch);
            }
        }
        Ok((self.ready.call(Request::from_parts(self.head, body.into())), bulk))
    }

    fn refuse(&self, reason: &Unreadable) -> Refusal {
        let outcome = reason.outcome(self.settings.on_undecodable);
        self.unread.metrics.refused(1, outcome, reason.error_type());
        tracing::warn!(
            path = %Printable::name(self.head.uri.path()),
            pubsub = %Printable::name(self.pubsub()),
            %outcome,
            %reason,
            "event refused"
        );
        Box::new(if self.mode == Mode::Bulk { respond_unread_bulk(outcome) } else { respond(outcome) })
    }

    /// One warning for all, or a batch of bad events would flood the log.
    fn warn_of_refused(&self, batch: &Batch) {
        let mut errors = batch.entries().iter().filter_map(|entry| entry.event().err());
        let Some(reason) = errors.next() else { return };
        let count = 1 + errors.count();
        let outcome = self.settings.on_undecodable;
        self.unread.metrics.refused(count as u64, outcome, "decode_error");
        tracing::warn!(
            path = %Printable::name(self.head.uri.path()),
            pubsub = %Printable::name(self.pubsub()),
            count,
            of = batch.entries().len(),
            %outcome,
            first_reason = %reason,
            "events of a batch refused"
        );
    }

    fn pubsub(&self) -> &str {
        self.head.headers.get("pubsubname").and_then(|name| name.to_str().ok()).unwrap_or_default()
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
