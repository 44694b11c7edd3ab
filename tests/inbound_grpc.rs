//! The same subscriptions for an app that speaks gRPC: every call of daprd's, through a real client and tonic's server.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(deprecated, reason = "daprd still calls it")]

mod recorded;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::RawQuery,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{HttpExtension, InvokeRequest, http_extension::Verb},
    runtime::v1::{
        BindingEventRequest, JobEventRequest, TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventCeRequest,
        TopicEventRequest, app_callback_alpha_client::AppCallbackAlphaClient, app_callback_client::AppCallbackClient,
        app_callback_health_check_client::AppCallbackHealthCheckClient, topic_event_bulk_request_entry::Event as Raw,
        topic_event_response::TopicEventResponseStatus as Verdict,
    },
};
use prost_types::{Any, Struct, Value, value::Kind};
use tonic::{Code, Request};
use tower::ServiceExt;
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{CloudEvent, Event, ExtensionValue, Limits, Outcome, Outcomes},
    inbound::{AppCallbacks, Binding, Bulk, InboundLayer, Rejected, RequireApiTokenLayer, Subscriptions, Topic},
};

use self::recorded::{Spans, attribute};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01";

// ===== what daprd asks for =====

#[tokio::test]
async fn subscriptions_and_bindings_are_listed() {
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").route("/orders").dead_letter("poison"), ok)
            .topic(Topic::new("bus", "orders").when("event.type == \"a\"").route("/a"), ok)
            .topic(Topic::new("bus", "many").raw_payload().bulk(5, Duration::from_millis(7)), ok)
            .binding("cron", ok)
            .binding(Binding::new("files").route("/in"), ok),
    );
    let listed = client(&callbacks).list_topic_subscriptions(()).await.unwrap().into_inner().subscriptions;
    assert_eq!((listed.len(), listed[0].topic.as_str(), listed[0].pubsub_name.as_str()), (2, "orders", "bus"));
    assert_eq!(listed[0].dead_letter_topic, "poison");
    let routes = listed[0].routes.as_ref().unwrap();
    assert_eq!((routes.default.as_str(), routes.rules.len()), ("/orders", 1));
    assert_eq!((routes.rules[0].r#match.as_str(), routes.rules[0].path.as_str()), ("event.type == \"a\"", "/a"));
    let bulk = listed[1].bulk_subscribe.unwrap();
    assert_eq!((bulk.enabled, bulk.max_messages_count, bulk.max_await_duration_ms), (true, 5, 7));
    assert_eq!(listed[1].metadata["rawPayload"], "true");
    let mut bindings = client(&callbacks).list_input_bindings(()).await.unwrap().into_inner().bindings;
    bindings.sort();
    assert_eq!(bindings, ["cron", "files"]);
}

#[tokio::test]
async fn health_is_what_the_app_says() {
    for (status, code) in [(StatusCode::OK, None), (StatusCode::SERVICE_UNAVAILABLE, Some(Code::Unavailable))] {
        let callbacks = callbacks(Subscriptions::new().health(async move || status));
        let mut client = AppCallbackHealthCheckClient::new(app(&callbacks));
        assert_eq!(client.health_check(()).await.err().map(|status| status.code()), code);
    }
}

// ===== topics =====

#[tokio::test]
async fn a_topic_event_reaches_its_handler_whole() {
    let seen = Arc::new(Mutex::new(None));
    let inner = seen.clone();
    let callbacks = callbacks(Subscriptions::new().topic(
        Topic::new("bus", "orders").route("/orders"),
        async move |headers: HeaderMap, event: CloudEvent| {
            *inner.lock().unwrap() = Some((headers, event));
        },
    ));
    let mut request = Request::new(TopicEventRequest {
        extensions: Some(Struct {
            fields: [
                ("traceparent", Kind::StringValue(TRACE.into())),
                ("tracestate", Kind::StringValue(String::new())),
                ("topic", Kind::StringValue("orders".into())),
                ("pubsubname", Kind::StringValue("bus".into())),
                ("time", Kind::StringValue("2026-11-23T11:45:21Z".into())),
                ("subject", Kind::StringValue("s".into())),
                ("whole", Kind::NumberValue(-7.0)),
                ("half", Kind::NumberValue(0.5)),
                ("huge", Kind::NumberValue(1e300)),
                ("nan", Kind::NumberValue(f64::NAN)),
                ("flag", Kind::BoolValue(true)),
                ("none", Kind::NullValue(0)),
            ]
            .map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) }))
            .into(),
        }),
        ..event("/orders", b"{\"n\":1}")
    });
    request.metadata_mut().insert("x-meta", "1".parse().unwrap());
    let verdict = client(&callbacks).on_topic_event(request).await.unwrap().into_inner().status;
    assert_eq!(verdict, Verdict::Success as i32);

    let (headers, event) = seen.lock().unwrap().take().unwrap();
    assert_eq!(headers["x-meta"], "1");
    assert!(!headers.contains_key("te") && !headers.contains_key("content-type"), "{headers:?}");
    assert_eq!((event.id(), event.source(), event.ty()), (Some("7"), "shop", "order.v1"));
    assert_eq!((event.topic(), event.pubsub_name(), event.subject()), (Some("orders"), Some("bus"), Some("s")));
    assert_eq!((event.time(), event.trace_parent()), (Some("2026-11-23T11:45:21Z"), Some(TRACE)));
    assert_eq!(event.trace_state(), None);
    for (name, value) in [("whole", "-7"), ("half", "0.5"), ("huge", "1e+300"), ("nan", "null"), ("flag", "true")] {
        assert_eq!(event.extension(name), Some(ExtensionValue::Json(value)), "{name}");
    }
    assert_eq!(event.extension("none"), None);
    assert_eq!(event.data_as::<serde_json::Value>().unwrap(), serde_json::json!({"n": 1}));
}

