//! `/v1.0/actors` (`dapr/dapr:pkg/api/http/actors.go`).

use std::collections::HashMap;

use dapr::dapr::proto::runtime::v1::{
    GetActorReminderRequest, UnregisterActorReminderRequest, UnregisterActorTimerRequest,
};
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tonic::{Response, Status};

use super::error::Refusal;
use super::{Answer, Call, empty, json, no_route, respond};
use crate::sidecar::actors::{Invocation, Key, Schedule, invoke};
use crate::sidecar::grpc::actors::{self, Operation};
use crate::sidecar::grpc::reminders;
use crate::sidecar::trace::{TRACEPARENT, TRACESTATE};
use crate::sidecar::{headers, method, trace};

/// What stands behind `/v1.0/actors/<type>/<id>`.
pub(super) async fn route(call: &Call, kind: &str, id: &str, rest: &[&str]) -> Answer {
    let actor = Key::new(kind, id);
    let (get, delete) = (call.method == Method::GET, call.method == Method::DELETE);
    let writes = call.method == Method::POST || call.method == Method::PUT;
    match rest {
        ["method", method] if get || delete || writes => invocation(call, actor, method).await,
        ["state"] if writes => transaction(call, &actor).await,
        ["state", key] if get => state(call, &actor, key).await,
        ["reminders", name] if writes => register_reminder(call, actor, name).await,
        ["reminders", name] if get => reminder(call, actor, name).await,
        ["reminders", name] if delete => unregister_reminder(call, actor, name).await,
        ["timers", name] if writes => register_timer(call, actor, name).await,
        ["timers", name] if delete => unregister_timer(call, actor, name).await,
        _ => Err(no_route()),
    }
}

async fn invocation(call: &Call, key: Key, method: &str) -> Answer {
    call.app.host.registered().await;
    let bad_request =
        |reason: &str| Refusal::new(StatusCode::BAD_REQUEST, "ERR_BAD_REQUEST", &format!("invalid request: {reason}"));
    key.check().map_err(|reason| bad_request(&reason))?;
    let method = method::normalize(method).map_err(|reason| bad_request(&reason))?;
    let mut passed: HeaderMap = headers::of_http_invocation(&call.headers);
    passed.insert(TRACEPARENT, trace::header(call.caller.trace));
    if let (Some(_), Some(state)) = (call.caller.trace, &call.caller.trace_state) {
        passed.insert(TRACESTATE, headers::value(state));
    }
    let invocation = Invocation { key, method, query: call.query.clone(), headers: passed, body: call.body.clone() };
    let answer = invoke(&call.app, invocation).await;
    let answer = answer.map_err(|failure| refused(call, &actors::of_failure_over_http(&failure)))?;
    let mut response = respond(StatusCode::OK, None, answer.body);
    *response.headers_mut() = answer.headers;
    Ok(response)
}

// ===== state =====

async fn state(call: &Call, actor: &Key, key: &str) -> Answer {
    let entry = actors::read(&call.app, actor, key).await.map_err(|status| refused(call, &status))?;
    let Some(entry) = entry.filter(|entry| !entry.value.is_empty()) else { return Ok(empty()) };
    let mut response = respond(StatusCode::OK, Some("application/json"), entry.value.into());
    if let Some(at) = &entry.expires_at {
        headers::append(response.headers_mut(), "metadata.ttlexpiretime", headers::value(at));
    }
    Ok(response)
}

