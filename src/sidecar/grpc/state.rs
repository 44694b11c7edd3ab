//! The state rpcs (`dapr/dapr:pkg/api/grpc/grpc.go`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::common::v1::state_options::StateConcurrency;
use dapr::dapr::proto::common::v1::{Etag, StateItem, StateOptions};
use dapr::dapr::proto::runtime::v1::{
    BulkStateItem, DeleteBulkStateRequest, DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest,
    GetBulkStateResponse, GetStateRequest, GetStateResponse, QueryStateRequest, QueryStateResponse, SaveStateRequest,
};
use tonic::{Code, Request, Response, Status};

use super::status::Rich;
use crate::sidecar::app::App;
use crate::sidecar::method::quote;
use crate::sidecar::state_store::{Change, Entry, StateStore, StoreError, Write};

/// Between the app id and the key; so not allowed in a key.
const SEPARATOR: &str = "||";

pub(in crate::sidecar) async fn get(
    app: &Arc<App>,
    request: Request<GetStateRequest>,
) -> Result<Response<GetStateResponse>, Status> {
    let request = request.into_inner();
    let store = store(app, &request.store_name)?;
    let entry = store.get(&full_key(app, &request.store_name, &request.key)?).await.map_err(|error| {
        let message = format!("fail to get {} from state store {}: {error}", request.key, request.store_name);
        Rich::new(Code::Internal, message).reason("ERR_STATE_GET")
    })?;
    let response =
        entry.map(|entry| GetStateResponse { metadata: expiry(&entry), data: entry.value, etag: entry.etag });
    Ok(Response::new(response.unwrap_or_default()))
}

pub(in crate::sidecar) async fn get_bulk(
    app: &Arc<App>,
    request: Request<GetBulkStateRequest>,
) -> Result<Response<GetBulkStateResponse>, Status> {
    let request = request.into_inner();
    let store = store(app, &request.store_name)?;
    let full_keys = request.keys.iter().map(|key| full_key(app, &request.store_name, key));
    let full_keys = full_keys.collect::<Result<Vec<_>, _>>()?;
    let mut items = Vec::with_capacity(full_keys.len());
    for (key, full_key) in request.keys.into_iter().zip(full_keys) {
        let mut item = BulkStateItem { key, ..BulkStateItem::default() };
        match store.get(&full_key).await {
            Ok(None) => {}
            Ok(Some(entry)) => {
                item.metadata = expiry(&entry);
                (item.data, item.etag) = (entry.value, entry.etag);
            }
            Err(error) => item.error = error.to_string(),
        }
        items.push(item);
    }
    Ok(Response::new(GetBulkStateResponse { items }))
}

pub(in crate::sidecar) async fn save(
    app: &Arc<App>,
    request: Request<SaveStateRequest>,
) -> Result<Response<()>, Status> {
    let SaveStateRequest { store_name, states } = request.into_inner();
    let store = store(app, &store_name)?;
    let writes = states.into_iter().map(|item| {
        if item.key.is_empty() {
            let refusal = Rich::new(Code::InvalidArgument, "state key cannot be empty");
            return Err(refusal.reason("ERR_STATE_SAVE"));
        }
        let key = full_key(app, &store_name, &item.key)?;
        let value = if item.metadata.get("contentType").is_some_and(|kind| kind == "application/json") {
            compact_json(&item.value)?
        } else {
            item.value
        };
        Ok((conditions(key, item.etag, item.options), value, ttl(&item.metadata)))
    });
    let writes = writes.collect::<Result<Vec<_>, Status>>()?;
    let writes =
        writes.into_iter().map(|(write, value, ttl)| Ok(Write { change: Change::Set { value, ttl: ttl? }, ..write }));
    apply_each(&store, writes.collect()).await.map_err(|failure| {
        let message = format!("failed saving state in state store {store_name}: {}", failure.message);
        Rich::new(failure.code, message).reason("ERR_STATE_SAVE")
    })
}

pub(in crate::sidecar) async fn delete(
    app: &Arc<App>,
    request: Request<DeleteStateRequest>,
) -> Result<Response<()>, Status> {
    let request = request.into_inner();
    let store = store(app, &request.store_name)?;
    let key = full_key(app, &request.store_name, &request.key)?;
    apply_each(&store, vec![Ok(conditions(key, request.etag, request.options))]).await.map_err(|failure| {
        let message = format!("failed deleting state with key {}: {}", request.key, failure.message);
        Rich::new(failure.code, message).reason("ERR_STATE_DELETE")
    })
}

pub(in crate::sidecar) async fn delete_bulk(
    app: &Arc<App>,
    request: Request<DeleteBulkStateRequest>,
) -> Result<Response<()>, Status> {
    let DeleteBulkStateRequest { store_name, states } = request.into_inner();
    let store = store(app, &store_name)?;
    let writes = states.into_iter().map(|item| {
        let key = full_key(app, &store_name, &item.key)?;
        Ok(conditions(key, item.etag, item.options))
    });
    let writes = writes.collect::<Result<Vec<_>, Status>>()?;
    apply_each(&store, writes.into_iter().map(Ok).collect()).await.map_err(|failure| {
        let message = format!("failed deleting state in state store {store_name}: {}", failure.message);
        Rich::new(failure.code, message).reason("ERR_STATE_BULK_DELETE")
    })
}

