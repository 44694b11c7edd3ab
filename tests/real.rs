//! The same programs against the real daprd 1.18, Redis and Jaeger, built by `tests/real/build`.
//!
//! Without those binaries the tests are skipped, which is said and counted; with `TOWER_DAPR_REAL=1` they are required.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]
#![allow(unreachable_pub, reason = "the modules of a program")]

#[path = "real/mod.rs"]
mod real;
#[path = "real/tests/mod.rs"]
mod tests;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let missing = real::Binaries::find().err();
    let is_required = env::var_os("TOWER_DAPR_REAL").is_some_and(|value| value == "1");
    if let Some(reason) = missing.as_ref().filter(|_| is_required) {
        eprintln!("error: {reason}\nTOWER_DAPR_REAL=1 requires the tests against the real daprd.");
        return ExitCode::FAILURE;
    }
    let tests = tests::all();
    if let Some(reason) = &missing {
        eprintln!("\nSKIPPED: the {} tests against the real daprd: {reason}.", tests.len());
    }
    let trial = |test: tests::Test| {
        let trial = Trial::test(test.name, move || {
            run(test.run);
            Ok(())
        });
        trial.with_ignored_flag(missing.is_some())
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}

fn run(test: impl FnOnce() -> tests::Running) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test());
}
