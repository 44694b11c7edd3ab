//! What only the real components show - daprd 1.18, Redis and Jaeger, built by `tests/real/build`: traces over several
//! daprds, faults, wrong set-ups. What an app sees of Dapr is in `tests/behaviour.rs`.
//!
//! Without those binaries the tests are skipped, which is said and counted; with `TOWER_DAPR_REAL=1` they are required.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![allow(unreachable_pub, reason = "the modules of a program")]

#[path = "real/mod.rs"]
mod real;
#[path = "real/run.rs"]
mod run;
#[path = "real/tests/mod.rs"]
mod tests;

fn main() -> std::process::ExitCode {
    run::run(tests::all())
}
