use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Printable, ProcessMetrics, ResponseBody,
    body::{answer_each_entry, respond, respond_unread_bulk},
    layer::Settings,
    mode::{Message, Mode},
    read::{Receive, Unreadable},
    subject::Subject,
};
use crate::event::{Batch, CloudEvent, Outcome, Outcomes, Tally};

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
        Calling { #[pin] inner: F, bulk: Option<Bulk>, on_undecodable: Outcome },
        // The answer in the inner service's place.
        Refused { refusal: Option<Refusal> },
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
pub(super) type Refusal = Box<Response<Bytes>>;

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

/// In the extensions of a bulk delivery's request: what becomes of the entries that the handler is not given, since
/// their data does not fit it. They are not answered as the others are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Misfits(Arc<OnceLock<Outcomes>>);

impl Misfits {
    /// The first word holds: a handler that runs again has the same type.
    pub(crate) fn set(&self, outcomes: &Outcomes) {
        self.0.get_or_init(|| outcomes.clone());
    }

    pub(super) fn get(&self, entry_id: &str) -> Option<Outcome> {
        self.0.get()?.get(entry_id)
    }

    pub(super) fn tally(&self) -> Tally {
        self.0.get().map(Outcomes::tally).unwrap_or_default()
    }
}

/// A bulk delivery, which wants an answer for each entry.
#[derive(Clone)]
pub(super) struct Bulk {
    pub(super) batch: Batch,
    pub(super) misfits: Misfits,
}

impl Bulk {
    /// What is decoded already.
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        let batch = Subject::of(extensions)?.bulk()?.clone();
        Some(Self { batch, misfits: extensions.get().cloned().unwrap_or_default() })
    }
}

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) const fn calling(inner: F, bulk: Option<Bulk>, on_undecodable: Outcome) -> Self {
        Self { state: State::Calling { inner, bulk, on_undecodable } }
    }

    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self { state: State::Refused { refusal: Some(refusal) } }
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
                        Err(refusal) => state.set(State::Refused { refusal: Some(refusal) }),
                    }
                }
                StateProjection::Refused { refusal } => {
                    let refusal = refusal.take().expect("not polled after it was ready");
                    return Poll::Ready(Ok((*refusal).map(ResponseBody::answer)));
                }
                StateProjection::Calling { inner, bulk, on_undecodable } => {
                    let response = ready!(inner.poll(cx))?;
                    return Poll::Ready(Ok(match bulk {
                        Some(bulk) => answer_each_entry(response, bulk, *on_undecodable),
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
    fn call<B>(mut self, received: Result<Bytes, Unreadable>) -> Result<(S::Future, Option<Bulk>), Refusal>
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        self.unread.is_read = true;
        let decoded = received.and_then(|body| {
            let message = self.mode.decode(&self.head.headers, &body, &self.settings.limits);
            message.map(|message| (body, message)).map_err(Unreadable::Undecodable)
        });
        let Unread { metrics, .. } = &self.unread;
        let (body, message) =
            decoded.map_err(|reason| refuse(&reason, self.mode == Mode::Bulk, &self.head, &self.settings, metrics))?;
        let bulk = message.and_then(|message| admit(message, &mut self.head, &self.settings, metrics));
        Ok((self.ready.call(Request::from_parts(self.head, body.into())), bulk))
    }
}

/// Hands decoded events on in the request's extensions. Gives back a bulk delivery, which wants an answer for each entry.
pub(super) fn admit(
    message: Message,
    head: &mut request::Parts,
    settings: &Settings,
    metrics: &ProcessMetrics,
) -> Option<Bulk> {
    match if settings.octets_are_json { message.read_octets_as_json() } else { message } {
        Message::One(event) => {
            head.extensions.insert(event);
            None
        }
        Message::Many(batch) => {
            warn_of_refused(&batch, head, settings, metrics);
            head.extensions.insert(OnUndecodable(settings.on_undecodable));
            if batch.is_bulk() {
                head.extensions.insert(Misfits::default());
            }
            head.extensions.insert(batch);
            Bulk::of(&head.extensions)
        }
    }
}

/// What an outer layer has decoded without knowing that octets are JSON.
pub(super) fn read_octets_as_json(extensions: &mut Extensions) {
    if let Some(event) = extensions.remove::<CloudEvent>() {
        extensions.insert(event.read_octets_as_json());
    }
    if let Some(batch) = extensions.remove::<Batch>() {
        extensions.insert(batch.read_octets_as_json());
    }
}

pub(super) fn refuse(
    reason: &Unreadable,
    is_bulk: bool,
    head: &request::Parts,
    settings: &Settings,
    metrics: &ProcessMetrics,
) -> Refusal {
    let outcome = if is_bulk { Outcome::Retry } else { reason.outcome(settings.on_undecodable) };
    metrics.refused(1, outcome, reason.error_type());
    tracing::warn!(
        path = %Printable::name(head.uri.path()),
        pubsub = %Printable::name(pubsub(head)),
        %outcome,
        %reason,
        "event refused"
    );
    Box::new(if is_bulk { respond_unread_bulk() } else { respond(outcome) })
}

/// One warning for all, or a batch of bad events would flood the log.
fn warn_of_refused(batch: &Batch, head: &request::Parts, settings: &Settings, metrics: &ProcessMetrics) {
    let mut errors = batch.entries().iter().filter_map(|entry| entry.event().err());
    let Some(reason) = errors.next() else { return };
    let count = 1 + errors.count();
    let outcome = settings.on_undecodable;
    metrics.refused(count as u64, outcome, "decode_error");
    tracing::warn!(
        path = %Printable::name(head.uri.path()),
        pubsub = %Printable::name(pubsub(head)),
        count,
        of = batch.entries().len(),
        %outcome,
        first_reason = %reason,
        "events of a batch refused"
    );
}

fn pubsub(head: &request::Parts) -> &str {
    head.headers.get("pubsubname").and_then(|name| name.to_str().ok()).unwrap_or_default()
}

impl<S, B, F> fmt::Debug for ResponseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Receiving { .. } => "receiving",
            State::Calling { .. } => "calling",
            State::Refused { .. } => "refused",
        };
        f.debug_tuple("ResponseFuture").field(&format_args!("{state}")).finish()
    }
}
