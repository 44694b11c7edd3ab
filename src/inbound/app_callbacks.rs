use std::{collections::HashMap, fmt, sync::Arc};

use axum::{Router, body::Body};
use bytes::Bytes;
use dapr::dapr::proto::{
    common::v1::{HttpExtension, InvokeRequest, InvokeResponse, http_extension::Verb},
    runtime::v1::{
        BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest, JobEventResponse,
        ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest, TopicEventBulkResponse,
        TopicEventRequest, TopicEventResponse,
        app_callback_alpha_server::{AppCallbackAlpha, AppCallbackAlphaServer},
        app_callback_health_check_server::{AppCallbackHealthCheck, AppCallbackHealthCheckServer},
        app_callback_server::{AppCallback, AppCallbackServer},
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE, request};
use prost_types::Any;
use tonic::{Request, Response, Status, async_trait};
use tower::ServiceExt;

use super::{
    RequireApiTokenLayer, answer::Answer, document::Document, require_api_token::HEADER as API_TOKEN, routes::HEALTHZ,
};
use crate::{
    cloudevent::{Decoded, Message},
    event::{Batch, CloudEvent, Limits, json_of_protobuf},
};

/// How much longer a message may be than the data in it, in bytes.
const HEAD_ROOM: usize = 1 << 20;

/// [`Subscriptions`](super::Subscriptions) for an app that speaks gRPC with its sidecar: the services that daprd calls.
///
/// ```no_run
/// use tower_dapr::{
///     event::{Event, Outcome},
///     inbound::{Subscriptions, Topic},
/// };
///
/// async fn paid(event: Event<u32>) -> Outcome {
///     if event.data > 0 { Outcome::Success } else { Outcome::Drop }
/// }
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let callbacks = Subscriptions::new().topic(Topic::new("pubsub", "orders"), paid).into_app_callbacks(())?;
///
/// let app: axum::Router = axum::Router::new()
///     .route_service("/dapr.proto.runtime.v1.AppCallback/{*rpc}", callbacks.app_callback())
///     .route_service("/dapr.proto.runtime.v1.AppCallbackAlpha/{*rpc}", callbacks.app_callback_alpha())
///     .layer(tower_dapr::inbound::InboundLayer::new());
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
///
/// Each call becomes the request that an HTTP app would get, for the same router of handlers, extractors and layers, and
/// the answer is read as daprd reads that of an HTTP app. So what a handler's answer means does not depend on the protocol:
///
/// | answer of the handler | topic | binding, job, invocation |
/// | --- | --- | --- |
/// | 2xx | the [`Outcome`](crate::event::Outcome) in it, else success | OK |
/// | 404 | DROP | NOT_FOUND |
/// | other | the code for this status, never UNIMPLEMENTED: daprd drops such an event silently | the code for this status |
///
/// Metadata arrives as headers. An event is decoded already, and its request has no body: handlers take an extractor of
/// events, not bytes. An API token is asked for on all calls but the health check and the lists of topics and bindings, with
/// which daprd sends none.
#[derive(Clone)]
pub struct AppCallbacks {
    inner: Arc<Inner>,
}

struct Inner {
    router: Router,
    document: Document,
    subscriptions: ListTopicSubscriptionsResponse,
    bindings: HashMap<String, String>,
    methods: Option<Router>,
    limits: Limits,
    api_token: Option<RequireApiTokenLayer>,
}

impl AppCallbacks {
    pub(super) fn new(
        router: Router,
        document: &Document,
        bindings: Vec<(String, String)>,
        limits: Limits,
        api_token: Option<RequireApiTokenLayer>,
    ) -> Self {
        let subscriptions = document.to_proto();
        let bindings = bindings.into_iter().collect();
        let document = document.clone();
        Self { inner: Arc::new(Inner { router, document, subscriptions, bindings, methods: None, limits, api_token }) }
    }

    /// What answers service invocations: the method is the path, and HTTP's verb and query go with it; without a verb it
    /// is `POST`. Extensions of the call do not go with it. Defaults to nothing, with UNIMPLEMENTED for each.
    #[must_use]
    pub fn with_methods(self, methods: Router) -> Self {
        let inner = Arc::unwrap_or_clone(self.inner);
        Self { inner: Arc::new(Inner { methods: Some(methods), ..inner }) }
    }

    /// The service for topics, bindings, jobs and invocations.
    #[must_use]
    pub fn app_callback(&self) -> AppCallbackServer<Self> {
        AppCallbackServer::new(self.clone()).max_decoding_message_size(self.longest())
    }

    /// The service for bulk deliveries and jobs from daprd before 1.16, and from all that fall back to it.
    #[must_use]
    pub fn app_callback_alpha(&self) -> AppCallbackAlphaServer<Self> {
        AppCallbackAlphaServer::new(self.clone()).max_decoding_message_size(self.longest())
    }

    /// The service for `--enable-app-health-check`: healthy as [`Subscriptions::health`](super::Subscriptions::health) is.
    #[must_use]
    pub fn health_check(&self) -> AppCallbackHealthCheckServer<Self> {
        AppCallbackHealthCheckServer::new(self.clone())
    }

    /// Takes a call apart: its message, and a head of a request with its metadata.
    ///
    /// # Errors
    ///
    /// UNAUTHENTICATED without the token.
    fn admit<T>(&self, request: Request<T>) -> Result<(request::Parts, T), Status> {
        let (metadata, extensions, message) = request.into_parts();
        let mut headers = metadata.into_headers();
        if self.inner.api_token.as_ref().is_some_and(|token| !token.admits(&headers)) {
            return Err(Status::unauthenticated("invalid api token"));
        }
        headers.remove(API_TOKEN);
        // What is gRPC's own says nothing of the message's content.
        for name in ["te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"] {
            headers.remove(name);
        }
        headers.remove(CONTENT_TYPE);
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.headers = headers;
        head.extensions = extensions;
        Ok((head, message))
    }

    async fn topic_event(&self, head: request::Parts, event: TopicEventRequest) -> Result<Answer, Status> {
        let path = self.path(&event.path, &event.pubsub_name, &event.topic);
        let message = CloudEvent::from_topic_event_within(event, &self.inner.limits).map(Message::One);
        self.deliver(head, &path, Decoded { message, is_bulk: false }).await
    }

    async fn bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        let (head, bulk) = self.admit(request)?;
        let path = self.path(&bulk.path, &bulk.pubsub_name, &bulk.topic);
        let ids = bulk.entries.iter().map(|entry| entry.entry_id.clone()).collect();
        let message = Batch::from_bulk_topic_event_within(bulk, &self.inner.limits).map(Message::Many);
        let answer = self.deliver(head, &path, Decoded { message, is_bulk: true }).await?;
        answer.verdicts(ids).map(Response::new)
    }

    async fn job_event(&self, request: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        let (head, job) = self.admit(request)?;
        let data = job.data.map(job_data).unwrap_or_default();
        let path = format!("/job/{}", job.name);
        // As for an HTTP app; the content type of the call is the type of its protobuf message.
        let answer = ask(&self.inner.router, Method::POST, &path, head, "application/json", data.into()).await?;
        answer.done().map(|_| Response::new(JobEventResponse {}))
    }

    /// The route that daprd has matched. It may say none for a raw payload: then it is the topic's default. A declared
    /// subscription's may have no slash in front, which daprd adds for an HTTP app.
    fn path(&self, matched: &str, pubsub: &str, topic: &str) -> String {
        let path = if matched.is_empty() { self.inner.document.default_path(pubsub, topic) } else { Some(matched) };
        format!("/{}", path.unwrap_or_default().trim_start_matches('/'))
    }

    /// The longest message that is read. What is longer fails as a call and comes again, so an event over the limits,
    /// which is to be answered, must get through.
    fn longest(&self) -> usize {
        self.inner.limits.bulk_bytes().saturating_add(HEAD_ROOM)
    }

    async fn deliver(&self, mut head: request::Parts, path: &str, decoded: Decoded) -> Result<Answer, Status> {
        head.extensions.insert(decoded);
        ask(&self.inner.router, Method::POST, path, head, "", Bytes::new()).await
    }
}

