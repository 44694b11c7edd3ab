//! Tasks that leave nothing to do to what they contain: tokio's cooperative scheduling lets its primitives say "pending" then.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::task::coop;

/// Does as much as tokio lets a task do before it has to yield.
pub fn spend_the_turn() {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(step) = coop::poll_proceed(&mut cx) {
        step.made_progress();
    }
}

/// Waits, then for so long, and is busy in each of its polls thereafter. With time that is paused.
pub async fn keep_busy(after: Duration) {
    tokio::task::yield_now().await;
    tokio::time::advance(after).await;
    for _ in 0..100 {
        spend_the_turn();
        tokio::task::yield_now().await;
    }
}
