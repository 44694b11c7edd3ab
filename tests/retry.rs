//! Retries: what is sent again, when, with what, and what is not.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/busy.rs"]
#[allow(dead_code, reason = "not every test file uses all of it")]
#[allow(unreachable_pub, reason = "a module of tests")]
mod busy;
#[path = "support/closed.rs"]
#[allow(unreachable_pub, reason = "a module of tests")]
mod closed;
#[path = "support/script.rs"]
#[allow(dead_code, reason = "not every test file uses all of it")]
#[allow(unreachable_pub, reason = "a module of tests")]
mod script;
mod support;

mod retry {
    mod amplification;
    mod body;
    mod end_to_end;
    mod inbound;
    mod rules;
    mod service;
    mod telemetry;
}

use script::{Answer, BoxError, Handle, code, dapr, frames, grpc, http};
