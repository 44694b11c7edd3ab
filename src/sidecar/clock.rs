//! The hub's clock.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::time::Instant;

/// Wall clock time that moves with tokio's clock, so that a test which advances the paused clock makes state and
/// events expire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    instant: Instant,
    wall: DateTime<Utc>,
}

// ===== impl Clock =====

impl Clock {
    pub(super) fn start() -> Self {
        Self { instant: Instant::now(), wall: Utc::now() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        after(self.wall, self.instant.elapsed())
    }

    /// Waits for a moment of this clock; returns at once when it has passed.
    pub(super) async fn sleep_until(&self, moment: DateTime<Utc>) {
        let delay = (moment - self.now()).to_std().unwrap_or_default();
        tokio::time::sleep(delay).await;
    }

    /// The moment `delay` from now; the last one that can be written when it is too far away.
    pub(super) fn after(&self, delay: Duration) -> DateTime<Utc> {
        after(self.now(), delay)
    }
}

/// The moment `delay` after `start`; the last one that can be written when it is too far away.
pub(super) fn after(start: DateTime<Utc>, delay: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(delay)
        .ok()
        .and_then(|delay| start.checked_add_signed(delay))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// RFC 3339 in seconds, as daprd writes `time`, `expiration` and `ttlExpireTime`.
pub(super) fn rfc3339(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}
