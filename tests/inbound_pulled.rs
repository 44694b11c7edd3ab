//! Pulled events: a stream that subscribes, is bounded, answers, and comes back.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod recorded;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsResponseAlpha1, SubscribeTopicEventsResponseInitialAlpha1,
    TopicEventRequest, subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Sent,
    subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Received,
};
use futures_util::{FutureExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use opentelemetry::trace::{SpanKind, TraceContextExt};
use prost::Message;
use prost_types::{Struct, Value, value::Kind};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Code, body::Body};
use tower::service_fn;
use tower_dapr::{
    event::{CloudEvent, Outcome},
    outbound::{Dapr, PulledEvents},
};

use self::recorded::{Spans, attribute};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01";

#[tokio::test(start_paused = true)]
async fn an_event_is_pulled_and_answered() {
    let sidecar = Sidecar::new([Script::Events(vec![event("1", b"7"), event("2", b"8")])]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").dead_letter("poison").metadata("k", "v").events();

    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.event().id(), first.event().topic()), (Some("1"), Some("orders")));
    assert_eq!(first.event().data_as::<u32>().unwrap(), 7);
    first.acknowledge(Outcome::Drop);
    events
        .next()
        .await
        .unwrap()
        .unwrap()
        .handle(async |event: &CloudEvent| {
            assert_eq!(event.id(), Some("2"));
            Ok::<_, Outcome>(())
        })
        .await;

    let sent = sidecar.sent().await;
    let Sent::InitialRequest(initial) = &sent[0] else { panic!("{sent:?}") };
    assert_eq!((initial.pubsub_name.as_str(), initial.topic.as_str()), ("bus", "orders"));
    assert_eq!((initial.dead_letter_topic.as_deref(), initial.metadata["k"].as_str()), (Some("poison"), "v"));
    assert_eq!(answers(&sent), [("1".to_owned(), 2), ("2".to_owned(), 0)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_answer_is_to_come_again() {
    let sidecar = Sidecar::new([Script::Events(vec![event("1", b"7")])]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").events();
    drop(events.next().await.unwrap().unwrap());
    assert_eq!(answers(&sidecar.sent().await), [("1".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn no_more_events_are_handed_out_than_may_be_in_flight() {
    let sidecar = Sidecar::new([Script::Events((0..5).map(|id| event(&id.to_string(), b"7")).collect())]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").max_in_flight(2).events();
    let first = events.next().await.unwrap().unwrap();
    let second = events.next().await.unwrap().unwrap();
    let mut third = next_of(&mut events);
    assert!(third.as_mut().now_or_never().is_none());
    first.acknowledge(Outcome::Success);
    let third = third.await;
    assert_eq!(third.event().id(), Some("2"));
    assert!(events.next().now_or_never().is_none());
    drop((second, third));
    assert!(events.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_again_with_growing_pauses() {
    let script = [
        Script::Refuses(Code::Unavailable),
        Script::Refuses(Code::Unavailable),
        Script::Refuses(Code::Unavailable),
        Script::Ends(vec![event("2", b"7")]),
        Script::Events(vec![event("1", b"7")]),
    ];
    let sidecar = Sidecar::new(script);
    let started = Instant::now();
    let mut events =
        sidecar.dapr().subscribe("bus", "orders").backoff(Duration::from_secs(1), Duration::from_secs(3)).events();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(event.event().id(), Some("2"));
    // Pauses of at most 1, 2 and 3 (not 4) seconds, and at least half of that.
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(3) && elapsed <= Duration::from_secs(6), "{elapsed:?}");
    event.acknowledge(Outcome::Success);

    let lost = Instant::now();
    assert_eq!(events.next().await.unwrap().unwrap().event().id(), Some("1"));
    assert!(lost.elapsed() <= Duration::from_secs(1), "a subscription that stood begins anew: {:?}", lost.elapsed());
    assert_eq!(sidecar.connections(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_an_error_and_the_end() {
    for (script, code) in [
        (vec![Script::Refuses(Code::Unknown)], Code::Unknown),
        (vec![Script::Refuses(Code::InvalidArgument)], Code::InvalidArgument),
        (vec![Script::Refuses(Code::Unavailable), Script::Refuses(Code::Unauthenticated)], Code::Unauthenticated),
    ] {
        let connections = script.len();
        let sidecar = Sidecar::new(script);
        let mut events = sidecar.dapr().subscribe("bus", "orders").events();
        let error = events.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.to_string().split('`').nth(1), Some("bus"));
        assert!(events.next().await.is_none());
        assert_eq!(sidecar.connections(), connections);
    }
}

/// It is no answer of Dapr's, even if it is the first: tonic says UNKNOWN to the one, and INTERNAL to the other.
#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_no_refusal() {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    let goaway = io::Error::other(h2::Error::from(h2::Reason::INTERNAL_ERROR));
    let sidecar = Sidecar::new([Script::Breaks(reset), Script::Breaks(goaway), Script::Events(vec![event("1", b"7")])]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").events();
    assert_eq!(events.next().await.unwrap().unwrap().event().id(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn after_a_subscription_stood_a_refusal_is_tried_again() {
    let sidecar = Sidecar::new([
        Script::Ends(vec![event("1", b"7")]),
        Script::Refuses(Code::Unknown),
        Script::Events(vec![event("2", b"7")]),
    ]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").events();
    for id in ["1", "2"] {
        assert_eq!(events.next().await.unwrap().unwrap().event().id(), Some(id));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_answered_and_not_handed_out() {
    for (outcome, status) in [(None, 2), (Some(Outcome::Retry), 1)] {
        let bad = TopicEventRequest { spec_version: "0.3".into(), ..event("bad", b"7") };
        let sidecar = Sidecar::new([Script::Events(vec![bad, event("good", b"7")])]);
        let mut subscribe = sidecar.dapr().subscribe("bus", "orders");
        if let Some(outcome) = outcome {
            subscribe = subscribe.on_undecodable(outcome);
        }
        let mut events = subscribe.events();
        events.next().await.unwrap().unwrap().acknowledge(());
        assert_eq!(answers(&sidecar.sent().await), [("bad".to_owned(), status), ("good".to_owned(), 0)]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_event_has_a_span_of_its_own() {
    let spans = Spans::new();
    let with_trace = |id| TopicEventRequest {
        extensions: Some(Struct {
            fields: [("traceparent".to_owned(), Value { kind: Some(Kind::StringValue(TRACE.into())) })].into(),
        }),
        ..event(id, b"7")
    };
    let sidecar = Sidecar::new([Script::Events(["1", "2", "3"].map(with_trace).into())]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").with_tracer_provider(&spans.provider).events();
    let (first, second) = (events.next().await.unwrap().unwrap(), events.next().await.unwrap().unwrap());
    let expected = first.context().span().span_context().span_id();
    first
        .handle(async move |_: &CloudEvent| {
            tokio::task::yield_now().await;
            assert_eq!(opentelemetry::Context::current().span().span_context().span_id(), expected);
        })
        .await;
    second.acknowledge(Outcome::Retry);
    drop(events.next().await);

    let finished = spans.take();
    assert_eq!(finished.len(), 3);
    for (span, error_type) in finished.iter().zip([None, Some("RETRY"), Some("cancelled")]) {
        assert_eq!((span.name.as_ref(), &span.span_kind), ("process orders", &SpanKind::Consumer));
        assert_eq!(span.parent_span_id.to_string(), "0000000000000000");
        assert_eq!(span.links[0].span_context.span_id().to_string(), "d0bea01e6f464a37");
        assert_eq!(attribute(span, "error.type").as_deref(), error_type);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_events_unsubscribes_while_one_is_out() {
    let sidecar = Sidecar::new([Script::Events(vec![event("1", b"7"), event("2", b"7")])]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").events();
    let (first, second) = (events.next().await.unwrap().unwrap(), events.next().await.unwrap().unwrap());
    first.acknowledge(Outcome::Success);
    drop(events);
    let sent = sidecar.sent().await;
    assert_eq!(answers(&sent), [("1".to_owned(), 0)], "what was answered before");
    assert_eq!(sidecar.ended(), 1);
    second.acknowledge(Outcome::Success);
    assert_eq!(sidecar.sent().await.len(), sent.len(), "an answer after that does nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_let_go_while_one_of_its_events_is_out() {
    let sidecar = Sidecar::new([Script::Ends(vec![event("1", b"7")]), Script::Events(vec![event("2", b"7")])]);
    let mut events = sidecar.dapr().subscribe("bus", "orders").events();
    let first = events.next().await.unwrap().unwrap();
    let second = events.next().await.unwrap().unwrap();
    sidecar.sent().await;
    assert_eq!((sidecar.connections(), sidecar.ended()), (2, 1));
    drop((first, second));
}

// ===== helpers =====

/// What one connection does.
enum Script {
    Refuses(Code),
    /// Is no connection.
    Breaks(io::Error),
    /// Sends events, and stays open.
    Events(Vec<TopicEventRequest>),
    /// Sends events, and ends.
    Ends(Vec<TopicEventRequest>),
}

/// A sidecar without a network.
#[derive(Clone)]
struct Sidecar {
    script: Arc<Mutex<VecDeque<Script>>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    connections: Arc<Mutex<usize>>,
    /// Requests that came to their end.
    ended: Arc<Mutex<usize>>,
}

impl Sidecar {
    fn new(script: impl IntoIterator<Item = Script>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            sent: Arc::default(),
            connections: Arc::default(),
            ended: Arc::default(),
        }
    }

    fn dapr(&self) -> Dapr {
        let sidecar = self.clone();
        Dapr::new(service_fn(move |request: Request<Body>| {
            let response = sidecar.serve(request);
            async move { response }
        }))
    }

    fn serve(&self, request: Request<Body>) -> io::Result<Response<Body>> {
        *self.connections.lock().unwrap() += 1;
        assert_eq!(request.uri().path(), "/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1");
        let head = Response::builder().header("content-type", "application/grpc");
        let (events, ends) = match self.script.lock().unwrap().pop_front().expect("a script for each connection") {
            Script::Refuses(code) => {
                return Ok(head.header("grpc-status", code as i32).body(Body::default()).unwrap());
            }
            Script::Breaks(error) => return Err(error),
            Script::Events(events) => (events, false),
            Script::Ends(events) => (events, true),
        };
        let (sent, ended) = (self.sent.clone(), self.ended.clone());
        let mut body = request.into_body();
        tokio::spawn(async move {
            let mut received = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return };
                received.extend_from_slice(&frame.into_data().unwrap_or_default());
                while received.len() >= 5 {
                    let length = u32::from_be_bytes(received[1..5].try_into().unwrap()) as usize;
                    let Some(message) = received.get(5..5 + length) else { break };
                    let message = SubscribeTopicEventsRequestAlpha1::decode(message).unwrap();
                    sent.lock().unwrap().extend(message.subscribe_topic_events_request_type);
                    received.drain(..5 + length);
                }
            }
            *ended.lock().unwrap() += 1;
        });
        let (frames, received) = mpsc::unbounded_channel();
        let initial = Received::InitialResponse(SubscribeTopicEventsResponseInitialAlpha1 {});
        for message in [initial].into_iter().chain(events.into_iter().map(Received::EventMessage)) {
            let message = SubscribeTopicEventsResponseAlpha1 { subscribe_topic_events_response_type: Some(message) };
            let message = message.encode_to_vec();
            let mut data = vec![0];
            data.extend((message.len() as u32).to_be_bytes());
            data.extend(message);
            frames.send(Frame::data(Bytes::from(data))).unwrap();
        }
        if ends {
            let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
            frames.send(Frame::trailers(HeaderMap::from_iter(trailers))).unwrap();
        } else {
            // Open for as long as the test runs.
            std::mem::forget(frames);
        }
        let frames = stream::unfold(received, async |mut received| {
            let frame = received.recv().await?;
            Some((Ok::<_, tonic::Status>(frame), received))
        });
        Ok(head.body(Body::new(StreamBody::new(frames))).unwrap())
    }

    fn ended(&self) -> usize {
        *self.ended.lock().unwrap()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// What the client has sent so far.
    async fn sent(&self) -> Vec<Sent> {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.sent.lock().unwrap().clone()
    }
}

/// Ids and verdicts.
fn answers(sent: &[Sent]) -> Vec<(String, i32)> {
    let answers = sent.iter().filter_map(|sent| match sent {
        Sent::EventProcessed(processed) => Some((processed.id.clone(), processed.status.unwrap().status)),
        Sent::InitialRequest(_) => None,
    });
    answers.collect()
}

fn next_of(
    events: &mut PulledEvents,
) -> std::pin::Pin<Box<dyn Future<Output = tower_dapr::outbound::PulledEvent> + '_>> {
    Box::pin(async { events.next().await.unwrap().unwrap() })
}

fn event(id: &str, data: &[u8]) -> TopicEventRequest {
    TopicEventRequest {
        id: id.into(),
        data_content_type: "application/json".into(),
        data: data.to_vec(),
        topic: "orders".into(),
        pubsub_name: "bus".into(),
        ..TopicEventRequest::default()
    }
}
