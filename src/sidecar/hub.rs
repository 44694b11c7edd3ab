//! The components that the sidecars of one process share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::actors::{Host, Reminders};
use super::app::App;
use super::bindings::Binding;
use super::builder::SidecarBuilder;
use super::clock::Clock;
use super::components::{ConfigurationFile, ConfigurationStore, LockStore, SecretStore};
use super::fault::{Fault, Faults};
use super::hub_builder::HubBuilder;
use super::jobs::Jobs;
use super::lock::lock;
use super::pubsub::PubSub;
use super::resources::Declared;
use super::secret::Secret;
use super::state_store::StateStore;
use super::stats::{Ledger, Stats};
use super::tasks::Tasks;

/// In-memory components, shared by the sidecars of several apps.
///
/// A clone is the same hub. Dropping it stops nothing: each [`Sidecar`](super::Sidecar) stops when it is dropped, and
/// [`shutdown`](Self::shutdown) stops them all. See the [module docs](super) for an example.
#[derive(Clone, Debug)]
pub struct Hub {
    pub(super) state: Arc<HubState>,
}

/// What all sidecars of a hub see.
#[derive(Debug)]
pub(super) struct HubState {
    pub(super) clock: Clock,
    pub(super) state_stores: BTreeMap<String, Arc<StateStore>>,
    /// The one of them that has the state of actors.
    pub(super) actor_state_store: Option<String>,
    pub(super) pubsubs: BTreeMap<String, Arc<PubSub>>,
    pub(super) secret_stores: BTreeMap<String, SecretStore>,
    pub(super) configuration_stores: BTreeMap<String, Arc<ConfigurationStore>>,
    /// The files that some of these follow.
    pub(super) configuration_files: Vec<(ConfigurationFile, Arc<ConfigurationStore>)>,
    pub(super) lock_stores: BTreeMap<String, Arc<LockStore>>,
    pub(super) bindings: BTreeMap<String, Binding>,
    pub(super) jobs: Jobs,
    pub(super) reminders: Reminders,
    /// Counts when an app begins to host actors; its end is that of the hub.
    pub(super) hosts_changed: watch::Sender<u64>,
    pub(super) faults: Faults,
    pub(super) declared: Vec<Declared>,
    pub(super) api_token: Option<Secret>,
    pub(super) shutdown: CancellationToken,
    /// What belongs to no app. They hold no hub.
    pub(super) tasks: Tasks,
    pub(super) ledger: Ledger,
    /// Weak: a sidecar owns its app.
    pub(super) apps: Mutex<HashMap<String, Weak<App>>>,
}

// ===== impl Hub =====

impl Hub {
    /// A hub without components.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// A sidecar for the app of this id, to be configured and started.
    ///
    /// The id is a name of letters, digits, `-` and `_`; anything else is refused by
    /// [`start`](SidecarBuilder::start).
    pub fn app(&self, id: impl Into<String>) -> SidecarBuilder {
        SidecarBuilder::new(id.into(), Arc::clone(&self.state))
    }

    /// Waits until every accepted delivery was acknowledged, dropped or given up.
    ///
    /// Cancel safe. A publish call that has returned has been accepted.
    pub async fn settled(&self) {
        self.state.ledger.settled().await;
    }

    /// What became of the deliveries so far.
    pub fn stats(&self) -> Stats {
        self.state.ledger.snapshot()
    }

    /// Sets an item of a configuration store; its subscribers are told. `false` when there is no such store.
    pub fn set_configuration(&self, store: &str, key: &str, value: impl Into<String>) -> bool {
        let store = self.state.configuration_stores.get(store);
        store.map(|store| store.set(key, value.into())).is_some()
    }

    /// Deletes an item of a configuration store; its subscribers get it empty. `false` when there is no such store.
    pub fn delete_configuration(&self, store: &str, key: &str) -> bool {
        let store = self.state.configuration_stores.get(store);
        store.map(|store| store.delete(key)).is_some()
    }

    /// The next `times` calls of this rpc fail with `code`. Short for [`inject`](Self::inject) with [`Fault::Fail`].
    pub fn fail_next(&self, rpc: &str, code: tonic::Code, times: u32) {
        self.inject(rpc, Fault::Fail(code), times);
    }

    /// The next `times` calls of this rpc, of any app, have this fault. Faults of one rpc happen in the order in which
    /// they were injected. The rpc is named as in Dapr's gRPC API, such as `SaveState`; its HTTP API is left alone.
    pub fn inject(&self, rpc: &str, fault: Fault, times: u32) {
        self.state.faults.plan(rpc, fault, times);
    }

    /// Stops all sidecars of this hub and waits until their last task is gone. No further one can be started.
    ///
    /// Actors are deactivated. Calls and deliveries under way are cut; wait for [`settled`](Self::settled) first where that
    /// matters.
    pub async fn shutdown(&self) {
        let leave = || lock(&self.state.apps).drain().filter_map(|(_, app)| app.upgrade()).collect::<Vec<_>>();
        let apps = leave();
        for app in &apps {
            Host::drain(app).await;
        }
        self.state.shutdown.cancel();
        // Also those that were started meanwhile.
        for app in apps.into_iter().chain(leave()) {
            app.tasks.join().await;
        }
        self.state.tasks.join().await;
    }
}

// ===== impl HubState =====

impl HubState {
    /// The app of this id. Ids are names: this look-up is all that is ever done with them.
    pub(super) fn find(&self, id: &str) -> Option<Arc<App>> {
        lock(&self.apps).get(id).and_then(Weak::upgrade)
    }

    pub(super) fn apps(&self) -> Vec<Arc<App>> {
        lock(&self.apps).values().filter_map(Weak::upgrade).collect()
    }

    /// `false` when the id is taken.
    pub(super) fn enter(&self, app: &Arc<App>) -> bool {
        let mut apps = lock(&self.apps);
        if apps.get(&app.id).is_some_and(|known| known.strong_count() > 0) {
            return false;
        }
        apps.insert(app.id.clone(), Arc::downgrade(app));
        true
    }

    pub(super) fn leave(&self, app: &Arc<App>) {
        let mut apps = lock(&self.apps);
        if apps.get(&app.id).is_some_and(|known| known.as_ptr() == Arc::as_ptr(app)) {
            apps.remove(&app.id);
        }
    }
}