#[tokio::test]
async fn a_verdict_means_the_same_as_over_http() {
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "a").route("/unit"), async |_: Event<u32>| {})
            .topic(Topic::new("bus", "b").route("/retry"), async || Outcome::Retry)
            .topic(Topic::new("bus", "c").route("/drop"), async || Outcome::Drop)
            .topic(Topic::new("bus", "d").route("/error"), async || Err::<(), _>(Rejected::retry("no")))
            .topic(Topic::new("bus", "e").route("/panic"), async || -> () { panic!("on purpose") })
            .topic(Topic::new("bus", "f").route("/misfit"), async |_: Event<String>| {})
            .topic(Topic::new("bus", "g").route("/404"), async || StatusCode::NOT_FOUND)
            .topic(Topic::new("bus", "h").route("/503"), async || StatusCode::SERVICE_UNAVAILABLE)
            .topic(Topic::new("bus", "i").route("/501"), async || (StatusCode::NOT_IMPLEMENTED, "later"))
            .topic(Topic::new("bus", "j").route("/text"), async || "not json")
            .topic(Topic::new("bus", "k").route("/unknown"), async || r#"{"status":"success"}"#)
            .topic(Topic::new("bus", "l").route("/a/b"), async || Outcome::Retry)
            .topic(Topic::new("bus", "m").route("/myevent.F"), async || Outcome::Retry),
    );
    for (path, expected) in [
        ("/unit", Ok(Verdict::Success)),
        ("/retry", Ok(Verdict::Retry)),
        ("/drop", Ok(Verdict::Drop)),
        ("/error", Ok(Verdict::Retry)),
        ("/panic", Ok(Verdict::Retry)),
        ("/misfit", Ok(Verdict::Drop)),
        ("/404", Ok(Verdict::Drop)),
        ("/nowhere", Ok(Verdict::Drop)),
        // A declared subscription's path may lack the slash.
        ("retry", Ok(Verdict::Retry)),
        ("a/b", Ok(Verdict::Retry)),
        ("myevent.F", Ok(Verdict::Retry)),
        ("", Ok(Verdict::Drop)),
        ("not a path", Ok(Verdict::Drop)),
        ("/503", Err((Code::Unavailable, "the handler answered 503"))),
        ("/501", Err((Code::Unknown, "later"))),
        ("/text", Ok(Verdict::Success)),
        ("/unknown", Ok(Verdict::Retry)),
    ] {
        let answer = client(&callbacks).on_topic_event(event(path, b"7")).await;
        let verdict = answer
            .map(|answer| Verdict::try_from(answer.into_inner().status).unwrap())
            .map_err(|status| (status.code(), status.message().to_owned()));
        assert_eq!(verdict, expected.map_err(|(code, message)| (code, message.to_owned())), "{path}");
    }
}

