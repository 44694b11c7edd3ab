//! What a span says when it starts: name and kind, and the attributes that a sampler may look at; and, once it is known to
//! be recorded, those that cost a string.

use std::{borrow::Cow, net::SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, Uri, header};
use opentelemetry::{
    KeyValue,
    trace::{SpanBuilder, SpanKind},
};

use super::layer::Settings;
use crate::{
    classify::{Protocol, Side},
    intern::{Interner, NAMES, ROUTES},
    observe::Call,
    rpc::{Names, Rpc, Safety, bulk},
    semconv::{self, ServerAddress, method_of_path, name_key},
    url::{capped_query, redacted_url},
};

/// The longest path, agent or method that becomes an attribute, in bytes.
const MAX_TEXT: usize = 1024;

/// The span as the sampler sees it: everything that costs no string of its own.
pub(super) fn builder(settings: &Settings, call: &Call<'_>) -> SpanBuilder {
    let (name, attributes) = match call.protocol {
        Protocol::Grpc => grpc(settings, call),
        Protocol::Http => http(settings, call),
    };
    let name = settings.span_name.as_ref().and_then(|name_of| name_of(call.request)).unwrap_or(name);
    let mut builder = SpanBuilder::from_name(name);
    builder.span_kind = Some(kind(settings.side, call));
    builder.attributes = Some(attributes);
    builder
}

/// Adds what is worth a string, to a span that is recorded.
pub(super) fn describe(settings: &Settings, call: &Call<'_>, set: &mut dyn FnMut(KeyValue)) {
    match (call.protocol, settings.side) {
        (Protocol::Grpc, Side::Server) => {}
        (Protocol::Grpc, Side::Client) => describe_server(call.uri(), settings.server.as_ref(), set),
        (Protocol::Http, Side::Server) => describe_http_server(call, set),
        (Protocol::Http, Side::Client) => describe_http_client(call, settings.server.as_ref(), set),
    }
    if !settings.request_headers.is_empty() {
        let is_grpc = call.protocol == Protocol::Grpc;
        settings.request_headers.read(&call.request.headers, is_grpc).for_each(&mut *set);
    }
    if let Some(attributes) = &settings.request_attributes {
        attributes(call.request).into_iter().for_each(set);
    }
}

fn kind(side: Side, call: &Call<'_>) -> SpanKind {
    match side {
        Side::Server => SpanKind::Server,
        // Its context is the creation context of the message.
        Side::Client if call.rpc.is_some_and(is_publish) => SpanKind::Producer,
        Side::Client => SpanKind::Client,
    }
}

/// Room for what is known at the start and for what the end adds.
fn attributes(settings: &Settings) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16 + settings.attributes.len());
    attributes.extend(settings.attributes.iter().cloned());
    if let Some(server) = &settings.server {
        attributes.push(KeyValue::new(semconv::SERVER_ADDRESS, server.address.clone()));
        attributes.extend(server.port.map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port))));
    }
    attributes
}

/// A text that comes again and again, without an allocation if that can be.
fn kept(text: &str) -> Cow<'static, str> {
    NAMES.get(text).map_or_else(|| text.to_owned().into(), Cow::Borrowed)
}

// ===== gRPC =====

fn grpc(settings: &Settings, call: &Call<'_>) -> (Cow<'static, str>, Vec<KeyValue>) {
    let mut attributes = attributes(settings);
    attributes.push(KeyValue::new(semconv::RPC_SYSTEM, "grpc"));
    let Some(rpc) = call.rpc else {
        // What a server is asked for may be anything: the answer tells whether it has such a method.
        let is_method = |method: &&str| settings.side == Side::Client || settings.is_known_method(method);
        let Some(method) = method_of_path(call.uri().path()).filter(is_method) else {
            return ("grpc".into(), attributes);
        };
        let method = kept(method);
        attributes.push(KeyValue::new(semconv::RPC_METHOD, method.clone()));
        return (method, attributes);
    };
    attributes.push(KeyValue::new(semconv::RPC_METHOD, rpc.full_method()));
    attributes.push(KeyValue::new(semconv::DAPR_BLOCK, rpc.block().as_str()));
    if let (Some(key), Some(name)) = (name_key(rpc), call.names.component) {
        attributes.push(KeyValue::new(key, kept(name)));
    }
    if settings.side == Side::Server || !is_publish(rpc) {
        return (rpc.full_method().into(), attributes);
    }
    let operation = if rpc.method().starts_with("Bulk") { "publish_bulk" } else { "publish" };
    attributes.push(KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_DAPR));
    attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION, operation));
    attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION_TYPE, "send"));
    if let Some(count) = call.first_message.and_then(|message| bulk::entries(rpc, message)) {
        attributes.push(KeyValue::new(semconv::MESSAGING_MESSAGE_COUNT, i64::try_from(count).unwrap_or(i64::MAX)));
    }
    let Some(topic) = call.names.destination else { return (rpc.full_method().into(), attributes) };
    let (name, topic) = kept_pair(&NAMES, operation, topic);
    attributes.push(KeyValue::new(semconv::MESSAGING_DESTINATION, topic));
    (name, attributes)
}

