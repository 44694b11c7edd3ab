//! Actors (`dapr/dapr:pkg/actors`). The apps of a hub are one cluster: a call from any sidecar reaches the app that hosts
//! the actor.

mod host;
mod invocation;
mod names;
mod placement;
mod reminders;
mod settings;
mod timers;
mod turns;

use serde_json::value::RawValue;

pub(super) use self::host::Host;
pub(super) use self::invocation::{Failure, FailureKind, Invocation, invoke};
pub(super) use self::names::{Key, check, is_reserved};
pub(super) use self::reminders::{Refusal, Reminders};
pub(super) use self::settings::{Types, parse};
pub(super) use self::timers::{start as start_timer, stop as stop_timer};

/// When a timer or a reminder is due, and what it brings.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pub(super) due_time: String,
    pub(super) period: String,
    pub(super) ttl: String,
    /// Of timers only.
    pub(super) callback: String,
    pub(super) data: Option<Box<RawValue>>,
}
