use std::task::{Context, Poll};

use http::{Request, header::HOST};
use tower_layer::Layer;
use tower_service::Service;

use super::HttpEndpoint;
use crate::Error;

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
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
#[derive(Debug, Clone)]
pub struct HttpInvokeLayer {
    endpoint: HttpEndpoint,
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
                "invoke",
                app_id,
                "the app id is not a name of letters, digits, `.`, `-` and `_`",
            ));
        }
        Ok(Self { endpoint, prefix: format!("/v1.0/invoke/{app_id}/method") })
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
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri = self.layer.endpoint.uri(&format!("{}{slash}{path}", self.layer.prefix));
        *request.uri_mut() = uri.expect("a path behind a path is a path");
        // The client's own, for the host that it believed to speak to.
        request.headers_mut().remove(HOST);
        self.inner.call(request)
    }
}
