//! What became of each delivery.

use tokio::sync::watch;

/// How often each thing happened to the deliveries of a hub, since it was built.
///
/// A delivery is one message for one subscription. Once [`Hub::settled`](super::Hub::settled) returned,
/// `accepted == delivered + dropped + dead_lettered + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Deliveries put in the queue of a subscription.
    pub accepted: u64,
    /// Deliveries that the app acknowledged.
    pub delivered: u64,
    /// Further attempts by the inbound retry policy. Not an outcome: the delivery goes on.
    pub retried: u64,
    /// Deliveries dropped for good: `DROP`, 404 or expired, without a dead letter topic.
    pub dropped: u64,
    /// Deliveries handed to the dead letter topic.
    pub dead_lettered: u64,
    /// Deliveries that failed and are gone, as with a real daprd: `RETRY`, an error status or no connection, without a
    /// policy or after its last attempt; a message that is no event; what was waiting when the sidecar stopped.
    pub lost: u64,
}

// ===== impl Stats =====

impl Stats {
    const fn is_settled(&self) -> bool {
        self.accepted == self.delivered + self.dropped + self.dead_lettered + self.lost
    }
}

/// The end of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Delivered,
    Dropped,
    DeadLettered,
    Lost,
}

/// The counters of a hub.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(watch::Sender<Stats>);

// ===== impl Ledger =====

impl Ledger {
    pub(super) fn snapshot(&self) -> Stats {
        *self.0.borrow()
    }

    pub(super) async fn settled(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.0.subscribe().wait_for(Stats::is_settled).await;
    }

    pub(super) fn accept(&self) -> Receipt {
        self.0.send_modify(|stats| stats.accepted += 1);
        Receipt { ledger: self.clone(), ended: false }
    }
}

/// An accepted delivery: it ends exactly once. Dropping it is an end too, the loss.
#[derive(Debug)]
pub(super) struct Receipt {
    ledger: Ledger,
    ended: bool,
}

// ===== impl Receipt =====

impl Receipt {
    pub(super) fn retried(&self) {
        self.ledger.0.send_modify(|stats| stats.retried += 1);
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        self.ended = true;
        self.ledger.0.send_modify(|stats| match outcome {
            Outcome::Delivered => stats.delivered += 1,
            Outcome::Dropped => stats.dropped += 1,
            Outcome::DeadLettered => stats.dead_lettered += 1,
            Outcome::Lost => stats.lost += 1,
        });
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.ended {
            self.record(Outcome::Lost);
        }
    }
}
