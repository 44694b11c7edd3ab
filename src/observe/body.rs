use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{Recording, watch::Watch};
use crate::classify::{Ending, Failure};

pin_project! {
    /// The response body of [`Observe`](super::Observe).
    ///
    /// Dropping it before its end ends the recording as cancelled.
    #[derive(Debug)]
    pub struct ResponseBody<B, R: Recording> {
        #[pin]
        inner: B,
        watch: Option<Watch<R>>,
    }
}

impl<B, R: Recording> ResponseBody<B, R> {
    pub(super) fn new(inner: B, watch: Option<Watch<R>>) -> Self {
        Self { inner, watch }
    }
}

impl<B, R> Body for ResponseBody<B, R>
where
    B: Body,
    B::Error: 'static,
    R: Recording,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(watch) = this.watch else { return this.inner.poll_frame(cx) };
        let frame = ready!(watch.run(|| this.inner.as_mut().poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    watch.data(data);
                    // The reader may stop here and never ask for the `None`.
                    if this.inner.is_end_stream() {
                        watch.end(Ending::Complete);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    watch.trailers(trailers);
                }
            }
            Some(Err(error)) => watch.end(Ending::Failed(Failure::of(error))),
            None => watch.end(Ending::Complete),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
