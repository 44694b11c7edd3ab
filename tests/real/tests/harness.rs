//! The harness itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::real::{OTHER_PORTS, PATIENCE, Process, Stack, eventually};

super::tests![
    without_the_binaries_the_tests_are_skipped_and_counted,
    where_they_are_required_missing_binaries_fail,
    several_stacks_run_side_by_side,
    a_panic_leaves_no_process_behind,
    tests_that_are_killed_leave_no_process_behind,
];

async fn without_the_binaries_the_tests_are_skipped_and_counted() {
    let (out, err, code) = ourselves(false);
    let tests = super::all().len();
    assert!(err.contains(&format!("SKIPPED: the {tests} tests against the real daprd")), "{err}");
    assert!(err.contains("daprd is missing: run tests/real/build"), "{err}");
    assert!(out.contains(&format!("0 passed; 0 failed; {tests} ignored")), "{out}");
    assert_eq!(code, Some(0));
}

async fn where_they_are_required_missing_binaries_fail() {
    let (out, err, code) = ourselves(true);
    assert!(err.contains("daprd is missing: run tests/real/build"), "{err}");
    assert_eq!((out.as_str(), code), ("", Some(1)));
}

async fn several_stacks_run_side_by_side() {
    let (one, two) = tokio::join!(Stack::start(), Stack::start());
    let (first, second) = tokio::join!(one.daprd("app").start(), two.daprd("app").start());
    first.dapr().state("statestore").save("key", &1_u32).await.unwrap();
    assert_eq!(second.dapr().state("statestore").get::<u32>("key").await.unwrap(), None);
    assert!(first.dapr().state("statestore").get::<u32>("key").await.unwrap().is_some());
}

async fn a_panic_leaves_no_process_behind() {
    let panicked = tokio::spawn(async {
        let mut stack = Stack::start().await;
        let daprd = stack.daprd("app").start().await;
        let ids = [daprd.process.id(), stack.jaeger_process().id()];
        let folder = stack.folder().to_owned();
        std::panic::panic_any((ids, folder));
    });
    let panic = panicked.await.unwrap_err().into_panic();
    let (ids, folder) = panic.downcast_ref::<([u32; 2], std::path::PathBuf)>().unwrap();
    for id in ids {
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "{id} is still there");
    }
    assert!(!folder.exists());
}

async fn tests_that_are_killed_leave_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "orders::an_unsampled_order_leaves_no_span_anywhere", "--nocapture"]);
    command.env("TMPDIR", folder.path()).env(OTHER_PORTS, "1");
    let mut tests = Process::start("tests", command, folder.path());
    let started = || async { components(folder.path()).len() >= 6 };
    tests.until("a whole stack", PATIENCE, started).await;
    tests.kill();
    eventually("all gone", async || components(folder.path()).is_empty()).await;
}

// ===== helpers =====

/// The processes whose working directory is somewhere in this folder, but for the tests' own.
fn components(folder: &Path) -> Vec<PathBuf> {
    let inside = |process: &PathBuf| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder) && cwd != folder)
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(inside).collect()
}

/// Runs all of these tests where there are no binaries.
fn ourselves(required: bool) -> (String, String, Option<i32>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env("TOWER_DAPR_REAL_BIN", "/no/such/folder").env_remove("TOWER_DAPR_REAL");
    if required {
        command.env("TOWER_DAPR_REAL", "1");
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}
