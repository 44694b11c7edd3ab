//! `baggage`: read into a context and written again.

#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use opentelemetry::Context;
use tower_dapr::propagation::{Propagation, TRACEPARENT};

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("baggage", value);
        }
    }
    headers.insert(TRACEPARENT, HeaderValue::from_static("00-11111111111111111111111111111111-2222222222222222-01"));
    let propagation = Propagation::w3c();
    for context in
        [propagation.extract_http(&headers, &Context::new()), propagation.extract_grpc(&headers, &Context::new())]
    {
        let mut written = headers.clone();
        propagation.inject(&context, &mut written);
    }
});
