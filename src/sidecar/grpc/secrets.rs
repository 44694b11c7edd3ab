//! The secret rpcs (`dapr/dapr:pkg/api/universal/secrets.go`).

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::{
    GetBulkSecretRequest, GetBulkSecretResponse, GetSecretRequest, GetSecretResponse, SecretResponse,
};
use tonic::{Code, Request, Response, Status};

use super::status::plain;
use crate::sidecar::app::App;
use crate::sidecar::components::SecretStore;

pub(in crate::sidecar) async fn get(
    app: &Arc<App>,
    request: Request<GetSecretRequest>,
) -> Result<Response<GetSecretResponse>, Status> {
    let GetSecretRequest { store_name, key, .. } = request.into_inner();
    let secret = store(app, &store_name)?.get(&key).map_err(|reason| {
        let message = format!("failed getting secret with key {key} from secret store {store_name}: {reason}");
        plain(Code::Internal, 500, "ERR_SECRET_GET", message)
    })?;
    Ok(Response::new(GetSecretResponse { data: secret.into_iter().collect() }))
}

pub(in crate::sidecar) async fn get_bulk(
    app: &Arc<App>,
    request: Request<GetBulkSecretRequest>,
) -> Result<Response<GetBulkSecretResponse>, Status> {
    let all = store(app, &request.into_inner().store_name)?.all().into_iter();
    let data = all.map(|(name, secret)| (name, SecretResponse { secrets: secret.into_iter().collect() }));
    Ok(Response::new(GetBulkSecretResponse { data: data.collect() }))
}

fn store<'a>(app: &'a App, name: &str) -> Result<&'a SecretStore, Status> {
    if app.hub.secret_stores.is_empty() {
        let message = "secret store is not configured";
        return Err(plain(Code::FailedPrecondition, 500, "ERR_SECRET_STORES_NOT_CONFIGURED", message));
    }
    app.hub.secret_stores.get(name).ok_or_else(|| {
        let message = format!("failed finding secret store with key {name}");
        plain(Code::InvalidArgument, 401, "ERR_SECRET_STORE_NOT_FOUND", message)
    })
}
