use std::fmt;

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::Rejected;
use crate::{
    cloudevent::{READ_TIMEOUT, is_structured, receive},
    event::{CloudEvent, Event, Limits, Outcome},
};

/// Takes the event that a [`CloudEventLayer`](crate::cloudevent::CloudEventLayer) has decoded; without such a layer,
/// decodes it with the layer's defaults.
impl<S: Send + Sync> FromRequest<S> for CloudEvent {
    type Rejection = Rejected;

    async fn from_request(mut request: Request, _state: &S) -> Result<Self, Rejected> {
        if let Some(event) = request.extensions_mut().remove() {
            return Ok(event);
        }
        if !is_structured(request.headers()) {
            return Err(Rejected::drop(NotAnEvent));
        }
        let (head, body) = request.into_parts();
        match receive(&head.headers, body, Limits::default(), READ_TIMEOUT).await {
            Ok((_, event)) => Ok(event),
            Err(reason) => Err(Rejected::new(reason.outcome(Outcome::Drop), reason)),
        }
    }
}

/// Takes the event, and reads its data as `T`: see [`CloudEvent::data_as`]. Data that does not fit is rejected with
/// [`Outcome::Drop`]: it will not fit the next time.
impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Event<T> {
    type Rejection = Rejected;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejected> {
        let event = CloudEvent::from_request(request, state).await?;
        match event.data_as() {
            Ok(data) => Ok(Self::new(data, event)),
            Err(error) => Err(Rejected::drop(error).of(&event)),
        }
    }
}

#[derive(Debug)]
struct NotAnEvent;

impl fmt::Display for NotAnEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the content type is not application/cloudevents+json")
    }
}

impl std::error::Error for NotAnEvent {}
