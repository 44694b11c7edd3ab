use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{circuit::Circuit, policy::BreakerPolicy};
use crate::rpc::NameKind;

/// More names than this have no breaker: their names would not come from a configuration.
const MAX_TARGETS: usize = 1024;

/// The breakers of one name, by what it is the name of: mostly of one thing only.
type OfName = Vec<(NameKind, Arc<Circuit>)>;

/// The breakers of all targets. Only grows.
#[derive(Debug)]
pub(super) struct Targets {
    policy: BreakerPolicy,
    circuits: RwLock<HashMap<Arc<str>, OfName>>,
}

impl Targets {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, circuits: RwLock::default() }
    }

    /// The breaker of this target.
    pub(super) fn circuit(&self, kind: NameKind, target: &str) -> Option<Arc<Circuit>> {
        let of_kind = |circuits: &OfName| {
            let mut circuits = circuits.iter();
            circuits.find(|(of, _)| *of == kind).map(|(_, circuit)| circuit.clone())
        };
        let known = self.circuits.read().unwrap_or_else(PoisonError::into_inner).get(target).and_then(of_kind);
        if known.is_some() {
            return known;
        }
        let mut circuits = self.circuits.write().unwrap_or_else(PoisonError::into_inner);
        if circuits.len() >= MAX_TARGETS && !circuits.contains_key(target) {
            return None;
        }
        let circuits = circuits.entry(target.into()).or_default();
        // Another call may have been here in between.
        Some(of_kind(&*circuits).unwrap_or_else(|| {
            let circuit = Arc::new(Circuit::new(self.policy));
            circuits.push((kind, circuit.clone()));
            circuit
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAX_TARGETS, NameKind, Targets};
    use crate::breaker::BreakerPolicy;

    #[tokio::test(start_paused = true)]
    async fn targets_are_bounded() {
        let targets = Targets::new(BreakerPolicy::default());
        let circuit = |name: &str| targets.circuit(NameKind::Component, name);
        let first = circuit("0").unwrap();
        for n in 1..MAX_TARGETS {
            assert!(circuit(&n.to_string()).is_some());
        }
        assert!(circuit("one more").is_none());
        assert!(Arc::ptr_eq(&first, &circuit("0").unwrap()));
        assert!(!Arc::ptr_eq(&first, &targets.circuit(NameKind::AppId, "0").unwrap()));
    }
}
