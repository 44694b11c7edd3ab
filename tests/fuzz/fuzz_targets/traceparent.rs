//! `traceparent`: what is read can be written, and is then the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_dapr::propagation::{TraceParent, creation_context};

fuzz_target!(|bytes: &[u8]| {
    let _ = TraceParent::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = creation_context(Some(text), Some(text), Some(text));
    }
});
