//! The example `sidecar` as a program: its flags, its errors, its command, and how it ends.
#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]
#![cfg(unix)]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

#[test]
fn it_says_how_it_is_used() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "--app-id",
        "--app-port",
        "--app-protocol",
        "--dapr-grpc-port",
        "--dapr-http-port",
        "--resources-path",
        "--dapr-graceful-shutdown-seconds",
        "--strict",
    ] {
        assert!(text.contains(flag), "{flag}");
    }
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    for (args, said) in [
        (&["--app-port", "http"][..], "--app-port: "),
        (&["--app-port", "65536"], "--app-port: "),
        (&["--dapr-grpc-port"], "missing argument for option '--dapr-grpc-port'"),
        (&["--app-protocol", "soap"], "app protocol \"soap\" is none of http, h2c and grpc"),
        (
            &["--app-id", "no/name", "--dapr-grpc-port", "0", "--dapr-http-port", "0"],
            "app id \"no/name\" is not a name",
        ),
        (&["--resources-path", "/no/such/folder"], "/no/such/folder"),
        (&["--dapr-grpc-port", "0", "--dapr-http-port", "0", "--", "/no/such/program"], "cannot run /no/such/program"),
    ] {
        let output = run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.starts_with("sidecar: ") && error.contains(said), "{args:?}: {error}");
    }
}

#[test]
fn a_busy_port_is_named_with_what_to_do() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    for (flag, api) in [("--dapr-grpc-port", "gRPC"), ("--dapr-http-port", "HTTP")] {
        let other = if api == "gRPC" { "--dapr-http-port" } else { "--dapr-grpc-port" };
        let output = run(&[flag, &port, other, "0"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("{api} port {port} is already in use")), "{error}");
        assert!(error.contains("Choose other ports"), "{error}");
    }
}

#[test]
fn strict_refuses_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let component = "kind: Component\nmetadata: {name: store}\nspec: {type: state.redis, version: v1}\n";
    std::fs::write(folder.path().join("store.yaml"), component).unwrap();
    let path = folder.path().to_str().unwrap();
    let ports = ["--dapr-grpc-port", "0", "--dapr-http-port", "0", "--resources-path", path];
    let strict = run(&[&ports[..], &["--strict", "--", "true"]].concat());
    assert_eq!(strict.status.code(), Some(1));
    assert!(String::from_utf8(strict.stderr).unwrap().contains("\"state.redis\" are not known here"));
    let lax = run(&[&ports[..], &["--", "true"]].concat());
    assert!(lax.status.success());
    assert!(String::from_utf8(lax.stderr).unwrap().contains("kept in memory"));
}

#[test]
fn daprds_other_flags_are_passed_over() {
    // Of these, some take a value and some do not; one dash will do.
    let args = [
        "-app-id=shop",
        "-dapr-grpc-port",
        "0",
        "--enable-app-health-check",
        "--enable-metrics=false",
        "--log-level",
        "debug",
        "--dapr-http-port=0",
        "--app-port=0",
        "--placement-host-address",
        "localhost:50005",
        "--",
        "sh",
        "-c",
        "echo id=$APP_ID port=$APP_PORT",
    ];
    let output = run(&args);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{error}");
    assert!(out.contains("id=shop port=\n"), "{out}");
    for flag in ["enable-app-health-check", "enable-metrics", "log-level", "placement-host-address"] {
        assert!(error.contains(&format!("--{flag} is ignored")), "{error}");
    }
}

#[test]
fn the_command_knows_its_sidecar_and_gives_the_exit_code() {
    let script = "echo $APP_ID,$APP_PORT,$APP_PROTOCOL,$DAPR_GRPC_PORT,$DAPR_HTTP_PORT,$DAPR_GRPC_ENDPOINT; exit 7";
    let output = program()
        .args(["--app-id", "shop", "--app-port", "9", "--app-protocol", "grpc"])
        .args(["--dapr-grpc-port", "0", "--dapr-http-port", "0", "--", "sh", "-c", script])
        .env("DAPR_GRPC_ENDPOINT", "http://elsewhere:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let (grpc, http) = ports(lines.next().unwrap());
    assert_eq!(lines.next().unwrap(), format!("shop,9,grpc,{grpc},{http},"));
}

#[test]
fn told_to_stop_it_lets_the_command_end() {
    let script = "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.05; done";
    let (mut sidecar, mut lines) = started(&["--", "sh", "-c", script]);
    assert!(lines.any(|line| line == "up"));
    signal(&sidecar, "TERM");
    assert!(sidecar.wait().unwrap().success());
    assert!(lines.any(|line| line == "bye"));
}

#[test]
fn a_command_that_does_not_end_is_ended() {
    let script = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let (mut sidecar, mut lines) = started(&["--dapr-graceful-shutdown-seconds", "0", "--", "sh", "-c", script]);
    let command = lines.find(|line| line.parse::<u32>().is_ok()).unwrap();
    signal(&sidecar, "INT");
    assert!(sidecar.wait().unwrap().success());
    assert!(!Command::new("kill").args(["-0", &command]).stderr(Stdio::null()).status().unwrap().success());
}

// ===== helpers =====

/// A plain `cargo test` builds the example first; `cargo test --test sidecar_program` alone does not.
fn program() -> Command {
    let test = std::env::current_exe().unwrap();
    let path: PathBuf = test.parent().unwrap().parent().unwrap().join("examples/sidecar");
    let mut command = Command::new(path);
    command.env_remove("DAPR_API_TOKEN").env_remove("APP_API_TOKEN").env_remove("RUST_LOG");
    command
}

fn run(args: &[impl AsRef<OsStr>]) -> Output {
    program().args(args).output().unwrap()
}

/// A sidecar on free ports, and what it and its command print.
fn started(args: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = program();
    command.args(["--dapr-grpc-port", "0", "--dapr-http-port", "0"]).args(args).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap().take(1 << 16)).lines().map(Result::unwrap);
    (child, lines)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// `shop: gRPC on 127.0.0.1:1, HTTP on 127.0.0.1:2`.
fn ports(line: &str) -> (u16, u16) {
    let mut ports = line.split("127.0.0.1:").skip(1).map(|rest| rest.trim_end_matches(", HTTP on ").parse().unwrap());
    (ports.next().unwrap(), ports.next().unwrap())
}
