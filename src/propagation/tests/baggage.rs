use http::HeaderMap;
use opentelemetry::baggage::{Baggage, BaggageExt, BaggageMetadata};
use opentelemetry::{Context, StringValue};

use super::*;
use crate::propagation::{BAGGAGE, extract_grpc};

fn read(values: &[&str]) -> Context {
    let lines: Vec<_> = values.iter().map(|value| ("baggage", *value)).collect();
    extract_http(&headers(&lines), &Context::new())
}

/// Keys, values and properties, sorted.
fn members(values: &[&str]) -> Vec<(String, String, String)> {
    let cx = read(values);
    let mut members: Vec<_> = cx
        .baggage()
        .iter()
        .map(|(key, (value, properties))| (key.to_string(), value.to_string(), properties.to_string()))
        .collect();
    members.sort();
    members
}

fn member(key: &str, value: &str, properties: &str) -> (String, String, String) {
    (key.to_owned(), value.to_owned(), properties.to_owned())
}

fn write(baggage: Baggage) -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&Context::new().with_baggage(baggage), &mut headers);
    headers.get(BAGGAGE).map(|value| value.to_str().unwrap().to_owned())
}

fn numbered(count: usize) -> String {
    (0..count).map(|index| format!("k{index}=v")).collect::<Vec<_>>().join(",")
}

#[test]
fn reads_keys_values_and_properties() {
    assert_eq!(
        members(&["k=v;prop;prop2=x, k2 = v2 ,\tk3=\t; p = 1 ; q "]),
        [member("k", "v", "prop;prop2=x"), member("k2", "v2", ""), member("k3", "", "p = 1 ; q")]
    );
}

#[test]
fn joins_several_headers() {
    assert_eq!(members(&["a=1", "b=2,c=3"]), [member("a", "1", ""), member("b", "2", ""), member("c", "3", "")]);
}

#[test]
fn splits_at_the_first_equals_sign() {
    assert_eq!(members(&["a=b=c==", "x=="]), [member("a", "b=c==", ""), member("x", "=", "")]);
}

#[test]
fn decodes_percent_sequences_and_replaces_what_is_not_utf_8() {
    assert_eq!(
        members(&["a=caf%C3%A9%20%2C,b=%FFx%C3,c=100%,d=%zz,e=a+b"]),
        [
            member("a", "café ,", ""),
            member("b", "\u{FFFD}x\u{FFFD}", ""),
            member("c", "100%", ""),
            member("d", "%zz", ""),
            member("e", "a+b", "")
        ]
    );
}

#[test]
fn leaves_out_broken_members_only() {
    assert_eq!(members(&["novalue,=1,a b=1,a=b c,é=1,q=\"x\",b=\\,,good=1"]), [member("good", "1", "")]);
    assert_eq!(members(&["novalue", "  ", ","]), []);
}

#[test]
fn properties_are_not_looked_into() {
    assert_eq!(members(&["a=1;\"odd\" (stuff);;"]), [member("a", "1", "\"odd\" (stuff);;")]);
}

#[test]
fn the_last_of_several_members_with_one_key_wins() {
    assert_eq!(members(&["a=1,b=2", "a=3"]), [member("a", "3", ""), member("b", "2", "")]);
}

#[test]
fn reads_64_members() {
    assert_eq!(members(&[&numbered(64)]).len(), 64);
    let read = members(&[&numbered(65)]);
    assert_eq!(read.len(), 64);
    assert!(!read.contains(&member("k64", "v", "")));
    assert_eq!(members(&[&numbered(64), "last=1"]).len(), 64);
    assert!(!members(&[&numbered(64), "k0=late"]).contains(&member("k0", "late", "")));
}

