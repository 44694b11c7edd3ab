//! What is decoded, what is refused, and what never happens: through the public API.

use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CloudEvent, Data, DecodeError, Event, ExtensionValue, Limits, Outcome};

// ===== attributes =====

#[test]
fn attributes_and_data_are_slices_of_the_received_buffer() {
    let body = Bytes::from(
        r#"{"id":"i","source":"s","type":"t","subject":"u","ext":"e","data":{"name":"n"},"topic":"o"}"#.to_owned(),
    );
    let event = CloudEvent::from_json(body.clone()).unwrap();
    let name = event.data_as::<std::collections::HashMap<&str, &str>>().unwrap()["name"];
    let Data::Json(data) = event.data() else { panic!("{:?}", event.data()) };
    let ext = event.extension("ext").unwrap().as_str();
    for text in [event.id().unwrap(), event.source(), event.ty(), event.subject().unwrap(), ext, data, name] {
        assert!(body.as_ptr_range().contains(&text.as_ptr()), "{text}");
    }
    assert!(body.as_ptr_range().contains(&event.data_bytes().as_ptr()));
}

#[test]
fn all_attributes_are_read() {
    let event = decode(&json!({
        "specversion": "1.0", "id": "i", "source": "/a b", "type": "t.v1", "subject": "s",
        "datacontenttype": "Application/Vnd.x+JSON; charset=\"utf-8\"", "dataschema": "urn:x",
        "time": "2026-11-23T11:35:44.123456789+02:00", "topic": "orders", "pubsubname": "bus",
        "traceparent": "tp", "traceid": "ti", "tracestate": "a=b", "expiration": "later", "note": "50%",
    }));
    assert_eq!(event.spec_version(), "1.0");
    assert_eq!(event.id(), Some("i"));
    assert_eq!(event.source(), "/a b");
    assert_eq!(event.ty(), "t.v1");
    assert_eq!(event.subject(), Some("s"));
    assert_eq!(event.data_content_type(), Some("Application/Vnd.x+JSON; charset=\"utf-8\""));
    assert_eq!(event.data_schema(), Some("urn:x"));
    assert_eq!(event.time(), Some("2026-11-23T11:35:44.123456789+02:00"));
    assert_eq!(event.topic(), Some("orders"));
    assert_eq!(event.pubsub_name(), Some("bus"));
    assert_eq!(event.trace_parent(), Some("tp"));
    assert_eq!(event.trace_id(), Some("ti"));
    assert_eq!(event.trace_state(), Some("a=b"));
    assert_eq!(event.expiration(), Some("later"));
    assert_eq!(event.extension("note"), Some(ExtensionValue::Text("50%")));
    assert_eq!(event.extension("id"), None);
    assert_eq!(event.extensions().count(), 7);
    assert_eq!(event.data(), Data::None);
}

#[test]
fn what_is_missing_gets_daprs_defaults_and_an_id_gets_none() {
    for body in [r#"{"raw":3}"#, r#"{"raw":3,"id":null,"source":"","type":null,"specversion":""}"#] {
        let event = from(body).unwrap();
        assert_eq!(event.id(), None);
        assert_eq!(event.source(), "Dapr");
        assert_eq!(event.ty(), "com.dapr.event.sent");
        assert_eq!(event.spec_version(), "1.0");
        assert_eq!(event.extension("raw"), Some(ExtensionValue::Json("3")));
    }
}

