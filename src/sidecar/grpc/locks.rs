//! The lock rpcs (`dapr/dapr:pkg/api/universal/lock.go`).

use std::sync::Arc;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::unlock_response;
use dapr::dapr::proto::runtime::v1::{TryLockRequest, TryLockResponse, UnlockRequest, UnlockResponse};
use tonic::{Code, Request, Response, Status};

use super::status::plain;
use crate::sidecar::app::App;
use crate::sidecar::components::{LockStore, Unlocked};

const MALFORMED: &str = "ERR_MALFORMED_REQUEST";

/// The expiry is checked before the store.
pub(in crate::sidecar) async fn try_lock(
    app: &Arc<App>,
    request: Request<TryLockRequest>,
) -> Result<Response<TryLockResponse>, Status> {
    let TryLockRequest { store_name, resource_id, lock_owner, expiry_in_seconds } = request.into_inner();
    let expiry = u64::try_from(expiry_in_seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
        let message = format!("ExpiryInSeconds is not positive in lock store {store_name}");
        plain(Code::InvalidArgument, 400, MALFORMED, message)
    })?;
    let store = store(app, &store_name, &resource_id, &lock_owner)?;
    let resource = format!("{}||{resource_id}", app.id);
    let success = store.try_lock(resource, lock_owner, Duration::from_secs(expiry));
    Ok(Response::new(TryLockResponse { success }))
}

pub(in crate::sidecar) async fn unlock(
    app: &Arc<App>,
    request: Request<UnlockRequest>,
) -> Result<Response<UnlockResponse>, Status> {
    let UnlockRequest { store_name, resource_id, lock_owner } = request.into_inner();
    let store = store(app, &store_name, &resource_id, &lock_owner)?;
    let status = match store.unlock(&format!("{}||{resource_id}", app.id), &lock_owner) {
        Unlocked::Yes => unlock_response::Status::Success,
        Unlocked::NotHeld => unlock_response::Status::LockDoesNotExist,
        Unlocked::HeldByAnother => unlock_response::Status::LockBelongsToOthers,
    };
    Ok(Response::new(UnlockResponse { status: status.into() }))
}

fn store<'a>(app: &'a App, name: &str, resource: &str, owner: &str) -> Result<&'a LockStore, Status> {
    if app.hub.lock_stores.is_empty() {
        let message = "lock store is not configured";
        return Err(plain(Code::FailedPrecondition, 500, "ERR_LOCK_STORE_NOT_CONFIGURED", message));
    }
    for (what, text) in [("ResourceId", resource), ("LockOwner", owner)] {
        if text.is_empty() {
            let message = format!("{what} is empty in lock store {name}");
            return Err(plain(Code::InvalidArgument, 400, MALFORMED, message));
        }
    }
    app.hub.lock_stores.get(name).map(AsRef::as_ref).ok_or_else(|| {
        let message = format!("lock store {name} not found");
        plain(Code::InvalidArgument, 400, "ERR_LOCK_STORE_NOT_FOUND", message)
    })
}
