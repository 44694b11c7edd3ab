//! A batch of events.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tower_dapr::event::{Batch, Limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default().with_entries(4);
    if let Ok(batch) = Batch::from_json_within(Bytes::copy_from_slice(bytes), &limits) {
        assert!(batch.entries().len() <= 4);
        batch.events().for_each(|event| drop(event.to_json()));
    }
});
