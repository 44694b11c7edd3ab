use std::{collections::HashMap, fmt};

use dapr::dapr::proto::runtime::v1::{DeleteBulkStateRequest, GetBulkStateRequest, SaveStateRequest};

use super::{
    Decode, Delete, Save, State, StateEntry,
    write::{DELETE, SAVE},
};
use crate::{
    Error,
    outbound::parts::{Hidden, Metadata, sent_when_awaited},
};

const GET: &str = "get state from";

/// What became of one key of a bulk read or a query. Its `Debug` does not show the value.
#[non_exhaustive]
pub struct BulkEntry<T> {
    /// The key.
    pub key: String,
    /// The entry; `None` if there is none; or why this one could not be read.
    pub result: Result<Option<StateEntry<T>>, Error>,
}

impl<T> BulkEntry<T> {
    /// What daprd answered: a value, or an error for this key.
    pub(super) fn read(
        operation: &'static str,
        state: &State,
        key: String,
        error: String,
        answer: (Vec<u8>, String, HashMap<String, String>),
        decode: Decode<T>,
    ) -> Self {
        let result = if error.is_empty() {
            StateEntry::read(operation, state.clone(), key.clone(), answer, decode)
        } else {
            Err(Error::item(operation, state.store.name(), error))
        };
        Self { key, result }
    }
}

impl<T> fmt::Debug for BulkEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkEntry").field("result", &self.result).finish_non_exhaustive()
    }
}

/// A read of several keys that is not sent yet. Made by [`State::get_bulk`]; sent when awaited.
///
/// The answer has one entry for each key, in the order of the keys.
///
/// # Errors
///
/// When awaited: if the store's name is empty ([`Error::is_invalid`]; nothing was sent), or the whole call fails. What is
/// wrong with a single key is in its [`BulkEntry`].
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct GetBulk<T> {
    state: State,
    keys: Hidden<Vec<String>>,
    parallelism: i32,
    metadata: Metadata,
    decode: Decode<T>,
}

impl<T> GetBulk<T> {
    pub(super) fn new(state: State, keys: Vec<String>, decode: Decode<T>) -> Self {
        Self { state, keys: Hidden(keys), parallelism: 0, metadata: Metadata::default(), decode }
    }

    /// How many keys Dapr reads at a time, from stores that cannot read many at once. Defaults to Dapr's own choice.
    pub fn parallelism(mut self, keys: u16) -> Self {
        self.parallelism = keys.into();
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<Vec<BulkEntry<T>>, Error> {
        let Self { state, keys: Hidden(keys), parallelism, metadata: Hidden(metadata), decode } = self;
        let (mut client, store_name) = state.store.call(GET)?;
        let request = GetBulkStateRequest { store_name, keys: keys.clone(), parallelism, metadata };
        let answer = client.get_bulk_state(request).await.map_err(state.store.failed(GET))?.into_inner();
        // Stores answer in any order.
        let items: HashMap<_, _> = answer.items.into_iter().map(|item| (item.key.clone(), item)).collect();
        let entries = keys.into_iter().map(|key| {
            let item = items.get(&key).cloned().unwrap_or_default(); // Named twice, it is there twice.
            BulkEntry::read(GET, &state, key, item.error, (item.data, item.etag, item.metadata), decode)
        });
        Ok(entries.collect())
    }
}

sent_when_awaited! {
    GetBulk<T> => Vec<BulkEntry<T>>;
}

impl State {
    /// Several writes in one call. Not a transaction: if one fails, others may have been made.
    ///
    /// ```no_run
    /// # async fn example(stock: tower_dapr::outbound::State) -> Result<(), tower_dapr::Error> {
    /// stock.save_bulk([stock.save("tea", &12), stock.save("coffee", &7)]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Save`]: the first write that cannot be sent, or what the call failed with. [`Error::is_etag_mismatch`] if all
    /// that failed did for this reason.
    pub async fn save_bulk(&self, writes: impl IntoIterator<Item = Save>) -> Result<(), Error> {
        let (mut client, store_name) = self.store.call(SAVE)?;
        let states = writes.into_iter().map(|save| save.into_item(self, SAVE)).collect::<Result<_, _>>()?;
        client.save_state(SaveStateRequest { store_name, states }).await.map_err(self.store.failed(SAVE))?;
        Ok(())
    }

    /// Several deletions in one call. Not a transaction: if one fails, others may have been made.
    ///
    /// # Errors
    ///
    /// As [`save_bulk`](Self::save_bulk).
    pub async fn delete_bulk(&self, deletions: impl IntoIterator<Item = Delete>) -> Result<(), Error> {
        let (mut client, store_name) = self.store.call(DELETE)?;
        let states = deletions.into_iter().map(|delete| delete.into_item(self, DELETE)).collect::<Result<_, _>>()?;
        let request = DeleteBulkStateRequest { store_name, states };
        client.delete_bulk_state(request).await.map_err(self.store.failed(DELETE))?;
        Ok(())
    }
}
