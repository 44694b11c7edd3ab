//! Which components a hub has.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::actors::Reminders;
use super::bindings::{Binding, CronInput, HttpOutput, LocalStorage};
use super::clock::Clock;
use super::components::{ConfigurationFile, ConfigurationStore, SecretStore};
use super::error::ComponentError;
use super::fault::Faults;
use super::hub::{Hub, HubState};
use super::jobs::Jobs;
use super::pubsub::{PubSub, RetryPolicy};
use super::resources::{self, Declared};
use super::schedule::Schedule;
use super::secret::Secret;
use super::state_store::{Sqlite, SqliteSettings, StateStore};
use super::stats::Ledger;
use super::tasks::Tasks;

/// Settings of a [`Hub`]. See [`Hub::builder`].
///
/// ```
/// use tower_dapr::sidecar::Hub;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder()
///     .state_store("statestore")
///     .pubsub("bus")
///     .secrets("vault", [("db-password", "hidden")])
///     .configuration_store("settings")
///     .lock_store("locks")
///     .cron("every-minute", "0 * * * * *")?
///     .build();
/// assert!(hub.set_configuration("settings", "colour", "blue"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HubBuilder {
    /// Those of a file have one.
    state_stores: BTreeMap<String, Option<Arc<Sqlite>>>,
    pub(super) actor_state_store: Option<String>,
    pubsubs: Vec<String>,
    inbound_retries: HashMap<String, RetryPolicy>,
    secret_stores: BTreeMap<String, SecretStore>,
    /// Those of a file have one.
    configuration_stores: BTreeMap<String, Option<PathBuf>>,
    lock_stores: Vec<String>,
    bindings: BTreeMap<String, Binding>,
    pub(super) declared: Vec<Declared>,
    api_token: Option<Secret>,
}

// ===== impl HubBuilder =====

impl HubBuilder {
    /// Adds a state store of type `state.in-memory`. The keys of each app are its own, as in daprd.
    pub fn state_store(mut self, name: impl Into<String>) -> Self {
        self.state_stores.insert(name.into(), None);
        self
    }

    /// Keeps the state of actors in this store, as `actorStateStore: "true"` says: of the stores so named, in the last one.
    /// It is added in memory, unless it is one in a [file](Self::state_file). Such state may have a time to live, which
    /// daprd allows with its feature `ActorStateTTL` only.
    pub fn actor_state_store(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.state_stores.entry(name.clone()).or_default();
        self.actor_state_store = Some(name);
        self
    }

    /// Adds a state store of type `state.sqlite`: one file, made if need be, whose state is still there after a restart.
    /// The etags, conditions and errors are those of the store in memory, and the table is that of daprd's component, so
    /// either can open the file of the other. Several hubs and processes may use one file.
    ///
    /// Opens the file now: call it before the runtime has other work, because it waits up to 2 s for another process that
    /// holds the file. Later calls wait as long, off the runtime's threads. What expired is measured by the wall clock.
    ///
    /// A write that was answered is there after the process was killed; a transaction is there as a whole or not at all.
    ///
    /// ```
    /// # use tower_dapr::sidecar::Hub;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// let hub = Hub::builder().state_file("statestore", directory.path().join("state.db"))?.build();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the file is no database, is locked, cannot be written, or its directory does not exist.
    pub fn state_file(self, name: impl Into<String>, path: impl AsRef<Path>) -> Result<Self, ComponentError> {
        self.sqlite(name.into(), SqliteSettings::new(path.as_ref()))
    }

