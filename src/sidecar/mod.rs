//! An embedded Dapr sidecar for development and tests.
//!
//! It speaks Dapr's gRPC and HTTP APIs and calls the app over HTTP or gRPC, as a daprd 1.18 with `state.in-memory`, `pubsub.in-memory` and
//! no tracing configuration does: same codes, messages and details, same envelopes, same verdicts. It runs inside the
//! process, on free ports of 127.0.0.1, with all its data in memory, or its state in [a file](HubBuilder::state_file).
//! Production is the real daprd.
//!
//! ```
//! use dapr::dapr::proto::common::v1::StateItem;
//! use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
//! use dapr::dapr::proto::runtime::v1::{GetStateRequest, SaveStateRequest};
//! use tower_dapr::sidecar::Hub;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder().state_store("statestore").build();
//! let sidecar = hub.app("shop").start().await?;
//!
//! let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await?;
//! let cart = StateItem { key: "cart".into(), value: b"1 book".into(), ..StateItem::default() };
//! dapr.save_state(SaveStateRequest { store_name: "statestore".into(), states: vec![cart] }).await?;
//! let get = GetStateRequest { store_name: "statestore".into(), key: "cart".into(), ..GetStateRequest::default() };
//! assert_eq!(dapr.get_state(get).await?.into_inner().data, b"1 book");
//!
//! sidecar.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Apps, events and the end of a test
//!
//! An app that serves HTTP names its port with [`app_port`](SidecarBuilder::app_port). The sidecar waits for it, reads
//! `/dapr/config` and `/dapr/subscribe`, and then [is ready](Sidecar::ready). Apps of one [`Hub`] invoke each other by id
//! and share its topics. [`Hub::settled`] waits until each event found its end, and [`Hub::stats`] counts the ends, so a
//! test needs no sleep:
//!
//! ```
//! # use axum::{Json, Router, routing::{get, post}};
//! # use dapr::dapr::proto::runtime::v1::{PublishEventRequest, dapr_client::DaprClient};
//! # use serde_json::json;
//! # use tower_dapr::sidecar::Hub;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new()
//!     .route("/dapr/subscribe", get(|| async { Json(json!([{"pubsubname": "bus", "topic": "orders", "route": "/order"}])) }))
//!     .route("/order", post(|| async { "" }));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let port = listener.local_addr()?.port();
//! tokio::spawn(async { axum::serve(listener, app).await });
//!
//! let hub = Hub::builder().pubsub("bus").build();
//! let sidecar = hub.app("kitchen").app_port(port).start().await?;
//! sidecar.ready().await;
//!
//! let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await?;
//! let order = PublishEventRequest { pubsub_name: "bus".into(), topic: "orders".into(), ..PublishEventRequest::default() };
//! dapr.publish_event(order).await?;
//! hub.settled().await;
//! assert_eq!(hub.stats().delivered, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Actors
//!
//! An HTTP app hosts the types that it lists as `entities` in `/dapr/config`; see
//! [`AppConfig`](crate::inbound::AppConfig). A call from the sidecar of any app of the hub reaches the host, one call at a time
//! for each actor; apps that host the same type share its actors. [`HubBuilder::actor_state_store`] adds a store for their
//! state. Timers, reminders and idle times follow tokio's clock, and a [`stop`](Sidecar::stop) deactivates:
//!
//! ```
//! # use axum::{Json, Router, extract::Path, routing::{get, put}};
//! # use serde_json::json;
//! # use tower_dapr::{outbound::{Dapr, Endpoint}, sidecar::Hub};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new()
//!     .route("/dapr/config", get(|| async { Json(json!({"entities": ["Cart"], "actorIdleTimeout": "10m"})) }))
//!     .route("/actors/Cart/{id}/method/greet", put(|Path(id): Path<String>| async move { format!("the cart of {id}") }));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let port = listener.local_addr()?.port();
//! tokio::spawn(async { axum::serve(listener, app).await });
//!
//! let hub = Hub::builder().actor_state_store("statestore").build();
//! let shop = hub.app("shop").app_port(port).start().await?;
//! let caller = hub.app("caller").start().await?;
//! shop.ready().await;
//!
//! let dapr = Dapr::builder().endpoint(Endpoint::local(caller.grpc_port())).build()?;
//! assert_eq!(dapr.actor("Cart", "alice").invoke("greet").await?.bytes(), b"the cart of alice");
//! shop.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # State that stays
//!
//! [`HubBuilder::state_file`], or a component of type `state.sqlite` in the resource files, keeps state in one SQLite file:
//!
//! ```
//! # use dapr::dapr::proto::common::v1::StateItem;
//! # use dapr::dapr::proto::runtime::v1::{GetStateRequest, SaveStateRequest, dapr_client::DaprClient};
//! # use tower_dapr::sidecar::Hub;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let file = directory.path().join("state.db");
//! for restart in [false, true] {
//!     let hub = Hub::builder().state_file("statestore", &file)?.build();
//!     let sidecar = hub.app("shop").start().await?;
//!     let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await?;
//!     if !restart {
//!         let cart = StateItem { key: "cart".into(), value: b"1 book".into(), ..StateItem::default() };
//!         dapr.save_state(SaveStateRequest { store_name: "statestore".into(), states: vec![cart] }).await?;
//!     }
//!     let get = GetStateRequest { store_name: "statestore".into(), key: "cart".into(), ..GetStateRequest::default() };
//!     assert_eq!(dapr.get_state(get).await?.into_inner().data, b"1 book");
//!     sidecar.stop().await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Its own spans
//!
//! Without a tracer it makes no span and passes the caller's context on, as a daprd without a tracing configuration. With
//! [`SidecarBuilder::tracer_provider`] it makes the spans that daprd makes, and propagates those.
//!
//! # As a program
//!
//! `cargo run --example sidecar -- --app-id shop --app-port 3000 --resources-path DIR -- COMMAND` is this sidecar for apps in
//! any language, with the flags of daprd. The items of a configuration store, which daprd has in Redis, come from a JSON
//! file that is followed: `{name: itemsFile, value: items.json}` in the metadata of its component.
//!
//! # Faults
//!
//! [`Hub::fail_next`] and [`Hub::inject`] make the next calls of an rpc go wrong, for tests of what an app does about it:
//! with a code, late, without a status, or with a connection that breaks or goes away, see [`Fault`].
//!
//! ```
//! # use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
//! # use tower_dapr::sidecar::Hub;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder().state_store("statestore").build();
//! let sidecar = hub.app("shop").start().await?;
//! let mut dapr = DaprClient::connect(sidecar.grpc_endpoint()).await?;
//! let get = || GetStateRequest { store_name: "statestore".into(), key: "cart".into(), ..GetStateRequest::default() };
//!
//! hub.fail_next("GetState", tonic::Code::Unavailable, 1);
//! assert_eq!(dapr.get_state(get()).await.unwrap_err().code(), tonic::Code::Unavailable);
//! assert!(dapr.get_state(get()).await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # What is the same, and what is not
//!
//! * State, publish, bulk publish, service invocation to HTTP apps, secrets, configuration, locks, bindings (files, HTTP,
//!   cron), jobs, metadata: as daprd, with HTTP and gRPC apps. Actors: as daprd, hosted by HTTP apps. Every other rpc answers
//!   as a daprd that has no such component.
//! * There are stores in memory where daprd has none: configuration, locks, and the jobs of its scheduler. Cron is in UTC.
//! * A `state.sqlite` has the file and the metadata of daprd's, but the answers of the store in memory. It reads
//!   `connectionString` without options, `tableName`, `busyTimeout` and `disableWAL`; `keyPrefix` is `appid`.
//! * With a tracer: a call over HTTP does not tell the address of its caller, a streaming subscription has no span for each
//!   event, actors have none of their own (`CallActor/..`), a delivery without an answer has one that failed, where daprd's
//!   is never ended, and no span has the API token.
//! * A refused event (`RETRY`, 5xx, no connection) is gone, as with daprd, unless
//!   [`inbound_retry`](HubBuilder::inbound_retry) sets a policy.
//! * A proxied call may have messages of any length; daprd takes 4 MiB, unless told otherwise.
//! * A bulk goes to the app when it is full or has waited; an entry of it without a route is dropped, and not also sent.
//! * A hub is placement and scheduler too, so actors are never "not configured": a type without a host is one that nobody
//!   hosts (`FAILED_PRECONDITION`, after five seconds). Workflows are refused as by a daprd without placement.
//! * An actor is deactivated between two calls; daprd 1.18.2 cuts a call that takes longer than the idle time. Its timers end
//!   with it, and a timer or a reminder whose app answers `X-DaprReminderCancel: true` is over, as Dapr's documentation says;
//!   daprd 1.18.2 goes on with both. A hub has at most 4,096 reminders; an app 10,000 active actors and 4,096 timers; 1,024
//!   calls wait for an actor. Names of actors, timers and reminders have at most 1,024 bytes.
//! * The HTTP API (`/v1.0/...`) has the same calls, but no crypto, conversation and workflows. It answers callers
//!   that name this machine in `Host`.
//! * All apps of a hub share one bus; the topics of a real `pubsub.in-memory` end at its daprd. Publishing waits for a full
//!   queue (1,024 messages a subscription), not for each handler.
//! * Time is tokio's: state and events expire, and timers and reminders come, when a test advances the paused clock. State
//!   in a file also expires while no process runs, by the wall clock.
//!
//! # When it stops
//!
//! A dropped [`Sidecar`] stops: each of its tasks ends at its next wake-up, its listeners with them.
//! [`Sidecar::stop`] and [`Hub::shutdown`] also wait for that.

mod actors;
mod app;
mod app_channel;
mod baggage;
mod bindings;
mod builder;
mod clock;
mod components;
mod duration;
mod error;
mod fault;
mod grpc;
mod handle;
mod headers;
mod http_api;
mod hub;
mod hub_builder;
mod invocation;
mod jobs;
mod json;
mod listen;
mod lock;
mod method;
mod pubsub;
mod resources;
mod schedule;
mod scheduled;
mod secret;
mod spans;
mod state_store;
mod stats;
mod tasks;
mod trace;
mod truth;

pub use self::app_channel::AppProtocol;
pub use self::builder::SidecarBuilder;
pub use self::error::{ComponentError, StartError};
pub use self::fault::Fault;
pub use self::handle::Sidecar;
pub use self::hub::Hub;
pub use self::hub_builder::HubBuilder;
pub use self::pubsub::RetryPolicy;
pub use self::stats::Stats;
