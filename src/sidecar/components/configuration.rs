//! A configuration store whose items are set through the hub, and watched by subscribers.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::mpsc;

use crate::sidecar::lock::lock;

/// An item as a reader sees it. A deleted one is empty, as that of `configuration.redis`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sidecar) struct Item {
    pub(in crate::sidecar) value: String,
    pub(in crate::sidecar) version: String,
}

/// The changes of some keys, in order. Dropping it ends the subscription.
#[derive(Debug)]
pub(in crate::sidecar) struct Watch {
    pub(in crate::sidecar) changes: mpsc::UnboundedReceiver<(String, Item)>,
}

#[derive(Debug, Default)]
pub(in crate::sidecar) struct ConfigurationStore(Mutex<Items>);

#[derive(Debug, Default)]
struct Items {
    by_key: BTreeMap<String, Item>,
    version: u64,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    /// None in it: all of them.
    keys: Vec<String>,
    changes: mpsc::UnboundedSender<(String, Item)>,
}

// ===== impl ConfigurationStore =====

impl ConfigurationStore {
    /// The items of these keys; of none given, all. What is not there is left out.
    pub(in crate::sidecar) fn get(&self, keys: &[String]) -> BTreeMap<String, Item> {
        let items = lock(&self.0);
        let wanted = items.by_key.iter().filter(|(key, _)| keys.is_empty() || keys.contains(key));
        wanted.map(|(key, item)| (key.clone(), item.clone())).collect()
    }

    /// Each change gets the next version.
    pub(in crate::sidecar) fn set(&self, key: &str, value: String) {
        let mut items = lock(&self.0);
        items.version += 1;
        let item = Item { value, version: items.version.to_string() };
        items.by_key.insert(key.to_owned(), item.clone());
        items.tell(key, &item);
    }

    pub(in crate::sidecar) fn delete(&self, key: &str) {
        let mut items = lock(&self.0);
        if items.by_key.remove(key).is_some() {
            items.tell(key, &Item::default());
        }
    }

    pub(in crate::sidecar) fn watch(&self, keys: Vec<String>) -> Watch {
        let (sender, changes) = mpsc::unbounded_channel();
        lock(&self.0).watchers.push(Watcher { keys, changes: sender });
        Watch { changes }
    }
}

// ===== impl Items =====

impl Items {
    fn tell(&mut self, key: &str, item: &Item) {
        self.watchers.retain(|watcher| {
            let wanted = watcher.keys.is_empty() || watcher.keys.iter().any(|one| one == key);
            if wanted {
                watcher.changes.send((key.to_owned(), item.clone())).is_ok()
            } else {
                !watcher.changes.is_closed()
            }
        });
    }
}
