//! `CloudEventLayer`: what it takes and what it leaves alone, what an event gets that cannot be taken, and the spans that
//! the SDK exports.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/busy.rs"]
#[allow(unreachable_pub, reason = "a module of tests")]
mod busy;
mod recorded;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, response::IntoResponse};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::BodyExt;
use opentelemetry::{
    Context as TraceContext,
    trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::SpanData;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{CloudEvent, Limits, Outcome},
};

use self::{
    busy::keep_busy,
    recorded::{Logged, Spans, attribute, attributes},
};

const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"shop","type":"order.paid.v1","subject":"s",
    "datacontenttype":"application/json","pubsubname":"bus","topic":"orders","tracestate":"",
    "traceparent":"00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01",
    "traceid":"00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01","data":{"n":"secret"}}"#;

// ===== what is decoded =====

#[tokio::test]
async fn an_event_is_decoded_and_its_body_can_still_be_read() {
    let (service, seen) = recorder(CloudEventLayer::new());
    let response = service.oneshot(delivery(EVENT)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let seen = seen.take();
    assert_eq!(seen.len(), 1);
    let (id, body, pubsub) = &seen[0];
    assert_eq!(id.as_deref(), Some("7"));
    assert_eq!(body, EVENT);
    assert_eq!(pubsub.as_deref(), Some("bus"), "headers stay");
}

#[tokio::test]
async fn the_media_type_is_compared_without_case_and_parameters() {
    for content_type in ["application/CloudEvents+JSON", "application/cloudevents+json; charset=utf-8"] {
        let (service, seen) = recorder(CloudEventLayer::new());
        let mut request = delivery(EVENT);
        request.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
        service.oneshot(request).await.unwrap();
        assert_eq!(seen.take()[0].0.as_deref(), Some("7"), "{content_type}");
    }
}

#[tokio::test]
async fn other_requests_pass_with_their_bodies_unread() {
    for content_type in [None, Some("application/json"), Some("application/cloudevents+avro"), Some("application/grpc")]
    {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let body = Body::from_stream(stream::poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(None::<Result<Bytes, Infallible>>)
        }));
        let service = CloudEventLayer::new().with_limits(Limits::default().with_bytes(0)).layer(service_fn(
            async |request: Request<Body>| {
                assert!(request.extensions().get::<CloudEvent>().is_none());
                Ok::<_, Infallible>(Response::new(Body::from("passed")))
            },
        ));
        let mut request = Request::new(body);
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        assert_eq!(text(service.oneshot(request).await.unwrap()).await, "passed");
        assert_eq!(polls.load(Ordering::Relaxed), 0, "{content_type:?}");
    }
}

#[tokio::test]
async fn a_body_in_many_frames_is_put_together() {
    for size in [1, 2, 100] {
        let frames = EVENT.as_bytes().chunks(size).map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk)));
        let frames = stream::iter(frames.collect::<Vec<_>>()).flat_map(|frame| stream::iter([Ok(Bytes::new()), frame]));
        let (service, seen) = recorder(CloudEventLayer::new());
        service.oneshot(delivery(Body::from_stream(frames))).await.unwrap();
        assert_eq!(seen.take()[0].1, EVENT);
    }
}

