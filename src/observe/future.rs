use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{Recording, ResponseBody, watch::Watch};
use crate::classify::{Ending, Failure};

pin_project! {
    /// The response future of [`Observe`](super::Observe).
    ///
    /// Dropping it before it is ready ends the recording as cancelled.
    #[derive(Debug)]
    pub struct ResponseFuture<F, R: Recording> {
        #[pin]
        inner: F,
        // `None` for a call that nobody records, and once the response body has taken it over.
        watch: Option<Watch<R>>,
    }
}

impl<F, R: Recording> ResponseFuture<F, R> {
    pub(super) fn new(inner: F, watch: Option<Watch<R>>) -> Self {
        Self { inner, watch }
    }
}

impl<F, R, B, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<B>, E>>,
    R: Recording,
    B: Body,
    E: 'static,
{
    type Output = Result<Response<ResponseBody<B, R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(watch) = this.watch else {
            let result = ready!(this.inner.poll(cx));
            return Poll::Ready(result.map(|response| response.map(|body| ResponseBody::new(body, None))));
        };
        let result = ready!(watch.run(|| this.inner.poll(cx)));
        match result {
            Ok(response) => {
                watch.head(&response);
                let watch = this.watch.take();
                Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, watch))))
            }
            Err(error) => {
                watch.end(Ending::Failed(Failure::of(&error)));
                Poll::Ready(Err(error))
            }
        }
    }
}
