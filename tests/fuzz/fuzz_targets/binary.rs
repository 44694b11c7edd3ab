//! An event in binary mode: lines of `name: value`, an empty line, data.

#![no_main]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_dapr::event::CloudEvent;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            headers.append(name, value);
        }
    }
    let Ok(event) = CloudEvent::from_headers(&headers, Bytes::copy_from_slice(rest)) else { return };
    let again = CloudEvent::from_json(event.to_json()).expect("what is written can be read");
    assert_eq!((event.id(), event.source(), event.ty()), (again.id(), again.source(), again.ty()));
    assert_eq!(event.data_bytes(), again.data_bytes());
});
