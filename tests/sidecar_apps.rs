//! The embedded sidecar and what calls come to an app: bulks, routes, streams, and apps that speak gRPC.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event as BulkEvent;
use dapr::dapr::proto::runtime::v1::*;
use dapr::dapr::proto::runtime::v1::{
    subscribe_topic_events_request_alpha1 as up, subscribe_topic_events_response_alpha1 as down,
};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prost::Message as _;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tower_dapr::sidecar::{AppProtocol, Hub, HubBuilder, RetryPolicy, Sidecar};

const P: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

// ===== routes =====

#[tokio::test]
async fn an_event_takes_the_first_route_that_matches() {
    let mut test = HttpTest::new(
        Hub::builder(),
        json!([{
        "pubsubname": "bus", "topic": "t", "deadLetterTopic": "dead",
        "routes": {"rules": [
            {"match": "event.type == 'a'", "path": "/a"},
            {"match": "event.data.n > 1", "path": "/many"},
        ]},
    }, {"pubsubname": "bus", "topic": "dead", "route": "/dead"}]),
    )
    .await;
    for (data, kind, path) in
        [("{\"n\":5}", "a", "/a"), ("{\"n\":5}", "b", "/many"), ("{\"n\":1}", "b", "/dead"), ("{}", "b", "/dead")]
    {
        let mut event = event("t", data);
        event.metadata = HashMap::from([("cloudevent.type".to_owned(), kind.to_owned())]);
        test.dapr.publish_event(event).await.unwrap();
        assert_eq!(test.seen.recv().await.unwrap().0, path, "{data} {kind}");
    }
}

// ===== bulks =====

#[tokio::test(start_paused = true)]
async fn a_bulk_goes_when_it_is_full_or_has_waited() {
    let mut test = HttpTest::new(Hub::builder(), bulk_subscription(2)).await;
    for n in 0..3 {
        test.dapr.publish_event(event("t", &n.to_string())).await.unwrap();
    }
    let (path, first) = test.seen.recv().await.unwrap();
    let (_, second) = test.seen.recv().await.unwrap();
    assert_eq!(path, "/bulk");
    let data = |bulk: &Value| -> Vec<_> {
        bulk["entries"].as_array().unwrap().iter().map(|entry| entry["event"]["data"].clone()).collect()
    };
    assert_eq!((data(&first), data(&second)), (vec![json!(0), json!(1)], vec![json!(2)]));
    assert_eq!((&first["type"], &first["topic"]), (&json!("com.dapr.event.sent.bulk"), &json!("t")));
    assert_eq!(first["entries"][0]["contentType"], "application/cloudevents+json");
    assert_eq!(first["entries"][0]["metadata"], Value::Null);
    test.hub.settled().await;
    assert_eq!(test.hub.stats().delivered, 3);
}

#[tokio::test(start_paused = true)]
async fn only_failed_entries_of_a_bulk_come_again() {
    let hub = Hub::builder().inbound_retry("bus", RetryPolicy::constant(Duration::from_secs(1)).max_retries(1));
    let mut test = HttpTest::new(hub, bulk_subscription(4)).await;
    for data in ["\"SUCCESS\"", "\"RETRY\"", "\"DROP\"", "\"none\""] {
        test.dapr.publish_event(event("t", data)).await.unwrap();
    }
    let count = |bulk: &Value| bulk["entries"].as_array().unwrap().len();
    assert_eq!(count(&test.seen.recv().await.unwrap().1), 4);
    assert_eq!(count(&test.seen.recv().await.unwrap().1), 2, "RETRY, and the one that was left out");
    test.hub.settled().await;
    let stats = test.hub.stats();
    assert_eq!((stats.delivered, stats.dropped, stats.retried, stats.lost), (1, 1, 2, 2));
}

// ===== streams =====