/// The names of a stream that came with its first message.
pub(super) fn late_names(rpc: &Rpc, names: &Names<'_>) -> impl Iterator<Item = KeyValue> {
    let component = name_key(rpc).zip(names.component).map(|(key, name)| KeyValue::new(key, kept(name)));
    let topic = names.destination.map(|topic| KeyValue::new(semconv::MESSAGING_DESTINATION, kept(topic)));
    component.into_iter().chain(topic)
}

fn is_publish(rpc: &Rpc) -> bool {
    rpc.safety() == Safety::Publish
}

/// `"{first} {second}"`, and the second alone.
fn kept_pair(table: &'static Interner, first: &str, second: &str) -> (Cow<'static, str>, Cow<'static, str>) {
    match table.pair(first, second) {
        Some(pair) => (pair.into(), pair[first.len() + 1..].into()),
        None => (format!("{first} {second}").into(), second.to_owned().into()),
    }
}

// ===== HTTP =====

/// The span's name and the value of `http.route`.
pub(super) fn name_and_route(method: &str, route: &str) -> (Cow<'static, str>, Cow<'static, str>) {
    kept_pair(&ROUTES, method, route)
}

fn http(settings: &Settings, call: &Call<'_>) -> (Cow<'static, str>, Vec<KeyValue>) {
    let mut attributes = attributes(settings);
    let method = semconv::known_method(call.method());
    attributes.push(KeyValue::new(semconv::HTTP_METHOD, method.unwrap_or(semconv::OTHER)));
    attributes.push(KeyValue::new(semconv::URL_SCHEME, scheme(call.uri())));
    // A client's request says what is asked for: the answer tells what is spoken.
    if let Some(version) = semconv::protocol_version(call.version()).filter(|_| settings.side == Side::Server) {
        attributes.push(KeyValue::new(semconv::PROTOCOL_VERSION, version));
    }
    match (settings.side, call.route()) {
        (Side::Server, Some(route)) => {
            let (name, route) = name_and_route(method.unwrap_or("HTTP"), route);
            attributes.push(KeyValue::new(semconv::HTTP_ROUTE, route));
            (name, attributes)
        }
        _ => (method.unwrap_or("HTTP").into(), attributes),
    }
}

fn describe_http_server(call: &Call<'_>, set: &mut dyn FnMut(KeyValue)) {
    let text = |key: &'static str, text: &str| KeyValue::new(key, semconv::capped(text, MAX_TEXT).to_owned());
    let headers = &call.request.headers;
    let (host, port) = match call.uri().host() {
        Some(host) => (Some(host), call.uri().port_u16()),
        None => {
            header_text(headers, header::HOST).map(split_port).map_or((None, None), |(host, port)| (Some(host), port))
        }
    };
    describe_method(call, set);
    set(text(semconv::URL_PATH, call.uri().path()));
    if let Some(query) = call.uri().query() {
        set(KeyValue::new(semconv::URL_QUERY, capped_query(query)));
    }
    if let Some(agent) = header_text(headers, header::USER_AGENT) {
        set(text(semconv::USER_AGENT, agent));
    }
    if let Some(host) = host {
        set(text(semconv::SERVER_ADDRESS, host));
    }
    if let Some(port) = port {
        set(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
    }
    if let Some(ConnectInfo(peer)) = call.extensions().get::<ConnectInfo<SocketAddr>>() {
        set(KeyValue::new(semconv::CLIENT_ADDRESS, peer.ip().to_string()));
    }
}

fn describe_http_client(call: &Call<'_>, server: Option<&ServerAddress>, set: &mut dyn FnMut(KeyValue)) {
    let uri = call.uri();
    describe_method(call, set);
    describe_server(uri, server, set);
    if uri.authority().is_some() {
        set(KeyValue::new(semconv::URL_FULL, redacted_url(uri)));
    }
}

/// A client's server as the request names it, if none is configured.
fn describe_server(uri: &Uri, server: Option<&ServerAddress>, set: &mut dyn FnMut(KeyValue)) {
    let Some(host) = uri.host().filter(|_| server.is_none()) else { return };
    set(KeyValue::new(semconv::SERVER_ADDRESS, kept(host)));
    if let Some(port) = semconv::port_of(uri) {
        set(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
    }
}

fn describe_method(call: &Call<'_>, set: &mut dyn FnMut(KeyValue)) {
    if semconv::known_method(call.method()).is_none() {
        let method = semconv::capped(call.method().as_str(), 64).to_owned();
        set(KeyValue::new(semconv::HTTP_METHOD_ORIGINAL, method));
    }
}

fn scheme(uri: &Uri) -> &'static str {
    if uri.scheme_str() == Some("https") { "https" } else { "http" }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `host:port` or `[v6]:port` taken apart.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && (!name.contains(':') || name.ends_with(']')) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_port;

    #[test]
    fn host_and_port_are_taken_apart() {
        for (host, parts) in [
            ("shop:8080", ("shop", Some(8080))),
            ("shop", ("shop", None)),
            ("[::1]:80", ("[::1]", Some(80))),
            ("::1", ("::1", None)),
            ("shop:x", ("shop:x", None)),
            (":80", (":80", None)),
            ("", ("", None)),
        ] {
            assert_eq!(split_port(host), parts);
        }
    }
}
