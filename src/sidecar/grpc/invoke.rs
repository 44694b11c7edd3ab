//! Service invocation (`dapr/dapr:pkg/messaging/direct_messaging.go`, `pkg/channel/http/http_channel.go`).

use std::sync::Arc;

use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::InvokeServiceRequest;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderValue, Method};
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Response, Status};

use super::MAX_MESSAGE;
use super::status::{self, plain};
use super::wire::Caller;
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::TRACEPARENT;
use crate::sidecar::{headers, invocation, method, trace};

pub(in crate::sidecar) async fn invoke(
    app: &Arc<App>,
    request: Request<InvokeServiceRequest>,
) -> Result<Response<InvokeResponse>, Status> {
    let (metadata, extensions, InvokeServiceRequest { id, message }) = request.into_parts();
    let caller = extensions.get::<Caller>().cloned().unwrap_or_default();
    let invocation = Invocation { caller, metadata: metadata.into_headers(), message: message.unwrap_or_default() };
    let failed = |reason: String| {
        plain(Code::Internal, 500, "ERR_DIRECT_INVOKE", format!("failed to invoke, id: {id}, err: {reason}"))
    };
    let callee = invocation::find(app, &id).map_err(failed)?;
    let unreachable = || failed("cannot invoke local endpoint: app channel not initialized".to_owned());
    let channel = callee.channel.clone().ok_or_else(unreachable)?;
    if channel.is_grpc() {
        return invocation.run_grpc(app, &callee, &channel).await;
    }
    invocation.run(app, &callee, &channel).await.map_err(failed)?.into_response()
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
    async fn run(self, app: &App, callee: &App, channel: &AppChannel) -> Result<Answer, String> {
        let path = method::normalize(&self.message.method)
            .map_err(|reason| format!("rpc error: code = InvalidArgument desc = invalid method: {reason}"))?;
        let is_self = callee.id == app.id;

        let remote = |reason: String| match is_self {
            true => reason,
            false => format!("rpc error: code = Internal desc = error invoking app channel: {reason}"),
        };
        let extension = self.message.http_extension.as_ref();
        let verb = verb(extension.map(|extension| extension.verb()))
            .map_err(|reason| remote(format!("rpc error: code = InvalidArgument desc = {reason}")))?;
        let query = extension.map_or("", |extension| &extension.querystring);
        let target = method::target(&path, query).ok_or_else(|| remote("the method is not a path".to_owned()))?;
        let span = self.span_at(app, callee);
        let headers = self.headers(app, callee, span.as_ref());
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

    /// The span of the callee's sidecar; a call to oneself does not leave this one.
    fn span_at(&self, app: &App, callee: &App) -> Option<OpenSpan> {
        if app.id == callee.id {
            return None;
        }
        callee.spans.start_local(&callee.id, &self.message.method, self.caller.trace)
    }

    fn headers(&self, app: &App, callee: &App, span: Option<&OpenSpan>) -> HeaderMap {
        let authority = self.caller.authority.as_deref().filter(|_| !callee.is_grpc());
        let mut headers = headers::of_invocation(&self.metadata, authority);
        if !self.message.content_type.is_empty() && !callee.is_grpc() {
            headers.insert(CONTENT_TYPE, headers::value(&self.message.content_type));
        }
        invocation::introduce(&mut headers, &app.id, &callee.id);
        let trace = span.map_or(self.caller.trace, OpenSpan::context);
        headers.insert(TRACEPARENT, trace::header(trace));
        headers
    }

    /// What a gRPC app says, also its errors, is handed over as it is.
    async fn run_grpc(self, app: &App, callee: &App, channel: &AppChannel) -> Result<Response<InvokeResponse>, Status> {
        let span = self.span_at(app, callee);
        let mut headers = self.headers(app, callee, span.as_ref());
        let trace = trace::header(self.caller.trace);
        let below = span.as_ref().map_or(self.caller.trace, OpenSpan::context);
        headers.insert(trace::GRPC_TRACE_BIN, trace::binary_header(below));
        let mut done = channel.callback().on_invoke(channel.call(self.message, headers)).await;
        let is_error = done.is_err();
        let metadata = match &mut done {
            Ok(response) => response.metadata_mut(),
            Err(status) => status.metadata_mut(),
        };
        metadata.as_mut().remove(CONTENT_TYPE);
        metadata.as_mut().remove(DATE);
        if is_error {
            // Not to be set twice: a call has one answer.
            let _ = self.caller.trailers.set(std::mem::take(metadata).into_headers());
        }
        metadata.as_mut().insert(TRACEPARENT, trace);
        done
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
