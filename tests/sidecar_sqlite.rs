//! State in a file: what is left after a restart or a killed process, two hubs on one file, and files that cannot be used.
//! That it answers as the store in memory is tested in `sidecar.rs`.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dapr::dapr::proto::common::v1::{Etag, StateItem, StateOptions};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{
    ExecuteStateTransactionRequest, GetBulkStateRequest, GetMetadataRequest, GetStateRequest, GetStateResponse,
    SaveStateRequest, TransactionalStateOperation,
};
use rusqlite::{Connection, TransactionBehavior};
use tonic::Code;
use tonic::transport::Channel;
use tower_dapr::sidecar::{Hub, Sidecar};

// ===== a restart =====

#[tokio::test]
async fn state_is_there_after_a_restart_with_its_etag() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let values = [&b"text"[..], b"", b"a\0b", b"\xff\xfe", "\u{e9}".as_bytes(), br#"{"a":1}"#];
    let mut etags = Vec::new();
    {
        let (hub, _sidecar, mut dapr) = start(&path).await;
        for (key, value) in values.iter().enumerate() {
            dapr.save_state(save(item(&key.to_string(), value))).await.unwrap();
            etags.push(read(&mut dapr, &key.to_string()).await.etag);
        }
        hub.shutdown().await;
    }
    let (_hub, _sidecar, mut dapr) = start(&path).await;
    for (key, (value, etag)) in values.iter().zip(etags).enumerate() {
        let state = read(&mut dapr, &key.to_string()).await;
        assert_eq!((state.data.as_slice(), &state.etag), (*value, &etag));
        let next = StateItem { etag: Some(Etag { value: etag.clone() }), ..item(&key.to_string(), b"next") };
        dapr.save_state(save(next.clone())).await.unwrap();
        assert_eq!(dapr.save_state(save(next)).await.unwrap_err().code(), Code::Aborted, "each write has a fresh etag");
    }
    let metadata = dapr.get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(metadata.registered_components[0].r#type, "state.sqlite");
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_nobody_runs_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let expires_at;
    {
        let (hub, _sidecar, mut dapr) = start(&path).await;
        let ttl = |seconds: &str| HashMap::from([("ttlInSeconds".to_owned(), seconds.to_owned())]);
        for (key, seconds) in [("soon", "10"), ("later", "100000"), ("never", "99999999999999")] {
            dapr.save_state(save(StateItem { metadata: ttl(seconds), ..item(key, b"1") })).await.unwrap();
        }
        expires_at = read(&mut dapr, "later").await.metadata["ttlExpireTime"].clone();
        assert_eq!(read(&mut dapr, "never").await.metadata["ttlExpireTime"], "9999-12-31T23:59:59Z");
        hub.shutdown().await;
    }
    // What was written an hour ago.
    let file = Connection::open(&path).unwrap();
    let age = "UPDATE state SET expiration_time = datetime(expiration_time, '-1 hours') WHERE key = 'app||soon'";
    assert_eq!(file.execute(age, []).unwrap(), 1);

    let (_hub, _sidecar, mut dapr) = start(&path).await;
    assert_eq!(read(&mut dapr, "soon").await, GetStateResponse::default());
    assert_eq!(read(&mut dapr, "later").await.metadata["ttlExpireTime"], expires_at);
    // A write also removes what expired, once a second.
    tokio::time::advance(Duration::from_secs(2)).await;
    dapr.save_state(save(item("other", b"1"))).await.unwrap();
    let rows = "SELECT group_concat(key, ' ') FROM (SELECT key FROM state ORDER BY key)";
    let rows: String = file.query_row(rows, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, "app||later app||never app||other");
}

/// This test is also the process that is killed.
#[test]
fn a_killed_process_leaves_transactions_whole() {
    const KEYS: usize = 50;
    const CHILD: &str = "TOWER_DAPR_TEST_STATE_FILE";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let keys = || (0..KEYS).map(|key| key.to_string());
    if let Some(path) = std::env::var_os(CHILD) {
        return runtime.block_on(async {
            let (_hub, _sidecar, mut dapr) = start(Path::new(&path)).await;
            for round in 0_u64.. {
                // Behind the line there is a transaction under way, always.
                println!("round {round}");
                let value = format!("{round:0>4000}");
                let operations = keys().map(|key| operation(item(&key, value.as_bytes())));
                dapr.execute_state_transaction(transaction(operations)).await.unwrap();
            }
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut rounds = Vec::new();
    for life in 1..=8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_leaves_transactions_whole", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let begun = lines.by_ref().map(Result::unwrap).filter(|line| line.contains("round ")).take(life * 2).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(begun, life * 2, "the child wrote until it was killed");

        runtime.block_on(async {
            let (hub, _sidecar, mut dapr) = start(&path).await;
            let keys = keys().collect();
            let all = GetBulkStateRequest { store_name: "statestore".into(), keys, ..Default::default() };
            let all = dapr.get_bulk_state(all).await.unwrap().into_inner().items;
            assert_eq!(all.len(), KEYS);
            assert!(all.iter().all(|one| one.data == all[0].data), "all of a transaction, or nothing of it");
            let round: u64 = String::from_utf8(all[0].data.clone()).unwrap().parse().unwrap();
            // The last line was printed when the round before it had been answered.
            assert!(round + 2 >= begun as u64, "round {round} after {begun} were begun");
            rounds.push(round);
            hub.shutdown().await;
        });
    }
    assert_eq!(rounds.len(), 8);
}

// ===== sharing =====

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hubs_on_one_file_lose_no_update() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let hubs = [start(&path).await, start(&path).await];
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let mut dapr = hubs[writer % 2].2.clone();
        writers.spawn(async move {
            for _ in 0..8 {
                loop {
                    let now = read(&mut dapr, "count").await;
                    let count: u32 = String::from_utf8(now.data).unwrap().parse().unwrap_or_default();
                    let next = StateItem {
                        etag: Some(Etag { value: now.etag }),
                        options: Some(StateOptions { concurrency: 1, consistency: 0 }),
                        ..item("count", (count + 1).to_string().as_bytes())
                    };
                    match dapr.save_state(save(next)).await {
                        Ok(_) => break,
                        Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
                    }
                }
            }
        });
    }
    writers.join_all().await;
    for (_, _, mut dapr) in hubs {
        assert_eq!(read(&mut dapr, "count").await.data, b"64");
    }
}

#[tokio::test]
async fn a_locked_file_fails_the_call_and_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let resources = component(&path, "- {name: busyTimeout, value: 10ms}");
    let hub = Hub::builder().resources(resources.path(), true).unwrap().build();
    let (_sidecar, mut dapr) = connect(&hub).await;
    dapr.save_state(save(item("k", b"1"))).await.unwrap();

    let mut other = Connection::open(&path).unwrap();
    let held = other.transaction_with_behavior(TransactionBehavior::Exclusive).unwrap();
    let refused = dapr.save_state(save(item("k", b"2"))).await.unwrap_err();
    let reason = format!("{}: database is locked", path.display());
    assert_eq!(refused.code(), Code::Internal);
    assert_eq!(refused.message(), format!("failed saving state in state store statestore: {reason}"));
    let refused = dapr.execute_state_transaction(transaction([operation(item("k", b"2"))])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
    assert_eq!(refused.message(), format!("error while executing state transaction: {reason}"));
    assert_eq!(read(&mut dapr, "k").await.data, b"1", "readers do not wait for writers");

    held.rollback().unwrap();
    dapr.save_state(save(item("k", b"2"))).await.unwrap();
    assert_eq!(read(&mut dapr, "k").await.data, b"2");
}

#[tokio::test]
async fn a_file_that_breaks_fails_reads_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let (_hub, _sidecar, mut dapr) = start(&path).await;
    dapr.save_state(save(item("k", b"1"))).await.unwrap();
    Connection::open(&path).unwrap().execute("DROP TABLE state", []).unwrap();
    let refused = dapr.get_state(get("k")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
    let reason = format!("fail to get k from state store statestore: {}: no such table: state", path.display());
    assert!(refused.message().starts_with(&reason), "{refused:?}");
    let all = GetBulkStateRequest { store_name: "statestore".into(), keys: vec!["k".into()], ..Default::default() };
    let all = dapr.get_bulk_state(all).await.unwrap().into_inner();
    assert!(all.items[0].error.contains("no such table"), "{all:?}");
}

// ===== files and settings that cannot be used =====

#[test]
fn a_file_that_cannot_be_used_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &Path| Hub::builder().state_file("statestore", path).unwrap_err().to_string();
    let error = |path: &Path, reason: &str| format!("component \"statestore\": {}: {reason}", path.display());

    let text = directory.path().join("text");
    fs::write(&text, "this is a letter, and no database; it is longer than the header of one would be. ".repeat(9))
        .unwrap();
    assert_eq!(refused(&text), error(&text, "file is not a database"));
    assert!(fs::read_to_string(&text).unwrap().starts_with("this is a letter"), "and left alone");

    let nowhere = directory.path().join("nowhere").join("state.db");
    assert_eq!(refused(&nowhere), error(&nowhere, "its directory does not exist"));
    assert!(refused(directory.path()).starts_with(&error(directory.path(), "unable to open database file")));

    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().execute("CREATE TABLE state (name TEXT)", []).unwrap();
    assert!(refused(&other).starts_with(&error(&other, "no such column: key")), "{}", refused(&other));

    let locked = directory.path().join("locked.db");
    let mut holder = Connection::open(&locked).unwrap();
    let held = holder.transaction_with_behavior(TransactionBehavior::Exclusive).unwrap();
    assert_eq!(refused(&locked), error(&locked, "database is locked"));
    drop(held);

    // A file whose header asks not to be written: a test may run as root, whom permissions do not stop.
    let read_only = directory.path().join("read-only.db");
    drop(Hub::builder().state_file("statestore", &read_only).unwrap());
    let mut bytes = fs::read(&read_only).unwrap();
    bytes[18] = 3;
    fs::write(&read_only, bytes).unwrap();
    assert_eq!(refused(&read_only), error(&read_only, "it is read-only"));
}

