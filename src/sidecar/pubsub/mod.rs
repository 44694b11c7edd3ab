//! Publish and subscribe, as a daprd with `pubsub.in-memory` does it.

mod bulk;
mod bus;
mod delivery;
mod envelope;
mod prepared;
mod retry_policy;
mod routing;
mod sink;
mod subscription;

pub(super) use self::bus::{Message, PubSub};
pub(super) use self::delivery::Worker;
pub(super) use self::envelope::{Envelope, Publication, is_raw};
pub use self::retry_policy::RetryPolicy;
pub(super) use self::sink::{EventStream, Sink};
pub(super) use self::subscription::{Subscription, parse};
