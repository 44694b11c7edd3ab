//! The traces of deliveries, ours and daprd's together: redelivered, dead letters, raw payloads, bulks, pulled.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::HeaderMap,
    middleware::{self, Next},
};
use opentelemetry::trace::{FutureExt, TraceContextExt, TraceId};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{CloudEvent, Event, Outcome},
    inbound::{Bulk, InboundLayer, Subscriptions, Topic},
    outbound::Dapr,
    telemetry::Telemetry,
    testing::{SpanTree, roots, span},
};

use super::tree::{daprds, delivery, processed, publish};
use crate::real::{App, Customer, Daprd, PATIENCE, Stack, eventually, telemetry};

super::tests![
    a_refused_event_comes_again_in_the_same_trace,
    a_dropped_event_goes_to_the_dead_letter_topic,
    a_raw_payload_is_processed_in_the_trace_of_its_header,
    without_a_publishers_context_the_trace_begins_in_daprd,
    an_unsampled_event_leaves_no_span,
    a_bulk_is_processed_once_and_linked_to_each_event,
    a_pulled_event_is_processed_in_a_trace_of_its_own_linked_to_the_publishers,
];

async fn a_refused_event_comes_again_in_the_same_trace() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    subscriber.refuse(2);
    let customer = subscriber.publish("flaky", "1").await;
    eventually("three deliveries", async || subscriber.seen("flaky").len() == 3).await;

    let seen = subscriber.seen("flaky");
    for (earlier, later) in seen.iter().zip(&seen[1..]) {
        let pause = later.at - earlier.at;
        assert!(pause >= Duration::from_millis(400), "deploy/resiliency.yaml says 500 ms: {pause:?}");
        assert_eq!((&earlier.id, &earlier.body["traceparent"]), (&later.id, &later.body["traceparent"]));
        let (earlier, later) = (earlier.traceparent(), later.traceparent());
        assert_eq!(earlier[3..35], later[3..35], "one trace");
    }
    let handled = || delivery("app", "flaky", "/flaky", []);
    subscriber.expect(&customer, [publish_root("flaky", [refused("flaky"), refused("flaky"), handled()])]).await;
}

async fn a_dropped_event_goes_to_the_dead_letter_topic() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    let customer = subscriber.publish("dead", "drop").await;
    eventually("a dead letter", async || subscriber.seen("poison").len() == 1).await;
    assert_eq!(subscriber.seen("dead").len(), 1, "DROP is not tried again");
    assert_eq!(subscriber.seen("poison")[0].id, "drop");
    // Siblings: the envelope is the same, with the topic it was published to, and the publisher's context.
    let dropped = refused("dead");
    let letter = span("pubsub/poison")
        .client()
        .service("app")
        .child(span("POST /poison").server().service("app").no_error().child(processed("app", "dead").no_error()));
    subscriber.expect(&customer, [publish_root("dead", [dropped, letter])]).await;
}

async fn a_raw_payload_is_processed_in_the_trace_of_its_header() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    let customer = Customer::new();
    let mut request = tonic::Request::new(dapr::dapr::proto::runtime::v1::PublishEventRequest {
        pubsub_name: "pubsub".into(),
        topic: "raw".into(),
        data: br#"{"raw":1}"#.to_vec(),
        data_content_type: "application/json".into(),
        metadata: [("rawPayload".to_owned(), "true".to_owned())].into(),
    });
    request.metadata_mut().insert("traceparent", customer.traceparent().parse().unwrap());
    subscriber.daprd.client().publish_event(request).await.unwrap();
    eventually("delivered", async || subscriber.seen("raw").len() == 1).await;

    let seen = &subscriber.seen("raw")[0];
    assert_eq!(seen.data, json!({ "raw": 1 }), "{}", seen.body);
    assert!(seen.body.get("traceparent").is_none(), "{}", seen.body);
    let process = span("process raw").consumer().service("app").attribute("dapr.component.name", "pubsub");
    let post = span("POST /raw").server().service("app").no_error().child(process);
    let tree = daprds("app", "PublishEvent").child(span("pubsub/raw").client().service("app").child(post));
    subscriber.expect(&customer, [tree]).await;
}

