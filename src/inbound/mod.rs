//! The app's side: subscriptions as axum routes, events as extractors, and the layers around them.
//!
//! ```
//! use axum::Router;
//! use tower_dapr::{
//!     event::{Event, Outcome},
//!     inbound::{InboundLayer, Rejected, Subscriptions, Topic},
//! };
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     sku: String,
//!     amount: String,
//! }
//!
//! async fn paid(event: Event<Order>) -> Result<Outcome, Rejected> {
//!     if event.data.sku.is_empty() {
//!         return Ok(Outcome::Drop);
//!     }
//!     let _amount: u32 = event.data.amount.parse()?; // an error is never answered as a success
//!     Ok(Outcome::Success)
//! }
//!
//! async fn shipped(Event { data: order, .. }: Event<Order>) {
//!     println!("{} is on its way", order.sku);
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let subscriptions = Subscriptions::new()
//!     .topic(Topic::new("pubsub", "orders").dead_letter("poison"), paid)
//!     .topic(Topic::new("pubsub", "shipments").route("/shipped"), shipped);
//!
//! let app: Router = Router::new().merge(subscriptions.into_router()?).layer(InboundLayer::new());
//! # Ok(())
//! # }
//! ```
//!
//! # Routes
//!
//! [`Subscriptions::into_router`] gives the route of each topic and those that daprd asks for at its start:
//!
//! | route | |
//! | --- | --- |
//! | `POST` of each topic's route | the handler, behind a [`CloudEventLayer`](crate::cloudevent::CloudEventLayer) |
//! | `GET /dapr/subscribe` | the subscriptions, derived from the topics |
//! | `GET /dapr/config` | the actor types of [`Subscriptions::app_config`], if any |
//! | `GET /healthz` | 200, for daprd's app health check, or what [`Subscriptions::health`] says |
//! | `OPTIONS` and `POST` of each binding's route | the probe, and the handler |
//! | `POST /job/{name}` of each job | the handler |
//!
//! daprd asks for them only after the app's port is open; an app that waits for its sidecar before it listens waits for
//! ever.
//!
//! # What a handler's answer means to Dapr
//!
//! | handler | answer | Dapr |
//! | --- | --- | --- |
//! | returns `()` or [`Outcome::Success`](crate::event::Outcome::Success) | 200 | done |
//! | returns [`Outcome::Retry`](crate::event::Outcome::Retry) | 200 `{"status":"RETRY"}` | tries again |
//! | returns [`Outcome::Drop`](crate::event::Outcome::Drop) | 200 `{"status":"DROP"}` | dead letter topic, or gone |
//! | returns `Err(`[`Rejected`]`)`, made by `?` of any error | `RETRY`, with a warning | tries again |
//! | the same, made by [`Rejected::drop`] | `DROP`, with a warning | dead letter topic, or gone |
//! | panics | `RETRY`, with an error in the log | tries again |
//! | returns a status of its own | that status | 404: dropped (a bulk delivery over HTTP: gone, without dead letters); other 3xx, 4xx, 5xx: tries again |
//! | is not called: the event cannot be decoded, or its data does not fit | `DROP`, with a warning | dead letter topic, or gone |
//!
//! With a bulk delivery, each of these holds for all its events, but for those that cannot be decoded or do not fit:
//! they have an answer of their own. [`Bulk`] and [`Outcomes`](crate::event::Outcomes) are for handlers that tell the
//! others apart, too. A bulk delivery that exceeds the [`Limits`](crate::event::Limits) as a whole is tried again.
//!
//! Input bindings and jobs have rules of their own: see [`Subscriptions::binding`] and [`Subscriptions::job`].
//!
//! "Tries again" is the work of the component's *inbound resiliency policy*. Without one, a component may acknowledge the
//! event all the same, and it is gone: `pubsub.redis` and `pubsub.in-memory` do that.
//!
//! # An app that speaks gRPC
//!
//! [`Subscriptions::into_app_callbacks`] makes tonic services of the same subscriptions and handlers: see [`AppCallbacks`].
//!
//! # The API token
//!
//! Anybody who reaches the app's port can send it events. [`Subscriptions::require_api_token`] answers only who has the
//! token of `APP_API_TOKEN`: the app's own sidecar. It sends the token with calls of other apps too. Routes that are added
//! to the router of the subscriptions need [`RequireApiTokenLayer`] around themselves.

mod answer;
mod app_callbacks;
mod app_config;
mod binding;
mod bulk;
mod catch_panic;
mod document;
mod error;
mod extract;
mod layer;
mod read_out;
mod rejected;
mod require_api_token;
mod routes;
mod settle;
mod subscriptions;
mod topic;

pub use self::{
    app_callbacks::AppCallbacks,
    app_config::AppConfig,
    binding::Binding,
    bulk::{Bulk, BulkEntry},
    error::SubscriptionError,
    extract::Events,
    layer::InboundLayer,
    rejected::Rejected,
    require_api_token::{RequireApiToken, RequireApiTokenLayer, TokenFuture},
    subscriptions::Subscriptions,
    topic::Topic,
};
