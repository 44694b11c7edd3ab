use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Where the random numbers of the waits come from.
#[derive(Clone)]
pub(super) struct Random(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Random {
    pub(super) fn new(source: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// SplitMix64 from a seed of the operating system's: it spreads load, it keeps no secret.
    pub(super) fn seeded() -> Self {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = AtomicU64::new(RandomState::new().build_hasher().finish());
        Self::new(move || {
            let mut mixed = state.fetch_add(STEP, Relaxed).wrapping_add(STEP);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }

    pub(super) fn draw(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn two_sources_differ_and_numbers_spread() {
        let (a, b) = (Random::seeded(), Random::seeded());
        assert_ne!([a.draw(), a.draw()], [b.draw(), b.draw()]);
        let mut buckets = [0; 16];
        for _ in 0..16_000 {
            buckets[(a.draw() >> 60) as usize] += 1;
        }
        assert!(buckets.iter().all(|n| (800..1200).contains(n)), "{buckets:?}");
    }
}