#[test]
fn null_and_empty_attributes_are_absent() {
    let event = from(r#"{"subject":"","time":null,"traceparent":"","traceid":"","tracestate":"","x":null}"#).unwrap();
    assert_eq!((event.subject(), event.time()), (None, None));
    assert_eq!((event.trace_parent(), event.trace_id(), event.trace_state()), (None, None, None));
    assert_eq!(event.extensions().count(), 0);
}

#[test]
fn any_member_is_kept_as_an_extension() {
    let event =
        from(r#"{"My_Ext":"a","n":-7,"b":true,"f":1.50,"o":{"a": [1]},"l":[], "e\u0078t":"\u00e4\n"}"#).unwrap();
    let expected = [
        ("My_Ext", ExtensionValue::Text("a")),
        ("n", ExtensionValue::Json("-7")),
        ("b", ExtensionValue::Json("true")),
        ("f", ExtensionValue::Json("1.50")),
        ("o", ExtensionValue::Json(r#"{"a": [1]}"#)),
        ("l", ExtensionValue::Json("[]")),
        ("ext", ExtensionValue::Text("ä\n")),
    ];
    assert_eq!(event.extensions().collect::<Vec<_>>(), expected);
    assert_eq!(event.extension("l").map(ExtensionValue::as_str), Some("[]"));
}

#[test]
fn a_number_for_a_text_attribute_is_its_json_text() {
    let event = from(r#"{"specversion":1.0,"id":7,"subject":true,"topic":7}"#).unwrap();
    assert_eq!((event.id(), event.subject()), (Some("7"), Some("true")));
    assert_eq!(event.topic(), None, "an extension keeps its type");
}

// ===== what is refused =====

#[test]
fn these_are_refused() {
    for (body, reason) in [
        ("", "event is not valid JSON at line 1 column 0"),
        ("{", "event is not valid JSON at line 1 column 1"),
        (r#"{"id":"1"} x"#, "event is not valid JSON at line 1 column 12"),
        (r#"{"id":"1"}{}"#, "event is not valid JSON at line 1 column 11"),
        (
            r#"{"id":"a
b"}"#,
            "event is not valid JSON at line 1 column 8",
        ),
        ("[]", "event is not a JSON object"),
        ("\"secret\"", "event is not a JSON object"),
        ("null", "event is not a JSON object"),
        (r#"{"specversion":"0.3"}"#, "`specversion` is not 1.0"),
        (r#"{"specversion":"1.0.2"}"#, "`specversion` is not 1.0"),
        (r#"{"specversion":2}"#, "`specversion` is not 1.0"),
        (r#"{"id":{}}"#, "`id` is not a text"),
        (r#"{"type":["t"]}"#, "`type` is not a text"),
        (r#"{"id":"1","id":"2"}"#, "`id` appears twice"),
        (r#"{"id":"1","i\u0064":"1"}"#, "`id` appears twice"),
        (r#"{"data":1,"data":1}"#, "`data` appears twice"),
        (r#"{"data":null,"data":1}"#, "`data` appears twice"),
        (r#"{"secret":1,"secret":1}"#, "an extension attribute appears twice"),
        (r#"{"data":{},"data_base64":"AA=="}"#, "both `data` and `data_base64` are present"),
        (r#"{"data_base64":"A"}"#, "`data_base64` is not base64"),
        (r#"{"data_base64":"-_=="}"#, "`data_base64` is not base64"),
        (r#"{"data_base64":"A A="}"#, "`data_base64` is not base64"),
        (r#"{"data_base64":7}"#, "`data_base64` is not a text"),
        (r#"{"id":"\ud800"}"#, "a string is not Unicode"),
        (r#"{"datacontenttype":"text/plain","data":"\udc00"}"#, "a string is not Unicode"),
    ] {
        assert_eq!(from(body).unwrap_err().to_string(), reason, "{body}");
    }
    let not_utf8 = CloudEvent::from_json(Bytes::from_static(b"{\"id\":\"\xff\"}")).unwrap_err();
    assert!(not_utf8.is_syntax() && not_utf8.to_string() == "event is not UTF-8");
}

#[test]
fn an_error_can_be_asked_what_it_is() {
    let ask = |body| {
        let error = from(body).unwrap_err();
        (error.is_syntax(), error.is_unsupported_version(), error.is_too_large())
    };
    assert_eq!(ask("x"), (true, false, false));
    assert_eq!(ask("[]"), (true, false, false));
    assert_eq!(ask(r#"{"specversion":"0.3"}"#), (false, true, false));
    assert_eq!(ask(r#"{"id":[]}"#), (false, false, false));
    let too_large = CloudEvent::from_json_within(Bytes::from_static(b"{} "), &Limits::default().with_bytes(2));
    assert!(too_large.unwrap_err().is_too_large());
}

// ===== data =====

#[derive(Debug, PartialEq, Deserialize)]
struct Order {
    n: u32,
}

#[test]
fn json_data_is_parsed_by_the_handlers_type() {
    for content_type in [Value::Null, json!("application/json"), json!("Text/JSON; a=b"), json!("application/x+json")] {
        let event = decode(&json!({"datacontenttype": content_type, "data": {"n": 1}}));
        assert_eq!(event.data_as::<Order>().unwrap(), Order { n: 1 });
        assert_eq!(event.data(), Data::Json(r#"{"n":1}"#));
    }
}

#[test]
fn null_data_is_a_value_only_if_it_is_json() {
    let json = from(r#"{"data":null}"#).unwrap();
    assert_eq!(json.data(), Data::Json("null"));
    assert_eq!(json.data_as::<Value>().unwrap(), Value::Null);
    assert_eq!(from(r#"{"data":null,"datacontenttype":"text/plain"}"#).unwrap().data(), Data::None);
    assert_eq!(from(r#"{"data_base64":null}"#).unwrap().data(), Data::None);
    assert_eq!(from(r#"{"data":null,"data_base64":"AQ=="}"#).unwrap().data(), Data::Binary(&[1]));
}

#[test]
fn a_json_string_stays_a_string() {
    let event = decode(&json!({"datacontenttype": "application/json", "pubsubname": "bus", "data": "{\"n\":1}"}));
    assert_eq!(event.data_as::<String>().unwrap(), "{\"n\":1}");
    assert!(event.data_as::<Order>().is_err());
}

#[test]
fn json_text_that_daprd_made_a_string_is_read_through() {
    for content_type in ["application/vnd.order+json", "text/json; charset=utf-8"] {
        let event = |data: &str| decode(&json!({"datacontenttype": content_type, "pubsubname": "bus", "data": data}));
        assert_eq!(event(r#"{"n":1}"#).data_as::<Order>().unwrap(), Order { n: 1 });
        assert_eq!(event(r#"{"n":1}"#).data_as::<Value>().unwrap(), json!({"n": 1}));
        assert_eq!(event(r#""hello""#).data_as::<String>().unwrap(), "hello");
        assert_eq!(event("hello").data_as::<String>().unwrap(), "hello", "no JSON text: the string itself");
        assert_eq!(event(r#"{"n":1}"#).data_as::<String>().unwrap(), r#"{"n":1}"#);
        assert!(event(r#"{"n":"x"}"#).data_as::<Order>().is_err());
        assert_eq!(event(r#"{"n":1}"#).data(), Data::Json(r#""{\"n\":1}""#));
    }
    let elsewhere = decode(&json!({"datacontenttype": "text/json", "data": "{\"n\":1}"}));
    assert!(elsewhere.data_as::<Order>().is_err(), "CloudEvents: a string is never parsed again");
}

#[test]
fn data_of_another_type_is_text() {
    let event = decode(&json!({"datacontenttype": "text/plain", "data": "a\n\"ä\""}));
    assert_eq!(event.data(), Data::Text("a\n\"ä\""));
    assert_eq!(event.data_as::<String>().unwrap(), "a\n\"ä\"");
    assert_eq!(event.data_as::<&str>().unwrap(), "a\n\"ä\"");
    assert_eq!(event.data_as::<Option<String>>().unwrap().as_deref(), Some("a\n\"ä\""));
    assert!(event.data_as::<Order>().is_err());

    let not_a_string = decode(&json!({"datacontenttype": "text/plain", "data": {"n": 1}}));
    assert_eq!(not_a_string.data_as::<Order>().unwrap(), Order { n: 1 });
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
}

#[test]
fn text_fits_newtypes_and_unit_variants() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Name(String);

    let event = decode(&json!({"datacontenttype": "text/plain", "data": "red"}));
    assert_eq!(event.data_as::<Color>().unwrap(), Color::Red);
    assert_eq!(event.data_as::<Name>().unwrap(), Name("red".to_owned()));
}

#[test]
fn base64_data_is_bytes() {
    for text in ["AP8B", "AP8BAA==", "AP8BAA", "AP8BAA\\u003d="] {
        let event =
            from(&format!(r#"{{"datacontenttype":"application/octet-stream","data_base64":"{text}"}}"#)).unwrap();
        let bytes: Vec<u8> = event.data_as().unwrap();
        assert_eq!(bytes[..3], [0, 255, 1]);
        assert_eq!(event.data(), Data::Binary(&bytes));
        assert_eq!(event.data_bytes(), bytes);
        assert_eq!(event.data_as::<&[u8]>().unwrap(), bytes);
    }
    let utf8 = decode(&json!({"data_base64": "aGk="}));
    assert_eq!(utf8.data_as::<String>().unwrap(), "hi");
    assert!(utf8.data_as::<Order>().is_err());
    assert!(utf8.data_as::<Color>().is_err());
}

#[test]
fn base64_data_of_a_json_type_is_parsed() {
    let event = decode(&json!({"datacontenttype": "application/json", "data_base64": "eyJuIjoxfQ=="}));
    assert_eq!(event.data_as::<Order>().unwrap(), Order { n: 1 });
    assert_eq!(event.data(), Data::Binary(br#"{"n":1}"#));
}

#[test]
fn json_that_is_not_utf8_is_refused_wherever_that_is() {
    let headers = [("ce-id", "1"), ("content-type", "application/json")]
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    let data = Bytes::from_static(b"{\"sku\":\"a\",\"other\":\"\xff\"}");
    let event = CloudEvent::from_headers(&http::HeaderMap::from_iter(headers), data.clone()).unwrap();
    assert_eq!(event.data(), Data::Binary(&data));
    #[derive(Debug, Deserialize)]
    struct Order {
        #[expect(dead_code, reason = "only decoded")]
        sku: String,
    }
    let error = event.data_as::<Order>().unwrap_err();
    assert_eq!(error.to_string(), "data is not valid JSON at line 1 column 21");
}

#[test]
fn no_data_fits_only_what_may_be_absent() {
    let event = from(r#"{"id":"1"}"#).unwrap();
    assert_eq!(event.data_as::<Option<Order>>().unwrap(), None);
    event.data_as::<()>().unwrap();
    let missing = event.data_as::<Order>().unwrap_err();
    assert!(missing.is_missing() && missing.json_error().is_none());
    assert_eq!(missing.to_string(), "event has no data");
    assert!(event.data_bytes().is_empty());
}

#[test]
fn empty_text_fits_also_what_takes_no_data() {
    for event in [
        json!({"datacontenttype": "text/plain", "data": ""}),
        json!({"datacontenttype": "application/json", "data": ""}),
        json!({"datacontenttype": "application/vnd.x+json", "pubsubname": "bus", "data": ""}),
        json!({"data": ""}),
    ] {
        let event = decode(&event);
        event.data_as::<()>().unwrap();
        event.data_as_json::<()>().unwrap();
        assert_eq!(event.data_as::<Option<Order>>().unwrap(), None);
        assert_eq!(event.data_as::<String>().unwrap(), "");
        assert_eq!(event.data_as::<Option<String>>().unwrap().as_deref(), Some(""));
        let error = event.data_as::<Order>().unwrap_err();
        assert!(!error.is_missing() && error.to_string().contains("does not fit"), "{error}");
    }
    for media_type in ["image/png", "application/json"] {
        let event = decode(&json!({"datacontenttype": media_type, "data_base64": ""}));
        assert_eq!(event.data_as::<Option<Order>>().unwrap(), None);
        event.data_as::<()>().unwrap();
    }
    for data in [json!(" "), json!(0), json!([])] {
        decode(&json!({"datacontenttype": "text/plain", "data": data})).data_as::<()>().unwrap_err();
    }
}

#[test]
fn an_error_about_data_does_not_quote_it() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[expect(dead_code, reason = "only read by serde")]
        n: u8,
    }

    for (data, reason) in [
        (json!({"n": "secret"}), "data, which is JSON, does not fit the handler's type at line 1 column 13"),
        (json!({"secret": 1}), "data, which is JSON, does not fit the handler's type at line 1 column 9"),
        (json!({}), "data, which is JSON, does not fit the handler's type: missing field `n` at line 1 column 2"),
        (json!("secret"), "data, which is JSON, does not fit the handler's type at line 1 column 8"),
    ] {
        let error = decode(&json!({"data": data})).data_as::<Strict>().unwrap_err();
        assert_eq!(error.to_string(), reason);
        assert_eq!(format!("{error:?}"), format!("DataError({reason})"));
        assert!(std::error::Error::source(&error).is_none());
        assert!(error.json_error().is_some_and(serde_json::Error::is_data));
    }
    let text = decode(&json!({"datacontenttype": "text/plain", "data": "secret"})).data_as::<Strict>().unwrap_err();
    assert_eq!(text.to_string(), "data, which is text, does not fit the handler's type");
    let broken = decode(&json!({"datacontenttype": "application/json", "data_base64": "eyJz"}));
    assert_eq!(broken.data_as::<Strict>().unwrap_err().to_string(), "data is not valid JSON at line 1 column 3");
}

#[test]
fn debug_shows_no_data() {
    for body in [
        json!({"id": "1", "data": {"a": "secret"}, "own": "secret"}),
        json!({"id": "1", "datacontenttype": "text/plain", "data": "secret"}),
        json!({"id": "1", "data_base64": "c2VjcmV0"}),
        json!({"id": "1", "pubsubname": "b", "datacontenttype": "text/json", "data": "\"secret\""}),
    ] {
        let event = decode(&body);
        let shown = format!("{event:?} {:?}", event.data());
        assert!(!shown.contains("secret") && shown.contains("id: Some(\"1\")") && shown.contains("bytes"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", b"secret")), "{shown}");
    }
}

#[test]
fn an_event_and_its_data_come_apart_again() {
    let event = decode(&json!({"id": "1", "source": "s", "type": "t", "subject": "u", "topic": "o", "data": {"n": 1}}));
    let event = Event::new(event.data_as::<Order>().unwrap(), event);
    assert_eq!((event.id(), event.source(), event.ty()), (Some("1"), "s", "t"));
    assert_eq!((event.subject(), event.topic()), (Some("u"), Some("o")));
    assert_eq!(event.cloud_event().id(), Some("1"));
    let (data, event) = event.into_parts();
    assert_eq!((data, event.id()), (Order { n: 1 }, Some("1")));
}

#[test]
fn outcomes_are_named_as_daprd_reads_them() {
    for outcome in [Outcome::Success, Outcome::Retry, Outcome::Drop] {
        assert_eq!(outcome.to_json(), json!({"status": outcome.to_string()}).to_string());
    }
    assert_eq!([Outcome::Success, Outcome::Retry, Outcome::Drop].map(Outcome::as_str), ["SUCCESS", "RETRY", "DROP"]);
}

// ===== recorded deliveries =====

#[test]
fn every_recorded_delivery_is_decoded() {
    #[derive(Deserialize)]
    struct Delivery {
        headers: std::collections::HashMap<String, String>,
        body: String,
    }

    let recorded = include_str!("../../tests/golden/structured.jsonl");
    let mut count = 0;
    for line in recorded.lines() {
        let delivery: Delivery = serde_json::from_str(line).unwrap();
        let envelope: Value = serde_json::from_str(&delivery.body).unwrap();
        let event = from(&delivery.body).unwrap();
        count += 1;

        let text = |name: &str| envelope[name].as_str().filter(|text| !text.is_empty());
        assert_eq!(event.id(), text("id"), "{line}");
        assert_eq!(event.source(), text("source").unwrap_or("Dapr"));
        assert_eq!(event.ty(), text("type").unwrap_or("com.dapr.event.sent"));
        assert_eq!(event.time(), text("time"));
        assert_eq!(event.data_content_type(), text("datacontenttype"));
        assert_eq!(event.topic(), text("topic"));
        assert_eq!(event.trace_parent(), text("traceparent"));
        assert_eq!(event.trace_id(), text("traceid"));
        assert_eq!(event.trace_state(), text("tracestate"));
        assert_eq!(event.expiration(), text("expiration"));
        if let Some(pubsub) = event.pubsub_name() {
            assert_eq!(pubsub, delivery.headers["pubsubname"]);
        }
        match event.data() {
            Data::None => assert!(envelope.get("data").is_none() && envelope.get("data_base64").is_none()),
            Data::Json(_) => assert_eq!(event.data_as::<Value>().unwrap(), envelope["data"]),
            Data::Text(data) => assert_eq!(data, envelope["data"]),
            Data::Binary(bytes) => {
                use base64::{Engine, prelude::BASE64_STANDARD};
                assert_eq!(BASE64_STANDARD.encode(bytes), envelope["data_base64"]);
            }
        }
    }
    assert_eq!(count, 25);
}

// ===== hostile input =====

#[test]
fn a_deep_event_is_refused_and_the_process_lives() {
    let depth = 200_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep_object = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for body in [
        format!(r#"{{"data":{deep}}}"#),
        format!(r#"{{"data":{deep_object}}}"#),
        format!(r#"{{"data":{deep},"datacontenttype":"text/plain"}}"#),
    ] {
        // As text it does no harm; its parser refuses it.
        let error = from(&body).unwrap().data_as::<Value>().unwrap_err();
        assert!(error.to_string().starts_with("data is not valid JSON"), "{error}");
        let strict = CloudEvent::from_json_within(body.into(), &Limits::default().with_depth(127));
        assert_eq!(strict.unwrap_err().to_string(), "nested deeper than 127 levels");
    }
    for body in [format!(r#"{{"ext":{deep_object}}}"#), format!(r#"{{"id":{deep}}}"#)] {
        assert_eq!(from(&body).unwrap_err().to_string(), "nested deeper than 128 levels");
    }
    assert!(from(&deep).unwrap_err().is_syntax());
    assert!(from(&deep_object).is_err());
    // Never closed.
    assert!(from(&format!(r#"{{"data":{}"#, "[".repeat(depth))).unwrap_err().is_syntax());

    let wrapped = decode(&json!({"pubsubname": "b", "datacontenttype": "text/json", "data": deep}));
    let read = wrapped.data_as::<&serde_json::value::RawValue>().unwrap();
    assert!(read.get().starts_with('"'), "it is not read through");
}

#[test]
fn nesting_up_to_the_limit_is_accepted() {
    let nested = |depth: usize| format!(r#"{{"data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let within = |depth: usize, limit: usize| {
        CloudEvent::from_json_within(nested(depth).into(), &Limits::default().with_depth(limit))
    };
    assert!(within(127, 127).is_ok() && within(128, 127).is_err());
    assert!(within(3, 3).is_ok() && within(4, 3).is_err());
    assert!(from(&nested(127)).unwrap().data_as::<Value>().is_ok());
    assert!(from(&nested(129)).unwrap().data_as::<Value>().is_err());
}

#[test]
fn a_wide_event_is_refused() {
    let wide = |count: usize| {
        let members: Vec<_> = (0..count).map(|index| format!(r#""e{index}":"v""#)).collect();
        from(&format!("{{{}}}", members.join(",")))
    };
    assert_eq!(wide(256).unwrap().extensions().count(), 256);
    assert_eq!(wide(257).unwrap_err().to_string(), "more than 256 attributes");
    assert_eq!(wide(10_000).unwrap_err().to_string(), "more than 256 attributes");
    let nulls = format!("{{{}}}", vec![r#""x":null"#; 300].join(","));
    assert!(from(&nulls).is_err());
}

#[test]
fn long_attributes_are_refused_and_long_data_is_not() {
    let long = "1".repeat(1_000_000);
    for body in [
        format!(r#"{{"id":{long}}}"#),
        format!(r#"{{"id":"{long}"}}"#),
        format!(r#"{{"ext":{long}}}"#),
        format!(r#"{{"{long}":1}}"#),
    ] {
        assert_eq!(from(&body).unwrap_err().to_string(), "an attribute is longer than 65536 bytes");
    }
    let number = from(&format!(r#"{{"data":{long}}}"#)).unwrap();
    assert!(number.data_as::<u64>().is_err());
    assert!(number.data_as::<f64>().is_err());
    assert_eq!(number.data_bytes().len(), long.len());
    assert!(from(&format!(r#"{{"data":-{long}e{long}}}"#)).unwrap().data_as::<Value>().is_err());
    assert!(from(&format!(r#"{{"order":{{"note":"{long}"}}}}"#)).is_ok(), "a raw payload");
}

#[test]
fn an_event_of_64_kib_is_accepted_and_one_over_the_limit_is_not() {
    let event = |bytes: usize| from(&format!(r#"{{"data":"{}"}}"#, "a".repeat(bytes - 11)));
    assert_eq!(event(64 * 1024).unwrap().data_bytes().len(), 64 * 1024 - 9);
    assert!(event(8 * 1024 * 1024).is_ok());
    assert_eq!(event(8 * 1024 * 1024 + 1).unwrap_err().to_string(), "event is longer than 8388608 bytes");
}

#[test]
fn an_event_of_as_much_data_as_daprd_takes_is_accepted() {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let data = vec![0xff; 4 * 1024 * 1024];
    let event = from(&format!(r#"{{"id":"1","data_base64":"{}"}}"#, STANDARD.encode(&data))).unwrap();
    assert_eq!(event.data_bytes(), data);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        ask(&Bytes::from(bytes));
    }

    #[test]
    fn any_json_is_decoded_or_refused(
        members in proptest::collection::vec((name(), value()), 0..8)
    ) {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        ask(&Bytes::from(format!("{{{}}}", members.join(","))));
    }

    #[test]
    fn a_mutated_event_is_decoded_or_refused(
        at in any::<prop::sample::Index>(), with in proptest::collection::vec(any::<u8>(), 0..4), cut in 0..4_usize,
    ) {
        let mut bytes = recorded();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        ask(&Bytes::from(bytes));
    }

    #[test]
    fn texts_survive(id in "\\PC{1,20}", data in any::<String>()) {
        let event = decode(&json!({"id": id, "datacontenttype": "text/plain", "data": data}));
        prop_assert_eq!(event.id(), Some(id.as_str()));
        prop_assert_eq!(event.data(), Data::Text(&data));
    }
}

// ===== helpers =====

fn from(body: &str) -> Result<CloudEvent, DecodeError> {
    CloudEvent::from_json(Bytes::copy_from_slice(body.as_bytes()))
}

fn decode(body: &Value) -> CloudEvent {
    from(&body.to_string()).unwrap()
}

/// Asks everything that can be asked of an event.
fn ask(body: &Bytes) {
    match CloudEvent::from_json(body.clone()) {
        Ok(event) => {
            let _ = format!("{event:?} {:?}", event.extensions().collect::<Vec<_>>());
            let _ = (event.data_schema(), event.time(), event.trace_state(), event.expiration(), event.data_bytes());
            let _ = (event.data_as::<Value>(), event.data_as::<String>(), event.data_as::<Vec<u8>>());
        }
        Err(error) => assert!(error.to_string().len() < 100),
    }
}

fn recorded() -> Vec<u8> {
    br#"{"data":{"n":[1,"a\n"]},"datacontenttype":"application/json","id":"7","pubsubname":"pubsub","source":"app-a","specversion":"1.0","tracestate":"","type":"t"}"#
        .to_vec()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "id",
            "source",
            "type",
            "specversion",
            "datacontenttype",
            "subject",
            "time",
            "data",
            "data_base64",
            "pubsubname",
            "topic",
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,3}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "null",
        "true",
        "1",
        "-1.5e300",
        "\"\"",
        "\"1.0\"",
        "\"AQ==\"",
        "\"text/plain\"",
        "\"text/json\"",
        "[]",
        "{\"a\":1}",
        "\"\\u00e4\"",
        "\"\\ud800\"",
        "\"{}\"",
        "\"[1\"",
    ])
    .prop_map(str::to_owned)
}
