//! Locks between the instances of an app.

use std::time::Duration;

use tower_dapr::outbound::Release;

use super::world::Backend;
use crate::real::eventually;

super::tests![a_lock_is_held_by_one_owner_until_its_time_is_up];

async fn a_lock_is_held_by_one_owner_until_its_time_is_up(backend: Backend) {
    const MINUTE: Duration = Duration::from_secs(60);
    let world = backend.start().await;
    let app = world.app("app").start().await;
    let dapr = app.dapr();
    let locks = dapr.lock("lockstore");
    let guard = locks.try_lock("stock", MINUTE).await.unwrap().expect("it is free");
    assert!(locks.try_lock("stock", MINUTE).await.unwrap().is_none());
    assert!(locks.try_lock("other", MINUTE).await.unwrap().is_some());
    assert_eq!(guard.release().await.unwrap(), Release::Released);

    // Dropped, it is released as well, a little later.
    drop(locks.try_lock("stock", MINUTE).await.unwrap().expect("it is free"));
    eventually("released", async || locks.try_lock("stock", MINUTE).await.unwrap().is_some()).await;

    let short = locks.try_lock("short", Duration::from_secs(1)).owner("one").await.unwrap().expect("it is free");
    let mut another = None;
    eventually("its end", async || {
        another = locks.try_lock("short", MINUTE).owner("two").await.unwrap();
        another.is_some()
    })
    .await;
    assert_eq!(short.release().await.unwrap(), Release::HeldByAnother);
    assert_eq!(another.unwrap().release().await.unwrap(), Release::Released);
    let short = locks.try_lock("short", Duration::from_secs(1)).await.unwrap().expect("it is free");
    eventually("its end", async || locks.try_lock("short", Duration::from_secs(1)).await.unwrap().is_some()).await;
    // The second one may have it, or nobody any more.
    assert_ne!(short.release().await.unwrap(), Release::Released);

    let error = dapr.lock("nope").try_lock("stock", MINUTE).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::InvalidArgument));
    assert!(error.message().contains("nope"), "{}", error.message());
}
