mod reminder;
mod state;

use std::fmt;

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{InvokeActorRequest, InvokeActorResponse as Answer, dapr_client::DaprClient};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Dapr, DaprService,
    parts::{Component, Metadata, Payload, sent_when_awaited},
};
use crate::Error;

pub use self::{
    reminder::{ActorReminder, RegisterReminder, RegisterTimer},
    state::ActorTransaction,
};

const INVOKE: &str = "invoke actor";

/// One actor, as seen by its callers. Made by [`Dapr::actor`].
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let cart = dapr.actor("Cart", "alice");
/// let items: u32 = cart.invoke("add").json(&"tea").await?.json()?;
/// # Ok(())
/// # }
/// ```
///
/// [`invoke`](Self::invoke) may be called by any app. State, reminders and timers are for the app that hosts the actor:
/// Dapr refuses others.
#[derive(Debug, Clone)]
pub struct Actor {
    actor_type: Component,
    id: String,
}

impl Actor {
    pub(super) fn new(dapr: Dapr, actor_type: String, id: String) -> Self {
        Self { actor_type: Component::new(dapr, actor_type), id }
    }

    /// Calls a method of the actor, when awaited.
    pub fn invoke(&self, method: impl Into<String>) -> InvokeActor {
        let method = method.into();
        InvokeActor { actor: self.clone(), method, data: Payload::default(), metadata: Metadata::default() }
    }

    /// The client, the type and the id, for a call.
    fn call(&self, operation: &'static str) -> Result<(DaprClient<DaprService>, String, String), Error> {
        let (client, actor_type) = self.actor_type.call(operation)?;
        if self.id.is_empty() {
            return Err(self.actor_type.invalid(operation, "the actor's id is empty"));
        }
        Ok((client, actor_type, self.id.clone()))
    }
}

/// A call of an actor that is not sent yet. Made by [`Actor::invoke`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if type or id is empty or the data cannot be written as JSON ([`Error::is_invalid`]; nothing was sent), no
/// app hosts the type (`FAILED_PRECONDITION`, after about 5 s), the actor fails (`INTERNAL`), or there is no placement
/// service (`UNAVAILABLE`, for good).
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct InvokeActor {
    actor: Actor,
    method: String,
    data: Payload,
    metadata: Metadata,
}

impl InvokeActor {
    /// The data: this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = Payload::json(data);
        self
    }

    /// The data: these bytes.
    pub fn bytes(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Payload::bytes(data);
        self
    }

    /// Metadata, which the actor gets as headers.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.0.insert(key.into(), value.into());
        self
    }

    async fn send(self) -> Result<InvokeActorResponse, Error> {
        let Self { actor, method, data, metadata } = self;
        let (mut client, actor_type, actor_id) = actor.call(INVOKE)?;
        let data = data.take(INVOKE, &actor_type)?;
        let request = InvokeActorRequest { actor_type, actor_id, method, data, metadata: metadata.0 };
        let answer = client.invoke_actor(request).await.map_err(actor.actor_type.failed(INVOKE))?.into_inner();
        Ok(InvokeActorResponse { actor_type: actor.actor_type, answer })
    }
}

sent_when_awaited! {
    InvokeActor => InvokeActorResponse;
}

/// The answer of an actor. Its `Debug` does not show it.
#[derive(Clone)]
pub struct InvokeActorResponse {
    actor_type: Component,
    answer: Answer,
}

impl InvokeActorResponse {
    /// The data.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.answer.data
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    ///
    /// If the data is not a `T` ([`Error::is_decode`]).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.actor_type.decode(INVOKE, &self.answer.data)
    }
}

impl fmt::Debug for InvokeActorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvokeActorResponse").field("actor_type", &self.actor_type).finish_non_exhaustive()
    }
}
