//! Stores that need nothing but memory.

mod configuration;
mod locks;
mod secrets;

pub(super) use self::configuration::{ConfigurationStore, Item};
pub(super) use self::locks::{LockStore, Unlocked};
pub(super) use self::secrets::SecretStore;
