mod bulk;
mod entry;
mod get;
mod query;
mod transaction;
mod update;
mod write;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Dapr,
    parts::{Component, Payload},
};

pub use self::{
    bulk::{BulkEntry, GetBulk},
    entry::StateEntry,
    get::GetState,
    query::{Query, QueryPage},
    transaction::{StateOperation, Transaction},
    write::{Delete, Save},
};

/// One state store. Made by [`Dapr::state`].
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let stock = dapr.state("statestore");
/// stock.save("tea", &12_u32).await?;
///
/// if let Some(mut tea) = stock.get::<u32>("tea").await? {
///     tea.value -= 1;
///     tea.save().await?; // refused if somebody else wrote in between
/// }
/// // The same, again and again until nobody did.
/// let left = stock.update("tea", |tea: Option<u32>| tea.unwrap_or(12) - 1).await?;
///
/// stock.transaction().with(stock.save("coffee", &left)).with(stock.delete("tea")).await?;
/// # Ok(())
/// # }
/// ```
///
/// Values are JSON, or bytes of the caller's own making ([`save_bytes`](Self::save_bytes),
/// [`get_bytes`](Self::get_bytes)). Keys may not hold `||`, with which Dapr prefixes them by the app id.
#[derive(Debug, Clone)]
pub struct State {
    store: Component,
}

impl State {
    pub(super) fn new(dapr: Dapr, store: String) -> Self {
        Self { store: Component::new(dapr, store) }
    }

    /// Reads the JSON value of a key, when awaited; `None` if there is none.
    pub fn get<T: DeserializeOwned>(&self, key: impl Into<String>) -> GetState<T> {
        GetState::new(self.clone(), key.into(), |data| serde_json::from_slice(data))
    }

    /// Reads the bytes of a key, when awaited; `None` if there are none.
    pub fn get_bytes(&self, key: impl Into<String>) -> GetState<Bytes> {
        GetState::new(self.clone(), key.into(), |data| Ok(Bytes::copy_from_slice(data)))
    }

    /// Reads the JSON values of several keys in one call, when awaited.
    pub fn get_bulk<T: DeserializeOwned>(&self, keys: impl IntoIterator<Item = impl Into<String>>) -> GetBulk<T> {
        GetBulk::new(self.clone(), keys.into_iter().map(Into::into).collect(), |data| serde_json::from_slice(data))
    }

    /// Writes a value as JSON, when awaited. An unconditional write unless told otherwise.
    pub fn save<T: Serialize + ?Sized>(&self, key: impl Into<String>, value: &T) -> Save {
        Save::new(self.clone(), key.into(), Payload::json(value))
    }

    /// Writes bytes, when awaited. Dapr stores what is no text as it is, but its HTTP API shows JSON only.
    pub fn save_bytes(&self, key: impl Into<String>, value: impl Into<Bytes>) -> Save {
        Save::new(self.clone(), key.into(), Payload::bytes(value))
    }

    /// Deletes a key, when awaited. A key that is not there is no error.
    pub fn delete(&self, key: impl Into<String>) -> Delete {
        Delete::new(self.clone(), key.into())
    }

    /// Several writes that happen together or not at all. Sent when awaited.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Looks for values, when awaited. The query is JSON of [Dapr's shape](https://docs.dapr.io/developing-applications/building-blocks/state-management/howto-state-query-api/).
    /// Alpha in Dapr, and few stores can.
    pub fn query<T: DeserializeOwned>(&self, query: &(impl Serialize + ?Sized)) -> Query<T> {
        Query::new(self.clone(), Payload::json(query), |data| serde_json::from_slice(data))
    }
}

/// How to read what a store holds.
type Decode<T> = fn(&[u8]) -> Result<T, serde_json::Error>;
