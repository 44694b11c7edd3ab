//! A service that connects with a password nobody sees, and changes its limit while it runs.
//!
//! ```text
//! DAPR_GRPC_PORT=50001 cargo run --example secrets_and_configuration
//! ```
//!
//! Runs beside a sidecar with a secret store `secretstore` that has a secret `database` (`secretstores.local.file`), and a
//! configuration store `configstore` with an item `limit` (`configuration.redis`).
#![allow(clippy::print_stdout, reason = "this is what it shows")]

use std::{env, time::Duration};

use tower_dapr::{
    Error,
    outbound::{ConfigurationItems, Dapr, SecretText},
};

/// How long it watches.
const WATCH: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Error> {
    if env::var_os("DAPR_GRPC_PORT").is_none() && env::var_os("DAPR_GRPC_ENDPOINT").is_none() {
        println!(
            "This example runs beside a sidecar: set DAPR_GRPC_PORT or DAPR_GRPC_ENDPOINT. What the sidecar needs"
        );
        println!("stands at the top of examples/secrets_and_configuration.rs.");
        return Ok(());
    }
    let dapr = Dapr::connect()?;
    dapr.wait_until_ready(Duration::from_secs(30)).await?;

    let database = dapr.secrets("secretstore").get("database").await?;
    println!("the secret as a log would show it: {database:?}");
    // A store of single values gives one; one of several values, each by its name.
    if let Some(password) = database.get("password").or_else(|| database.single()) {
        connect(password);
    }

    // First the items as they are, then each change. The stream subscribes again if the sidecar goes away and comes back,
    // and unsubscribes when it is dropped.
    let mut changes = dapr.configuration("configstore").subscribe(["limit"]);
    println!("watching `limit` for {} s", WATCH.as_secs());
    let watch = async {
        while let Some(items) = changes.next().await {
            apply(&items?);
        }
        Ok(())
    };
    tokio::time::timeout(WATCH, watch).await.unwrap_or(Ok(()))
}

fn connect(password: &SecretText) {
    // The one place where the text is out of its type.
    println!("connected, with a password of {} characters", password.expose().chars().count());
}

fn apply(items: &ConfigurationItems) {
    match items.get("limit").map(|limit| limit.value.parse::<u32>()) {
        Some(Ok(limit)) => println!("limit is {limit} now"),
        Some(Err(error)) => println!("limit stays as it was: {error}"),
        None => {}
    }
}
