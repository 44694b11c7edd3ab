use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Call, Observer, ResponseBody, ResponseFuture,
    peek::{peek, watch_body},
    watch::Watch,
};
use crate::{
    classify::{Protocol, Side},
    rpc::{Names, Rpc},
};

/// Watches the exchanges of the inner service. See the [module docs](crate::observe).
#[derive(Debug, Clone)]
pub struct Observe<S, O> {
    inner: S,
    observer: O,
}

impl<S, O> Observe<S, O> {
    /// Watches `inner`.
    pub const fn new(inner: S, observer: O) -> Self {
        Self { inner, observer }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

// It only watches: no `Clone` and no `Send`. `'static` is what it takes to recognise a body and an error by their type.
impl<S, O, ReqBody, ResBody> Service<Request<ReqBody>> for Observe<S, O>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: 'static,
    O: Observer,
    ReqBody: 'static,
    ResBody: Body,
    ResBody::Error: 'static,
{
    type Response = Response<ResponseBody<ResBody, O::Recording>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, O::Recording>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if !self.observer.is_on() {
            return ResponseFuture::new(self.inner.call(request), None);
        }
        let (mut parts, mut body) = request.into_parts();
        if !self.observer.wants(&parts) {
            return ResponseFuture::new(self.inner.call(Request::from_parts(parts, body)), None);
        }

        let side = self.observer.side();
        let protocol = Protocol::of(&parts.headers);
        let rpc = match protocol {
            Protocol::Grpc => Rpc::lookup(parts.uri.path()),
            Protocol::Http => None,
        };
        // A received body is still on the wire when its head is handled: only a sent one has its message ready.
        let first = match side {
            Side::Client => rpc.filter(|rpc| !rpc.component_field().is_empty()).and_then(|_| peek(&mut body)),
            Side::Server => None,
        };
        let names = match (rpc, &first) {
            (Some(rpc), Some(message)) => Names::read(rpc, message),
            _ => Names::default(),
        };

        let first_message = first.as_deref();
        let recording = self.observer.begin(&mut Call { protocol, rpc, names, first_message, request: &mut parts });
        let Some(recording) = recording else {
            return ResponseFuture::new(self.inner.call(Request::from_parts(parts, body)), None);
        };
        let mut watch = Watch::new(recording, protocol, side, &parts.method);
        if let Some(request_watch) = watch.watch_request() {
            watch_body(&mut body, request_watch);
        }
        let request = Request::from_parts(parts, body);
        let future = watch.run(|| self.inner.call(request));
        ResponseFuture::new(future, Some(watch))
    }
}
