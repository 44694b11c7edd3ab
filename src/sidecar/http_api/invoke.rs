//! `/v1.0/invoke`, and any path with the header `dapr-app-id` (`dapr/dapr:pkg/api/http/directmessaging.go`).

use dapr::dapr::proto::common::v1::http_extension::Verb;
use dapr::dapr::proto::common::v1::{HttpExtension, InvokeRequest};
use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use prost_types::Any;
use serde_json::json;
use tonic::body::Body;

use super::error::{Refusal, of_code};
use super::{Answer, Call, respond};
use crate::sidecar::app::App;
use crate::sidecar::app_channel::AppChannel;
use crate::sidecar::spans::OpenSpan;
use crate::sidecar::trace::{TRACEPARENT, TRACESTATE};
use crate::sidecar::{headers, invocation, method, trace};

pub(super) async fn invoke(call: &Call, id: &str, path: &[&str]) -> Answer {
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

/// The whole path is the method.
pub(super) async fn invoke_by_header(call: &Call) -> Answer {
    let id = call.headers.get("dapr-app-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    invoke(call, &id, &path).await
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
            let answer = answer.into_inner();
            let body = answer.data.map(|data| data.value).unwrap_or_default();
            let mut response: Response<Body> = respond(StatusCode::OK, None, body.into());
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
