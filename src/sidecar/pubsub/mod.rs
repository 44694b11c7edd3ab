//! Publish and subscribe, as a daprd with `pubsub.in-memory` does it.

mod bus;
mod delivery;
mod envelope;
mod retry_policy;
mod subscription;

pub(super) use self::bus::{Message, PubSub};
pub(super) use self::delivery::deliver;
pub(super) use self::envelope::{Envelope, Publication, is_raw};
pub use self::retry_policy::RetryPolicy;
pub(super) use self::subscription::{Subscription, parse};
