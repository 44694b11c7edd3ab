//! The inbound retry policy of a pubsub component.

use std::time::Duration;

/// When the sidecar sends an event again that the app refused: what a Resiliency resource says in
/// `targets.components.<pubsub>.inbound.retry`.
///
/// Without one a refused event is gone, as with a real daprd.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::sidecar::RetryPolicy;
///
/// let policy = RetryPolicy::constant(Duration::from_millis(500)).max_retries(3);
/// # let _ = policy;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    interval: Duration,
    max_retries: Option<u32>,
}

// ===== impl RetryPolicy =====

impl RetryPolicy {
    /// The same pause before each further attempt, without end: `policy: constant`, `duration: <interval>`.
    pub const fn constant(interval: Duration) -> Self {
        Self { interval, max_retries: None }
    }

    /// How many further attempts there are. Defaults to no limit (`maxRetries: -1`).
    #[must_use]
    pub const fn max_retries(self, retries: u32) -> Self {
        Self { max_retries: Some(retries), ..self }
    }

    /// The pause before the retry that follows `retries` earlier ones, if there is to be another.
    pub(in crate::sidecar) fn pause(&self, retries: u32) -> Option<Duration> {
        self.max_retries.is_none_or(|max| retries < max).then_some(self.interval)
    }
}
