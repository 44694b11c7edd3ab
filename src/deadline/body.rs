use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tonic::codegen::StdError;

use super::{Deadline, future::exceeded};
use crate::timer::poll_elapsed;

pin_project! {
    /// The response body of [`WithDeadline`](super::WithDeadline): a call is over when its last frame has come.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        // Taken when time has run out.
        deadline: Option<Deadline>,
        // Set up when the body has to be waited for.
        sleep: Option<Pin<Box<Sleep>>>,
        is_over: bool,
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn new(inner: B, deadline: Option<Deadline>) -> Self {
        Self { inner, deadline, sleep: None, is_over: false }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<StdError>,
{
    type Data = B::Data;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, StdError>>> {
        let this = self.project();
        if *this.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.instant())));
        if poll_elapsed(sleep.as_mut(), cx).is_pending() {
            return Poll::Pending;
        }
        *this.is_over = true;
        Poll::Ready(Some(Err(exceeded(deadline))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
