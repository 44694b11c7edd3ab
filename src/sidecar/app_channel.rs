//! The way from the sidecar to its app.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::app_callback_alpha_client::AppCallbackAlphaClient;
use dapr::dapr::proto::runtime::v1::app_callback_client::AppCallbackClient;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower_service::Service;

use super::headers::{self, API_TOKEN};
use super::tasks::Tasks;

/// What the app speaks, as with `--app-protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC without TLS: the services `AppCallback` and `AppCallbackAlpha`, and any of its own.
    Grpc,
}

type Pool = Client<HttpConnector, Body>;

/// The connection pool to tonic's clients, which panic at details of a status that are no base64.
#[derive(Clone)]
pub(super) struct Transport(Pool);

/// Speaks with the one address of the app, and with no other: redirects are answers.
pub(super) struct AppChannel {
    address: SocketAddr,
    authority: Authority,
    protocol: AppProtocol,
    token: Option<HeaderValue>,
    client: Pool,
}

/// The app did not answer, or not as a whole.
#[derive(Debug)]
pub(super) enum ChannelError {
    Send(hyper_util::client::legacy::Error),
    Body(Box<dyn Error + Send + Sync>),
}

// ===== impl AppProtocol =====

impl AppProtocol {
    /// The name that daprd's flag and metadata have for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
        }
    }

    /// The protocol of this name; none for `https` and `grpcs`, which the embedded sidecar does not speak.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Http, Self::H2c, Self::Grpc].into_iter().find(|protocol| protocol.as_str() == name)
    }
}

// ===== impl AppChannel =====

impl AppChannel {
    pub(super) fn new(address: SocketAddr, protocol: AppProtocol, token: Option<HeaderValue>, tasks: &Tasks) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let authority = Authority::try_from(address.to_string()).expect("a socket address is an authority");
        let mut builder = Client::builder(tasks.clone());
        builder.http2_only(protocol != AppProtocol::Http);
        Self { address, authority, protocol, token, client: builder.build(connector) }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn protocol(&self) -> AppProtocol {
        self.protocol
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.protocol == AppProtocol::Grpc
    }

    /// Whether something listens there.
    pub(super) async fn is_up(&self) -> bool {
        TcpStream::connect(self.address).await.is_ok()
    }

    /// Sends one request, with the app's own token and nobody else's.
    pub(super) async fn send(
        &self,
        method: Method,
        target: PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ChannelError> {
        let mut request = Request::new(Body::new(Full::new(body)));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        self.forward(target, request).await
    }

    /// Sends a request to the app, whatever its URI says, with its body as it comes.
    pub(super) async fn forward(
        &self,
        target: PathAndQuery,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, ChannelError> {
        *request.uri_mut() = self.uri(target);
        // Whatever the headers were made of: a token of someone else ends here.
        request.headers_mut().remove(API_TOKEN);
        if let Some(token) = &self.token {
            request.headers_mut().insert(API_TOKEN, token.clone());
        }
        *request.version_mut() = http::Version::default();
        self.client.request(request).await.map_err(ChannelError::Send)
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn read(body: Incoming, limit: usize) -> Result<Bytes, ChannelError> {
        let body = Limited::new(body, limit).collect().await.map_err(ChannelError::Body)?;
        Ok(body.to_bytes())
    }

    pub(super) fn callback(&self) -> AppCallbackClient<Transport> {
        AppCallbackClient::with_origin(Transport(self.client.clone()), self.uri(PathAndQuery::from_static("/")))
    }

    pub(super) fn callback_alpha(&self) -> AppCallbackAlphaClient<Transport> {
        AppCallbackAlphaClient::with_origin(Transport(self.client.clone()), self.uri(PathAndQuery::from_static("/")))
    }

    /// A call of the app's gRPC server, with the app's own token and nobody else's.
    pub(super) fn call<T>(&self, message: T, mut headers: HeaderMap) -> tonic::Request<T> {
        headers.remove(API_TOKEN);
        if let Some(token) = &self.token {
            headers.insert(API_TOKEN, token.clone());
        }
        tonic::Request::from_parts(MetadataMap::from_headers(headers), tonic::Extensions::new(), message)
    }

    fn uri(&self, target: PathAndQuery) -> Uri {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(target);
        Uri::from_parts(uri).expect("scheme, authority and path make a URI")
    }
}

// ===== impl Transport =====

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = hyper_util::client::legacy::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = self.0.request(request);
        Box::pin(async move {
            let mut response = response.await?;
            headers::check_details(response.headers_mut());
            Ok(response.map(|body| Body::new(body.map_frame(headers::check_trailers))))
        })
    }
}

impl fmt::Debug for AppChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppChannel").field("address", &self.address).finish_non_exhaustive()
    }
}

// ===== impl ChannelError =====

impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Send(error) => Some(error),
            Self::Body(error) => Some(error.as_ref()),
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(error) => {
                let mut deepest: &dyn Error = error;
                while let Some(source) = deepest.source() {
                    deepest = source;
                }
                write!(f, "the app did not answer: {deepest}")
            }
            Self::Body(error) if error.is::<LengthLimitError>() => f.write_str("the app's answer is too large"),
            Self::Body(_) => f.write_str("the app's answer broke off"),
        }
    }
}
