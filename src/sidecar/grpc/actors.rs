//! Calls and state of actors (`dapr/dapr:pkg/api/grpc/grpc.go`, `pkg/actors/state`).

use std::collections::HashMap;
use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::{
    ExecuteActorStateTransactionRequest, GetActorStateRequest, GetActorStateResponse, InvokeActorRequest,
    InvokeActorResponse,
};
use tonic::{Code, Request, Response, Status};

use super::state;
use super::status::{Rich, plain};
use super::wire::Caller;
use crate::sidecar::actors::{self, Failure, FailureKind, Invocation, Key};
use crate::sidecar::app::App;
use crate::sidecar::state_store::{Change, Entry, StateStore, Write};
use crate::sidecar::trace::TRACEPARENT;
use crate::sidecar::{headers, method, trace};

pub(in crate::sidecar) async fn invoke(
    app: &Arc<App>,
    request: Request<InvokeActorRequest>,
) -> Result<Response<InvokeActorResponse>, Status> {
    let (_, extensions, InvokeActorRequest { actor_type, actor_id, method, data, metadata }) = request.into_parts();
    let caller = extensions.get::<Caller>().cloned().unwrap_or_default();
    app.host.registered().await;
    let key = Key::new(actor_type, actor_id);
    key.check().map_err(Status::invalid_argument)?;
    let method = method::normalize(&method)
        .map_err(|reason| Status::invalid_argument(format!("invalid actor method: {reason}")))?;
    let mut passed = headers::of_actor_call(&metadata).map_err(|reason| invocation_failed(&reason))?;
    passed.insert(TRACEPARENT, trace::header(caller.trace));
    let invocation = Invocation { key, method, query: String::new(), headers: passed, body: data.into() };
    let answer = actors::invoke(app, invocation).await.map_err(|failure| of_failure(&failure))?;
    Ok(Response::new(InvokeActorResponse { data: answer.body.into() }))
}

/// The code of a failure at another sidecar gets here, unlike over HTTP.
fn of_failure(failure: &Failure) -> Status {
    match &failure.kind {
        FailureKind::NoHost(_) => Status::failed_precondition(failure.to_string()),
        FailureKind::TooDeep => {
            plain(Code::ResourceExhausted, 500, "ERR_ACTOR_STACK_DEPTH", "maximum stack depth exceeded")
        }
        FailureKind::Limit(reason) => plain(Code::ResourceExhausted, 429, "ERR_ACTOR_LIMIT", reason),
        FailureKind::Actor(reason) => invocation_failed(reason),
    }
}

/// As the HTTP API tells it, which wraps what another sidecar said.
pub(in crate::sidecar) fn of_failure_over_http(failure: &Failure) -> Status {
    match &failure.kind {
        FailureKind::NoHost(_) => invocation_failed(&failure.to_string()),
        FailureKind::Actor(reason) if failure.is_remote => {
            invocation_failed(&format!("rpc error: code = Internal desc = error invoke actor method: {reason}"))
        }
        _ => of_failure(failure),
    }
}

pub(in crate::sidecar) fn invocation_failed(reason: &str) -> Status {
    plain(Code::Internal, 500, "ERR_ACTOR_INVOKE_METHOD", format!("error invoke actor method: {reason}"))
}

/// # Errors
/// When the type is one of daprd's own.
pub(in crate::sidecar) fn check_type(kind: &str) -> Result<(), Status> {
    if !actors::is_reserved(kind) {
        return Ok(());
    }
    let message = format!(
        "actor type {} is reserved for the Dapr workflow runtime; direct actor API access is not permitted",
        method::quote(kind)
    );
    Err(plain(Code::PermissionDenied, 403, "ERR_ACTOR_TYPE_RESERVED", message))
}

// ===== state =====

/// One write of an actor's state.
pub(in crate::sidecar) struct Operation {
    pub(in crate::sidecar) key: String,
    pub(in crate::sidecar) etag: Option<String>,
    pub(in crate::sidecar) metadata: HashMap<String, String>,
    /// `None` deletes.
    pub(in crate::sidecar) value: Option<Vec<u8>>,
}