#[test]
fn reads_8192_bytes_in_whole_members() {
    let fits = format!("k={}", "v".repeat(8190));
    assert_eq!(members(&[&fits]).len(), 1);
    assert_eq!(members(&[&format!("{fits}v")]).len(), 0);
    assert_eq!(members(&[&fits, "a=1"]).len(), 1, "nothing after the limit");
    assert_eq!(members(&["a=1", &fits]).len(), 1, "nothing that passes the limit");
    let with_comma = format!("a=1,k={}", "v".repeat(8186));
    assert_eq!(with_comma.len(), 8192);
    assert_eq!(members(&[&with_comma]).len(), 2);
    assert_eq!(members(&["a=1", &with_comma[4..]]).len(), 2, "the comma between headers counts");
    assert_eq!(members(&["a=1", &format!("{}v", &with_comma[4..])]).len(), 1);
}

#[test]
fn hostile_baggage_is_cut_off() {
    let mebibyte = format!("k={}", "v".repeat(1 << 20));
    assert_eq!(members(&[&mebibyte]).len(), 0);
    assert_eq!(members(&[&",".repeat(1 << 20), "a=1"]).len(), 0);

    let part = format!("k={}", "v".repeat(8190));
    let many: Vec<_> = (0..1000).map(|_| part.as_str()).collect();
    assert_eq!(members(&many).len(), 1);

    let one = numbered(100_000);
    assert_eq!(members(&[&one]).len(), 64);
    let headers: Vec<_> = one.split(',').take(20_000).collect();
    assert_eq!(members(&headers).len(), 64);
}

#[test]
fn writes_strictly_encoded_and_sorted() {
    let mut baggage = Baggage::new();
    baggage.insert("b", "x,y;z\\\"%41 é\r\n");
    baggage.insert_with_metadata("a", "1=2+3/4:5", "p=1;q");
    assert_eq!(write(baggage).unwrap(), "a=1=2+3/4:5;p=1;q,b=x%2Cy%3Bz%5C%22%2541%20%C3%A9%0D%0A");
}

#[test]
fn leaves_out_members_whose_properties_cannot_be_sent() {
    for properties in ["p,evil=1", "p q", "p=%zz", "p=%ff", "\r\nx: 1", "é", ";", "p=\""] {
        let mut baggage = Baggage::new();
        baggage.insert_with_metadata("bad", "1", properties);
        baggage.insert("good", "1");
        assert_eq!(write(baggage).as_deref(), Some("good=1"), "{properties:?}");
    }
}

#[test]
fn drops_whole_members_when_the_encoded_header_gets_too_long() {
    let mut baggage = Baggage::new();
    baggage.insert("a", "é".repeat(1000)); // 6,002 bytes encoded
    baggage.insert("b", "é".repeat(1000));
    baggage.insert("c", "1");
    let header = write(baggage).unwrap();
    assert_eq!(header, format!("a={},c=1", "%C3%A9".repeat(1000)));
}

#[test]
fn writes_nothing_if_no_member_fits() {
    let mut baggage = Baggage::new();
    baggage.insert("a", "é".repeat(2000));
    assert_eq!(write(baggage), None);
}

#[test]
fn all_that_the_limits_allow_is_forwarded() {
    let list: Vec<_> = (0..64).map(|index| format!("k{index:02}={}", "v".repeat(123))).collect();
    let header = list.join(",");
    assert_eq!(header.len(), 64 * 127 + 63);
    let header = format!("{header}{}", "v".repeat(8192 - header.len()));
    assert_eq!(forward(&[("baggage", &header)])[BAGGAGE], header);
}

#[test]
fn is_read_with_and_without_a_trace_over_http_and_grpc() {
    for lines in [&[("baggage", "a=1")][..], &[("baggage", "a=1"), ("traceparent", CALLER)]] {
        for cx in [extract_http(&headers(lines), &Context::new()), extract_grpc(&headers(lines), &Context::new())] {
            assert_eq!(cx.baggage().get("a"), Some(&StringValue::from("1")));
            assert_eq!(span_of(&cx).is_valid(), lines.len() == 2);
        }
    }
}

#[test]
fn stays_as_it_is_without_a_usable_header() {
    let cx = read(&["a=1;p"]);
    for later in [&[][..], &[("baggage", "broken")]] {
        let cx = extract_http(&headers(later), &cx);
        let kept = cx.baggage().get_with_metadata("a");
        assert_eq!(kept, Some(&(StringValue::from("1"), BaggageMetadata::from("p"))));
    }
}