#[derive(Deserialize)]
struct Transactional {
    #[serde(default)]
    operation: String,
    #[serde(default)]
    request: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

async fn transaction(call: &Call, actor: &Key) -> Answer {
    actors::check_type(&actor.kind).map_err(|status| refused(call, &status))?;
    let operations: Vec<Transactional> = call.parsed()?;
    // An actor that is not active is told before what is wrong with a single operation.
    let checked = actors::write(&call.app, actor, Vec::new()).await;
    checked.map_err(|status| refused(call, &status))?;
    let operations = operations.into_iter().map(Transactional::read).collect::<Result<_, _>>();
    let operations = operations.map_err(|reason| refused(call, &actors::not_saved(&reason)))?;
    let written = actors::write(&call.app, actor, operations).await;
    written.map(|()| empty()).map_err(|status| refused(call, &status))
}

impl Transactional {
    fn read(self) -> Result<Operation, String> {
        let request = self.request.filter(|request| request.get() != "null").ok_or("request data is empty")?;
        if self.operation.is_empty() {
            return Err("operation is empty".to_owned());
        }
        let item: Item = serde_json::from_str(request.get()).map_err(|error| error.to_string())?;
        let value = match self.operation.as_str() {
            "upsert" => Some(item.value.map_or_else(|| b"null".to_vec(), |value| value.get().into())),
            "delete" => None,
            unknown => return Err(format!("operation type {unknown} not supported")),
        };
        Ok(Operation { key: item.key, etag: item.etag, metadata: item.metadata.unwrap_or_default(), value })
    }
}

// ===== timers and reminders =====

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    due_time: Option<String>,
    period: Option<String>,
    ttl: Option<String>,
    callback: Option<String>,
    data: Option<Box<RawValue>>,
    /// Of reminders only.
    overwrite: Option<bool>,
}

impl From<Body> for Schedule {
    fn from(body: Body) -> Self {
        Self {
            due_time: body.due_time.unwrap_or_default(),
            period: body.period.unwrap_or_default(),
            ttl: body.ttl.unwrap_or_default(),
            callback: body.callback.unwrap_or_default(),
            data: body.data,
        }
    }
}

async fn register_timer(call: &Call, actor: Key, name: &str) -> Answer {
    let body: Body = call.parsed()?;
    let started = reminders::start_timer(&call.app, actor, name.to_owned(), &body.into()).await;
    started.map(|()| empty()).map_err(|status| refused(call, &status))
}

async fn unregister_timer(call: &Call, actor: Key, name: &str) -> Answer {
    let request = UnregisterActorTimerRequest { actor_type: actor.kind, actor_id: actor.id, name: name.to_owned() };
    done(call, reminders::unregister_timer(&call.app, call.request(request)).await)
}

async fn register_reminder(call: &Call, actor: Key, name: &str) -> Answer {
    let body: Body = call.parsed()?;
    let policy = (None, body.overwrite.unwrap_or(true));
    let started = reminders::start_reminder(&call.app, (actor, name.to_owned()), body.into(), policy).await;
    started.map(|()| empty()).map_err(|status| refused(call, &status))
}

async fn reminder(call: &Call, actor: Key, name: &str) -> Answer {
    let request = GetActorReminderRequest { actor_type: actor.kind, actor_id: actor.id, name: name.to_owned() };
    let found = call.done(reminders::get_reminder(&call.app, call.request(request)).await)?;
    let mut body = Map::new();
    body.insert("actorID".to_owned(), found.actor_id.into());
    body.insert("actorType".to_owned(), found.actor_type.into());
    let data = found.data.and_then(|data| data.to_msg::<Vec<u8>>().ok());
    body.extend(data.and_then(|data| Some(("data".to_owned(), serde_json::from_slice(&data).ok()?))));
    for (name, text) in [("dueTime", found.due_time), ("period", found.period), ("ttl", found.ttl)] {
        body.extend(text.map(|text| (name.to_owned(), Value::from(text))));
    }
    Ok(json(&body))
}

async fn unregister_reminder(call: &Call, actor: Key, name: &str) -> Answer {
    let request = UnregisterActorReminderRequest { actor_type: actor.kind, actor_id: actor.id, name: name.to_owned() };
    done(call, reminders::unregister_reminder(&call.app, call.request(request)).await)
}

fn done(call: &Call, result: Result<Response<()>, Status>) -> Answer {
    call.done(result).map(|()| empty())
}

fn refused(call: &Call, status: &Status) -> Refusal {
    Refusal::of_status(&call.app, status)
}
