//! An event in structured mode: decoded, read, written again, and then the same. What is JSON, `serde_json` says as well.

#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tower_dapr::event::{CloudEvent, Limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default().with_attributes(16).with_attribute_bytes(256).with_depth(8);
    let _ = CloudEvent::from_json_within(Bytes::copy_from_slice(bytes), &limits);
    let is_object = serde_json::from_slice::<HashMap<String, &RawValue>>(bytes).is_ok();
    let event = match CloudEvent::from_json(Bytes::copy_from_slice(bytes)) {
        Ok(event) => event,
        Err(error) => return assert!(!(error.is_syntax() && is_object), "{error}"),
    };
    assert!(is_object);
    let _ = (event.data_as::<String>(), event.data_as_json::<Vec<u8>>(), event.timestamp());
    let _ = (event.to_headers(), format!("{event:?}"));
    let again = CloudEvent::from_json(event.to_json()).expect("what is written can be read");
    assert_eq!((event.id(), event.source(), event.ty()), (again.id(), again.source(), again.ty()));
    assert!(event.extensions().eq(again.extensions()));
    assert_eq!(event.data_bytes(), again.data_bytes());
});
