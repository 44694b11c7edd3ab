use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tonic::codegen::StdError;

use super::{Deadline, DeadlineExceeded, ResponseBody, layer::Scope};
use crate::{classify::chain, timer::poll_elapsed};

pin_project! {
    /// The response future of [`WithDeadline`](super::WithDeadline).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        #[pin]
        sleep: Option<Sleep>,
        deadline: Option<Deadline>,
        scope: Scope,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, deadline: Option<Deadline>, scope: Scope) -> Self {
        let sleep = deadline.as_ref().map(|deadline| sleep_until(deadline.instant()));
        Self { inner, sleep, deadline, scope }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<StdError>,
{
    type Output = Result<Response<ResponseBody<B>>, StdError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.inner.poll(cx) {
            Poll::Ready(result) => result.map_err(Into::into),
            Poll::Pending => {
                let is_over = this.sleep.as_pin_mut().is_some_and(|sleep| poll_elapsed(sleep, cx).is_ready());
                return match this.deadline {
                    Some(deadline) if is_over => Poll::Ready(Err(exceeded(deadline))),
                    _ => Poll::Pending,
                };
            }
        };
        let Some(deadline) = this.deadline.take() else {
            return Poll::Ready(result.map(|response| response.map(|body| ResponseBody::new(body, None))));
        };
        match result {
            // A retry that could not come in time: what the caller waited for is the call, not this attempt.
            _ if *this.scope == Scope::Call && deadline.was_given_up() => Poll::Ready(Err(exceeded(&deadline))),
            // tonic enforces the header too, by a timer that may be first by a tick, and calls it CANCELLED.
            Err(error) if is_tonic_timeout(&*error) => Poll::Ready(Err(exceeded(&deadline))),
            Err(error) => Poll::Ready(Err(error)),
            Ok(response) => Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, Some(deadline))))),
        }
    }
}

pub(super) fn exceeded(deadline: &Deadline) -> StdError {
    DeadlineExceeded::new(deadline.last_failure()).into()
}

fn is_tonic_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|error| error.is::<tonic::TimeoutExpired>())
}