pub(in crate::sidecar) async fn get_state(
    app: &Arc<App>,
    request: Request<GetActorStateRequest>,
) -> Result<Response<GetActorStateResponse>, Status> {
    let GetActorStateRequest { actor_type, actor_id, key } = request.into_inner();
    let entry = read(app, &Key::new(actor_type, actor_id), &key).await?;
    let response = entry.map(|entry| GetActorStateResponse { metadata: state::expiry(&entry), data: entry.value });
    Ok(Response::new(response.unwrap_or_default()))
}

pub(in crate::sidecar) async fn transaction(
    app: &Arc<App>,
    request: Request<ExecuteActorStateTransactionRequest>,
) -> Result<Response<()>, Status> {
    let ExecuteActorStateTransactionRequest { actor_type, actor_id, operations } = request.into_inner();
    check_type(&actor_type)?;
    let operations = operations.into_iter().map(|operation| {
        let value = match operation.operation_type.as_str() {
            "upsert" => Some(operation.value.map(|value| value.value).unwrap_or_default()),
            "delete" => None,
            unknown => {
                return Err(Rich::new(Code::Unimplemented, format!("operation type {unknown} not supported"))
                    .reason("ERR_NOT_SUPPORTED_STATE_OPERATION"));
            }
        };
        Ok(Operation { key: operation.key, etag: None, metadata: operation.metadata, value })
    });
    let operations = operations.collect::<Result<Vec<_>, _>>()?;
    write(app, &Key::new(actor_type, actor_id), operations).await?;
    Ok(Response::new(()))
}

pub(in crate::sidecar) async fn read(app: &Arc<App>, actor: &Key, key: &str) -> Result<Option<Entry>, Status> {
    check_type(&actor.kind)?;
    app.host.registered().await;
    store(app)?.get(&full_key(app, actor, key)).await.map_err(|error| {
        plain(Code::Internal, 500, "ERR_ACTOR_STATE_GET", format!("error getting actor state: {error}"))
    })
}

/// All of them or none, of an actor that is active here.
pub(in crate::sidecar) async fn write(app: &Arc<App>, actor: &Key, operations: Vec<Operation>) -> Result<(), Status> {
    app.host.registered().await;
    let store = store(app)?;
    if !app.host.is_active(actor) {
        return Err(plain(Code::Internal, 400, "ERR_ACTOR_INSTANCE_MISSING", "actor instance is missing"));
    }
    let writes = operations.into_iter().map(|operation| to_write(app, actor, operation));
    let writes = writes.collect::<Result<_, _>>().map_err(|reason| not_saved(&reason))?;
    store.write(writes).await.map_err(|error| not_saved(&error.to_string()))
}

pub(in crate::sidecar) fn not_saved(reason: &str) -> Status {
    let message = format!("error saving actor transaction state: {reason}");
    plain(Code::Internal, 500, "ERR_ACTOR_STATE_TRANSACTION_SAVE", message)
}

fn to_write(app: &App, actor: &Key, operation: Operation) -> Result<Write, String> {
    let Operation { key, etag, metadata, value } = operation;
    if key.is_empty() {
        return Err("missing key".to_owned());
    }
    let change = match value {
        Some(value) => Change::Set { value, ttl: state::ttl(&metadata)? },
        None => Change::Delete,
    };
    Ok(Write { key: full_key(app, actor, &key), etag, first_write: false, change })
}

fn store(app: &App) -> Result<Arc<StateStore>, Status> {
    let name = app.hub.actor_state_store.as_ref();
    name.and_then(|name| app.hub.state_stores.get(name)).cloned().ok_or_else(|| {
        let message = "the state store is not configured to use the actor runtime. Have you set the - name: actorStateStore \
                       value: \"true\" in your state store component file?";
        plain(Code::Internal, 500, "ERR_ACTOR_RUNTIME_NOT_FOUND", message)
    })
}

fn full_key(app: &App, actor: &Key, key: &str) -> String {
    format!("{}||{actor}||{key}", app.id)
}