#[test]
fn a_component_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let load = |more: &str, strict: bool| {
        let resources = component(&path, more);
        Hub::builder().resources(resources.path(), strict).map(|_| ()).map_err(|error| error.to_string())
    };
    let all = "- {name: tableName, value: own}
    - {name: disableWAL, value: 'true'}
    - {name: BUSYTIMEOUT, value: 1s}
    - {name: cleanupInterval, value: 1h}
    - {name: metadataTableName, value: own_metadata}
    - {name: timeout, value: 20s}
    - {name: keyPrefix, value: appid}
    - {name: actorStateStore, value: 'true'}";
    load(all, true).unwrap();
    let file = Connection::open(&path).unwrap();
    let table = "SELECT name FROM sqlite_master WHERE type = 'table'";
    assert_eq!(file.query_row(table, [], |row| row.get::<_, String>(0)).unwrap(), "own");
    let mode = file.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(mode, "delete");

    let unknown = "component \"statestore\": metadata \"keyPrefix\" with the value \"none\" is not known here";
    assert_eq!(load("- {name: keyPrefix, value: none}", true).unwrap_err(), unknown);
    load("- {name: keyPrefix, value: none}", false).unwrap();
    for (more, reason) in [
        ("- {name: tableName, value: 'a; DROP TABLE own'}", "is not letters, digits and '_'"),
        ("- {name: tableName, value: ''}", "is not letters, digits and '_'"),
        ("- {name: busyTimeout, value: long}", "busyTimeout \"long\" is not a span of time"),
        ("- {name: connectionString, value: ':memory:'}", "use state.in-memory"),
        ("- {name: connectionString, value: 'file:a.db?mode=ro'}", "has options, which are not read here"),
        ("- {name: connectionString, value: ''}", "missing connection string"),
    ] {
        let error = load(more, false).unwrap_err();
        assert!(error.starts_with("component \"statestore\": ") && error.contains(reason), "{more}: {error}");
    }
    for prefix in ["file:", "file://"] {
        let uri =
            format!("- {{name: connectionString, value: '{prefix}{}'}}", directory.path().join("uri.db").display());
        load(&uri, true).unwrap();
        fs::remove_file(directory.path().join("uri.db")).unwrap();
    }
}

