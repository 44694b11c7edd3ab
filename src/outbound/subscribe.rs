use std::{
    collections::HashMap,
    error::Error as _,
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use dapr::dapr::proto::runtime::v1::{
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1,
    SubscribeTopicEventsRequestProcessedAlpha1, SubscribeTopicEventsResponseAlpha1, TopicEventRequest,
    TopicEventResponse, dapr_client::DaprClient,
    subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Sent,
    subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Received,
    topic_event_response::TopicEventResponseStatus,
};
use opentelemetry::{
    Context as TraceContext,
    context::FutureExt as _,
    metrics::MeterProvider,
    trace::{Tracer, TracerProvider},
};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep},
};
use tonic::{Code, Status, Streaming, codegen::tokio_stream::Stream};

use super::DaprService;
use crate::{
    Error,
    cloudevent::{Process, ProcessMetrics, Subject, end_span},
    event::{CloudEvent, IntoOutcome, Limits, Outcome},
    spans::SpanSource,
};

const SUBSCRIBE: &str = "subscribe to";

/// A topic whose events are pulled. Made by [`Dapr::subscribe`](super::Dapr::subscribe).
///
/// ```no_run
/// use tower_dapr::event::{CloudEvent, Outcome};
///
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let mut events = dapr.subscribe("pubsub", "orders").max_in_flight(16).events();
/// while let Some(event) = events.next().await {
///     event?.handle(async |event: &CloudEvent| match event.data_as::<u32>() {
///         Ok(_) => Outcome::Success,
///         Err(_) => Outcome::Drop,
///     }).await;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Connection
///
/// Subscribes when the stream is first polled. A connection that ends, breaks or cannot be had is made anew after
/// a pause that doubles from half a second to 30 seconds, with jitter; what was in flight then is delivered again, as far as
/// the broker does that. A refusal of the first subscription, and one for lack of authority at any time, is an error, and
/// the end.
#[derive(Clone)]
#[must_use = "nothing is subscribed until the events are polled"]
pub struct Subscribe {
    client: DaprClient<DaprService>,
    initial: SubscribeTopicEventsRequestInitialAlpha1,
    max_in_flight: usize,
    backoff: (Duration, Duration),
    limits: Limits,
    on_undecodable: Outcome,
    process: Process,
    metrics: ProcessMetrics,
}

impl Subscribe {
    pub(super) fn new(client: DaprClient<DaprService>, pubsub: String, topic: String) -> Self {
        let metrics = ProcessMetrics::of(&pubsub, &topic);
        let initial = SubscribeTopicEventsRequestInitialAlpha1 {
            pubsub_name: pubsub,
            topic,
            metadata: HashMap::new(),
            dead_letter_topic: None,
        };
        Self {
            client,
            initial,
            max_in_flight: 64,
            backoff: (Duration::from_millis(500), Duration::from_secs(30)),
            limits: Limits::default(),
            on_undecodable: Outcome::Drop,
            process: Process::new(SpanSource::global()),
            metrics,
        }
    }

    /// The most events that are handed out and not yet acknowledged. Defaults to 64; 0 is taken for 1.
    pub fn max_in_flight(mut self, events: usize) -> Self {
        self.max_in_flight = events.max(1);
        self
    }

    /// The topic for events that were dropped. Defaults to none: they are lost.
    pub fn dead_letter(mut self, topic: impl Into<String>) -> Self {
        self.initial.dead_letter_topic = Some(topic.into());
        self
    }

    /// Metadata for the component; `rawPayload` = `true` is Dapr's own.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.initial.metadata.insert(key.into(), value.into());
        self
    }

    /// The first and the longest pause before a connection is made anew. Defaults to 500 milliseconds and 30 seconds.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest.max(first));
        self
    }

    /// How much of an event is taken. Defaults to [`Limits::default`].
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The answer for an event that cannot be decoded, which is not handed out. Defaults to [`Outcome::Drop`].
    pub fn on_undecodable(mut self, outcome: Outcome) -> Self {
        self.on_undecodable = outcome;
        self
    }

    /// Takes spans from this provider. Defaults to the global one.
    pub fn with_tracer_provider<P>(mut self, provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.process = Process::new(SpanSource::of(provider));
        self
    }

    /// Takes instruments from this provider. Defaults to the global one.
    pub fn with_meter_provider(mut self, provider: &(impl MeterProvider + ?Sized)) -> Self {
        self.metrics.set_provider(provider);
        self
    }

    /// The events. Nothing happens until they are polled; dropping them unsubscribes, whatever events are still out: their
    /// answers are lost.
    pub fn events(self) -> PulledEvents {
        let in_flight = Arc::new(InFlight { limit: self.max_in_flight, state: Mutex::default() });
        PulledEvents { settings: self, state: State::Idle, failures: 0, was_subscribed: false, in_flight }
    }

    async fn connect(mut self) -> Result<Connection, Status> {
        let (acks, requests) = mpsc::unbounded_channel();
        // The receiver stands here: it cannot be closed.
        let _ = acks.send(request(Sent::InitialRequest(self.initial)));
        let responses = self.client.subscribe_topic_events_alpha1(Requests(requests)).await?.into_inner();
        Ok(Connection { acks, responses })
    }

    /// The pause after so many failures in a row: half of it fixed, half of it random, so that the subscribers of a sidecar
    /// that came back do not come back all at once.
    fn pause(&self, failures: u32) -> Duration {
        let (first, longest) = self.backoff;
        let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
        let random = RandomState::new().hash_one(failures) as u32;
        pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("pubsub", &self.initial.pubsub_name)
            .field("topic", &self.initial.topic)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}

