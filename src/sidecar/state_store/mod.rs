//! State stores: in memory, or in one file.

mod memory;
mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::memory::Memory;
pub(super) use self::sqlite::{Settings as SqliteSettings, Sqlite};
use super::clock::Clock;

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

/// Why nothing was read, or written. Prints what the store of daprd says.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The etag did not fit.
    Mismatch(String),
    /// The file said no.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(reason) => write!(f, "possible etag mismatch. error from state store: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// Keys, values and etags. What has expired is not there.
#[derive(Debug)]
pub(super) struct StateStore {
    clock: Clock,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Memory),
    File(Arc<Sqlite>),
}

// ===== impl StateStore =====

impl StateStore {
    pub(super) fn in_memory(clock: Clock) -> Self {
        Self { clock, place: Place::Memory(Memory::new(clock)) }
    }

    pub(super) const fn in_file(clock: Clock, file: Arc<Sqlite>) -> Self {
        Self { clock, place: Place::File(file) }
    }

    /// The type of the component.
    pub(super) const fn kind(&self) -> &'static str {
        match self.place {
            Place::Memory(_) => "state.in-memory",
            Place::File(_) => "state.sqlite",
        }
    }

    pub(super) const fn capabilities(&self) -> &'static [&'static str] {
        match self.place {
            Place::Memory(_) => &["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE"],
            Place::File(_) => &["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"],
        }
    }

    /// # Errors
    /// Only of a store in a file, when it cannot be read.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match &self.place {
            Place::Memory(memory) => Ok(memory.get(key)),
            Place::File(file) => file.get(key.to_owned(), self.clock.now()).await,
        }
    }

    /// All writes or none. A call that is dropped meanwhile may be done nevertheless.
    ///
    /// # Errors
    /// When an etag does not fit, or a file cannot be written.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        match &self.place {
            Place::Memory(memory) => memory.write(writes),
            Place::File(file) => file.write(writes, self.clock.now()).await,
        }
    }
}

// ===== impl Write =====

impl Write {
    /// Whether this may be written where the value of this etag, or none, is now.
    fn check(&self, current: Option<&str>) -> Result<(), StoreError> {
        let key = &self.key;
        let reason = match (self.etag.as_deref().filter(|etag| !etag.is_empty()), current) {
            (Some(expected), Some(current)) if expected != current => {
                format!("state etag not match for key={key}: current={current}, expect={expected}")
            }
            (Some(_), None) => format!("state not exist or expired for key={key}"),
            (None, Some(_)) if self.first_write => "item already exists and no etag was passed".to_owned(),
            (Some(_), Some(_)) | (None, _) => return Ok(()),
        };
        Err(StoreError::Mismatch(reason))
    }
}
