//! The in-memory state store (`dapr/components-contrib:state/in-memory/in_memory.go`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::clock::{Clock, rfc3339};
use super::lock::lock;

/// How often a write also removes what expired.
const SWEEP: Duration = Duration::from_secs(1);

/// One write of one key.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: String,
    /// Empty is the same as none.
    pub(super) etag: Option<String>,
    pub(super) first_write: bool,
    pub(super) change: Change,
}

#[derive(Debug)]
pub(super) enum Change {
    Set { value: Vec<u8>, ttl: Option<Duration> },
    Delete,
}

/// A stored value as a reader sees it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Vec<u8>,
    pub(super) etag: String,
    /// RFC 3339.
    pub(super) expires_at: Option<String>,
}

/// The etag did not fit. Prints what the store of daprd says.
#[derive(Debug)]
pub(super) struct Mismatch(String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "possible etag mismatch. error from state store: {}", self.0)
    }
}

pub(super) struct StateStore {
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

// ===== impl StateStore =====

impl StateStore {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, items: Mutex::new(Items { by_key: HashMap::new(), sweep_at: Instant::now() + SWEEP }) }
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        lock(&self.items).live(key, Instant::now()).map(|item| item.entry.clone())
    }

    /// All writes or none: the etags are checked first, under the one lock that the writes need.
    pub(super) fn write(&self, writes: Vec<Write>) -> Result<(), Mismatch> {
        let now = Instant::now();
        let mut items = lock(&self.items);
        for write in &writes {
            items.check(write, now)?;
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

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateStore").field("keys", &lock(&self.items).by_key.len()).finish()
    }
}

// ===== impl Items =====

impl Items {
    fn live(&self, key: &str, now: Instant) -> Option<&Item> {
        self.by_key.get(key).filter(|item| !item.is_expired(now))
    }

    fn check(&self, write: &Write, now: Instant) -> Result<(), Mismatch> {
        let current = self.live(&write.key, now).map(|item| item.entry.etag.as_str());
        match (write.etag.as_deref().filter(|etag| !etag.is_empty()), current) {
            (Some(expected), Some(current)) if expected == current => Ok(()),
            (Some(expected), Some(current)) => Err(Mismatch(format!(
                "state etag not match for key={}: current={current}, expect={expected}",
                write.key
            ))),
            (Some(_), None) => Err(Mismatch(format!("state not exist or expired for key={}", write.key))),
            (None, Some(_)) if write.first_write => {
                Err(Mismatch("item already exists and no etag was passed".to_owned()))
            }
            (None, _) => Ok(()),
        }
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
