use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tonic::codegen::StdError;

use super::{Deadline, future::exceeded};
use crate::timer::poll_elapsed;

pin_project! {
    /// The response body of [`WithDeadline`](super::WithDeadline): a call is over when its last frame has come.
    ///
    /// What is there when it is asked for is not lost for being asked for late: its first data and its trailers are handed
    /// on. More data is not, once time has run out, so that a response which comes faster than it is read has an end.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        deadline: Option<Deadline>,
        // Set up when the body has to be waited for.
        sleep: Option<Pin<Box<Sleep>>>,
        has_begun: bool,
        is_over: bool,
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn new(inner: B, deadline: Option<Deadline>) -> Self {
        Self { inner, deadline, sleep: None, has_begun: false, is_over: false }
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
        let frame = this.inner.poll_frame(cx);
        let Some(deadline) = this.deadline else { return frame.map(std_error) };
        let is_late = match &frame {
            Poll::Pending => {
                let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.instant())));
                poll_elapsed(sleep.as_mut(), cx).is_ready()
            }
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                std::mem::replace(this.has_begun, true) && !deadline.leaves(Duration::ZERO)
            }
            Poll::Ready(_) => false,
        };
        if is_late {
            *this.is_over = true;
            return Poll::Ready(Some(Err(exceeded(deadline))));
        }
        frame.map(std_error)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn std_error<D, E: Into<StdError>>(frame: Option<Result<Frame<D>, E>>) -> Option<Result<Frame<D>, StdError>> {
    frame.map(|frame| frame.map_err(Into::into))
}
