//! Stock in a state store: two tills sell from one shelf, and nothing is sold twice.
//!
//! ```text
//! cargo run --example state
//! ```
//!
//! Runs against a sidecar of its own; with `DAPR_GRPC_PORT` set, against that one, which needs a state store `statestore`
//! with etags and transactions (`state.redis`, `state.in-memory`, ..).
#![allow(clippy::print_stdout, reason = "this is what it shows")]

use std::env;

use tower_dapr::{
    Error,
    outbound::{Dapr, Endpoint, State},
    sidecar::Hub,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hub = Hub::builder().state_store("statestore").build();
    let sidecar = hub.app("shop").start().await?;
    let dapr = match env::var_os("DAPR_GRPC_PORT") {
        Some(_) => Dapr::connect()?,
        None => Dapr::builder().endpoint(Endpoint::local(sidecar.grpc_port())).build()?,
    };
    let shelf = dapr.state("statestore");

    // Several values in one call, each written whatever was there.
    shelf.save_bulk([shelf.save("tea", &40), shelf.save("coffee", &7), shelf.save("sold", &0)]).await?;

    // Read, change, write: again if the other till was faster. None of 40 sales is lost.
    let (left, right) = tokio::join!(sell(&shelf, 20), sell(&shelf, 20));
    println!("conflicts by hand: {}", left? + right?);
    println!("tea left: {:?}", shelf.get::<u32>("tea").await?.map(|tea| tea.value));

    // The same in one line.
    println!("sold: {}", shelf.update("sold", |sold: Option<u32>| sold.unwrap_or(0) + 40).await?);

    // Together or not at all.
    shelf.transaction().with(shelf.save("biscuits", &12)).with(shelf.delete("tea")).await?;
    for entry in shelf.get_bulk::<u32>(["tea", "coffee", "biscuits"]).await? {
        println!("{}: {:?}", entry.key, entry.result?.map(|entry| entry.value));
    }

    // What went wrong can be asked, down to Dapr's own code.
    if let Err(error) = shelf.save("a||b", &1).await {
        println!("{error} ({})", error.dapr_error_code().unwrap_or_default());
    }
    shelf.delete_bulk(["coffee", "biscuits", "sold"].map(|key| shelf.delete(key))).await?;
    Ok(())
}

/// Sells that many, one by one. Gives how often the other till was faster.
async fn sell(shelf: &State, tea: u32) -> Result<u32, Error> {
    let (mut sold, mut conflicts) = (0, 0);
    while sold < tea {
        let Some(mut stock) = shelf.get::<u32>("tea").await? else { break };
        stock.value -= 1;
        match stock.save().await {
            Ok(()) => sold += 1,
            Err(error) if error.is_etag_mismatch() => conflicts += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(conflicts)
}
