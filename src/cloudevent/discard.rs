//! An answer before a request has been read makes hyper close the connection, and whoever is still sending (Go's client
//! in daprd) sees a broken pipe in place of the answer. So the rest is read out first.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http_body::Body;

/// How long the rest is waited for. It is under way, or does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Reads a body to its end, or until more than so many bytes have come.
pub(crate) fn poll_discard<B: Body>(mut body: Pin<&mut B>, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    while let Some(Ok(frame)) = ready!(body.as_mut().poll_frame(cx)) {
        match left.checked_sub(frame.data_ref().map_or(0, Buf::remaining)) {
            Some(less) => *left = less,
            None => break,
        }
    }
    Poll::Ready(())
}
