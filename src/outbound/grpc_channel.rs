use std::{
    fmt,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Request, Response};
use tonic::{body::Body, codegen::StdError};
use tower_service::Service;

use super::{Dapr, DaprService};
use crate::Error;

/// The header by which daprd's gRPC server knows for which app a call is.
const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");
/// The header that it prefers.
const CALLEE_APP_ID: HeaderName = HeaderName::from_static("dapr-callee-app-id");

/// A channel to another app's own gRPC service, through the sidecar and the same stack. Made by [`Dapr::grpc_channel`].
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), Box<dyn std::error::Error>> {
/// # use dapr::dapr::proto::runtime::v1::app_callback_health_check_client::AppCallbackHealthCheckClient as GreeterClient;
/// let mut greeter = GreeterClient::new(dapr.grpc_channel("greeter")?); // any generated client
/// # greeter.health_check(()).await?;
/// # Ok(())
/// # }
/// ```
///
/// Whatever the metadata of a call says, it goes to this app. An app that is not known answers `UNKNOWN`, one that speaks no
/// gRPC `UNAVAILABLE`.
#[derive(Clone)]
pub struct GrpcChannel {
    service: DaprService,
    app_id: HeaderValue,
}

impl GrpcChannel {
    pub(super) fn new(dapr: &Dapr, app_id: &str) -> Result<Self, Error> {
        let invalid = |reason| Error::invalid("open a gRPC channel to", app_id, reason);
        if app_id.is_empty() {
            return Err(invalid("the app id is empty"));
        }
        let value = HeaderValue::from_str(app_id).ok().filter(|_| app_id.is_ascii());
        let app_id = value.ok_or_else(|| invalid("the app id holds what a header cannot"))?;
        Ok(Self { service: dapr.service(), app_id })
    }
}

impl Service<Request<Body>> for GrpcChannel {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = <DaprService as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // Not the one of a request that this one may have been made of.
        request.headers_mut().remove(CALLEE_APP_ID);
        request.headers_mut().insert(APP_ID, self.app_id.clone());
        self.service.call(request)
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcChannel").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}
