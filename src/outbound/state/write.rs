use std::time::Duration;

use dapr::dapr::proto::{
    common::v1::{
        Etag, StateItem, StateOptions,
        state_options::{StateConcurrency, StateConsistency},
    },
    runtime::v1::{DeleteStateRequest, SaveStateRequest},
};

use super::State;
use crate::{
    Error,
    outbound::parts::{Hidden, Metadata, Payload, sent_when_awaited, whole_seconds},
};

pub(super) const SAVE: &str = "save state in";
pub(super) const DELETE: &str = "delete state from";

/// What a write of one key is made of.
#[derive(Debug)]
struct Write {
    state: State,
    key: Hidden<String>,
    etag: Option<String>,
    options: Option<StateOptions>,
    metadata: Metadata,
    /// What is wrong with the settings so far.
    invalid: Option<&'static str>,
}

impl Write {
    fn new(state: State, key: String) -> Self {
        let metadata = Metadata::default();
        Self { state, key: Hidden(key), etag: None, options: None, metadata, invalid: None }
    }

    fn if_match(&mut self, etag: String) {
        if etag.is_empty() {
            // daprd would write without looking.
            self.invalid = Some("the etag is empty: the store gives none");
        }
        // Without FIRST_WRITE, which adds nothing to an etag, and after which Redis' store would refuse each write without
        // one (`dapr/components-contrib:state/redis/redis.go`, `setDefaultQuery`).
        self.etag = Some(etag);
    }

    fn options(&mut self) -> &mut StateOptions {
        self.options.get_or_insert_default()
    }

    /// # Errors
    ///
    /// If a setting is wrong, or this write was made for another store than `state`.
    fn check(&self, state: &State, operation: &'static str) -> Result<(), Error> {
        let reason = match self.invalid {
            Some(reason) => reason,
            None if self.key.0.is_empty() => "the key is empty",
            None if self.state.store.name() != state.store.name() => "a write is for another store",
            None => return Ok(()),
        };
        Err(state.store.invalid(operation, reason))
    }

    fn into_item(self, value: Vec<u8>) -> StateItem {
        StateItem {
            key: self.key.0,
            value,
            etag: self.etag.map(|value| Etag { value }),
            options: self.options,
            metadata: self.metadata.0,
        }
    }
}

/// A write that is not sent yet. Made by [`State::save`]; sent when awaited, or as a part of [`State::save_bulk`] or a
/// [`Transaction`](super::Transaction).
///
/// # Errors
///
/// When awaited:
///
/// * [`Error::is_etag_mismatch`]: the item is not, or no more, what the write was conditional on.
/// * [`Error::is_invalid`]: the value cannot be written as JSON, or key, etag or time to live is empty; nothing was sent.
/// * The call failed.
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct Save {
    value: Payload,
    write: Write,
}

impl Save {
    pub(super) fn new(state: State, key: String, value: Payload) -> Self {
        Self { value, write: Write::new(state, key) }
    }

    /// Only if the item is still the one that was read: refused with [`Error::is_etag_mismatch`] if not.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.write.if_match(etag.into());
        self
    }

    /// First write wins: without an etag, refused if the item exists ([`Error::is_etag_mismatch`]).
    ///
    /// Redis' store refuses only if the item was written this way too, calls it `INTERNAL`, and from then on refuses
    /// unconditional writes of the item as well, until it is deleted.
    pub fn first_write(mut self) -> Self {
        self.write.options().concurrency = StateConcurrency::ConcurrencyFirstWrite.into();
        self
    }

    /// Acknowledged only once the store's replicas have it.
    pub fn strong(mut self) -> Self {
        self.write.options().consistency = StateConsistency::ConsistencyStrong.into();
        self
    }

    /// Acknowledged as soon as one replica has it.
    pub fn eventual(mut self) -> Self {
        self.write.options().consistency = StateConsistency::ConsistencyEventual.into();
        self
    }

    /// How long the value lives from now, in whole seconds, rounded up. Defaults to for ever. Stores that cannot refuse it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        match whole_seconds(ttl) {
            Some(seconds) => drop(self.write.metadata.0.insert("ttlInSeconds".to_owned(), seconds.to_string())),
            None => self.write.invalid = Some("the time to live is zero, which Dapr takes for no limit"),
        }
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.write.metadata.0.insert(key.into(), value.into());
        self
    }

    pub(super) fn into_item(self, state: &State, operation: &'static str) -> Result<StateItem, Error> {
        self.write.check(state, operation)?;
        Ok(self.write.into_item(self.value.take(operation, state.store.name())?))
    }

    async fn send(self) -> Result<(), Error> {
        let state = self.write.state.clone();
        let (mut client, store_name) = state.store.call(SAVE)?;
        let states = vec![self.into_item(&state, SAVE)?];
        client.save_state(SaveStateRequest { store_name, states }).await.map_err(state.store.failed(SAVE))?;
        Ok(())
    }
}

/// A deletion that is not sent yet. Made by [`State::delete`]; sent when awaited, or as a part of [`State::delete_bulk`] or
/// a [`Transaction`](super::Transaction).
///
/// # Errors
///
/// When awaited: as those of [`Save`]. A key that is not there is no error, but for a conditional deletion by some stores.
#[derive(Debug)]
#[must_use = "nothing is deleted until it is awaited"]
pub struct Delete(Write);

impl Delete {
    pub(super) fn new(state: State, key: String) -> Self {
        Self(Write::new(state, key))
    }

    /// Only if the item is still the one that was read: refused with [`Error::is_etag_mismatch`] if not.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.0.if_match(etag.into());
        self
    }

    /// Acknowledged only once the store's replicas have it.
    pub fn strong(mut self) -> Self {
        self.0.options().consistency = StateConsistency::ConsistencyStrong.into();
        self
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.0.insert(key.into(), value.into());
        self
    }

    pub(super) fn into_item(self, state: &State, operation: &'static str) -> Result<StateItem, Error> {
        self.0.check(state, operation)?;
        Ok(self.0.into_item(Vec::new()))
    }

    async fn send(self) -> Result<(), Error> {
        let state = self.0.state.clone();
        let (mut client, store_name) = state.store.call(DELETE)?;
        let StateItem { key, etag, options, metadata, .. } = self.into_item(&state, DELETE)?;
        let request = DeleteStateRequest { store_name, key, etag, options, metadata };
        client.delete_state(request).await.map_err(state.store.failed(DELETE))?;
        Ok(())
    }
}

sent_when_awaited! {
    Save => ();
    Delete => ();
}
