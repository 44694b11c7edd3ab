use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tonic::{Status, body::Body as TonicBody, codegen::StdError};
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use super::{
    Actor, Binding, Builder, Configuration, Crypto, GrpcChannel, HttpEndpoint, Invoke, Jobs, Lock, Publish, Secrets,
    State, Subscribe, Workflows,
};
use crate::{
    Error,
    classify::{chain, was_waiting},
};

/// A handle to Dapr: all its building blocks, over one stack of layers.
///
/// Cheap to clone, used by `&self`, and not generic: the stack is boxed here, at the edge. See the
/// [module docs](crate::outbound) for an example.
///
/// # Cancel safety
///
/// Dropping the future of a call cancels it on the wire. Whether the sidecar has acted on it by then is not known.
#[derive(Clone)]
pub struct Dapr {
    inner: Arc<Inner>,
}

struct Inner {
    service: DaprService,
    settings: Settings,
}

/// What a handle knows beside its stack.
#[derive(Default)]
pub(super) struct Settings {
    /// How large an answer may be, in bytes. `None`: as large as tonic allows, 4 MiB.
    pub(super) max_inbound: Option<usize>,
    /// Compress, and ask for the same? Only with feature `gzip`.
    pub(super) gzip: bool,
    /// Where to ask for health.
    pub(super) http: Option<HttpEndpoint>,
    /// Where the stack ends, for messages.
    pub(super) endpoint: Option<String>,
}

impl Dapr {
    /// Over the ready stack, configured by the [environment](crate::outbound#environment). Connects when it is first used.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Over the ready stack, with settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Over any stack of layers around a tonic channel.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_dapr::{outbound::Dapr, trace::TraceLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:50001").connect_lazy();
    /// let dapr = Dapr::new(ServiceBuilder::new().layer(TraceLayer::client()).service(channel));
    /// # let _ = dapr;
    /// # }
    /// ```
    pub fn new<S, B>(stack: S) -> Self
    where
        S: Service<Request<TonicBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<StdError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self::from(DaprService::new(stack))
    }

    /// The generated client over the same stack: for calls, and settings of calls, that have no method here.
    #[must_use]
    pub fn raw(&self) -> DaprClient<DaprService> {
        let &Settings { max_inbound, gzip, .. } = &self.inner.settings;
        let mut client = DaprClient::new(self.service());
        if let Some(bytes) = max_inbound {
            client = client.max_decoding_message_size(bytes);
        }
        if gzip {
            #[cfg(feature = "gzip")]
            {
                use tonic::codec::CompressionEncoding::Gzip;
                client = client.send_compressed(Gzip).accept_compressed(Gzip);
            }
        }
        client
    }

    pub(super) fn with_settings(service: DaprService, settings: Settings) -> Self {
        Self { inner: Arc::new(Inner { service, settings }) }
    }

    /// The stack itself.
    pub(super) fn service(&self) -> DaprService {
        self.inner.service.clone()
    }

    /// The HTTP API of the same sidecar, if it is known. Only health is asked there.
    pub(super) fn http(&self) -> Option<&HttpEndpoint> {
        self.inner.settings.http.as_ref()
    }

    /// Where the stack ends, if it is the ready one.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.inner.settings.endpoint.as_deref()
    }

    /// Service invocation: calls a method of another app.
    pub fn invoke(&self, app_id: impl Into<String>) -> Invoke {
        Invoke::new(self.clone(), app_id.into())
    }

    /// Service invocation: a channel for the generated client of another app's own gRPC service, over the same stack.
    ///
    /// # Errors
    ///
    /// If the app id is empty or holds what a header cannot.
    pub fn grpc_channel(&self, app_id: &str) -> Result<GrpcChannel, Error> {
        GrpcChannel::new(self, app_id)
    }

    /// State: the key/value store of this name.
    pub fn state(&self, store: impl Into<String>) -> State {
        State::new(self.clone(), store.into())
    }

    /// Publish/subscribe: sends events to a topic of the pub/sub component of this name.
    pub fn publish(&self, pubsub: impl Into<String>, topic: impl Into<String>) -> Publish {
        Publish::new(self.clone(), pubsub.into(), topic.into())
    }

    /// Bindings: the output binding of this name.
    pub fn binding(&self, name: impl Into<String>) -> Binding {
        Binding::new(self.clone(), name.into())
    }

    /// Secrets: the secret store of this name.
    pub fn secrets(&self, store: impl Into<String>) -> Secrets {
        Secrets::new(self.clone(), store.into())
    }

    /// Configuration: the configuration store of this name.
    pub fn configuration(&self, store: impl Into<String>) -> Configuration {
        Configuration::new(self.clone(), store.into())
    }

    /// Actors: the one of this type and id.
    pub fn actor(&self, actor_type: impl Into<String>, id: impl Into<String>) -> Actor {
        Actor::new(self.clone(), actor_type.into(), id.into())
    }

    /// Distributed locks: the lock store of this name. Alpha in Dapr.
    pub fn lock(&self, store: impl Into<String>) -> Lock {
        Lock::new(self.clone(), store.into())
    }

    /// Jobs: what Dapr's scheduler calls this app for, later.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self.clone())
    }

    /// Cryptography: the component of this name, which knows the keys. Alpha in Dapr.
    pub fn crypto(&self, component: impl Into<String>) -> Crypto {
        Crypto::new(self.clone(), component.into())
    }

    /// Workflows: starts and steers those that some app runs.
    pub fn workflows(&self) -> Workflows {
        Workflows::new(self.clone())
    }

    /// Publish/subscribe: pulls the events of a topic, for an app that no sidecar calls.
    pub fn subscribe(&self, pubsub: impl Into<String>, topic: impl Into<String>) -> Subscribe {
        Subscribe::new(self.raw(), pubsub.into(), topic.into())
    }
}

