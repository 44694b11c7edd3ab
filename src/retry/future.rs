use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ReplayableBody, ResponseBody,
    attempt::Attempt,
    call::{Call, again},
};

pin_project! {
    /// The response future of [`Retry`](super::Retry).
    ///
    /// Dropping it, also while it waits for the next attempt, ends the call: nothing more is sent.
    pub struct ResponseFuture<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
        ReqBody: ReplayableBody,
        ResBody: Body,
    {
        #[pin]
        state: State<S, ReqBody, ResBody>,
    }
}

type Again<B, E> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody<B>>, E>> + Send>>;

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
        ReqBody: ReplayableBody,
        ResBody: Body,
    {
        // The inner future of a call that is never sent again.
        Passing {
            #[pin]
            future: S::Future,
        },
        // The first attempt. Most calls need no other, so nothing is boxed for it.
        First {
            #[pin]
            attempt: Attempt<S::Future, ResBody>,
            call: Option<Call<S, ReqBody>>,
        },
        // The wait for the second attempt, and all that follows.
        Again {
            future: Again<ResBody, S::Error>,
        },
    }
}

impl<S, ReqBody, ResBody> ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
    ReqBody: ReplayableBody,
    ResBody: Body,
{
    #[inline]
    pub(super) fn passing(future: S::Future) -> Self {
        Self { state: State::Passing { future } }
    }

    #[inline]
    pub(super) fn first(attempt: Attempt<S::Future, ResBody>, call: Call<S, ReqBody>) -> Self {
        Self { state: State::First { attempt, call: Some(call) } }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    ReqBody: ReplayableBody + Send + 'static,
    ResBody: Body<Data = Bytes> + Unpin + Send + 'static,
    ResBody::Error: Send + 'static,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Passing { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(response.map(ResponseBody::untouched)));
                }
                StateProj::First { attempt, call } => {
                    let waiting = call.as_mut().expect("polled after it was ready");
                    let (result, verdict) = ready!(attempt.poll_judged(cx, &waiting.settings, &waiting.plan));
                    let Some(next) = waiting.next(&verdict) else { return Poll::Ready(result) };
                    let call = call.take().expect("it was there above");
                    this.state.set(State::Again { future: Box::pin(again(call, next, result)) });
                }
                StateProj::Again { future } => return future.as_mut().poll(cx),
            }
        }
    }
}

impl<S, ReqBody, ResBody> fmt::Debug for ResponseFuture<S, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
    ReqBody: ReplayableBody,
    ResBody: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Passing { .. } => "passing",
            State::First { .. } => "first attempt",
            State::Again { .. } => "further attempts",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
