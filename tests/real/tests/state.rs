//! State in Redis, and where that differs from the state in memory.

use dapr::dapr::proto::{
    common::v1::{Etag, StateItem, StateOptions, state_options::StateConcurrency},
    runtime::v1::SaveStateRequest,
};
use tonic::Code;

use crate::real::{Daprd, Stack};

super::tests![a_stale_etag_is_a_mismatch, writers_at_the_same_time_lose_nothing, redis_differs_from_memory_as_listed];

async fn a_stale_etag_is_a_mismatch() {
    let stack = Stack::builder().without_jaeger().start().await;
    let daprd = stack.daprd("app").start().await;
    let dapr = daprd.dapr();
    let store = dapr.state("statestore");
    store.save("key", &1_u32).await.unwrap();
    let read = store.get::<u32>("key").await.unwrap().unwrap();
    store.save("key", &2_u32).if_match(&read.etag).await.unwrap();
    let error = store.save("key", &3_u32).if_match(&read.etag).await.unwrap_err();
    assert!(error.is_etag_mismatch(), "{error}");
    let error = store.delete("key").if_match(&read.etag).await.unwrap_err();
    assert!(error.is_etag_mismatch(), "{error}");
    assert_eq!(store.get::<u32>("key").await.unwrap().unwrap().value, 2);
    store.delete("key").await.unwrap();
    assert_eq!(store.get::<u32>("key").await.unwrap(), None);
}

async fn writers_at_the_same_time_lose_nothing() {
    const WRITERS: u32 = 8;
    const WRITES: u32 = 8;
    let stack = Stack::builder().without_jaeger().start().await;
    let daprd = stack.daprd("app").start().await;
    let store = daprd.dapr().state("statestore");
    store.save("sum", &0_u32).await.unwrap();
    let write = || async {
        for _ in 0..WRITES {
            loop {
                let read = store.get::<u32>("sum").await.unwrap().unwrap();
                match store.save("sum", &(read.value + 1)).if_match(read.etag).await {
                    Err(error) if error.is_etag_mismatch() => {}
                    result => break result.unwrap(),
                }
            }
        }
    };
    futures_util::future::join_all((0..WRITERS).map(|_| write())).await;
    assert_eq!(store.get::<u32>("sum").await.unwrap().unwrap().value, WRITERS * WRITES);
}

/// How a key was written before, how it is written now, and what that is answered with: by Redis, and in memory (daprd's
/// own, and the embedded sidecar's).
const DIFFERENCES: [Row; 8] = [
    (Some(Write::Plain), Write::Plain, None, None),
    (Some(Write::Plain), Write::Etag("7000"), Some(Code::Aborted), Some(Code::Aborted)),
    // Redis' etags are numbers.
    (Some(Write::Plain), Write::Etag("x"), Some(Code::InvalidArgument), Some(Code::Aborted)),
    // An etag of what does not exist: Redis writes.
    (None, Write::Etag("7"), None, Some(Code::Aborted)),
    (None, Write::First, None, None),
    // Redis takes a first write for one only if the write before was one as well; and then it is no mismatch.
    (Some(Write::Plain), Write::First, None, Some(Code::Aborted)),
    (Some(Write::First), Write::First, Some(Code::Internal), Some(Code::Aborted)),
    // In Redis, a key that was once written as a first write can never again be written without its etag.
    (Some(Write::First), Write::Plain, Some(Code::Internal), None),
];

type Row = (Option<Write>, Write, Option<Code>, Option<Code>);

#[derive(Debug, Clone, Copy)]
enum Write {
    Plain,
    /// Only over the item with this etag.
    Etag(&'static str),
    /// `CONCURRENCY_FIRST_WRITE`, without an etag.
    First,
}

async fn redis_differs_from_memory_as_listed() {
    const MEMORY: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: memory
spec:
  type: state.in-memory
  version: v1
";
    let stack = Stack::builder().without_jaeger().resource("memory.yaml", MEMORY).start().await;
    let daprd = stack.daprd("app").start().await;
    for (row, (before, write, redis, memory)) in DIFFERENCES.into_iter().enumerate() {
        for (store, expected) in [("statestore", redis), ("memory", memory)] {
            let key = format!("key-{row}");
            if let Some(before) = before {
                assert_eq!(answer(&daprd, store, &key, before).await, None);
            }
            let answer = answer(&daprd, store, &key, write).await;
            assert_eq!(answer, expected, "{store}: {before:?}, then {write:?}");
        }
    }
}

async fn answer(daprd: &Daprd, store: &str, key: &str, write: Write) -> Option<Code> {
    let mut item = StateItem { key: key.into(), value: b"1".to_vec(), ..Default::default() };
    match write {
        Write::Plain => {}
        Write::Etag(value) => item.etag = Some(Etag { value: value.into() }),
        Write::First => {
            let concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
            item.options = Some(StateOptions { concurrency, consistency: 0 });
        }
    }
    let request = SaveStateRequest { store_name: store.into(), states: vec![item] };
    daprd.client().save_state(request).await.err().map(|status| status.code())
}
