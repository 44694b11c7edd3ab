//! CloudEvents as Dapr delivers them: plain data, decoded without copying.
//!
//! Events of all modes are read here: [structured](CloudEvent::from_json), [binary](CloudEvent::from_headers),
//! [batched](Batch::from_json), in [Dapr's bulk envelope](Batch::from_bulk_json), and as Dapr hands them to
//! [gRPC apps](CloudEvent::from_topic_event). They are [built](CloudEvent::builder) and written, too, in
//! [structured](CloudEvent::to_json) and [binary](CloudEvent::to_headers) mode.
//!
//! A [`CloudEvent`] is made from the one buffer that its body was received in. Attributes and data stay slices of it; only
//! what the wire had escaped is owned. Data is parsed once, by the type that the handler asks for.
//!
//! ```
//! use bytes::Bytes;
//! use tower_dapr::event::CloudEvent;
//!
//! #[derive(serde::Deserialize)]
//! struct Order<'a> {
//!     sku: &'a str, // borrowed from the received buffer
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let body = Bytes::from_static(
//!     br#"{"specversion":"1.0","id":"7","source":"shop","type":"order.paid.v1","datacontenttype":"application/json",
//!          "pubsubname":"pubsub","topic":"orders","traceid":"","data":{"sku":"a-1"}}"#,
//! );
//! let event = CloudEvent::from_json(body)?;
//!
//! assert_eq!(event.id(), Some("7"));
//! assert_eq!(event.topic(), Some("orders"));
//! assert_eq!(event.trace_id(), None); // an empty attribute is an absent one
//! assert_eq!(event.data_as::<Order>()?.sku, "a-1");
//! # Ok(())
//! # }
//! ```
//!
//! # What is accepted
//!
//! Structured mode in JSON (CloudEvents 1.0.2, *JSON Event Format*), as leniently as Dapr needs it. Dapr delivers what a
//! publisher sent: an event without an `id`, or any JSON object at all if the publisher asked for a raw payload.
//!
//! | received | becomes |
//! | --- | --- |
//! | `id` missing | [`CloudEvent::id`] is `None` |
//! | `source`, `type`, `specversion` missing | Dapr's own defaults: `Dapr`, `com.dapr.event.sent`, `1.0` |
//! | `specversion` other than `1.0` | refused |
//! | an attribute that is `null` or `""` (daprd sends empty `traceparent` and `tracestate`) | absent |
//! | a number or Boolean for one of the specification's attributes | its JSON text |
//! | an object or array for one of them | refused |
//! | any other member, whatever its name and value | an [extension](CloudEvent::extensions), kept as it is |
//! | `time` that is no timestamp | kept as text; [`CloudEvent::timestamp`] is `None` |
//! | the same member twice | refused: an attribute may appear once, and readers differ in which one they take |
//! | `data` that is no string although its type is not JSON | the JSON value |
//! | `data: null` | the JSON value `null`, and no data if the type is not JSON |
//! | `data` and `data_base64`, or `data_base64` that is no base64 | refused (padding may be missing) |
//! | more, longer or deeper than [`Limits`] says | refused |
//!
//! In binary mode the same holds; in addition a header value that is not ASCII, or whose percent-encoding does not give
//! UTF-8, is refused, and a `%` that is none of it stays.
//!
//! # Data
//!
//! [`CloudEvent::data_as`] reads data as its content type says:
//!
//! | content type | data | read as |
//! | --- | --- | --- |
//! | `*/json`, `*/*+json`, or none | `data` | JSON |
//! | the same, but named | `data_base64` | JSON |
//! | any other | `data` | text: into `String`, `&str`, .. |
//! | any other, or none | `data_base64` | bytes: into `Vec<u8>`, or what else takes bytes |
//!
//! Text that is empty (`"data":""`) is also read as no data by a type that takes none, such as `()` or `Option<u32>`,
//! if the text does not fit it: it is what Dapr delivers when nothing was published.
//!
//! **A JSON type that daprd does not know.** daprd takes only `application/json` for JSON. What is published as
//! `application/vnd.order+json` or `text/json` arrives as a JSON *string* that holds the JSON text. So, for such a type and
//! an event that came through Dapr (it has `pubsubname`), a string is first tried as the JSON text that it holds and then
//! as the string that it is. [`CloudEvent::data`] shows it as it was received.

mod batch;
mod binary;
mod builder;
mod callback;
mod cloud_event;
mod compose;
mod data;
mod encode;
mod error;
mod json;
mod limits;
mod media_type;
mod outcome;
mod plain;
mod scan;
#[cfg(feature = "cloudevents")]
mod sdk;
mod text;
mod typed;

#[cfg(feature = "cloudevents")]
#[cfg_attr(docsrs, doc(cfg(feature = "cloudevents")))]
pub use self::sdk::ConversionError;

#[cfg(test)]
mod tests;

pub use self::{
    batch::{Batch, Entry},
    builder::{AttributeValue, BuildError, CloudEventBuilder},
    cloud_event::{CloudEvent, ExtensionValue},
    data::Data,
    error::{DataError, DecodeError},
    limits::Limits,
    outcome::{IntoOutcome, Outcome, Outcomes},
    typed::Event,
};
pub(crate) use self::{
    binary::{Prefix, decode as decode_binary},
    callback::json as json_of_protobuf,
    outcome::Tally,
};