fn request(sent: Sent) -> SubscribeTopicEventsRequestAlpha1 {
    SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type: Some(sent) }
}

/// Where an answer goes, while the connection stands.
type Acks = mpsc::WeakUnboundedSender<SubscribeTopicEventsRequestAlpha1>;

/// Bounded by the events in flight. Ends with the connection, behind the answers that were given before.
struct Requests(mpsc::UnboundedReceiver<SubscribeTopicEventsRequestAlpha1>);

impl Stream for Requests {
    type Item = SubscribeTopicEventsRequestAlpha1;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

struct Connection {
    /// The one that holds the call open: an event that is out does not.
    acks: mpsc::UnboundedSender<SubscribeTopicEventsRequestAlpha1>,
    responses: Streaming<SubscribeTopicEventsResponseAlpha1>,
}

/// Events of a topic, pulled from the sidecar. Made by [`Subscribe::events`].
///
/// # Cancel safety
///
/// An event is either handed out or stays in the stream. One that is dropped without an answer comes again, as far as the
/// broker does that.
#[must_use = "nothing is subscribed until the events are polled"]
pub struct PulledEvents {
    settings: Subscribe,
    state: State,
    /// In a row.
    failures: u32,
    was_subscribed: bool,
    in_flight: Arc<InFlight>,
}

enum State {
    /// Polls nothing: a connection is to be made.
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, Status>> + Send>>),
    Connected(Box<Connection>),
    /// Polls the pause before the next connection.
    Pausing(Pin<Box<Sleep>>),
    Ended,
}

impl PulledEvents {
    /// The next event.
    ///
    /// # Errors
    ///
    /// If Dapr refuses the subscription; then there are no more events.
    pub async fn next(&mut self) -> Option<Result<PulledEvent, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The end of a connection: an error if it is for ever, else a pause.
    fn failed(&mut self, status: Status) -> Option<Error> {
        let is_final = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => true,
            Code::Unavailable => false,
            // With a source it is no answer of daprd's: the way there is broken.
            _ => !self.was_subscribed && status.source().is_none(),
        };
        let pubsub = &self.settings.initial.pubsub_name;
        if is_final {
            self.state = State::Ended;
            return Some(Error::status(SUBSCRIBE, pubsub, status));
        }
        self.failures = self.failures.saturating_add(1);
        let pause = self.settings.pause(self.failures);
        let topic = &self.settings.initial.topic;
        tracing::warn!(?pubsub, ?topic, code = ?status.code(), ?pause, "subscription lost, to be made again");
        self.state = State::Pausing(Box::pin(sleep(pause)));
        None
    }

    fn received(&mut self, acks: Acks, request: TopicEventRequest) -> Option<PulledEvent> {
        let id = request.id.clone();
        let settings = &self.settings;
        let event = match CloudEvent::from_topic_event_within(request, &settings.limits) {
            Ok(event) => event,
            Err(reason) => {
                let outcome = settings.on_undecodable;
                settings.metrics.refused(1, outcome, "decode_error");
                tracing::warn!(topic = ?settings.initial.topic, %outcome, %reason, "event refused");
                answer(&acks, id, outcome);
                return None;
            }
        };
        // The event has come on its own: whoever polls is not its parent.
        let nobody = TraceContext::new().attach();
        let context = settings.process.start(Subject::One(&event));
        drop(nobody);
        Some(PulledEvent {
            event,
            id,
            acks,
            context,
            metrics: settings.metrics.clone(),
            started: Instant::now(),
            is_answered: false,
            _place: Place::take(&self.in_flight),
        })
    }
}

