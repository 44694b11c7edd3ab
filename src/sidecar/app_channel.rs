//! The way from the sidecar to its app.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;

use super::headers::API_TOKEN;
use super::tasks::Tasks;

/// Speaks HTTP/1.1 with the one address of the app, and with no other: redirects are answers.
pub(super) struct AppChannel {
    address: SocketAddr,
    authority: Authority,
    token: Option<HeaderValue>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// The app did not answer, or not as a whole.
#[derive(Debug)]
pub(super) enum ChannelError {
    Send(hyper_util::client::legacy::Error),
    Body(Box<dyn Error + Send + Sync>),
}

// ===== impl AppChannel =====

impl AppChannel {
    pub(super) fn new(address: SocketAddr, token: Option<HeaderValue>, tasks: &Tasks) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let authority = Authority::try_from(address.to_string()).expect("a socket address is an authority");
        Self { address, authority, token, client: Client::builder(tasks.clone()).build(connector) }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
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
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ChannelError> {
        // Whatever the headers were made of: a token of someone else ends here.
        headers.remove(API_TOKEN);
        if let Some(token) = &self.token {
            headers.insert(API_TOKEN, token.clone());
        }
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(target);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make a URI");
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(ChannelError::Send)
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn read(body: Incoming, limit: usize) -> Result<Bytes, ChannelError> {
        let body = Limited::new(body, limit).collect().await.map_err(ChannelError::Body)?;
        Ok(body.to_bytes())
    }
}

impl fmt::Debug for AppChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppChannel").field("address", &self.address).finish_non_exhaustive()
    }
}

// ===== impl ChannelError =====

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
