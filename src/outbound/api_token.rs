use std::{
    fmt,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::Error;

/// The header that carries the token, both ways.
const HEADER: HeaderName = HeaderName::from_static("dapr-api-token");

/// The token that the sidecar asks for (`DAPR_API_TOKEN`). Its `Debug` does not show it.
#[derive(Clone)]
pub struct ApiToken(HeaderValue);

impl ApiToken {
    /// A token.
    ///
    /// # Errors
    ///
    /// If it is empty or holds what a header cannot: control characters or characters outside ASCII.
    pub fn new(token: &str) -> Result<Self, Error> {
        if token.is_empty() {
            return Err(Error::invalid("read API token", "DAPR_API_TOKEN", "it is empty"));
        }
        if !token.is_ascii() {
            return Err(Error::invalid("read API token", "DAPR_API_TOKEN", "it holds a character outside ASCII"));
        }
        let mut value = HeaderValue::from_str(token)
            .map_err(|_| Error::invalid("read API token", "DAPR_API_TOKEN", "it holds a control character"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

/// Sends the API token with each request, replacing one that is there. Without a token it does nothing.
///
/// Belongs next to the channel, inside all other layers.
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_dapr::outbound::{ApiToken, ApiTokenLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_dapr::Error> {
/// let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
/// let service = ServiceBuilder::new().layer(ApiTokenLayer::new(Some(ApiToken::new("t0k3n")?))).service(channel);
/// # let _ = service;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ApiTokenLayer {
    token: Option<ApiToken>,
}

impl ApiTokenLayer {
    /// A layer that sends this token.
    #[must_use]
    pub const fn new(token: Option<ApiToken>) -> Self {
        Self { token }
    }
}

impl<S> Layer<S> for ApiTokenLayer {
    type Service = ApiTokenService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ApiTokenService { inner, token: self.token.clone() }
    }
}

/// The service that [`ApiTokenLayer`] makes.
#[derive(Debug, Clone)]
pub struct ApiTokenService<S> {
    inner: S,
    token: Option<ApiToken>,
}

impl<S, B> Service<Request<B>> for ApiTokenService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(ApiToken(token)) = &self.token {
            request.headers_mut().insert(HEADER, token.clone());
        }
        self.inner.call(request)
    }
}
