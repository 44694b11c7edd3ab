use std::{any::Any, error::Error, fmt};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use tower::BoxError;

use crate::{
    classify::chain,
    cloudevent::{Printable, respond},
    event::{CloudEvent, DataError, DecodeError, Outcome},
};

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        respond(self).map(Body::from)
    }
}

/// A handler's error, and what becomes of the event.
///
/// Made by `?` from any error but one about the data, it means [`Outcome::Retry`]. As a response it is that outcome, and a warning in the log
/// with the error and its chain of sources, on one line of bounded length.
///
/// ```
/// use tower_dapr::{event::Event, inbound::Rejected};
///
/// async fn handler(event: Event<String>) -> Result<(), Rejected> {
///     let count: u32 = event.data.parse().map_err(Rejected::drop)?; // will be wrong for ever
///     reserve(count)?; // may work next time
///     Ok(())
/// }
/// # fn reserve(_: u32) -> std::io::Result<()> { Ok(()) }
/// ```
#[must_use = "the event is answered by returning it"]
pub struct Rejected {
    outcome: Outcome,
    error: BoxError,
    event: Option<Identity>,
}

/// What a log names an event by.
#[derive(Debug)]
struct Identity {
    topic: Option<String>,
    id: Option<String>,
}

impl Rejected {
    /// Dapr is to try again.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::new(Outcome::Retry, error)
    }

    /// Dapr is not to try again: the event goes to the dead letter topic, if there is one.
    pub fn drop(error: impl Into<BoxError>) -> Self {
        Self::new(Outcome::Drop, error)
    }

    pub(super) fn new(outcome: Outcome, error: impl Into<BoxError>) -> Self {
        Self { outcome, error: error.into(), event: None }
    }

    /// Names the event in the warning.
    pub fn of(mut self, event: &CloudEvent) -> Self {
        let name = |text: &str| Printable::name(text).to_string();
        self.event = Some(Identity { topic: event.topic().map(name), id: event.id().map(name) });
        self
    }

    /// What becomes of the event.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The error.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    fn warn(&self) {
        let text = text(&*self.error);
        let reason = Printable::reason(&text);
        let outcome = self.outcome;
        match &self.event {
            Some(Identity { topic, id }) => {
                let topic = topic.as_deref().unwrap_or_default();
                let id = id.as_deref().unwrap_or_default();
                tracing::warn!(%topic, %id, %outcome, %reason, "event rejected");
            }
            None => tracing::warn!(%outcome, %reason, "event rejected"),
        }
    }
}

/// Any error means "try again", but for a [`DataError`] and a [`DecodeError`]: the same bytes will not fit the next time.
///
/// So that this can be, `Rejected` itself is no [`Error`].
impl<E: Error + Send + Sync + 'static> From<E> for Rejected {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        let is_for_ever = any.is::<DataError>() || any.is::<DecodeError>();
        Self::new(if is_for_ever { Outcome::Drop } else { Outcome::Retry }, error)
    }
}

/// Logs the warning.
impl From<Rejected> for Outcome {
    fn from(rejected: Rejected) -> Self {
        rejected.warn();
        rejected.outcome
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        Outcome::from(self).into_response()
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("outcome", &self.outcome)
            .field("error", &self.error)
            .field("event", &self.event)
            .finish()
    }
}

/// So many links of a chain of sources are told.
const MAX_TOLD: usize = 16;

/// `outermost: its source: ..`
fn text(error: &(dyn Error + 'static)) -> String {
    chain(error).take(MAX_TOLD).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
