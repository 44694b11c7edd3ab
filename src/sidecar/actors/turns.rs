//! One call at a time (`dapr/dapr:pkg/actors/targets/app/lock`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::sidecar::lock::lock;

/// The turns of one actor, first come, first served. A call that comes back to its actor, under the same reentrancy id,
/// is part of the turn that it came from.
#[derive(Debug)]
pub(super) struct Turns {
    /// How deep calls may come back.
    max_depth: u32,
    queue: Mutex<Queue>,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    /// The first one has its turn.
    flights: VecDeque<Flight>,
    next_number: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    reentrancy_id: Option<String>,
    depth: u32,
    /// Cancelled when its turn comes.
    begun: CancellationToken,
}

/// A place in the queue, and then a turn; over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

/// Why there is no turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The actor was deactivated.
    Closed,
    TooDeep,
    TooManyWait,
    TooManyActive,
}

// ===== impl Turns =====

impl Turns {
    pub(super) fn new(max_depth: Option<u32>) -> Arc<Self> {
        Arc::new(Self { max_depth: max_depth.unwrap_or(1), queue: Mutex::default(), closed: CancellationToken::new() })
    }

    /// Waits for a turn, behind at most `max_waiting` others. Cancel safe: a dropped future leaves the queue.
    pub(super) async fn enter(
        self: &Arc<Self>,
        reentrancy_id: Option<&str>,
        max_waiting: usize,
    ) -> Result<Turn, Refused> {
        let (turn, begun) = self.queue_up(reentrancy_id, max_waiting)?;
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Refused::Closed),
            () = begun.cancelled() => Ok(turn),
        }
    }

    /// No further turn begins, and those under way are told by [`closed`](Self::closed).
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    fn queue_up(
        self: &Arc<Self>,
        reentrancy_id: Option<&str>,
        max_waiting: usize,
    ) -> Result<(Turn, CancellationToken), Refused> {
        let mut queue = lock(&self.queue);
        let same = |flight: &&mut Flight| reentrancy_id.is_some() && flight.reentrancy_id.as_deref() == reentrancy_id;
        if let Some(flight) = queue.flights.iter_mut().find(same) {
            if flight.depth >= self.max_depth {
                return Err(Refused::TooDeep);
            }
            flight.depth += 1;
            return Ok((Turn { turns: Arc::clone(self), number: flight.number }, flight.begun.clone()));
        }
        if queue.flights.len() > max_waiting {
            return Err(Refused::TooManyWait);
        }
        let (number, begun) = (queue.next_number, CancellationToken::new());
        queue.next_number += 1;
        let reentrancy_id = reentrancy_id.map(ToOwned::to_owned);
        queue.flights.push_back(Flight { number, reentrancy_id, depth: 1, begun: begun.clone() });
        queue.begin_first();
        Ok((Turn { turns: Arc::clone(self), number }, begun))
    }
}

// ===== impl Queue =====

impl Queue {
    fn begin_first(&self) {
        if let Some(first) = self.flights.front() {
            first.begun.cancel();
        }
    }
}

// ===== impl Turn =====

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = lock(&self.turns.queue);
        let Some(at) = queue.flights.iter().position(|flight| flight.number == self.number) else { return };
        queue.flights[at].depth -= 1;
        if queue.flights[at].depth == 0 {
            queue.flights.remove(at);
            queue.begin_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Turn, Refused>> + 'a>>;

    fn enter<'a>(turns: &'a Arc<Turns>, id: Option<&'a str>) -> Waiting<'a> {
        Box::pin(turns.enter(id, 1))
    }

    fn now(turns: &Arc<Turns>, id: Option<&str>) -> Result<Turn, Refused> {
        enter(turns, id).now_or_never().unwrap()
    }

    fn is_waiting(waiting: &mut Waiting<'_>) -> bool {
        waiting.now_or_never().is_none()
    }

    #[test]
    fn turns_are_first_come_first_served() {
        let turns = Turns::new(None);
        let first = now(&turns, None).unwrap();
        let mut second = enter(&turns, None);
        let mut third = Box::pin(turns.enter(None, 2)) as Waiting<'_>;
        assert!(is_waiting(&mut second) && is_waiting(&mut third));
        drop(first);
        assert!(is_waiting(&mut third));
        let second = second.now_or_never().unwrap().unwrap();
        assert!(is_waiting(&mut third));
        drop(second);
        assert!(third.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn who_gives_up_leaves_the_queue() {
        let turns = Turns::new(None);
        let first = now(&turns, None).unwrap();
        let mut second = enter(&turns, None);
        assert!(is_waiting(&mut second));
        let mut third = Box::pin(turns.enter(None, 2)) as Waiting<'_>;
        assert!(is_waiting(&mut third));
        drop(second);
        assert!(is_waiting(&mut third));
        drop(first);
        assert!(third.now_or_never().unwrap().is_ok());
        assert!(lock(&turns.queue).flights.is_empty());
    }

    #[test]
    fn a_call_that_comes_back_is_part_of_its_turn() {
        let turns = Turns::new(Some(2));
        let outer = now(&turns, Some("a")).unwrap();
        let mut other = enter(&turns, Some("b"));
        assert!(is_waiting(&mut other));
        let inner = now(&turns, Some("a")).unwrap();
        assert_eq!(now(&turns, Some("a")).unwrap_err(), Refused::TooDeep);
        drop(inner);
        // What was refused has not been counted.
        let inner = now(&turns, Some("a")).unwrap();
        drop(outer);
        assert!(is_waiting(&mut other));
        drop(inner);
        assert!(other.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn only_so_many_wait() {
        let turns = Turns::new(None);
        let first = now(&turns, None).unwrap();
        let mut second = enter(&turns, None);
        assert!(is_waiting(&mut second));
        assert_eq!(now(&turns, None).unwrap_err(), Refused::TooManyWait);
        drop(first);
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn nobody_gets_a_turn_of_a_closed_actor() {
        let turns = Turns::new(None);
        let first = now(&turns, None).unwrap();
        let mut second = enter(&turns, None);
        assert!(is_waiting(&mut second));
        turns.close();
        drop(first);
        assert_eq!(second.now_or_never().unwrap().unwrap_err(), Refused::Closed);
        assert_eq!(now(&turns, None).unwrap_err(), Refused::Closed);
    }
}
