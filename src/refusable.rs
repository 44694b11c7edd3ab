//! The response future of a service that may refuse a request in place of the one inside of it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tonic::codegen::StdError;

pin_project! {
    /// Ends as the inner service's future, or with why the request was not handed to it.
    #[derive(Debug)]
    pub struct ResponseFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, R> {
        Called {
            #[pin]
            future: F,
        },
        Refused {
            error: Option<R>,
        },
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(crate) const fn called(future: F) -> Self {
        Self { state: State::Called { future } }
    }

    pub(crate) const fn refused(error: R) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }
}

impl<F, T, E, R> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<T, E>>,
    E: Into<StdError>,
    R: Into<StdError>,
{
    type Output = Result<T, StdError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future } => future.poll(cx).map_err(Into::into),
            StateProj::Refused { error } => Poll::Ready(Err(error.take().expect("polled after it was ready").into())),
        }
    }
}
