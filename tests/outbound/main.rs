//! The `Dapr` handle: what it sends, what it makes of the answers, and what it never shows.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/closed.rs"]
#[allow(unreachable_pub, reason = "a module of tests")]
mod closed;
#[path = "../support/dapr_server.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared between files of tests")]
mod dapr_server;

#[path = "../recorded/mod.rs"]
mod recorded;

mod actors;
mod bindings_and_secrets;
mod configuration;
mod crypto;
mod debug;
mod errors;
mod health;
mod invoke;
mod jobs_and_workflows;
mod lock;
mod publish;
#[cfg(feature = "dapr-client")]
mod sdk_client;
mod sidecar;
mod state;

use std::collections::HashMap;

/// Metadata as it is on the wire.
fn map<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
