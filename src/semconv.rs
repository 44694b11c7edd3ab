//! Names of OpenTelemetry's semantic conventions 1.44 that this crate emits, and Dapr's own beside them.
//!
//! Literals, so that a user's build does not depend on the conventions crate and its feature for what is not yet stable.

use std::sync::Arc;

use http::Method;
use opentelemetry::InstrumentationScope;

use crate::rpc::{NameKind, Rpc};

/// The instrumentation scope of all spans and metrics of this crate.
pub(crate) const SCOPE: &str = "tower-dapr";
/// The conventions that the names here follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The scope, with the crate's version and the conventions' schema.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL).build()
}

pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
pub(crate) const CLIENT_ADDRESS: &str = "client.address";
pub(crate) const USER_AGENT: &str = "user_agent.original";
pub(crate) const PROTOCOL_VERSION: &str = "network.protocol.version";

pub(crate) const HTTP_METHOD: &str = "http.request.method";
pub(crate) const HTTP_METHOD_ORIGINAL: &str = "http.request.method_original";
pub(crate) const HTTP_ROUTE: &str = "http.route";
pub(crate) const HTTP_STATUS: &str = "http.response.status_code";
pub(crate) const URL_FULL: &str = "url.full";
pub(crate) const URL_PATH: &str = "url.path";
pub(crate) const URL_QUERY: &str = "url.query";
pub(crate) const URL_SCHEME: &str = "url.scheme";

pub(crate) const RPC_SYSTEM: &str = "rpc.system.name";
pub(crate) const RPC_METHOD: &str = "rpc.method";
pub(crate) const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
pub(crate) const RPC_STATUS: &str = "rpc.response.status_code";

pub(crate) const MESSAGING_SYSTEM: &str = "messaging.system";
pub(crate) const MESSAGING_OPERATION: &str = "messaging.operation.name";
pub(crate) const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
pub(crate) const MESSAGING_DESTINATION: &str = "messaging.destination.name";
pub(crate) const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Of a batch. Never on the span of a single message.
pub(crate) const MESSAGING_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// The value of `messaging.system`: which broker stands behind the component is not known to the app.
pub(crate) const MESSAGING_DAPR: &str = "dapr";

pub(crate) const CLOUDEVENTS_ID: &str = "cloudevents.event_id";
pub(crate) const CLOUDEVENTS_SOURCE: &str = "cloudevents.event_source";
pub(crate) const CLOUDEVENTS_SPEC_VERSION: &str = "cloudevents.event_spec_version";
pub(crate) const CLOUDEVENTS_SUBJECT: &str = "cloudevents.event_subject";
pub(crate) const CLOUDEVENTS_TYPE: &str = "cloudevents.event_type";

pub(crate) const DAPR_BLOCK: &str = "dapr.building_block";
pub(crate) const DAPR_COMPONENT: &str = "dapr.component.name";
pub(crate) const DAPR_APP_ID: &str = "dapr.app_id";
pub(crate) const DAPR_ACTOR_TYPE: &str = "dapr.actor.type";

pub(crate) const HTTP_REQUEST_HEADER: &str = "http.request.header.";
pub(crate) const HTTP_RESPONSE_HEADER: &str = "http.response.header.";
pub(crate) const RPC_REQUEST_METADATA: &str = "rpc.request.metadata.";
pub(crate) const RPC_RESPONSE_METADATA: &str = "rpc.response.metadata.";

/// Stands for a value outside of the known set.
pub(crate) const OTHER: &str = "_OTHER";

/// Boundaries, in seconds, of every duration histogram (the SDK's defaults are for milliseconds).
pub(crate) const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Boundaries, in bytes, of the body size histograms (the conventions advise none).
pub(crate) const SIZE_BUCKETS: [f64; 11] =
    [0.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Boundaries of Dapr's own durations: those of all others, in milliseconds.
pub(crate) const MILLISECOND_BUCKETS: [f64; 14] =
    [5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0];

/// The conventions' list of HTTP methods, and [`OTHER`] behind it.
pub(crate) const METHODS: [&str; 11] =
    ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "QUERY", OTHER];

/// The number of a method in [`METHODS`].
pub(crate) fn method_number(method: &Method) -> usize {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

/// A method of the conventions' list, as static text; `None` for any other, which may be anything.
pub(crate) fn known_method(method: &Method) -> Option<&'static str> {
    METHODS.get(method_number(method)).copied().filter(|method| *method != OTHER)
}

/// `network.protocol.version`: `"1.1"`, `"2"`.
pub(crate) fn protocol_version(version: http::Version) -> Option<&'static str> {
    Some(match version {
        http::Version::HTTP_09 => "0.9",
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_11 => "1.1",
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_3 => "3",
        _ => return None,
    })
}

/// `server.port` of a client's request: what the URI says, or its scheme means.
pub(crate) fn port_of(uri: &http::Uri) -> Option<u16> {
    uri.port_u16().or_else(|| default_port(uri)?.parse().ok())
}

/// What a scheme means.
pub(crate) fn default_port(uri: &http::Uri) -> Option<&'static str> {
    match uri.scheme_str() {
        Some("http") => Some("80"),
        Some("https") => Some("443"),
        _ => None,
    }
}

/// At most `max` bytes of a text, cut between characters.
pub(crate) fn capped(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Where a client's calls go, as configured: a host, a unix socket's path, a name.
#[derive(Debug, Clone)]
pub(crate) struct ServerAddress {
    pub(crate) address: Arc<str>,
    pub(crate) port: Option<u16>,
}

/// The attribute that the name in the request is.
pub(crate) const fn name_key(rpc: &Rpc) -> Option<&'static str> {
    match rpc.name_kind() {
        NameKind::Component => Some(DAPR_COMPONENT),
        NameKind::AppId => Some(DAPR_APP_ID),
        NameKind::ActorType => Some(DAPR_ACTOR_TYPE),
        NameKind::None => None,
    }
}

/// `/package.Service/Method` without its slash; `None` for what is no gRPC path: it may be anything.
pub(crate) fn method_of_path(path: &str) -> Option<&str> {
    let method = path.strip_prefix('/')?;
    let (service, name) = method.split_once('/')?;
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
    };
    (method.len() <= 256 && is_name(service) && is_name(name)).then_some(method)
}

#[cfg(test)]
mod tests {
    use super::{capped, method_of_path};

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(capped("aä", 2), "a");
        assert_eq!(capped("aä", 3), "aä");
        assert_eq!(capped("ä", 0), "");
    }

    #[test]
    fn only_a_grpc_path_names_a_method() {
        assert_eq!(method_of_path("/pkg.Service/Do_It"), Some("pkg.Service/Do_It"));
        for path in ["", "/", "/a", "/a/", "//b", "/a/b/c", "/a b/c", "/ä/b", "a/b", &format!("/a/{}", "b".repeat(300))]
        {
            assert_eq!(method_of_path(path), None, "{path}");
        }
    }
}
