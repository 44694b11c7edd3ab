use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tonic::codegen::StdError;

use super::BreakerOpen;

pin_project! {
    /// The response future of [`Gate`](super::Gate).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Called {
            #[pin]
            future: F,
        },
        Refused {
            error: Option<BreakerOpen>,
        },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn called(future: F) -> Self {
        Self { state: State::Called { future } }
    }

    pub(super) const fn refused(error: BreakerOpen) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<StdError>,
{
    type Output = Result<T, StdError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future } => future.poll(cx).map_err(Into::into),
            StateProj::Refused { error } => Poll::Ready(Err(error.take().expect("polled after it was ready").into())),
        }
    }
}
