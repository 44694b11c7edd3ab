//! The in-memory state store (`dapr/components-contrib:state/in-memory/in_memory.go`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Change, Entry, StoreError, Write};
use crate::sidecar::clock::{Clock, rfc3339};
use crate::sidecar::lock::lock;

/// How often a write also removes what expired.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Memory {
    clock: Clock,
    items: Mutex<Items>,
}

struct Items {
    by_key: HashMap<String, Item>,
    sweep_at: Instant,
}

struct Item {
    entry: Entry,
    expires: Option<Instant>,
}

// ===== impl Memory =====

impl Memory {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, items: Mutex::new(Items { by_key: HashMap::new(), sweep_at: Instant::now() + SWEEP }) }
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        lock(&self.items).live(key, Instant::now()).map(|item| item.entry.clone())
    }

    /// The etags are checked first, under the one lock that the writes need.
    pub(super) fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut items = lock(&self.items);
        for write in &writes {
            write.check(items.live(&write.key, now).map(|item| item.entry.etag.as_str()))?;
        }
        items.sweep(now);
        for write in writes {
            match write.change {
                Change::Set { value, ttl } => _ = items.by_key.insert(write.key, self.item(value, ttl, now)),
                Change::Delete => _ = items.by_key.remove(&write.key),
            }
        }
        Ok(())
    }

    fn item(&self, value: Vec<u8>, ttl: Option<Duration>, now: Instant) -> Item {
        Item {
            entry: Entry {
                value,
                etag: Uuid::new_v4().to_string(),
                expires_at: ttl.map(|ttl| rfc3339(self.clock.after(ttl))),
            },
            expires: ttl.and_then(|ttl| now.checked_add(ttl)),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("keys", &lock(&self.items).by_key.len()).finish()
    }
}

// ===== impl Items =====

impl Items {
    fn live(&self, key: &str, now: Instant) -> Option<&Item> {
        self.by_key.get(key).filter(|item| !item.is_expired(now))
    }

    fn sweep(&mut self, now: Instant) {
        if now >= self.sweep_at {
            self.by_key.retain(|_, item| !item.is_expired(now));
            self.sweep_at = now + SWEEP;
        }
    }
}

// ===== impl Item =====

impl Item {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }
}
