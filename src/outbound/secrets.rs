use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use dapr::dapr::proto::runtime::v1::{GetBulkSecretRequest, GetSecretRequest};

use super::{
    Dapr,
    parts::{Component, Hidden, Metadata, sent_when_awaited},
};
use crate::Error;

const GET: &str = "get secret from";

/// A secret store. Made by [`Dapr::secrets`].
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let database = dapr.secrets("vault").get("database").await?;
/// let (user, password) = (database.get("user"), database.get("password"));
/// println!("{password:?}"); // Some(SecretText(..))
/// connect(user.map(|user| user.expose()), password.map(|password| password.expose()));
/// # Ok(())
/// # }
/// # fn connect(_: Option<&str>, _: Option<&str>) {}
/// ```
#[derive(Debug, Clone)]
pub struct Secrets {
    store: Component,
}

/// A secret: one value, or several under names of their own. Its `Debug` shows the names only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secret {
    values: BTreeMap<String, SecretText>,
}

/// A text that `Debug` does not show, and that has no `Display`: it leaves through [`expose`](Self::expose) only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl Secrets {
    pub(super) fn new(dapr: Dapr, store: String) -> Self {
        Self { store: Component::new(dapr, store) }
    }

    /// Reads a secret, when awaited.
    pub fn get(&self, key: impl Into<String>) -> GetSecret {
        GetSecret { store: self.store.clone(), key: Hidden(key.into()), metadata: Metadata::default() }
    }

    /// Reads all secrets that this app may see, by their names, when awaited.
    pub fn get_bulk(&self) -> GetBulkSecret {
        GetBulkSecret { store: self.store.clone(), metadata: Metadata::default() }
    }
}

/// A read that is not sent yet. Made by [`Secrets::get`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the store's name is empty ([`Error::is_invalid`]), the app may not see the secret
/// ([`Error::is_permission_denied`]), there is no such store (`INVALID_ARGUMENT`), or the store fails or has no such secret
/// (`INTERNAL`; some stores give an empty value instead).
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct GetSecret {
    store: Component,
    key: Hidden<String>,
    metadata: Metadata,
}

impl GetSecret {
    /// Metadata for the component, as a version.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<Secret, Error> {
        let Self { store, key: Hidden(key), metadata: Hidden(metadata) } = self;
        let (mut client, store_name) = store.call(GET)?;
        let request = GetSecretRequest { store_name, key, metadata };
        let answer = client.get_secret(request).await.map_err(store.failed(GET))?.into_inner();
        Ok(Secret::new(answer.data))
    }
}

/// A read of all secrets that is not sent yet. Made by [`Secrets::get_bulk`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the store's name is empty ([`Error::is_invalid`]), there is no such store (`INVALID_ARGUMENT`), or the
/// store fails or cannot (`INTERNAL`).
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct GetBulkSecret {
    store: Component,
    metadata: Metadata,
}

impl GetBulkSecret {
    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<BTreeMap<String, Secret>, Error> {
        let Self { store, metadata: Hidden(metadata) } = self;
        let (mut client, store_name) = store.call(GET)?;
        let request = GetBulkSecretRequest { store_name, metadata };
        let answer = client.get_bulk_secret(request).await.map_err(store.failed(GET))?.into_inner();
        Ok(answer.data.into_iter().map(|(name, secret)| (name, Secret::new(secret.secrets))).collect())
    }
}

sent_when_awaited! {
    GetSecret => Secret;
    GetBulkSecret => BTreeMap<String, Secret>;
}

// ===== impl Secret =====

impl Secret {
    fn new(values: HashMap<String, String>) -> Self {
        Self { values: values.into_iter().map(|(name, value)| (name, SecretText(value))).collect() }
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretText> {
        self.values.get(name)
    }

    /// The value, of a secret that has just one (most stores give it under the secret's own name). `None` if it has none or
    /// several.
    #[must_use]
    pub fn single(&self) -> Option<&SecretText> {
        let mut values = self.values.values();
        values.next().filter(|_| values.next().is_none())
    }

    /// All values with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretText)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }
}

// ===== impl SecretText =====

impl SecretText {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}
