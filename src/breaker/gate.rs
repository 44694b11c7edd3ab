use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tonic::codegen::StdError;
use tower_service::Service;

use super::BreakerOpen;
use crate::refusable;

/// The response future of [`Gate`].
pub type ResponseFuture<F> = refusable::ResponseFuture<F, BreakerOpen>;

/// Left in the extensions of a request that is not to be sent.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) target: Arc<str>,
    pub(super) retry_after: Duration,
}

/// The innermost part of [`Breaker`](super::Breaker): sends, or refuses.
#[derive(Debug, Clone)]
pub struct Gate<S> {
    pub(super) inner: S,
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>>,
    S::Error: Into<StdError>,
{
    type Response = S::Response;
    type Error = StdError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match request.extensions_mut().remove::<Refused>() {
            Some(Refused { target, retry_after }) => ResponseFuture::refused(BreakerOpen::new(target, retry_after)),
            None => ResponseFuture::called(self.inner.call(request)),
        }
    }
}
