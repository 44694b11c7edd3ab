use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::future::Bulk;
use crate::event::{Outcome, Outcomes, Tally};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer that Dapr understands. The outcome also goes into the response's extensions, for layers to see.
pub(crate) fn respond(outcome: Outcome) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(outcome.to_json().as_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.extensions_mut().insert(outcome);
    response
}

/// As [`respond`], with an outcome for each entry of a bulk delivery.
pub(crate) fn respond_bulk(outcomes: &Outcomes) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(outcomes.to_json()));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.extensions_mut().insert(outcomes.tally());
    response
}

/// The answer for a bulk delivery that could not be read: a status for no entry lets them all come again. There is none
/// that sends them all to the dead letter topic: daprd takes a 404 for "all done".
pub(super) fn respond_unread_bulk() -> Response<Bytes> {
    let mut response = respond_bulk(&Outcomes::default());
    response.extensions_mut().insert(Outcome::Retry);
    response
}

/// Makes one answer for a whole bulk delivery an answer for each of its entries: daprd delivers again what is not named.
/// An answer of the handler's own making passes.
pub(super) fn answer_each_entry<B: Body>(
    response: Response<B>,
    Bulk { batch, misfits }: &Bulk,
    on_undecodable: Outcome,
) -> Response<ResponseBody<B>> {
    let said = response.extensions().get::<Outcome>().copied();
    let is_empty = response.body().size_hint().exact() == Some(0);
    let is_for_all = response.extensions().get::<Tally>().is_none() && (said.is_some() || is_empty);
    if !response.status().is_success() || !is_for_all {
        return response.map(ResponseBody::inner);
    }
    let mut outcomes = Outcomes::default();
    for entry in batch.entries() {
        let Some(id) = entry.id() else { continue };
        let of_misfit = misfits.get(id);
        let of_event = || if entry.event().is_ok() { said.unwrap_or(Outcome::Success) } else { on_undecodable };
        outcomes.refuse(id, of_misfit.unwrap_or_else(of_event));
    }
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, JSON);
    head.status = StatusCode::OK;
    Response::from_parts(head, ResponseBody::replaced(body, outcomes.to_json().into()))
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
        // The inner body is read to its end, since who watches it would take a drop for a cancellation.
        Replaced { #[pin] body: B, is_read: bool, json: Bytes },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(crate) const fn answer(json: Bytes) -> Self {
        Self { kind: Kind::Answer { json } }
    }

    const fn replaced(body: B, json: Bytes) -> Self {
        Self { kind: Kind::Replaced { body, is_read: false, json } }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Answer { json } => Poll::Ready(take(json)),
            KindProjection::Replaced { mut body, is_read, json } => {
                while !*is_read {
                    match ready!(body.as_mut().poll_frame(cx)) {
                        Some(Ok(_)) => *is_read = body.is_end_stream(),
                        Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                        None => *is_read = true,
                    }
                }
                Poll::Ready(take(json))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Answer { json } | Kind::Replaced { json, .. } => json.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Answer { json } | Kind::Replaced { json, .. } => SizeHint::with_exact(json.len() as u64),
        }
    }
}

fn take<E>(json: &mut Bytes) -> Option<Result<Frame<Bytes>, E>> {
    if json.is_empty() { None } else { Some(Ok(Frame::data(std::mem::take(json)))) }
}
