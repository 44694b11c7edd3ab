//! Orders that travel through four services and two buses, each as one trace.
//!
//! ```text
//! cargo run --example orders
//! cargo run --example orders -- --help
//! ```
//!
//! order --invoke--> inventory, order --save--> statestore, order --publish--> pubsub --deliver--> inventory, payment and
//! notification. All in this process, beside an embedded sidecar; with `--service`, one of them beside a real daprd.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]
#![allow(unreachable_pub, reason = "the modules of a program")]

mod args;
mod order;
mod report;
mod services;
mod shop;

use std::{
    env,
    error::Error,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use args::{Command, Source};
use order::Order;
use services::{Service, observed};
use shop::{BoxError, Placed, Shop};
use tokio::{net::TcpListener, time::Instant};
use tower_dapr::{inbound::RequireApiTokenLayer, outbound::Dapr, telemetry::Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let command = match args::parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(message) => return wrong(&format!("{message}\nTry --help.")),
    };
    let result = match command {
        Command::Help => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Command::Serve(service, port) => {
            if env::var_os("DAPR_GRPC_PORT").is_none() && env::var_os("DAPR_GRPC_ENDPOINT").is_none() {
                return wrong("--service needs a daprd: set DAPR_GRPC_PORT or DAPR_GRPC_ENDPOINT");
            }
            serve(service, port).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Shop(Source::Sample(count)) => run(&order::sample(count)).await,
        Command::Shop(Source::File(path)) => match order::read(&path) {
            Err(error) => return wrong(&format!("{}: {error}", path.display())),
            Ok((orders, bad)) => {
                for line in &bad {
                    eprintln!("{}: {line}", path.display());
                }
                if orders.is_empty() {
                    return wrong(&format!("{}: no order in it", path.display()));
                }
                let result = run(&orders).await;
                // The good lines are done; the bad ones still count.
                if bad.is_empty() { result } else { result.map(|_| ExitCode::from(2)) }
            }
        },
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", chain(&*error));
        ExitCode::FAILURE
    })
}

/// Sends the orders through the whole shop, and shows what was recorded.
async fn run(orders: &[Order]) -> Result<ExitCode, BoxError> {
    let shop = Shop::open().await?;
    println!("The shop is open: order, inventory, payment, notification, each with its sidecar.");
    let started = Instant::now();
    let (mut accepted, mut refused, mut failed) = (0, 0, 0);
    for (number, order) in orders.iter().enumerate() {
        match shop.place(order).await? {
            Placed::Accepted => accepted += 1,
            Placed::Refused => refused += 1,
            Placed::Failed(status, body) => {
                failed += 1;
                eprintln!("order {}: {status} {body}", order.id.escape_debug());
            }
        }
        progress(number + 1, orders.len());
    }
    shop.settled().await;
    let stats = shop.hub.stats();
    println!(
        "{} orders in {:.1?}: {accepted} accepted, {refused} refused for lack of stock, {failed} failed.",
        orders.len(),
        started.elapsed()
    );
    println!("{} events delivered, {} retried, {} lost.\n", stats.delivered, stats.retried, stats.lost);

    if let Some(waterfall) = report::waterfall(&shop.spans) {
        println!("One order, as its trace:\n\n{waterfall}");
    }
    println!("Per operation, from the metrics:\n\n{}", report::operations(&shop.metrics));
    let exported = shop.close().await;
    match (exported, env::var("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Err(error), _) => eprintln!("not exported: {}", chain(&error)),
        (Ok(()), Ok(endpoint)) if !endpoint.is_empty() => println!("Exported to {endpoint}."),
        _ => println!("Set OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318) to export all of this over OTLP."),
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One service beside a real daprd, until it is told to stop.
async fn serve(service: Service, port: Option<u16>) -> Result<(), BoxError> {
    let port = match (port, env::var("APP_PORT")) {
        (Some(port), _) => port,
        (None, Ok(text)) => text.parse().map_err(|_| format!("APP_PORT: `{text}` is not a port"))?,
        (None, Err(_)) => 3000,
    };
    let telemetry = Telemetry::builder(service.app_id()).only_if_configured().install()?;
    let dapr = observed(Dapr::builder(), &telemetry).build()?;
    let app = service.router(dapr, &telemetry, RequireApiTokenLayer::from_env()?)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| format!("port {port}: {error}"))?;
    println!("{service} serves on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(stop()).await?;
    telemetry.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// Ctrl-C, or what daprd sends its app.
async fn stop() {
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// A line that is written over on a terminal, and now and then a line elsewhere.
fn progress(done: usize, all: usize) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let end = if done == all { "\n" } else { "" };
        let _ = write!(out, "\r{done} of {all} orders sent{end}");
        let _ = out.flush();
    } else if done == all || done.is_multiple_of(all.div_ceil(4)) {
        let _ = writeln!(out, "{done} of {all} orders sent");
    }
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(2)
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