impl From<DaprService> for Dapr {
    fn from(service: DaprService) -> Self {
        Self::with_settings(service, Settings::default())
    }
}

impl fmt::Debug for Dapr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dapr")
    }
}

type Erased = BoxCloneSyncService<Request<TonicBody>, Response<TonicBody>, StdError>;

/// A stack of layers around a channel, as one type that can be named.
#[derive(Clone)]
pub struct DaprService(Erased);

impl DaprService {
    /// Erases the type of a stack.
    pub fn new<S, B>(stack: S) -> Self
    where
        S: Service<Request<TonicBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<StdError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self(BoxCloneSyncService::new(Erasing(stack)))
    }
}

/// Makes the types of response and error those of every stack. In one step: a future is moved at each.
#[derive(Clone)]
struct Erasing<S>(S);

impl<S, B> Service<Request<TonicBody>> for Erasing<S>
where
    S: Service<Request<TonicBody>, Response = Response<B>>,
    S::Error: Into<StdError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<TonicBody>;
    type Error = StdError;
    type Future = ErasingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<TonicBody>) -> Self::Future {
        ErasingFuture { inner: self.0.call(request) }
    }
}

pin_project! {
    struct ErasingFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B, E> Future for ErasingFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
    E: Into<StdError>,
{
    type Output = Result<Response<TonicBody>, StdError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(self.project().inner.poll(cx)) {
            Ok(response) => Poll::Ready(Ok(response.map(TonicBody::new))),
            Err(error) => Poll::Ready(Err(by_its_cause(error.into()))),
        }
    }
}

/// What [was waiting](was_waiting) is `UNAVAILABLE`, whoever makes a status of the error: tonic, left to itself, says
/// CANCELLED. What is a status already stays as it is.
fn by_its_cause(error: StdError) -> StdError {
    if chain(&*error).any(|link| link.is::<Status>()) || !chain(&*error).any(was_waiting) {
        return error;
    }
    let mut closed = Status::unavailable("the connection closed before the request was sent");
    closed.set_source(error.into());
    closed.into()
}

impl Service<Request<TonicBody>> for DaprService {
    type Response = Response<TonicBody>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, StdError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<TonicBody>) -> Self::Future {
        self.0.call(request)
    }
}

impl fmt::Debug for DaprService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DaprService")
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use super::{Dapr, DaprService, Settings};

    #[tokio::test]
    async fn messages_are_compressed_when_asked_to() {
        let stack = tower::service_fn(|request: http::Request<tonic::body::Body>| async move {
            assert_eq!(request.headers()["grpc-encoding"], "gzip");
            assert_eq!(request.headers()["grpc-accept-encoding"], "gzip,identity");
            let answer =
                http::Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
            Ok::<_, std::convert::Infallible>(answer.body(tonic::body::Body::empty()).expect("it is whole"))
        });
        let settings = Settings { gzip: true, ..Settings::default() };
        let dapr = Dapr::with_settings(DaprService::new(stack), settings);
        assert!(dapr.state("shelf").get::<u32>("tea").await.unwrap_err().is_not_found());
    }
}
