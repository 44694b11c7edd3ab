//! Composable [tower] layers that make [Dapr] applications observable and resilient: traces, metrics, retry, deadlines and
//! CloudEvents, added by service composition on both sides and not at call sites.
//!
//! ```text
//! outbound   your code -> [trace] [metrics] -> [deadline] -> [retry] -> [api token] -> tonic Channel -> sidecar
//! inbound    sidecar -> [trace] [metrics] -> [api token] -> [cloudevent decode] -> axum route / tonic AppCallback
//! ```
//!
//! Each layer works alone, on any `Service<http::Request<B>>`.
//!
//! # Outbound
//!
//! One layer around a channel, with the generated client:
//!
//! ```no_run
//! use dapr::dapr::proto::runtime::v1::{GetStateRequest, dapr_client::DaprClient};
//! use tower::ServiceBuilder;
//! use tower_dapr::trace::TraceLayer;
//!
//! # async fn example() -> Result<(), tonic::Status> {
//! let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
//! let mut client = DaprClient::new(ServiceBuilder::new().layer(TraceLayer::client()).service(channel));
//! client.get_state(GetStateRequest { store_name: "statestore".into(), key: "tea".into(), ..Default::default() }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! or the [`Dapr`](outbound::Dapr) handle over the ready stack:
//!
//! ```no_run
//! use tower_dapr::outbound::Dapr;
//!
//! # async fn example() -> Result<(), tower_dapr::Error> {
//! let dapr = Dapr::connect()?;
//! dapr.state("statestore").save("tea", &12).await?;
//! dapr.publish("pubsub", "stock").json(&"tea: 12").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Inbound
//!
//! ```
//! use axum::Router;
//! use tower_dapr::{
//!     event::{Event, Outcome},
//!     inbound::{InboundLayer, Subscriptions, Topic},
//! };
//!
//! async fn restocked(event: Event<String>) -> Outcome {
//!     println!("{}", event.data);
//!     Outcome::Success
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app: Router = Subscriptions::new()
//!     .topic(Topic::new("pubsub", "stock"), restocked)
//!     .into_router()?
//!     .layer(InboundLayer::new());
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | module | what |
//! | --- | --- |
//! | [`outbound`], [`inbound`] | the composed sides: stacks, the `Dapr` handle, subscriptions |
//! | [`trace`], [`metrics`], [`cloudevent`] | the layers |
//! | [`retry`], [`deadline`], [`breaker`] | the layers that make calls resilient |
//! | [`observe`] | watches one exchange to its true end; what the layers are made of |
//! | [`classify`], [`propagation`] | what a result means; how context travels |
//! | [`rpc`], [`event`], [`Error`] | plain data: Dapr's calls as a table, the CloudEvent, our error |
//! | `telemetry`, `sidecar`, `testing` | beside: OTLP set-up, an embedded Dapr for development, assertions |
//!
//! # Features
//!
//! None is on by default; both directions work without any.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `bound-instruments` | metrics through OpenTelemetry's bound instruments: cheaper, experimental there |
//! | `cloudevents` | conversion to and from the events of `cloudevents-sdk` |
//! | `dapr-client` | the Dapr SDK's own `Client` over our stack, for those who migrate |
//! | `gzip` | compressed messages towards the sidecar |
//! | `otlp` | `telemetry`: export of traces and metrics over OTLP, and `tracing` spans in the same traces |
//! | `sidecar` | `sidecar`: an embedded Dapr for development and tests |
//! | `testing` | `testing`: recorders of spans and metrics, and assertions of span trees |
//! | `tls` | `https` endpoints: rustls with ring, and the platform's roots |
//!
//! # Stability
//!
//! Names of spans, metrics and attributes follow OpenTelemetry's semantic conventions 1.44: those of HTTP are stable,
//! those of RPC a release candidate, those of messaging and CloudEvents in development; a change of theirs will be a minor
//! release here. Foreign types in the API are those of axum, bytes, chrono, dapr, futures-core, http, opentelemetry, serde, tonic,
//! tower and tracing.
//!
//! # Cancel safety
//!
//! Dropping a future or a body of any layer at any point is safe: what was recorded ends there and says that it was
//! cancelled, no gauge and no permit is left behind. Whether a cancelled call has reached the other side is not known.
//!
//! [tower]: https://docs.rs/tower
//! [Dapr]: https://dapr.io
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod breaker;
pub mod classify;
pub mod cloudevent;
pub mod deadline;
pub mod event;
pub mod inbound;
pub mod metrics;
pub mod observe;
pub mod outbound;
pub mod propagation;
pub mod retry;
pub mod rpc;
#[cfg(feature = "sidecar")]
#[cfg_attr(docsrs, doc(cfg(feature = "sidecar")))]
pub mod sidecar;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub mod telemetry;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod trace;

mod bound;
mod error;
mod intern;
mod refusable;
mod semconv;
mod spans;
mod timer;
mod url;

pub use self::error::Error;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
