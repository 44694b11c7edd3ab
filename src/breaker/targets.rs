use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{circuit::Circuit, policy::BreakerPolicy};

/// More targets than this have no breaker: their names would not come from a configuration.
const MAX_TARGETS: usize = 1024;

/// The breakers of all targets. Only grows.
#[derive(Debug)]
pub(super) struct Targets {
    policy: BreakerPolicy,
    circuits: RwLock<HashMap<Arc<str>, Arc<Circuit>>>,
}

impl Targets {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, circuits: RwLock::default() }
    }

    /// The breaker of this target.
    pub(super) fn circuit(&self, target: &str) -> Option<Arc<Circuit>> {
        let known = self.circuits.read().unwrap_or_else(PoisonError::into_inner).get(target).cloned();
        if known.is_some() {
            return known;
        }
        let mut circuits = self.circuits.write().unwrap_or_else(PoisonError::into_inner);
        if circuits.len() >= MAX_TARGETS && !circuits.contains_key(target) {
            return None;
        }
        Some(circuits.entry(target.into()).or_insert_with(|| Arc::new(Circuit::new(self.policy))).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAX_TARGETS, Targets};
    use crate::breaker::BreakerPolicy;

    #[tokio::test(start_paused = true)]
    async fn targets_are_bounded() {
        let targets = Targets::new(BreakerPolicy::default());
        let first = targets.circuit("0").unwrap();
        for n in 1..MAX_TARGETS {
            assert!(targets.circuit(&n.to_string()).is_some());
        }
        assert!(targets.circuit("one more").is_none());
        assert!(Arc::ptr_eq(&first, &targets.circuit("0").unwrap()));
    }
}