#[tokio::test]
async fn an_event_without_a_path_goes_to_the_topics_default() {
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").raw_json(), async |event: Event<u32>| assert_eq!(event.data, 7))
            .topic(Topic::new("bus", "other"), async || Outcome::Drop),
    );
    let raw = TopicEventRequest { data_content_type: "application/octet-stream".into(), ..event("", b"7") };
    let answer = client(&callbacks).on_topic_event(raw).await.unwrap().into_inner();
    assert_eq!(answer.status, Verdict::Success as i32);
}

#[tokio::test]
async fn what_cannot_be_decoded_is_answered_as_configured() {
    for (layer, expected) in [
        (CloudEventLayer::new(), Verdict::Drop),
        (CloudEventLayer::new().on_undecodable(Outcome::Retry), Verdict::Retry),
    ] {
        let callbacks = callbacks(
            Subscriptions::new()
                .topic(Topic::new("bus", "orders").route("/a"), async || -> () { panic!("reached") })
                .with_cloud_event_layer(layer.with_limits(Limits::default().with_bytes(5))),
        );
        for request in [
            TopicEventRequest { spec_version: "0.3".into(), ..event("/a", b"1") },
            event("/a", b"123456"),
            TopicEventRequest {
                extensions: Some(extension("id", "again")),
                id: String::new(),
                ..event("/a", b"123456")
            },
        ] {
            let answer = client(&callbacks).on_topic_event(request).await.unwrap().into_inner();
            assert_eq!(answer.status, expected as i32);
        }
    }
}

#[tokio::test]
async fn processing_is_a_span_inside_that_of_the_call() {
    let spans = Spans::new();
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").route("/a"), async || Outcome::Retry)
            .with_cloud_event_layer(CloudEventLayer::new().with_tracer_provider(&spans.provider)),
    );
    let app = routes(&callbacks).layer(InboundLayer::new().with_tracer_provider(&spans.provider));
    let request = TopicEventRequest { extensions: Some(extension("traceparent", TRACE)), ..event("/a", b"1") };
    AppCallbackClient::new(service(app)).on_topic_event(request).await.unwrap();
    let finished = spans.take();
    let [process, server] = finished.as_slice() else { panic!("{finished:?}") };
    assert_eq!(process.name, "process orders");
    assert_eq!(server.name, "dapr.proto.runtime.v1.AppCallback/OnTopicEvent");
    assert_eq!(process.parent_span_id, server.span_context.span_id());
    assert_eq!(process.links.len(), 1);
    assert_eq!(attribute(process, "error.type").as_deref(), Some("RETRY"));
}

#[tokio::test]
async fn an_event_is_as_large_as_the_limits_say() {
    let limits = Limits::default().with_bytes(8 << 20);
    let layer = CloudEventLayer::new().with_limits(limits);
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").route("/a"), async |event: Event<String>| {
                assert!(!event.data.is_empty());
            })
            .with_cloud_event_layer(layer),
    );
    for (mib, expected) in [(5, Verdict::Success), (9, Verdict::Drop)] {
        let data = vec![b'x'; mib << 20];
        let event = TopicEventRequest { data_content_type: "text/plain".into(), ..event("/a", &data) };
        let answer = client(&callbacks).on_topic_event(event).await.unwrap().into_inner();
        assert_eq!(answer.status, expected as i32, "{mib} MiB");
    }
    let entry = |id: &str, mib: usize| TopicEventBulkRequestEntry {
        entry_id: id.into(),
        event: Some(Raw::Bytes(vec![b'x'; mib << 20])),
        content_type: "text/plain".into(),
        ..TopicEventBulkRequestEntry::default()
    };
    let bulk = TopicEventBulkRequest {
        entries: vec![entry("a", 5), entry("b", 9)],
        path: "/a".into(),
        ..TopicEventBulkRequest::default()
    };
    let layer = CloudEventLayer::new().with_limits(limits);
    let callbacks = self::callbacks(
        Subscriptions::new().topic(Topic::new("bus", "orders").route("/a"), ok).with_cloud_event_layer(layer),
    );
    let stable = client(&callbacks).on_bulk_topic_event(bulk.clone()).await.unwrap().into_inner().statuses;
    let mut alpha = AppCallbackAlphaClient::new(app(&callbacks));
    let alpha = alpha.on_bulk_topic_event_alpha1(bulk).await.unwrap().into_inner().statuses;
    for mut statuses in [stable, alpha] {
        statuses.sort_by(|a, b| a.entry_id.cmp(&b.entry_id));
        let statuses: Vec<_> = statuses.iter().map(|status| status.status).collect();
        assert_eq!(statuses, [Verdict::Success as i32, Verdict::Drop as i32]);
    }
}

