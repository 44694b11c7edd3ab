//! The components that the sidecars of one process share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use tokio_util::sync::CancellationToken;

use super::app::App;
use super::builder::SidecarBuilder;
use super::clock::Clock;
use super::lock::lock;
use super::pubsub::{PubSub, RetryPolicy};
use super::secret::Secret;
use super::state_store::StateStore;
use super::stats::{Ledger, Stats};

/// In-memory components, shared by the sidecars of several apps.
///
/// A clone is the same hub. Dropping it stops nothing: each [`Sidecar`](super::Sidecar) stops when it is dropped, and
/// [`shutdown`](Self::shutdown) stops them all. See the [module docs](super) for an example.
#[derive(Clone, Debug)]
pub struct Hub {
    state: Arc<HubState>,
}

/// Settings of a [`Hub`]. See [`Hub::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HubBuilder {
    state_stores: Vec<String>,
    pubsubs: Vec<String>,
    inbound_retries: HashMap<String, RetryPolicy>,
    api_token: Option<Secret>,
}

/// What all sidecars of a hub see.
#[derive(Debug)]
pub(super) struct HubState {
    pub(super) clock: Clock,
    pub(super) state_stores: BTreeMap<String, Arc<StateStore>>,
    pub(super) pubsubs: BTreeMap<String, Arc<PubSub>>,
    pub(super) api_token: Option<Secret>,
    pub(super) shutdown: CancellationToken,
    ledger: Ledger,
    /// Weak: a sidecar owns its app.
    apps: Mutex<HashMap<String, Weak<App>>>,
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

    /// Stops all sidecars of this hub and waits until their last task is gone. No further one can be started.
    ///
    /// Calls and deliveries under way are cut; wait for [`settled`](Self::settled) first where that matters.
    pub async fn shutdown(&self) {
        self.state.shutdown.cancel();
        let apps: Vec<_> = lock(&self.state.apps).drain().filter_map(|(_, app)| app.upgrade()).collect();
        for app in apps {
            app.tasks.join().await;
        }
    }
}

// ===== impl HubBuilder =====

impl HubBuilder {
    /// Adds a state store of type `state.in-memory`. The keys of each app are its own, as in daprd.
    pub fn state_store(mut self, name: impl Into<String>) -> Self {
        self.state_stores.push(name.into());
        self
    }

    /// Adds a pubsub component of type `pubsub.in-memory`, which reaches all apps of the hub.
    ///
    /// Delivery is serial per subscription; up to 1,024 messages wait for each, then publishing waits.
    pub fn pubsub(mut self, name: impl Into<String>) -> Self {
        self.pubsubs.push(name.into());
        self
    }

    /// Sends refused events of this pubsub component again. Defaults to no policy: a refused event is gone, as with a
    /// real daprd that has no Resiliency resource.
    pub fn inbound_retry(mut self, pubsub: impl Into<String>, policy: RetryPolicy) -> Self {
        self.inbound_retries.insert(pubsub.into(), policy);
        self
    }

    /// Callers of the sidecars must send this token as `dapr-api-token`, as with `DAPR_API_TOKEN`. Defaults to none;
    /// an empty token is none.
    pub fn api_token(mut self, token: impl Into<String>) -> Self {
        self.api_token = Secret::new(token.into());
        self
    }

    /// The hub. Nothing runs until a sidecar is started.
    pub fn build(self) -> Hub {
        for pubsub in self.inbound_retries.keys().filter(|name| !self.pubsubs.contains(name)) {
            tracing::warn!(?pubsub, "inbound retry policy for a pubsub component that is not there");
        }
        let (clock, ledger) = (Clock::start(), Ledger::default());
        let stores = self.state_stores.into_iter().map(|name| (name, Arc::new(StateStore::new(clock))));
        let pubsubs = self.pubsubs.into_iter().map(|name| {
            let retry = self.inbound_retries.get(&name).copied();
            (name.clone(), Arc::new(PubSub::new(name, retry, ledger.clone())))
        });
        let state = HubState {
            clock,
            state_stores: stores.collect(),
            pubsubs: pubsubs.collect(),
            api_token: self.api_token,
            shutdown: CancellationToken::new(),
            ledger,
            apps: Mutex::default(),
        };
        Hub { state: Arc::new(state) }
    }
}

// ===== impl HubState =====

impl HubState {
    /// The app of this id. Ids are names: this look-up is all that is ever done with them.
    pub(super) fn find(&self, id: &str) -> Option<Arc<App>> {
        lock(&self.apps).get(id).and_then(Weak::upgrade)
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
