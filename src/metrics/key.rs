use http::Version;
use opentelemetry::KeyValue;

use super::shared::Shared;
use crate::{
    classify::{Protocol, Side},
    intern::Name,
    observe::Call,
    rpc::{Names, Rpc, Safety},
    semconv::{self, method_of_path, name_key},
};

/// What a call is measured by as far as it is known when it is made: numbers only, so that it is found without a look
/// at any text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) rpc: Option<&'static Rpc>,
    pub(super) parts: Parts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) protocol: Protocol,
    /// HTTP: a number in [`semconv::METHODS`].
    pub(super) http_method: u8,
    /// HTTP: of a client's request until the answer tells; `None` if there was none.
    pub(super) version: Option<Version>,
    pub(super) https: bool,
    /// gRPC: a method that is not one of Dapr's.
    pub(super) method: Option<Name>,
    pub(super) route: Option<Name>,
    /// The component, app id or actor type.
    pub(super) name: Option<Name>,
    /// The component and topic of a publish.
    pub(super) published: Option<Name>,
    /// The host and port of a client's request, if none is configured.
    pub(super) server: Option<Name>,
    /// An HTTP client asks the sidecar how it is.
    pub(super) healthz: bool,
}

// ===== impl Key =====

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let row = |key: &Self| key.rpc.map_or(std::ptr::null(), std::ptr::from_ref);
        std::ptr::eq(row(self), row(other)) && self.parts == other.parts
    }
}

impl Key {
    pub(super) fn of(shared: &Shared, call: &Call<'_>) -> Self {
        let is_client = shared.side() == Side::Client;
        let mut key = Self {
            rpc: call.rpc,
            parts: Parts {
                protocol: call.protocol,
                http_method: 0,
                version: None,
                https: false,
                method: None,
                route: None,
                name: None,
                published: None,
                server: None,
                healthz: false,
            },
        };
        match (call.protocol, call.rpc) {
            (Protocol::Grpc, Some(_)) => key.set_names(shared, &call.names),
            (Protocol::Grpc, None) => {
                let method = method_of_path(call.uri().path());
                key.parts.method = match shared.side() {
                    Side::Client => method.map(|method| shared.methods.number(method, "")),
                    // Whether it is one is known only once the router did not refuse it.
                    Side::Server => method.and_then(|method| shared.methods.known(method, "")),
                };
            }
            (Protocol::Http, _) => key.set_http(shared, call),
        }
        if is_client && !shared.has_server() {
            key.parts.server = call.uri().host().map(|host| {
                let port = call.uri().port();
                let port = port.as_ref().map(|port| port.as_str()).or(semconv::default_port(call.uri()));
                shared.servers.number(host, port.unwrap_or_default())
            });
        }
        key
    }

    fn set_http(&mut self, shared: &Shared, call: &Call<'_>) {
        self.parts.http_method = u8::try_from(semconv::method_number(call.method())).unwrap_or_default();
        self.parts.version = Some(call.version());
        match shared.side() {
            Side::Server => {
                self.parts.https = call.uri().scheme_str() == Some("https");
                self.parts.route = call.route().map(|route| shared.routes.number(route, ""));
            }
            Side::Client => {
                self.parts.healthz = matches!(call.uri().path(), "/v1.0/healthz" | "/v1.0/healthz/outbound");
            }
        }
    }

    /// What the first message of a call to Dapr says.
    pub(super) fn set_names(&mut self, shared: &Shared, names: &Names<'_>) {
        self.parts.name = names.component.map(|name| shared.names.number(name, ""));
        if let (Some(component), Some(topic), true) = (names.component, names.destination, self.is_publish()) {
            self.parts.published = Some(shared.published.number(component, topic));
        }
    }

    /// Its number among those that are counted as active.
    pub(super) fn active(&self) -> u8 {
        self.parts.http_method * 2 + u8::from(self.parts.https)
    }

    pub(super) fn is_publish(&self) -> bool {
        self.rpc.is_some_and(|rpc| rpc.safety() == Safety::Publish)
    }

    /// Where to look for it first.
    pub(super) fn hash(&self) -> usize {
        let Parts { method, route, name, published, server, .. } = self.parts;
        let mut hash = self.rpc.map_or(0, |rpc| std::ptr::from_ref(rpc).addr()) as u64;
        for name in [method, route, name, published, server] {
            hash = hash.rotate_left(13) ^ u64::from(name.map_or(u16::MAX - 1, Name::number));
        }
        hash ^= u64::from(self.parts.http_method) << 40;
        (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }

    /// The attributes that are known when the call is made.
    pub(super) fn attributes(&self, shared: &Shared) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(10);
        match self.parts.protocol {
            Protocol::Grpc => self.push_grpc(shared, &mut attributes),
            Protocol::Http => self.push_http(shared, &mut attributes),
        }
        if shared.side() == Side::Client {
            self.push_server(shared, &mut attributes);
        }
        attributes.extend(shared.settings.attributes.iter().cloned());
        attributes
    }

    fn push_grpc(&self, shared: &Shared, attributes: &mut Vec<KeyValue>) {
        attributes.push(KeyValue::new(semconv::RPC_SYSTEM, "grpc"));
        match (self.rpc, self.parts.method) {
            (Some(rpc), _) => {
                attributes.push(KeyValue::new(semconv::RPC_METHOD, rpc.full_method()));
                attributes.push(KeyValue::new(semconv::DAPR_BLOCK, rpc.block().as_str()));
                attributes.extend(self.name(shared));
            }
            (None, Some(method)) => {
                let method = shared.methods.text(method).map_or(semconv::OTHER, |(method, _)| method);
                attributes.push(KeyValue::new(semconv::RPC_METHOD, method.to_owned()));
            }
            (None, None) => {}
        }
    }

    fn push_http(&self, shared: &Shared, attributes: &mut Vec<KeyValue>) {
        let method = semconv::METHODS.get(usize::from(self.parts.http_method)).copied().unwrap_or(semconv::OTHER);
        attributes.push(KeyValue::new(semconv::HTTP_METHOD, method));
        if let Some(version) = self.parts.version.and_then(semconv::protocol_version) {
            attributes.push(KeyValue::new(semconv::PROTOCOL_VERSION, version));
        }
        if shared.side() == Side::Server {
            attributes.push(KeyValue::new(semconv::URL_SCHEME, scheme(self.parts.https)));
        }
        if let Some(route) = self.parts.route {
            let route = shared.routes.text(route).map_or(semconv::OTHER, |(route, _)| route);
            attributes.push(KeyValue::new(semconv::HTTP_ROUTE, route.to_owned()));
        }
    }

    fn push_server(&self, shared: &Shared, attributes: &mut Vec<KeyValue>) {
        let (address, port) = match &shared.settings.server {
            Some(server) => (Some(server.address.clone()), server.port),
            None => {
                let server = self.parts.server.map(|name| shared.servers.text(name).unwrap_or((semconv::OTHER, "")));
                (server.map(|(host, _)| host.into()), server.and_then(|(_, port)| port.parse().ok()))
            }
        };
        attributes.extend(address.map(|address| KeyValue::new(semconv::SERVER_ADDRESS, address)));
        attributes.extend(port.map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port))));
    }

    /// The component, app id or actor type as an attribute.
    pub(super) fn name(&self, shared: &Shared) -> Option<KeyValue> {
        let (key, name) = (name_key(self.rpc?)?, self.parts.name?);
        let name = shared.names.text(name).map_or(semconv::OTHER, |(name, _)| name);
        Some(KeyValue::new(key, name.to_owned()))
    }
}

pub(super) fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}
