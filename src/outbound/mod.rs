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
//! let check = dapr.invoke("inventory").post("check").json(&order).await?;
//! let available: u32 = check.json()?;
//!
//! dapr.state("statestore").save("order:1", &order).await?;
//! dapr.publish("pubsub", "orders").json(&order).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Building blocks
//!
//! | block | from | what |
//! | --- | --- | --- |
//! | service invocation | [`Dapr::invoke`], [`Dapr::grpc_channel`], [`HttpInvokeLayer`] | other apps, three ways |
//! | state | [`Dapr::state`] | values with versions, alone, in bulk, in transactions |
//! | publish/subscribe | [`Dapr::publish`] | events, alone and in bulk; the other side is [`inbound`](crate::inbound) |
//! | bindings | [`Dapr::binding`] | operations of an external system |
//! | secrets | [`Dapr::secrets`] | texts that no `Debug` shows |
//! | configuration | [`Dapr::configuration`] | items, and a stream of their changes |
//! | actors | [`Dapr::actor`] | calls, state, reminders, timers |
//! | distributed lock | [`Dapr::lock`] | a guard |
//! | jobs | [`Dapr::jobs`] | calls of this app, later |
//! | cryptography | [`Dapr::crypto`] | streams in, streams out |
//! | workflows | [`Dapr::workflows`] | start, steer, ask |
//! | the sidecar | [`Dapr::metadata`], [`Dapr::shutdown`], [`Dapr::wait_until_ready`] | |
//!
//! What takes no options is an `async fn`. What takes some is a request that is sent when it is awaited (`IntoFuture`), and
//! does nothing without. Values are JSON or the caller's own bytes. Arguments that daprd would misunderstand, or refuse
//! without a clear reason, are refused before anything is sent ([`Error::is_invalid`](crate::Error::is_invalid)); all others
//! are daprd's to judge. No `Debug` here shows a value, a key, a header or a token.
//!
//! # The stack
//!
//! [`Dapr::connect`] and [`Dapr::builder`] put these layers around the channel, from the outside in:
//!
//! | layer | why here |
//! | --- | --- |
//! | trace and metrics, in [one pass](crate::observe) | outermost: they see the whole call |
//! | [`DeadlineLayer`](crate::deadline::DeadlineLayer) | the time of the call, which all attempts share |
//! | [`RetryLayer`](crate::retry::RetryLayer) | sends again what is safe to repeat |
//! | trace, of retries | a span for each attempt but the first |
//! | [`ApiTokenLayer`] | innermost: nothing outside of it ever sees the token |
//! | tonic's channel | |
//!
//! # Environment
//!
//! What [`Dapr::connect`] reads, and [`Dapr::builder`] where it is not told otherwise. An empty variable counts as absent.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `DAPR_GRPC_ENDPOINT`, `DAPR_GRPC_PORT`, .. | the sidecar, time to connect, size of answers, TLS: see [`Endpoint`](Endpoint#environment) | port 50001 of this host |
//! | `DAPR_HTTP_ENDPOINT`, `DAPR_HTTP_PORT` | where to ask for [health](HttpEndpoint::from_env) | health is asked for over gRPC |
//! | `DAPR_API_TOKEN` | sent with each call | none |
//! | `DAPR_API_MAX_RETRIES` | retries after the first attempt; 0: none, -1: until the call's deadline | 2 |
//! | `DAPR_API_TIMEOUT_SECONDS` | how long a call may take, all its attempts together | no limit |
//!
//! An app's own side has [`APP_API_TOKEN`](crate::inbound::RequireApiTokenLayer::from_env).
//!
//! # Any other stack
//!
//! [`Dapr::new`] takes any other stack. [`Dapr::raw`] gives the generated client over the same stack, for every call that
//! has no method here.

mod actor;
mod api_token;
mod backoff;
mod binding;
mod builder;
mod configuration;
mod crypto;
mod dapr;
mod endpoint;
mod grpc_channel;
mod health;
mod http_endpoint;
mod http_invoke;
mod invoke;
mod jobs;
mod lock;
mod metadata;
mod parts;
mod publish;
#[cfg(feature = "dapr-client")]
mod sdk_client;
mod secrets;
mod state;
mod subscribe;
mod timing;
mod workflows;

#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use self::endpoint::Tls;
#[cfg(feature = "dapr-client")]
#[cfg_attr(docsrs, doc(cfg(feature = "dapr-client")))]
pub use self::sdk_client::SdkClient;
pub use self::{
    actor::{
        Actor, ActorReminder, ActorTransaction, InvokeActor, InvokeActorResponse, RegisterReminder, RegisterTimer,
    },
    api_token::{ApiToken, ApiTokenLayer},
    binding::{Binding, BindingRequest, BindingResponse},
    builder::Builder,
    configuration::{Configuration, ConfigurationItem, ConfigurationItems, ConfigurationStream},
    crypto::{CipherStream, Crypto, Decrypt, Encrypt},
    dapr::{Dapr, DaprService},
    endpoint::Endpoint,
    grpc_channel::GrpcChannel,
    http_endpoint::HttpEndpoint,
    http_invoke::{HttpInvoke, HttpInvokeLayer},
    invoke::{Invoke, InvokeRequest, InvokeResponse},
    jobs::{Job, Jobs, ScheduleJob},
    lock::{Lock, LockGuard, Release, TryLock},
    publish::{BulkFailure, BulkPublish, Publish, PublishRequest},
    secrets::{GetBulkSecret, GetSecret, Secret, SecretText, Secrets},
    state::{
        BulkEntry, Delete, GetBulk, GetState, Query, QueryPage, Save, State, StateEntry, StateOperation, Transaction,
    },
    subscribe::{PulledEvent, PulledEvents, Subscribe},
    timing::{FailurePolicy, Timing},
    workflows::{StartWorkflow, WorkflowInstance, Workflows},
};
