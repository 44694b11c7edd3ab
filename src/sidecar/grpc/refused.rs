//! What a daprd says that has no such component (`dapr/dapr:pkg/messages/predefined.go`, `pkg/api/errors`).

use dapr::dapr::proto::runtime::v1::{
    ConversationRequest, ConversationRequestAlpha2, InvokeBindingRequest, TryLockRequest,
};
use tonic::{Code, Status};

use super::status::{self, Rich};
use crate::sidecar::app::App;

pub(super) fn binding(_: &App, request: &InvokeBindingRequest) -> Status {
    let name = &request.name;
    let message = format!("error invoking output binding {name}: couldn't find output binding {name}");
    Rich::new(Code::Internal, message).reason("ERR_INVOKE_OUTPUT_BINDING")
}

pub(super) fn secrets<R>(_: &App, _: &R) -> Status {
    Status::failed_precondition("secret store is not configured")
}

/// Also workflows: they are actors.
pub(super) fn actors<R>(_: &App, _: &R) -> Status {
    Status::unavailable("placement service is not configured")
}

pub(super) fn configuration<R>(_: &App, _: &R) -> Status {
    Rich::new(Code::FailedPrecondition, "configuration stores not configured")
        .reason("ERR_CONFIGURATION_STORE_NOT_CONFIGURED")
}

/// The expiry is checked before the store.
pub(super) fn try_lock(app: &App, request: &TryLockRequest) -> Status {
    if request.expiry_in_seconds > 0 {
        return lock(app, request);
    }
    Status::invalid_argument(format!("ExpiryInSeconds is not positive in lock store {}", request.store_name))
}

pub(super) fn lock<R>(_: &App, _: &R) -> Status {
    Status::failed_precondition("lock store is not configured")
}

pub(super) fn crypto<R>(_: &App, _: &R) -> Status {
    Status::internal("crypto providers not configured")
}

/// Released builds of daprd do not have these.
pub(super) fn subtle_crypto<R>(_: &App, _: &R) -> Status {
    Status::unimplemented("this API is currently not implemented")
}

/// daprd waits 30 s for a scheduler first, and then says the same.
const NO_SCHEDULER: &str = "rpc error: code = DeadlineExceeded desc = no scheduler is configured";

pub(super) fn schedule_job<R>(app: &App, _: &R) -> Status {
    job(app, Code::DeadlineExceeded, "schedule job", "DAPR_SCHEDULER_SCHEDULE_JOB")
}

pub(super) fn get_job<R>(app: &App, _: &R) -> Status {
    job(app, Code::Internal, "get job", "DAPR_SCHEDULER_GET_JOB")
}

pub(super) fn delete_job<R>(app: &App, _: &R) -> Status {
    job(app, Code::Internal, "delete job", "DAPR_SCHEDULER_DELETE_JOB")
}

pub(super) fn list_jobs<R>(app: &App, _: &R) -> Status {
    job(app, Code::Internal, "list jobs", "DAPR_SCHEDULER_LIST_JOBS")
}

fn job(app: &App, code: Code, action: &str, reason: &str) -> Status {
    Rich::new(code, format!("failed to {action} due to: {NO_SCHEDULER}"))
        .metadata([("appID", app.id.as_str()), ("namespace", "default")])
        .reason(reason)
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

/// In daprd, but not in this sidecar.
pub(super) fn streaming<R>(_: &App, _: &R) -> Status {
    Status::unimplemented("the embedded sidecar has no streaming subscriptions")
}
