use std::task::{Context, Poll};

use http::{Request, Response, request};
use tonic::codegen::StdError;
use tower_service::Service;

use super::{
    Deadline, DeadlineLayer, ResponseBody, ResponseFuture,
    header::{GRPC_TIMEOUT, grpc_timeout},
    layer::Scope,
};
use crate::{
    classify::Protocol,
    rpc::{Rpc, Streaming},
};

/// The service that [`DeadlineLayer`] makes.
#[derive(Debug, Clone)]
pub struct WithDeadline<S> {
    inner: S,
    settings: DeadlineLayer,
}

impl<S> WithDeadline<S> {
    pub(super) const fn new(inner: S, settings: DeadlineLayer) -> Self {
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WithDeadline<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<StdError>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = StdError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let deadline = self.settings.set(&mut head);
        ResponseFuture::new(self.inner.call(Request::from_parts(head, body)), deadline, self.settings.scope)
    }
}

impl DeadlineLayer {
    /// Finds the request's deadline and writes it down for the layers inside and for the server.
    fn set(&self, head: &mut request::Parts) -> Option<Deadline> {
        let asked = Deadline::of(head);
        if self.timeout.is_none() && asked.is_none() {
            return None;
        }
        let protocol = Protocol::of(&head.headers);
        // A stream lives as long as it is read, if its caller says nothing else.
        let timeout = self.timeout.filter(|_| protocol == Protocol::Http || !is_stream(head.uri.path()));
        let deadline = match timeout {
            Some(timeout) => Deadline::earlier(asked.as_ref(), timeout),
            None => asked?,
        };
        if protocol == Protocol::Grpc {
            head.headers.insert(GRPC_TIMEOUT, grpc_timeout(deadline.remaining()));
        }
        if self.scope == Scope::Attempt {
            return Some(deadline);
        }
        // The retries inside tell of this call by what they find here.
        let deadline = deadline.of_one_call();
        head.extensions.insert(deadline.clone());
        Some(deadline)
    }
}

fn is_stream(path: &str) -> bool {
    Rpc::lookup(path).is_some_and(|rpc| rpc.streaming() != Streaming::Unary)
}
