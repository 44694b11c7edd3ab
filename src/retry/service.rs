use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    ReplayableBody, ResponseBody, ResponseFuture, RetryPolicy, attempt::Attempt, call::Call, kept::Carried,
    layer::Settings, safety::Plan,
};

/// The service that [`RetryLayer`](super::RetryLayer) makes.
#[derive(Debug, Clone)]
pub struct Retry<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Retry<S> {
    /// Sends again, by this policy, what `inner` failed to do.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        tower_layer::Layer::layer(&super::RetryLayer::new(policy), inner)
    }

    pub(super) const fn with_settings(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Retry<S>
where
    // A further attempt owns a service and is boxed.
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    ReqBody: ReplayableBody + Send + 'static,
    // Its first frame is looked at, and put back.
    ResBody: Body<Data = Bytes> + Unpin + Send + 'static,
    ResBody::Error: Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Some((plan, carried)) = self.settings.plan(&request) else {
            return ResponseFuture::passing(self.inner.call(request));
        };
        let (head, body) = request.into_parts();
        let mut source = match body.into_source(self.settings.policy.max_body) {
            Ok(source) => source,
            // Too long to be kept.
            Err(body) => return ResponseFuture::passing(self.inner.call(Request::from_parts(head, body))),
        };
        let body = ReqBody::next_body(&mut source).expect("nothing has read of the body yet");
        // The clone is for later, and not ready: each attempt asks again. The one that is ready makes the first.
        let not_ready = self.inner.clone();
        let call = Call::new(not_ready, &head, carried, source, plan, self.settings.clone());
        let attempt = Attempt::new(self.inner.call(Request::from_parts(head, body)));
        ResponseFuture::first(attempt, call)
    }
}

impl Settings {
    /// `None`: whatever comes of this call, it is not sent again.
    fn plan<B>(&self, request: &Request<B>) -> Option<(Plan, Carried)> {
        if self.policy.is_off() {
            return None;
        }
        match &self.inbound {
            None => Plan::new(&self.policy, request),
            Some(inbound) => Plan::inbound(inbound, request),
        }
    }
}