// ===== helpers =====

async fn start(path: &Path) -> (Hub, Sidecar, DaprClient<Channel>) {
    let hub = Hub::builder().state_file("statestore", path).unwrap().build();
    let (sidecar, dapr) = connect(&hub).await;
    (hub, sidecar, dapr)
}

async fn connect(hub: &Hub) -> (Sidecar, DaprClient<Channel>) {
    let sidecar = hub.app("app").start().await.unwrap();
    let dapr = DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap();
    (sidecar, dapr)
}

/// A directory with a component on this file; of two metadata items of one name the later counts.
fn component(path: &Path, more: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "kind: Component
metadata: {{name: statestore}}
spec:
  type: state.sqlite
  version: v1
  metadata:
    - {{name: connectionString, value: '{}'}}
    {more}
",
        path.display()
    );
    fs::write(directory.path().join("state.yaml"), text).unwrap();
    directory
}

async fn read(dapr: &mut DaprClient<Channel>, key: &str) -> GetStateResponse {
    dapr.get_state(get(key)).await.unwrap().into_inner()
}

fn get(key: &str) -> GetStateRequest {
    GetStateRequest { store_name: "statestore".into(), key: key.into(), ..Default::default() }
}

fn save(item: StateItem) -> SaveStateRequest {
    SaveStateRequest { store_name: "statestore".into(), states: vec![item] }
}

fn item(key: &str, value: &[u8]) -> StateItem {
    StateItem { key: key.into(), value: value.into(), ..Default::default() }
}

fn operation(item: StateItem) -> TransactionalStateOperation {
    TransactionalStateOperation { operation_type: "upsert".into(), request: Some(item) }
}

fn transaction(operations: impl IntoIterator<Item = TransactionalStateOperation>) -> ExecuteStateTransactionRequest {
    ExecuteStateTransactionRequest {
        store_name: "statestore".into(),
        operations: operations.into_iter().collect(),
        metadata: HashMap::new(),
    }
}
