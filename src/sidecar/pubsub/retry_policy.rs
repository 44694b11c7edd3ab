//! The inbound retry policy of a pubsub component.

use std::time::Duration;

/// The first pause of an exponential policy, which daprd does not let anyone change.
const INITIAL: Duration = Duration::from_millis(500);

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
    curve: Curve,
    max_retries: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    Constant(Duration),
    /// Half a second, half as much again each time, up to this.
    Exponential(Duration),
}

// ===== impl RetryPolicy =====

impl RetryPolicy {
    /// The same pause before each further attempt, without end: `policy: constant`, `duration: <interval>`.
    pub const fn constant(interval: Duration) -> Self {
        Self { curve: Curve::Constant(interval), max_retries: None }
    }

    /// Half a second before the first further attempt, then half as much again each time, up to `max_interval`, without
    /// end: `policy: exponential`. daprd spreads these pauses by half in both directions; here they are exact.
    pub const fn exponential(max_interval: Duration) -> Self {
        Self { curve: Curve::Exponential(max_interval), max_retries: None }
    }

    /// How many further attempts there are. Defaults to no limit (`maxRetries: -1`).
    #[must_use]
    pub const fn max_retries(self, retries: u32) -> Self {
        Self { max_retries: Some(retries), ..self }
    }

    /// The pause before the retry that follows `retries` earlier ones, if there is to be another.
    pub(in crate::sidecar) fn pause(&self, retries: u32) -> Option<Duration> {
        let pause = match self.curve {
            Curve::Constant(interval) => interval,
            // 64 steps are beyond any interval.
            Curve::Exponential(max) => (0..retries.min(64))
                .try_fold(INITIAL, |pause, _| pause.checked_mul(3).map(|pause| pause / 2).filter(|pause| *pause < max))
                .unwrap_or(max)
                .min(max),
        };
        self.max_retries.is_none_or(|max| retries < max).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_policy_grows_up_to_its_limit() {
        let policy = RetryPolicy::exponential(Duration::from_secs(1)).max_retries(1000);
        let pauses = [0, 1, 2, 999, 1000].map(|retries| policy.pause(retries).map(|pause| pause.as_millis()));
        assert_eq!(pauses, [Some(500), Some(750), Some(1000), Some(1000), None]);
    }
}
