//! tower-dapr
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod classify;
pub mod propagation;
pub mod rpc;
#[cfg(feature = "sidecar")]
pub mod sidecar;