#[tokio::test]
async fn two_layers_decode_once() {
    let spans = Spans::new();
    let both = (layer(&spans), layer(&spans).with_limits(Limits::default().with_bytes(0)));
    let service = both.layer(service_fn(async |request: Request<Body>| {
        assert_eq!(request.extensions().get::<CloudEvent>().and_then(CloudEvent::id), Some("7"));
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let response = service.oneshot(delivery(EVENT)).await.unwrap();
    assert!(response.extensions().get::<Outcome>().is_none(), "the inner one would have refused it");
    assert_eq!(spans.take().len(), 1);
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    /// Each instance must have been asked before it is called; a clone has not been.
    #[derive(Default)]
    struct Strict {
        ready: bool,
    }

    impl Clone for Strict {
        fn clone(&self) -> Self {
            Self::default()
        }
    }

    impl Service<Request<Body>> for Strict {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(std::mem::take(&mut self.ready), "called without having been ready");
            std::future::ready(Ok(Response::new(Body::empty())))
        }
    }

    let mut service = CloudEventLayer::new().layer(Strict::default());
    for _ in 0..3 {
        let call = service.ready().await.unwrap().call(delivery(EVENT));
        let other = service.clone().oneshot(Request::new(Body::empty()));
        let (first, second) = tokio::join!(call, other);
        first.unwrap();
        second.unwrap();
    }
}

// ===== what cannot be taken =====

#[tokio::test]
async fn what_cannot_be_decoded_is_dropped_and_not_passed_on() {
    for body in [
        "",
        "{",
        "[]",
        "\u{feff}{}",
        r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
        r#"{"id":{}}"#,
        r#"{"data":1,"data_base64":"AA=="}"#,
        r#"{"data_base64":"%"}"#,
        &format!(r#"{{"data":{}"#, "[".repeat(200_000)),
    ] {
        let (service, seen) = recorder(CloudEventLayer::new());
        let response = service.oneshot(delivery(body.to_owned())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.extensions().get::<Outcome>(), Some(&Outcome::Drop));
        assert_eq!(text(response).await, r#"{"status":"DROP"}"#);
        assert_eq!(seen.take(), []);
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_answered_as_configured() {
    let (service, seen) = recorder(CloudEventLayer::new().on_undecodable(Outcome::Retry));
    assert_eq!(text(service.oneshot(delivery("{")).await.unwrap()).await, r#"{"status":"RETRY"}"#);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn a_compressed_body_is_refused_in_every_mode() {
    // `{}` as gzip writes it.
    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0";
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
    for coding in ["gzip", "br", "identity, zstd", "gzip, gzip", "\u{e9}"] {
        for mode in ["structured", "batched", "binary", "broker"] {
            let mut request = delivery(GZIP);
            let headers = request.headers_mut();
            match mode {
                "batched" => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents-batch+json"));
                }
                "binary" => {
                    headers.remove(CONTENT_TYPE);
                    headers.extend(
                        binary.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
                    );
                }
                "broker" => headers.extend(
                    ["ce_id", "ce_type"].map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))),
                ),
                _ => {}
            }
            request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_bytes(coding.as_bytes()).unwrap());
            let (logged, _guard) = Logged::start();
            let (service, seen) = recorder(CloudEventLayer::new());
            assert_eq!(text(service.oneshot(request).await.unwrap()).await, r#"{"status":"DROP"}"#, "{coding}");
            assert_eq!(seen.take(), []);
            let logged = logged.take();
            assert!(logged.contains("the body is compressed"), "{mode}: {logged}");
        }
    }
}

/// A publisher's metadata become headers of the delivery.
#[tokio::test]
async fn a_plain_envelope_is_taken_whatever_its_content_encoding_says() {
    for coding in ["Identity", "gzip"] {
        let mut plain = delivery(EVENT);
        plain.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        let (service, seen) = recorder(CloudEventLayer::new());
        service.oneshot(plain).await.unwrap();
        assert_eq!(seen.take().len(), 1, "{coding}");
    }
    let identity = Request::post("/orders").header("ce-specversion", "1.0").header("ce-id", "7");
    let identity = identity.header("ce-source", "s").header("ce-type", "t").header(CONTENT_ENCODING, "Identity");
    let (service, seen) = recorder(CloudEventLayer::new());
    service.oneshot(identity.body(Body::from("x")).unwrap()).await.unwrap();
    assert_eq!(seen.take().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_declared_far_too_large_is_refused_unread() {
    let layer = CloudEventLayer::new().with_limits(Limits::default().with_bytes(1000));
    let (service, seen) = recorder(layer.clone());
    let polled = Arc::new(AtomicBool::new(false));
    let mut request = delivery(endless(polled.clone(), 100));
    request.headers_mut().insert(CONTENT_LENGTH, (1001 + (16 << 20)).into());
    assert_eq!(text(service.oneshot(request).await.unwrap()).await, r#"{"status":"DROP"}"#);
    assert!(!polled.load(Ordering::Relaxed));
    assert_eq!(seen.take(), []);

    let (service, seen) = recorder(layer);
    let whole = Body::from(vec![b' '; 1001]);
    assert_eq!(text(service.oneshot(delivery(whole)).await.unwrap()).await, r#"{"status":"DROP"}"#);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_for_ever() {
    let (service, seen) = recorder(CloudEventLayer::new().with_limits(Limits::default().with_bytes(1000)));
    let polled = Arc::new(AtomicBool::new(false));
    let response = service.oneshot(delivery(endless(polled.clone(), 100))).await.unwrap();
    assert_eq!(text(response).await, r#"{"status":"DROP"}"#);
    assert!(polled.load(Ordering::Relaxed));
    assert_eq!(seen.take(), []);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_that_is_too_large_is_waited_for_a_second() {
    let layer = CloudEventLayer::new().with_limits(Limits::default().with_bytes(5));
    for (declared, waited) in [(None, 6 + 1), (Some(9), 1)] {
        let (service, seen) = recorder(layer.clone());
        let mut request = delivery(dripping());
        declared.map(|length: u64| request.headers_mut().insert(CONTENT_LENGTH, length.into()));
        let started = tokio::time::Instant::now();
        assert_eq!(text(service.oneshot(request).await.unwrap()).await, r#"{"status":"DROP"}"#);
        assert_eq!(started.elapsed(), Duration::from_secs(waited));
        assert_eq!(seen.take(), []);
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let (service, seen) = recorder(CloudEventLayer::new().with_limits(Limits::default().with_bytes(EVENT.len())));
    service.oneshot(delivery(EVENT)).await.unwrap();
    assert_eq!(seen.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up_after_the_timeout() {
    for (layer, timeout) in [
        (CloudEventLayer::new(), Duration::from_secs(30)),
        (CloudEventLayer::new().with_read_timeout(Duration::from_secs(5)), Duration::from_secs(5)),
    ] {
        let (service, seen) = recorder(layer.on_undecodable(Outcome::Drop));
        let started = tokio::time::Instant::now();
        let response = service.oneshot(delivery(dripping())).await.unwrap();
        assert_eq!(started.elapsed(), timeout);
        assert_eq!(text(response).await, r#"{"status":"RETRY"}"#);
        assert_eq!(seen.take(), []);
    }
}

/// What does much each time it is polled is late all the same: tokio's timers say "not yet" to so busy a task.
#[tokio::test(start_paused = true)]
async fn a_body_that_keeps_its_task_busy_is_given_up_too() {
    let body = stream::once(Box::pin(keep_busy(Duration::from_secs(31)))).map(|()| Ok::<_, Infallible>(EVENT));
    let (service, seen) = recorder(CloudEventLayer::new());
    let response = service.oneshot(delivery(Body::from_stream(body))).await.unwrap();
    assert_eq!(text(response).await, r#"{"status":"RETRY"}"#);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_retried() {
    let frames = [Ok(Bytes::from_static(EVENT.as_bytes())), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    let (service, seen) = recorder(CloudEventLayer::new());
    let response = service.oneshot(delivery(Body::from_stream(stream::iter(frames)))).await.unwrap();
    assert_eq!(text(response).await, r#"{"status":"RETRY"}"#);
    assert_eq!(seen.take(), []);
}

#[tokio::test]
async fn a_refusal_is_logged_without_the_event() {
    let (logged, _guard) = Logged::start();
    let (service, _) = recorder(CloudEventLayer::new());
    let mut request = delivery(r#"{"id":"secret","data_base64":"secret!"}"#);
    *request.uri_mut() = format!("/orders/{}", "x".repeat(10_000)).parse().unwrap();
    service.oneshot(request).await.unwrap();
    let logged = logged.take();
    assert!(logged.contains("WARN") && logged.contains("event refused"), "{logged}");
    assert!(logged.contains("path=/orders/xxx") && logged.contains("pubsub=bus"), "{logged}");
    assert!(logged.contains("outcome=DROP reason=`data_base64` is not base64"), "{logged}");
    assert!(!logged.contains("secret") && logged.len() < 500, "{logged}");
}

// ===== spans =====

#[tokio::test]
async fn processing_is_a_consumer_span_linked_to_the_creation_context() {
    let spans = Spans::new();
    let server = spans.provider.tracer("test").start("server");
    let parent = TraceContext::new().with_span(server);
    let parent_ids = parent.span().span_context().clone();

    let handler = service_fn(async |_: Request<Body>| {
        TraceContext::map_current(|current| assert!(current.span().span_context().is_valid()));
        Ok::<_, Infallible>(Outcome::Success.into_response())
    });
    {
        let _guard = parent.attach();
        let response = layer(&spans).layer(handler).oneshot(delivery(EVENT)).now_or_never().unwrap().unwrap();
        assert_eq!(text(response).now_or_never().unwrap(), r#"{"status":"SUCCESS"}"#);
    }

    let span = only(&spans, "process orders");
    assert_eq!(span.span_kind, SpanKind::Consumer);
    assert_eq!(span.parent_span_id, parent_ids.span_id());
    assert_eq!(span.span_context.trace_id(), parent_ids.trace_id());
    assert_eq!(span.status, Status::Unset);
    let links: Vec<_> = span.links.iter().map(|link| link.span_context.clone()).collect();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(links[0].span_id().to_string(), "d0bea01e6f464a37");
    assert_eq!(
        attributes(&span),
        [
            ("cloudevents.event_id", "7"),
            ("cloudevents.event_source", "shop"),
            ("cloudevents.event_spec_version", "1.0"),
            ("cloudevents.event_subject", "s"),
            ("cloudevents.event_type", "order.paid.v1"),
            ("dapr.building_block", "pubsub"),
            ("dapr.component.name", "bus"),
            ("messaging.destination.name", "orders"),
            ("messaging.message.id", "7"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.system", "dapr"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn the_spans_context_is_current_in_the_handler_and_only_there() {
    let spans = Spans::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let in_handler = seen.clone();
    let note = move || {
        let id = TraceContext::map_current(|current| current.span().span_context().span_id());
        in_handler.lock().unwrap().push(id);
    };
    let service = layer(&spans).layer(service_fn(move |_: Request<Body>| {
        note();
        let note = note.clone();
        async move {
            tokio::task::yield_now().await;
            note();
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    }));
    service.oneshot(delivery(EVENT)).await.unwrap();
    let id = only(&spans, "process orders").span_context.span_id();
    assert_eq!(*seen.lock().unwrap(), [id, id]);
    assert!(!TraceContext::current().has_active_span());
}

#[tokio::test]
async fn an_event_without_topic_and_trace_has_a_plain_span() {
    let spans = Spans::new();
    for body in [
        r#"{"raw":3}"#,
        r#"{"traceparent":"00-00000000000000000000000000000000-0000000000000000-00","traceid":""}"#,
        r#"{"traceparent":"x","traceid":"0af7651916cd43dd8448eb211c80319c","tracestate":"a=b"}"#,
    ] {
        let handler = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
        layer(&spans).layer(handler).oneshot(delivery(body)).await.unwrap();
    }
    let finished = spans.take();
    assert_eq!(finished.len(), 3);
    for span in finished {
        assert_eq!(span.name, "process");
        assert_eq!(span.links.len(), 0);
        assert_eq!(span.parent_span_id.to_string(), "0000000000000000");
        let keys: Vec<_> = attributes(&span).into_iter().map(|(key, _)| key).collect();
        assert!(
            !keys.iter().any(|key| key == "cloudevents.event_id" || key == "messaging.destination.name"),
            "{keys:?}"
        );
    }
}

#[tokio::test]
async fn the_spans_error_type_is_the_verdict() {
    for (response, error_type) in [
        (Outcome::Success.into_response(), None),
        (StatusCode::NO_CONTENT.into_response(), None),
        (Outcome::Retry.into_response(), Some("RETRY")),
        (Outcome::Drop.into_response(), Some("DROP")),
        (StatusCode::NOT_FOUND.into_response(), Some("404")),
        (StatusCode::FOUND.into_response(), Some("302")),
        (StatusCode::INTERNAL_SERVER_ERROR.into_response(), Some("500")),
    ] {
        let spans = Spans::new();
        let response = Arc::new(Mutex::new(Some(response)));
        let handler = service_fn(move |_: Request<Body>| {
            let response = response.lock().unwrap().take().unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        text(layer(&spans).layer(handler).oneshot(delivery(EVENT)).await.unwrap()).await;
        assert_ended_with(&spans, error_type);
    }
}

#[tokio::test]
async fn a_failing_service_ends_the_span() {
    let spans = Spans::new();
    let handler = service_fn(async |_: Request<Body>| {
        Err::<Response<Body>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
    });
    layer(&spans).layer(handler).oneshot(delivery(EVENT)).await.unwrap_err();
    assert_ended_with(&spans, Some("connection_refused"));
}

#[tokio::test]
async fn a_dropped_future_ends_the_span_as_cancelled() {
    let spans = Spans::new();
    let handler =
        service_fn(async |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>().await);
    let mut call = Box::pin(layer(&spans).layer(handler).oneshot(delivery(EVENT)));
    assert!(futures_util::poll!(&mut call).is_pending());
    assert_eq!(spans.take().len(), 0);
    drop(call);
    assert_ended_with(&spans, Some("cancelled"));
}

#[tokio::test]
async fn a_dropped_body_ends_the_span_as_cancelled() {
    let spans = Spans::new();
    let handler = service_fn(async |_: Request<Body>| {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        Ok::<_, Infallible>(Response::new(body))
    });
    let response = layer(&spans).layer(handler).oneshot(delivery(EVENT)).await.unwrap();
    drop(response);
    assert_ended_with(&spans, Some("cancelled"));
}

#[tokio::test]
async fn a_panic_ends_the_span_as_panic() {
    let spans = Spans::new();
    let handler = service_fn(async |request: Request<Body>| {
        assert!(request.headers().is_empty(), "on purpose");
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let call = tokio::spawn(layer(&spans).layer(handler).oneshot(delivery(EVENT)));
    assert!(call.await.unwrap_err().is_panic());
    assert_ended_with(&spans, Some("panic"));
}

#[tokio::test]
async fn nothing_is_recorded_of_an_event_that_never_arrived() {
    let spans = Spans::new();
    let (service, seen) = recorder(layer(&spans));
    let mut call = Box::pin(service.oneshot(delivery(dripping())));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(seen.take(), []);

    let (service, _) = recorder(layer(&spans));
    service.oneshot(delivery("{")).await.unwrap();
    let (service, _) = recorder(layer(&spans));
    service.oneshot(Request::new(Body::from(EVENT))).await.unwrap();
    assert_eq!(spans.take().len(), 0);
}

#[tokio::test]
async fn nothing_is_recorded_without_a_provider_or_when_telemetry_is_suppressed() {
    let noop = opentelemetry::trace::noop::NoopTracerProvider::new();
    let (service, seen) = recorder(CloudEventLayer::new().with_tracer_provider(&noop));
    service.oneshot(delivery(EVENT)).await.unwrap();
    assert_eq!(seen.take().len(), 1);

    let spans = Spans::new();
    let (service, seen) = recorder(layer(&spans));
    {
        let _guard = TraceContext::enter_telemetry_suppressed_scope();
        service.oneshot(delivery(EVENT)).now_or_never().unwrap().unwrap();
    }
    assert_eq!(seen.take().len(), 1);
    assert_eq!(spans.take().len(), 0);
}

#[tokio::test]
async fn long_names_are_cut_and_data_is_nowhere() {
    let spans = Spans::new();
    let long = "ä".repeat(10_000);
    let body =
        format!(r#"{{"id":"{long}","topic":"{long}","subject":"{long}","ext":"secret","data":{{"secret":"secret"}}}}"#);
    let (service, seen) = recorder(layer(&spans));
    service.oneshot(delivery(body)).await.unwrap();
    assert_eq!(seen.take().len(), 1);
    let finished = spans.take();
    assert_eq!(finished[0].name.len(), "process ".len() + 256);
    assert!(attributes(&finished[0]).iter().all(|(_, value)| value.len() <= 1024));
    assert!(!format!("{finished:?}").contains("secret"));
}

// ===== the response =====

#[tokio::test]
async fn the_inner_response_passes_with_its_trailers() {
    let service = CloudEventLayer::new().layer(service_fn(async |_: Request<Body>| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-end", "1".parse().unwrap());
        let body =
            http_body_util::Full::new(Bytes::from_static(b"abc")).with_trailers(std::future::ready(Some(Ok(trailers))));
        Ok::<_, Infallible>(Response::builder().status(201).header("x-own", "1").body(Body::new(body)).unwrap())
    }));
    let response = service.oneshot(delivery(EVENT)).await.unwrap();
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(3));
    assert_eq!((response.status(), &response.headers()["x-own"]), (StatusCode::CREATED, &"1".parse().unwrap()));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-end"], "1");
    assert_eq!(body.to_bytes(), "abc");
}

#[tokio::test]
async fn an_answers_length_is_known() {
    use http_body::Body as _;

    let (service, _) = recorder(CloudEventLayer::new());
    let mut body = service.oneshot(delivery("{")).await.unwrap().into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(17), false));
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    assert!(body.frame().await.is_none());
}

#[test]
fn the_service_can_be_shared_and_its_future_sent() {
    fn is_shared<T: Clone + Send + Sync>(_: &T) {}
    fn is_sent<T: Send>(_: &T) {}
    let mut service = CloudEventLayer::new()
        .layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))));
    is_shared(&service);
    is_sent(&service.call(Request::new(Body::empty())));
}

// ===== helpers =====

fn delivery(body: impl Into<Body>) -> Request<Body> {
    Request::post("/orders")
        .header(CONTENT_TYPE, "application/cloudevents+json")
        .header("pubsubname", "bus")
        .body(body.into())
        .unwrap()
}

/// What a request was when it arrived: the event's id, the body, the header `pubsubname`.
type Arrived = (Option<String>, String, Option<String>);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Arrived>>>);

impl Seen {
    fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A service behind the layer that writes down what arrives.
#[expect(clippy::needless_pass_by_value, reason = "made for it")]
fn recorder(
    layer: CloudEventLayer,
) -> (
    impl Service<
        Request<Body>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = axum::Error> + Unpin>,
        Error = Infallible,
    > + Clone,
    Seen,
) {
    let seen = Seen::default();
    let inner = seen.clone();
    let service = layer.layer(service_fn(move |request: Request<Body>| {
        let seen = inner.clone();
        async move {
            let id = request.extensions().get::<CloudEvent>().and_then(|event| event.id().map(str::to_owned));
            let pubsub = request.headers().get("pubsubname").map(|name| name.to_str().unwrap().to_owned());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.0.lock().unwrap().push((id, String::from_utf8(body.to_vec()).unwrap(), pubsub));
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    }));
    (service, seen)
}

async fn text<B: http_body::Body>(response: Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A body of frames without end, which says when it is read.
fn endless(polled: Arc<AtomicBool>, frame: usize) -> Body {
    Body::from_stream(stream::repeat_with(move || {
        polled.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from(vec![b' '; frame]))
    }))
}

/// One byte a second, for ever.
fn dripping() -> Body {
    Body::from_stream(stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
    }))
}

/// The only span of this name.
fn only(spans: &Spans, name: &str) -> SpanData {
    let mut finished = spans.take();
    finished.retain(|span| span.name == name);
    assert_eq!(finished.len(), 1);
    finished.remove(0)
}

fn assert_ended_with(spans: &Spans, error_type: Option<&str>) {
    let span = only(spans, "process orders");
    assert_eq!(attribute(&span, "error.type").as_deref(), error_type);
    assert_eq!(span.status, if error_type.is_some() { Status::error("") } else { Status::Unset });
}

fn layer(spans: &Spans) -> CloudEventLayer {
    CloudEventLayer::new().with_tracer_provider(&spans.provider)
}