impl fmt::Debug for AppCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { document, bindings, api_token, .. } = &*self.inner;
        f.debug_struct("AppCallbacks")
            .field("subscriptions", document)
            .field("bindings", bindings)
            .field("api_token", api_token)
            .finish_non_exhaustive()
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            document: self.document.clone(),
            subscriptions: self.subscriptions.clone(),
            bindings: self.bindings.clone(),
            methods: self.methods.clone(),
            limits: self.limits,
            api_token: self.api_token.clone(),
        }
    }
}

#[async_trait]
impl AppCallback for AppCallbacks {
    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        Ok(Response::new(self.inner.subscriptions.clone()))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        let (head, event) = self.admit(request)?;
        self.topic_event(head, event).await?.verdict().map(Response::new)
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.bulk_topic_event(request).await
    }

    async fn list_input_bindings(&self, _: Request<()>) -> Result<Response<ListInputBindingsResponse>, Status> {
        let bindings = self.inner.bindings.keys().cloned().collect();
        Ok(Response::new(ListInputBindingsResponse { bindings }))
    }

    async fn on_binding_event(
        &self,
        request: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        let (mut head, event) = self.admit(request)?;
        let path = self.inner.bindings.get(&event.name).ok_or_else(|| Status::not_found("no such binding"))?;
        add_headers(&mut head.headers, event.metadata);
        let answer = ask(&self.inner.router, Method::POST, path, head, "application/json", event.data.into()).await?;
        let data = answer.done()?.body.into();
        Ok(Response::new(BindingEventResponse { data, ..BindingEventResponse::default() }))
    }

    async fn on_job_event(&self, request: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        self.job_event(request).await
    }

    async fn on_invoke(&self, request: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        let (mut head, InvokeRequest { method, data, content_type, http_extension }) = self.admit(request)?;
        // Among them may be the captures of the router that tonic's services stand in: they are not the method's.
        head.extensions = http::Extensions::new();
        let methods = self.inner.methods.as_ref().ok_or_else(|| Status::unimplemented("no methods are served"))?;
        let HttpExtension { verb, querystring } = http_extension.unwrap_or_default();
        let mut path = format!("/{}", method.trim_start_matches('/'));
        if !querystring.is_empty() {
            path = format!("{path}?{querystring}");
        }
        let body = data.map(|data| data.value).unwrap_or_default();
        let answer = ask(methods, self::verb(verb), &path, head, &content_type, body.into()).await?.done()?;
        let data = Some(Any { type_url: String::new(), value: answer.body.into() });
        Ok(Response::new(InvokeResponse { data, content_type: answer.content_type }))
    }
}

