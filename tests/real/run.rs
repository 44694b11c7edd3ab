//! Runs tests, and skips those for which the real components are not there.

use std::{env, pin::Pin, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

use crate::real::Binaries;

pub type Running = Pin<Box<dyn Future<Output = ()>>>;

pub struct Test {
    pub name: String,
    /// Are the real components needed?
    pub is_real: bool,
    pub run: Box<dyn FnOnce() -> Running + Send>,
}

/// How many tests run at a time. They wait more than they work: most of it for a daprd that starts.
const THREADS: usize = 4;

/// The `main` of a test program: says what it skips and why, which the standard harness cannot.
pub fn run(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let missing = Binaries::find().err();
    let is_required = env::var_os("TOWER_DAPR_REAL").is_some_and(|value| value == "1");
    if let Some(reason) = missing.as_ref().filter(|_| is_required) {
        eprintln!("error: {reason}\nTOWER_DAPR_REAL=1 requires the tests against the real daprd.");
        return ExitCode::FAILURE;
    }
    if let Some(reason) = &missing {
        let count = tests.iter().filter(|test| test.is_real).count();
        eprintln!("\nSKIPPED: the {count} tests against the real daprd: {reason}.");
    }
    let trial = |Test { name, is_real, run }: Test| {
        let trial = Trial::test(name, move || {
            // Each with a runtime of its own.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(run());
            Ok(())
        });
        trial.with_ignored_flag(is_real && missing.is_some())
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}
