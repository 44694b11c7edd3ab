//! Bindings and jobs know no verdict in the body: daprd reads the status code.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::event::Outcome;

/// For an input binding: what is dropped is acknowledged.
pub(super) const fn binding() -> SettleLayer {
    SettleLayer { dropped: StatusCode::OK }
}

/// For a job: 404 is a failure for which daprd does not try again.
pub(super) const fn job() -> SettleLayer {
    SettleLayer { dropped: StatusCode::NOT_FOUND }
}

/// Turns an [`Outcome`] into a status code.
#[derive(Debug, Clone, Copy)]
pub(super) struct SettleLayer {
    dropped: StatusCode,
}

impl<S> Layer<S> for SettleLayer {
    type Service = Settle<S>;

    fn layer(&self, inner: S) -> Settle<S> {
        Settle { inner, dropped: self.dropped }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Settle<S> {
    inner: S,
    dropped: StatusCode,
}

impl<S, B> Service<Request<B>> for Settle<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture { inner: self.inner.call(request), dropped: self.dropped }
    }
}

pin_project! {
    pub(super) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        dropped: StatusCode,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(match response.extensions().get() {
            Some(Outcome::Retry) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Some(Outcome::Drop) => this.dropped.into_response(),
            Some(Outcome::Success) | None => response,
        }))
    }
}
