//! A sidecar for a laptop: Dapr's APIs for one app, with everything in memory. Not for production.
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
    io::Write as _,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
};

use lexopt::{Arg, Parser, ValueExt as _};
use tokio::process::{Child, Command};
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
  --strict               refuse components of a type that is not known here, instead of keeping them in memory
  --help                 this text

Without --resources-path there are: statestore, pubsub, configstore, lockstore, and envsecrets.
COMMAND is started with DAPR_GRPC_PORT, DAPR_HTTP_PORT, APP_ID, APP_PORT and APP_PROTOCOL set, and ended with the sidecar.
DAPR_API_TOKEN and APP_API_TOKEN are the tokens of callers and of the app. RUST_LOG sets what is logged [warn].
Other flags of daprd that take a value are ignored with a warning.
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
    command: Vec<OsString>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
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
    let mut command = start(&settings, &sidecar)?;
    let code = tokio::select! {
        status = wait(command.as_mut()) => exit_code(status?),
        () = sidecar.shutdown_asked() => ExitCode::SUCCESS,
        done = stop_asked() => done.map(|()| ExitCode::SUCCESS)?,
        () = announce(&sidecar) => ExitCode::SUCCESS,
    };
    if let Some(mut command) = command {
        // It may have ended by itself.
        let _ = command.kill().await;
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

async fn stop_asked() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
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
        command: Vec::new(),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("app-id") => settings.id = parser.value()?.string()?,
            Arg::Long("app-port") => settings.port = Some(parser.value()?.parse()?),
            Arg::Long("app-protocol") => {
                let name = parser.value()?.string()?;
                let unknown = || format!("app protocol {name:?} is none of http, h2c and grpc");
                settings.protocol = AppProtocol::from_name(&name).ok_or_else(unknown)?;
            }
            Arg::Long("dapr-grpc-port") => settings.grpc_port = parser.value()?.parse()?,
            Arg::Long("dapr-http-port") => settings.http_port = parser.value()?.parse()?,
            Arg::Long("resources-path" | "components-path") => settings.resources.push(parser.value()?.into()),
            Arg::Long("strict") => settings.strict = true,
            Arg::Long(other) => {
                let flag = other.to_owned();
                let _ = parser.value()?;
                eprintln!("sidecar: --{flag} is ignored");
            }
            Arg::Short(other) => return Err(format!("unknown option -{other}").into()),
            // What follows `--`, and what follows it.
            Arg::Value(program) => {
                settings.command.push(program);
                settings.command.extend(parser.raw_args()?);
            }
        }
    }
    Ok(Some(settings))
}
