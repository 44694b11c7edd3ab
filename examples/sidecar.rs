//! A sidecar for a laptop: Dapr's APIs for one app, with everything in memory, or its state in a file (a `state.sqlite`
//! component). Not for production.
//!
//! ```text
//! cargo run --example sidecar -- --app-id shop --app-port 3000 -- python3 app.py
//! cargo run --example sidecar -- --help
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program tells what it does")]

use std::{
    env,
    error::Error,
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use lexopt::{Arg, Parser, ValueExt as _};
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tower_dapr::sidecar::{AppProtocol, Hub, HubBuilder, Sidecar, StartError};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

const HELP: &str = "\
Dapr's gRPC and HTTP APIs for one app, in memory, on 127.0.0.1. For development, not for production.

Usage: sidecar [OPTIONS] [-- COMMAND [ARGS]...]

  --app-id ID            name of the app [app]
  --app-port PORT        the app listens there; without it, the app only calls
  --app-protocol NAME    http, h2c or grpc [http]
  --dapr-grpc-port PORT  gRPC API [50001]; 0 takes a free one
  --dapr-http-port PORT  HTTP API [3500]; 0 takes a free one
  --resources-path DIR   Component, Subscription and Resiliency files (*.yaml); may be given again
  --dapr-graceful-shutdown-seconds N  how long COMMAND may take to end [5]
  --strict               refuse components of a type that is not known here, instead of keeping them in memory
  --help                 this text

A component of type state.sqlite keeps its state in a file; all others are in memory.
Without --resources-path there are: statestore, pubsub, configstore, lockstore, and envsecrets.
The items of a configuration store are those of the JSON file that its metadata `itemsFile` names, also when it changes.
COMMAND is started with DAPR_GRPC_PORT, DAPR_HTTP_PORT, APP_ID, APP_PORT and APP_PROTOCOL set, and ended with the sidecar:
by SIGTERM, and by SIGKILL when it is still there after --dapr-graceful-shutdown-seconds.
DAPR_API_TOKEN and APP_API_TOKEN are the tokens of callers and of the app. RUST_LOG sets what is logged [warn].
Other flags of daprd are ignored with a warning. As there, one dash is as good as two, and --flag=VALUE as --flag VALUE.
";

/// What the command line says.
struct Settings {
    id: String,
    port: Option<u16>,
    protocol: AppProtocol,
    grpc_port: u16,
    http_port: u16,
    resources: Vec<PathBuf>,
    strict: bool,
    grace: Duration,
    command: Vec<OsString>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = logs.with_ansi(std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none());
    tracing_subscriber::registry().with(filter).with(logs).init();
    let settings = match parse(Parser::from_env()) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&*error, "Try --help."),
    };
    match run(settings).await {
        Ok(code) => code,
        Err(error) => {
            let is_busy = error.downcast_ref::<StartError>().is_some_and(StartError::is_port_in_use);
            fail(
                &*error,
                if is_busy { "Is another sidecar running? Choose other ports; 0 takes a free one." } else { "" },
            )
        }
    }
}

async fn run(settings: Settings) -> Result<ExitCode, Box<dyn Error>> {
    let hub = components(&settings)?.build();
    let mut builder = hub.app(&settings.id).app_protocol(settings.protocol);
    builder = builder.grpc_port(settings.grpc_port).http_port(settings.http_port);
    builder = builder.app_token(env::var("APP_API_TOKEN").unwrap_or_default());
    if let Some(port) = settings.port {
        builder = builder.app_port(port);
    }
    let sidecar = builder.start().await?;
    println!("{}: gRPC on 127.0.0.1:{}, HTTP on 127.0.0.1:{}", settings.id, sidecar.grpc_port(), sidecar.http_port());
    std::io::stdout().flush()?;
    let stop = stop_asked()?;
    let mut command = start(&settings, &sidecar)?;
    let code = tokio::select! {
        status = wait(command.as_mut()) => exit_code(status?),
        () = sidecar.shutdown_asked() => ExitCode::SUCCESS,
        () = stop => ExitCode::SUCCESS,
        () = announce(&sidecar) => ExitCode::SUCCESS,
    };
    if let Some(command) = command {
        end(command, settings.grace).await;
    }
    sidecar.stop().await;
    Ok(code)
}

fn components(settings: &Settings) -> Result<HubBuilder, Box<dyn Error>> {
    let mut hub = Hub::builder().api_token(env::var("DAPR_API_TOKEN").unwrap_or_default());
    for directory in &settings.resources {
        hub = hub.resources(directory, settings.strict)?;
    }
    if settings.resources.is_empty() {
        hub = hub.state_store("statestore").pubsub("pubsub").configuration_store("configstore");
        hub = hub.lock_store("lockstore").environment_secrets("envsecrets");
    }
    Ok(hub)
}

