use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{TryLockRequest, UnlockRequest, unlock_response::Status};
use uuid::Uuid;

use super::{
    Dapr,
    parts::{Component, Hidden, sent_when_awaited, whole_seconds},
};
use crate::Error;

const LOCK: &str = "lock in";
const UNLOCK: &str = "unlock in";

/// A lock store. Made by [`Dapr::lock`]. Alpha in Dapr.
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// if let Some(guard) = dapr.lock("lockstore").try_lock("report", Duration::from_secs(30)).await? {
///     // .. at most one app is here for the next 30 s ..
///     guard.release().await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// A lock ends when its time is up, whether its owner is done or not: nothing renews it.
#[derive(Debug, Clone)]
pub struct Lock {
    store: Component,
}

impl Lock {
    pub(super) fn new(dapr: Dapr, store: String) -> Self {
        Self { store: Component::new(dapr, store) }
    }

    /// Takes the lock of a resource for this long (whole seconds, rounded up), when awaited; `None` if another owner has it.
    pub fn try_lock(&self, resource: impl Into<String>, expiry: Duration) -> TryLock {
        TryLock { store: self.store.clone(), resource: Hidden(resource.into()), owner: None, expiry }
    }
}

/// An attempt that is not made yet. Made by [`Lock::try_lock`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the store's name or the resource is empty, or the time is zero or more than 2,147,483,647 s
/// ([`Error::is_invalid`]; nothing was sent), there is no such store (`INVALID_ARGUMENT`), or the call fails. Whether the
/// lock was taken then is not known; it ends with its time.
#[derive(Debug)]
#[must_use = "nothing is locked until it is awaited"]
pub struct TryLock {
    store: Component,
    resource: Hidden<String>,
    owner: Option<String>,
    expiry: Duration,
}

impl TryLock {
    /// Who takes the lock. Defaults to a random name, so that each guard is an owner of its own.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    async fn send(self) -> Result<Option<LockGuard>, Error> {
        let Self { store, resource: Hidden(resource), owner, expiry } = self;
        let (mut client, store_name) = store.call(LOCK)?;
        if resource.is_empty() {
            return Err(store.invalid(LOCK, "the resource is empty"));
        }
        let seconds = whole_seconds(expiry).and_then(|seconds| i32::try_from(seconds).ok());
        let expiry_in_seconds =
            seconds.ok_or_else(|| store.invalid(LOCK, "the time is not from 1 to 2,147,483,647 seconds"))?;
        let owner = owner.unwrap_or_else(|| Uuid::new_v4().to_string());
        let request =
            TryLockRequest { store_name, resource_id: resource.clone(), lock_owner: owner.clone(), expiry_in_seconds };
        let answer = client.try_lock_alpha1(request).await.map_err(store.failed(LOCK))?.into_inner();
        Ok(answer.success.then_some(LockGuard { store, resource: Hidden(resource), owner, is_held: true }))
    }
}

sent_when_awaited! {
    TryLock => Option<LockGuard>;
}

/// A lock that was taken. Made by [`Lock::try_lock`].
///
/// # Drop
///
/// Dropping it releases the lock too, but best effort only: in a task that nobody waits for, if there is a tokio runtime,
/// with a failure logged and not told. Call [`release`](Self::release) where it matters when, or whether, the lock is free.
#[derive(Debug)]
#[must_use = "dropping the guard releases the lock"]
pub struct LockGuard {
    store: Component,
    resource: Hidden<String>,
    owner: String,
    is_held: bool,
}

/// What became of a lock that was to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Release {
    /// It was held, and is free now.
    Released,
    /// Its time was up, and nobody has it.
    Expired,
    /// Its time was up, and another owner has it.
    HeldByAnother,
}

impl LockGuard {
    /// The locked resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource.0
    }

    /// The owner of the lock.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Releases the lock. Anything but [`Release::Released`] says that it was held for too short a time: somebody else may
    /// have done the same work.
    ///
    /// # Errors
    ///
    /// If the call fails, or the store cannot release. The lock then ends with its time.
    ///
    /// # Cancel safety
    ///
    /// A release that is given up is a guard that is dropped: another attempt is made, in a task.
    pub async fn release(mut self) -> Result<Release, Error> {
        let released = unlock(&self.store, self.request()).await;
        self.is_held = false;
        released
    }

    fn request(&self) -> UnlockRequest {
        UnlockRequest {
            store_name: self.store.name().to_owned(),
            resource_id: self.resource.0.clone(),
            lock_owner: self.owner.clone(),
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!(store = self.store.name(), "a lock was dropped outside of a runtime: it ends with its time");
            return;
        };
        let (store, request) = (self.store.clone(), self.request());
        runtime.spawn(async move {
            if let Err(error) = unlock(&store, request).await {
                tracing::warn!(%error, "a dropped lock ends with its time");
            }
        });
    }
}

async fn unlock(store: &Component, request: UnlockRequest) -> Result<Release, Error> {
    let (mut client, _) = store.call(UNLOCK)?;
    let answer = client.unlock_alpha1(request).await.map_err(store.failed(UNLOCK))?.into_inner();
    match answer.status() {
        Status::Success => Ok(Release::Released),
        Status::LockDoesNotExist => Ok(Release::Expired),
        Status::LockBelongsToOthers => Ok(Release::HeldByAnother),
        Status::InternalError => Err(Error::protocol(UNLOCK, store.name(), "the store failed")),
    }
}
