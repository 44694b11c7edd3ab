//! What is set up wrongly ends in a message that names the file, component, port or variable.

use std::{net::TcpListener, path::Path, process::Command};

use super::shop::example;
use crate::real::{Daprd, Stack, eventually, free_port};

super::tests![
    a_wrong_yaml_is_named_in_daprds_log_and_its_component_is_missing,
    a_component_that_cannot_start_ends_daprd_with_its_name,
    a_busy_port_is_named_by_daprd_the_app_and_the_script,
    the_script_names_what_is_missing,
];

async fn a_wrong_yaml_is_named_in_daprds_log_and_its_component_is_missing() {
    let stack =
        Stack::builder().without_jaeger().resource("statestore.yaml", "kind: Component\n  spec: [").start().await;
    let daprd = stack.daprd("app").start().await;
    let log = daprd.process.log();
    assert!(log.contains("resources/statestore.yaml") && log.contains("error when parsing"), "{log}");
    let error = daprd.dapr().state("statestore").get::<u32>("key").await.unwrap_err();
    assert!(error.to_string().contains("`statestore`"), "{error}");
    assert!(error.message().contains("state store"), "{}", error.message());
}

async fn a_component_that_cannot_start_ends_daprd_with_its_name() {
    let unknown = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: cache
spec:
  type: state.nosuchstore
  version: v1
";
    let stack = Stack::builder().without_jaeger().resource("cache.yaml", unknown).start().await;
    let mut daprd = stack.daprd("app").spawn();
    ends(&mut daprd, &["cache", "state.nosuchstore"]).await;
}

async fn a_busy_port_is_named_by_daprd_the_app_and_the_script() {
    let stack = Stack::builder().without_jaeger().start().await;
    let busy = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = busy.local_addr().unwrap().port();
    let mut daprd = stack.daprd("app").grpc_port(port).spawn();
    ends(&mut daprd, &[&port.to_string(), "address already in use"]).await;

    let mut app = Command::new(example());
    app.args(["--service", "order", "--port", &port.to_string()]).env("DAPR_GRPC_PORT", "1");
    let output = app.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(&format!("port {port}")), "{text}");

    let (text, success) = script(stack.folder(), &[("REDIS_PORT", &port.to_string())]);
    // Another may be using the script's own folder: then it says that instead.
    assert!(!success && (text.contains(&format!("port {port}")) || text.contains("runs already")), "{text}");
}

async fn the_script_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (text, success) = script(folder.path(), &[]);
    assert!(!success && text.contains("daprd is missing: run tests/real/build"), "{text}");
}

// ===== helpers =====

/// It ends by itself, and its log names all that.
async fn ends(daprd: &mut Daprd, named: &[&str]) {
    let process = &mut daprd.process;
    let mut has_failed = false;
    eventually("its end", async || {
        has_failed = process.ended().is_some_and(|status| !status.success());
        has_failed
    })
    .await;
    let log = process.log();
    let last: Vec<_> =
        log.lines().filter(|line| line.contains("level=fatal") || line.contains("level=error")).collect();
    for named in named {
        assert!(last.iter().any(|line| line.contains(named)), "{named}: {log}");
    }
}

/// Runs `deploy/local.sh up` with these binaries, or without any.
fn script(binaries: &Path, env: &[(&str, &str)]) -> (String, bool) {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local.sh"));
    command.arg("up").envs(env.iter().copied());
    if env.is_empty() {
        command.env("TOWER_DAPR_REAL_BIN", binaries);
    }
    let output = command.output().unwrap();
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success())
}
