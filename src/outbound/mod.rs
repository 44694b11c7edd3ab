//! The outbound side: the [`Dapr`] handle, and the stack of layers that its calls go through.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use tower_dapr::outbound::Dapr;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { sku: String, quantity: u32 }
//!
//! # async fn example() -> Result<(), tower_dapr::Error> {
//! let dapr = Dapr::connect()?; // DAPR_GRPC_ENDPOINT or DAPR_GRPC_PORT, DAPR_API_TOKEN; connects when first used
//! let order = Order { sku: "tea".into(), quantity: 2 };
//!
//! let check = dapr.invoke("inventory").post("check").json(&order).send().await?;
//! let available: u32 = check.json()?;
//!
//! dapr.state("statestore").save("order:1", &order).await?;
//! dapr.publish("pubsub", "orders").json(&order).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The stack
//!
//! [`Dapr::connect`] and [`Dapr::builder`] put these layers around the channel, from the outside in:
//!
//! | layer | why here |
//! | --- | --- |
//! | trace and metrics, in [one pass](crate::observe) | outermost: they see the whole call |
//! | [`ApiTokenLayer`] | innermost: nothing outside of it ever sees the token |
//! | tonic's channel | |
//!
//! [`Dapr::new`] takes any other stack. [`Dapr::raw`] gives the generated client over the same stack, for every call that
//! has no method here.

mod api_token;
mod builder;
mod dapr;
mod endpoint;
mod invoke;
mod publish;
mod state;

pub use self::{
    api_token::{ApiToken, ApiTokenLayer},
    builder::Builder,
    dapr::{Dapr, DaprService},
    endpoint::Endpoint,
    invoke::{Invoke, InvokeRequest, InvokeResponse},
    publish::{Publish, PublishRequest},
    state::{Delete, Save, State, StateEntry},
};
