use super::CloudEvent;

/// An event whose data has been read as `T`.
///
/// In axum it is an extractor; see [`inbound`](crate::inbound).
///
/// ```
/// use tower_dapr::event::{Event, Outcome};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     sku: String,
/// }
///
/// async fn paid(event: Event<Order>) -> Outcome {
///     let known = event.data.sku.starts_with("a-") && event.ty() == "order.paid.v1";
///     if known { Outcome::Success } else { Outcome::Drop }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Event<T> {
    /// The data.
    pub data: T,
    event: CloudEvent,
}

impl<T> Event<T> {
    /// Puts an event and what was read from it together.
    pub const fn new(data: T, event: CloudEvent) -> Self {
        Self { data, event }
    }

    /// The event itself, with all its attributes and the data as it was received.
    pub const fn cloud_event(&self) -> &CloudEvent {
        &self.event
    }

    /// The data and the event.
    #[must_use]
    pub fn into_parts(self) -> (T, CloudEvent) {
        (self.data, self.event)
    }

    /// See [`CloudEvent::id`].
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.event.id()
    }

    /// See [`CloudEvent::source`].
    #[must_use]
    pub fn source(&self) -> &str {
        self.event.source()
    }

    /// See [`CloudEvent::ty`].
    #[must_use]
    pub fn ty(&self) -> &str {
        self.event.ty()
    }

    /// See [`CloudEvent::subject`].
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.event.subject()
    }

    /// See [`CloudEvent::topic`].
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.event.topic()
    }
}