#[tokio::test]
async fn empty_text_and_octets_are_data() {
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "a").route("/text"), async |event: Event<String>| assert_eq!(event.data, ""))
            .topic(Topic::new("bus", "b").route("/bytes"), async |event: Event<Vec<u8>>| assert_eq!(event.data, b""))
            .topic(Topic::new("bus", "c").route("/unit"), async |event: Event<()>| event.data)
            .topic(Topic::new("bus", "d").route("/option"), async |event: Event<Option<u32>>| {
                assert_eq!(event.data, None);
            })
            .topic(Topic::new("bus", "e").route("/json").raw_json(), async |event: Event<Option<u32>>| {
                assert_eq!(event.data, None);
            }),
    );
    for (path, media_type) in [
        ("/text", "text/plain"),
        ("/bytes", "application/octet-stream"),
        ("/unit", "text/plain"),
        ("/unit", "application/octet-stream"),
        ("/unit", "application/json"),
        ("/option", "text/plain"),
        ("/option", "application/octet-stream"),
        ("/option", "application/json"),
        ("/json", "application/octet-stream"),
    ] {
        let empty = TopicEventRequest { data_content_type: media_type.into(), ..event(path, b"") };
        let answer = client(&callbacks).on_topic_event(empty).await.unwrap().into_inner();
        assert_eq!(answer.status, Verdict::Success as i32, "{path} {media_type}");
    }
}

// ===== bulk =====

#[tokio::test]
async fn each_entry_of_a_bulk_gets_its_verdict() {
    async fn each(bulk: Bulk<u32>) -> Outcomes {
        bulk.each(async |event: Event<u32>| {
            assert_eq!((event.topic(), event.cloud_event().pubsub_name()), (Some("orders"), Some("bus")));
            if event.data > 0 { Outcome::Success } else { Outcome::Retry }
        })
        .await
    }
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").route("/each"), each)
            .topic(Topic::new("bus", "a").route("/all"), async || Outcome::Drop)
            .topic(Topic::new("bus", "b").route("/own"), async || r#"{"statuses":[{"entryId":"a","status":""}]}"#)
            .topic(Topic::new("bus", "c").route("/text"), async || "done")
            .topic(Topic::new("bus", "d").route("/500"), async || StatusCode::INTERNAL_SERVER_ERROR),
    );
    let cloud_event = |data: &[u8], spec_version: &str| {
        Raw::CloudEvent(TopicEventCeRequest {
            id: "7".into(),
            spec_version: spec_version.into(),
            data_content_type: "application/json".into(),
            data: data.to_vec(),
            ..TopicEventCeRequest::default()
        })
    };
    let bulk = |path: &str| TopicEventBulkRequest {
        entries: [
            ("a", Some(cloud_event(b"1", "1.0")), ""),
            ("b", Some(cloud_event(b"0", "1.0")), ""),
            ("c", Some(Raw::Bytes(b"2".to_vec())), "application/json"),
            ("d", Some(cloud_event(b"1", "0.3")), ""),
            ("e", None, ""),
        ]
        .map(|(id, event, content_type)| TopicEventBulkRequestEntry {
            entry_id: id.into(),
            event,
            content_type: content_type.into(),
            ..TopicEventBulkRequestEntry::default()
        })
        .into(),
        topic: "orders".into(),
        pubsub_name: "bus".into(),
        path: path.into(),
        ..TopicEventBulkRequest::default()
    };
    use Verdict::{Drop, Retry, Success};
    for (path, expected) in [
        ("/each", vec![("a", Success), ("b", Retry), ("c", Success), ("d", Drop), ("e", Drop)]),
        ("/all", ["a", "b", "c", "d", "e"].map(|id| (id, Drop)).to_vec()),
        ("/own", vec![("a", Retry)]),
        ("/text", ["a", "b", "c", "d", "e"].map(|id| (id, Retry)).to_vec()),
        ("/nowhere", ["a", "b", "c", "d", "e"].map(|id| (id, Drop)).to_vec()),
        ("all", ["a", "b", "c", "d", "e"].map(|id| (id, Drop)).to_vec()),
        ("text", ["a", "b", "c", "d", "e"].map(|id| (id, Retry)).to_vec()),
        ("not a path", ["a", "b", "c", "d", "e"].map(|id| (id, Drop)).to_vec()),
    ] {
        let stable = client(&callbacks).on_bulk_topic_event(bulk(path)).await.unwrap().into_inner().statuses;
        let mut alpha = AppCallbackAlphaClient::new(app(&callbacks));
        let alpha = alpha.on_bulk_topic_event_alpha1(bulk(path)).await.unwrap().into_inner().statuses;
        for statuses in [stable, alpha] {
            let mut statuses: Vec<_> =
                statuses.iter().map(|s| (s.entry_id.as_str(), Verdict::try_from(s.status).unwrap())).collect();
            statuses.sort_by_key(|(id, _)| *id);
            assert_eq!(statuses, expected, "{path}");
        }
    }
    assert_eq!(client(&callbacks).on_bulk_topic_event(bulk("/500")).await.unwrap_err().code(), Code::Internal);
}

