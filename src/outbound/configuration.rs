use std::{
    collections::{BTreeMap, HashMap},
    error::Error as _,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use dapr::dapr::proto::{
    common::v1::ConfigurationItem as Item,
    runtime::v1::{GetConfigurationRequest, SubscribeConfigurationRequest, SubscribeConfigurationResponse},
};
use tokio_stream::Stream;
use tonic::{Code, Streaming};

use super::{
    Dapr,
    backoff::Backoff,
    parts::{Component, Hidden, Metadata},
};
use crate::Error;

const GET: &str = "get configuration from";
const SUBSCRIBE: &str = "subscribe to configuration of";

/// A configuration store. Made by [`Dapr::configuration`].
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let settings = dapr.configuration("settings");
/// let now = settings.get(["limit"]).await?;
/// println!("{:?}", now.get("limit").map(|limit| &limit.value));
///
/// let mut changes = settings.subscribe(["limit"]);
/// while let Some(items) = changes.next().await {
///     for (key, item) in items? {
///         println!("{key} is {} now", item.value);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Configuration {
    store: Component,
    metadata: Metadata,
}

/// A value of a configuration store. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigurationItem {
    /// The value.
    pub value: String,
    /// Its version. Empty if the store has none.
    pub version: String,
    /// What the store says beside.
    pub metadata: HashMap<String, String>,
}

/// Items by their keys.
pub type ConfigurationItems = BTreeMap<String, ConfigurationItem>;

impl Configuration {
    pub(super) fn new(dapr: Dapr, store: String) -> Self {
        Self { store: Component::new(dapr, store), metadata: Metadata::default() }
    }

    /// Metadata for the component, with each call.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    /// The items of these keys; of none: all that there are. A key without an item is absent.
    ///
    /// # Errors
    ///
    /// If the store's name is empty ([`Error::is_invalid`]), there is no such store (`INVALID_ARGUMENT`,
    /// [`Error::dapr_error_code`] `ERR_CONFIGURATION_STORE_NOT_FOUND`), or the call fails.
    pub async fn get(&self, keys: impl IntoIterator<Item = impl Into<String>>) -> Result<ConfigurationItems, Error> {
        self.read(keys.into_iter().map(Into::into).collect()).await
    }

    async fn read(&self, keys: Vec<String>) -> Result<ConfigurationItems, Error> {
        let (mut client, store_name) = self.store.call(GET)?;
        let request = GetConfigurationRequest { store_name, keys, metadata: self.metadata.0.clone() };
        let answer = client.get_configuration(request).await.map_err(self.store.failed(GET))?;
        Ok(items(answer.into_inner().items))
    }

    /// The items of these keys, first as they are, then whenever one changes; of no keys: all that there are.
    ///
    /// The stream connects when it is first polled. It never ends by itself: after the connection was lost it subscribes
    /// again (after 100 ms, later after up to 10 s) and gives all items as they are then, so that no change is missed,
    /// though one may be told twice. Dropping it unsubscribes: the call is cut, which is how daprd wants it
    /// (`UnsubscribeConfiguration` is deprecated since 1.18 at the latest).
    ///
    /// # Errors
    ///
    /// An item is an error, and the last, if subscribing again would not help: the store's name is empty, there is no such
    /// store, this app may not read it, or the sidecar does not know the call.
    pub fn subscribe(&self, keys: impl IntoIterator<Item = impl Into<String>>) -> ConfigurationStream {
        let session = Session {
            configuration: self.clone(),
            keys: keys.into_iter().map(Into::into).collect(),
            stream: None,
            was_connected: false,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
        };
        let items = futures_util::stream::unfold(Some(session), |session| async { session?.next().await });
        ConfigurationStream { store: self.store.clone(), items: Box::pin(items) }
    }
}

fn items(items: HashMap<String, Item>) -> ConfigurationItems {
    let item = |Item { value, version, metadata }| ConfigurationItem { value, version, metadata };
    items.into_iter().map(|(key, found)| (key, item(found))).collect()
}