async fn without_a_publishers_context_the_trace_begins_in_daprd() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    // The handle without telemetry sends no context.
    subscriber.daprd.dapr().publish("pubsub", "plain").json(&json!({ "n": 1 })).id("1").await.unwrap();
    eventually("delivered", async || subscriber.seen("plain").len() == 1).await;
    let id = TraceId::from_hex(&subscriber.seen("plain")[0].traceparent()[3..35]).unwrap();
    let tree = daprds("app", "PublishEvent").child(delivery("app", "plain", "/plain", []));
    subscriber.stack.jaeger().expect(&Customer::nobody(id), tree).await;
}

async fn an_unsampled_event_leaves_no_span() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    let customer = Customer::new();
    let mut request = tonic::Request::new(dapr::dapr::proto::runtime::v1::PublishEventRequest {
        pubsub_name: "pubsub".into(),
        topic: "plain".into(),
        data: br#"{"n":1}"#.to_vec(),
        data_content_type: "application/json".into(),
        ..Default::default()
    });
    request.metadata_mut().insert("traceparent", customer.unsampled().parse().unwrap());
    subscriber.daprd.client().publish_event(request).await.unwrap();
    eventually("delivered", async || subscriber.seen("plain").len() == 1).await;
    assert!(subscriber.seen("plain")[0].traceparent().ends_with("-00"));
    // A later one has arrived: this one will not.
    let sampled = subscriber.publish("plain", "2").await;
    subscriber.expect(&sampled, [publish_root("plain", [delivery("app", "plain", "/plain", [])])]).await;
    assert!(subscriber.stack.jaeger().trace(&customer).await.is_none());
}

async fn a_bulk_is_processed_once_and_linked_to_each_event() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    let customer = Customer::new();
    let publish = subscriber.dapr.publish("pubsub", "bulk");
    let bulk = publish.bulk((0..3).map(|n| publish.json(&n).id(format!("e-{n}"))));
    async { bulk.await.unwrap() }.with_context(customer.context()).await;
    eventually("delivered", async || subscriber.seen("bulk").len() == 1).await;
    assert_eq!(subscriber.seen("bulk")[0].body["entries"].as_array().unwrap().len(), 3, "together");
    // daprd has a span for each event, and for the delivery of each; the request is below one of these.
    let event = "/dapr.proto.runtime.v1.Dapr/BulkPublishEvent/";
    let process = span("process bulk").consumer().service("app").no_error();
    let process = process.attribute("messaging.batch.message_count", 3);
    let process = process.linked_to(event).linked_to(event).linked_to(event);
    let post = span("POST /bulk").server().service("app").no_error().child(process);
    let delivery = || span("pubsub/bulk").client().service("app");
    let event = |delivery| span(event).producer().service("app").child(delivery);
    let events = [event(delivery().child(post)), event(delivery()), event(delivery())];
    let publish = span("publish_bulk bulk")
        .producer()
        .service("app")
        .no_error()
        .attribute("dapr.component.name", "pubsub")
        .child(daprds("app", "BulkPublishEvent").children(events));
    subscriber.expect(&customer, [publish]).await;
}

async fn a_pulled_event_is_processed_in_a_trace_of_its_own_linked_to_the_publishers() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    let traces = subscriber.telemetry.tracer_provider().unwrap();
    let mut events = subscriber.dapr.subscribe("pubsub", "pulled").with_tracer_provider(traces).events();
    // It is asked for before it is there: Redis keeps it until then.
    let customer = subscriber.publish("pulled", "1").await;
    let mut own = Vec::new();
    for outcome in [Outcome::Retry, Outcome::Success] {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("an event").unwrap().unwrap();
        assert_eq!(event.event().id(), Some("1"));
        own.push(event.context().span().span_context().trace_id());
        let read = subscriber.dapr.state("statestore").get::<u32>("key");
        event
            .handle(async |_: &CloudEvent| {
                read.await.unwrap();
                outcome
            })
            .await;
    }
    assert!(own[0] != own[1] && !own.contains(&customer.trace_id), "{own:?}");
    // To the publisher it is a delivery as any other.
    let delivery = || span("pubsub/pulled").client().service("app");
    subscriber.expect(&customer, [publish_root("pulled", [delivery(), delivery()])]).await;
    let process = || processed("app", "pulled").child(super::tree::state("app", "GetState"));
    let jaeger = subscriber.stack.jaeger();
    for (id, process) in own.into_iter().zip([process().error(), process().no_error()]) {
        jaeger.expect_linked(&Customer::nobody(id), process, &customer).await;
    }
}

// ===== helpers =====

