use std::{
    collections::HashMap,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use dapr::dapr::proto::{
    common::v1::{
        Etag, StateItem, StateOptions,
        state_options::{StateConcurrency, StateConsistency},
    },
    runtime::v1::{DeleteStateRequest, GetStateRequest, SaveStateRequest, dapr_client::DaprClient},
};
use serde::{Serialize, de::DeserializeOwned};

use super::DaprService;
use crate::Error;

const GET: &str = "get state from";
const SAVE: &str = "save state in";
const DELETE: &str = "delete state from";

/// One state store. Made by [`Dapr::state`](super::Dapr::state).
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let stock = dapr.state("statestore");
/// stock.save("tea", &12_u32).await?;
/// if let Some(entry) = stock.get::<u32>("tea").await? {
///     // Refused if somebody else wrote in between.
///     stock.save("tea", &(entry.value - 1)).if_match(entry.etag).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct State {
    client: DaprClient<DaprService>,
    store: String,
}

/// What stands in a store under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateEntry<T> {
    /// The value.
    pub value: T,
    /// Its version, to be given back with [`Save::if_match`].
    pub etag: String,
}

impl State {
    pub(super) fn new(client: DaprClient<DaprService>, store: String) -> Self {
        Self { client, store }
    }

    /// Reads the JSON value of a key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If the call fails, or the value is not a `T` ([`Error::is_decode`]).
    pub async fn get<T: DeserializeOwned>(&self, key: impl Into<String>) -> Result<Option<StateEntry<T>>, Error> {
        let request = GetStateRequest { store_name: self.store.clone(), key: key.into(), ..GetStateRequest::default() };
        let response = self.client.clone().get_state(request).await;
        let response = response.map_err(|status| Error::status(GET, &self.store, status))?.into_inner();
        // daprd answers OK with nothing for a key that is not there.
        if response.data.is_empty() && response.etag.is_empty() {
            return Ok(None);
        }
        let value = serde_json::from_slice(&response.data).map_err(|error| Error::decode(GET, &self.store, error))?;
        Ok(Some(StateEntry { value, etag: response.etag }))
    }

    /// Writes a value as JSON, when awaited. An unconditional write unless told otherwise.
    pub fn save<T: Serialize + ?Sized>(&self, key: impl Into<String>, value: &T) -> Save {
        Save {
            value: serde_json::to_vec(value),
            write: Write { state: self.clone(), key: key.into(), etag: None, options: None, metadata: HashMap::new() },
        }
    }

    /// Deletes a key, when awaited. A key that is not there is no error.
    pub fn delete(&self, key: impl Into<String>) -> Delete {
        Delete(Write { state: self.clone(), key: key.into(), etag: None, options: None, metadata: HashMap::new() })
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("store", &self.store).finish()
    }
}

/// What a write of one key is made of.
struct Write {
    state: State,
    key: String,
    etag: Option<Etag>,
    options: Option<StateOptions>,
    metadata: HashMap<String, String>,
}

impl Write {
    fn options(&mut self) -> &mut StateOptions {
        self.options.get_or_insert_default()
    }
}

/// A write that is not sent yet. Made by [`State::save`]; sent when awaited.
#[must_use = "nothing is written until it is awaited"]
pub struct Save {
    value: Result<Vec<u8>, serde_json::Error>,
    write: Write,
}

impl Save {
    /// Only if the item is still the one that was read: refused with [`Error::is_etag_mismatch`] if not.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.write.etag = Some(Etag { value: etag.into() });
        self.write.options().concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
        self
    }

    /// First write wins: without an etag, refused if the item exists (by stores that can: Redis' cannot).
    pub fn first_write(mut self) -> Self {
        self.write.options().concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
        self
    }

    /// Acknowledged only once the store's replicas have it.
    pub fn strong(mut self) -> Self {
        self.write.options().consistency = StateConsistency::ConsistencyStrong.into();
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.write.metadata.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Write { mut state, key, etag, options, metadata } = self.write;
        let value = self.value.map_err(|error| Error::encode(SAVE, &state.store, error))?;
        let item = StateItem { key, value, etag, options, metadata };
        let request = SaveStateRequest { store_name: state.store.clone(), states: vec![item] };
        match state.client.save_state(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(Error::status(SAVE, &state.store, status)),
        }
    }
}

impl IntoFuture for Save {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Save").field("store", &self.write.state.store).finish_non_exhaustive()
    }
}

/// A deletion that is not sent yet. Made by [`State::delete`]; sent when awaited.
#[must_use = "nothing is deleted until it is awaited"]
pub struct Delete(Write);

impl Delete {
    /// Only if the item is still the one that was read: refused with [`Error::is_etag_mismatch`] if not.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.0.etag = Some(Etag { value: etag.into() });
        self.0.options().concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Write { mut state, key, etag, options, metadata } = self.0;
        let request = DeleteStateRequest { store_name: state.store.clone(), key, etag, options, metadata };
        match state.client.delete_state(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(Error::status(DELETE, &state.store, status)),
        }
    }
}

impl IntoFuture for Delete {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delete").field("store", &self.0.state.store).finish_non_exhaustive()
    }
}
