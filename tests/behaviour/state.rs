//! State: all verbs, etags, and the store that stands behind.

use std::time::Duration;

use serde_json::json;

use super::{
    differences::{FAILED_TRANSACTION_WRITES, QUERY, TELLS_EXPIRY, WRITTEN, Write},
    world::Backend,
};
use crate::real::eventually;
use tower_dapr::outbound::State;

super::tests![
    values_are_written_read_and_deleted,
    etags_keep_writers_apart,
    a_transaction_is_made_as_a_whole,
    a_value_expires,
    an_app_sees_its_own_keys_alone,
    each_way_to_write_is_answered_as_listed,
];

async fn values_are_written_read_and_deleted(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let store = app.dapr().state("statestore");
    assert_eq!(store.get::<String>("tea").await.unwrap(), None);
    store.save("tea", "mint – 薄荷").await.unwrap();
    let entry = store.get::<String>("tea").await.unwrap().unwrap();
    assert_eq!((entry.value.as_str(), entry.key()), ("mint – 薄荷", "tea"));
    assert!(!entry.etag.is_empty());
    store.save("tea", &json!({ "sort": ["mint"] })).strong().await.unwrap();
    let read = store.get::<serde_json::Value>("tea").eventual().await.unwrap().unwrap();
    assert_eq!(read.value["sort"][0], "mint");
    store.save_bytes("raw", &b"\x00\xff"[..]).await.unwrap();
    assert_eq!(&store.get_bytes("raw").await.unwrap().unwrap().value[..], b"\x00\xff");

    store.save_bulk([store.save("one", &1), store.save("two", &2)]).await.unwrap();
    let read = store.get_bulk::<u32>(["two", "none", "one"]).await.unwrap();
    let read: Vec<_> =
        read.into_iter().map(|entry| (entry.key, entry.result.unwrap().map(|entry| entry.value))).collect();
    assert_eq!(read, [("two".into(), Some(2)), ("none".into(), None), ("one".into(), Some(1))]);
    store.delete_bulk([store.delete("one"), store.delete("two")]).await.unwrap();
    store.delete("tea").await.unwrap();
    store.delete("never there").await.unwrap();
    for key in ["tea", "one", "two"] {
        assert!(store.get_bytes(key).await.unwrap().is_none(), "{key}");
    }

    let error = store.save("a||b", &1).await.unwrap_err();
    assert!(error.message().contains("||"), "{}", error.message());
    let error = app.dapr().state("nope").get::<u32>("tea").await.unwrap_err();
    assert_eq!(error.message(), "state store nope is not found");
    assert_eq!(error.dapr_error_code().as_deref(), Some("DAPR_STATE_NOT_FOUND"));
    let error = store.query::<u32>(&json!({})).await.unwrap_err();
    assert!(error.message().contains(QUERY.on(backend)), "{}", error.message());
}

async fn etags_keep_writers_apart(backend: Backend) {
    const WRITERS: u32 = 8;
    const WRITES: u32 = 8;
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let store = app.dapr().state("statestore");
    store.save("key", &1_u32).await.unwrap();
    let stale = store.get::<u32>("key").await.unwrap().unwrap();
    store.save("key", &2_u32).if_match(&stale.etag).await.unwrap();
    assert!(store.save("key", &3_u32).if_match(&stale.etag).await.unwrap_err().is_etag_mismatch());
    assert!(store.delete("key").if_match(&stale.etag).await.unwrap_err().is_etag_mismatch());
    assert_eq!(store.get::<u32>("key").await.unwrap().unwrap().value, 2);

    store.save("sum", &0_u32).await.unwrap();
    let write = || async {
        for _ in 0..WRITES {
            // It gives up after some rounds of others: then once more.
            while let Err(error) = store.update("sum", |sum: Option<u32>| sum.unwrap() + 1).await {
                assert!(error.is_etag_mismatch(), "{error}");
            }
        }
    };
    futures_util::future::join_all((0..WRITERS).map(|_| write())).await;
    assert_eq!(store.get::<u32>("sum").await.unwrap().unwrap().value, WRITERS * WRITES);
}

async fn a_transaction_is_made_as_a_whole(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let store = app.dapr().state("statestore");
    store.save("old", &1_u32).await.unwrap();
    store.transaction().with(store.save("new", &2_u32)).with(store.delete("old")).await.unwrap();
    assert!(store.get::<u32>("old").await.unwrap().is_none());
    assert_eq!(store.get::<u32>("new").await.unwrap().unwrap().value, 2);
    // Its failures have no code of their own.
    let stale = store.transaction().with(store.save("more", &3_u32)).with(store.save("new", &4_u32).if_match("7000"));
    assert_eq!(stale.await.unwrap_err().code(), Some(tonic::Code::Internal));
    let is_written = store.get::<u32>("more").await.unwrap().is_some();
    assert_eq!(is_written, FAILED_TRANSACTION_WRITES.on(backend));
    assert_eq!(store.get::<u32>("new").await.unwrap().unwrap().value, 2);
}

async fn a_value_expires(backend: Backend) {
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let store = app.dapr().state("statestore");
    store.save("long", &1_u32).ttl(Duration::from_secs(600)).await.unwrap();
    store.save("short", &1_u32).ttl(Duration::from_secs(1)).await.unwrap();
    let gone = async || store.get::<u32>("short").await.unwrap().is_none();
    eventually("expired", gone).await;
    let long = store.get::<u32>("long").await.unwrap().unwrap();
    assert_eq!(long.expires_at().is_some(), TELLS_EXPIRY.on(backend), "{:?}", long.metadata());
    let error = store.save("long", &1_u32).metadata("ttlInSeconds", "soon").await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::Internal), "{}", error.message());
}

async fn an_app_sees_its_own_keys_alone(backend: Backend) {
    let world = backend.start().await;
    let one = world.app("one").start().await;
    let two = world.app("two").start().await;
    one.dapr().state("statestore").save("key", &1_u32).await.unwrap();
    assert!(two.dapr().state("statestore").get::<u32>("key").await.unwrap().is_none());
    assert!(one.dapr().state("statestore").get::<u32>("key").await.unwrap().is_some());
}

async fn each_way_to_write_is_answered_as_listed(backend: Backend) {
    let world = backend.builder().component("memory", "state.in-memory", &[]).start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    for (row, written) in WRITTEN.iter().enumerate() {
        let in_redis = if backend == Backend::Real { written.in_redis } else { written.in_memory };
        for (store, expected) in [("memory", written.in_memory), ("statestore", in_redis)] {
            let key = format!("key-{row}");
            let store = dapr.state(store);
            if let Some(before) = written.before {
                assert_eq!(write(&store, &key, before).await, None);
            }
            let answer = write(&store, &key, written.now).await;
            assert_eq!(answer, expected, "{store:?}: {:?}, then {:?}", written.before, written.now);
        }
    }
}

async fn write(store: &State, key: &str, write: Write) -> Option<tonic::Code> {
    let save = store.save(key, &1);
    let save = match write {
        Write::Plain => save,
        Write::Etag(etag) => save.if_match(etag),
        Write::First => save.first_write(),
    };
    save.await.err().and_then(|error| error.code())
}
