//! Which app hosts an actor: what daprd has a placement service for.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Key;
use crate::sidecar::app::App;
use crate::sidecar::hub::HubState;

/// The app that hosts an actor; not one whose sidecar stops. Several apps that host its type share by the highest hash of
/// app and id: when one comes or goes, only its own share moves.
pub(super) fn owner(hub: &HubState, key: &Key) -> Option<Arc<App>> {
    let mut hosts = hub.apps();
    hosts.retain(|app| app.host.takes(&key.kind));
    if hosts.len() < 2 {
        return hosts.pop();
    }
    hosts.into_iter().max_by_key(|app| score(&app.id, key))
}

pub(super) fn is_owner(app: &Arc<App>, key: &Key) -> bool {
    owner(&app.hub, key).is_some_and(|owner| Arc::ptr_eq(&owner, app))
}

fn score(app: &str, key: &Key) -> [u8; 32] {
    let mut hash = Sha256::new();
    // No name has a NUL.
    for part in [app, &key.kind, &key.id] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().into()
}
