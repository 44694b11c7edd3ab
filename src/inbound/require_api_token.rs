use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Error,
    classify::Protocol,
    cloudevent::{Printable, ResponseBody},
};

/// The header that carries the token, both ways.
pub(super) const HEADER: HeaderName = HeaderName::from_static("dapr-api-token");

/// Answers only requests that carry the app's API token, which its sidecar has from `APP_API_TOKEN`.
///
/// A request must have exactly one header `dapr-api-token`, with this value. Any other is answered with 401 or, if it is
/// gRPC, with UNAUTHENTICATED. The inner service is not called, and never sees the token. No path is exempt: to leave one
/// open, put the layer around the others only, as
/// [`Subscriptions::require_api_token`](super::Subscriptions::require_api_token) does with `/healthz`.
///
/// Digests (SHA-256) are compared, and in constant time: how long it takes says nothing of the token.
///
/// ```
/// use axum::{Router, routing::get};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_dapr::inbound::RequireApiTokenLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app: Router = Router::new().route("/", get(async || "in")).layer(RequireApiTokenLayer::new("t0k3n")?);
///
/// let response = app.clone().oneshot(Request::get("/").body(axum::body::Body::empty())?).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RequireApiTokenLayer {
    digest: [u8; 32],
}

impl RequireApiTokenLayer {
    /// With this token.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn new(token: &str) -> Result<Self, Error> {
        if token.is_empty() {
            return Err(Error::invalid("require API token", "APP_API_TOKEN", "it is empty"));
        }
        Ok(Self { digest: digest(token.as_bytes()) })
    }

    /// With the token in `APP_API_TOKEN`. `None` if it is not set, or empty: Dapr sends no token then.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn from_env() -> Result<Option<Self>, Error> {
        match std::env::var("APP_API_TOKEN") {
            Ok(token) if token.is_empty() => Ok(None),
            Ok(token) => Self::new(&token).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Error::invalid("require API token", "APP_API_TOKEN", "it is not UTF-8"))
            }
        }
    }

    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut tokens = headers.get_all(HEADER).iter();
        let (Some(token), None) = (tokens.next(), tokens.next()) else { return false };
        digest(token.as_bytes()).ct_eq(&self.digest).into()
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl fmt::Debug for RequireApiTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequireApiTokenLayer(..)")
    }
}

impl<S> Layer<S> for RequireApiTokenLayer {
    type Service = RequireApiToken<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireApiToken { inner, layer: self.clone() }
    }
}

/// Asks for the API token. Made by [`RequireApiTokenLayer`].
#[derive(Debug, Clone)]
pub struct RequireApiToken<S> {
    inner: S,
    layer: RequireApiTokenLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RequireApiToken<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = TokenFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if !self.layer.admits(request.headers()) {
            tracing::debug!(path = %Printable::name(request.uri().path()), "request without the API token refused");
            return TokenFuture { inner: None, protocol: Protocol::of(request.headers()) };
        }
        request.headers_mut().remove(HEADER);
        TokenFuture { inner: Some(self.inner.call(request)), protocol: Protocol::Http }
    }
}

pin_project! {
    /// The response future of [`RequireApiToken`].
    #[derive(Debug)]
    pub struct TokenFuture<F> {
        // `None`: refused.
        #[pin]
        inner: Option<F>,
        protocol: Protocol,
    }
}

impl<F, B, E> Future for TokenFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_ok(|response| response.map(ResponseBody::inner)),
            None => Poll::Ready(Ok(refusal(*this.protocol).map(ResponseBody::answer))),
        }
    }
}

fn refusal(protocol: Protocol) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    match protocol {
        Protocol::Http => *response.status_mut() = StatusCode::UNAUTHORIZED,
        // A head that is the whole answer ("trailers-only"; PROTOCOL-HTTP2.md of gRPC).
        Protocol::Grpc => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", HeaderValue::from_static("16"));
            headers.insert("grpc-message", HeaderValue::from_static("invalid api token"));
        }
    }
    response
}
