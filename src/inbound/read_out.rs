//! A handler may answer before it has read its request: the rest is read out for it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::{Body as _, Frame, SizeHint};

use crate::cloudevent::{PATIENCE, poll_discard};

/// Middleware: answers when the request was read, up to this many bytes beyond what the handler has read.
pub(super) async fn read_out(State(limit): State<usize>, request: Request, next: Next) -> Response {
    let rest = Rest::default();
    let response = next.run(request.map(|body| Body::new(Lent { body, is_over: false, rest: rest.clone() }))).await;
    if let Some(mut body) = rest.take() {
        let mut left = limit;
        let discard = poll_fn(|cx| poll_discard(Pin::new(&mut body), &mut left, cx));
        // Whatever comes of it: the answer stands.
        let _ = tokio::time::timeout(PATIENCE, discard).await;
    }
    response
}

/// Where a body is left that was not read to its end.
#[derive(Clone, Default)]
struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn leave(&self, body: Body) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}

/// A request's body, as the handler has it.
struct Lent {
    body: Body,
    is_over: bool,
    rest: Rest,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.is_over = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_over && !self.body.is_end_stream() {
            self.rest.leave(std::mem::take(&mut self.body));
        }
    }
}
