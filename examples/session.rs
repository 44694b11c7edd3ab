//! User sessions with an expiry, on Dapr's state store.
//!
//! ```text
//! cargo run --example session
//! ```
//!
//! Runs against a sidecar of its own; with `DAPR_GRPC_PORT` set, against that one, which needs a state store `statestore`
//! with a time to live (`state.redis`, `state.in-memory`, ..).
#![allow(clippy::print_stdout, reason = "this is what it shows")]

use std::{env, time::Duration};

use serde::{Deserialize, Serialize};
use tower_dapr::{
    Error,
    outbound::{Dapr, Endpoint, State},
    sidecar::Hub,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a session lives without being used.
const IDLE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let hub = Hub::builder().state_store("statestore").build();
    let sidecar = hub.app("sessions").start().await?;
    let dapr = match env::var_os("DAPR_GRPC_PORT") {
        Some(_) => Dapr::connect()?,
        None => Dapr::builder().endpoint(Endpoint::local(sidecar.grpc_port())).build()?,
    };
    let sessions = Sessions { store: dapr.state("statestore") };

    let id = "b5d0f1"; // of a real service: 128 random bits
    sessions.create(id, "alice").await?;
    println!("created: {:?}", sessions.find(id).await?);
    sessions.touch(id).await?;
    println!("used:    {:?}", sessions.find(id).await?);
    sessions.end(id).await?;
    println!("ended:   {:?}", sessions.find(id).await?);

    sessions.create(id, "alice").await?;
    tokio::time::sleep(IDLE + Duration::from_millis(1_100)).await; // stores count in whole seconds
    println!("expired: {:?}", sessions.find(id).await?);
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    user: String,
    requests: u32,
}

struct Sessions {
    store: State,
}

impl Sessions {
    /// Fails if there is one with this id: a session is never taken over.
    async fn create(&self, id: &str, user: &str) -> Result<(), Error> {
        let session = Session { user: user.to_owned(), requests: 0 };
        self.store.save(id, &session).first_write().ttl(IDLE).await
    }

    /// `None` if there is none, or none any more.
    async fn find(&self, id: &str) -> Result<Option<Session>, Error> {
        Ok(self.store.get(id).await?.map(|entry| entry.value))
    }

    /// Counts a request and lets the session live on.
    async fn touch(&self, id: &str) -> Result<bool, Error> {
        while let Some(mut entry) = self.store.get::<Session>(id).await? {
            entry.value.requests += 1;
            // With the etag that was read: a request that runs at the same time is counted too, and a session that has
            // ended meanwhile does not come back.
            match entry.save().ttl(IDLE).await {
                Err(error) if error.is_etag_mismatch() => {}
                saved => return saved.map(|()| true),
            }
        }
        Ok(false)
    }

    async fn end(&self, id: &str) -> Result<(), Error> {
        self.store.delete(id).await
    }
}
