//! Headers between gRPC metadata, broker metadata and the app (`dapr/dapr:pkg/messaging/v1/util.go`).

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::baggage::BAGGAGE;
use super::method::quote;
use super::trace::{GRPC_TRACE_BIN, TRACEPARENT, TRACESTATE};

/// More than any peer takes. A [`HeaderMap`] that is full panics, and the sidecar adds headers of its own.
const MAX_HEADERS: usize = 16_384;

pub(super) const API_TOKEN: &str = "dapr-api-token";

/// Binary metadata, with padding or without.
const BASE64: GeneralPurpose = {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, config)
};

/// Metadata that belongs to gRPC itself, which the server of daprd does not show to its handlers.
const OF_GRPC: [&str; 7] = [
    "grpc-encoding",
    "grpc-message",
    "grpc-message-type",
    "grpc-status",
    "grpc-status-details-bin",
    "grpc-timeout",
    "te",
];

/// Set by sidecars; from anyone else they would be a forgery.
const OF_SIDECAR: [&str; 4] = ["dapr-app-id", "dapr-callee-app-id", "dapr-caller-app-id", "dapr-caller-namespace"];

/// Headers of HTTP that come back with the prefix `dapr-`, not to be taken for those of gRPC.
const PERMANENT: [&str; 22] = [
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "via",
    "warning",
];

/// The caller's metadata as the invoked app gets it. `Content-Type` and `traceparent` are for the caller to add.
pub(super) fn of_invocation(metadata: &HeaderMap, authority: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata {
        let name_text = name.as_str();
        let internal = OF_GRPC.contains(&name_text) || OF_SIDECAR.contains(&name_text);
        if internal || is_hop_by_hop(name_text, metadata) || !is_for_app(name_text) {
            continue;
        }
        append(&mut headers, &unreserved(name_text), value.clone());
    }
    if let Some(authority) = authority {
        append(&mut headers, "dapr-authority", value(authority));
    }
    // The first one only, as daprd.
    if let Some(baggage) = metadata.get(BAGGAGE) {
        headers.insert(BAGGAGE, baggage.clone());
    }
    headers
}

/// The headers of an invocation over HTTP as the invoked app gets them; the trace context is for the caller to add.
pub(super) fn of_http_invocation(all: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let text = name.as_str();
        let own = [TRACEPARENT, TRACESTATE, GRPC_TRACE_BIN, API_TOKEN, HOST.as_str(), CONTENT_LENGTH.as_str()];
        if !own.contains(&text) && !OF_SIDECAR.contains(&text) && !is_hop_by_hop(text, all) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// The metadata of a call of an actor as the actor gets it.
///
/// # Errors
/// What Go's HTTP client says about an entry that cannot be a header.
pub(super) fn of_actor_call(metadata: &HashMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (key, text) in metadata {
        let name = key.to_ascii_lowercase();
        if !is_for_app(&name) || OF_SIDECAR.contains(&name.as_str()) || is_hop_by_hop(&name, &HeaderMap::new()) {
            continue;
        }
        let invalid = |what: &str, name: &str| format!("net/http: invalid header field {what}{}", quote(name));
        let header = HeaderName::try_from(unreserved(&name)).map_err(|_| invalid("name ", key))?;
        let value = HeaderValue::from_bytes(text.as_bytes());
        add(&mut headers, header, value.map_err(|_| invalid("value for ", &canonical(&name)))?);
    }
    Ok(headers)
}

/// Headers of HTTP as metadata of a gRPC call.
pub(super) fn permanent_prefixed(all: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in all {
        let name = name.as_str();
        match PERMANENT.contains(&name) {
            true => append(&mut metadata, &format!("dapr-{name}"), value.clone()),
            false => append(&mut metadata, name, value.clone()),
        }
    }
    metadata
}

/// Takes out what belongs to one connection, and the length that another body may have.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| is_hop_by_hop(name.as_str(), headers)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// A broker message's metadata as headers of its delivery.
pub(super) fn of_message(metadata: &BTreeMap<String, String>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, text) in metadata {
        let name = name.to_ascii_lowercase();
        if is_for_app(&name) && !is_hop_by_hop(&name, &HeaderMap::new()) {
            append(&mut headers, &unreserved(&name), value(text));
        }
    }
    headers
}

/// The metadata of a gRPC app's answer as headers for a caller over HTTP. The trace context is for the sidecar to add.
pub(super) fn of_grpc_answer(metadata: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata {
        let name = name.as_str();
        if is_for_app(name) && !is_hop_by_hop(name, metadata) && name != DATE.as_str() {
            append(&mut headers, &unreserved(name), value.clone());
        }
    }
    headers
}

/// The app's answer to an invocation as metadata for the caller.
pub(super) fn of_app_response(response: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in response {
        let name = name.as_str();
        // A `grpc-status` of the app would end the call.
        let unsafe_name = name.starts_with("grpc-") || name.ends_with("-bin");
        if unsafe_name || is_hop_by_hop(name, response) || [TRACEPARENT, CONTENT_LENGTH.as_str()].contains(&name) {
            continue;
        }
        if PERMANENT.contains(&name) {
            append(&mut metadata, &format!("dapr-{name}"), value.clone());
        } else {
            append(&mut metadata, name, value.clone());
        }
    }
    metadata
}

/// Details of a status that are no base64 make it `INTERNAL`, as grpc-go reads it.
pub(super) fn check_details(headers: &mut HeaderMap) {
    const DETAILS: &str = "grpc-status-details-bin";
    let is_malformed = |details: &HeaderValue| BASE64.decode(details).is_err();
    if headers.get_all(DETAILS).iter().any(is_malformed) {
        headers.remove(DETAILS);
        headers.insert("grpc-status", HeaderValue::from(tonic::Code::Internal as i32));
        let message = HeaderValue::from_static("transport: malformed grpc-status-details-bin");
        headers.insert("grpc-message", message);
    }
}

/// The same for trailers.
pub(super) fn check_trailers(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        check_details(trailers);
    }
    frame
}

/// A name as Go prints it: `content-type` becomes `Content-Type`.
pub(super) fn canonical(name: &str) -> String {
    let mut upper = true;
    let letters = name.chars().map(|char| {
        let char = if upper { char.to_ascii_uppercase() } else { char };
        upper = char == '-';
        char
    });
    letters.collect()
}

/// A header's value; empty when `text` cannot be one.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Trace context is written by the sidecar. Names in lower case.
fn is_for_app(name: &str) -> bool {
    let own = [TRACEPARENT, TRACESTATE, GRPC_TRACE_BIN, "destination-app-id", HOST.as_str()];
    !own.contains(&name) && !name.ends_with("-bin") && name != CONTENT_TYPE.as_str() && name != CONTENT_LENGTH.as_str()
}

pub(super) fn unreserved(name: &str) -> String {
    if name.starts_with("grpc-") { format!("dapr-{name}") } else { name.to_owned() }
}

/// RFC 9110, section 7.6.1, and what `Connection` names.
fn is_hop_by_hop(name: &str, all: &HeaderMap) -> bool {
    const LISTED: [&str; 10] = [
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let named = all.get_all("connection").iter().filter_map(|value| value.to_str().ok());
    LISTED.contains(&name)
        || named.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(name))
}

pub(super) fn append(headers: &mut HeaderMap, name: &str, value: HeaderValue) {
    if let Ok(name) = HeaderName::try_from(name) {
        add(headers, name, value);
    }
}

/// Leaves out what there is no room for.
fn add(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if headers.len() < MAX_HEADERS {
        headers.append(name, value);
    }
}
