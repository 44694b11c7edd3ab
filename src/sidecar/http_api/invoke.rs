//! `/v1.0/invoke`, and any path with the header `dapr-app-id` (`dapr/dapr:pkg/api/http/directmessaging.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use prost_types::Any;
use serde_json::json;
use tonic::body::Body;

use super::error::{Refusal, of_code};
use super::{Answer, Call, no_route, respond};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::{TRACEPARENT, TRACESTATE};
use crate::sidecar::{headers, invocation, method, trace};

const APP_ID: &str = "dapr-app-id";

/// What is no route of the API.
pub(super) async fn route(call: &Call, path: &[&str]) -> Answer {
    match (by_header(&call.headers), path) {
        (Some(id), method) => invoke(call, &id, method).await,
        (None, ["v1.0", "invoke", id, "method", method @ ..]) => invoke(call, id, method).await,
        (None, _) => Err(no_route()),
    }
}

async fn invoke(call: &Call, id: &str, path: &[&str]) -> Answer {
    let failed = |reason: &str| {
        let message = format!("failed to invoke, id: {id}, err: {reason}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR_DIRECT_INVOKE", &message)
    };
    let callee = invocation::find(&call.app, id).map_err(|reason| failed(&reason))?;
    let channel = callee.channel.clone();
    let channel = channel.ok_or_else(|| failed("cannot invoke local endpoint: app channel not initialized"))?;
    let path = method::normalize(&path.join("/")).map_err(|reason| failed(&format!("invalid method: {reason}")))?;
    let mut passed = headers::of_http_invocation(&call.headers);
    invocation::introduce(&mut passed, &call.app.id, &callee.id);
    let span =
        if callee.id == call.app.id { None } else { callee.spans.start_local(&callee.id, &path, call.caller.trace) };
    passed.insert(TRACEPARENT, trace::header(span.as_ref().map_or(call.caller.trace, OpenSpan::context)));
    if let (Some(_), Some(state)) = (call.caller.trace, &call.caller.trace_state) {
        passed.insert(TRACESTATE, headers::value(state));
    }
    if channel.is_grpc() {
        return invoke_grpc(call, &channel, path, passed).await;
    }
    let target = method::target(&path, &call.query).ok_or_else(|| failed("the method is not a path"))?;
    let response = channel.send(call.method.clone(), target, passed, call.body.clone()).await;
    let mut response = response.map_err(|error| failed(&remote(call, &callee, &error.to_string())))?;
    headers::remove_hop_by_hop(response.headers_mut());
    Ok(response.map(|body| Body::new(body.map_err(|error| tonic::Status::unavailable(error.to_string())))))
}

/// The app that a header names, with the whole path as the method, before one that the path names.
fn by_header(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(id) = text(APP_ID).filter(|id| !id.is_empty()) {
        return Some(id.to_owned());
    }
    let pair = STANDARD.decode(text(AUTHORIZATION.as_str())?.strip_prefix("Basic ")?).ok()?;
    let (user, id) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    (user.eq_ignore_ascii_case(APP_ID) && !id.is_empty() && !id.contains(':')).then(|| id.to_owned())
}

async fn invoke_grpc(call: &Call, channel: &AppChannel, method: String, mut headers: HeaderMap) -> Answer {
    let verb = Verb::from_str_name(call.method.as_str()).unwrap_or(Verb::Post);
    headers.remove(CONTENT_TYPE);
    let headers = headers::permanent_prefixed(&headers);
    let message = InvokeRequest {
        method,
        data: Some(Any { type_url: String::new(), value: call.body.to_vec() }),
        content_type: call.content_type(),
        http_extension: Some(HttpExtension { verb: verb.into(), querystring: call.query.clone() }),
    };
    match channel.callback().on_invoke(channel.call(message, headers)).await {
        Ok(answer) => {
            let metadata = headers::of_grpc_answer(answer.metadata().as_ref());
            let answer = answer.into_inner();
            let body = answer.data.map(|data| data.value).unwrap_or_default();
            let mut response: Response<Body> = respond(StatusCode::OK, None, body.into());
            response.headers_mut().extend(metadata);
            if !answer.content_type.is_empty() {
                response.headers_mut().insert(CONTENT_TYPE, headers::value(&answer.content_type));
            }
            Ok(response)
        }
        Err(status) => {
            let code = StatusCode::from_u16(of_code(status.code())).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = json!({"code": i32::from(status.code()), "message": status.message(), "details": []});
            Ok(respond(code, Some("application/json"), body.to_string().into()))
        }
    }
}

fn remote(call: &Call, callee: &App, reason: &str) -> String {
    match call.app.id == callee.id {
        true => reason.to_owned(),
        false => format!("rpc error: code = Internal desc = error invoking app channel: {reason}"),
    }
}
