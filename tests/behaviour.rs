//! What an app sees of Dapr: each test is written once, and run beside the embedded sidecar and beside a real daprd 1.18
//! with Redis. Where the two must differ, `behaviour/differences.rs` says so.
//!
//! The real components are built by `tests/real/build`. Without them their half is skipped, which is said and counted; with
//! `TOWER_DAPR_REAL=1` it is required.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![allow(unreachable_pub, reason = "the modules of a program")]

#[path = "real/mod.rs"]
mod real;
#[path = "real/run.rs"]
mod run;

#[path = "behaviour/mod.rs"]
mod behaviour;

fn main() -> std::process::ExitCode {
    run::run(behaviour::all())
}
