use dapr::dapr::proto::{common::v1::state_options::StateConsistency, runtime::v1::GetStateRequest};

use super::{Decode, State, StateEntry};
use crate::{
    Error,
    outbound::parts::{Hidden, Metadata, sent_when_awaited},
};

const GET: &str = "get state from";

/// A read that is not sent yet. Made by [`State::get`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the store's name or the key is empty ([`Error::is_invalid`]; nothing was sent), the call fails, or the
/// value is not a `T` ([`Error::is_decode`]). A key that is not there is `None`.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct GetState<T> {
    state: State,
    key: Hidden<String>,
    consistency: StateConsistency,
    metadata: Metadata,
    decode: Decode<T>,
}

impl<T> GetState<T> {
    pub(super) fn new(state: State, key: String, decode: Decode<T>) -> Self {
        let consistency = StateConsistency::ConsistencyUnspecified;
        Self { state, key: Hidden(key), consistency, metadata: Metadata::default(), decode }
    }

    /// What all replicas have agreed upon. Defaults to what the store does by default.
    pub fn strong(mut self) -> Self {
        self.consistency = StateConsistency::ConsistencyStrong;
        self
    }

    /// What any replica has.
    pub fn eventual(mut self) -> Self {
        self.consistency = StateConsistency::ConsistencyEventual;
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<Option<StateEntry<T>>, Error> {
        let Self { state, key: Hidden(key), consistency, metadata: Hidden(metadata), decode } = self;
        let (mut client, store_name) = state.store.call(GET)?;
        if key.is_empty() {
            // daprd says that there is nothing, as for any other key.
            return Err(state.store.invalid(GET, "the key is empty"));
        }
        let request = GetStateRequest { store_name, key: key.clone(), consistency: consistency.into(), metadata };
        let answer = client.get_state(request).await.map_err(state.store.failed(GET))?.into_inner();
        StateEntry::read(GET, state, key, (answer.data, answer.etag, answer.metadata), decode)
    }
}

sent_when_awaited! {
    GetState<T> => Option<StateEntry<T>>;
}
