//! Events that are built and written: in both modes, there and back, and to the CloudEvents SDK.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use cloudevents::AttributesReader;
use http::header::CONTENT_TYPE;
use proptest::{collection::btree_map, option, prelude::*};
use serde_json::{Value, json};
use tower_dapr::event::{AttributeValue, CloudEvent, CloudEventBuilder, Data, ExtensionValue};

// ===== building =====

#[test]
fn a_built_event_has_what_it_was_built_of() {
    let time: DateTime<FixedOffset> = "2026-11-22T10:00:00.500+01:00".parse().unwrap();
    let event = CloudEvent::builder("7", "shop", "t")
        .subject("first")
        .subject("s")
        .data_schema("urn:x")
        .time(time)
        .extension("text", "a")
        .extension("whole", -3)
        .extension("flag", true)
        .extension("bytes", vec![0, 255])
        .extension("moment", time)
        .json(&json!({"n": 1}))
        .build()
        .unwrap();
    assert_eq!((event.subject(), event.data_schema()), (Some("s"), Some("urn:x")));
    assert_eq!((event.time(), event.timestamp()), (Some("2026-11-22T10:00:00.500+01:00"), Some(time)));
    assert_eq!(
        event.extensions().collect::<Vec<_>>(),
        [
            ("text", ExtensionValue::Text("a")),
            ("whole", ExtensionValue::Json("-3")),
            ("flag", ExtensionValue::Json("true")),
            ("bytes", ExtensionValue::Text("AP8=")),
            ("moment", ExtensionValue::Text("2026-11-22T10:00:00.500+01:00")),
        ]
    );
    assert_eq!(event.data(), Data::Json(r#"{"n":1}"#));
}

#[test]
fn what_is_no_event_is_not_built() {
    let new = || CloudEvent::builder("7", "s", "t");
    struct Bad;
    impl serde::Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    for (builder, reason) in [
        (CloudEvent::builder("", "s", "t"), "`id` is empty"),
        (CloudEvent::builder("7", "", "t"), "`source` is empty"),
        (CloudEvent::builder("7", "s", ""), "`type` is empty"),
        (new().subject(""), "`subject` is empty"),
        (new().subject("a\u{7f}"), "`subject` has a character that is not allowed"),
        (new().subject("\u{1ffff}"), "`subject` has a character that is not allowed"),
        (new().subject("\u{fdd0}"), "`subject` has a character that is not allowed"),
        (new().extension("x", "a\nb"), "`x` has a character that is not allowed"),
        (new().extension("", "a"), r#""" is no name for an extension attribute"#),
        (new().extension("Upper", "a"), r#""Upper" is no name"#),
        (new().extension("a_b", "a"), "is no name"),
        (new().extension("data", "a"), "is no name"),
        (new().extension("id", "a"), "is no name"),
        (new().extension("a", "1").extension("a", 2), "appears twice"),
        (new().extension("a", "x".repeat(65 * 1024)), "a limit is exceeded"),
        (new().bytes("a/b", vec![]).json(&Bad), "cannot be written as JSON"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_time_that_is_none_stays_text() {
    for (time, is_some) in [
        ("2026-11-22T10:00:00Z", true),
        ("2026-11-22T10:00:00.123456789-11:30", true),
        ("2026-11-22", false),
        ("now", false),
    ] {
        let event = CloudEvent::from_json(json!({"id":"1","time":time}).to_string().into()).unwrap();
        assert_eq!((event.time(), event.timestamp().is_some()), (Some(time), is_some));
        assert!(String::from_utf8(event.to_json().to_vec()).unwrap().contains(time), "verbatim");
    }
}

// ===== writing =====

#[test]
fn structured_mode_keeps_every_member() {
    for line in include_str!("golden/structured.jsonl").lines() {
        let delivery: Value = serde_json::from_str(line).unwrap();
        let body = delivery["body"].as_str().unwrap().to_owned();
        let event = CloudEvent::from_json(body.clone().into()).unwrap();
        let (mut before, after): (Value, Value) =
            (serde_json::from_str(&body).unwrap(), serde_json::from_slice(&event.to_json()).unwrap());
        // Absent, empty and the defaults are the same to CloudEvents, and to us.
        let members = before.as_object_mut().unwrap();
        members.retain(|_, value| *value != json!(""));
        for (name, default) in [("specversion", "1.0"), ("source", "Dapr"), ("type", "com.dapr.event.sent")] {
            members.entry(name).or_insert(json!(default));
        }
        assert_eq!(before, after);
    }
}

#[test]
fn binary_mode_encodes_and_leaves_out() {
    let event = CloudEvent::from_json(
        r#"{"id":"7","source":"s","type":"Euro € 😀","subject":"a\"b%\r\nc","Upper":"x","a_b":"x","list":[1],
            "half":0.5,"big":99999999999,"whole":7,"flag":true,"datacontenttype":"text/plain","data":"hi"}"#
            .into(),
    )
    .unwrap();
    let (headers, body) = event.to_headers();
    let mut written: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    written.sort_unstable();
    assert_eq!(
        written,
        [
            ("ce-flag", "true"),
            ("ce-id", "7"),
            ("ce-source", "s"),
            ("ce-specversion", "1.0"),
            ("ce-subject", "a%22b%25%0D%0Ac"),
            ("ce-type", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("ce-whole", "7"),
            ("content-type", "text/plain"),
        ]
    );
    assert_eq!(body, "hi");
}

#[test]
fn binary_mode_says_json_where_none_means_json() {
    for (body, content_type) in [
        (r#"{"id":"1","data":{}}"#, Some("application/json")),
        (r#"{"id":"1","data_base64":"AA=="}"#, None),
        (r#"{"id":"1"}"#, None),
        (r#"{"id":"1","datacontenttype":"bad\ntype","data":"x"}"#, None),
    ] {
        let (headers, _) = CloudEvent::from_json(body.into()).unwrap().to_headers();
        assert_eq!(headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap()), content_type);
    }
}

#[test]
fn data_that_calls_itself_json_and_is_none_is_written_as_bytes() {
    for data in [r#"},"id":"9"#, "{", "1 2", "\u{feff}1"] {
        let event = CloudEvent::builder("7", "s", "t").bytes("application/json", data).build().unwrap();
        let again = CloudEvent::from_json(event.to_json()).unwrap();
        assert_eq!((again.id(), again.data()), (Some("7"), Data::Binary(data.as_bytes())));
    }
}

// ===== there and back =====

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_event_survives_structured_mode(builder in any_event()) {
        let event = builder.build().unwrap();
        let again = CloudEvent::from_json(event.to_json()).unwrap();
        same(&event, &again);
        prop_assert_eq!(event.extensions().collect::<Vec<_>>(), again.extensions().collect::<Vec<_>>());
    }

    #[test]
    fn an_event_survives_binary_mode(builder in any_event()) {
        let event = builder.build().unwrap();
        let (headers, body) = event.to_headers();
        let again = CloudEvent::from_headers(&headers, body).unwrap();
        same(&event, &again);
        // Their types are lost (HTTP Protocol Binding, section 3.1.3).
        let texts = |event: &CloudEvent| {
            let mut all: Vec<_> = event.extensions().map(|(name, value)| (name.to_owned(), value.as_str().to_owned())).collect();
            all.sort();
            all
        };
        prop_assert_eq!(texts(&event), texts(&again));
    }

    #[test]
    fn an_event_survives_the_sdk(builder in any_event()) {
        let event = builder.build().unwrap();
        let sdk = cloudevents::Event::try_from(&event).unwrap();
        prop_assert_eq!(Some(sdk.id()), event.id());
        let again = CloudEvent::try_from(&sdk).unwrap();
        prop_assert_eq!((event.id(), event.source(), event.ty()), (again.id(), again.source(), again.ty()));
        prop_assert_eq!(event.subject(), again.subject());
        prop_assert_eq!(event.timestamp(), again.timestamp(), "the same moment, in UTC");
        let sorted = |event: &CloudEvent| {
            let mut all: Vec<_> = event.extensions().map(|(name, value)| format!("{name}={value:?}")).collect();
            all.sort();
            all
        };
        prop_assert_eq!(sorted(&event), sorted(&again));
        match (event.data(), again.data()) {
            (Data::Json(a), Data::Json(b)) => prop_assert_eq!(
                serde_json::from_str::<Value>(a).unwrap(),
                serde_json::from_str::<Value>(b).unwrap()
            ),
            (a, b) => prop_assert_eq!(a, b),
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = CloudEvent::from_json(bytes.clone()).map(|event| (event.to_json(), event.to_headers()));
        let _ = tower_dapr::event::Batch::from_json(bytes.clone());
        let _ = tower_dapr::event::Batch::from_bulk_json(bytes);
    }
}

#[test]
fn the_sdk_refuses_what_it_cannot_hold() {
    let event = CloudEvent::from_json(r#"{"id":"1","time":"now"}"#.into()).unwrap();
    assert!(cloudevents::Event::try_from(&event).is_err());
    let mut sdk = cloudevents::Event::default();
    sdk.set_extension("big", i64::MAX);
    assert!(CloudEvent::try_from(&sdk).unwrap_err().to_string().contains("32 bits"));
}

// ===== helpers =====

fn same(a: &CloudEvent, b: &CloudEvent) {
    assert_eq!((a.id(), a.source(), a.ty(), a.spec_version()), (b.id(), b.source(), b.ty(), b.spec_version()));
    assert_eq!((a.subject(), a.time(), a.data_schema()), (b.subject(), b.time(), b.data_schema()));
    assert_eq!(a.data_content_type(), b.data_content_type());
    assert_eq!(a.data(), b.data());
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 1..20).prop_filter_map("a text", |chars| {
        let is_allowed =
            |c: &char| !c.is_control() && !matches!(c, '\u{fdd0}'..='\u{fdef}') && u32::from(*c) & 0xfffe != 0xfffe;
        let text: String = chars.into_iter().filter(is_allowed).collect();
        (!text.is_empty()).then_some(text)
    })
}

fn value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        text().prop_map(AttributeValue::Text),
        any::<i32>().prop_map(AttributeValue::Integer),
        any::<bool>().prop_map(AttributeValue::Boolean),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(AttributeValue::Binary),
    ]
}

#[derive(Debug, Clone)]
enum AnyData {
    Json(Value),
    Bytes(&'static str, Vec<u8>),
}

fn data() -> impl Strategy<Value = AnyData> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(3, 16, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from));
    prop_oneof![
        tree.prop_map(AnyData::Json),
        text().prop_map(|text| AnyData::Bytes("text/plain; charset=utf-8", text.into_bytes())),
        prop::collection::vec(any::<u8>(), 1..50).prop_map(|bytes| AnyData::Bytes("application/octet-stream", bytes)),
    ]
}

fn any_event() -> impl Strategy<Value = CloudEventBuilder> {
    // Names of the specification and of data are none for extensions.
    let extensions = btree_map("x[a-z0-9]{0,10}", value(), 0..6);
    let time = option::of((0..4_102_444_800_i64, 0..1_000_000_000_u32, -720..720_i32));
    (text(), text(), text(), option::of(text()), time, extensions, option::of(data())).prop_map(
        |(id, source, ty, subject, time, extensions, data)| {
            let mut event = CloudEvent::builder(id, source, ty);
            if let Some(subject) = subject {
                event = event.subject(subject);
            }
            if let Some((seconds, nanos, minutes)) = time {
                let offset = FixedOffset::east_opt(minutes * 60).unwrap();
                event = event.time(DateTime::from_timestamp(seconds, nanos).unwrap().with_timezone(&offset));
            }
            for (name, value) in extensions {
                event = event.extension(name, value);
            }
            match data {
                None => event,
                Some(AnyData::Json(json)) => event.json(&json),
                Some(AnyData::Bytes(content_type, bytes)) => event.bytes(content_type, bytes),
            }
        },
    )
}
