use std::{collections::HashMap, fmt, time::SystemTime};

use prost_types::Timestamp;
use serde::Serialize;

use super::{Decode, Delete, Save, State};
use crate::{
    Error,
    outbound::parts::{Hidden, Metadata},
};

/// What stands in a store under a key. Its `Debug` does not show the value.
#[derive(Clone)]
#[non_exhaustive]
pub struct StateEntry<T> {
    /// The value.
    pub value: T,
    /// Its version. Empty if the store has none.
    pub etag: String,
    key: String,
    metadata: Metadata,
    state: State,
}

impl<T> StateEntry<T> {
    /// What daprd answered; it says nothing at all, and OK, of a key that is not there.
    pub(super) fn read(
        operation: &'static str,
        state: State,
        key: String,
        (data, etag, metadata): (Vec<u8>, String, HashMap<String, String>),
        decode: Decode<T>,
    ) -> Result<Option<Self>, Error> {
        if data.is_empty() && etag.is_empty() {
            return Ok(None);
        }
        let value = decode(&data).map_err(|error| Error::decode(operation, state.store.name(), &error))?;
        Ok(Some(Self { value, etag, key, metadata: Hidden(metadata), state }))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the store says beside the value.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata.0
    }

    /// When the entry expires. `None` if never, or the store does not tell.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.metadata.0.get("ttlExpireTime")?.parse::<Timestamp>().ok()?.try_into().ok()
    }

    /// Writes [`value`](Self::value) back as JSON, when awaited, if nobody else wrote since this entry was read
    /// ([`Error::is_etag_mismatch`]). A time to live is not kept: name it again with [`Save::ttl`].
    ///
    /// Consumes the entry: its etag is none any more. An entry of a store without etags cannot be written this way
    /// ([`Error::is_invalid`]).
    pub fn save(self) -> Save
    where
        T: Serialize,
    {
        let Self { value, etag, key, state, .. } = self;
        state.save(key, &value).if_match(etag)
    }

    /// Deletes the entry, when awaited, if nobody else wrote since it was read ([`Error::is_etag_mismatch`]).
    ///
    /// An entry of a store without etags cannot be deleted this way ([`Error::is_invalid`]).
    pub fn delete(self) -> Delete {
        let Self { etag, key, state, .. } = self;
        state.delete(key).if_match(etag)
    }
}

/// Equal in key, value and version.
impl<T: PartialEq> PartialEq for StateEntry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.etag == other.etag && self.key == other.key
    }
}

impl<T: Eq> Eq for StateEntry<T> {}

impl<T> fmt::Debug for StateEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateEntry").field("store", &self.state.store).field("etag", &self.etag).finish_non_exhaustive()
    }
}
