use std::time::Duration;

use uuid::Uuid;

/// Growing random pauses: each between half of and the whole of twice the one before, up to a limit.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    pub(super) async fn pause(&mut self) {
        let pause = self.advance(random());
        tokio::time::sleep(pause).await;
    }

    /// `random` is from 0 to 1.
    fn advance(&mut self, random: f64) -> Duration {
        let pause = self.next.mul_f64(0.5 + random / 2.0);
        self.next = (self.next * 2).min(self.max);
        pause
    }
}

/// From 0 to 1. Others who failed at the same moment must come back at another: nothing more is asked of it.
fn random() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    // The upper 32 bits are random in a UUID of version 4.
    (high >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, random};

    #[test]
    fn pauses_grow_to_their_limit_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let pauses: Vec<_> = (0..4).map(|_| backoff.advance(1.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 300, 300]);
        assert_eq!(backoff.advance(0.0).as_millis(), 150);
        backoff.reset();
        assert_eq!(backoff.advance(1.0).as_millis(), 100);
        assert!((0.0..=1.0).contains(&random()));
    }
}
