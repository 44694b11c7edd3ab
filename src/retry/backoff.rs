use std::time::Duration;

/// How long to wait before each further attempt: exponential, with full jitter and a floor.
///
/// The wait before retry `n` is drawn evenly from `floor ..= min(cap, base * 2^(n - 1))`. Drawing from the whole range,
/// and not only around its end, is what keeps clients that failed together from coming back together ("full jitter").
///
/// A pure function: no clock, no random number generator of its own.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::retry::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).with_floor(Duration::ZERO);
/// assert_eq!(backoff.delay(1, u64::MAX / 2), Duration::from_nanos(49_999_999));
/// assert_eq!(backoff.delay(1, 0), Duration::ZERO);
/// assert!(backoff.delay(100, u64::MAX) < Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    floor: Duration,
}

impl Backoff {
    /// Waits up to `base` before the first retry, up to twice as long before each further one, never longer than `cap`.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, floor: Duration::from_millis(5) }
    }

    /// Never waits shorter than this, also where `base` or `cap` is shorter. Defaults to 5 ms.
    #[must_use]
    pub const fn with_floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// The wait before retry number `retry` (the first is 1), for a random number out of all of `u64`.
    #[must_use]
    pub fn delay(&self, retry: u32, random: u64) -> Duration {
        let doublings = retry.saturating_sub(1).min(64);
        // Within 128 bits: 2^64 nanoseconds are 584 years.
        let base = u64::try_from(self.base.as_nanos()).unwrap_or(u64::MAX);
        let cap = u64::try_from(self.cap.as_nanos()).unwrap_or(u64::MAX);
        let window = (u128::from(base) << doublings).min(u128::from(cap));
        let above_floor = window.saturating_sub(self.floor.as_nanos());
        let drawn = (above_floor * u128::from(random)) >> 64;
        self.floor.saturating_add(Duration::from_nanos(drawn as u64))
    }
}

/// 100 ms, doubled up to 5 s, at least 5 ms.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};

    use super::Backoff;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_window_doubles_up_to_the_cap() {
        let backoff = Backoff::new(100 * MS, 1000 * MS).with_floor(Duration::ZERO);
        let longest: Vec<_> = (1..=6).map(|retry| backoff.delay(retry, u64::MAX).as_millis() + 1).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
        let half: Vec<_> = (1..=4).map(|retry| backoff.delay(retry, 1 << 63).as_millis()).collect();
        assert_eq!(half, [50, 100, 200, 400]);
    }

    #[test]
    fn a_floor_above_the_window_is_the_delay() {
        let backoff = Backoff::new(MS, MS).with_floor(7 * MS);
        assert_eq!(backoff.delay(1, u64::MAX), 7 * MS);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let backoff = Backoff::new(Duration::MAX, Duration::MAX).with_floor(Duration::MAX);
        assert_eq!(backoff.delay(u32::MAX, u64::MAX), Duration::MAX);
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).delay(0, 0), 5 * MS);
    }

    proptest! {
        #[test]
        fn every_delay_lies_between_floor_and_cap(retry in any::<u32>(), random in any::<u64>(), base in 0_u64..100_000, cap in 0_u64..100_000, floor in 0_u64..100) {
            let (base, cap, floor) = (Duration::from_millis(base), Duration::from_millis(cap), Duration::from_millis(floor));
            let delay = Backoff::new(base, cap).with_floor(floor).delay(retry, random);
            assert!(delay >= floor && delay <= cap.max(floor));
        }
    }
}
