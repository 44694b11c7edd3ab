use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{
    discard::{PATIENCE, poll_discard},
    mode::{Message, Mode},
};
use crate::{
    event::{DecodeError, Limits, Outcome},
    timer::poll_elapsed,
};

/// How long a body may take to arrive whole, if nobody says otherwise.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read beyond what would be taken, in bytes.
const MAX_DISCARDED: usize = 16 << 20;

/// Why a request that should hold an event gave none.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Undecodable(DecodeError),
    TooSlow,
    Broken,
}

impl Unreadable {
    pub(crate) const fn outcome(&self, on_undecodable: Outcome) -> Outcome {
        match self {
            Self::Undecodable(_) => on_undecodable,
            // The next delivery may be whole.
            Self::TooSlow | Self::Broken => Outcome::Retry,
        }
    }

    /// For metrics.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Undecodable(error) if error.is_too_large() => "too_large",
            Self::Undecodable(_) => "decode_error",
            Self::TooSlow => "timeout",
            Self::Broken => "broken_body",
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(error) => error.fmt(f),
            Self::TooSlow => f.write_str("the body did not arrive in time"),
            Self::Broken => f.write_str("the body broke off"),
        }
    }
}

impl Error for Unreadable {}

/// Reads and decodes a body. `None`: it holds no events after all.
pub(crate) async fn read<B: Body>(
    mode: Mode,
    headers: &HeaderMap,
    body: B,
    limits: Limits,
) -> Result<Option<Message>, Unreadable> {
    let body = receive(headers, body, mode.longest(&limits), READ_TIMEOUT).await?;
    mode.decode(headers, &body, &limits).map_err(Unreadable::Undecodable)
}

/// Reads a body of at most so many bytes.
pub(crate) fn receive<B: Body>(headers: &HeaderMap, body: B, longest: usize, timeout: Duration) -> Receive<B> {
    let declared = declared_length(headers).max(body.size_hint().lower());
    let rest = declared.checked_sub(longest as u64).filter(|too_much| *too_much > 0).map(|too_much| {
        // What will not be read to its end need not be read at all.
        if too_much > MAX_DISCARDED as u64 { 0 } else { longest.saturating_add(MAX_DISCARDED) }
    });
    Receive { body, received: Received::default(), longest, timeout, deadline: None, rest }
}

fn declared_length(headers: &HeaderMap) -> u64 {
    headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok()).unwrap_or(0)
}

pin_project! {
    pub(crate) struct Receive<B> {
        #[pin]
        body: B,
        received: Received,
        longest: usize,
        timeout: Duration,
        // Made when the body has to be waited for, which a short one needs not.
        #[pin]
        deadline: Option<Sleep>,
        // The body is too large: so much of it is still read, for its sender to hear the answer.
        rest: Option<usize>,
    }
}

impl<B: Body> Future for Receive<B> {
    type Output = Result<Bytes, Unreadable>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let longest = *this.longest;
        while this.rest.is_none() {
            match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.remaining() > longest - this.received.len() {
                        this.received.take();
                        this.deadline.set(None);
                        *this.rest = Some(MAX_DISCARDED);
                    } else {
                        this.received.push(data);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Unreadable::Broken)),
                Poll::Ready(None) => return Poll::Ready(Ok(this.received.take())),
                Poll::Pending => {
                    ready!(poll_deadline(this.deadline.as_mut(), *this.timeout, cx));
                    return Poll::Ready(Err(Unreadable::TooSlow));
                }
            }
        }
        if let Some(rest) = this.rest.as_mut().filter(|rest| **rest > 0)
            && poll_discard(this.body, rest, cx).is_pending()
        {
            ready!(poll_deadline(this.deadline, PATIENCE, cx));
        }
        Poll::Ready(Err(Unreadable::Undecodable(DecodeError::too_large(longest))))
    }
}

/// Waits so long from the first time on that it is asked.
fn poll_deadline(mut deadline: Pin<&mut Option<Sleep>>, timeout: Duration, cx: &mut Context<'_>) -> Poll<()> {
    if deadline.is_none() {
        deadline.set(Some(sleep(timeout)));
    }
    poll_elapsed(deadline.as_pin_mut().expect("it has just been set"), cx)
}

/// The frames of a body. One frame, the usual case, is not copied.
#[derive(Default)]
struct Received {
    first: Bytes,
    all: BytesMut,
}

impl Received {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, mut data: impl Buf) {
        let length = data.remaining();
        if self.len() == 0 {
            self.first = data.copy_to_bytes(length);
        } else {
            self.all.reserve(self.first.len() + length);
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
            self.all.extend_from_slice(&data.copy_to_bytes(length));
        }
    }

    fn take(&mut self) -> Bytes {
        let all = std::mem::take(&mut self.all);
        if all.is_empty() { std::mem::take(&mut self.first) } else { all.freeze() }
    }
}
