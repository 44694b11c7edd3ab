use std::sync::Arc;

/// What a layer's events come from, as the app has subscribed it. An event's own word for it may be anything.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) pubsub: Arc<str>,
    pub(super) topic: Arc<str>,
}
