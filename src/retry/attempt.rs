use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tonic::Code;

use super::{
    ResponseBody,
    evidence::{Evidence, Verdict},
    inbound::{InboundRetry, MAX_VERDICT, may_hold_verdict},
    layer::Settings,
    safety::Plan,
};
use crate::classify::{Classifier, Failure, Protocol, Side, code_name};

/// What an attempt came to, and what that says about another one.
pub(super) type Attempted<B, E> = (Result<Response<ResponseBody<B>>, E>, Verdict);

pin_project! {
    /// One attempt: the inner call, and then as much of the response as it takes to judge it.
    #[project = AttemptProj]
    pub(super) enum Attempt<F, B: Body> {
        Calling {
            #[pin]
            future: F,
        },
        // The body has to be waited for.
        Judging {
            judged: Option<Judged<B>>,
        },
    }
}

/// A response that is being looked into.
pub(super) struct Judged<B: Body> {
    response: Response<ResponseBody<B>>,
    /// Data of a small answer that was read so far.
    read: BytesMut,
}

impl<F, B: Body> Attempt<F, B> {
    #[inline]
    pub(super) fn new(future: F) -> Self {
        Self::Calling { future }
    }
}

impl<F, B, E> Attempt<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: 'static,
    E: 'static,
{
    pub(super) fn poll_judged(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        settings: &Settings,
        plan: &Plan,
    ) -> Poll<Attempted<B, E>> {
        let mut judged = match self.as_mut().project() {
            AttemptProj::Judging { judged } => judged.take().expect("polled after it was ready"),
            AttemptProj::Calling { future } => match ready!(future.poll(cx)) {
                Ok(response) => Judged { response: response.map(ResponseBody::untouched), read: BytesMut::new() },
                Err(error) => {
                    let verdict = Verdict::of_error(&error);
                    return Poll::Ready((Err(error), verdict));
                }
            },
        };
        let verdict = match &settings.inbound {
            None => judge(cx, settings, plan, &mut judged.response),
            Some(inbound) => judge_inbound(cx, inbound, plan, &mut judged.response, &mut judged.read),
        };
        match verdict {
            Poll::Ready(verdict) => Poll::Ready((Ok(judged.response), verdict)),
            Poll::Pending => {
                self.set(Self::Judging { judged: Some(judged) });
                Poll::Pending
            }
        }
    }
}

/// Outbound: by the status; a unary gRPC call's may come in the trailers, with nothing before them.
fn judge<B>(
    cx: &mut Context<'_>,
    settings: &Settings,
    plan: &Plan,
    response: &mut Response<ResponseBody<B>>,
) -> Poll<Verdict>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: 'static,
{
    if plan.protocol == Protocol::Http {
        return Poll::Ready(Verdict::of_http(response.status(), response.headers()));
    }
    let mut classifier = Classifier::new(Protocol::Grpc, Side::Client);
    classifier.head(response.status(), response.headers());
    if classifier.is_decided() || response.status() != StatusCode::OK {
        return Poll::Ready(Verdict::of_grpc(classifier, response.headers(), None));
    }
    if !plan.unary || settings.policy.strict_a6 {
        return Poll::Ready(Verdict::success());
    }
    let frame = ready!(first_frame(cx, response.body_mut().inner()));
    let verdict = match &frame {
        Some(Ok(frame)) => match frame.trailers_ref() {
            Some(trailers) => {
                classifier.trailers(trailers);
                Verdict::of_grpc(classifier, response.headers(), Some(trailers))
            }
            // The answer has begun: whatever comes of it, the caller sees it.
            None => Verdict::success(),
        },
        // The same holds when it breaks off behind the head.
        Some(Err(error)) => Verdict::failure(Evidence::Lost, code_name(Failure::of(error).code())),
        None => Verdict::failure(Evidence::Lost, code_name(Code::Unknown)),
    };
    if let Some(frame) = frame {
        response.body_mut().put_back(frame);
    }
    Poll::Ready(verdict)
}

/// Inbound: by what the handler's answer says, in its head or in a small body.
fn judge_inbound<B>(
    cx: &mut Context<'_>,
    policy: &InboundRetry,
    plan: &Plan,
    response: &mut Response<ResponseBody<B>>,
    read: &mut BytesMut,
) -> Poll<Verdict>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: 'static,
{
    let mut is_whole = true;
    let may_hold_verdict = plan.protocol == Protocol::Grpc || may_hold_verdict(response.status(), response.headers());
    let body = response.body_mut();
    if may_hold_verdict {
        if body.inner().size_hint().lower() > MAX_VERDICT as u64 {
            is_whole = false;
        } else {
            let last = loop {
                match ready!(first_frame(cx, body.inner())) {
                    Some(Ok(frame)) if frame.is_data() && read.len() <= MAX_VERDICT => {
                        if let Some(data) = frame.data_ref() {
                            read.extend_from_slice(data);
                        }
                        if plan.protocol == Protocol::Grpc {
                            break None;
                        }
                    }
                    other => break other,
                }
            };
            if let Some(frame) = last {
                is_whole = frame.as_ref().is_ok_and(Frame::is_trailers);
                body.put_back(frame);
            }
        }
    }
    let data = std::mem::take(read).freeze();
    let asks = policy.asks(response, if is_whole && data.len() <= MAX_VERDICT { &data } else { &[] });
    if !data.is_empty() {
        response.body_mut().put_back(Ok(Frame::data(data)));
    }
    Poll::Ready(if asks { Verdict::failure(Evidence::Unavailable, "RETRY") } else { Verdict::success() })
}

/// The first frame that says something: an empty one is no message.
fn first_frame<B>(cx: &mut Context<'_>, body: &mut B) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let is_empty = matches!(&frame, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty));
        if !is_empty {
            return Poll::Ready(frame);
        }
    }
}