#[async_trait]
impl AppCallbackAlpha for AppCallbacks {
    async fn on_bulk_topic_event_alpha1(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.bulk_topic_event(request).await
    }

    async fn on_job_event_alpha1(
        &self,
        request: Request<JobEventRequest>,
    ) -> Result<Response<JobEventResponse>, Status> {
        self.job_event(request).await
    }
}

#[async_trait]
impl AppCallbackHealthCheck for AppCallbacks {
    async fn health_check(&self, request: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.headers = request.into_parts().0.into_headers();
        let answer = ask(&self.inner.router, Method::GET, HEALTHZ, head, "", Bytes::new()).await?;
        answer.done().map(|_| Response::new(HealthCheckResponse {}))
    }
}

/// Sends the request that an HTTP app would have got.
async fn ask(
    router: &Router,
    method: Method,
    path: &str,
    mut head: request::Parts,
    content_type: &str,
    body: Bytes,
) -> Result<Answer, Status> {
    head.method = method;
    let Ok(uri) = path.parse() else { return Ok(Answer::not_found()) };
    head.uri = uri;
    if let Some(content_type) = HeaderValue::from_str(content_type).ok().filter(|value| !value.is_empty()) {
        head.headers.insert(CONTENT_TYPE, content_type);
    }
    let request = http::Request::from_parts(head, Body::from(body));
    let Ok(response) = router.clone().oneshot(request).await;
    Answer::read(response).await
}

/// A component's metadata, as far as it can be headers.
fn add_headers(headers: &mut HeaderMap, metadata: HashMap<String, String>) {
    for (name, value) in metadata {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.entry(name).or_insert(value);
        }
    }
}

/// As an HTTP app gets it: JSON, or the bytes of any other type.
fn job_data(data: Any) -> Vec<u8> {
    if data.type_url.ends_with("/google.protobuf.Value")
        && let Ok(value) = <prost_types::Value as prost::Message>::decode(&*data.value)
    {
        return value.kind.map(json_of_protobuf).unwrap_or_default().to_string().into_bytes();
    }
    data.value
}

fn verb(verb: i32) -> Method {
    match Verb::try_from(verb).unwrap_or_default() {
        Verb::None | Verb::Post => Method::POST,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Connect => Method::CONNECT,
        Verb::Options => Method::OPTIONS,
        Verb::Trace => Method::TRACE,
        Verb::Patch => Method::PATCH,
    }
}