    pub(super) fn sqlite(mut self, name: String, settings: SqliteSettings) -> Result<Self, ComponentError> {
        let file = Sqlite::open(settings).map_err(|reason| ComponentError::new(&name, reason))?;
        self.state_stores.insert(name, Some(Arc::new(file)));
        Ok(self)
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

    /// Adds a secret store with these secrets, each of one value.
    pub fn secrets<K, V>(mut self, name: impl Into<String>, secrets: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        let secrets = secrets.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.secret_stores.insert(name.into(), SecretStore::of_pairs(secrets));
        self
    }

    /// Adds a secret store of type `secretstores.local.env`: the variables of this process, without `DAPR_*` and
    /// `APP_API_TOKEN`. A variable that is not set is an empty secret, as in daprd.
    pub fn environment_secrets(self, name: impl Into<String>) -> Self {
        self.environment(name.into(), String::new())
    }

    pub(super) fn environment(mut self, name: String, prefix: String) -> Self {
        self.secret_stores.insert(name, SecretStore::Environment { prefix });
        self
    }

    /// Adds a secret store of type `secretstores.local.file`, read now. The names of nested secrets are joined with `:`.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or has an array in it.
    pub fn secrets_file(self, name: impl Into<String>, path: impl AsRef<Path>) -> Result<Self, ComponentError> {
        self.secrets_json(name.into(), path.as_ref(), ":", false)
    }

    pub(super) fn secrets_json(
        mut self,
        name: String,
        path: &Path,
        separator: &str,
        is_multi_valued: bool,
    ) -> Result<Self, ComponentError> {
        let text = std::fs::read(path).map_err(|error| ComponentError::new(&name, error))?;
        let store = SecretStore::of_json(&text, separator, is_multi_valued);
        let store = store.map_err(|reason| ComponentError::new(&name, reason))?;
        self.secret_stores.insert(name, store);
        Ok(self)
    }

    /// Adds a configuration store. Its items are set with [`Hub::set_configuration`].
    pub fn configuration_store(mut self, name: impl Into<String>) -> Self {
        self.configuration_stores.insert(name.into(), None);
        self
    }

    /// Adds a configuration store with the items of a JSON file, such as `{"colour": "blue", "limit": 3}`. The file is
    /// looked at four times a second while a sidecar runs: what changed in it changes in the store, and subscribers are
    /// told. A file that cannot be used any more changes nothing, with a warning.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or has an array or an object in it.
    pub fn configuration_file(
        mut self,
        name: impl Into<String>,
        path: impl AsRef<Path>,
    ) -> Result<Self, ComponentError> {
        let (name, path) = (name.into(), path.as_ref());
        ConfigurationFile::check(path).map_err(|reason| ComponentError::new(&name, reason))?;
        self.configuration_stores.insert(name, Some(path.to_owned()));
        Ok(self)
    }

    /// Adds a lock store. The locks of each app are its own, as in daprd.
    pub fn lock_store(mut self, name: impl Into<String>) -> Self {
        self.lock_stores.push(name.into());
        self
    }

    /// Adds an output binding of type `bindings.localstorage`: files below `root`, which is made now. No name of a file
    /// leads out of it, by `..` or by a link.
    ///
    /// # Errors
    /// When the directory can neither be made nor resolved.
    pub fn local_storage(mut self, name: impl Into<String>, root: impl AsRef<Path>) -> Result<Self, ComponentError> {
        let name = name.into();
        let files = LocalStorage::open(root.as_ref()).map_err(|error| ComponentError::new(&name, error))?;
        self.bindings.insert(name, Binding::LocalStorage(Arc::new(files)));
        Ok(self)
    }

    /// Adds an output binding of type `bindings.http`. Requests go to this `http://` URL and to paths below it;
    /// redirects are not followed.
    ///
    /// # Errors
    /// When it is no `http://` URL with a host. There is no TLS here.
    pub fn http_binding(self, name: impl Into<String>, url: impl Into<String>) -> Result<Self, ComponentError> {
        self.http_output(name.into(), url.into(), true)
    }

    pub(super) fn http_output(mut self, name: String, url: String, fails: bool) -> Result<Self, ComponentError> {
        let output = HttpOutput::new(url, fails).map_err(|reason| ComponentError::new(&name, reason))?;
        self.bindings.insert(name, Binding::Http(Arc::new(output)));
        Ok(self)
    }

    /// Adds an input binding of type `bindings.cron`, in UTC: `@every 10s`, `@daily`, or five or six fields, of which
    /// the first of six is the seconds. It calls `POST /<name>` of each app that answers `OPTIONS /<name>`.
    ///
    /// # Errors
    /// When the schedule cannot be read.
    pub fn cron(self, name: impl Into<String>, schedule: &str) -> Result<Self, ComponentError> {
        self.cron_input(name.into(), schedule, None, false)
    }

    pub(super) fn cron_input(
        mut self,
        name: String,
        schedule: &str,
        route: Option<String>,
        is_wanted: bool,
    ) -> Result<Self, ComponentError> {
        let invalid = || ComponentError::new(&name, format!("invalid schedule {schedule:?}"));
        let schedule = Schedule::parse(schedule).ok_or_else(invalid)?;
        self.bindings.insert(name, Binding::Cron(CronInput { schedule, route, is_wanted }));
        Ok(self)
    }

    /// Adds what the `*.yaml` and `*.yml` files of a directory describe: components, subscriptions, and of resiliency the
    /// inbound retries of pubsub components. State of type `state.sqlite` is in its file. Components of another type than this
    /// sidecar has are kept in memory, or ignored if there is no such building block, and metadata that it does not read is
    /// ignored, both with a warning; if `strict`, they are refused. The scopes of components are not read: a hub's
    /// components are for all its apps.
    ///
    /// # Errors
    /// When a file cannot be read or is no YAML, or a resource says something that cannot be done.
    pub fn resources(self, directory: impl AsRef<Path>, strict: bool) -> Result<Self, ComponentError> {
        resources::load(self, directory.as_ref(), strict)
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
        let stores = self.state_stores.into_iter().map(|(name, file)| {
            let store = file.map_or_else(|| StateStore::in_memory(clock), |file| StateStore::in_file(clock, file));
            (name, Arc::new(store))
        });
        let pubsubs = self.pubsubs.into_iter().map(|name| {
            let retry = self.inbound_retries.get(&name).copied();
            (name.clone(), Arc::new(PubSub::new(name, retry, ledger.clone())))
        });
        let shutdown = CancellationToken::new();
        let mut configuration_files = Vec::new();
        let configurations = self.configuration_stores.into_iter().map(|(name, path)| {
            let store = Arc::new(ConfigurationStore::default());
            if let Some(file) = path.map(ConfigurationFile::new) {
                file.refresh(&store);
                configuration_files.push((file, Arc::clone(&store)));
            }
            (name, store)
        });
        let state = HubState {
            clock,
            state_stores: stores.collect(),
            actor_state_store: self.actor_state_store,
            pubsubs: pubsubs.collect(),
            secret_stores: self.secret_stores,
            configuration_stores: configurations.collect(),
            configuration_files,
            lock_stores: self.lock_stores.into_iter().map(|name| (name, Arc::default())).collect(),
            bindings: self.bindings,
            jobs: Jobs::default(),
            reminders: Reminders::default(),
            hosts_changed: watch::Sender::new(0),
            faults: Faults::default(),
            declared: self.declared,
            api_token: self.api_token,
            tasks: Tasks::child_of(&shutdown),
            shutdown,
            ledger,
            apps: Mutex::default(),
        };
        Hub { state: Arc::new(state) }
    }
}
