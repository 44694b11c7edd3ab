//! `tracestate`, in one header or several (one a line).

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_dapr::propagation::TraceState;

fuzz_target!(|bytes: &[u8]| {
    let _ = TraceState::parse(bytes.split(|byte| *byte == b'\n'));
});