pub(in crate::sidecar) async fn transaction(
    app: &Arc<App>,
    request: Request<ExecuteStateTransactionRequest>,
) -> Result<Response<()>, Status> {
    let ExecuteStateTransactionRequest { store_name, operations, .. } = request.into_inner();
    let store = store(app, &store_name)?;
    let writes = operations.into_iter().map(|operation| {
        let item: StateItem = operation.request.unwrap_or_default();
        let key = full_key(app, &store_name, &item.key)?;
        let write = conditions(key, item.etag, item.options);
        match operation.operation_type.as_str() {
            "upsert" => Ok((write, Some((item.value, ttl(&item.metadata))))),
            "delete" => Ok((write, None)),
            unknown => Err(Rich::new(Code::Unimplemented, format!("operation type {unknown} not supported"))
                .reason("ERR_NOT_SUPPORTED_STATE_OPERATION")),
        }
    });
    let writes = writes.collect::<Result<Vec<_>, Status>>()?;
    let writes = writes.into_iter().map(|(write, set)| match set {
        Some((value, ttl)) => Ok(Write { change: Change::Set { value, ttl: ttl? }, ..write }),
        None => Ok(write),
    });
    let done = match writes.collect::<Result<Vec<_>, String>>() {
        Ok(writes) => store.write(writes).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    done.map(Response::new).map_err(|reason| {
        Rich::new(Code::Internal, format!("error while executing state transaction: {reason}"))
            .reason("ERR_STATE_TRANSACTION")
    })
}

/// Neither store can be queried.
pub(in crate::sidecar) async fn query(
    app: &Arc<App>,
    request: Request<QueryStateRequest>,
) -> Result<Response<QueryStateResponse>, Status> {
    let name = request.into_inner().store_name;
    store(app, &name)?;
    Err(Rich::new(Code::Internal, "state store does not support querying")
        .resource("state", &name, "")
        .reason("DAPR_STATE_QUERYING_NOT_SUPPORTED"))
}

fn store(app: &App, name: &str) -> Result<Arc<StateStore>, Status> {
    let stores = &app.hub.state_stores;
    if stores.is_empty() {
        let refusal = Rich::new(Code::FailedPrecondition, format!("state store {name} is not configured"));
        return Err(refusal.reason("DAPR_STATE_NOT_CONFIGURED"));
    }
    stores.get(name).cloned().ok_or_else(|| {
        Rich::new(Code::InvalidArgument, format!("state store {name} is not found")).reason("DAPR_STATE_NOT_FOUND")
    })
}

fn full_key(app: &App, store: &str, key: &str) -> Result<String, Status> {
    if key.contains(SEPARATOR) {
        let message = format!("input key/keyPrefix '{key}' can't contain '{SEPARATOR}'");
        return Err(Rich::new(Code::InvalidArgument, message)
            .violation(key)
            .resource("state", store, "")
            .reason("DAPR_STATE_ILLEGAL_KEY"));
    }
    Ok(format!("{}{SEPARATOR}{key}", app.id))
}

pub(super) fn expiry(entry: &Entry) -> HashMap<String, String> {
    entry.expires_at.iter().map(|at| ("ttlExpireTime".to_owned(), at.clone())).collect()
}

/// A delete under the conditions of a request; the callers turn it into a set.
fn conditions(key: String, etag: Option<Etag>, options: Option<StateOptions>) -> Write {
    Write {
        key,
        etag: etag.map(|etag| etag.value),
        first_write: options.is_some_and(|options| options.concurrency() == StateConcurrency::ConcurrencyFirstWrite),
        change: Change::Delete,
    }
}

/// Zero and less mean "for ever".
pub(super) fn ttl(metadata: &HashMap<String, String>) -> Result<Option<Duration>, String> {
    let Some(text) = metadata.get("ttlInSeconds").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds: i64 = text.parse().map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", quote(text)))?;
    Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs))
}

fn compact_json(value: &[u8]) -> Result<Vec<u8>, Status> {
    let value: serde_json::Value = serde_json::from_slice(value).map_err(|error| Status::unknown(error.to_string()))?;
    serde_json::to_vec(&value).map_err(|error| Status::unknown(error.to_string()))
}

struct Failure {
    code: Code,
    message: String,
}

/// Applies writes one by one; what succeeded stays. An item that could not be read (`Err`) fails alone.
async fn apply_each(store: &StateStore, writes: Vec<Result<Write, String>>) -> Result<Response<()>, Failure> {
    let count = writes.len();
    let (mut mismatches, mut others) = (Vec::new(), Vec::new());
    for write in writes {
        let done = match write {
            Ok(write) => store.write(vec![write]).await,
            Err(reason) => Err(StoreError::Failed(reason)),
        };
        match done {
            Ok(()) => {}
            Err(error @ StoreError::Mismatch(_)) => mismatches.push(error.to_string()),
            Err(StoreError::Failed(reason)) => others.push(reason),
        }
    }
    let only_mismatches = others.is_empty();
    let code = if mismatches.is_empty() { Code::Internal } else { Code::Aborted };
    mismatches.append(&mut others);
    match (mismatches.is_empty(), count) {
        (true, _) => Ok(Response::new(())),
        (false, 1) => Err(Failure { code, message: mismatches.remove(0) }),
        // daprd wraps the joined etag errors in another one.
        (false, _) if only_mismatches => {
            let message = format!("possible etag mismatch. error from state store: {}", mismatches.join("\n"));
            Err(Failure { code, message })
        }
        (false, _) => Err(Failure { code, message: mismatches.join("\n") }),
    }
}
