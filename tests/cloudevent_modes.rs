//! `CloudEventLayer` and the extractors in the modes besides the structured one: binary, the broker's own binary mode,
//! batches, Dapr's bulk delivery; and what is counted.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod recorded;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse, routing::post};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, PeriodicReader, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData},
};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_dapr::{
    cloudevent::CloudEventLayer,
    event::{Batch, CloudEvent, Data, DecodeError, Event, ExtensionValue, Limits, Outcome, Outcomes},
    inbound::{Bulk, Events, Rejected},
};

use self::recorded::{Logged, Spans, attribute, attributes};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-d0bea01e6f464a37-01";

// ===== binary mode =====

#[tokio::test]
async fn binary_mode_is_read_from_headers_and_body() {
    let request = Request::post("/orders")
        .header("CE-SpecVersion", "1.0")
        .header("ce-id", "7")
        .header("ce-source", "/a%20b")
        .header("ce-type", "\"order \\\"paid\\\"\"")
        .header("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80")
        .header("ce-time", "2026-11-22T10:00:00.5+01:00")
        .header("ce-note", "%2520")
        .header("ce-empty", "")
        .header("ce-datacontenttype", "text/plain")
        .header(CONTENT_TYPE, "application/json; charset=utf-8");
    let event = decoded(request.body(Body::from(r#"{"n": 1}"#)).unwrap()).await;
    assert_eq!((event.id(), event.source(), event.ty()), (Some("7"), "/a b", "order \"paid\""));
    assert_eq!(event.subject(), Some("Euro € 😀"));
    assert_eq!(event.time(), Some("2026-11-22T10:00:00.5+01:00"));
    assert_eq!(event.data_content_type(), Some("application/json; charset=utf-8"));
    assert_eq!(event.extensions().collect::<Vec<_>>(), [("note", ExtensionValue::Text("%20"))]);
    assert_eq!(event.data(), Data::Json(r#"{"n": 1}"#));
    assert_eq!(event.data_as::<Value>().unwrap(), json!({"n": 1}));
}

#[test]
fn binary_data_is_what_its_content_type_says() {
    for (content_type, body, expected) in [
        (Some("application/json"), &b"{}"[..], Data::Json("{}")),
        (Some("application/json"), b"\xff", Data::Binary(b"\xff")),
        (Some("application/vnd.x+json; v=1"), b"1", Data::Json("1")),
        (Some("Text/Plain"), "ä".as_bytes(), Data::Text("ä")),
        (Some("application/xml"), b"<a/>", Data::Text("<a/>")),
        (Some("text/plain"), b"\xff", Data::Binary(b"\xff")),
        (Some("image/png"), b"a", Data::Binary(b"a")),
        (None, b"a", Data::Binary(b"a")),
        (Some("application/json"), b"", Data::None),
        (None, b"", Data::None),
    ] {
        let mut headers = required();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        let event = CloudEvent::from_headers(&headers, Bytes::copy_from_slice(body)).unwrap();
        assert_eq!(event.data(), expected, "{content_type:?}");
        assert_eq!(event.data_content_type(), content_type);
    }
}

#[test]
fn data_in_binary_mode_is_not_copied() {
    let data = Bytes::from(vec![b'x'; 1000]);
    let mut headers = required();
    headers.insert(CONTENT_TYPE, "text/plain".parse().unwrap());
    let event = CloudEvent::from_headers(&headers, data.clone()).unwrap();
    assert_eq!(event.data_bytes().as_ptr(), data.as_ptr());
}

#[test]
fn binary_mode_refuses_what_cannot_be_an_event() {
    let refused = |change: &dyn Fn(&mut HeaderMap)| {
        let mut headers = required();
        change(&mut headers);
        CloudEvent::from_headers(&headers, Bytes::new()).unwrap_err().to_string()
    };
    type Change = Box<dyn Fn(&mut HeaderMap)>;
    let insert = |name: &'static str, value: &'static [u8]| -> Change {
        Box::new(move |headers| {
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
        })
    };
    for (change, reason) in [
        (insert("ce-id", b"8"), "`id` appears twice"),
        (insert("ce-x", b"%C0%A0"), "a string is not Unicode"),
        (insert("ce-x", "ä".as_bytes()), "a string is not Unicode"),
        (Box::new(|headers: &mut HeaderMap| headers.clear()) as Change, "no header is an attribute of an event"),
        (
            Box::new(|headers: &mut HeaderMap| drop(headers.insert("ce-specversion", "0.3".parse().unwrap()))),
            "`specversion` is not 1.0",
        ),
    ] {
        assert_eq!(refused(&*change), reason);
    }
    let mut twice = required();
    twice.append("ce-x", "1".parse().unwrap());
    twice.append("ce-x", "1".parse().unwrap());
    assert!(CloudEvent::from_headers(&twice, Bytes::new()).is_err());

    for limits in [
        Limits::default().with_bytes(2),
        Limits::default().with_attributes(3),
        Limits::default().with_attribute_bytes(2),
        Limits::default().with_depth(0),
    ] {
        let mut headers = required();
        headers.insert(CONTENT_TYPE, "a/json".parse().unwrap());
        assert!(CloudEvent::from_headers_within(&headers, Bytes::from_static(b"[1]"), &limits).is_err(), "{limits:?}");
    }
}

#[tokio::test]
async fn a_binary_event_needs_all_required_headers() {
    let request = Request::post("/").header("ce-id", "7").header("ce-type", "t").body(Body::empty()).unwrap();
    assert_eq!(seen_by_handler(CloudEventLayer::new(), request).await.len(), 0);
}

#[tokio::test]
async fn structured_mode_wins_over_headers() {
    let mut request = delivery(r#"{"specversion":"1.0","id":"body","source":"s","type":"t"}"#);
    for name in ["ce-id", "ce-type", "ce_id", "ce_type"] {
        request.headers_mut().insert(name, "header".parse().unwrap());
    }
    assert_eq!(decoded(request).await.id(), Some("body"));
}

// ===== the broker's own binary mode =====

#[tokio::test]
async fn bare_bytes_with_a_brokers_attributes_are_an_event() {
    let long = json!({"s": "x".repeat(70 << 10)}).to_string();
    let wide = Value::from_iter((0..300).map(|n| (n.to_string(), n))).to_string();
    for (body, expected) in [
        (&b"\x00\x01"[..], Data::Binary(b"\x00\x01")),
        (b"plain text", Data::Binary(b"plain text")),
        // JSON, but not an envelope.
        (br#"{"n":1}"#, Data::Binary(br#"{"n":1}"#)),
        (br#"{"id":"x","n":1}"#, Data::Binary(br#"{"id":"x","n":1}"#)),
        (br#"{"a":1,"a":2}"#, Data::Binary(br#"{"a":1,"a":2}"#)),
        (long.as_bytes(), Data::Binary(long.as_bytes())),
        (wide.as_bytes(), Data::Binary(wide.as_bytes())),
    ] {
        let mut request = delivery(body.to_vec());
        for (name, value) in [
            ("ce_specversion", "1.0".as_bytes()),
            ("ce_id", b"7"),
            ("ce_source", b"shop"),
            ("ce_type", "50% ä".as_bytes()),
            ("ce_traceparent", TRACE.as_bytes()),
        ] {
            request.headers_mut().insert(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let event = decoded(request).await;
        assert_eq!((event.id(), event.ty(), event.data()), (Some("7"), "50% ä", expected));
        assert_eq!((event.trace_parent(), event.data_content_type()), (Some(TRACE), None));
    }
}

#[tokio::test]
async fn bare_bytes_alone_are_no_event() {
    let (status, body) = answer(CloudEventLayer::new(), delivery(&b"\x00"[..])).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"status":"DROP"}"#));
}

// ===== raw payloads =====

#[tokio::test]
async fn a_raw_payload_is_read_as_json_by_choice() {
    let raw = r#"{"data_base64":"eyJuIjoxfQ==","datacontenttype":"application/octet-stream","id":"1"}"#;
    let event = decoded(delivery(raw)).await;
    assert!(event.data_as::<Value>().is_err());
    assert_eq!(event.data_as_json::<Value>().unwrap(), json!({"n": 1}));

    let chosen = CloudEventLayer::new().with_json_octets(true);
    let event = seen_by_handler(chosen.clone(), delivery(raw)).await.remove(0);
    assert_eq!(event.data_as::<Value>().unwrap(), json!({"n": 1}));
    assert_eq!(event.data(), Data::Binary(br#"{"n":1}"#), "as it was received");

    let image = r#"{"data_base64":"eyJuIjoxfQ==","datacontenttype":"image/png","id":"1"}"#;
    let event = seen_by_handler(chosen, delivery(image)).await.remove(0);
    assert_eq!(event.data_as::<Vec<u8>>().unwrap(), br#"{"n":1}"#);
}

#[tokio::test]
async fn an_outer_layer_does_not_make_json_octets_bytes() {
    let raw = r#"{"data_base64":"eyJuIjoxfQ==","datacontenttype":"application/octet-stream","id":"1"}"#;
    let entry = entry("a", &serde_json::from_str(raw).unwrap());
    for (request, is_bulk) in [(delivery(raw), false), (bulk(&[entry]), true)] {
        let app = Router::new().route(
            "/",
            post(async |bulk: Bulk<Value>| {
                bulk.each(async |event: Event<Value>| assert_eq!(event.data, json!({"n": 1}))).await
            }),
        );
        let app = app.layer(CloudEventLayer::new().with_json_octets(true)).layer(CloudEventLayer::new());
        let answer = text(app.oneshot(request).await.unwrap()).await;
        assert_eq!(answer.contains("statuses"), is_bulk, "{answer}");
        assert!(answer.contains("SUCCESS"), "{answer}");
    }
}

// ===== batches =====

#[tokio::test]
async fn a_batch_is_one_span_with_a_link_to_each_event() {
    let spans = Spans::new();
    let other = TRACE.replace("d0bea", "d0beb");
    let body = json!([
        {"specversion":"1.0","id":"1","source":"s","type":"t","topic":"orders","traceparent":TRACE},
        {"specversion":"1.0","id":"2","source":"s","type":"t","topic":"orders","traceparent":other},
        {"specversion":"1.0","id":"3","source":"s","type":"t","topic":"orders"},
    ]);
    let layer = CloudEventLayer::new().with_tracer_provider(&spans.provider);
    let events = seen_by_handler(layer, batch(&body.to_string())).await;
    assert_eq!(events.iter().map(CloudEvent::id).collect::<Vec<_>>(), [Some("1"), Some("2"), Some("3")]);

    let finished = spans.take();
    assert_eq!((finished.len(), finished[0].name.as_ref()), (1, "process orders"));
    let links: Vec<_> = finished[0].links.iter().map(|link| link.span_context.span_id().to_string()).collect();
    assert_eq!(links, ["d0bea01e6f464a37", "d0beb01e6f464a37"]);
    assert_eq!(attribute(&finished[0], "messaging.batch.message_count").as_deref(), Some("3"));
    assert!(!attributes(&finished[0]).iter().any(|(key, _)| key == "messaging.message.id"));
}

#[tokio::test]
async fn a_batch_of_different_topics_names_none() {
    let spans = Spans::new();
    let layer = CloudEventLayer::new().with_tracer_provider(&spans.provider);
    seen_by_handler(layer, batch(r#"[{"id":"1","topic":"a"},{"id":"2","topic":"b"}]"#)).await;
    let finished = spans.take();
    assert_eq!(finished[0].name, "process");
    assert_eq!(attribute(&finished[0], "messaging.destination.name"), None);
}

#[tokio::test]
async fn the_events_of_a_batch_are_extracted() {
    let app = Router::new().route(
        "/",
        post(async |Events(events): Events<u32>| events.iter().map(|event| event.data).sum::<u32>().to_string()),
    );
    for (layered, request, expected) in [
        (true, batch(r#"[{"id":"1","data":1},{"id":"2","data":2}]"#), "3"),
        (false, batch(r#"[{"id":"1","data":1},{"id":"2","data":2}]"#), "3"),
        (true, batch("[]"), "0"),
        (true, delivery(r#"{"id":"1","data":7}"#), "7"),
        (true, batch(r#"[{"id":"1","data":1},{"id":"2","data":"x"}]"#), r#"{"status":"DROP"}"#),
        (true, batch(r#"[{"id":"1","data":1},3]"#), r#"{"status":"DROP"}"#),
        (true, batch("{}"), r#"{"status":"DROP"}"#),
        (true, batch("[1"), r#"{"status":"DROP"}"#),
    ] {
        let app = if layered { app.clone().layer(CloudEventLayer::new()) } else { app.clone() };
        assert_eq!(text(app.oneshot(request).await.unwrap()).await, expected);
    }
}

#[test]
fn batches_are_bounded() {
    let two = Limits::default().with_entries(2);
    assert_eq!(Batch::from_json_within(Bytes::from_static(b"[{},{}]"), &two).unwrap().entries().len(), 2);
    let error = Batch::from_json_within(Bytes::from_static(b"[{},{},{}]"), &two).unwrap_err();
    assert_eq!(error.to_string(), "more than 2 events");
    let error = Batch::from_bulk_json_within(Bytes::from_static(br#"{"entries":[1,2,3]}"#), &two).unwrap_err();
    assert_eq!(error.to_string(), "more than 2 events");

    let many = format!("[{}0]", "0,".repeat(200_000));
    assert!(Batch::from_json(many.into()).is_err());
    let deep = "[".repeat(200_000);
    assert!(Batch::from_json(deep.clone().into()).is_err());
    assert!(Batch::from_bulk_json(format!("{{\"entries\":{deep}").into()).is_err());
    assert!(Batch::from_json(Bytes::from(vec![b' '; 8 * 1024 * 1024 + 1])).unwrap_err().is_too_large());
    assert!(Batch::from_json(Bytes::from_static(b"[\"\xff\"]")).is_err());
}

// ===== bulk =====

#[tokio::test]
async fn a_recorded_bulk_delivery_is_read() {
    for line in include_str!("golden/event-bulk.jsonl").lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let body = recorded["body"].as_str().unwrap();
        let batch = Batch::from_bulk_json(body.to_owned().into()).unwrap();
        let raw: Value = serde_json::from_str(body).unwrap();
        assert!(batch.is_bulk() && batch.entries().len() > 1);
        for (entry, raw) in batch.entries().iter().zip(raw["entries"].as_array().unwrap()) {
            assert_eq!(entry.id(), raw["entryId"].as_str());
            let event = entry.event().unwrap();
            assert_eq!(event.id(), raw["event"]["id"].as_str());
            assert_eq!(event.trace_parent(), raw["event"]["traceparent"].as_str());
            assert_eq!(event.data_as::<Value>().unwrap(), raw["event"]["data"]);
            let metadata = raw["metadata"].as_object().map_or(0, serde_json::Map::len);
            assert_eq!(entry.metadata().len(), metadata);
        }
    }
}

#[tokio::test]
async fn each_entry_of_a_bulk_gets_its_outcome() {
    async fn handler(bulk: Bulk<u32>) -> Outcomes {
        bulk.each(async |event: Event<u32>| match event.data {
            0 => Err(Rejected::retry("zero")),
            1 => Ok(Outcome::Drop),
            _ => Ok(Outcome::Success),
        })
        .await
    }

    let entries = [
        entry("a", &json!({"id":"1","data":0})),
        entry("b", &json!({"id":"2","data":1})),
        entry("c", &json!({"id":"3","data":2})),
        entry("d", &json!({"id":"4","data":"x"})),
        entry("e", &json!({"specversion":"0.3"})),
        entry("f", &json!("!")),
        json!({"event": {"id":"5","data":2}}),
        json!(7),
    ];
    for (layer, undecodable) in
        [(CloudEventLayer::new(), "DROP"), (CloudEventLayer::new().on_undecodable(Outcome::Retry), "RETRY")]
    {
        let app = Router::new().route("/", post(handler)).layer(layer);
        let (status, body) = in_order(app.oneshot(bulk(&entries)).await.unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        let expected =
            [("a", "RETRY"), ("b", "DROP"), ("c", "SUCCESS"), ("d", "DROP"), ("e", undecodable), ("f", undecodable)];
        assert_eq!(body, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));
    }
}

#[tokio::test]
async fn one_answer_for_a_bulk_is_one_for_each_entry() {
    let entries =
        [entry("a", &json!({"id":"1"})), entry("b", &json!({"id":"2"})), entry("bad", &json!({"specversion":"0.3"}))];
    for (answer, status) in [
        (Outcome::Success.into_response(), "SUCCESS"),
        (Outcome::Retry.into_response(), "RETRY"),
        (Outcome::Drop.into_response(), "DROP"),
        (().into_response(), "SUCCESS"),
        (StatusCode::NO_CONTENT.into_response(), "SUCCESS"),
        (Rejected::drop("no").into_response(), "DROP"),
    ] {
        let spans = Spans::new();
        let answer = Mutex::new(Some(answer));
        let service =
            CloudEventLayer::new().with_tracer_provider(&spans.provider).layer(service_fn(|_: Request<Body>| {
                let answer = answer.lock().unwrap().take().unwrap();
                async { Ok::<_, Infallible>(answer) }
            }));
        let (code, body) = in_order(service.oneshot(bulk(&entries)).await.unwrap()).await;
        assert_eq!(code, StatusCode::OK);
        let expected = [("a", status), ("b", status), ("bad", "DROP")];
        assert_eq!(body, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));
        let error_type = attribute(&spans.take()[0], "error.type");
        assert_eq!(error_type.as_deref(), Some(status).filter(|status| *status != "SUCCESS"), "not cancelled");
    }
}

#[tokio::test]
async fn a_bulk_answer_of_ones_own_passes() {
    for (status, own) in [(200, r#"{"statuses":[{"entryId":"a","status":"DROP"}]}"#), (500, "")] {
        let service = CloudEventLayer::new().layer(service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::builder().status(status).body(Body::from(own)).unwrap())
        }));
        let response = service.oneshot(bulk(&[entry("a", &json!({}))])).await.unwrap();
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), (status, own));
    }
}

#[tokio::test]
async fn a_bulk_that_cannot_be_read_as_a_whole_comes_again() {
    // A 404 would acknowledge all entries, without dead letters.
    let small = Limits::default().with_bytes(10).with_bulk_bytes(10);
    let few = Limits::default().with_entries(0);
    for (limits, body, error_type) in [
        (small, None, "too_large"),
        (few, None, "decode_error"),
        (Limits::default(), Some(&b"\x1f\x8b\x08\0"[..]), "decode_error"),
    ] {
        for undecodable in [Outcome::Drop, Outcome::Retry] {
            let metrics = Metrics::new();
            let layer = metrics.layer().with_limits(limits).on_undecodable(undecodable);
            let mut request = bulk(&[entry("a", &json!({}))]);
            if let Some(compressed) = body {
                *request.body_mut() = Body::from(compressed);
                request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            }
            assert_eq!(answer(layer, request).await, (StatusCode::OK, r#"{"statuses":[]}"#.to_owned()));
            assert_eq!(metrics.consumed(), [(1, "RETRY".to_owned(), Some(error_type.to_owned()))]);
        }
    }
}

#[tokio::test]
async fn a_bulk_may_be_longer_than_an_event() {
    let data = "x".repeat(50 * 1024);
    let entries: Vec<_> =
        (0..100).map(|n| entry(&n.to_string(), &json!({"id": n.to_string(), "data": data}))).collect();
    assert_eq!(seen_by_handler(CloudEventLayer::new(), bulk(&entries)).await.len(), 100);
    let sum = entries.iter().map(|entry| entry.to_string().len()).sum::<usize>();

    // 9 MiB, more than one event may have.
    let entries: Vec<_> = (0..200).map(|n| entries[n % 100].clone()).collect();
    assert!(2 * sum > Limits::default().bytes());
    assert_eq!(seen_by_handler(CloudEventLayer::new(), bulk(&entries)).await.len(), 200);
}

#[tokio::test]
async fn an_entry_that_is_too_large_does_not_spoil_the_others() {
    let layer = CloudEventLayer::new().with_limits(Limits::default().with_bytes(1000));
    let data = "x".repeat(1000);
    let entries = [
        entry("a", &json!({"id": "1", "data": "x"})),
        entry("b", &json!({"id": "2", "data": data})),
        entry("c", &json!("AAAA".repeat(400))),
        entry("d", &json!("AAAA")),
    ];
    let service = layer.layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))));
    let (_, statuses) = in_order(service.oneshot(bulk(&entries)).await.unwrap()).await;
    let expected = [("a", "SUCCESS"), ("b", "DROP"), ("c", "DROP"), ("d", "SUCCESS")];
    assert_eq!(statuses, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));
}

#[tokio::test]
async fn data_that_does_not_fit_has_its_own_outcome_whatever_the_handler_answers() {
    let entries = [
        entry("a", &json!({"id":"1","data":1})),
        entry("b", &json!({"id":"2","data":"x"})),
        entry("c", &json!({"specversion":"0.3"})),
    ];
    let app = Router::new()
        .route("/unit", post(async |bulk: Bulk<u32>| assert_eq!(bulk.entries().len(), 1)))
        .route("/retry", post(async |_: Bulk<u32>| Outcome::Retry))
        .route("/500", post(async |_: Bulk<u32>| StatusCode::INTERNAL_SERVER_ERROR));
    for (path, status) in [("/unit", "SUCCESS"), ("/retry", "RETRY")] {
        for layers in [1, 2] {
            let metrics = Metrics::new();
            let mut app = app.clone().layer(metrics.layer());
            if layers == 2 {
                app = app.layer(metrics.layer());
            }
            let mut request = bulk(&entries);
            *request.uri_mut() = path.parse().unwrap();
            let (_, statuses) = in_order(app.oneshot(request).await.unwrap()).await;
            let expected = [("a", status), ("b", "DROP"), ("c", "DROP")];
            assert_eq!(statuses, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));
            let mut expected = [("DROP", Some("DROP")), ("DROP", Some("decode_error")), (status, None)];
            if status == "RETRY" {
                expected[2].1 = Some("RETRY");
            }
            let expected = expected.map(|(status, error)| (1, status.to_owned(), error.map(str::to_owned)));
            assert_eq!(metrics.consumed(), expected);
        }
    }
    let mut request = bulk(&entries);
    *request.uri_mut() = "/500".parse().unwrap();
    let metrics = Metrics::new();
    assert_eq!(app.layer(metrics.layer()).oneshot(request).await.unwrap().status(), 500);
}

#[tokio::test]
async fn json_that_is_no_bulk_passes_with_its_body() {
    for body in [r#"{"n":1}"#, "[1]", "{", "", "\"x\""] {
        let service = CloudEventLayer::new().layer(service_fn(async |request: Request<Body>| {
            assert!(request.extensions().get::<Batch>().is_none());
            Ok::<_, Infallible>(Response::new(request.into_body()))
        }));
        let request = Request::post("/").header(CONTENT_TYPE, "application/json").header("pubsubname", "bus");
        let response = service.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        assert_eq!(text(response).await, body);
    }
}

#[tokio::test]
async fn raw_entries_of_a_bulk_are_bytes_with_topic_and_pubsub() {
    let batch = Batch::from_bulk_json(
        json!({"topic":"orders","pubsubname":"bus","entries":[
            {"entryId":"a","event":"AP8B","contentType":"application/octet-stream","metadata":{"k":"v"}},
            {"entryId":"b","event":"eyJuIjoxfQ==","contentType":"application/json"},
            {"entryId":"c","event":"%"},
        ]})
        .to_string()
        .into(),
    )
    .unwrap();
    let [a, b, c] = batch.entries() else { panic!() };
    assert_eq!(a.event().unwrap().data(), Data::Binary(&[0, 255, 1]));
    assert_eq!((a.event().unwrap().topic(), a.event().unwrap().pubsub_name()), (Some("orders"), Some("bus")));
    assert_eq!(a.metadata()["k"], "v");
    assert_eq!(b.event().unwrap().data_as::<Value>().unwrap(), json!({"n": 1}));
    assert_eq!(c.event().unwrap_err().to_string(), "`data_base64` is not base64");
}

#[tokio::test]
async fn a_single_event_is_a_bulk_of_one() {
    let app = Router::new().route(
        "/",
        post(async |bulk: Bulk<u32>| {
            bulk.each(async |event: Event<u32>| if event.data > 0 { Outcome::Success } else { Outcome::Drop }).await
        }),
    );
    for (layered, body, expected) in [
        (true, r#"{"id":"1","data":1}"#, "SUCCESS"),
        (true, r#"{"id":"1","data":0}"#, "DROP"),
        (false, r#"{"id":"1","data":1}"#, "SUCCESS"),
        (true, r#"{"id":"1","data":"x"}"#, "DROP"),
    ] {
        let app = if layered { app.clone().layer(CloudEventLayer::new()) } else { app.clone() };
        let answer = text(app.oneshot(delivery(body)).await.unwrap()).await;
        assert_eq!(answer, format!(r#"{{"status":"{expected}"}}"#));
    }
}

#[tokio::test]
async fn bad_entries_are_one_warning() {
    let (logged, _guard) = Logged::start();
    let entries: Vec<_> = (0..100).map(|id| entry(&id.to_string(), &json!({"specversion":"secret"}))).collect();
    answer(CloudEventLayer::new(), bulk(&entries)).await;
    let logged = logged.take();
    assert_eq!(logged.lines().count(), 1, "{logged}");
    assert!(logged.contains("count=100 of=100 outcome=DROP first_reason=`specversion` is not 1.0"), "{logged}");
    assert!(!logged.contains("secret"));
}

#[tokio::test]
async fn an_optional_event_is_none_where_there_is_none() {
    let app = Router::new()
        .route("/", post(async |event: Option<Event<u32>>| format!("{:?}", event.map(|event| event.data))))
        .route(
            "/result",
            post(async |event: Result<Event<u32>, Rejected>| {
                event.map_or_else(|rejected| rejected.outcome().to_string(), |event| event.data.to_string())
            }),
        );
    let plain = || Request::post("/").body(Body::from("x")).unwrap();
    for layered in [true, false] {
        let app = if layered { app.clone().layer(CloudEventLayer::new()) } else { app.clone() };
        let ask = async |request| text(app.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(ask(plain()).await, "None");
        assert_eq!(ask(delivery(r#"{"id":"1","data":3}"#)).await, "Some(3)");
        assert_eq!(ask(delivery(r#"{"id":"1","data":"x"}"#)).await, r#"{"status":"DROP"}"#);
        let mut request = delivery(r#"{"id":"1","data":"x"}"#);
        *request.uri_mut() = "/result".parse().unwrap();
        assert_eq!(ask(request).await, "DROP");
    }
}

// ===== metrics =====

#[tokio::test]
async fn every_event_is_counted_with_what_came_of_it() {
    for (response, expected) in [
        (Outcome::Success.into_response(), ("SUCCESS", None)),
        (Outcome::Retry.into_response(), ("RETRY", Some("RETRY"))),
        (Outcome::Drop.into_response(), ("DROP", Some("DROP"))),
        (StatusCode::CREATED.into_response(), ("SUCCESS", None)),
        (StatusCode::NOT_FOUND.into_response(), ("DROP", Some("404"))),
        (StatusCode::BAD_GATEWAY.into_response(), ("RETRY", Some("502"))),
    ] {
        let metrics = Metrics::new();
        let response = Mutex::new(Some(response));
        let service = metrics.layer().layer(service_fn(|_: Request<Body>| {
            let response = response.lock().unwrap().take().unwrap();
            async { Ok::<_, Infallible>(response) }
        }));
        text(service.oneshot(delivery(r#"{"id":"1","topic":"anything"}"#)).await.unwrap()).await;
        assert_eq!(metrics.consumed(), [(1, expected.0.to_owned(), expected.1.map(str::to_owned))]);
        assert_eq!(metrics.processed(), 1);
        let all = metrics.all();
        assert!(all.contains("orders") && all.contains("bus") && !all.contains("anything"), "{all}");
    }
}

#[tokio::test]
async fn the_entries_of_a_bulk_are_counted_each() {
    let metrics = Metrics::new();
    let app = Router::new().route(
        "/",
        post(async |bulk: Bulk<u32>| {
            bulk.each(async |event: Event<u32>| if event.data > 0 { Outcome::Success } else { Outcome::Retry }).await
        }),
    );
    let entries = [
        entry("a", &json!({"data":1})),
        entry("b", &json!({"data":2})),
        entry("c", &json!({"data":0})),
        entry("d", &json!({"specversion":"0.3"})),
    ];
    text(app.layer(metrics.layer()).oneshot(bulk(&entries)).await.unwrap()).await;
    assert_eq!(
        metrics.consumed(),
        [
            (1, "DROP".to_owned(), Some("decode_error".to_owned())),
            (1, "RETRY".to_owned(), Some("RETRY".to_owned())),
            (2, "SUCCESS".to_owned(), None),
        ]
    );
    assert_eq!(metrics.processed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_reach_the_handler_is_counted_too() {
    let broken = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
    for (body, expected) in [
        (Body::from("{"), ("DROP", "decode_error")),
        (Body::from(vec![b' '; 101]), ("DROP", "too_large")),
        (Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()), ("RETRY", "timeout")),
        (Body::from_stream(stream::iter(broken)), ("RETRY", "broken_body")),
    ] {
        let metrics = Metrics::new();
        answer(metrics.layer().with_limits(Limits::default().with_bytes(100)), delivery(body)).await;
        assert_eq!(metrics.consumed(), [(1, expected.0.to_owned(), Some(expected.1.to_owned()))]);
        assert_eq!(metrics.processed(), 0);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_once() {
    // While its event is read, and while it is handled.
    let slow = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    for (body, processed) in [(slow, 0), (Body::from(r#"{"id":"1"}"#), 1)] {
        let metrics = Metrics::new();
        let service = metrics.layer().layer(service_fn(async |_: Request<Body>| {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
        let mut call = Box::pin(service.oneshot(delivery(body)));
        assert!((&mut call).now_or_never().is_none());
        drop(call);
        assert_eq!(metrics.consumed(), [(1, "RETRY".to_owned(), Some("cancelled".to_owned()))]);
        assert_eq!(metrics.processed(), processed);
    }
}

#[tokio::test]
async fn two_layers_count_once() {
    let metrics = Metrics::new();
    let service = (metrics.layer(), metrics.layer())
        .layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))));
    text(service.oneshot(delivery("{}")).await.unwrap()).await;
    assert_eq!(metrics.consumed(), [(1, "SUCCESS".to_owned(), None)]);
}

// ===== helpers =====

fn required() -> HeaderMap {
    [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "s"), ("ce-type", "t")]
        .into_iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect()
}

fn request(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/").header(CONTENT_TYPE, content_type).header("pubsubname", "bus").body(body.into()).unwrap()
}

fn delivery(body: impl Into<Body>) -> Request<Body> {
    request("application/cloudevents+json", body)
}

fn batch(body: &str) -> Request<Body> {
    request("application/cloudevents-batch+json", body.to_owned())
}

fn bulk(entries: &[Value]) -> Request<Body> {
    let body = json!({"id":"x","type":"com.dapr.event.sent.bulk","topic":"orders","pubsubname":"bus","metadata":null,
        "entries":entries});
    request("application/json", body.to_string())
}

fn entry(id: &str, event: &Value) -> Value {
    json!({"entryId": id, "event": event, "metadata": null, "contentType": "application/cloudevents+json"})
}

/// All events that reached the inner service.
async fn seen_by_handler(layer: CloudEventLayer, request: Request<Body>) -> Vec<CloudEvent> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = seen.clone();
    let service = layer.layer(service_fn(move |request: Request<Body>| {
        let mut seen = inner.lock().unwrap();
        seen.extend(request.extensions().get::<CloudEvent>().cloned());
        seen.extend(request.extensions().get::<Batch>().into_iter().flat_map(Batch::events).cloned());
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    }));
    service.oneshot(request).await.unwrap();
    seen.lock().unwrap().split_off(0)
}

async fn decoded(request: Request<Body>) -> CloudEvent {
    seen_by_handler(CloudEventLayer::new(), request).await.remove(0)
}

/// What the layer answers, around a service that does nothing.
async fn answer(layer: CloudEventLayer, request: Request<Body>) -> (StatusCode, String) {
    let service = layer.layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty()))));
    let response = service.oneshot(request).await.unwrap();
    (response.status(), text(response).await)
}

async fn text<B: http_body::Body>(response: Response<B>) -> String
where
    B::Error: std::fmt::Debug,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The statuses of a bulk's answer, sorted by entry.
async fn in_order<B: http_body::Body>(response: Response<B>) -> (StatusCode, Vec<(String, String)>)
where
    B::Error: std::fmt::Debug,
{
    let status = response.status();
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    let own = |value: &Value| value.as_str().unwrap().to_owned();
    let statuses = body["statuses"].as_array().unwrap().iter();
    let mut statuses: Vec<_> = statuses.map(|entry| (own(&entry["entryId"]), own(&entry["status"]))).collect();
    statuses.sort();
    (status, statuses)
}

struct Metrics {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Metrics {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone()).with_interval(Duration::from_secs(3600)).build();
        Self { provider: SdkMeterProvider::builder().with_reader(reader).build(), exporter }
    }

    fn layer(&self) -> CloudEventLayer {
        CloudEventLayer::new().with_meter_provider(&self.provider).with_destination("bus", "orders")
    }

    fn all(&self) -> String {
        format!("{:?}", self.exporter.get_finished_metrics().unwrap())
    }

    /// Count, status and error type, sorted.
    fn consumed(&self) -> Vec<(u64, String, Option<String>)> {
        self.provider.force_flush().unwrap();
        let finished = self.exporter.get_finished_metrics().unwrap();
        let mut points = Vec::new();
        for metric in finished.iter().flat_map(|all| all.scope_metrics()).flat_map(|scope| scope.metrics()) {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else { continue };
            assert_eq!((metric.name(), metric.unit()), ("dapr.pubsub_consumed", "{message}"));
            for point in sum.data_points() {
                let value = |key: &str| {
                    let mut found = point.attributes().filter(|attribute| attribute.key.as_str() == key);
                    found.next().map(|attribute| attribute.value.as_str().into_owned())
                };
                points.push((point.value(), value("dapr.pubsub.status").unwrap(), value("error.type")));
            }
        }
        points.sort();
        points
    }

    /// How many durations were recorded.
    fn processed(&self) -> u64 {
        let finished = self.exporter.get_finished_metrics().unwrap();
        let metrics = finished.iter().flat_map(|all| all.scope_metrics()).flat_map(|scope| scope.metrics());
        let counts = metrics.filter(|metric| metric.name() == "messaging.process.duration").map(|metric| {
            assert_eq!(metric.unit(), "s");
            let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else { panic!() };
            histogram.data_points().map(|point| point.count()).sum::<u64>()
        });
        counts.sum()
    }
}

#[test]
fn a_decode_error_is_cloned_with_its_reason() {
    let error: DecodeError = CloudEvent::from_json("{".into()).unwrap_err();
    assert_eq!(error.clone().to_string(), error.to_string());
}
