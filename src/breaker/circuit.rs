use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::policy::{BreakerPolicy, Trip};

/// The breaker of one target.
#[derive(Debug)]
pub(super) struct Circuit {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Grows with each change of phase: what began in an earlier one does not count any more.
    era: u64,
}

#[derive(Debug)]
enum Phase {
    /// Failures in a row, or in the window.
    Closed {
        failures: u32,
        calls: u32,
        since: Instant,
    },
    Open {
        since: Instant,
    },
    /// Probes that were let through, the last one when, and how many of them came back well.
    HalfOpen {
        sent: u32,
        last: Instant,
        succeeded: u32,
    },
}

/// What a call let through has to bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    era: u64,
}

/// How a call came back, as far as a breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    Success,
    Failure,
    /// It was given up by its caller: that says nothing.
    Nothing,
}

impl Circuit {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: Mutex::new(State { phase: Phase::closed(), era: 0 }) }
    }

    /// May a call go through? If not: for how long not.
    pub(super) fn admit(&self) -> std::result::Result<Ticket, Duration> {
        let mut state = self.lock();
        if let Phase::Open { since } = state.phase {
            let left = self.policy.open_for.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Err(left);
            }
            state.turn(Phase::HalfOpen { sent: 0, last: Instant::now(), succeeded: 0 });
        }
        if let Phase::HalfOpen { sent, last, .. } = &mut state.phase {
            // A probe that does not come back keeps others out no longer than a failure would.
            if *sent >= self.policy.probes && last.elapsed() < self.policy.open_for {
                // Nobody knows how long the probe takes.
                return Err(Duration::ZERO);
            }
            *sent += 1;
            *last = Instant::now();
        }
        Ok(Ticket { era: state.era })
    }

    /// A stream that was let through has brought its first message, and may live for long. As a probe it has succeeded,
    /// and there is no more to report; else there is when it ends.
    pub(super) fn first_message(&self, ticket: Ticket) -> Option<Ticket> {
        let state = self.lock();
        if state.era != ticket.era || !matches!(state.phase, Phase::HalfOpen { .. }) {
            return Some(ticket);
        }
        drop(state);
        self.report(ticket, Result::Success);
        None
    }

    /// A call that was let through is over.
    pub(super) fn report(&self, ticket: Ticket, result: Result) {
        let mut state = self.lock();
        if state.era != ticket.era {
            return;
        }
        let next = match &mut state.phase {
            Phase::Closed { failures, calls, since } => {
                self.policy.trip.count(failures, calls, since, result).then(Phase::open)
            }
            // Only what was let through in another era can come back now.
            Phase::Open { .. } => None,
            Phase::HalfOpen { sent, succeeded, .. } => match result {
                Result::Failure => Some(Phase::open()),
                Result::Nothing => {
                    *sent -= 1;
                    None
                }
                Result::Success => {
                    *succeeded += 1;
                    (*succeeded >= self.policy.probes).then(Phase::closed)
                }
            },
        };
        if let Some(next) = next {
            state.turn(next);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }
}

impl Phase {
    fn closed() -> Self {
        Self::Closed { failures: 0, calls: 0, since: Instant::now() }
    }

    fn open() -> Self {
        Self::Open { since: Instant::now() }
    }
}

impl Trip {
    /// Counts a result. Is it one too many?
    fn count(self, failures: &mut u32, calls: &mut u32, since: &mut Instant, result: Result) -> bool {
        match (self, result) {
            (_, Result::Nothing) => false,
            (Self::Consecutive(_), Result::Success) => {
                *failures = 0;
                false
            }
            (Self::Consecutive(max), Result::Failure) => {
                *failures += 1;
                *failures >= max
            }
            (Self::Rate { percent, calls: least, window }, result) => {
                if since.elapsed() >= window {
                    (*failures, *calls, *since) = (0, 0, Instant::now());
                }
                *calls = calls.saturating_add(1);
                *failures = failures.saturating_add(u32::from(result == Result::Failure));
                result == Result::Failure
                    && *calls >= least
                    && u64::from(*failures) * 100 >= u64::from(*calls) * u64::from(percent)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Circuit, Result::*};
    use crate::breaker::BreakerPolicy;

    const SECOND: Duration = Duration::from_secs(1);

    fn call(circuit: &Circuit, result: super::Result) -> bool {
        circuit.admit().map(|ticket| circuit.report(ticket, result)).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_only() {
        let circuit = Circuit::new(BreakerPolicy::consecutive(3));
        for result in [Failure, Failure, Success, Failure, Nothing, Failure] {
            assert!(call(&circuit, result));
        }
        assert!(call(&circuit, Failure));
        assert_eq!(circuit.admit(), Err(30 * SECOND));
        advance(29 * SECOND).await;
        assert_eq!(circuit.admit(), Err(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides_what_follows() {
        let circuit = Circuit::new(BreakerPolicy::consecutive(1));
        assert!(call(&circuit, Failure));
        advance(30 * SECOND).await;
        let probe = circuit.admit().unwrap();
        assert_eq!(circuit.admit(), Err(Duration::ZERO), "one at a time");
        circuit.report(probe, Failure);
        assert_eq!(circuit.admit(), Err(30 * SECOND));
        advance(30 * SECOND).await;
        assert!(call(&circuit, Nothing), "a probe that was given up says nothing");
        assert!(call(&circuit, Success));
        assert!(call(&circuit, Success));
    }

    #[tokio::test(start_paused = true)]
    async fn several_probes_have_to_succeed() {
        let circuit = Circuit::new(BreakerPolicy::consecutive(1).with_probes(2).open_for(SECOND));
        call(&circuit, Failure);
        advance(SECOND).await;
        let (a, b) = (circuit.admit().unwrap(), circuit.admit().unwrap());
        assert!(circuit.admit().is_err());
        circuit.report(a, Success);
        assert!(circuit.admit().is_err(), "still half-open");
        circuit.report(b, Success);
        assert!(circuit.admit().is_ok() && circuit.admit().is_ok() && circuit.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_of_an_earlier_era_does_not_count() {
        let circuit = Circuit::new(BreakerPolicy::consecutive(1).open_for(SECOND));
        let late = circuit.admit().unwrap();
        call(&circuit, Failure);
        circuit.report(late, Success);
        assert!(circuit.admit().is_err());
        advance(SECOND).await;
        let probe = circuit.admit().unwrap();
        circuit.report(late, Failure);
        circuit.report(probe, Success);
        assert!(circuit.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_needs_enough_calls_within_its_window() {
        let circuit = Circuit::new(BreakerPolicy::rate(50, 4, 10 * SECOND));
        for result in [Failure, Failure, Failure] {
            assert!(call(&circuit, result), "too few calls");
        }
        advance(10 * SECOND).await;
        for result in [Success, Success, Success, Failure, Failure] {
            assert!(call(&circuit, result), "less than half");
        }
        assert!(call(&circuit, Failure));
        assert!(circuit.admit().is_err());
    }
}
