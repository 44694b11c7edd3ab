use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The response body of [`Retry`](super::Retry): the inner one, with what was looked at put back in front.
pub struct ResponseBody<B: Body> {
    first: Option<Result<Frame<Bytes>, B::Error>>,
    second: Option<Result<Frame<Bytes>, B::Error>>,
    inner: B,
}

impl<B: Body> ResponseBody<B> {
    pub(super) const fn untouched(inner: B) -> Self {
        Self { first: None, second: None, inner }
    }

    /// The next frame, in front of all that follows.
    pub(super) fn put_back(&mut self, frame: Result<Frame<Bytes>, B::Error>) {
        self.second = self.first.take();
        self.first = Some(frame);
    }

    pub(super) const fn inner(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.first.take() {
            self.first = self.second.take();
            return Poll::Ready(Some(frame));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let data = |frame: &Option<Result<Frame<Bytes>, B::Error>>| match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        let ahead = data(&self.first) + data(&self.second);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(ahead));
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> Unpin for ResponseBody<B> where B: Unpin {}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("looked_at", &self.first.is_some()).finish_non_exhaustive()
    }
}