impl Stream for PulledEvents {
    type Item = Result<PulledEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let status = match &mut this.state {
                State::Idle => {
                    this.state = State::Connecting(Box::pin(this.settings.clone().connect()));
                    continue;
                }
                State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(connection) => {
                        this.state = State::Connected(Box::new(connection));
                        continue;
                    }
                    Err(status) => status,
                },
                State::Connected(connection) => {
                    ready!(this.in_flight.poll_free(cx));
                    match ready!(Pin::new(&mut connection.responses).poll_next(cx)) {
                        Some(Ok(response)) => {
                            this.failures = 0;
                            this.was_subscribed = true;
                            let acks = connection.acks.downgrade();
                            let Some(Received::EventMessage(event)) = response.subscribe_topic_events_response_type
                            else {
                                continue;
                            };
                            match this.received(acks, event) {
                                Some(event) => return Poll::Ready(Some(Ok(event))),
                                None => continue,
                            }
                        }
                        Some(Err(status)) => status,
                        None => Status::unavailable("the stream has ended"),
                    }
                }
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    this.state = State::Idle;
                    continue;
                }
                State::Ended => return Poll::Ready(None),
            };
            if let Some(error) = this.failed(status) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl fmt::Debug for PulledEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Idle => "idle",
            State::Connecting(_) => "connecting",
            State::Connected(_) => "connected",
            State::Pausing(_) => "pausing",
            State::Ended => "ended",
        };
        f.debug_struct("PulledEvents").field("settings", &self.settings).field("state", &state).finish_non_exhaustive()
    }
}

/// How many events are handed out.
struct InFlight {
    limit: usize,
    state: Mutex<(usize, Option<Waker>)>,
}

impl InFlight {
    fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 < self.limit {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One of the places in flight, given back when dropped.
struct Place(Arc<InFlight>);

impl Place {
    fn take(in_flight: &Arc<InFlight>) -> Self {
        in_flight.state.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        Self(in_flight.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= 1;
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// An event that waits for its answer, with the span of its processing.
///
/// Dropped without one, it is a [`Outcome::Retry`].
#[must_use = "an event without an answer comes again, as far as the broker does that"]
pub struct PulledEvent {
    event: CloudEvent,
    id: String,
    acks: Acks,
    /// `None`: nothing listens.
    context: Option<TraceContext>,
    metrics: ProcessMetrics,
    started: Instant,
    is_answered: bool,
    /// After the answer in the order of drops: the next event is not taken before this one is answered.
    _place: Place,
}

impl PulledEvent {
    /// The event.
    pub const fn event(&self) -> &CloudEvent {
        &self.event
    }

    /// The context with the span of the processing, a CONSUMER without a parent, linked to where the event was created.
    /// [`handle`](Self::handle) runs in it. Without telemetry, the current context.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context.clone().unwrap_or_else(TraceContext::current)
    }

    /// Answers, and ends the span. An answer for a connection that is gone is lost: the event comes again, as far as the
    /// broker does that.
    pub fn acknowledge(mut self, outcome: impl IntoOutcome) {
        let outcome = outcome.into_outcome();
        let error_type = (outcome != Outcome::Success).then_some(outcome.as_str());
        self.end(outcome, error_type);
    }

    /// Runs a handler in the span, and answers with what it returns.
    pub async fn handle<F, V>(self, handler: F)
    where
        F: AsyncFnOnce(&CloudEvent) -> V,
        V: IntoOutcome,
    {
        let outcome = handler(&self.event).with_context(self.context()).await;
        self.acknowledge(outcome);
    }

    fn end(&mut self, outcome: Outcome, error_type: Option<&'static str>) {
        self.is_answered = true;
        answer(&self.acks, std::mem::take(&mut self.id), outcome);
        self.metrics.processed(outcome, error_type, self.started.elapsed());
        if let Some(context) = &self.context {
            end_span(context, error_type);
        }
    }
}

impl Drop for PulledEvent {
    fn drop(&mut self) {
        if !self.is_answered {
            let error_type = if std::thread::panicking() { "panic" } else { "cancelled" };
            self.end(Outcome::Retry, Some(error_type));
        }
    }
}

impl fmt::Debug for PulledEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PulledEvent").field("event", &self.event).finish_non_exhaustive()
    }
}

fn answer(acks: &Acks, id: String, outcome: Outcome) {
    let status = match outcome {
        Outcome::Success => TopicEventResponseStatus::Success,
        Outcome::Retry => TopicEventResponseStatus::Retry,
        Outcome::Drop => TopicEventResponseStatus::Drop,
    };
    let status = Some(TopicEventResponse { status: status.into() });
    // Nobody receives it once the connection is gone.
    if let Some(acks) = acks.upgrade() {
        let _ = acks.send(request(Sent::EventProcessed(SubscribeTopicEventsRequestProcessedAlpha1 { id, status })));
    }
}
