//! The value of a header in binary mode: whatever it decodes to survives being encoded and decoded again.

#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_dapr::event::CloudEvent;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("ce-id", HeaderValue::from_static("1"));
    headers.insert("ce-subject", value);
    let Ok(event) = CloudEvent::from_headers(&headers, Bytes::new()) else { return };
    let (headers, data) = event.to_headers();
    let again = CloudEvent::from_headers(&headers, data).expect("what is written can be read");
    assert_eq!(event.subject(), again.subject());
});