impl fmt::Debug for ConfigurationItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigurationItem").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Items and their changes. Made by [`Configuration::subscribe`], which says how it behaves.
#[must_use = "nothing is subscribed to until it is polled"]
pub struct ConfigurationStream {
    store: Component,
    items: Pin<Box<dyn Stream<Item = Result<ConfigurationItems, Error>> + Send>>,
}

impl ConfigurationStream {
    /// The next items. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`Configuration::subscribe`] says.
    pub async fn next(&mut self) -> Option<Result<ConfigurationItems, Error>> {
        poll_fn(|cx| self.items.as_mut().poll_next(cx)).await
    }
}

impl Stream for ConfigurationStream {
    type Item = Result<ConfigurationItems, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ConfigurationStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigurationStream").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What a stream knows between two items.
struct Session {
    configuration: Configuration,
    keys: Vec<String>,
    stream: Option<Streaming<SubscribeConfigurationResponse>>,
    was_connected: bool,
    backoff: Backoff,
}

impl Session {
    /// The next items, with what comes after them: nothing behind an error.
    async fn next(mut self) -> Option<(Result<ConfigurationItems, Error>, Option<Self>)> {
        loop {
            let told = match &mut self.stream {
                None => self.connect().await,
                Some(stream) => match stream.message().await {
                    Ok(Some(update)) => {
                        self.backoff.reset();
                        Ok(items(update.items))
                    }
                    Ok(None) => Err(Error::protocol(SUBSCRIBE, self.name(), "the sidecar ended the subscription")),
                    Err(status) => Err(Error::status(SUBSCRIBE, self.name(), status)),
                },
            };
            match told {
                Ok(items) if items.is_empty() => {}
                Ok(items) => return Some((Ok(items), Some(self))),
                Err(error) => {
                    self.stream = None;
                    if is_permanent(&error, self.was_connected) {
                        return Some((Err(error), None));
                    }
                    tracing::warn!(%error, "subscribing again");
                    self.backoff.pause().await;
                }
            }
        }
    }

    fn name(&self) -> &str {
        self.configuration.store.name()
    }

    /// Subscribes, then reads all items: in this order, so that no change falls between.
    async fn connect(&mut self) -> Result<ConfigurationItems, Error> {
        let Configuration { store, metadata } = &self.configuration;
        let (mut client, store_name) = store.call(SUBSCRIBE)?;
        let (keys, Hidden(metadata)) = (self.keys.clone(), metadata.clone());
        let request = SubscribeConfigurationRequest { store_name, keys, metadata };
        let answer = client.subscribe_configuration(request).await.map_err(store.failed(SUBSCRIBE))?;
        let mut stream = answer.into_inner();
        // The first message holds no items: it says that the store has agreed.
        if stream.message().await.map_err(store.failed(SUBSCRIBE))?.is_none() {
            return Err(Error::protocol(SUBSCRIBE, store.name(), "the sidecar ended the subscription"));
        }
        self.stream = Some(stream);
        self.was_connected = true;
        self.configuration.read(self.keys.clone()).await
    }
}

/// Would it fail again the same way?
fn is_permanent(error: &Error, was_connected: bool) -> bool {
    match error.code() {
        None => error.is_invalid(),
        // With this reason it may be the store that is away for a while: of one that has worked before this is likelier
        // than that it was configured anew.
        Some(Code::InvalidArgument) => {
            !(was_connected && error.dapr_error_code().as_deref() == Some("ERR_CONFIGURATION_SUBSCRIBE"))
        }
        Some(
            Code::NotFound
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented,
        ) => true,
        // What a sidecar says that does not know the call. With a source it is no answer: the way there is broken.
        Some(Code::Unknown) => !was_connected && error.as_status().is_some_and(|status| status.source().is_none()),
        Some(_) => false,
    }
}
