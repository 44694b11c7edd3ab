use std::fmt;

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use serde::de::DeserializeOwned;

use super::Rejected;
use crate::{
    cloudevent::{Message, Mode, Subject, read},
    event::{Batch, CloudEvent, Event, Limits, Outcome},
};

/// Takes the event that a [`CloudEventLayer`](crate::cloudevent::CloudEventLayer) has decoded; without such a layer,
/// decodes it with the layer's defaults.
impl<S: Send + Sync> FromRequest<S> for CloudEvent {
    type Rejection = Rejected;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Rejected> {
        match message(request).await? {
            Some(Message::One(event)) => Ok(event),
            Some(Message::Many(_)) => Err(Rejected::drop(NotAnEvent("it is a batch of events"))),
            None => Err(Rejected::drop(NotAnEvent("the request holds no event"))),
        }
    }
}

/// `None` if the request holds no event. One that cannot be decoded is rejected all the same.
impl<S: Send + Sync> OptionalFromRequest<S> for CloudEvent {
    type Rejection = Rejected;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Rejected> {
        if holds_events(&request) {
            <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
        } else {
            Ok(None)
        }
    }
}

/// Takes the event, and reads its data as `T`: see [`CloudEvent::data_as`]. Data that does not fit is rejected with
/// [`Outcome::Drop`]: it will not fit the next time.
impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Event<T> {
    type Rejection = Rejected;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejected> {
        let event = <CloudEvent as FromRequest<S>>::from_request(request, state).await?;
        typed(event)
    }
}

/// `None` if the request holds no event. One that cannot be decoded, or whose data does not fit, is rejected all the same.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Event<T> {
    type Rejection = Rejected;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Rejected> {
        let event = <CloudEvent as OptionalFromRequest<S>>::from_request(request, state).await?;
        event.map(typed).transpose()
    }
}

/// All events of a request: those of a batch, or the one event that it holds.
///
/// If one of them cannot be decoded, or its data does not fit, the whole request is rejected with [`Outcome::Drop`].
/// [`Bulk`](super::Bulk) tells them apart.
///
/// ```
/// use tower_dapr::inbound::Events;
///
/// async fn handler(Events(events): Events<String>) {
///     println!("{} events, the first: {:?}", events.len(), events.first().map(|event| &event.data));
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Events<T>(pub Vec<Event<T>>);

impl<T> IntoIterator for Events<T> {
    type Item = Event<T>;
    type IntoIter = std::vec::IntoIter<Event<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Events<T> {
    type Rejection = Rejected;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Rejected> {
        match message(request).await? {
            Some(Message::One(event)) => Ok(Self(vec![typed(event)?])),
            Some(Message::Many(batch)) => {
                let events = batch.entries().iter().map(|entry| match entry.event() {
                    Ok(event) => typed(event.clone()),
                    Err(error) => Err(Rejected::drop(error.clone())),
                });
                events.collect::<Result<_, _>>().map(Self)
            }
            None => Err(Rejected::drop(NotAnEvent("the request holds no event"))),
        }
    }
}

/// Takes the batch that a [`CloudEventLayer`](crate::cloudevent::CloudEventLayer) has decoded; without such a layer,
/// decodes it with the layer's defaults.
impl<S: Send + Sync> FromRequest<S> for Batch {
    type Rejection = Rejected;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Rejected> {
        match message(request).await? {
            Some(Message::Many(batch)) => Ok(batch),
            _ => Err(Rejected::drop(NotAnEvent("the request holds no batch of events"))),
        }
    }
}

/// What a layer has decoded, or what can be decoded without one.
pub(super) async fn message(mut request: Request) -> Result<Option<Message>, Rejected> {
    if let Some(event) = request.extensions_mut().remove() {
        return Ok(Some(Message::One(event)));
    }
    if let Some(batch) = request.extensions_mut().remove() {
        return Ok(Some(Message::Many(batch)));
    }
    let Some(mode) = Mode::of(request.headers()) else { return Ok(None) };
    let (head, body) = request.into_parts();
    let read = read(mode, &head.headers, body, Limits::default()).await;
    read.map_err(|reason| Rejected::new(reason.outcome(Outcome::Drop), reason))
}

fn holds_events(request: &Request) -> bool {
    Subject::of(request.extensions()).is_some() || Mode::of(request.headers()).is_some_and(|mode| mode != Mode::Bulk)
}

pub(super) fn typed<T: DeserializeOwned>(event: CloudEvent) -> Result<Event<T>, Rejected> {
    match event.data_as() {
        Ok(data) => Ok(Event::new(data, event)),
        Err(error) => Err(Rejected::drop(error).of(&event)),
    }
}

#[derive(Debug)]
pub(super) struct NotAnEvent(pub(super) &'static str);

impl fmt::Display for NotAnEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAnEvent {}
