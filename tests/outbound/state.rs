use std::{
    future::IntoFuture,
    time::{Duration, SystemTime},
};

use dapr::dapr::proto::{
    common::v1::{
        Etag, StateItem, StateOptions,
        state_options::{StateConcurrency, StateConsistency},
    },
    runtime::v1::{
        BulkStateItem, DeleteBulkStateRequest, DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest,
        GetBulkStateResponse, GetStateRequest, GetStateResponse, QueryStateItem, QueryStateRequest, QueryStateResponse,
        SaveStateRequest,
    },
};
use serde_json::json;
use tonic::Code;

use crate::{
    dapr_server::{Answer, DaprServer},
    map,
};

fn found(json: &str, etag: &str) -> Answer {
    let (data, etag) = (json.as_bytes().to_vec(), etag.to_owned());
    Answer::message(&GetStateResponse { data, etag, metadata: map([("ttlExpireTime", "1970-01-01T00:01:00Z")]) })
}

const fn first_write() -> StateOptions {
    StateOptions { concurrency: StateConcurrency::ConcurrencyFirstWrite as i32, consistency: 0 }
}

#[tokio::test]
async fn get_says_how_consistent_and_gives_value_etag_and_expiry() {
    let server = DaprServer::default();
    server.answer("GetState", found("12", "v1"));
    let entry = server.dapr().state("shelf").get::<u32>("tea").strong().metadata("partitionKey", "p").await.unwrap();

    let entry = entry.unwrap();
    assert_eq!((entry.value, entry.etag.as_str(), entry.key()), (12, "v1", "tea"));
    assert_eq!(entry.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)));
    let request: GetStateRequest = server.one("GetState");
    assert_eq!((request.store_name.as_str(), request.key.as_str()), ("shelf", "tea"));
    assert_eq!(request.consistency(), StateConsistency::ConsistencyStrong);
    assert_eq!(request.metadata, map([("partitionKey", "p")]));
}

#[tokio::test]
async fn a_key_that_is_not_there_is_none_and_an_empty_value_is_one() {
    let server = DaprServer::default();
    assert_eq!(server.dapr().state("shelf").get_bytes("tea").await.unwrap(), None);
    server.answer("GetState", found("", "v1"));
    assert_eq!(server.dapr().state("shelf").get_bytes("tea").await.unwrap().unwrap().value, "");
}

#[tokio::test]
async fn save_carries_its_conditions_and_its_time_to_live() {
    let server = DaprServer::default();
    let shelf = server.dapr().state("shelf");
    shelf.save("tea", &12).ttl(Duration::from_millis(1_001)).strong().await.unwrap();
    shelf.save_bytes("tea", &b"\xff"[..]).first_write().await.unwrap();
    shelf.save("tea", &12).if_match("v1").metadata("a", "b").await.unwrap();

    let [plain, first, conditional] = &server.all::<SaveStateRequest>("SaveState")[..] else { panic!() };
    let item = StateItem { key: "tea".into(), value: b"12".into(), ..StateItem::default() };
    let strong = StateOptions { consistency: StateConsistency::ConsistencyStrong.into(), concurrency: 0 };
    let metadata = map([("ttlInSeconds", "2")]);
    assert_eq!(plain.states, [StateItem { options: Some(strong), metadata, ..item.clone() }]);
    assert_eq!(first.states, [StateItem { value: vec![255], options: Some(first_write()), ..item.clone() }]);
    let etag = Some(Etag { value: "v1".into() });
    assert_eq!(conditional.states, [StateItem { etag, metadata: map([("a", "b")]), ..item }]);
}

#[tokio::test]
async fn an_entry_is_written_and_deleted_with_its_etag() {
    let server = DaprServer::default();
    server.answer("GetState", found("12", "v1")).answer("GetState", found("11", "v2"));
    let shelf = server.dapr().state("shelf");
    let mut entry = shelf.get::<u32>("tea").await.unwrap().unwrap();
    entry.value -= 1;
    entry.save().await.unwrap();
    shelf.get::<u32>("tea").await.unwrap().unwrap().delete().await.unwrap();

    let saved = &server.one::<SaveStateRequest>("SaveState").states[0];
    assert_eq!((saved.key.as_str(), &saved.value[..]), ("tea", &b"11"[..]));
    assert_eq!(saved.etag, Some(Etag { value: "v1".into() }));
    let deleted: DeleteStateRequest = server.one("DeleteState");
    assert_eq!((deleted.etag, deleted.options), (Some(Etag { value: "v2".into() }), None));
}

