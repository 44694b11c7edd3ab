//! Timers beside something else that is polled.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{task::unconstrained, time::Sleep};

/// Ready when the time has come, also in a task that has used up what tokio's cooperative scheduling grants it at a time: a
/// timer says "not yet" then, and would never end what does much each time it is polled.
pub(crate) fn poll_elapsed(sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    pin!(unconstrained(sleep)).poll(cx)
}
