//! The output binding rpc (`dapr/dapr:pkg/api/grpc/grpc.go`).

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::{InvokeBindingRequest, InvokeBindingResponse};
use http::HeaderMap;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Request, Response, Status};

use super::status::Rich;
use super::wire::Caller;
use crate::sidecar::app::App;
use crate::sidecar::bindings::{Binding, Operation};
use crate::sidecar::{headers, trace};

pub(in crate::sidecar) async fn invoke(
    app: &Arc<App>,
    request: Request<InvokeBindingRequest>,
) -> Result<Response<InvokeBindingResponse>, Status> {
    let (metadata, extensions, request) = request.into_parts();
    let InvokeBindingRequest { name, data, metadata: mut own, operation } = request;
    let context = extensions.get::<Caller>().and_then(|caller| caller.trace);
    own.entry(trace::TRACEPARENT.to_owned()).or_insert_with(|| trace::text(context));
    add_callers(&mut own, &metadata);
    if operation.is_empty() {
        return Err(refused(&name, "operation field is missing from request"));
    }
    let output = app.hub.bindings.get(&name).filter(|binding| !matches!(binding, Binding::Cron(_)));
    let Some(binding) = output else {
        return Err(refused(&name, &format!("couldn't find output binding {name}")));
    };
    let outcome = binding.invoke(&name, Operation { kind: operation, data, metadata: own }).await;
    let mut headers = HeaderMap::new();
    for (key, text) in &outcome.metadata {
        headers::append(&mut headers, &format!("metadata.{key}"), headers::value(text));
    }
    let headers = MetadataMap::from_headers(headers);
    if let Some(reason) = outcome.error {
        let mut status = refused(&name, &reason);
        *status.metadata_mut() = headers;
        return Err(status);
    }
    let response = InvokeBindingResponse { data: outcome.data, metadata: outcome.metadata.into_iter().collect() };
    Ok(Response::from_parts(headers, response, tonic::Extensions::new()))
}

fn refused(name: &str, reason: &str) -> Status {
    let message = format!("error invoking output binding {name}: {reason}");
    Rich::new(Code::Internal, message).reason("ERR_INVOKE_OUTPUT_BINDING")
}

/// The caller's metadata, where the request has no such key. The trace context of the caller wins always.
fn add_callers(own: &mut std::collections::HashMap<String, String>, metadata: &MetadataMap) {
    for entry in metadata.iter() {
        let KeyAndValueRef::Ascii(key, value) = entry else { continue };
        let (key, Ok(value)) = (key.as_str(), value.to_str()) else { continue };
        if key == headers::API_TOKEN {
            continue;
        }
        if matches!(key, "traceparent" | "tracestate") {
            own.insert(key.to_owned(), value.to_owned());
        } else {
            own.entry(headers::unreserved(key)).or_insert_with(|| value.to_owned());
        }
    }
}
