//! What becomes of an event: redelivery, dead letters, raw payloads, and the traces of all that.

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
use opentelemetry::trace::TraceId;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{Event, Outcome},
    inbound::{InboundLayer, Subscriptions, Topic},
    outbound::Dapr,
    telemetry::Telemetry,
    testing::{SpanTree, roots, span},
};

use super::{
    shop::eventually,
    tree::{daprds, delivery, processed, publish},
};
use crate::real::{App, Customer, Daprd, Stack, telemetry};

super::tests![
    without_a_policy_a_refused_event_is_gone,
    a_refused_event_comes_again_in_the_same_trace,
    a_dropped_event_goes_to_the_dead_letter_topic,
    an_event_refused_to_the_end_goes_to_the_dead_letter_topic,
    an_event_goes_where_its_route_says,
    a_raw_payload_is_processed_in_the_trace_of_its_header,
    without_a_publishers_context_the_trace_begins_in_daprd,
    an_unsampled_event_leaves_no_span,
    data_that_does_not_fit_is_dropped,
];

async fn without_a_policy_a_refused_event_is_gone() {
    let subscriber = Subscriber::start(Stack::builder().without_resiliency().start().await).await;
    subscriber.refuse(1);
    subscriber.publish("flaky", "1").await;
    subscriber.publish("flaky", "2").await;
    eventually("the second", Duration::from_secs(20), || subscriber.seen("flaky").len() == 2).await;
    // Neither delivered again, nor kept for later: Redis was told that all is well.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ids: Vec<_> = subscriber.seen("flaky").into_iter().map(|seen| seen.id).collect();
    assert_eq!(ids, ["1", "2"]);
    assert!(subscriber.stack.redis(&["XPENDING", "flaky", "app"]).starts_with('0'));
}

async fn a_refused_event_comes_again_in_the_same_trace() {
    let subscriber = Subscriber::start(Stack::start().await).await;
    subscriber.refuse(2);
    let customer = subscriber.publish("flaky", "1").await;
    eventually("three deliveries", Duration::from_secs(20), || subscriber.seen("flaky").len() == 3).await;

    let seen = subscriber.seen("flaky");
    for (earlier, later) in seen.iter().zip(&seen[1..]) {
        let pause = later.at - earlier.at;
        assert!((400..3_000).contains(&pause.as_millis()), "deploy/resiliency.yaml says 500 ms: {pause:?}");
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
    eventually("a dead letter", Duration::from_secs(20), || subscriber.seen("poison").len() == 1).await;
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

async fn an_event_refused_to_the_end_goes_to_the_dead_letter_topic() {
    let impatient = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/resiliency.yaml")).unwrap();
    let impatient = impatient.replace("maxRetries: 20", "maxRetries: 2");
    let stack = Stack::builder().without_jaeger().resource("resiliency.yaml", &impatient).start().await;
    let subscriber = Subscriber::start(stack).await;
    subscriber.publish("dead", "retry").await;
    eventually("a dead letter", Duration::from_secs(20), || subscriber.seen("poison").len() == 1).await;
    assert_eq!(subscriber.seen("dead").len(), 3, "once, and two retries");
    assert_eq!(subscriber.seen("poison")[0].id, "retry");
}

async fn an_event_goes_where_its_route_says() {
    let subscriber = Subscriber::start(Stack::builder().without_jaeger().start().await).await;
    let dapr = subscriber.daprd.dapr();
    dapr.publish("pubsub", "routed").json(&json!({})).id("1").event_type("urgent").await.unwrap();
    dapr.publish("pubsub", "routed").json(&json!({})).id("2").await.unwrap();
    let both = || (subscriber.seen("routed-urgent").len(), subscriber.seen("routed").len());
    eventually("both", Duration::from_secs(20), || both() == (1, 1)).await;
    assert_eq!(subscriber.seen("routed-urgent")[0].id, "1");
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
    eventually("delivered", Duration::from_secs(20), || subscriber.seen("raw").len() == 1).await;

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
    eventually("delivered", Duration::from_secs(20), || subscriber.seen("plain").len() == 1).await;
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
    eventually("delivered", Duration::from_secs(20), || subscriber.seen("plain").len() == 1).await;
    assert!(subscriber.seen("plain")[0].traceparent().ends_with("-00"));
    // A later one has arrived: this one will not.
    let sampled = subscriber.publish("plain", "2").await;
    subscriber.expect(&sampled, [publish_root("plain", [delivery("app", "plain", "/plain", [])])]).await;
    assert!(subscriber.stack.jaeger().trace(&customer).await.is_none());
}

async fn data_that_does_not_fit_is_dropped() {
    let subscriber = Subscriber::start(Stack::builder().without_jaeger().start().await).await;
    // Accepted by daprd as it is, and delivered as a string.
    let broken = subscriber.daprd.dapr().publish("pubsub", "typed").bytes("application/json", "{\"n\":").id("broken");
    broken.await.unwrap();
    subscriber.daprd.dapr().publish("pubsub", "typed").json(&json!({ "n": 1 })).id("good").await.unwrap();
    eventually("the good one", Duration::from_secs(20), || subscriber.handled("good")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ids: Vec<_> = subscriber.seen("typed").into_iter().map(|seen| seen.id).collect();
    assert_eq!(ids.iter().filter(|id| *id == "broken").count(), 1, "not tried again");
    assert!(!subscriber.handled("broken"));
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
    handled: Vec<String>,
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
        use opentelemetry::{
            Context,
            trace::{FutureExt, SpanContext, TraceContextExt, TraceFlags, TraceState},
        };
        let customer = Customer::new();
        let (trace, span) = (customer.trace_id, customer.span_id);
        let parent = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
        let event = self.dapr.publish("pubsub", topic).json(&json!({ "n": 1 })).id(id);
        let publish = async { event.await.unwrap() };
        publish.with_context(Context::new().with_remote_span_context(parent)).await;
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

    fn handled(&self, id: &str) -> bool {
        self.log.lock().unwrap().handled.iter().any(|handled| handled == id)
    }

    async fn expect(&self, customer: &Customer, trees: impl IntoIterator<Item = SpanTree>) {
        self.telemetry.flush(Duration::from_secs(5)).await.unwrap();
        self.stack.jaeger().expect(customer, roots(trees)).await;
    }
}

#[derive(serde::Deserialize)]
struct Typed {
    #[serde(rename = "n")]
    _n: u32,
}

fn router(log: &Log, telemetry: &Telemetry) -> Router {
    let traces = telemetry.tracer_provider().unwrap();
    let topic = |name: &str| Topic::new("pubsub", name);
    let of = |log: &Log| log.clone();
    let (flaky, typed) = (of(log), of(log));
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
        .topic(topic("dead").route("/dead").dead_letter("poison"), |event: Event<Value>| async move {
            if event.id() == Some("drop") { Outcome::Drop } else { Outcome::Retry }
        })
        .topic(topic("poison").route("/poison"), handle)
        .topic(topic("routed").route("/routed-urgent").when(r#"event.type == "urgent""#), handle)
        .topic(topic("routed").route("/routed"), handle)
        .topic(topic("raw").route("/raw").metadata("rawPayload", "true"), handle)
        .topic(topic("typed").route("/typed"), move |event: Event<Typed>| async move {
            typed.lock().unwrap().handled.extend(event.id().map(str::to_owned));
        });
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
