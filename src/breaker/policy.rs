use std::time::Duration;

/// When a breaker opens, and for how long.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::breaker::BreakerPolicy;
///
/// // Half of at least 20 calls within 10 seconds failed: nothing is sent for a minute, then 2 calls try.
/// let policy = BreakerPolicy::rate(50, 20, Duration::from_secs(10))
///     .open_for(Duration::from_secs(60))
///     .with_probes(2);
/// # let _ = policy;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    pub(super) trip: Trip,
    pub(super) open_for: Duration,
    pub(super) probes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trip {
    Consecutive(u32),
    Rate { percent: u32, calls: u32, window: Duration },
}

impl BreakerPolicy {
    /// Opens after so many failures in a row (at least 1).
    #[must_use]
    pub const fn consecutive(failures: u32) -> Self {
        Self::new(Trip::Consecutive(if failures == 0 { 1 } else { failures }))
    }

    /// Opens when at least `percent` of at least `calls` calls within `window` failed. Windows follow each other; they do
    /// not slide.
    #[must_use]
    pub const fn rate(percent: u32, calls: u32, window: Duration) -> Self {
        Self::new(Trip::Rate { percent, calls: if calls == 0 { 1 } else { calls }, window })
    }

    const fn new(trip: Trip) -> Self {
        Self { trip, open_for: Duration::from_secs(30), probes: 1 }
    }

    /// How long it stays open before calls try again. Defaults to 30 s.
    #[must_use]
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// How many calls may try at the same time once that is over, and have to succeed to close it (at least 1). If they
    /// do not come back, one more may try each time that [`open_for`](Self::open_for) has passed. Defaults to 1.
    #[must_use]
    pub const fn with_probes(mut self, calls: u32) -> Self {
        self.probes = if calls == 0 { 1 } else { calls };
        self
    }
}

/// 5 failures in a row, open for 30 s, 1 probe.
impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::consecutive(5)
    }
}
