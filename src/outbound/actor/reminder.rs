use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    ActorReminder as Message, GetActorReminderRequest, ListActorRemindersRequest, RegisterActorReminderRequest,
    RegisterActorTimerRequest, UnregisterActorReminderRequest, UnregisterActorTimerRequest,
};
use serde::{Serialize, de::DeserializeOwned};

use super::Actor;
use crate::{
    Error,
    outbound::{
        FailurePolicy, Timing,
        parts::{Component, Payload, sent_when_awaited},
    },
};

const REMIND: &str = "register reminder of actor";
const FORGET: &str = "unregister reminder of actor";
const GET: &str = "get reminder of actor";
const LIST: &str = "list reminders of actor";
const START: &str = "register timer of actor";
const STOP: &str = "unregister timer of actor";

impl Actor {
    /// A reminder: wakes the actor, also after it was deactivated. Registered when awaited.
    pub fn register_reminder(&self, name: impl Into<String>) -> RegisterReminder {
        RegisterReminder {
            actor: self.clone(),
            message: RegisterActorReminderRequest { name: name.into(), ..Default::default() },
            data: Payload::default(),
        }
    }

    /// Forgets a reminder.
    ///
    /// # Errors
    ///
    /// If type or id is empty ([`Error::is_invalid`]), this app does not host the type ([`Error::is_permission_denied`]),
    /// or the call fails.
    pub async fn unregister_reminder(&self, name: impl Into<String>) -> Result<(), Error> {
        let (mut client, actor_type, actor_id) = self.call(FORGET)?;
        let request = UnregisterActorReminderRequest { actor_type, actor_id, name: name.into() };
        client.unregister_actor_reminder(request).await.map_err(self.actor_type.failed(FORGET))?;
        Ok(())
    }

    /// What is known of a reminder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If type or id is empty ([`Error::is_invalid`]), this app does not host the type ([`Error::is_permission_denied`]),
    /// or the call fails.
    pub async fn reminder(&self, name: impl Into<String>) -> Result<Option<ActorReminder>, Error> {
        let (mut client, actor_type, actor_id) = self.call(GET)?;
        let name = name.into();
        let request = GetActorReminderRequest { actor_type, actor_id, name: name.clone() };
        let answer = client.get_actor_reminder(request).await.map_err(self.actor_type.failed(GET));
        match answer.map(tonic::Response::into_inner) {
            Ok(found) => {
                let message = Message {
                    actor_type: found.actor_type,
                    actor_id: found.actor_id,
                    due_time: found.due_time,
                    period: found.period,
                    data: found.data,
                    ttl: found.ttl,
                };
                Ok(Some(ActorReminder { actor_type: self.actor_type.clone(), name, message }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All reminders of the actor.
    ///
    /// # Errors
    ///
    /// If type or id is empty ([`Error::is_invalid`]), this app does not host the type ([`Error::is_permission_denied`]),
    /// or the call fails.
    pub async fn reminders(&self) -> Result<Vec<ActorReminder>, Error> {
        let (mut client, actor_type, actor_id) = self.call(LIST)?;
        let request = ListActorRemindersRequest { actor_type, actor_id: Some(actor_id) };
        let answer = client.list_actor_reminders(request).await.map_err(self.actor_type.failed(LIST))?.into_inner();
        let reminders = answer.reminders.into_iter().map(|found| ActorReminder {
            actor_type: self.actor_type.clone(),
            name: found.name,
            message: found.reminder.unwrap_or_default(),
        });
        Ok(reminders.collect())
    }

    /// A timer: calls the actor as long as it is active. Registered when awaited; one of the same name starts again.
    pub fn register_timer(&self, name: impl Into<String>) -> RegisterTimer {
        RegisterTimer {
            actor: self.clone(),
            message: RegisterActorTimerRequest { name: name.into(), ..Default::default() },
            data: Payload::default(),
        }
    }

    /// Stops a timer.
    ///
    /// # Errors
    ///
    /// If type or id is empty ([`Error::is_invalid`]), or the call fails.
    pub async fn unregister_timer(&self, name: impl Into<String>) -> Result<(), Error> {
        let (mut client, actor_type, actor_id) = self.call(STOP)?;
        let request = UnregisterActorTimerRequest { actor_type, actor_id, name: name.into() };
        client.unregister_actor_timer(request).await.map_err(self.actor_type.failed(STOP))?;
        Ok(())
    }
}

/// The settings that reminders and timers share.
macro_rules! schedule_setters {
    () => {
        /// When it comes first. Defaults to at once for a timer, and to one period away for a reminder, which needs one of
        /// both.
        pub fn due(mut self, due: impl Into<Timing>) -> Self {
            self.message.due_time = due.into().into_string();
            self
        }

        /// How often it comes again. Defaults to never.
        pub fn period(mut self, period: impl Into<Timing>) -> Self {
            self.message.period = period.into().into_string();
            self
        }

        /// When it ends. Defaults to never.
        pub fn ttl(mut self, ttl: impl Into<Timing>) -> Self {
            self.message.ttl = ttl.into().into_string();
            self
        }

        /// The data that the actor is given: this value as JSON, which arrives as base64 in a JSON string, as all bytes do
        /// that come to Dapr over gRPC.
        pub fn json<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
            self.data = Payload::json(data);
            self
        }

        /// The data that the actor is given: these bytes, which arrive as base64 in a JSON string.
        pub fn bytes(mut self, data: impl Into<Bytes>) -> Self {
            self.data = Payload::bytes(data);
            self
        }
    };
}

/// A reminder that is not registered yet. Made by [`Actor::register_reminder`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if type or id is empty or the data cannot be written as JSON ([`Error::is_invalid`]; nothing was sent),
/// this app does not host the type ([`Error::is_permission_denied`]), it is there already and may not be replaced
/// ([`Error::is_already_exists`]), or the call fails.
#[must_use = "nothing is registered until it is awaited"]
pub struct RegisterReminder {
    actor: Actor,
    message: RegisterActorReminderRequest,
    data: Payload,
}

impl RegisterReminder {
    schedule_setters!();

    /// May it replace one of the same name? Defaults to yes.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.message.overwrite = Some(overwrite);
        self
    }

    /// What happens if the actor fails. Defaults to Dapr's own.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.message.failure_policy = Some(policy.into());
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Self { actor, mut message, data } = self;
        let (mut client, actor_type, actor_id) = actor.call(REMIND)?;
        message.data = data.take(REMIND, &actor_type)?;
        (message.actor_type, message.actor_id) = (actor_type, actor_id);
        client.register_actor_reminder(message).await.map_err(actor.actor_type.failed(REMIND))?;
        Ok(())
    }
}

impl fmt::Debug for RegisterReminder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.message.name;
        f.debug_struct("RegisterReminder").field("actor", &self.actor).field("name", name).finish_non_exhaustive()
    }
}