#[tokio::test]
async fn what_daprd_would_misunderstand_is_not_sent() {
    let server = DaprServer::default();
    server.answer("GetState", found("12", ""));
    let shelf = server.dapr().state("shelf");
    let without_etag = shelf.get::<u32>("tea").await.unwrap().unwrap();
    for (error, reason) in [
        (without_etag.save().await.unwrap_err(), "save state in `shelf`: the etag is empty: the store gives none"),
        (shelf.delete("tea").if_match("").await.unwrap_err(), "the etag is empty"),
        (shelf.save("tea", &1).ttl(Duration::ZERO).await.unwrap_err(), "the time to live is zero"),
        (shelf.get::<u32>("").await.unwrap_err(), "the key is empty"),
        (shelf.save("", &1).await.unwrap_err(), "the key is empty"),
        (server.dapr().state("").get::<u32>("tea").await.unwrap_err(), "get state from ``: the name is empty"),
        (shelf.save_bulk([server.dapr().state("other").save("a", &1)]).await.unwrap_err(), "another store"),
    ] {
        assert!(error.is_invalid() && error.code().is_none(), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(server.rpcs(), ["GetState"]);
}

#[tokio::test]
async fn bulk_entries_come_in_the_order_of_the_keys_each_with_its_own_end() {
    let item = |key: &str, json: &str, error: &str| BulkStateItem {
        key: key.into(),
        data: json.into(),
        etag: if error.is_empty() { "v1".into() } else { String::new() },
        error: error.into(),
        ..BulkStateItem::default()
    };
    let items = vec![item("c", "", "broken"), item("b", "\"no number\"", ""), item("a", "1", "")];
    let server = DaprServer::default();
    server.answer("GetBulkState", Answer::message(&GetBulkStateResponse { items }));
    let shelf = server.dapr().state("shelf");
    let entries = shelf.get_bulk::<u32>(["a", "b", "c", "d", "a"]).parallelism(2).await.unwrap();

    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "a"]);
    assert_eq!(entries[4].result.as_ref().unwrap().as_ref().unwrap().value, 1, "named twice, read twice");
    assert_eq!(entries[0].result.as_ref().unwrap().as_ref().unwrap().value, 1);
    assert!(entries[1].result.as_ref().unwrap_err().is_decode());
    assert_eq!(entries[2].result.as_ref().unwrap_err().message(), "broken");
    assert!(entries[3].result.as_ref().unwrap().is_none());
    let request: GetBulkStateRequest = server.one("GetBulkState");
    assert_eq!((request.keys, request.parallelism), (["a", "b", "c", "d", "a"].map(str::to_owned).to_vec(), 2));
}

#[tokio::test]
async fn bulk_writes_are_one_call() {
    let server = DaprServer::default();
    let shelf = server.dapr().state("shelf");
    shelf.save_bulk([shelf.save("a", &1), shelf.save("b", &2).if_match("v1")]).await.unwrap();
    shelf.delete_bulk([shelf.delete("a"), shelf.delete("b").if_match("v1")]).await.unwrap();

    let saved: SaveStateRequest = server.one("SaveState");
    assert_eq!(saved.states.iter().map(|item| &item.value[..]).collect::<Vec<_>>(), [b"1", b"2"]);
    let deleted: DeleteBulkStateRequest = server.one("DeleteBulkState");
    assert_eq!(deleted.states[0], StateItem { key: "a".into(), ..StateItem::default() });
    assert_eq!(deleted.states[1].etag, Some(Etag { value: "v1".into() }));
}

#[tokio::test]
async fn a_transaction_keeps_the_order_of_its_writes() {
    let server = DaprServer::default();
    let shelf = server.dapr().state("shelf");
    let transaction = shelf.transaction().with(shelf.save("a", &1)).with(shelf.delete("b").if_match("v1"));
    transaction.metadata("partitionKey", "p").await.unwrap();

    let request: ExecuteStateTransactionRequest = server.one("ExecuteStateTransaction");
    assert_eq!((request.store_name.as_str(), request.metadata), ("shelf", map([("partitionKey", "p")])));
    let operations: Vec<_> = request.operations.iter().map(|operation| operation.operation_type.as_str()).collect();
    assert_eq!(operations, ["upsert", "delete"]);
    assert_eq!(request.operations[1].request.as_ref().unwrap().etag, Some(Etag { value: "v1".into() }));
}

