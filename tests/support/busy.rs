//! What keeps its task busy: tokio's cooperative scheduling has its timers and channels say "pending" in a task that has done
//! much since it was polled.

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

/// Waits once, lets so much time pass (it must be paused), and is busy in each of its next 100 polls.
pub async fn keep_busy(time: Duration) {
    tokio::task::yield_now().await;
    tokio::time::advance(time).await;
    for _ in 0..100 {
        spend_the_turn();
        tokio::task::yield_now().await;
    }
}