#[tokio::test]
async fn a_stream_gets_events_and_answers_them() {
    let hub = Hub::builder().pubsub("bus").build();
    let sidecar = hub.app("app-a").start().await.unwrap();
    let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    let (requests, stream) = mpsc::channel(4);
    requests.send(initial("bus", "t")).await.unwrap();
    let mut responses = dapr.subscribe_topic_events_alpha1(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let first = responses.message().await.unwrap().unwrap().subscribe_topic_events_response_type;
    assert!(matches!(first, Some(down::SubscribeTopicEventsResponseType::InitialResponse(_))));
    let listed = dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner().subscriptions;
    assert_eq!((listed.len(), listed[0].r#type()), (1, PubsubSubscriptionType::Streaming));

    dapr.publish_event(event("t", "1")).await.unwrap();
    dapr.publish_event(event("t", "2")).await.unwrap();
    for (data, status) in [("1", 0), ("2", 2)] {
        let message = responses.message().await.unwrap().unwrap().subscribe_topic_events_response_type;
        let Some(down::SubscribeTopicEventsResponseType::EventMessage(event)) = message else { panic!("no event") };
        assert_eq!((event.data.as_slice(), event.path.as_str()), (data.as_bytes(), "/"));
        requests.send(processed("no such id", 1)).await.unwrap();
        requests.send(processed(&event.id, status)).await.unwrap();
    }
    hub.settled().await;
    assert_eq!((hub.stats().delivered, hub.stats().dropped), (1, 1));

    drop(requests);
    assert_eq!(responses.message().await.unwrap(), None, "a closed half ends the subscription");
    dapr.publish_event(event("t", "3")).await.unwrap();
    hub.settled().await;
    assert_eq!(hub.stats().accepted, 2);
}

#[tokio::test]
async fn a_stream_must_begin_with_a_subscription() {
    let hub = Hub::builder().pubsub("bus").build();
    let sidecar = hub.app("app-a").start().await.unwrap();
    let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    for (first, code, message) in [
        (processed("x", 0), Code::Unknown, "initial request is required"),
        (initial("", "t"), Code::Unknown, "pubsubName is required"),
        (initial("bus", ""), Code::Unknown, "topic is required"),
        (initial("nope", "t"), Code::InvalidArgument, "pubsub nope is not found"),
    ] {
        let mut responses = dapr.subscribe_topic_events_alpha1(tokio_stream::once(first)).await.unwrap().into_inner();
        let refused = responses.message().await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
    }
}

// ===== apps that speak gRPC =====

#[tokio::test]
async fn a_grpc_app_gets_events_and_its_verdicts_count() {
    let mut test = GrpcTest::new(vec![subscription("t", "/default"), subscription("nowhere", "")]).await;
    for (data, outcome) in [("0", "delivered"), ("2", "dropped"), ("1", "lost"), ("12", "dropped"), ("14", "lost")] {
        let before = test.hub.stats();
        test.dapr.publish_event(traced(event("t", data))).await.unwrap();
        let Seen::Event(seen, metadata) = test.seen().await else { panic!("not an event") };
        assert_eq!((seen.data.as_slice(), seen.path.as_str(), seen.topic.as_str()), (data.as_bytes(), "/default", "t"));
        assert_eq!(metadata.get("traceparent").unwrap(), P);
        assert_eq!(metadata.get("pubsubname").unwrap(), "bus");
        assert!(metadata.get_bin("grpc-trace-bin").is_some());
        let extensions = seen.extensions.unwrap().fields;
        let mut names: Vec<_> = extensions.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["pubsubname", "time", "topic", "traceid", "traceparent", "tracestate"]);
        test.hub.settled().await;
        let after = test.hub.stats();
        let counted = match outcome {
            "delivered" => after.delivered - before.delivered,
            "dropped" => after.dropped - before.dropped,
            _ => after.lost - before.lost,
        };
        assert_eq!(counted, 1, "{data}: {outcome}");
    }
    test.dapr.publish_event(event("nowhere", "0")).await.unwrap();
    let Seen::Event(seen, _) = test.seen().await else { panic!("not an event") };
    assert_eq!(seen.path, "", "a subscription without routes has an empty path");
}

#[tokio::test(start_paused = true)]
async fn a_grpc_app_gets_bulks_and_jobs_and_cron() {
    let bulk = BulkSubscribeConfig { enabled: true, max_messages_count: 2, ..Default::default() };
    let mut test =
        GrpcTest::new(vec![TopicSubscription { bulk_subscribe: Some(bulk), ..subscription("t", "/b") }]).await;
    test.dapr.publish_event(event("t", "1")).await.unwrap();
    test.dapr.publish_event(event("t", "2")).await.unwrap();
    let bulk = loop {
        match test.seen().await {
            Seen::Bulk(bulk) => break bulk,
            Seen::Binding(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((bulk.entries.len(), bulk.path.as_str(), bulk.r#type.as_str()), (2, "/b", "com.dapr.event.sent.bulk"));
    let Some(BulkEvent::CloudEvent(first)) = &bulk.entries[0].event else { panic!("no event") };
    assert_eq!(first.data, b"1");
    test.hub.settled().await;
    assert_eq!(test.hub.stats().delivered, 2);

    let data = Any { type_url: "t".into(), value: b"x".to_vec() };
    let job = Job { name: "j".into(), due_time: Some("0s".into()), data: Some(data.clone()), ..Job::default() };
    let mut own = DaprClient::connect(test.sidecars[1].grpc_endpoint()).await.unwrap();
    own.schedule_job(ScheduleJobRequest { job: Some(job), overwrite: false }).await.unwrap();
    let (mut jobs, mut ticks) = (0, 0);
    while jobs == 0 || ticks == 0 {
        match test.seen().await {
            Seen::Job(job) => {
                assert_eq!((job.name.as_str(), job.method.as_str(), job.data), ("j", "job/j", Some(data.clone())));
                jobs += 1;
            }
            Seen::Binding(binding) => {
                assert_eq!((binding.name.as_str(), binding.metadata["timeZone"].as_str()), ("tick", "UTC"));
                ticks += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_grpc_app_is_invoked_and_its_errors_pass() {
    let mut test = GrpcTest::new(Vec::new()).await;
    let call = |method: &str| {
        let extension = HttpExtension { verb: Verb::Post.into(), ..HttpExtension::default() };
        let message = InvokeRequest {
            method: method.into(),
            data: Some(Any { type_url: String::new(), value: b"x".to_vec() }),
            content_type: "text/plain".into(),
            http_extension: Some(extension),
        };
        traced(InvokeServiceRequest { id: "app-g".into(), message: Some(message) })
    };
    let answer = test.dapr.invoke_service(call("ping")).await.unwrap();
    assert_eq!(answer.metadata().get("x-app").unwrap(), "yes");
    let answer = answer.into_inner();
    assert_eq!((answer.data.unwrap().value, answer.content_type.as_str()), (b"pong".to_vec(), "text/plain"));
    let Seen::Invoke(seen, metadata) = test.seen().await else { panic!("not an invocation") };
    assert_eq!((seen.method.as_str(), seen.content_type.as_str()), ("ping", "text/plain"));
    for (name, value) in [
        ("traceparent", P),
        ("dapr-caller-app-id", "app-a"),
        ("dapr-callee-app-id", "app-g"),
        ("dapr-caller-namespace", "default"),
        ("x-own", "1"),
    ] {
        assert_eq!(metadata.get(name).unwrap(), value, "{name}");
    }
    let failed = test.dapr.invoke_service(call("fail")).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::AlreadyExists, "have it"));
    assert_eq!(failed.metadata().get("x-trailer").unwrap(), "1");
}

#[tokio::test]
async fn calls_of_an_apps_own_service_go_through() {
    let test = GrpcTest::new(Vec::new()).await;
    let metadata = [("dapr-app-id", "app-g"), ("x-own", "1"), ("traceparent", P), ("dapr-api-token", "theirs")];
    let mut call = Own::call(&test, "/my.Own/Echo", &metadata).await;
    let seen: Value = serde_json::from_str(call.response.headers()["x-seen"].to_str().unwrap()).unwrap();
    for (name, value) in [
        ("x-own", json!(["1"])),
        ("traceparent", json!([P])),
        ("dapr-caller-app-id", json!(["app-a"])),
        ("dapr-callee-app-id", json!(["app-g"])),
        ("dapr-app-id", Value::Null),
        ("dapr-api-token", Value::Null),
    ] {
        assert_eq!(seen[name], value, "{name}");
    }
    assert!(!call.response.headers().contains_key("grpc-trace-bin"), "the headers are the app's");
    // One message after the other: nothing waits for the end of the request.
    for data in ["one", "two"] {
        call.send(data).await;
        assert_eq!(call.frame().await.into_data().unwrap(), data);
    }
    let trailers = call.trailers().await;
    assert_eq!((&trailers["grpc-status"], &trailers["x-trailer"]), (&"0".parse().unwrap(), &"1".parse().unwrap()));

    let failed = Own::call(&test, "/my.Own/Fail", &metadata).await.trailers().await;
    assert_eq!((failed["grpc-status"].to_str().unwrap(), failed["grpc-message"].to_str().unwrap()), ("11", "too far"));
    for (id, message) in [("nobody", "no host found with the given ID"), ("127.0.0.1:1", "invalid app id 127.0.0.1:1")]
    {
        let refused = Own::call(&test, "/my.Own/Echo", &[("dapr-app-id", id)]).await.trailers().await;
        let refused = (refused["grpc-status"].to_str().unwrap(), refused["grpc-message"].to_str().unwrap());
        assert_eq!((refused.0, refused.1.replace("%20", " ").as_str()), ("2", message));
    }
}

/// What the app says in one block of headers are trailers, as grpc-go reads them.
#[tokio::test]
async fn an_error_of_an_app_ends_with_the_metadata_of_the_app() {
    let test = GrpcTest::new(Vec::new()).await;
    let call = Own::call(&test, "/my.Own/TrailersOnly", &[("dapr-app-id", "app-g"), ("baggage", "u=1")]).await;
    let head = call.response.headers().clone();
    assert_eq!(
        (head["content-type"].to_str().unwrap(), head.get("x-own"), head.get("grpc-status")),
        ("application/grpc", None, None)
    );
    assert!(head.contains_key("baggage"), "the sidecar's own");
    let trailers = call.trailers().await;
    assert_eq!((trailers["grpc-status"].to_str().unwrap(), trailers["x-own"].to_str().unwrap()), ("5", "1"));
    assert!(!trailers.contains_key("content-type"));

    for (method, status) in [("fail", "6"), ("unknown", "12")] {
        let call = Own::invoke(&test, method).await;
        let head = call.response.headers().clone();
        assert_eq!((head.get("x-trailer"), head["traceparent"].to_str().unwrap()), (None, P), "{method}");
        let trailers = call.trailers().await;
        let found = (trailers["grpc-status"].to_str().unwrap(), trailers["x-trailer"].to_str().unwrap());
        assert_eq!(found, (status, "1"), "{method}");
    }
}

/// Where the app's answer breaks off, the caller gets a status nevertheless.
#[tokio::test]
async fn an_answer_that_breaks_off_has_a_status() {
    let test = GrpcTest::new(Vec::new()).await;
    for (path, code, message) in [
        ("/my.Own/Break", "13", "stream terminated by RST_STREAM with error code: INTERNAL_ERROR"),
        ("/my.Own/Cancel", "1", "stream terminated by RST_STREAM with error code: CANCEL"),
        ("/my.Own/NoTrailers", "13", "server closed the stream without sending trailers"),
        ("/my.Own/NoStatus", "2", ""),
        ("/my.Own/Malformed", "13", "transport: malformed grpc-status-details-bin"),
    ] {
        let mut call = Own::call(&test, path, &[("dapr-app-id", "app-g")]).await;
        call.send("data").await;
        assert_eq!(call.frame().await.into_data().unwrap(), "data", "{path}");
        let trailers = call.trailers().await;
        let text = trailers.get("grpc-message").map(|text| text.to_str().unwrap().replace("%20", " "));
        assert_eq!((trailers["grpc-status"].to_str().unwrap(), text.unwrap_or_default().as_str()), (code, message));
    }
    let at_once = Own::call(&test, "/my.Own/BreakAtOnce", &[("dapr-app-id", "app-g")]).await.trailers().await;
    assert_eq!(at_once["grpc-status"], "13");
    let mut lost = Own::call(&test, "/my.Own/Echo", &[("dapr-app-id", "app-g")]).await;
    lost.send("data").await;
    lost.frame().await;
    test.cut.notify_waiters();
    assert_eq!(lost.frame().await.into_trailers().unwrap()["grpc-status"], "14", "the connection is gone");
}

#[tokio::test]
async fn an_app_has_limits_of_its_own() {
    let test = GrpcTest::new(Vec::new()).await;
    let trailers = Own::call(&test, "/my.Own/Limit", &[("dapr-app-id", "app-g")]).await.trailers().await;
    let text = trailers["grpc-message"].to_str().unwrap().replace("%20", " ");
    assert_eq!((trailers["grpc-status"].to_str().unwrap(), text.as_str()), ("11", LIMIT));
    let trailers = Own::invoke(&test, "limit").await.trailers().await;
    let text = trailers["grpc-message"].to_str().unwrap().replace("%20", " ");
    assert_eq!((trailers["grpc-status"].to_str().unwrap(), text.as_str()), ("11", LIMIT));
}

#[tokio::test]
async fn metadata_of_a_grpc_app_are_headers_over_http() {
    let test = GrpcTest::new(Vec::new()).await;
    let stream = TcpStream::connect(("127.0.0.1", test.sidecars[0].http_port())).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("/v1.0/invoke/app-g/method/ping").header("host", "localhost");
    let response = client.send_request(request.body(Full::new(Bytes::from_static(b"x"))).unwrap()).await.unwrap();
    let headers = response.headers();
    assert_eq!((response.status().as_u16(), headers["x-app"].to_str().unwrap()), (200, "yes"));
    assert_eq!(headers["content-type"], "text/plain");
}

/// As many as a client likes: one that waits does not hold up the next.
#[tokio::test]
async fn a_connection_has_room_for_many_streams() {
    let hub = Hub::builder().configuration_store("settings").build();
    let sidecar = hub.app("app-a").start().await.unwrap();
    let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    let mut watches = Vec::new();
    for _ in 0..=200 {
        let watch = SubscribeConfigurationRequest { store_name: "settings".into(), ..Default::default() };
        let watch = dapr.subscribe_configuration(watch);
        let mut watch = tokio::time::timeout(Duration::from_secs(10), watch).await.unwrap().unwrap().into_inner();
        assert!(!watch.message().await.unwrap().unwrap().id.is_empty());
        watches.push(watch);
    }
}

// ===== events that go wrong =====

/// More metadata than a map of headers holds; the next event comes all the same.
#[tokio::test]
async fn a_subscription_survives_an_event_with_too_many_headers() {
    let mut test = HttpTest::new(Hub::builder(), json!([{"pubsubname": "bus", "topic": "t", "route": "/t"}])).await;
    let mut bad = event("t", "1");
    bad.metadata = (0..25_000).map(|n| (format!("x{n}"), String::new())).collect();
    test.dapr.publish_event(bad).await.unwrap();
    test.hub.settled().await;
    assert_eq!(test.hub.stats().lost, 1, "no app takes so many");
    test.dapr.publish_event(event("t", "2")).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(10), test.seen.recv()).await;
    assert_eq!(next.expect("the subscription goes on").unwrap().1["data"], 2);
}

#[tokio::test]
async fn a_subscription_survives_an_answer_with_malformed_details() {
    let mut test = GrpcTest::new(vec![subscription("t", "/default")]).await;
    for (data, lost) in [("20", 1), ("0", 0)] {
        let before = test.hub.stats().lost;
        test.dapr.publish_event(event("t", data)).await.unwrap();
        let Seen::Event(seen, _) = test.seen().await else { panic!("not an event") };
        assert_eq!(seen.data, data.as_bytes());
        test.hub.settled().await;
        assert_eq!(test.hub.stats().lost - before, lost, "{data}");
    }
    assert_eq!(test.hub.stats().delivered, 1);
}

#[tokio::test]
async fn an_event_without_time_to_live_expires_at_once() {
    let test = HttpTest::new(Hub::builder(), json!([{"pubsubname": "bus", "topic": "t", "route": "/t"}])).await;
    let mut dapr = test.dapr.clone();
    for (ttl, dropped) in [("0", 1), ("-5s", 2), ("60", 2), ("-5", 2)] {
        let mut event = event("t", "1");
        event.metadata = HashMap::from([("ttlInSeconds".to_owned(), ttl.to_owned())]);
        dapr.publish_event(event).await.unwrap();
        test.hub.settled().await;
        assert_eq!(test.hub.stats().dropped, dropped, "{ttl}");
    }
    assert_eq!(test.hub.stats().delivered, 2);
}

/// Of two subscriptions to a topic one counts: what the app says before what is declared, and of the app's the last.
#[tokio::test]
async fn a_topic_has_one_subscription() {
    let files = tempfile::tempdir().unwrap();
    let declared = |name: &str, topic: &str| {
        format!(
            "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: {name}\nspec:\n  \
             pubsubname: bus\n  topic: {topic}\n  routes:\n    default: /{name}\n"
        )
    };
    for (name, topic) in [("a", "both"), ("b", "declared"), ("c", "declared")] {
        std::fs::write(files.path().join(format!("{name}.yaml")), declared(name, topic)).unwrap();
    }
    let own = |topic: &str, route: &str| json!({"pubsubname": "bus", "topic": topic, "route": route});
    let own = json!([own("both", "/app"), own("app", "/first"), own("app", "/last")]);
    let mut test = HttpTest::new(Hub::builder().resources(files.path(), true).unwrap(), own).await;
    for (topic, path) in [("both", "/app"), ("declared", "/b"), ("app", "/last")] {
        test.dapr.publish_event(event(topic, "1")).await.unwrap();
        assert_eq!(test.seen.recv().await.unwrap().0, path);
        test.hub.settled().await;
        assert!(test.seen.try_recv().is_err(), "{topic}: once");
    }
    let listed = test.dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner().subscriptions;
    let listed: Vec<_> = listed.iter().map(|one| (one.topic.as_str(), one.r#type())).collect();
    let (declared, own) = (PubsubSubscriptionType::Declarative, PubsubSubscriptionType::Programmatic);
    assert_eq!(listed, [("both", own), ("declared", declared), ("app", own)]);
}

// ===== helpers =====

/// What a tonic app says to a message that is larger than it takes.
const LIMIT: &str = "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes";

fn event(topic: &str, data: &str) -> PublishEventRequest {
    PublishEventRequest {
        pubsub_name: "bus".into(),
        topic: topic.into(),
        data: data.into(),
        data_content_type: "application/json".into(),
        ..Default::default()
    }
}

fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", P.parse().unwrap());
    request.metadata_mut().insert("x-own", "1".parse().unwrap());
    request
}

fn initial(pubsub: &str, topic: &str) -> SubscribeTopicEventsRequestAlpha1 {
    let initial = SubscribeTopicEventsRequestInitialAlpha1 {
        pubsub_name: pubsub.into(),
        topic: topic.into(),
        ..Default::default()
    };
    let kind = Some(up::SubscribeTopicEventsRequestType::InitialRequest(initial));
    SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type: kind }
}

fn processed(id: &str, status: i32) -> SubscribeTopicEventsRequestAlpha1 {
    let status = Some(TopicEventResponse { status });
    let processed = SubscribeTopicEventsRequestProcessedAlpha1 { id: id.into(), status };
    let kind = Some(up::SubscribeTopicEventsRequestType::EventProcessed(processed));
    SubscribeTopicEventsRequestAlpha1 { subscribe_topic_events_request_type: kind }
}

fn subscription(topic: &str, default: &str) -> TopicSubscription {
    let routes =
        Some(TopicRoutes { default: default.into(), ..TopicRoutes::default() }).filter(|_| !default.is_empty());
    TopicSubscription { pubsub_name: "bus".into(), topic: topic.into(), routes, ..Default::default() }
}

fn bulk_subscription(count: u32) -> Value {
    json!([{
        "pubsubname": "bus", "topic": "t", "route": "/bulk",
        "bulkSubscribe": {"enabled": true, "maxMessagesCount": count, "maxAwaitDurationMs": 500},
    }])
}

/// An HTTP app that records the path and the JSON of what it gets. To a bulk it answers what its data say.
struct HttpTest {
    hub: Hub,
    #[allow(dead_code, reason = "kept running")]
    sidecar: Sidecar,
    dapr: DaprClient<Channel>,
    seen: mpsc::UnboundedReceiver<(String, Value)>,
}

impl HttpTest {
    async fn new(hub: HubBuilder, subscriptions: Value) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let subscriptions = subscriptions.to_string();
        let router = Router::new().fallback(move |request: HttpRequest| {
            let (sender, subscriptions) = (sender.clone(), subscriptions.clone());
            async move {
                let path = request.uri().path().to_owned();
                match path.as_str() {
                    "/dapr/config" => return StatusCode::NOT_FOUND.into_response(),
                    "/dapr/subscribe" => return subscriptions.into_response(),
                    _ => {}
                }
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let answer = statuses(&body);
                let _ = sender.send((path, body));
                answer.to_string().into_response()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let hub = hub.pubsub("bus").build();
        let sidecar = hub.app("app-a").app_port(port).start().await.unwrap();
        sidecar.ready().await;
        Self { hub, dapr: DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap(), sidecar, seen }
    }
}

fn statuses(bulk: &Value) -> Value {
    let Some(entries) = bulk["entries"].as_array() else { return json!({}) };
    let status = |entry: &Value| match entry["event"]["data"].as_str() {
        Some("none") => None,
        status => Some(json!({"entryId": entry["entryId"], "status": status.unwrap_or("SUCCESS")})),
    };
    json!({ "statuses": entries.iter().filter_map(status).collect::<Vec<_>>() })
}

#[derive(Debug)]
enum Seen {
    Event(TopicEventRequest, tonic::metadata::MetadataMap),
    Bulk(TopicEventBulkRequest),
    Invoke(InvokeRequest, tonic::metadata::MetadataMap),
    Job(JobEventRequest),
    Binding(BindingEventRequest),
}

/// `app-a` calls; `app-g` speaks gRPC, and is recorded.
struct GrpcTest {
    hub: Hub,
    sidecars: [Sidecar; 2],
    dapr: DaprClient<Channel>,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Cuts the app's connections.
    cut: Arc<Notify>,
}

impl GrpcTest {
    async fn new(subscriptions: Vec<TopicSubscription>) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = GrpcApp { subscriptions, sender };
        let routes = tonic::service::Routes::new(AppCallbackServer::new(app)).into_axum_router();
        let routes = routes.route("/my.Own/{method}", axum::routing::post(own_service));
        let cut = Arc::new(Notify::new());
        tokio::spawn(serve_http2(listener, routes, Arc::clone(&cut)));
        let hub = Hub::builder().pubsub("bus").cron("tick", "@every 1s").unwrap().build();
        let callee = hub.app("app-g").app_port(port).app_protocol(AppProtocol::Grpc).start().await.unwrap();
        callee.ready().await;
        let caller = hub.app("app-a").start().await.unwrap();
        let dapr = DaprClient::connect(caller.grpc_endpoint()).await.unwrap();
        Self { hub, sidecars: [caller, callee], dapr, seen, cut }
    }

    async fn seen(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }
}

async fn serve_http2(listener: TcpListener, routes: Router, cut: Arc<Notify>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(routes.clone());
        let mut server = auto::Builder::new(TokioExecutor::new()).http2_only();
        server.http2().auto_date_header(false);
        let cut = Arc::clone(&cut);
        tokio::spawn(async move {
            tokio::select! {
                _ = server.serve_connection(TokioIo::new(stream), service) => {}
                () = cut.notified() => {}
            }
        });
    }
}

struct GrpcApp {
    subscriptions: Vec<TopicSubscription>,
    sender: mpsc::UnboundedSender<Seen>,
}

#[tonic::async_trait]
impl AppCallback for GrpcApp {
    async fn on_invoke(&self, request: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let error = match message.method.as_str() {
            "fail" => Some(Status::already_exists("have it")),
            "unknown" => Some(Status::unimplemented("")),
            "limit" => Some(Status::out_of_range(LIMIT)),
            _ => None,
        };
        let _ = self.sender.send(Seen::Invoke(message, metadata));
        if let Some(mut status) = error {
            status.metadata_mut().insert("x-trailer", "1".parse().unwrap());
            return Err(status);
        }
        let data = Some(Any { type_url: String::new(), value: b"pong".to_vec() });
        let mut response = Response::new(InvokeResponse { data, content_type: "text/plain".into() });
        response.metadata_mut().insert("x-app", "yes".parse().unwrap());
        Ok(response)
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions: self.subscriptions.clone() }))
    }

    /// Data below 10 are the status, above it ten less is the code.
    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        let (metadata, _, event) = request.into_parts();
        let status: i32 = std::str::from_utf8(&event.data).unwrap().parse().unwrap();
        let _ = self.sender.send(Seen::Event(event, metadata));
        match status {
            0..10 => Ok(Response::new(TopicEventResponse { status })),
            12 => Err(Status::unimplemented("")),
            20 => {
                let mut status = Status::unavailable("");
                status.metadata_mut().as_mut().insert("grpc-status-details-bin", "%%%".parse().unwrap());
                Err(status)
            }
            _ => Err(Status::unavailable("")),
        }
    }

    async fn list_input_bindings(&self, _: Request<()>) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse { bindings: vec!["tick".into()] }))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        // Only with the test that asks for it: the clock of the others does not move.
        let _ = self.sender.send(Seen::Binding(request.into_inner()));
        Ok(Response::new(BindingEventResponse::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        let bulk = request.into_inner();
        let status = |entry: &TopicEventBulkRequestEntry| TopicEventBulkResponseEntry {
            entry_id: entry.entry_id.clone(),
            status: 0,
        };
        let statuses = bulk.entries.iter().map(status).collect();
        let _ = self.sender.send(Seen::Bulk(bulk));
        Ok(Response::new(TopicEventBulkResponse { statuses }))
    }

    async fn on_job_event(&self, request: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        let _ = self.sender.send(Seen::Job(request.into_inner()));
        Ok(Response::new(JobEventResponse {}))
    }
}

/// The app's own service: echoes what comes as it comes, and tells what headers came with it.
async fn own_service(request: HttpRequest) -> axum::response::Response {
    let seen: Value = request
        .headers()
        .keys()
        .map(|name| {
            let values = request.headers().get_all(name).iter().map(|value| value.to_str().unwrap());
            (name.to_string(), json!(values.collect::<Vec<_>>()))
        })
        .collect();
    let method = request.uri().path().trim_start_matches("/my.Own/").to_owned();
    let header = |name: &str, value: &str| (name.parse().unwrap(), value.parse().unwrap());
    let trailers: HeaderMap = match method.as_str() {
        "Fail" => [header("grpc-status", "11"), header("grpc-message", "too far")].into_iter().collect(),
        "Limit" => [header("grpc-status", "11"), header("grpc-message", LIMIT)].into_iter().collect(),
        "Malformed" => [header("grpc-status", "0"), header("grpc-status-details-bin", "%%%")].into_iter().collect(),
        "NoStatus" => HeaderMap::new(),
        _ => [header("grpc-status", "0"), header("x-trailer", "1")].into_iter().collect(),
    };
    let end = match method.as_str() {
        "TrailersOnly" => {
            let headers = [("content-type", "application/grpc"), ("grpc-status", "5"), ("x-own", "1")];
            return (headers, ()).into_response();
        }
        "NoTrailers" => None,
        "Break" | "BreakAtOnce" => Some(Err(axum::Error::new("on purpose"))),
        "Cancel" => Some(Err(axum::Error::new(h2::Error::from(h2::Reason::CANCEL)))),
        _ => Some(Ok(trailers)),
    };
    let end = std::future::ready(end);
    let body = match method.as_str() {
        "BreakAtOnce" => axum::body::Body::new(Full::default().map_err(axum::Error::new).with_trailers(end)),
        _ => axum::body::Body::new(request.into_body().with_trailers(end)),
    };
    ([("content-type", "application/grpc"), ("x-seen", &seen.to_string())], body).into_response()
}

/// A call as it is on the wire.
struct Own {
    requests: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
    response: http::Response<hyper::body::Incoming>,
}

impl Own {
    async fn call(test: &GrpcTest, path: &str, headers: &[(&str, &str)]) -> Self {
        let (requests, body) = mpsc::channel(4);
        Self::open(test, path, headers, requests, body).await
    }

    async fn invoke(test: &GrpcTest, method: &str) -> Self {
        let message = InvokeRequest { method: method.into(), ..InvokeRequest::default() };
        let message = InvokeServiceRequest { id: "app-g".into(), message: Some(message) }.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let (sender, body) = mpsc::channel(1);
        sender.send(Ok(Frame::data([&[0][..], &length, &message].concat().into()))).await.unwrap();
        let path = "/dapr.proto.runtime.v1.Dapr/InvokeService";
        drop(sender);
        Self::open(test, path, &[("traceparent", P)], mpsc::channel(1).0, body).await
    }

    async fn open(
        test: &GrpcTest,
        path: &str,
        headers: &[(&str, &str)],
        requests: mpsc::Sender<Result<Frame<Bytes>, Infallible>>,
        body: mpsc::Receiver<Result<Frame<Bytes>, Infallible>>,
    ) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", test.sidecars[0].grpc_port())).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = http::Request::post(format!("{}{path}", test.sidecars[0].grpc_endpoint()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
        Self { requests, response: client.send_request(request).await.unwrap() }
    }

    async fn send(&self, data: &'static str) {
        self.requests.send(Ok(Frame::data(Bytes::from_static(data.as_bytes())))).await.unwrap();
    }

    async fn frame(&mut self) -> Frame<Bytes> {
        self.response.frame().await.unwrap().unwrap()
    }

    async fn trailers(mut self) -> HeaderMap {
        drop(self.requests);
        loop {
            let frame = self.response.frame().await.unwrap().unwrap();
            if let Ok(trailers) = frame.into_trailers() {
                return trailers;
            }
        }
    }
}
