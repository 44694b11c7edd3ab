//! What a span says when it starts: name and kind, and the attributes that a sampler may look at; and, once it is known to
//! be recorded, those that cost a string.

use std::{borrow::Cow, net::SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, Uri, header};
use opentelemetry::{
    KeyValue, StringValue,
    trace::{SpanBuilder, SpanKind, SpanRef},
};

use crate::{
    classify::{Protocol, Side},
    observe::Call,
    rpc::{Rpc, Safety},
    semconv::{self, ServerAddress, method_of_path, name_key},
    url::{capped_query, redacted_url},
};

/// The longest path, agent or method that becomes an attribute, in bytes.
const MAX_TEXT: usize = 1024;

/// The span as the sampler sees it: static strings only, but for the name.
pub(super) fn builder(side: Side, call: &Call<'_>) -> SpanBuilder {
    let (name, attributes) = match call.protocol {
        Protocol::Grpc => (grpc_name(side, call), grpc_attributes(call)),
        Protocol::Http => (http_name(side, call), http_attributes(call)),
    };
    let mut builder = SpanBuilder::from_name(name);
    builder.span_kind = Some(kind(side, call));
    builder.attributes = Some(attributes);
    builder
}

/// Adds what is worth a string, to a span that is recorded.
pub(super) fn describe(side: Side, call: &Call<'_>, server: Option<&ServerAddress>, span: &SpanRef<'_>) {
    if let Some(server) = server {
        span.set_attribute(KeyValue::new(semconv::SERVER_ADDRESS, server.address.clone()));
        if let Some(port) = server.port {
            span.set_attribute(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
        }
    }
    match (call.protocol, side) {
        (Protocol::Grpc, _) => describe_grpc(side, call, span),
        (Protocol::Http, Side::Server) => describe_http_server(call, span),
        (Protocol::Http, Side::Client) => describe_http_client(call, server, span),
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

// ===== gRPC =====

fn grpc_name(side: Side, call: &Call<'_>) -> Cow<'static, str> {
    match (call.rpc, call.names.destination) {
        (Some(rpc), Some(topic)) if side == Side::Client && is_publish(rpc) => {
            format!("{} {topic}", publish_operation(rpc)).into()
        }
        (Some(rpc), _) => rpc.full_method().into(),
        (None, _) => method_of_path(call.uri().path()).map_or(Cow::Borrowed("grpc"), |name| name.to_owned().into()),
    }
}

fn grpc_attributes(call: &Call<'_>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    attributes.push(KeyValue::new(semconv::RPC_SYSTEM, "grpc"));
    if let Some(rpc) = call.rpc {
        attributes.push(KeyValue::new(semconv::RPC_METHOD, rpc.full_method()));
        attributes.push(KeyValue::new(semconv::DAPR_BLOCK, rpc.block().as_str()));
        if is_publish(rpc) {
            attributes.push(KeyValue::new(semconv::MESSAGING_SYSTEM, semconv::MESSAGING_DAPR));
            attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION, publish_operation(rpc)));
            attributes.push(KeyValue::new(semconv::MESSAGING_OPERATION_TYPE, "send"));
        }
    }
    attributes
}

fn describe_grpc(side: Side, call: &Call<'_>, span: &SpanRef<'_>) {
    let Some(rpc) = call.rpc else {
        if let Some(method) = method_of_path(call.uri().path()) {
            span.set_attribute(KeyValue::new(semconv::RPC_METHOD, method.to_owned()));
        }
        return;
    };
    if let (Some(key), Some(name)) = (name_key(rpc), call.names.component) {
        span.set_attribute(KeyValue::new(key, name.to_owned()));
    }
    if let (Side::Client, true, Some(topic)) = (side, is_publish(rpc), call.names.destination) {
        span.set_attribute(KeyValue::new(semconv::MESSAGING_DESTINATION, topic.to_owned()));
    }
}

fn is_publish(rpc: &Rpc) -> bool {
    rpc.safety() == Safety::Publish
}

fn publish_operation(rpc: &Rpc) -> &'static str {
    if rpc.method().starts_with("Bulk") { "publish_bulk" } else { "publish" }
}

// ===== HTTP =====

fn http_name(side: Side, call: &Call<'_>) -> Cow<'static, str> {
    let Some(method) = semconv::known_method(call.method()) else { return "HTTP".into() };
    match (side, call.route()) {
        (Side::Server, Some(route)) => format!("{method} {route}").into(),
        _ => method.into(),
    }
}

fn http_attributes(call: &Call<'_>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    let method = semconv::known_method(call.method()).unwrap_or(semconv::OTHER);
    attributes.push(KeyValue::new(semconv::HTTP_METHOD, method));
    attributes.push(KeyValue::new(semconv::URL_SCHEME, scheme(call.uri())));
    if let Some(version) = semconv::protocol_version(call.version()) {
        attributes.push(KeyValue::new(semconv::PROTOCOL_VERSION, version));
    }
    attributes
}

fn describe_http_server(call: &Call<'_>, span: &SpanRef<'_>) {
    let text = |key: &'static str, text: &str| {
        span.set_attribute(KeyValue::new(key, semconv::capped(text, MAX_TEXT).to_owned()));
    };
    describe_method(call, span);
    text(semconv::URL_PATH, call.uri().path());
    if let Some(route) = call.route() {
        text(semconv::HTTP_ROUTE, route);
    }
    if let Some(query) = call.uri().query() {
        span.set_attribute(KeyValue::new(semconv::URL_QUERY, capped_query(query)));
    }
    if let Some(agent) = header_text(&call.request.headers, header::USER_AGENT) {
        text(semconv::USER_AGENT, agent);
    }
    if let Some(host) = call.uri().host() {
        text(semconv::SERVER_ADDRESS, host);
    } else if let Some(host) = header_text(&call.request.headers, header::HOST) {
        let (host, port) = split_port(host);
        text(semconv::SERVER_ADDRESS, host);
        if let Some(port) = port {
            span.set_attribute(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
        }
    }
    if let Some(ConnectInfo(peer)) = call.extensions().get::<ConnectInfo<SocketAddr>>() {
        text(semconv::CLIENT_ADDRESS, &peer.ip().to_string());
    }
}

fn describe_http_client(call: &Call<'_>, server: Option<&ServerAddress>, span: &SpanRef<'_>) {
    describe_method(call, span);
    let uri = call.uri();
    if server.is_none() {
        if let Some(host) = uri.host() {
            span.set_attribute(KeyValue::new(semconv::SERVER_ADDRESS, StringValue::from(host.to_owned())));
        }
        let port = uri.port_u16().or(match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        });
        if let Some(port) = port {
            span.set_attribute(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
        }
    }
    if uri.authority().is_some() {
        span.set_attribute(KeyValue::new(semconv::URL_FULL, redacted_url(uri)));
    }
}

fn describe_method(call: &Call<'_>, span: &SpanRef<'_>) {
    if semconv::known_method(call.method()).is_none() {
        let method = semconv::capped(call.method().as_str(), 64).to_owned();
        span.set_attribute(KeyValue::new(semconv::HTTP_METHOD_ORIGINAL, method));
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
