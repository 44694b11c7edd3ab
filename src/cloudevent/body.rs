use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::event::Outcome;

/// The answer that Dapr understands. The outcome also goes into the response's extensions, for layers to see.
pub(crate) fn respond(outcome: Outcome) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(outcome.to_json().as_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.extensions_mut().insert(outcome);
    response
}

pin_project! {
    /// The response body of [`CloudEventService`](super::CloudEventService): the inner service's, or the answer for an
    /// event that did not reach it.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // Empty once it has been read.
        Answer { json: Bytes },
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(super) const fn answer(json: Bytes) -> Self {
        Self { kind: Kind::Answer { json } }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Answer { json } if json.is_empty() => Poll::Ready(None),
            KindProjection::Answer { json } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(json))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Answer { json } => json.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Answer { json } => SizeHint::with_exact(json.len() as u64),
        }
    }
}
