//! What Dapr is, as plain data: its calls as a table, and where the names stand in their requests.
//!
//! A layer around a gRPC channel sees paths and bytes. This module says what they mean: which building block a path
//! belongs to, whether the call may be sent twice, and how to read the component's name from the first bytes of the
//! request as it passes. There is no service, no layer and no protobuf type in here.
//!
//! ```
//! use tower_dapr::rpc::{BuildingBlock, Names, Rpc, Safety};
//!
//! let rpc = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/PublishEvent").ok_or("a call of Dapr")?;
//! assert_eq!(rpc.block(), BuildingBlock::Pubsub);
//! assert_eq!(rpc.safety(), Safety::Publish);
//!
//! // The start of the request's body: a gRPC frame with PublishEventRequest { pubsub_name: "ps", topic: "t", .. }.
//! let body = b"\0\0\0\0\x0a\x0a\x02ps\x12\x01t\x1a\x01x";
//! let names = Names::read(rpc, body);
//! assert_eq!(names.component, Some("ps"));
//! assert_eq!(names.destination, Some("t"));
//! # Ok::<(), &str>(())
//! ```
//!
//! # What the table covers
//!
//! All 98 calls in the protobuf files of crate `dapr` 0.20 (88 of service `Dapr`, 10 of the app's `AppCallback*`
//! services), and `SubscribeActorEventsAlpha1`, which daprd 1.18 serves and the crate does not have. Calls between
//! applications that daprd only proxies are not Dapr's and have no row.
//!
//! # What is a name, and what is not
//!
//! Names become attributes of spans and metrics, so only those are read that the configuration of a system bounds:
//! components, app ids, actor types and topics. Keys, ids, methods and payloads are never looked at.

pub(crate) mod bulk;
mod class;
mod condition;
mod index;
mod names;
mod row;
mod table;
pub(crate) mod wire;

/// What of a path to Dapr's HTTP API is behind the version: `/v1.0/`, `/v1.0-alpha1/`, and the like.
pub(crate) fn in_http_api(path: &str) -> Option<&str> {
    let (stage, path) = path.strip_prefix("/v1.0")?.split_once('/')?;
    (stage.is_empty() || stage.starts_with('-')).then_some(path)
}

pub use self::{
    class::{BuildingBlock, NameKind, Safety, Streaming},
    names::Names,
    row::Rpc,
};
