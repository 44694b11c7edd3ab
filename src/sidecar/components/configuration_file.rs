//! A JSON file as the items of a configuration store, looked at again and again.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::ConfigurationStore;
use crate::sidecar::lock::lock;

/// How soon a change of the file is seen.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub(in crate::sidecar) struct ConfigurationFile {
    path: PathBuf,
    /// What the file was when it was last read, also if it could not be used. Shared, and held while the store changes:
    /// each sidecar of a hub looks, and only one of them tells the store.
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    text: Option<Vec<u8>>,
    items: BTreeMap<String, String>,
}

// ===== impl ConfigurationFile =====

impl ConfigurationFile {
    /// Not read before it is [refreshed](Self::refresh).
    pub(in crate::sidecar) fn new(path: PathBuf) -> Self {
        Self { path, last: Arc::default() }
    }

    /// # Errors
    /// When the file cannot be read, or is not an object of scalars.
    pub(in crate::sidecar) fn check(path: &Path) -> Result<(), String> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        parse(&text).map(drop)
    }

    /// Brings what changed in the file since the last time into the store. Items that were set otherwise stay.
    pub(in crate::sidecar) fn refresh(&self, store: &ConfigurationStore) {
        let mut last = lock(&self.last);
        let text = fs::read(&self.path).ok();
        if last.text == text {
            return;
        }
        let items = match &text {
            Some(text) => parse(text),
            None => Err("it cannot be read".to_owned()),
        };
        last.text = text;
        match items {
            Ok(items) => {
                let before = std::mem::replace(&mut last.items, items);
                for (key, value) in last.items.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
                    store.set(key, value.clone());
                }
                for key in before.keys().filter(|key| !last.items.contains_key(*key)) {
                    store.delete(key);
                }
            }
            // Half written, perhaps.
            Err(reason) => tracing::warn!(file = ?self.path, reason, "configuration items stay as they were"),
        }
    }

    /// Refreshes the store for ever.
    pub(in crate::sidecar) async fn follow(self, store: Arc<ConfigurationStore>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (file, store) = (self.clone(), Arc::clone(&store));
            // It panics as little as `refresh` does.
            let _ = tokio::task::spawn_blocking(move || file.refresh(&store)).await;
        }
    }
}

impl fmt::Debug for ConfigurationFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigurationFile").field(&self.path).finish()
    }
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let Value::Object(members) = serde_json::from_slice(text).map_err(|error| error.to_string())? else {
        return Err("the configuration file is not a JSON object".to_owned());
    };
    let scalar = |(key, value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Array(_) | Value::Object(_) => Err(format!("item {key:?} is neither a text nor another scalar")),
        scalar => Ok((key, scalar.to_string())),
    };
    members.into_iter().map(scalar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_broken_or_gone_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.json");
        fs::write(&path, r#"{"colour": "blue"}"#).unwrap();
        let (file, store) = (ConfigurationFile::new(path.clone()), ConfigurationStore::default());
        let colour = || store.get(&[]).get("colour").map(|item| item.value.clone());
        file.refresh(&store);
        assert_eq!(colour().as_deref(), Some("blue"));
        for broken in [r#"{"colour": "#, "", "[]", r#"{"colour": {}}"#] {
            fs::write(&path, broken).unwrap();
            file.refresh(&store);
            assert_eq!(colour().as_deref(), Some("blue"), "{broken}");
        }
        fs::remove_file(&path).unwrap();
        file.refresh(&store);
        assert_eq!(colour().as_deref(), Some("blue"));
        fs::write(&path, r#"{"colour": "red"}"#).unwrap();
        file.refresh(&store);
        assert_eq!(colour().as_deref(), Some("red"));
    }
}