fn start(settings: &Settings, sidecar: &Sidecar) -> Result<Option<Child>, String> {
    let Some((program, args)) = settings.command.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command
        .args(args)
        .env("APP_ID", &settings.id)
        .env("APP_PROTOCOL", settings.protocol.as_str())
        .env("DAPR_GRPC_PORT", sidecar.grpc_port().to_string())
        .env("DAPR_HTTP_PORT", sidecar.http_port().to_string())
        // These would win over the ports.
        .env_remove("DAPR_GRPC_ENDPOINT")
        .env_remove("DAPR_HTTP_ENDPOINT")
        .kill_on_drop(true);
    if let Some(port) = settings.port {
        command.env("APP_PORT", port.to_string());
    }
    let child = command.spawn().map_err(|error| format!("cannot run {}: {error}", program.to_string_lossy()))?;
    Ok(Some(child))
}

/// Says when the app is there, and then waits for ever.
async fn announce(sidecar: &Sidecar) {
    sidecar.ready().await;
    println!("ready");
    // Nobody there to read it.
    let _ = std::io::stdout().flush();
    std::future::pending::<()>().await;
}

async fn wait(command: Option<&mut Child>) -> std::io::Result<ExitStatus> {
    match command {
        Some(command) => command.wait().await,
        None => std::future::pending().await,
    }
}

/// Asks the command to end, and makes it end when it does not. It may have ended by itself.
async fn end(mut command: Child, grace: Duration) {
    #[cfg(unix)]
    if let Some(id) = command.id() {
        let asked = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
        if asked.is_ok_and(|status| status.success()) && timeout(grace, command.wait()).await.is_ok() {
            return;
        }
    }
    let _ = command.kill().await;
}

/// Waits for Ctrl-C or SIGTERM. Both are caught from now on, not from the first poll: no command is left behind.
fn stop_asked() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // Without it, only the command or its app ends us.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

fn fail(error: &dyn Error, hint: &str) -> ExitCode {
    eprintln!("sidecar: {error}");
    if !hint.is_empty() {
        eprintln!("{hint}");
    }
    ExitCode::FAILURE
}

/// `None` is a call for help.
fn parse(mut parser: Parser) -> Result<Option<Settings>, Box<dyn Error>> {
    let mut settings = Settings {
        id: "app".to_owned(),
        port: None,
        protocol: AppProtocol::Http,
        grpc_port: 50001,
        http_port: 3500,
        resources: Vec::new(),
        strict: false,
        grace: Duration::from_secs(5),
        command: Vec::new(),
    };
    while let Some(arg) = parser.next()? {
        let flag = match arg {
            Arg::Long(name) => name.to_owned(),
            Arg::Short('h') => return Ok(None),
            // `-app-id` is `--app-id`, as in daprd; there are no short ones.
            Arg::Short(first) => {
                let rest = parser.optional_value().unwrap_or_default().string()?;
                let (name, value) = rest.split_once('=').unwrap_or((&rest, ""));
                let flag = format!("{first}{name}");
                if !value.is_empty() {
                    set(&mut settings, &flag, value.into())?;
                    continue;
                }
                flag
            }
            // What follows `--`, and what follows it.
            Arg::Value(program) => {
                settings.command.push(program);
                settings.command.extend(parser.raw_args()?);
                continue;
            }
        };
        match flag.as_str() {
            "help" => return Ok(None),
            "strict" => settings.strict = true,
            switch if SWITCHES.contains(&switch) => {
                let _ = parser.optional_value();
                eprintln!("sidecar: --{switch} is ignored");
            }
            flag => {
                let value = parser.value()?;
                set(&mut settings, flag, value)?;
            }
        }
    }
    Ok(Some(settings))
}

/// Flags of daprd that need no value.
const SWITCHES: [&str; 9] = [
    "app-ssl",
    "disable-builtin-k8s-secret-store",
    "enable-api-logging",
    "enable-app-health-check",
    "enable-metrics",
    "enable-mtls",
    "enable-profiling",
    "log-as-json",
    "version",
];

/// A flag with a value.
fn set(settings: &mut Settings, flag: &str, value: OsString) -> Result<(), Box<dyn Error>> {
    let wrong = |error: lexopt::Error| format!("--{flag}: {error}");
    match flag {
        "app-id" => settings.id = value.string().map_err(wrong)?,
        // daprd's 0 is no app.
        "app-port" => settings.port = Some(value.parse().map_err(wrong)?).filter(|port| *port != 0),
        "app-protocol" => {
            let name = value.string().map_err(wrong)?;
            let unknown = || format!("app protocol {name:?} is none of http, h2c and grpc");
            settings.protocol = AppProtocol::from_name(&name).ok_or_else(unknown)?;
        }
        "dapr-grpc-port" => settings.grpc_port = value.parse().map_err(wrong)?,
        "dapr-http-port" => settings.http_port = value.parse().map_err(wrong)?,
        "dapr-graceful-shutdown-seconds" => settings.grace = Duration::from_secs(value.parse().map_err(wrong)?),
        "resources-path" | "components-path" => settings.resources.push(value.into()),
        other => eprintln!("sidecar: --{other} is ignored"),
    }
    Ok(())
}
