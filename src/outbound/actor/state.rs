use std::{collections::HashMap, time::Duration};

use dapr::dapr::proto::runtime::v1::{
    ExecuteActorStateTransactionRequest, GetActorStateRequest, TransactionalActorStateOperation,
};
use serde::{Serialize, de::DeserializeOwned};

use super::Actor;
use crate::{
    Error,
    outbound::parts::{Hidden, Payload, sent_when_awaited, whole_seconds},
};

const GET: &str = "get state of actor";
const TRANSACT: &str = "write state of actor";

impl Actor {
    /// Reads the JSON value of a key of the actor's state; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If type or id is empty ([`Error::is_invalid`]), the value is not a `T` ([`Error::is_decode`]), or the call fails.
    pub async fn state<T: DeserializeOwned>(&self, key: impl Into<String>) -> Result<Option<T>, Error> {
        let (mut client, actor_type, actor_id) = self.call(GET)?;
        let request = GetActorStateRequest { actor_type, actor_id, key: key.into() };
        let answer = client.get_actor_state(request).await.map_err(self.actor_type.failed(GET))?.into_inner();
        if answer.data.is_empty() {
            return Ok(None);
        }
        self.actor_type.decode(GET, &answer.data).map(Some)
    }

    /// Several writes of the actor's state that happen together or not at all. Sent when awaited.
    pub fn transaction(&self) -> ActorTransaction {
        ActorTransaction { actor: self.clone(), operations: Vec::new(), invalid: None }
    }
}

/// Writes of an actor's state that are not sent yet. Made by [`Actor::transaction`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if type or id is empty, a time to live is zero or a value cannot be written as JSON
/// ([`Error::is_invalid`]; nothing was sent), or the call fails, as it does for an actor that this app does not host.
#[derive(Debug)]
#[must_use = "nothing is written until it is awaited"]
pub struct ActorTransaction {
    actor: Actor,
    operations: Vec<Operation>,
    invalid: Option<&'static str>,
}

#[derive(Debug)]
struct Operation {
    key: Hidden<String>,
    /// `None` deletes.
    value: Option<Payload>,
    ttl: Option<u64>,
}

impl ActorTransaction {
    /// Writes a value as JSON.
    pub fn save<T: Serialize + ?Sized>(mut self, key: impl Into<String>, value: &T) -> Self {
        let value = Some(Payload::json(value));
        self.operations.push(Operation { key: Hidden(key.into()), value, ttl: None });
        self
    }

    /// Writes a value as JSON, for this long, in whole seconds, rounded up. Dapr refuses it unless its feature
    /// `ActorStateTTL` is enabled.
    pub fn save_for<T: Serialize + ?Sized>(mut self, key: impl Into<String>, value: &T, ttl: Duration) -> Self {
        let ttl = whole_seconds(ttl);
        if ttl.is_none() {
            self.invalid = Some("the time to live is zero, which Dapr takes for no limit");
        }
        let value = Some(Payload::json(value));
        self.operations.push(Operation { key: Hidden(key.into()), value, ttl });
        self
    }

    /// Deletes a key.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.operations.push(Operation { key: Hidden(key.into()), value: None, ttl: None });
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Self { actor, operations, invalid } = self;
        let (mut client, actor_type, actor_id) = actor.call(TRANSACT)?;
        if let Some(reason) = invalid {
            return Err(actor.actor_type.invalid(TRANSACT, reason));
        }
        let operations = operations.into_iter().map(|Operation { key, value, ttl }| {
            let operation_type = if value.is_some() { "upsert" } else { "delete" };
            Ok(TransactionalActorStateOperation {
                operation_type: operation_type.to_owned(),
                key: key.0,
                value: value.map(|value| value.take_any(TRANSACT, &actor_type)).transpose()?,
                metadata: ttl.map_or_else(HashMap::new, |ttl| [("ttlInSeconds".to_owned(), ttl.to_string())].into()),
            })
        });
        let operations = operations.collect::<Result<_, Error>>()?;
        let request = ExecuteActorStateTransactionRequest { actor_type, actor_id, operations };
        client.execute_actor_state_transaction(request).await.map_err(actor.actor_type.failed(TRANSACT))?;
        Ok(())
    }
}

sent_when_awaited! {
    ActorTransaction => ();
}
