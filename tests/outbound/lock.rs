use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{
    TryLockRequest, TryLockResponse, UnlockRequest, UnlockResponse, unlock_response::Status,
};
use tokio::time::timeout;
use tower_dapr::outbound::{LockGuard, Release};

use crate::dapr_server::{Answer, DaprServer};

const TIME: Duration = Duration::from_secs(30);

fn taken() -> Answer {
    Answer::message(&TryLockResponse { success: true })
}

async fn guard(server: &DaprServer) -> LockGuard {
    server.answer("TryLockAlpha1", taken());
    server.dapr().lock("locks").try_lock("report", TIME).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_lock_is_taken_and_released_by_the_same_owner() {
    let server = DaprServer::default();
    let guard = guard(&server).await;
    let owner = guard.owner().to_owned();
    assert_eq!(guard.release().await.unwrap(), Release::Released);

    let (store_name, resource_id) = ("locks".to_owned(), "report".to_owned());
    let locked: TryLockRequest = server.one("TryLockAlpha1");
    assert_eq!((locked.expiry_in_seconds, &locked.lock_owner), (30, &owner));
    let unlocked: UnlockRequest = server.one("UnlockAlpha1");
    assert_eq!(unlocked, UnlockRequest { store_name, resource_id, lock_owner: owner });
}

#[tokio::test]
async fn a_lock_of_another_owner_is_none() {
    let server = DaprServer::default();
    let lock = server.dapr().lock("locks");
    assert!(lock.try_lock("report", TIME).owner("me").await.unwrap().is_none());
    assert_eq!(server.one::<TryLockRequest>("TryLockAlpha1").lock_owner, "me");
}

#[tokio::test]
async fn each_guard_is_an_owner_of_its_own() {
    let server = DaprServer::default();
    assert_ne!(guard(&server).await.owner(), guard(&server).await.owner());
}

#[tokio::test]
async fn release_tells_that_the_lock_was_lost() {
    for (status, end) in [
        (Status::LockDoesNotExist, Some(Release::Expired)),
        (Status::LockBelongsToOthers, Some(Release::HeldByAnother)),
        (Status::InternalError, None),
    ] {
        let server = DaprServer::default();
        server.answer("UnlockAlpha1", Answer::message(&UnlockResponse { status: status.into() }));
        assert_eq!(guard(&server).await.release().await.ok(), end);
    }
}

#[tokio::test]
async fn a_dropped_guard_releases_its_lock_once() {
    let server = DaprServer::default();
    drop(guard(&server).await);
    while server.seen("UnlockAlpha1").is_empty() {
        tokio::task::yield_now().await;
    }
    guard(&server).await.release().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(server.seen("UnlockAlpha1").len(), 2);
}

#[test]
fn a_guard_may_be_dropped_outside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let server = DaprServer::default();
    let guard = runtime.block_on(guard(&server));
    drop(guard);
}

#[tokio::test]
async fn what_no_store_can_lock_is_not_sent() {
    let server = DaprServer::default();
    let lock = server.dapr().lock("locks");
    for (resource, time) in [("", TIME), ("a", Duration::ZERO), ("a", Duration::from_secs(1 << 31))] {
        assert!(lock.try_lock(resource, time).await.unwrap_err().is_invalid());
    }
    assert!(server.rpcs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_given_up_is_made_again() {
    let server = DaprServer::default();
    server.answer("UnlockAlpha1", Answer::default().then_hang());
    let guard = guard(&server).await;
    assert!(timeout(Duration::from_secs(1), guard.release()).await.is_err());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.seen("UnlockAlpha1").len(), 2);
}
