use std::sync::Arc;

use opentelemetry::KeyValue;

use super::instruments::Instruments;
use crate::{
    classify::{Protocol, Side, code_name},
    observe::{Call, End, Recording},
    semconv::{self, ServerAddress, method_of_path, name_key},
};

/// What is measured of one exchange.
#[derive(Debug)]
pub struct MetricsRecording {
    instruments: Arc<Instruments>,
    protocol: Protocol,
    /// What is known when the call is made.
    attributes: Vec<KeyValue>,
    /// A server's path that stands in no table: known to be a method only once the router did not refuse it.
    unproven_method: Option<String>,
}

impl MetricsRecording {
    pub(super) fn new(
        instruments: Arc<Instruments>,
        side: Side,
        call: &Call<'_>,
        server: Option<&ServerAddress>,
    ) -> Self {
        let mut attributes = Vec::with_capacity(10);
        let mut unproven_method = None;
        match call.protocol {
            Protocol::Grpc => {
                attributes.push(KeyValue::new(semconv::RPC_SYSTEM, "grpc"));
                match (call.rpc, side) {
                    (Some(rpc), _) => {
                        attributes.push(KeyValue::new(semconv::RPC_METHOD, rpc.full_method()));
                        attributes.push(KeyValue::new(semconv::DAPR_BLOCK, rpc.block().as_str()));
                        if let (Some(key), Some(name)) = (name_key(rpc), call.names.component) {
                            attributes.push(KeyValue::new(key, name.to_owned()));
                        }
                    }
                    // The methods that a client calls stand in its code.
                    (None, Side::Client) => {
                        if let Some(method) = method_of_path(call.uri().path()) {
                            attributes.push(KeyValue::new(semconv::RPC_METHOD, method.to_owned()));
                        }
                    }
                    (None, Side::Server) => unproven_method = method_of_path(call.uri().path()).map(str::to_owned),
                }
            }
            Protocol::Http => push_http(&mut attributes, side, call),
        }
        if side == Side::Client {
            push_server(&mut attributes, call, server);
        }
        Self { instruments, protocol: call.protocol, attributes, unproven_method }
    }
}

impl Recording for MetricsRecording {
    type Scope = ();

    fn enter(&self) {}

    fn end(mut self, end: &End<'_>) {
        let outcome = end.outcome;
        let attributes = &mut self.attributes;
        match outcome.grpc_code() {
            Some(code) => {
                attributes.push(KeyValue::new(semconv::RPC_STATUS, code_name(code)));
                if let Some(method) = self.unproven_method {
                    // Only a router that knows the method can answer anything else.
                    let method = if code == tonic::Code::Unimplemented { semconv::OTHER.to_owned() } else { method };
                    attributes.push(KeyValue::new(semconv::RPC_METHOD, method));
                }
            }
            None => {
                if let Some(status) = outcome.http_status() {
                    attributes.push(KeyValue::new(semconv::HTTP_STATUS, i64::from(status.as_u16())));
                }
            }
        }
        if let Some(error_type) = outcome.error_type() {
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, error_type));
        }
        self.instruments.duration(self.protocol).record(end.elapsed.as_secs_f64(), attributes);
    }
}

fn push_http(attributes: &mut Vec<KeyValue>, side: Side, call: &Call<'_>) {
    let method = semconv::known_method(call.method()).unwrap_or(semconv::OTHER);
    attributes.push(KeyValue::new(semconv::HTTP_METHOD, method));
    if let Some(version) = semconv::protocol_version(call.version()) {
        attributes.push(KeyValue::new(semconv::PROTOCOL_VERSION, version));
    }
    if side == Side::Server {
        let scheme = if call.uri().scheme_str() == Some("https") { "https" } else { "http" };
        attributes.push(KeyValue::new(semconv::URL_SCHEME, scheme));
        if let Some(route) = call.route() {
            attributes.push(KeyValue::new(semconv::HTTP_ROUTE, route.to_owned()));
        }
    }
}

fn push_server(attributes: &mut Vec<KeyValue>, call: &Call<'_>, server: Option<&ServerAddress>) {
    let (address, port) = match server {
        Some(server) => (Some(server.address.clone()), server.port),
        None => (call.uri().host().map(Arc::from), call.uri().port_u16()),
    };
    if let Some(address) = address {
        attributes.push(KeyValue::new(semconv::SERVER_ADDRESS, address));
    }
    if let Some(port) = port {
        attributes.push(KeyValue::new(semconv::SERVER_PORT, i64::from(port)));
    }
}
