use std::task::{Context, Poll};

use http::{HeaderName, Request, Uri, header::HOST};
use tonic::codegen::StdError;
use tower_layer::Layer;
use tower_service::Service;

use super::{HttpEndpoint, parts::climbs};
use crate::{Error, error::INVOKE, refusable::ResponseFuture};

/// The header by which daprd's HTTP server takes a request for one to another app, whatever its path says.
const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");

/// Points any HTTP client service at another app, through the sidecar's HTTP API.
///
/// The client asks for a path as if it spoke to the app; scheme and host of its URIs do not matter and may be missing. The
/// app's answer comes back as it is, whatever its status.
///
/// ```
/// use http::Request;
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_dapr::outbound::{HttpEndpoint, HttpInvokeLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let http_client = service_fn(|request: Request<()>| async move { Ok::<_, std::convert::Infallible>(request.uri().to_string()) });
/// let mut inventory = HttpInvokeLayer::new("inventory", HttpEndpoint::local(3500))?.layer(http_client);
/// let answer = inventory.ready().await?.call(Request::get("/stock/tea?fresh=true").body(())?).await?;
/// # assert_eq!(answer, "http://127.0.0.1:3500/v1.0/invoke/inventory/method/stock/tea?fresh=true");
/// # Ok(())
/// # }
/// ```
///
/// Where the sidecar asks for a token, an [`ApiTokenLayer`](super::ApiTokenLayer) belongs inside of this one. Trace and
/// metrics layers outside of it see the app's path, those inside Dapr's.
///
/// # Errors
///
/// The service's error is a box. It holds an [`Error`] that [is invalid](Error::is_invalid), and nothing was sent, if the
/// path has a segment `..`, percent-encoded or not, or is too long: daprd resolves `..`, so that a path made of somebody's
/// input could name any call of the sidecar. A header `dapr-app-id` is removed: it would name another app.
/// `Authorization: Basic` with the user `dapr-app-id` does the same and is sent, so do not pass on a caller's.
#[derive(Debug, Clone)]
pub struct HttpInvokeLayer {
    endpoint: HttpEndpoint,
    app_id: String,
    /// `/v1.0/invoke/<app id>/method`.
    prefix: String,
}

impl HttpInvokeLayer {
    /// A layer that points at this app.
    ///
    /// # Errors
    ///
    /// If the app id is empty, or holds anything but ASCII letters, digits, `.`, `-` and `_`: it becomes a part of the path.
    pub fn new(app_id: &str, endpoint: HttpEndpoint) -> Result<Self, Error> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if app_id.is_empty() || !app_id.bytes().all(is_name) || app_id.bytes().all(|byte| byte == b'.') {
            return Err(Error::invalid(
                INVOKE,
                app_id,
                "the app id is not a name of letters, digits, `.`, `-` and `_`",
            ));
        }
        Ok(Self { endpoint, app_id: app_id.to_owned(), prefix: format!("/v1.0/invoke/{app_id}/method") })
    }

    /// Where the sidecar serves what was asked of the app.
    fn uri(&self, asked: &Uri) -> Result<Uri, Error> {
        let invalid = |reason| Error::invalid(INVOKE, &self.app_id, reason);
        if climbs(asked.path()) {
            return Err(invalid("the path holds a segment `..`"));
        }
        let path = asked.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri = self.endpoint.uri(&format!("{}{slash}{path}", self.prefix));
        uri.ok_or_else(|| invalid("path and query make no URI behind the sidecar's own path: they are too long"))
    }
}

impl<S> Layer<S> for HttpInvokeLayer {
    type Service = HttpInvoke<S>;

    fn layer(&self, inner: S) -> HttpInvoke<S> {
        HttpInvoke { inner, layer: self.clone() }
    }
}

/// The service that [`HttpInvokeLayer`] makes.
#[derive(Debug, Clone)]
pub struct HttpInvoke<S> {
    inner: S,
    layer: HttpInvokeLayer,
}

impl<S, B> Service<Request<B>> for HttpInvoke<S>
where
    S: Service<Request<B>>,
    S::Error: Into<StdError>,
{
    type Response = S::Response;
    type Error = StdError;
    type Future = ResponseFuture<S::Future, Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.layer.uri(request.uri()) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return ResponseFuture::refused(error),
        }
        // The client's own, for the host that it believed to speak to.
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(APP_ID);
        ResponseFuture::called(self.inner.call(request))
    }
}
