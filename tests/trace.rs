//! What `TraceLayer` exports, around each kind of service that there is.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{convert::Infallible, future::pending, task::Poll, time::Duration};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{InvokeRequest, InvokeResponse, StreamPayload},
    runtime::v1::{
        BindingEventRequest, BindingEventResponse, BulkPublishRequest, EncryptRequest, EncryptRequestOptions,
        GetStateRequest, GetStateResponse, InvokeActorRequest, InvokeServiceRequest, JobEventRequest, JobEventResponse,
        ListInputBindingsResponse, ListTopicSubscriptionsResponse, PublishEventRequest, SubscribeConfigurationRequest,
        SubscribeConfigurationResponse, TopicEventBulkRequest, TopicEventBulkResponse, TopicEventRequest,
        TopicEventResponse,
        app_callback_client::AppCallbackClient,
        app_callback_server::{AppCallback, AppCallbackServer},
        dapr_client::DaprClient,
    },
};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use prost::Message;
use support::{GrpcAnswer, GrpcServer, Spans, attribute, is_child, is_root};
use tokio::net::TcpListener;
use tonic::Code;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_dapr::{metrics::MetricsLayer, observe::ObserveLayer, testing::MetricRecorder, trace::TraceLayer};
use tracing_subscriber::layer::SubscriberExt;

// ===== a tonic channel =====

#[tokio::test]
async fn a_call_through_a_tonic_channel_is_a_client_span_with_daprs_names() {
    let spans = Spans::new();
    let server = GrpcServer::answering(|| GrpcAnswer::message(&GetStateResponse::default())).await;
    let mut client = DaprClient::new(
        TraceLayer::client()
            .with_tracer_provider(&spans.provider)
            .with_server_address("127.0.0.1", 50001)
            .layer(server.channel()),
    );
    client.get_state(get_state()).await.unwrap();

    let span = spans.one();
    assert_eq!(span.name, "dapr.proto.runtime.v1.Dapr/GetState");
    assert_eq!(span.span_kind, SpanKind::Client);
    assert_eq!(span.status, Status::Unset);
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "dapr.proto.runtime.v1.Dapr/GetState"),
        ("rpc.response.status_code", "OK"),
        ("dapr.building_block", "state"),
        ("dapr.component.name", "statestore"),
        ("server.address", "127.0.0.1"),
        ("server.port", "50001"),
    ] {
        assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&span, "error.type"), None);

    // The span is what went out on the wire.
    let context = &span.span_context;
    let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
    assert_eq!(server.last_headers()["traceparent"], expected.as_str());
}

#[tokio::test]
async fn a_publish_is_a_producer_span_named_after_its_topic() {
    let spans = Spans::new();
    let server = GrpcServer::answering(|| GrpcAnswer::message(&())).await;
    let mut client =
        DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(server.channel()));
    let request = PublishEventRequest {
        pubsub_name: "pubsub".into(),
        topic: "orders".into(),
        data: b"{\"card\":\"4111\"}".to_vec(),
        ..Default::default()
    };
    client.publish_event(request).await.unwrap();

    let span = spans.one();
    assert_eq!(span.name, "publish orders");
    assert_eq!(span.span_kind, SpanKind::Producer);
    for (key, value) in [
        ("rpc.method", "dapr.proto.runtime.v1.Dapr/PublishEvent"),
        ("dapr.building_block", "pubsub"),
        ("dapr.component.name", "pubsub"),
        ("messaging.system", "dapr"),
        ("messaging.operation.name", "publish"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "orders"),
    ] {
        assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
    }

    assert_eq!(attribute(&span, "messaging.batch.message_count"), None);

    let request = BulkPublishRequest {
        pubsub_name: "pubsub".into(),
        topic: "bulk".into(),
        entries: vec![Default::default(); 3],
        ..Default::default()
    };
    client.bulk_publish_event(request).await.unwrap();
    let span = spans.named("publish_bulk bulk");
    assert_eq!(span.span_kind, SpanKind::Producer);
    assert_eq!(attribute(&span, "messaging.batch.message_count").as_deref(), Some("3"));
}

#[tokio::test]
async fn the_target_of_an_invocation_is_named_for_what_it_is() {
    let spans = Spans::new();
    let server = GrpcServer::answering(|| GrpcAnswer::message(&())).await;
    let mut client =
        DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(server.channel()));
    client.invoke_service(InvokeServiceRequest { id: "inventory".into(), ..Default::default() }).await.unwrap();
    let span = spans.named("dapr.proto.runtime.v1.Dapr/InvokeService");
    assert_eq!(attribute(&span, "dapr.app_id").as_deref(), Some("inventory"));
    let request = InvokeActorRequest { actor_type: "Cart".into(), actor_id: "alice".into(), ..Default::default() };
    client.invoke_actor(request).await.unwrap();
    let span = spans.named("dapr.proto.runtime.v1.Dapr/InvokeActor");
    assert_eq!(attribute(&span, "dapr.actor.type").as_deref(), Some("Cart"));
    assert!(!format!("{span:?}").contains("alice"), "ids are not recorded");
}

