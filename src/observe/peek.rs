use std::{
    any::Any,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::RequestWatch;

/// The first frame of a body that is about to be sent, if it is a tonic body and has that frame ready. The body stays
/// whole: what was taken out of it is put back in front.
///
/// tonic encodes the message of a unary call when its body is first polled, and needs nobody to wake it for that. A body
/// that is not ready is left alone: it will be polled again, with a real waker, by whoever sends it.
pub(super) fn peek<B: 'static>(body: &mut B) -> Option<Bytes> {
    let body = (body as &mut dyn Any).downcast_mut::<tonic::body::Body>()?;
    let mut rest = std::mem::take(body);
    let polled = Pin::new(&mut rest).poll_frame(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Some(first)) = polled else {
        // Pending, or an empty body, which tonic lets be polled again.
        *body = rest;
        return None;
    };
    let data = first.as_ref().ok().and_then(Frame::data_ref).cloned();
    *body = tonic::body::Body::new(Peeked { first: Some(first), rest });
    data
}

/// A body whose first frame was looked at.
struct Peeked {
    first: Option<Result<Frame<Bytes>, Status>>,
    rest: tonic::body::Body,
}

impl Body for Peeked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let first = match &self.first {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Buf::remaining) as u64,
            _ => 0,
        };
        let mut hint = SizeHint::new();
        hint.set_lower(first.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Lets `watch` see the data of a body as it passes, if it is a tonic body.
pub(super) fn watch_body<B: 'static>(body: &mut B, watch: RequestWatch) {
    if let Some(body) = (body as &mut dyn Any).downcast_mut::<tonic::body::Body>() {
        let inner = std::mem::take(body);
        *body = tonic::body::Body::new(Watched { inner, watch });
    }
}

/// A body whose data is looked at.
struct Watched {
    inner: tonic::body::Body,
    watch: RequestWatch,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            (self.watch)(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