/// A timer that is not registered yet. Made by [`Actor::register_timer`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if type or id is empty or the data cannot be written as JSON ([`Error::is_invalid`]; nothing was sent), or
/// the call fails.
#[must_use = "nothing is registered until it is awaited"]
pub struct RegisterTimer {
    actor: Actor,
    message: RegisterActorTimerRequest,
    data: Payload,
}

impl RegisterTimer {
    schedule_setters!();

    /// What the actor is told as `callback`: the method that it is to run. Dapr itself calls the route of the timer's name.
    /// Defaults to an empty text.
    pub fn callback(mut self, method: impl Into<String>) -> Self {
        self.message.callback = method.into();
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Self { actor, mut message, data } = self;
        let (mut client, actor_type, actor_id) = actor.call(START)?;
        message.data = data.take(START, &actor_type)?;
        (message.actor_type, message.actor_id) = (actor_type, actor_id);
        client.register_actor_timer(message).await.map_err(actor.actor_type.failed(START))?;
        Ok(())
    }
}

impl fmt::Debug for RegisterTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.message.name;
        f.debug_struct("RegisterTimer").field("actor", &self.actor).field("name", name).finish_non_exhaustive()
    }
}

sent_when_awaited! {
    RegisterReminder => ();
    RegisterTimer => ();
}

/// A reminder as Dapr knows it. Its `Debug` does not show the data.
#[derive(Clone)]
pub struct ActorReminder {
    actor_type: Component,
    name: String,
    message: Message,
}

impl ActorReminder {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it comes first.
    #[must_use]
    pub fn due(&self) -> Option<&str> {
        self.message.due_time.as_deref()
    }

    /// How often it comes again.
    #[must_use]
    pub fn period(&self) -> Option<&str> {
        self.message.period.as_deref()
    }

    /// When it ends.
    #[must_use]
    pub fn ttl(&self) -> Option<&str> {
        self.message.ttl.as_deref()
    }

    /// The data, of a reminder that was registered over gRPC, as [`Actor::register_reminder`] does.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        let stored = self.stored();
        unwrap_base64(&stored).unwrap_or(stored)
    }

    /// The data, read as JSON; also of a reminder that was registered over HTTP.
    ///
    /// # Errors
    ///
    /// If the data is not a `T` ([`Error::is_decode`]).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let stored = self.stored();
        // A text that was registered over HTTP may happen to be base64, but hardly of JSON.
        match unwrap_base64(&stored).map(|data| serde_json::from_slice(&data)) {
            Some(Ok(value)) => Ok(value),
            _ => self.actor_type.decode(GET, &stored),
        }
    }

    /// The JSON that Dapr keeps.
    fn stored(&self) -> Bytes {
        let Some(data) = &self.message.data else { return Bytes::new() };
        // daprd wraps it in a `google.protobuf.BytesValue`: one field of bytes.
        if data.type_url.ends_with("google.protobuf.BytesValue")
            && let Ok(inner) = data.to_msg::<Vec<u8>>()
        {
            return inner.into();
        }
        data.value.clone().into()
    }
}

impl fmt::Debug for ActorReminder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (actor_type, name) = (&self.actor_type, &self.name);
        f.debug_struct("ActorReminder").field("actor_type", actor_type).field("name", name).finish_non_exhaustive()
    }
}

/// What a JSON string of base64 stands for: how Dapr keeps bytes.
fn unwrap_base64(json: &[u8]) -> Option<Bytes> {
    let text: String = serde_json::from_slice(json).ok()?;
    BASE64.decode(text).ok().map(Bytes::from)
}