/// A delivery that the app did not want: HTTP went well, the event did not.
fn refused(topic: &str) -> SpanTree {
    let post = span(format!("POST /{topic}")).server().service("app").no_error();
    span(format!("pubsub/{topic}")).client().service("app").child(post.child(processed("app", topic).error()))
}

fn publish_root(topic: &str, deliveries: impl IntoIterator<Item = SpanTree>) -> SpanTree {
    publish("app", topic, deliveries)
}

/// An app with a subscription of each kind, that publishes as well.
struct Subscriber {
    log: Log,
    dapr: Dapr,
    telemetry: Telemetry,
    daprd: Daprd,
    _app: App,
    stack: Stack,
}

type Log = Arc<Mutex<Inner>>;

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    /// How many deliveries of `flaky` are still to be refused.
    refuse: u32,
}

/// A delivery.
#[derive(Clone)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
    id: String,
    data: Value,
    at: Instant,
}

impl Seen {
    fn traceparent(&self) -> &str {
        self.headers["traceparent"].to_str().unwrap()
    }
}

impl Subscriber {
    async fn start(stack: Stack) -> Self {
        let telemetry = telemetry("app", &stack);
        let log = Log::default();
        let app = App::serve(router(&log, &telemetry)).await;
        let daprd = stack.daprd("app").app_port(app.port()).start().await;
        let dapr = daprd.observed(&telemetry);
        Self { log, dapr, telemetry, daprd, _app: app, stack }
    }

    /// Publishes with our handle, in the trace of a customer.
    async fn publish(&self, topic: &str, id: &str) -> Customer {
        let customer = Customer::new();
        let event = self.dapr.publish("pubsub", topic).json(&json!({ "n": 1 })).id(id);
        async { event.await.unwrap() }.with_context(customer.context()).await;
        customer
    }

    fn refuse(&self, times: u32) {
        self.log.lock().unwrap().refuse = times;
    }

    /// The deliveries to the route of this name.
    fn seen(&self, route: &str) -> Vec<Seen> {
        let path = format!("/{route}");
        self.log.lock().unwrap().seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    async fn expect(&self, customer: &Customer, trees: impl IntoIterator<Item = SpanTree>) {
        self.telemetry.flush(PATIENCE).await.unwrap();
        self.stack.jaeger().expect(customer, roots(trees)).await;
    }
}

fn router(log: &Log, telemetry: &Telemetry) -> Router {
    let traces = telemetry.tracer_provider().unwrap();
    let topic = |name: &str| Topic::new("pubsub", name);
    let flaky = log.clone();
    let subscriptions = Subscriptions::new()
        .with_cloud_event_layer(CloudEventLayer::new().with_tracer_provider(traces))
        .topic(topic("plain").route("/plain"), handle)
        .topic(topic("flaky").route("/flaky"), move |_: Event<Value>| async move {
            let mut log = flaky.lock().unwrap();
            if log.refuse == 0 {
                return Outcome::Success;
            }
            log.refuse -= 1;
            Outcome::Retry
        })
        .topic(topic("dead").route("/dead").dead_letter("poison"), async |_: Event<Value>| Outcome::Drop)
        .topic(topic("poison").route("/poison"), handle)
        .topic(topic("raw").route("/raw").metadata("rawPayload", "true"), handle)
        .topic(topic("bulk").route("/bulk").bulk(3, Duration::from_secs(30)), async |_: Bulk<Value>| Outcome::Success);
    let log = log.clone();
    // Outermost: what came over the wire.
    let record = middleware::from_fn(move |request: Request, next: Next| {
        let log = log.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            if let Ok(json) = serde_json::from_slice::<Value>(&body) {
                log.lock().unwrap().seen.push(seen(head.uri.path(), &head.headers, json));
            }
            next.run(Request::from_parts(head, body.into())).await
        }
    });
    subscriptions.into_router().unwrap().layer(InboundLayer::new().with_tracer_provider(traces)).layer(record)
}

async fn handle(_: Event<Value>) {}

fn seen(path: &str, headers: &HeaderMap, body: Value) -> Seen {
    use base64::Engine;
    let data = match body["data_base64"].as_str() {
        Some(text) => serde_json::from_slice(&base64::prelude::BASE64_STANDARD.decode(text).unwrap()).unwrap(),
        None => body["data"].clone(),
    };
    let id = body["id"].as_str().unwrap_or_default().to_owned();
    Seen { path: path.to_owned(), headers: headers.clone(), body, id, data, at: Instant::now() }
}