// ===== bindings, jobs, invocation =====

#[tokio::test]
async fn a_binding_event_is_a_request_with_its_metadata() {
    let callbacks = callbacks(
        Subscriptions::new()
            .binding(Binding::new("files").route("/in/files"), async |headers: HeaderMap, body: Bytes| {
                assert_eq!((&headers["filename"], &body[..]), (&"a.txt".parse().unwrap(), &b"x"[..]));
                "answer"
            })
            .binding("cron", async || Outcome::Retry),
    );
    let event = |name: &str| BindingEventRequest {
        name: name.into(),
        data: b"x".to_vec(),
        metadata: HashMap::from([("fileName".into(), "a.txt".into()), ("no header".into(), "\n".into())]),
    };
    let answer = client(&callbacks).on_binding_event(event("files")).await.unwrap().into_inner();
    assert_eq!(answer.data, b"answer");
    assert_eq!(client(&callbacks).on_binding_event(event("cron")).await.unwrap_err().code(), Code::Internal);
    assert_eq!(client(&callbacks).on_binding_event(event("other")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_job_is_run_with_its_data() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = seen.clone();
    let callbacks = callbacks(
        Subscriptions::new()
            .job("nightly", async move |body: Bytes| inner.lock().unwrap().push(body))
            .job("never", async || Outcome::Drop)
            .job("later", async || Outcome::Retry),
    );
    let job = |name: &str, type_url: &str, value: &[u8]| JobEventRequest {
        name: name.into(),
        data: Some(Any { type_url: type_url.into(), value: value.to_vec() }),
        ..JobEventRequest::default()
    };
    let json = prost::Message::encode_to_vec(&Value { kind: Some(Kind::NumberValue(7.0)) });
    for job in [job("nightly", "a/b", b"raw"), job("nightly", "type.googleapis.com/google.protobuf.Value", &json)] {
        client(&callbacks).on_job_event(job.clone()).await.unwrap();
        AppCallbackAlphaClient::new(app(&callbacks)).on_job_event_alpha1(job).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), ["raw", "raw", "7", "7"]);
    for (name, code) in [("never", Code::NotFound), ("other", Code::NotFound), ("later", Code::Internal)] {
        assert_eq!(client(&callbacks).on_job_event(job(name, "", b"")).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn an_invocation_goes_to_the_apps_routes_and_no_others() {
    let methods = Router::new()
        .route("/stock", get(async |RawQuery(query): RawQuery| query.unwrap_or_default()))
        .route(
            "/echo",
            post(async |headers: HeaderMap, body: Bytes| {
                assert_eq!(headers["content-type"], "text/plain");
                ([("content-type", "a/b")], body)
            }),
        )
        .route("/full", post(async || (StatusCode::CONFLICT, "no more")));
    let invoke = |method: &str, verb: Verb, query: &str| InvokeRequest {
        method: method.into(),
        data: Some(Any { type_url: String::new(), value: b"x".to_vec() }),
        content_type: "text/plain".into(),
        http_extension: Some(HttpExtension { verb: verb.into(), querystring: query.into() }),
    };
    let without = callbacks(Subscriptions::new().topic(Topic::new("bus", "a").route("/a"), ok));
    let with = without.clone().with_methods(methods);
    let answer = client(&with).on_invoke(invoke("stock", Verb::Get, "sku=1")).await.unwrap().into_inner();
    assert_eq!(answer.data.unwrap().value, b"sku=1");
    let answer = client(&with).on_invoke(invoke("/echo", Verb::None, "")).await.unwrap().into_inner();
    assert_eq!((answer.data.unwrap().value.as_slice(), answer.content_type.as_str()), (&b"x"[..], "a/b"));
    for (callbacks, method, code, message) in [
        (&with, "full", Code::Aborted, "no more"),
        (&with, "a", Code::NotFound, "the handler answered 404"),
        (&with, "../a", Code::NotFound, "the handler answered 404"),
        (&without, "a", Code::Unimplemented, "no methods are served"),
    ] {
        let refused = client(callbacks).on_invoke(invoke(method, Verb::Post, "")).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message), "{method}");
    }
}

// ===== the API token =====

#[tokio::test]
async fn every_call_needs_the_token_but_those_that_daprd_sends_none_with() {
    let callbacks = callbacks(
        Subscriptions::new()
            .topic(Topic::new("bus", "orders").route("/a"), async |headers: HeaderMap| {
                assert!(!headers.contains_key("dapr-api-token"));
            })
            .require_api_token(RequireApiTokenLayer::new("t0k3n").unwrap()),
    );
    for token in [None, Some("wrong"), Some("")] {
        let refused = [
            client(&callbacks).on_topic_event(with_token(token, event("/a", b"1"))).await.err(),
            client(&callbacks).on_bulk_topic_event(with_token(token, TopicEventBulkRequest::default())).await.err(),
            client(&callbacks).on_binding_event(with_token(token, BindingEventRequest::default())).await.err(),
            client(&callbacks).on_job_event(with_token(token, JobEventRequest::default())).await.err(),
            client(&callbacks).on_invoke(with_token(token, InvokeRequest::default())).await.err(),
        ];
        assert!(refused.iter().all(|status| status.as_ref().unwrap().code() == Code::Unauthenticated));
    }
    client(&callbacks).on_topic_event(with_token(Some("t0k3n"), event("/a", b"1"))).await.unwrap();
    AppCallbackHealthCheckClient::new(app(&callbacks)).health_check(()).await.unwrap();
    client(&callbacks).list_topic_subscriptions(()).await.unwrap();
    client(&callbacks).list_input_bindings(()).await.unwrap();
}

// ===== helpers =====

async fn ok() -> Outcome {
    Outcome::Success
}

fn callbacks(subscriptions: Subscriptions) -> AppCallbacks {
    subscriptions.into_app_callbacks(()).unwrap()
}

fn routes(callbacks: &AppCallbacks) -> Router {
    Router::new()
        .route_service("/dapr.proto.runtime.v1.AppCallback/{*rpc}", callbacks.app_callback())
        .route_service("/dapr.proto.runtime.v1.AppCallbackAlpha/{*rpc}", callbacks.app_callback_alpha())
        .route_service("/dapr.proto.runtime.v1.AppCallbackHealthCheck/{*rpc}", callbacks.health_check())
}

type App =
    tower::util::BoxCloneSyncService<http::Request<tonic::body::Body>, http::Response<Body>, std::convert::Infallible>;

fn service(routes: Router) -> App {
    tower::util::BoxCloneSyncService::new(
        routes.map_request(|request: http::Request<tonic::body::Body>| request.map(Body::new)),
    )
}

fn app(callbacks: &AppCallbacks) -> App {
    service(routes(callbacks))
}

fn client(callbacks: &AppCallbacks) -> AppCallbackClient<App> {
    AppCallbackClient::new(app(callbacks))
}

fn event(path: &str, data: &[u8]) -> TopicEventRequest {
    TopicEventRequest {
        id: "7".into(),
        source: "shop".into(),
        r#type: "order.v1".into(),
        spec_version: "1.0".into(),
        data_content_type: "application/json".into(),
        data: data.to_vec(),
        topic: "orders".into(),
        pubsub_name: "bus".into(),
        path: path.into(),
        extensions: None,
    }
}

fn extension(name: &str, value: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(value.to_owned())) };
    Struct { fields: [(name.to_owned(), value)].into() }
}

fn with_token<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("dapr-api-token", token.parse().unwrap());
    }
    request
}