#[tokio::test]
async fn the_request_arrives_whole_although_its_names_were_read() {
    // The observed client's bytes against the bare client's.
    let spans = Spans::new();
    let (sent, mut bodies) = tokio::sync::mpsc::unbounded_channel();
    let capture = service_fn(move |request: Request<tonic::body::Body>| {
        let sent = sent.clone();
        async move {
            let body = request.into_body();
            let hint = (body.is_end_stream(), body.size_hint().lower() > 0);
            let bytes = body.collect().await.unwrap().to_bytes();
            sent.send((hint, bytes)).unwrap();
            Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
        }
    });
    let request = GetStateRequest { key: "k".repeat(100_000), ..get_state() };
    let _ = DaprClient::new(capture.clone()).get_state(request.clone()).await;
    let traced = TraceLayer::client().with_tracer_provider(&spans.provider).layer(capture);
    let _ = DaprClient::new(traced).get_state(request).await;
    let (_, bare) = bodies.recv().await.unwrap();
    let ((ended, _), observed) = bodies.recv().await.unwrap();
    assert_eq!(bare, observed);
    assert!(!ended);
}

#[tokio::test]
async fn the_clients_status_is_in_the_trailers() {
    for code in (1..=16).map(Code::from_i32) {
        let spans = Spans::new();
        let server = GrpcServer::answering(move || GrpcAnswer::error(code, "why not")).await;
        let mut client =
            DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(server.channel()));
        assert_eq!(client.get_state(get_state()).await.unwrap_err().code(), code);
        let span = spans.one();
        let name = tower_dapr::classify::code_name(code);
        assert_eq!(span.status, Status::error("why not"), "{name}");
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some(name));
        assert_eq!(attribute(&span, "error.type").as_deref(), Some(name));
    }
}

