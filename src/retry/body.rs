use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The response body of [`Retry`](super::Retry): the inner one, with what was looked at put back in front.
pub struct ResponseBody<B: Body> {
    first: Front<B::Error>,
    /// Only of a small answer that was read to its end.
    second: Option<Box<Front<B::Error>>>,
    inner: B,
}

/// What stands in front of a body. The common case, a message, takes little room; no other is on the way of a success.
enum Front<E> {
    Nothing,
    Data(Bytes),
    Other(Box<Result<Frame<Bytes>, E>>),
}

impl<B: Body> ResponseBody<B> {
    pub(super) const fn untouched(inner: B) -> Self {
        Self { first: Front::Nothing, second: None, inner }
    }

    /// The next frame, in front of all that follows.
    pub(super) fn put_back(&mut self, frame: Result<Frame<Bytes>, B::Error>) {
        let behind = std::mem::replace(&mut self.first, Front::new(frame));
        if !behind.is_nothing() {
            self.second = Some(Box::new(behind));
        }
    }

    pub(super) const fn inner(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<E> Front<E> {
    fn new(frame: Result<Frame<Bytes>, E>) -> Self {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => Self::Data(data),
            Ok(Err(other)) => Self::Other(Box::new(Ok(other))),
            Err(error) => Self::Other(Box::new(Err(error))),
        }
    }

    fn take(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => None,
            Self::Data(data) => Some(Ok(Frame::data(data))),
            Self::Other(frame) => Some(*frame),
        }
    }

    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            _ => 0,
        }
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
            if let Some(second) = self.second.take() {
                self.first = *second;
            }
            return Poll::Ready(Some(frame));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_nothing() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.first.len() + self.second.as_deref().map_or(0, Front::len);
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
        f.debug_struct("ResponseBody").field("looked_at", &!self.first.is_nothing()).finish_non_exhaustive()
    }
}
