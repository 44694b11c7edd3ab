//! Dapr's bulk delivery.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tower_dapr::event::{Batch, Limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default().with_entries(4);
    if let Ok(batch) = Batch::from_bulk_json_within(Bytes::copy_from_slice(bytes), &limits) {
        assert!(batch.is_bulk() && batch.entries().len() <= 4);
        for entry in batch.entries() {
            let _ = (entry.id(), entry.metadata(), entry.event().map(|event| event.data_as_json::<String>()));
        }
    }
});
