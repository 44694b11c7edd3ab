//! Stores that need nothing but memory.

mod configuration;
mod configuration_file;
mod locks;
mod secrets;

pub(super) use self::configuration::{ConfigurationStore, Item};
pub(super) use self::configuration_file::ConfigurationFile;
pub(super) use self::locks::{LockStore, Unlocked};
pub(super) use self::secrets::SecretStore;