#[tokio::test]
async fn trailers_only_and_missing_trailers_are_told_apart() {
    for (answer, status) in [
        (GrpcAnswer::trailers_only(Code::Unauthenticated), "UNAUTHENTICATED"),
        (GrpcAnswer { message: Some(vec![]), ..GrpcAnswer::default() }, "UNKNOWN"),
    ] {
        let spans = Spans::new();
        let server = GrpcServer::answering(move || answer.clone()).await;
        let mut client =
            DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(server.channel()));
        let _ = client.get_state(get_state()).await;
        assert_eq!(attribute(&spans.one(), "rpc.response.status_code").as_deref(), Some(status));
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let spans = Spans::new();
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{free}")).unwrap().connect_lazy();
    let mut client = DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(channel));
    assert_eq!(client.get_state(get_state()).await.unwrap_err().code(), Code::Unavailable);
    let span = spans.one();
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("UNAVAILABLE"));
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("UNAVAILABLE"));
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_once() {
    let spans = Spans::new();
    let server = GrpcServer::answering(|| GrpcAnswer { hangs: true, ..GrpcAnswer::default() }).await;
    let mut client =
        DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(server.channel()));
    let mut call = Box::pin(client.get_state(get_state()));
    // Up to where the head has arrived.
    while server.seen.lock().unwrap().is_empty() {
        assert!((&mut call).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(call);
    let span = spans.one();
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
}

// ===== a tonic server =====

#[tokio::test]
async fn a_tonic_server_continues_the_callers_trace() {
    let (client_spans, server_spans) = (Spans::new(), Spans::new());
    let address = serve_callback(TraceLayer::server().with_tracer_provider(&server_spans.provider)).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client =
        AppCallbackClient::new(TraceLayer::client().with_tracer_provider(&client_spans.provider).layer(channel));

    client.on_topic_event(TopicEventRequest::default()).await.unwrap();
    let (call, served) = (client_spans.one(), server_spans.one());
    assert!(is_child(&served, &call));
    assert_eq!(served.span_kind, SpanKind::Server);
    assert_eq!(served.name, "dapr.proto.runtime.v1.AppCallback/OnTopicEvent");
    assert_eq!(attribute(&served, "rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(served.status, Status::Unset);
}

#[tokio::test]
async fn a_server_counts_only_its_own_faults_as_errors() {
    let spans = Spans::new();
    let address = serve_callback(TraceLayer::server().with_tracer_provider(&spans.provider)).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut client = AppCallbackClient::new(channel);
    for code in [Code::NotFound, Code::Internal] {
        let request = InvokeRequest { method: (code as i32).to_string(), ..Default::default() };
        assert_eq!(client.on_invoke(request).await.unwrap_err().code(), code);
    }
    let served = spans.all();
    assert_eq!(attribute(&served[0], "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
    assert_eq!((&served[0].status, attribute(&served[0], "error.type")), (&Status::Unset, None));
    assert_eq!(attribute(&served[1], "error.type").as_deref(), Some("INTERNAL"));
    assert!(matches!(served[1].status, Status::Error { .. }));
}

#[tokio::test]
async fn a_method_that_the_server_does_not_know_is_not_a_name() {
    // What a router says of it, or a layer in front: not found, no token, too much, too late; and no gRPC at all.
    for answer in [
        Response::builder().header("grpc-status", "12"),
        Response::builder().header("grpc-status", "16"),
        Response::builder().header("grpc-status", "7"),
        Response::builder().header("grpc-status", "14"),
        Response::builder().status(405),
    ] {
        let span = span_of_method("/evil.Service/M1", Some(answer)).await.pop().unwrap();
        assert_eq!(span.name, "grpc");
        assert_eq!(attribute(&span, "rpc.method").as_deref(), Some("_OTHER"));
        assert_eq!(attribute(&span, "rpc.method_original").as_deref(), Some("evil.Service/M1"));
    }
    let cut = span_of_method("/evil.Service/M1", None).await.pop().unwrap();
    assert_eq!((&*cut.name, attribute(&cut, "rpc.method").as_deref()), ("grpc", Some("_OTHER")));
}

#[tokio::test]
async fn a_method_that_has_answered_is_a_name_and_known_from_then_on() {
    for status in ["0", "5"] {
        let spans =
            span_of_method("/shop.Stock/Reserve", Some(Response::builder().header("grpc-status", status))).await;
        for span in spans {
            assert_eq!(span.name, "shop.Stock/Reserve");
            assert_eq!(attribute(&span, "rpc.method").as_deref(), Some("shop.Stock/Reserve"));
            assert_eq!(attribute(&span, "rpc.method_original"), None);
        }
    }
}

/// Calls it twice; `None`: the caller goes away.
async fn span_of_method(path: &str, answer: Option<http::response::Builder>) -> Vec<SpanData> {
    let spans = Spans::new();
    let answer = answer.map(|answer| answer.body(()).unwrap());
    let service = TraceLayer::server().with_tracer_provider(&spans.provider).layer(service_fn(move |_: Request<()>| {
        let answer = answer.clone();
        async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(answer.map(|()| Empty::<Bytes>::new())),
                None => std::future::pending().await,
            }
        }
    }));
    for _ in 0..2 {
        let request = Request::builder().uri(path).header("content-type", "application/grpc").body(());
        if let Some(Ok(response)) = service.clone().oneshot(request.unwrap()).now_or_never() {
            response.into_body().collect().await.unwrap();
        }
    }
    assert_eq!(spans.all().len(), 2);
    spans.all()
}

#[tokio::test]
async fn a_grpc_client_names_the_server_of_its_request() {
    let spans = Spans::new();
    let service = TraceLayer::client().with_tracer_provider(&spans.provider).layer(service_fn(
        async |_: Request<tonic::body::Body>| {
            let answer = Response::builder().header("grpc-status", "0");
            Ok::<_, Infallible>(answer.body(tonic::body::Body::empty()).unwrap())
        },
    ));
    let origin = "http://10.0.0.5:50001".parse().unwrap();
    let _ = AppCallbackClient::with_origin(service, origin).on_topic_event(TopicEventRequest::default()).await;
    let span = spans.one();
    assert_eq!(attribute(&span, "server.address").as_deref(), Some("10.0.0.5"));
    assert_eq!(attribute(&span, "server.port").as_deref(), Some("50001"));
}

#[tokio::test]
async fn the_version_is_the_one_that_was_spoken() {
    let spans = Spans::new();
    let metrics = MetricRecorder::new();
    let layer = ObserveLayer::new((
        TraceLayer::client().with_tracer_provider(&spans.provider),
        MetricsLayer::client().with_meter_provider(&metrics.provider("app")),
    ));
    // hyper sends what is HTTP/1.1 by default over a connection of HTTP/2 as it is.
    let mut service = layer.layer(service_fn(async |request: Request<()>| match request.uri().path() {
        "/" => Ok(Response::builder().version(http::Version::HTTP_2).body(Empty::<Bytes>::new()).unwrap()),
        _ => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
    }));
    service.call(Request::get("https://shop/").body(()).unwrap()).await.unwrap();
    service.call(Request::get("https://shop/down").body(()).unwrap()).await.unwrap_err();
    let version = |span: &SpanData| attribute(span, "network.protocol.version");
    assert_eq!(spans.all().iter().map(version).collect::<Vec<_>>(), [Some("2".to_owned()), None]);
    let mut points = metrics.histogram("http.client.request.duration");
    points.sort_by_key(|point| point.attribute_str("error.type").is_some());
    let versions: Vec<_> = points.iter().map(|point| point.attribute_str("network.protocol.version")).collect();
    assert_eq!(versions, [Some("2"), None]);
    for point in &points {
        assert_eq!(point.attribute("server.port").map(ToString::to_string).as_deref(), Some("443"));
    }
}

#[tokio::test]
async fn a_grpc_server_reads_the_binary_trace_context() {
    let spans = Spans::new();
    let service = TraceLayer::server()
        .with_tracer_provider(&spans.provider)
        .layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    let request = Request::builder()
        .uri("/dapr.proto.runtime.v1.AppCallback/OnInvoke")
        .header("content-type", "application/grpc")
        .header("grpc-trace-bin", "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE=");
    service.oneshot(request.body(()).unwrap()).await.unwrap();
    let span = spans.one();
    assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
}

// ===== an axum router =====

#[tokio::test]
async fn an_axum_route_is_a_server_span_with_the_handlers_own_spans_inside() {
    let spans = Spans::new();
    // The bridge for `#[instrument]`, only for this test.
    let bridge = tracing_opentelemetry::layer().with_tracer(spans.provider.tracer("app"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(bridge));

    #[tracing::instrument]
    async fn place_order() -> &'static str {
        tokio::task::yield_now().await;
        "placed"
    }
    let app = Router::new()
        .route("/orders/{id}", post(place_order))
        .layer(TraceLayer::server().with_tracer_provider(&spans.provider));
    let request = Request::post("/orders/7?token=t0p&page=2")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("host", "shop:8080")
        .header("user-agent", "curl/8")
        .body(Body::empty());
    let response = app.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "placed");

    let (server, handler) = (spans.named("POST /orders/{id}"), spans.named("place_order"));
    assert_eq!(server.span_kind, SpanKind::Server);
    assert_eq!(server.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(server.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(is_child(&handler, &server));
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/orders/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/orders/7"),
        ("url.query", "token=REDACTED&page=2"),
        ("url.scheme", "http"),
        ("server.address", "shop"),
        ("server.port", "8080"),
        ("user_agent.original", "curl/8"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(attribute(&server, key).as_deref(), Some(value), "{key}");
    }
}

#[tokio::test]
async fn an_unknown_route_is_named_after_its_method_and_an_unknown_method_is_other() {
    let spans = Spans::new();
    let app: Router = Router::new().layer(TraceLayer::server().with_tracer_provider(&spans.provider));
    app.clone().oneshot(Request::get("/nowhere/1").body(Body::empty()).unwrap()).await.unwrap();
    let span = spans.named("GET");
    assert_eq!(attribute(&span, "http.route"), None);
    assert_eq!((attribute(&span, "http.response.status_code").as_deref(), span.status), (Some("404"), Status::Unset));

    app.oneshot(Request::builder().method("BREW").body(Body::empty()).unwrap()).await.unwrap();
    let span = spans.named("HTTP");
    assert_eq!(attribute(&span, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(&span, "http.request.method_original").as_deref(), Some("BREW"));
}

#[tokio::test]
async fn a_server_error_is_an_error_and_a_client_error_is_not() {
    for (status, error_type) in [(404, None), (500, Some("500")), (503, Some("503"))] {
        let spans = Spans::new();
        let app: Router = Router::new()
            .route("/", post(move || async move { StatusCode::from_u16(status).unwrap() }))
            .layer(TraceLayer::server().with_tracer_provider(&spans.provider));
        app.oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
        let span = spans.one();
        assert_eq!(attribute(&span, "error.type").as_deref(), error_type);
        assert_eq!(span.status == Status::error(""), error_type.is_some());
    }
}

// ===== a hyper client =====

#[tokio::test]
async fn a_hyper_client_and_an_axum_server_share_a_trace() {
    let (client_spans, server_spans) = (Spans::new(), Spans::new());
    let app = Router::new()
        .route("/orders", post(async || (StatusCode::CONFLICT, "sold out")))
        .layer(TraceLayer::server().with_tracer_provider(&server_spans.provider));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client =
        ServiceBuilder::new().layer(TraceLayer::client().with_tracer_provider(&client_spans.provider)).service(client);
    let url = format!("http://user:secret@{address}/orders?sig=abc");
    let request = Request::post(url).body(Full::new(Bytes::from("tea"))).unwrap();
    let response = client.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();

    let (call, served) = (client_spans.one(), server_spans.one());
    assert!(is_child(&served, &call));
    assert_eq!((call.name.as_ref(), call.span_kind.clone()), ("POST", SpanKind::Client));
    assert_eq!(attribute(&call, "url.full"), Some(format!("http://{address}/orders?sig=REDACTED")));
    assert_eq!(attribute(&call, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(attribute(&call, "server.port"), Some(address.port().to_string()));
    assert_eq!(attribute(&call, "error.type").as_deref(), Some("409"));
    assert_eq!(served.status, Status::Unset, "the server did nothing wrong");
    assert!(!format!("{call:?}").contains("secret"));
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let spans = Spans::new();
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = TraceLayer::client().with_tracer_provider(&spans.provider).layer(client);
    client.oneshot(Request::get(format!("http://{free}/")).body(Empty::new()).unwrap()).await.unwrap_err();
    assert_eq!(attribute(&spans.one(), "error.type").as_deref(), Some("connection_refused"));
}

// ===== a plain service_fn =====

#[tokio::test]
async fn the_current_span_is_the_parent_of_a_call() {
    let spans = Spans::new();
    let tracer = spans.provider.tracer("app");
    let parent = Context::new().with_span(tracer.start("parent"));
    let service = TraceLayer::client().with_tracer_provider(&spans.provider).layer(ok());
    {
        let _guard = parent.clone().attach();
        service.oneshot(Request::new(())).now_or_never().unwrap().unwrap();
    }
    parent.span().end();
    assert!(is_child(&spans.named("GET"), &spans.named("parent")));
}

#[tokio::test]
async fn futures_that_take_turns_on_a_thread_keep_their_own_span() {
    let spans = Spans::new();
    let mut service =
        TraceLayer::server().with_tracer_provider(&spans.provider).layer(service_fn(|_: Request<()>| async {
            let mine = Context::current().span().span_context().span_id();
            for _ in 0..3 {
                tokio::task::yield_now().await;
                assert_eq!(Context::current().span().span_context().span_id(), mine);
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(mine.to_string()))))
        }));
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(service.call(Request::new(())))).collect();
    let mut answers = Vec::new();
    while !calls.is_empty() {
        calls.retain_mut(|call| match call.as_mut().now_or_never() {
            Some(answer) => {
                answers.push(answer.unwrap());
                false
            }
            None => {
                assert!(!Context::current().span().span_context().is_valid(), "a scope outlived its poll");
                true
            }
        });
    }
    let mut ids = Vec::new();
    for answer in answers {
        ids.push(answer.into_body().collect().await.unwrap().to_bytes());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn without_a_provider_a_request_passes_untouched() {
    // No global provider is installed in this process.
    let service = TraceLayer::client().layer(echo_headers());
    let mut request = Request::new(());
    request.headers_mut().insert("traceparent", "not ours".parse().unwrap());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["traceparent"], "not ours");
    assert_eq!(response.headers().len(), 1);
    let noop = opentelemetry::trace::noop::NoopTracerProvider::new();
    let service = TraceLayer::client().with_tracer_provider(&noop).layer(echo_headers());
    assert!(service.oneshot(Request::new(())).await.unwrap().headers().is_empty());
}

#[tokio::test]
async fn an_unsampled_call_is_propagated_and_not_exported() {
    let spans = Spans::sampled(Sampler::AlwaysOff);
    let service = TraceLayer::client().with_tracer_provider(&spans.provider).layer(echo_headers());
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert!(response.headers()["traceparent"].to_str().unwrap().ends_with("-00"));
    assert!(spans.all().is_empty());
}

#[tokio::test]
async fn what_the_filter_refuses_passes_untouched() {
    let spans = Spans::new();
    let layer = TraceLayer::client()
        .with_tracer_provider(&spans.provider)
        .with_filter(|request| request.uri.path() != "/healthz");
    let request = Request::builder().uri("/healthz").body(()).unwrap();
    assert!(layer.layer(echo_headers()).oneshot(request).await.unwrap().headers().is_empty());
    assert!(spans.all().is_empty());
    layer.layer(echo_headers()).oneshot(Request::new(())).await.unwrap();
    spans.one();
}

#[tokio::test]
async fn calls_in_a_suppressed_context_are_not_recorded() {
    let spans = Spans::new();
    let service = TraceLayer::client().with_tracer_provider(&spans.provider).layer(echo_headers());
    let _guard = Context::enter_telemetry_suppressed_scope();
    service.oneshot(Request::new(())).now_or_never().unwrap().unwrap();
    assert!(spans.all().is_empty());
}

#[tokio::test]
async fn a_stale_context_in_the_request_is_replaced() {
    let spans = Spans::new();
    let service = TraceLayer::client().with_tracer_provider(&spans.provider).layer(echo_headers());
    let request = Request::builder()
        .header("traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
        .header("traceparent", "00-33333333333333333333333333333333-2222222222222222-01")
        .header("tracestate", "stale=1")
        .header("grpc-trace-bin", "AABL+S81d7NNpqPOkp0ODkc2AQDwZ6oLqQK3AgE=")
        .body(());
    let response = service.oneshot(request.unwrap()).await.unwrap();
    let span = spans.one();
    let context = &span.span_context;
    let sent: Vec<_> = response.headers().get_all("traceparent").iter().collect();
    assert_eq!(sent, [&format!("00-{}-{}-01", context.trace_id(), context.span_id())]);
    assert!(is_root(&span));
    assert!(!response.headers().contains_key("tracestate") && !response.headers().contains_key("grpc-trace-bin"));
}

#[tokio::test]
async fn a_dropped_future_ends_its_span() {
    let spans = Spans::new();
    let mut service = TraceLayer::server()
        .with_tracer_provider(&spans.provider)
        .layer(service_fn(|_: Request<()>| pending::<Result<Response<Empty<Bytes>>, Infallible>>()));
    drop(service.call(Request::new(())));
    let span = spans.one();
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("cancelled"));
    assert!(matches!(span.status, Status::Error { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_span_ends_with_the_body_and_not_with_the_head() {
    let spans = Spans::new();
    let service =
        TraceLayer::server().with_tracer_provider(&spans.provider).layer(service_fn(async |_: Request<()>| {
            let frames = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from("late")))
            });
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(frames)))
        }));
    let body = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert!(spans.all().is_empty(), "only the head has arrived");
    std::pin::pin!(body).collect().await.unwrap();
    spans.one();
}

// ===== streams =====

#[tokio::test]
async fn a_server_stream_lives_until_its_trailers() {
    let spans = Spans::new();
    let server = GrpcServer::answering(|| GrpcAnswer {
        message: Some(SubscribeConfigurationResponse { id: "1".into(), ..Default::default() }.encode_to_vec()),
        ..GrpcAnswer::error(Code::Unavailable, "gone")
    })
    .await;
    let layer = TraceLayer::client().with_tracer_provider(&spans.provider).with_message_events(true);
    let mut client = DaprClient::new(layer.layer(server.channel()));
    let request = SubscribeConfigurationRequest { store_name: "config".into(), ..Default::default() };
    let mut answers = client.subscribe_configuration(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().id, "1");
    assert!(spans.all().is_empty(), "the stream is open");
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);

    let span = spans.one();
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("UNAVAILABLE"));
    assert_eq!(attribute(&span, "dapr.component.name").as_deref(), Some("config"));
    assert_eq!(messages(&span), ["SENT 1", "RECEIVED 1"]);
}

#[tokio::test]
async fn a_client_stream_lives_until_its_answer() {
    for side in [TraceLayer::client(), TraceLayer::server()] {
        let spans = Spans::new();
        let layer = side.with_tracer_provider(&spans.provider).with_message_events(true);
        let service = layer.layer(service_fn(async |request: Request<tonic::body::Body>| {
            let received = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(received.len(), 3 * 8);
            let frames = [Ok(data(1)), Ok(trailers("0"))].map(Ok::<Result<_, tonic::Status>, Infallible>);
            let frames = futures_util::stream::iter(frames.map(Result::unwrap));
            Ok::<_, Infallible>(Response::new(tonic::body::Body::new(StreamBody::new(frames))))
        }));
        let is_client = format!("{layer:?}").contains("side: Client");
        let sent = futures_util::stream::iter((0..3).map(|n| Ok::<_, tonic::Status>(data(n))));
        let request = grpc_request("/pkg.S/Upload", tonic::body::Body::new(StreamBody::new(sent)));
        let mut body = service.oneshot(request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        assert!(spans.all().is_empty());
        body.frame().await.unwrap().unwrap();
        let (to, fro) = if is_client { ("SENT", "RECEIVED") } else { ("RECEIVED", "SENT") };
        assert_eq!(
            messages(&spans.one()),
            [1, 2, 3].map(|n| format!("{to} {n}")).into_iter().chain([format!("{fro} 1")]).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_bidirectional_stream_lives_until_both_sides_are_done_and_knows_its_late_names() {
    let spans = Spans::new();
    // Sends back each frame of the request as it comes.
    let echo = service_fn(async |request: Request<tonic::body::Body>| {
        let mut body = request.into_body();
        let mut is_done = false;
        let frames = futures_util::stream::poll_fn(move |cx| {
            if is_done {
                return Poll::Ready(None);
            }
            let frame = std::task::ready!(std::pin::Pin::new(&mut body).poll_frame(cx));
            is_done = frame.is_none();
            Poll::Ready(Some(frame.unwrap_or_else(|| Ok(trailers("0")))))
        });
        Ok::<_, Infallible>(Response::new(tonic::body::Body::new(StreamBody::new(frames))))
    });
    let layer = TraceLayer::client().with_tracer_provider(&spans.provider).with_message_events(true);
    let (send, requests) = tokio::sync::mpsc::unbounded_channel();
    let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
    let mut client = DaprClient::new(layer.layer(echo));
    let mut answers = client.encrypt_alpha1(requests).await.unwrap().into_inner();
    let options = EncryptRequestOptions { component_name: "vault".into(), ..Default::default() };
    for payload in [None, Some(StreamPayload { data: b"s3cret".to_vec(), seq: 1 })] {
        send.send(EncryptRequest { options: Some(options.clone()), payload }).unwrap();
        answers.message().await.unwrap().unwrap();
    }
    assert!(spans.all().is_empty());
    drop(send);
    assert!(answers.message().await.unwrap().is_none());

    let span = spans.one();
    assert_eq!(attribute(&span, "dapr.component.name").as_deref(), Some("vault"));
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(messages(&span), ["SENT 1", "RECEIVED 1", "SENT 2", "RECEIVED 2"]);
    assert!(!format!("{span:?}").contains("s3cret"));
}

#[tokio::test]
async fn messages_are_no_events_unless_asked_for() {
    let spans = Spans::new();
    let server = GrpcServer::answering(|| GrpcAnswer::message(&GetStateResponse::default())).await;
    let layer = TraceLayer::client().with_tracer_provider(&spans.provider);
    DaprClient::new(layer.layer(server.channel())).get_state(get_state()).await.unwrap();
    assert!(spans.one().events.is_empty());
}

// ===== settings =====

#[tokio::test]
async fn the_users_own_attributes_and_names_are_on_the_span() {
    let spans = Spans::new();
    let layer = TraceLayer::server()
        .with_tracer_provider(&spans.provider)
        .with_attributes([KeyValue::new("listener", "admin")])
        .with_request_attributes(|request| vec![KeyValue::new("gold", request.headers.contains_key("x-gold"))])
        .with_span_name(|request| request.uri.path().starts_with("/assets/").then(|| "asset".into()));
    for path in ["/assets/1", "/orders"] {
        layer.layer(ok()).oneshot(Request::get(path).header("x-gold", "1").body(()).unwrap()).await.unwrap();
    }
    let span = spans.named("asset");
    assert_eq!(attribute(&span, "listener").as_deref(), Some("admin"));
    assert_eq!(attribute(&span, "gold").as_deref(), Some("true"));
    spans.named("GET");
}

#[tokio::test]
async fn strangers_are_linked_and_decide_nothing() {
    let parent_based = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    for (sampler, is_recorded) in [(parent_based, true), (Sampler::AlwaysOff, false)] {
        let spans = Spans::sampled(sampler);
        let layer = TraceLayer::server().with_tracer_provider(&spans.provider).with_public_endpoint(true);
        let service = layer.layer(service_fn(async |_: Request<()>| {
            assert!(Context::current().baggage().is_empty());
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }));
        // Sampled says the stranger in the second round, not sampled in the first.
        let flags = if is_recorded { "00" } else { "01" };
        let stranger = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let request = Request::builder().header("traceparent", stranger).header("baggage", "a=1").body(());
        service.oneshot(request.unwrap()).await.unwrap();
        if !is_recorded {
            assert!(spans.all().is_empty());
            continue;
        }
        let span = spans.one();
        assert!(is_root(&span));
        assert_ne!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let linked = &span.links.links[0].span_context;
        assert_eq!(linked.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(linked.span_id().to_string(), "00f067aa0ba902b7");
    }
}

#[tokio::test]
async fn a_layer_outside_of_the_router_is_told_the_route() {
    let spans = Spans::new();
    let app: Router =
        Router::new().route("/orders/{id}", post(async || "placed")).layer(tower_dapr::observe::RouteLayer::new());
    let app = TraceLayer::server().with_tracer_provider(&spans.provider).layer(app);
    app.clone().oneshot(Request::post("/orders/7").body(Body::empty()).unwrap()).await.unwrap();
    app.oneshot(Request::get("/nowhere").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(attribute(&spans.named("POST /orders/{id}"), "http.route").as_deref(), Some("/orders/{id}"));
    assert_eq!(attribute(&spans.named("GET"), "http.route"), None);
}

#[tokio::test]
async fn only_listed_headers_are_recorded() {
    let spans = Spans::new();
    let name = http::HeaderName::from_static;
    let layer = TraceLayer::server()
        .with_tracer_provider(&spans.provider)
        .with_request_headers([name("x-request-id"), name("x-absent")])
        .unwrap()
        .with_response_headers([name("x-shard")])
        .unwrap();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        let response = Response::builder().header("x-shard", "7").header("set-cookie", "s3cret");
        Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
    }));
    let request =
        Request::builder().header("x-request-id", "a").header("x-request-id", "b").header("x-other", "s3cret");
    service.clone().oneshot(request.body(()).unwrap()).await.unwrap();
    let span = spans.one();
    assert_eq!(attribute(&span, "http.request.header.x-request-id").as_deref(), Some("[\"a\",\"b\"]"));
    assert_eq!(attribute(&span, "http.response.header.x-shard").as_deref(), Some("[\"7\"]"));
    assert_eq!(attribute(&span, "http.request.header.x-absent"), None);
    assert!(!format!("{span:?}").contains("s3cret"));

    let mut request = grpc_request("/pkg.S/M", ());
    request.headers_mut().insert("x-request-id", "c".parse().unwrap());
    service.oneshot(request).await.unwrap();
    // No status came: whether there is such a method is not known.
    assert_eq!(attribute(&spans.named("grpc"), "rpc.request.metadata.x-request-id").as_deref(), Some("[\"c\"]"));
}

#[tokio::test]
async fn a_request_can_be_a_span_of_tracing_too() {
    let spans = Spans::new();
    let console = Console::default();
    let format = tracing_subscriber::fmt::layer().with_writer(console.clone()).with_ansi(false);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(format));
    let handler = || {
        service_fn(async |_: Request<()>| {
            tokio::task::yield_now().await;
            tracing::info!("in the handler");
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        })
    };
    let layer = TraceLayer::server().with_tracing_span(tracing::Level::INFO);
    let traced = layer.clone().with_tracer_provider(&spans.provider);
    traced.layer(handler()).oneshot(Request::get("/orders").body(()).unwrap()).await.unwrap();
    let trace_id = spans.one().span_context.trace_id().to_string();
    let lines = console.take();
    assert!(lines.contains("request{otel.name=\"GET\"") && lines.contains("path=\"/orders\""), "{lines}");
    assert!(lines.contains(&format!("trace_id={trace_id}")) && lines.contains("in the handler"), "{lines}");

    // Also where nothing else listens.
    layer.layer(handler()).oneshot(Request::get("/again").body(()).unwrap()).await.unwrap();
    let lines = console.take();
    assert!(lines.contains("path=\"/again\"") && !lines.contains("trace_id"), "{lines}");
}

#[tokio::test]
async fn spans_made_while_a_body_streams_are_children_of_the_request() {
    let spans = Spans::new();
    let tracer = spans.provider.tracer("app");
    let app = Router::new()
        .route(
            "/",
            post(async move || {
                let frames = futures_util::stream::once(async move {
                    drop(tracer.start("in the body"));
                    Ok::<_, Infallible>(Bytes::from("late"))
                });
                Body::from_stream(frames)
            }),
        )
        .layer(TraceLayer::server().with_tracer_provider(&spans.provider));
    let response = app.oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert!(is_child(&spans.named("in the body"), &spans.named("POST /")));
}

#[tokio::test]
async fn no_secret_is_recorded() {
    let spans = Spans::new();
    let secrets = ["s3cret-token", "s3cret-basic", "s3cret-cookie", "s3cret-value", "s3cret-key", "s3cret-query"];
    let server = GrpcServer::answering(|| GrpcAnswer::error(Code::Internal, "no")).await;
    let mut client =
        DaprClient::new(TraceLayer::client().with_tracer_provider(&spans.provider).layer(server.channel()));
    let request = dapr::dapr::proto::runtime::v1::SaveStateRequest {
        store_name: "statestore".into(),
        states: vec![dapr::dapr::proto::common::v1::StateItem {
            key: "s3cret-key".into(),
            value: b"s3cret-value".to_vec(),
            ..Default::default()
        }],
    };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("dapr-api-token", "s3cret-token".parse().unwrap());
    request.metadata_mut().insert("authorization", "s3cret-basic".parse().unwrap());
    client.save_state(request).await.unwrap_err();

    let service = TraceLayer::server().with_tracer_provider(&spans.provider).layer(ok());
    let request = Request::builder().uri("/?token=s3cret-query").header("cookie", "s3cret-cookie").body(());
    service.oneshot(request.unwrap()).await.unwrap();

    let exported = format!("{:?}", spans.all());
    for secret in secrets {
        assert!(!exported.contains(secret), "{secret}");
    }
}

// ===== helpers =====

/// Lines that were written.
#[derive(Clone, Default)]
struct Console(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Console {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl std::io::Write for Console {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Console {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn grpc_request<B>(path: &str, body: B) -> Request<B> {
    Request::builder().uri(path).header("content-type", "application/grpc").body(body).unwrap()
}

/// A frame with a message of three bytes.
fn data(byte: u8) -> Frame<Bytes> {
    Frame::data(Bytes::from(vec![0, 0, 0, 0, 3, byte, byte, byte]))
}

fn trailers(code: &'static str) -> Frame<Bytes> {
    Frame::trailers([("grpc-status".parse().unwrap(), code.parse().unwrap())].into_iter().collect())
}

/// The events of messages: `SENT 1`.
fn messages(span: &opentelemetry_sdk::trace::SpanData) -> Vec<String> {
    let text = |event: &opentelemetry::trace::Event, key: &str| {
        let value = event.attributes.iter().find(|kv| kv.key.as_str() == key);
        value.unwrap().value.to_string()
    };
    let events = span.events.iter().filter(|event| event.name == "rpc.message");
    events.map(|event| format!("{} {}", text(event, "rpc.message.type"), text(event, "rpc.message.id"))).collect()
}

fn get_state() -> GetStateRequest {
    GetStateRequest { store_name: "statestore".into(), key: "order-1".into(), ..Default::default() }
}

fn ok() -> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = Infallible, Future: Send> + Clone {
    service_fn(async |_: Request<()>| Ok(Response::new(Empty::new())))
}

/// Answers with the headers that it got.
fn echo_headers()
-> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = Infallible, Future: Send> + Clone {
    service_fn(async |request: Request<()>| {
        let mut response = Response::new(Empty::new());
        *response.headers_mut() = request.headers().clone();
        Ok(response)
    })
}

async fn serve_callback(layer: TraceLayer) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().layer(layer).add_service(AppCallbackServer::new(Callback));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(async move { server.serve_with_incoming(incoming).await });
    address
}

struct Callback;

#[tonic::async_trait]
impl AppCallback for Callback {
    /// Fails with the code that the method names.
    async fn on_invoke(
        &self,
        request: tonic::Request<InvokeRequest>,
    ) -> Result<tonic::Response<InvokeResponse>, tonic::Status> {
        let code = request.into_inner().method.parse().unwrap();
        Err(tonic::Status::new(Code::from_i32(code), "told to"))
    }

    async fn list_topic_subscriptions(
        &self,
        _: tonic::Request<()>,
    ) -> Result<tonic::Response<ListTopicSubscriptionsResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn on_topic_event(
        &self,
        _: tonic::Request<TopicEventRequest>,
    ) -> Result<tonic::Response<TopicEventResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn list_input_bindings(
        &self,
        _: tonic::Request<()>,
    ) -> Result<tonic::Response<ListInputBindingsResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn on_binding_event(
        &self,
        _: tonic::Request<BindingEventRequest>,
    ) -> Result<tonic::Response<BindingEventResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn on_bulk_topic_event(
        &self,
        _: tonic::Request<TopicEventBulkRequest>,
    ) -> Result<tonic::Response<TopicEventBulkResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }

    async fn on_job_event(
        &self,
        _: tonic::Request<JobEventRequest>,
    ) -> Result<tonic::Response<JobEventResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }
}
