//! What a daprd says that has no such component (`dapr/dapr:pkg/messages/predefined.go`, `pkg/api/errors`).

use dapr::dapr::proto::runtime::v1::{ConversationRequest, ConversationRequestAlpha2};
use tonic::Status;

use super::status;
use crate::sidecar::app::App;

/// They are actors of daprd's own engine, which is not here.
pub(super) fn workflows<R>(_: &App, _: &R) -> Status {
    Status::unavailable("placement service is not configured")
}

pub(super) fn crypto<R>(_: &App, _: &R) -> Status {
    Status::internal("crypto providers not configured")
}

/// Released builds of daprd do not have these.
pub(super) fn subtle_crypto<R>(_: &App, _: &R) -> Status {
    Status::unimplemented("this API is currently not implemented")
}

pub(super) fn conversation(_: &App, request: &ConversationRequest) -> Status {
    no_conversation(&request.name)
}

pub(super) fn conversation2(_: &App, request: &ConversationRequestAlpha2) -> Status {
    no_conversation(&request.name)
}

fn no_conversation(name: &str) -> Status {
    Status::invalid_argument(format!("failed finding conversation component {name}"))
}

/// In the generated API, but in no daprd: its proxy answers.
pub(super) fn unknown<R>(_: &App, _: &R) -> Status {
    status::not_proxied()
}
