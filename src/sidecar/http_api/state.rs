//! `/v1.0/state`.

use std::collections::HashMap;

use bytes::Bytes;
use dapr::dapr::proto::common::v1::state_options::{StateConcurrency, StateConsistency};
use dapr::dapr::proto::common::v1::{Etag, StateItem, StateOptions};
use dapr::dapr::proto::runtime::v1::{
    DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest, GetStateRequest, QueryStateRequest,
    SaveStateRequest, TransactionalStateOperation,
};
use http::StatusCode;
use http::header::{ETAG, IF_MATCH};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::Refusal;
use super::{Answer, Call, empty, go_json, json, respond};
use crate::sidecar::grpc::state;
use crate::sidecar::headers;

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
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    concurrency: String,
    consistency: String,
}

#[derive(Deserialize)]
struct BulkGet {
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    parallelism: i32,
}

#[derive(Serialize)]
struct BulkItem {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    metadata: HashMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    operations: Vec<Operation>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    operation: String,
    request: Item,
}

pub(super) async fn get(call: &Call, store: &str, key: &str) -> Answer {
    let request = GetStateRequest {
        store_name: store.to_owned(),
        key: key.to_owned(),
        metadata: call.metadata(),
        ..GetStateRequest::default()
    };
    let state = state::get(&call.app, call.request(request)).await;
    let state = state.map_err(|status| Refusal::of_status(&call.app, &status))?.into_inner();
    if state.etag.is_empty() {
        return Ok(empty());
    }
    let mut response = respond(StatusCode::OK, Some("application/json"), state.data.into());
    response.headers_mut().insert(ETAG, headers::value(&state.etag));
    for (key, value) in &state.metadata {
        headers::append(response.headers_mut(), &format!("metadata.{key}"), headers::value(value));
    }
    Ok(response)
}

pub(super) async fn get_bulk(call: &Call, store: &str) -> Answer {
    let BulkGet { keys, parallelism } =
        go_json::from_slice(&call.body).map_err(|error| deserializing(&Refusal::of_json(&error)))?;
    let request = GetBulkStateRequest { store_name: store.to_owned(), keys, parallelism, metadata: call.metadata() };
    let states = state::get_bulk(&call.app, call.request(request)).await;
    let states = states.map_err(|status| Refusal::of_status(&call.app, &status))?.into_inner();
    let items = states.items.into_iter().map(|item| BulkItem {
        key: item.key,
        data: (!item.etag.is_empty()).then(|| raw(&item.data)),
        etag: Some(item.etag).filter(|etag| !etag.is_empty()),
        metadata: item.metadata,
        error: item.error,
    });
    Ok(json(&items.collect::<Vec<_>>()))
}

pub(super) async fn save(call: &Call, store: &str) -> Answer {
    check_store(call, store).await?;
    let items: Vec<Item> = go_json::from_slice(&call.body).map_err(|error| Refusal::of_json(&error))?;
    if items.iter().any(|item| item.key.is_empty()) {
        return Err(Refusal::malformed("\"key\" is a required field"));
    }
    let states = items.into_iter().map(|item| item.into_proto(&call.metadata())).collect();
    let request = SaveStateRequest { store_name: store.to_owned(), states };
    let saved = state::save(&call.app, call.request(request)).await;
    saved.map(|_| empty()).map_err(|status| Refusal::of_status(&call.app, &status))
}

pub(super) async fn delete(call: &Call, store: &str, key: &str) -> Answer {
    let etag = call.headers.get(IF_MATCH).and_then(|etag| etag.to_str().ok());
    let one = |name| call.query(name).into_iter().next().unwrap_or_default();
    let options = Options { concurrency: one("concurrency"), consistency: one("consistency") };
    let request = DeleteStateRequest {
        store_name: store.to_owned(),
        key: key.to_owned(),
        etag: etag.map(|etag| Etag { value: etag.to_owned() }),
        options: Some(options.into_proto()),
        metadata: call.metadata(),
    };
    let deleted = state::delete(&call.app, call.request(request)).await;
    deleted.map(|_| empty()).map_err(|status| Refusal::of_status(&call.app, &status))
}

pub(super) async fn transaction(call: &Call, store: &str) -> Answer {
    check_store(call, store).await?;
    let transaction: Transaction =
        go_json::from_slice(&call.body).map_err(|error| deserializing(&Refusal::of_json(&error)))?;
    let of_query = call.metadata();
    let operations = transaction.operations.into_iter().map(|operation| TransactionalStateOperation {
        operation_type: operation.operation,
        request: Some(operation.request.into_proto(&of_query)),
    });
    let operations = operations.collect();
    let mut metadata = transaction.metadata.unwrap_or_default();
    metadata.extend(of_query);
    let request = ExecuteStateTransactionRequest { store_name: store.to_owned(), operations, metadata };
    let done = state::transaction(&call.app, call.request(request)).await;
    done.map(|_| empty()).map_err(|status| Refusal::of_status(&call.app, &status))
}

pub(super) async fn query(call: &Call, store: &str) -> Answer {
    let query = String::from_utf8_lossy(&call.body).into_owned();
    let request = QueryStateRequest { store_name: store.to_owned(), query, metadata: call.metadata() };
    let found = state::query(&call.app, call.request(request)).await;
    found.map(|_| empty()).map_err(|status| Refusal::of_status(&call.app, &status))
}

/// The store is looked for before the body is read.
async fn check_store(call: &Call, store: &str) -> Result<(), Refusal> {
    let request = GetBulkStateRequest { store_name: store.to_owned(), ..GetBulkStateRequest::default() };
    let found = state::get_bulk(&call.app, call.request(request)).await;
    found.map(drop).map_err(|status| Refusal::of_status(&call.app, &status))
}

pub(super) fn deserializing(refusal: &Refusal) -> Refusal {
    Refusal::malformed(&format!("failed deserializing HTTP body: {}", refusal.message()))
}

/// What is no JSON is shown as a string.
fn raw(data: &[u8]) -> Box<RawValue> {
    let text = || serde_json::value::to_raw_value(&String::from_utf8_lossy(data)).expect("a string is JSON");
    serde_json::from_slice(data).unwrap_or_else(|_| text())
}

// ===== impl Item =====

impl Item {
    /// The value is stored as the JSON that it is.
    fn into_proto(self, metadata: &HashMap<String, String>) -> StateItem {
        let mut own = self.metadata.unwrap_or_default();
        own.extend(metadata.clone());
        let value = self.value.map(|value| Bytes::copy_from_slice(value.get().as_bytes())).unwrap_or_default();
        StateItem {
            key: self.key,
            value: if value.is_empty() { b"null".to_vec() } else { value.into() },
            etag: self.etag.map(|value| Etag { value }),
            metadata: own,
            options: self.options.map(Options::into_proto),
        }
    }
}

// ===== impl Options =====

impl Options {
    fn into_proto(self) -> StateOptions {
        let concurrency = match self.concurrency.as_str() {
            "first-write" => StateConcurrency::ConcurrencyFirstWrite,
            "last-write" => StateConcurrency::ConcurrencyLastWrite,
            _ => StateConcurrency::ConcurrencyUnspecified,
        };
        let consistency = match self.consistency.as_str() {
            "eventual" => StateConsistency::ConsistencyEventual,
            "strong" => StateConsistency::ConsistencyStrong,
            _ => StateConsistency::ConsistencyUnspecified,
        };
        StateOptions { concurrency: concurrency.into(), consistency: consistency.into() }
    }
}