#[tokio::test]
async fn a_query_gives_its_values_and_the_next_page() {
    let result = QueryStateItem { key: "a".into(), data: b"1".into(), etag: "v1".into(), error: String::new() };
    let answer = QueryStateResponse { results: vec![result], token: "next".into(), ..QueryStateResponse::default() };
    let server = DaprServer::default();
    server.answer("QueryStateAlpha1", Answer::message(&answer));
    let query = json!({"filter": {"EQ": {"state": "CA"}}});
    let page = server.dapr().state("shelf").query::<u32>(&query).await.unwrap();

    assert_eq!((page.entries[0].key.as_str(), page.token.as_deref()), ("a", Some("next")));
    assert_eq!(server.one::<QueryStateRequest>("QueryStateAlpha1").query, query.to_string());
}

#[tokio::test(start_paused = true)]
async fn an_update_reads_again_after_a_conflict() {
    let server = DaprServer::default();
    server.answer("SaveState", Answer::error(Code::Aborted, "possible etag mismatch"));
    server.answer("GetState", Answer::message(&GetStateResponse::default())).answer("GetState", found("5", "v2"));
    let mut seen = Vec::new();
    let update = |old: Option<u32>| {
        seen.push(old);
        old.unwrap_or(0) + 1
    };
    assert_eq!(server.dapr().state("shelf").update("tea", update).await.unwrap(), 6);
    assert_eq!(seen, [None, Some(5)]);
    let saves: Vec<SaveStateRequest> = server.all("SaveState");
    assert_eq!((&saves[0].states[0].etag, saves[0].states[0].options), (&None, Some(first_write())));
    assert_eq!(saves[1].states[0].etag, Some(Etag { value: "v2".into() }));
}

#[tokio::test(start_paused = true)]
async fn an_update_that_lost_the_race_for_the_first_write_in_redis_reads_again() {
    let message = "failed to set key shop||tea: ERR user_script:14: failed to set key shop||tea script: d908b";
    let server = DaprServer::default();
    server.answer("GetState", Answer::message(&GetStateResponse::default())).answer("GetState", found("5", "2"));
    server.answer("SaveState", Answer::error(Code::Internal, message));
    server.answer("SaveState", Answer::error(Code::Internal, message));
    let shelf = server.dapr().state("shelf");
    let error = shelf.update("tea", |tea: Option<u32>| tea.unwrap_or(0) + 1).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Internal), "with an etag it is no conflict");
    assert_eq!(server.all::<SaveStateRequest>("SaveState")[1].states[0].value, b"6");
}

#[tokio::test(start_paused = true)]
async fn an_update_gives_up_after_sixteen_conflicts_and_at_once_after_another_failure() {
    let server = DaprServer::default();
    for _ in 0..20 {
        server.answer("SaveState", Answer::error(Code::Aborted, "possible etag mismatch"));
    }
    let shelf = server.dapr().state("shelf");
    assert!(shelf.update("tea", |_: Option<u32>| 1).await.unwrap_err().is_etag_mismatch());
    assert_eq!(server.seen("SaveState").len(), 16);

    let server = DaprServer::default();
    server.answer("SaveState", Answer::error(Code::Unavailable, "gone"));
    assert!(server.dapr().state("shelf").update("tea", |_: Option<u32>| 1).await.unwrap_err().is_unavailable());
    assert_eq!(server.seen("SaveState").len(), 1);
}

#[test]
fn requests_and_streams_may_move_between_threads() {
    fn assert_send(_: impl Send) {}
    let dapr = DaprServer::default().dapr();
    assert_send(dapr.state("shelf").update("tea", |tea: Option<u32>| tea.unwrap_or(0)));
    assert_send(dapr.state("shelf").get::<u32>("tea").into_future());
    assert_send(dapr.configuration("settings").subscribe(["limit"]));
    assert_send(dapr.crypto("vault").decrypt().bytes("x"));
    assert_send(dapr.wait_until_ready(Duration::from_secs(1)));
}
