use std::collections::HashMap;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use super::{
    Rejected,
    extract::{NotAnEvent, message, typed},
};
use crate::{
    cloudevent::{Message, Misfits, OnUndecodable, respond_bulk},
    event::{Event, IntoOutcome, Outcome, Outcomes},
};

/// The events of a bulk delivery, each of which is answered for on its own.
///
/// ```
/// use tower_dapr::{event::{Event, Outcomes}, inbound::{Bulk, Rejected}};
///
/// async fn handler(bulk: Bulk<u32>) -> Outcomes {
///     bulk.each(async |event| reserve(event).await).await
/// }
///
/// async fn reserve(event: Event<u32>) -> Result<(), Rejected> {
///     let _ = event.data;
///     Ok(())
/// }
/// ```
///
/// An event that cannot be decoded, or whose data does not fit `T`, is not among the entries, but has its outcome, also
/// where the handler answers for all at once. An event that Dapr delivers alone is a bulk of one, and its outcome the
/// answer.
#[derive(Debug)]
pub struct Bulk<T> {
    entries: Vec<BulkEntry<T>>,
    outcomes: Outcomes,
}

/// An event of a [`Bulk`].
#[derive(Debug)]
#[non_exhaustive]
pub struct BulkEntry<T> {
    /// By what the entry is answered for.
    pub id: String,
    /// Metadata of the broker's message.
    pub metadata: HashMap<String, String>,
    /// The event.
    pub event: Event<T>,
}

impl<T> Bulk<T> {
    /// The events that can be handled.
    #[must_use]
    pub fn entries(&self) -> &[BulkEntry<T>] {
        &self.entries
    }

    /// Handles the events one after the other.
    ///
    /// `handle` may use what the handler has, as `shop` here. If it is `async move`, it has to give each event's future what
    /// that is to own: `move |event| { let shop = shop.clone(); async move { .. } }`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::extract::State;
    /// use tower_dapr::{event::{Outcome, Outcomes}, inbound::{Bulk, Subscriptions, Topic}};
    ///
    /// #[derive(Clone)]
    /// struct Shop;
    /// # impl Shop { async fn reserve(&self, _: u32) -> Outcome { Outcome::Success } }
    ///
    /// async fn reserve_all(State(shop): State<Shop>, bulk: Bulk<u32>) -> Outcomes {
    ///     bulk.each(async |event| shop.reserve(event.data).await).await
    /// }
    ///
    /// let subscriptions = Subscriptions::new().topic(Topic::new("pubsub", "orders").bulk(100, Duration::from_millis(50)), reserve_all);
    /// # let _: Subscriptions<Shop> = subscriptions;
    /// ```
    ///
    /// If the future is dropped, none of the events is answered for: they are delivered again.
    pub async fn each<F, Fut>(mut self, mut handle: F) -> Outcomes
    where
        F: FnMut(Event<T>) -> Fut,
        Fut: Future<Output: IntoOutcome>,
    {
        for BulkEntry { id, event, .. } in self.entries {
            self.outcomes.set(&id, handle(event).await.into_outcome());
        }
        self.outcomes
    }

    /// The events, and the outcomes to be filled in: until then, an event that can be handled is to be delivered again.
    pub fn into_parts(self) -> (Vec<BulkEntry<T>>, Outcomes) {
        (self.entries, self.outcomes)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Bulk<T> {
    type Rejection = Rejected;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Rejected> {
        let on_undecodable = request.extensions().get().map_or(Outcome::Drop, |OnUndecodable(outcome)| *outcome);
        let misfits: Option<Misfits> = request.extensions().get().cloned();
        let batch = match message(request).await? {
            Some(Message::Many(batch)) if batch.is_bulk() => batch,
            Some(Message::One(event)) => return Ok(Self::of_one(typed(event)?)),
            _ => return Err(Rejected::drop(NotAnEvent("the request is no bulk delivery"))),
        };
        let mut bulk = Self { entries: Vec::with_capacity(batch.entries().len()), outcomes: Outcomes::default() };
        let mut ids = Vec::with_capacity(batch.entries().len());
        for entry in batch.entries() {
            // What has no name cannot be answered for: it comes again.
            let Some(id) = entry.id() else { continue };
            match entry.event().map(|event| typed(event.clone())) {
                Ok(Ok(event)) => {
                    ids.push(id.to_owned());
                    bulk.entries.push(BulkEntry { id: id.to_owned(), metadata: entry.metadata().clone(), event });
                }
                Ok(Err(rejected)) => bulk.outcomes.reject(id, rejected.into()),
                Err(_) => bulk.outcomes.refuse(id, on_undecodable),
            }
        }
        if let Some(misfits) = misfits {
            misfits.set(&bulk.outcomes);
        }
        bulk.outcomes.extend(ids);
        Ok(bulk)
    }
}

impl<T> Bulk<T> {
    fn of_one(event: Event<T>) -> Self {
        let entry = BulkEntry { id: String::new(), metadata: HashMap::new(), event };
        Self { entries: vec![entry], outcomes: Outcomes::new([String::new()]) }
    }
}

impl IntoResponse for Outcomes {
    fn into_response(self) -> Response {
        match self.get("") {
            Some(of_one) => of_one.into_response(),
            None => respond_bulk(&self).map(Body::from),
        }
    }
}
