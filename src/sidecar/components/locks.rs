//! A lock store (`dapr/components-contrib:lock`).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::sidecar::lock::lock;

#[derive(Debug, Default)]
pub(in crate::sidecar) struct LockStore(Mutex<HashMap<String, Held>>);

#[derive(Debug)]
struct Held {
    owner: String,
    until: Instant,
}

/// What became of an unlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sidecar) enum Unlocked {
    Yes,
    NotHeld,
    HeldByAnother,
}

// ===== impl LockStore =====

impl LockStore {
    /// `false` when it is held, also by the same owner.
    pub(in crate::sidecar) fn try_lock(&self, resource: String, owner: String, expiry: Duration) -> bool {
        let now = Instant::now();
        let mut locks = lock(&self.0);
        locks.retain(|_, held| held.until > now);
        if locks.contains_key(&resource) {
            return false;
        }
        locks.insert(resource, Held { owner, until: now + expiry });
        true
    }

    pub(in crate::sidecar) fn unlock(&self, resource: &str, owner: &str) -> Unlocked {
        let mut locks = lock(&self.0);
        match locks.get(resource).filter(|held| held.until > Instant::now()) {
            None => Unlocked::NotHeld,
            Some(held) if held.owner != owner => Unlocked::HeldByAnother,
            Some(_) => {
                locks.remove(resource);
                Unlocked::Yes
            }
        }
    }
}
