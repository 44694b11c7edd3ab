use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

/// What one retry costs, in thousandths of a token.
const COST: u64 = 1000;

/// Limits retries to a share of what succeeds, so that a sidecar that is down is not hit with a multiple of the load.
///
/// A bucket of tokens: a retry takes one, a call that did not fail for want of the server puts a part of one back. It
/// starts full. When it is empty, failures are handed to the caller at once, except for a trickle per second. Clones share
/// the bucket.
///
/// What no handler has seen is repeated once for free: that takes no token, but is not done while there is none.
///
/// With the defaults (10 %, 100 in reserve, 1 per second) the calls sent are at most 1.1 times the calls made, plus the
/// reserve once, one per second, and what is repeated for free; two stacks on top of each other make it 1.21 times. When
/// everything fails, little more than the reserve and the trickle is sent again.
///
/// Putting back is one atomic operation without a lock or a clock, and none at all while the bucket is full.
///
/// ```
/// use tower_dapr::retry::{Budget, RetryPolicy};
///
/// // 20 retries per 100 calls that succeed, 50 in reserve, shared by two policies.
/// let budget = Budget::new(20, 50);
/// let reads = RetryPolicy::new().with_budget(budget.clone());
/// let writes = RetryPolicy::new().with_budget(budget.clone()).with_max_attempts(2);
/// assert_eq!(budget.balance(), 50);
/// # let _ = (reads, writes);
/// ```
#[derive(Debug, Clone)]
pub struct Budget(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// In thousandths of a token.
    tokens: AtomicU64,
    max: u64,
    deposit: u64,
    trickle: Option<Trickle>,
}

/// One retry each `interval`, whatever the bucket says.
#[derive(Debug)]
struct Trickle {
    interval_us: u64,
    since: Instant,
    /// In microseconds since `since`.
    next: AtomicU64,
}

/// A retry that was granted. Dropped without being used, it goes back.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit(Option<Arc<Bucket>>);

impl Budget {
    /// `percent` retries per 100 calls that succeed, and `reserve` retries that may be spent at once.
    #[must_use]
    pub fn new(percent: u32, reserve: u32) -> Self {
        Self(Arc::new(Bucket::new(percent, reserve, Trickle::per_second(1))))
    }

    /// At least so many retries per second, also when the bucket is empty: a client with little traffic earns too few
    /// tokens to get over the restart of its sidecar. Defaults to 1; 0 turns it off.
    ///
    /// Makes a new, full bucket.
    #[must_use]
    pub fn with_min_per_second(self, retries: u32) -> Self {
        let Bucket { max, deposit, .. } = *self.0;
        Self(Arc::new(Bucket { tokens: AtomicU64::new(max), max, deposit, trickle: Trickle::per_second(retries) }))
    }

    /// How many retries may be made at once now, without those per second.
    #[must_use]
    pub fn balance(&self) -> u64 {
        self.0.tokens.load(Relaxed) / COST
    }

    /// A call came back that gives no reason to be careful.
    pub(super) fn deposit(&self) {
        let bucket = &*self.0;
        // All orders of these operations are fine: a token more or less for an instant harms nobody.
        if bucket.tokens.load(Relaxed) < bucket.max {
            bucket.add(bucket.deposit);
        }
    }

    /// Asks for one retry.
    pub(super) fn withdraw(&self) -> Option<Permit> {
        let taken = self.0.tokens.fetch_update(Relaxed, Relaxed, |tokens| tokens.checked_sub(COST));
        if taken.is_ok() {
            return Some(Permit(Some(self.0.clone())));
        }
        // The clock is read by failing calls only.
        self.0.trickle.as_ref().is_some_and(Trickle::take).then_some(Permit(None))
    }
}

/// 10 retries per 100 calls that succeed, 100 in reserve, at least 1 per second.
impl Default for Budget {
    fn default() -> Self {
        Self::new(10, 100)
    }
}

// ===== impl Bucket =====

impl Bucket {
    fn new(percent: u32, reserve: u32, trickle: Option<Trickle>) -> Self {
        let max = u64::from(reserve) * COST;
        Self { tokens: AtomicU64::new(max), max, deposit: u64::from(percent) * COST / 100, trickle }
    }

    fn add(&self, amount: u64) {
        let add = |tokens: u64| Some(tokens.saturating_add(amount).min(self.max));
        self.tokens.fetch_update(Relaxed, Relaxed, add).ok();
    }
}

// ===== impl Trickle =====

impl Trickle {
    fn per_second(retries: u32) -> Option<Self> {
        let interval_us = 1_000_000_u64.checked_div(retries.into())?.max(1);
        // The first one counts from now: the reserve is there for the start.
        Some(Self { interval_us, since: Instant::now(), next: AtomicU64::new(interval_us) })
    }

    fn take(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = |next| (next <= now).then_some(now.saturating_add(self.interval_us));
        self.next.fetch_update(Relaxed, Relaxed, due).is_ok()
    }
}

// ===== impl Permit =====

impl Permit {
    /// A retry that costs nothing.
    pub(super) const fn free() -> Self {
        Self(None)
    }

    /// The retry is sent.
    pub(super) fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(bucket) = self.0.take() {
            bucket.add(COST);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::Budget;

    fn drain(budget: &Budget) -> u32 {
        let mut retries = 0;
        while let Some(permit) = budget.withdraw() {
            permit.spend();
            retries += 1;
        }
        retries
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_reserve_is_spent_when_nothing_succeeds() {
        let budget = Budget::new(10, 7);
        assert_eq!(drain(&budget), 7);
        assert_eq!(budget.balance(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn successes_earn_their_share_and_no_more_than_the_reserve() {
        let budget = Budget::new(10, 7);
        drain(&budget);
        for _ in 0..29 {
            budget.deposit();
        }
        assert_eq!(budget.balance(), 2);
        budget.deposit();
        assert_eq!(budget.balance(), 3);
        for _ in 0..1000 {
            budget.deposit();
        }
        assert_eq!(drain(&budget.clone()), 7, "clones share the bucket");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_permit_goes_back() {
        let budget = Budget::new(10, 1);
        let permit = budget.withdraw().unwrap();
        assert!(budget.withdraw().is_none());
        drop(permit);
        assert_eq!(budget.balance(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_bucket_lets_a_trickle_through() {
        let budget = Budget::new(10, 0).with_min_per_second(2);
        assert_eq!(drain(&budget), 0);
        for _ in 0..3 {
            tokio::time::advance(Duration::from_millis(500)).await;
            assert_eq!(drain(&budget), 1);
        }
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(drain(&budget), 1, "time without calls saves up nothing");
        let off = Budget::new(10, 0).with_min_per_second(0);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(drain(&off), 0);
    }

    #[tokio::test]
    async fn threads_neither_lose_nor_invent_tokens() {
        let budget = Budget::new(100, 10_000).with_min_per_second(0);
        let worker = |budget: Budget| {
            move || {
                for _ in 0..2000 {
                    budget.withdraw().unwrap().spend();
                    drop(budget.withdraw().unwrap());
                    budget.withdraw().unwrap().spend();
                    budget.deposit();
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(worker(budget.clone()))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(budget.balance(), 2000);
    }
}
