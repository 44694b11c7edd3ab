use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    ProcessMetrics, ResponseBody, ResponseFuture,
    future::{Bulk, Delivery, admit, read_octets_as_json, refuse},
    layer::Settings,
    mode::{Decoded, Mode},
    read::{Unreadable, receive},
    subject::Subject,
};

/// Decodes events for the inner service. See the [module docs](crate::cloudevent).
#[derive(Debug, Clone)]
pub struct CloudEventService<S> {
    inner: S,
    settings: Arc<Settings>,
    metrics: ProcessMetrics,
}

impl<S> CloudEventService<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>, metrics: ProcessMetrics) -> Self {
        Self { inner, settings, metrics }
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

impl<S> CloudEventService<S> {
    fn call_decoded<B>(&mut self, decoded: Decoded, request: Request<B>) -> ResponseFuture<S, B, S::Future>
    where
        S: Service<Request<B>>,
    {
        let (mut head, body) = request.into_parts();
        match decoded.message {
            Ok(message) => {
                let bulk = admit(message, &mut head, &self.settings, &self.metrics);
                let inner = self.inner.call(Request::from_parts(head, body));
                ResponseFuture::calling(inner, bulk, self.settings.on_undecodable)
            }
            Err(error) => {
                let reason = Unreadable::Undecodable(error);
                ResponseFuture::refused(refuse(&reason, decoded.is_bulk, &head, &self.settings, &self.metrics))
            }
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CloudEventService<S>
where
    // `Clone`: the service waits in the future until the body has been read.
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: Body + From<Bytes>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if let Some(decoded) = request.extensions_mut().remove::<Decoded>() {
            return self.call_decoded(decoded, request);
        }
        // An outer layer of this kind may have done it.
        let is_decoded = Subject::of(request.extensions()).is_some();
        let Some(mode) = Mode::of(request.headers()).filter(|_| !is_decoded) else {
            if self.settings.octets_are_json {
                read_octets_as_json(request.extensions_mut());
            }
            let bulk = Bulk::of(request.extensions());
            return ResponseFuture::calling(self.inner.call(request), bulk, self.settings.on_undecodable);
        };
        let not_ready = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, not_ready);
        let (head, body) = request.into_parts();
        let receive = receive(&head.headers, body, mode.longest(&self.settings.limits), self.settings.read_timeout);
        ResponseFuture::receiving(
            receive,
            Delivery::new(mode, head, ready, self.settings.clone(), self.metrics.clone()),
        )
    }
}
