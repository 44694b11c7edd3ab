//! Service invocation (`dapr/dapr:pkg/messaging/direct_messaging.go`, `pkg/channel/http/http_channel.go`).

use std::sync::Arc;

use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::InvokeServiceRequest;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use super::wire::Caller;
use super::{MAX_MESSAGE, status};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::trace::TRACEPARENT;
use crate::sidecar::{headers, method, trace};

const NAMESPACE: &str = "default";

pub(super) async fn invoke(
    app: &Arc<App>,
    request: Request<InvokeServiceRequest>,
) -> Result<Response<InvokeResponse>, Status> {
    let (metadata, extensions, InvokeServiceRequest { id, message }) = request.into_parts();
    let caller = extensions.get::<Caller>().cloned().unwrap_or_default();
    let invocation = Invocation { caller, metadata: metadata.into_headers(), message: message.unwrap_or_default() };
    match invocation.run(app, &id).await {
        Ok(answer) => answer.into_response(),
        Err(reason) => Err(Status::internal(format!("failed to invoke, id: {id}, err: {reason}"))),
    }
}

struct Invocation {
    caller: Caller,
    metadata: HeaderMap,
    message: InvokeRequest,
}

/// What the app said.
struct Answer {
    status: u16,
    headers: HeaderMap,
    content_type: String,
    body: Vec<u8>,
}

// ===== impl Invocation =====

impl Invocation {
    /// # Errors
    /// What daprd writes behind `err:`. None of these failures has a code of its own on the wire.
    async fn run(self, app: &Arc<App>, id: &str) -> Result<Answer, String> {
        let path = method::normalize(&self.message.method)
            .map_err(|reason| format!("rpc error: code = InvalidArgument desc = invalid method: {reason}"))?;
        let callee = find(app, id)?;
        let is_self = callee.id == app.id;
        let unreachable = "cannot invoke local endpoint: app channel not initialized";
        let channel = callee.channel.clone().ok_or(unreachable)?;

        let remote = |reason: String| match is_self {
            true => reason,
            false => format!("rpc error: code = Internal desc = error invoking app channel: {reason}"),
        };
        let extension = self.message.http_extension.as_ref();
        let verb = verb(extension.map(|extension| extension.verb()))
            .map_err(|reason| remote(format!("rpc error: code = InvalidArgument desc = {reason}")))?;
        let query = extension.map_or("", |extension| &extension.querystring);
        let target = method::target(&path, query).ok_or_else(|| remote("the method is not a path".to_owned()))?;
        let headers = self.headers((!is_self).then_some((app.id.as_str(), callee.id.as_str())));
        let body = self.message.data.map(|data| data.value).unwrap_or_default();

        let response = channel.send(verb, target, headers, body.into()).await;
        let (parts, body) = response.map_err(|error| remote(error.to_string()))?.into_parts();
        let body = AppChannel::read(body, MAX_MESSAGE).await.map_err(|error| remote(error.to_string()))?;
        let mut metadata = headers::of_app_response(&parts.headers);
        let own = parts.headers.get(TRACEPARENT).cloned();
        let trace = own.unwrap_or_else(|| trace::header(self.caller.trace));
        metadata.insert(TRACEPARENT, trace);
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: metadata,
            content_type: content_type.to_owned(),
            body: body.into(),
        })
    }

    /// A call to another app tells who calls; a call to oneself does not (1.18).
    fn headers(&self, remote: Option<(&str, &str)>) -> HeaderMap {
        let mut headers = headers::of_invocation(&self.metadata, self.caller.authority.as_deref());
        if !self.message.content_type.is_empty() {
            headers.insert(CONTENT_TYPE, headers::value(&self.message.content_type));
        }
        if let Some((caller, callee)) = remote {
            headers.insert("dapr-caller-app-id", headers::value(caller));
            headers.insert("dapr-callee-app-id", headers::value(callee));
            headers.insert("dapr-caller-namespace", HeaderValue::from_static(NAMESPACE));
            headers.append("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
            headers.append("x-forwarded-host", HeaderValue::from_static("localhost"));
            let forwarded = "for=127.0.0.1;by=127.0.0.1;host=localhost";
            headers.append("forwarded", HeaderValue::from_static(forwarded));
        }
        headers.insert(TRACEPARENT, trace::header(self.caller.trace));
        headers
    }
}

// ===== impl Answer =====

impl Answer {
    /// The body of an error is dropped, but for the start that stands in the details.
    fn into_response(mut self) -> Result<Response<InvokeResponse>, Status> {
        self.headers.insert("dapr-http-status", HeaderValue::from(self.status));
        let metadata = MetadataMap::from_headers(self.headers);
        if let Some(mut status) = status::of_http(self.status, &self.body) {
            *status.metadata_mut() = metadata;
            return Err(status);
        }
        let mut response = InvokeResponse { content_type: self.content_type, ..InvokeResponse::default() };
        response.data.get_or_insert_default().value = self.body;
        Ok(Response::from_parts(metadata, response, Extensions::new()))
    }
}

/// App ids are names of this hub, with or without the namespace. Nothing else is ever dialled.
fn find(app: &App, id: &str) -> Result<Arc<App>, String> {
    let mut parts = id.split('.');
    let (name, namespace, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if id.is_empty() {
        return Err("app id is empty".to_owned());
    }
    if more.is_some() {
        return Err(format!("invalid app id {id}"));
    }
    let found = app.hub.find(name).filter(|_| namespace.is_none_or(|namespace| namespace == NAMESPACE));
    found.ok_or_else(|| "no host found with the given ID".to_owned())
}

fn verb(verb: Option<Verb>) -> Result<Method, &'static str> {
    match verb {
        None => Err("missing HTTP extension field"),
        Some(Verb::None | Verb::Connect) => Err("invalid HTTP verb"),
        Some(Verb::Get) => Ok(Method::GET),
        Some(Verb::Head) => Ok(Method::HEAD),
        Some(Verb::Post) => Ok(Method::POST),
        Some(Verb::Put) => Ok(Method::PUT),
        Some(Verb::Delete) => Ok(Method::DELETE),
        Some(Verb::Options) => Ok(Method::OPTIONS),
        Some(Verb::Trace) => Ok(Method::TRACE),
        Some(Verb::Patch) => Ok(Method::PATCH),
    }
}
