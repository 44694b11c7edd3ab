//! Request bodies that can be sent again.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{
    BodyExt, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

/// A request body of which several attempts can be made.
///
/// The smallest thing that serves both a tonic channel, whose body type is fixed, and plain HTTP clients. Implemented for
///
/// * [`tonic::body::Body`], [`axum::body::Body`] and http-body-util's boxed bodies: what was read of them is remembered,
///   up to the cap, and given again ([`Replay`]);
/// * [`Full`] and [`Empty`]: they are cloned.
///
/// Implement it for a body of your own by cloning, or by means of [`Replay`].
pub trait ReplayableBody: Body<Data = Bytes> + Sized {
    /// What the bodies of the attempts are made from.
    type Source: Send;

    /// Prepares a body for several attempts.
    ///
    /// # Errors
    ///
    /// Gives the body back, untouched, if it is known to be longer than `cap` bytes.
    fn into_source(self, cap: usize) -> Result<Self::Source, Self>;

    /// The body of the next attempt. `None` if what the last one has read of it cannot be given again: it was longer than
    /// the cap, or failed.
    fn next_body(source: &mut Self::Source) -> Option<Self>;

    /// The first bytes of the body, as far as they were read.
    fn start(source: &Self::Source) -> Option<Bytes>;
}

/// The error with which the body of an attempt ends when a later attempt takes its place.
///
/// It aborts the earlier attempt on the wire. Nobody waits for the answer of that one any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superseded(());

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call is being tried again")
    }
}

impl Error for Superseded {}

impl From<Superseded> for tonic::Status {
    fn from(error: Superseded) -> Self {
        Self::cancelled(error.to_string())
    }
}

impl From<Superseded> for axum::Error {
    fn from(error: Superseded) -> Self {
        Self::new(error)
    }
}

/// Remembers what is read of a body, up to a cap, and makes further bodies of it.
///
/// Nothing is read ahead of need. Bytes are shared, not copied. Dropping this forgets what was remembered.
pub struct Replay<B>(Arc<Mutex<State<B>>>);

/// A body made by [`Replay`]: first what earlier ones have read, then the rest.
pub struct ReplayBody<B> {
    state: Arc<Mutex<State<B>>>,
    generation: u32,
    /// How many of the remembered frames were given.
    given: usize,
    trailers_given: bool,
}

struct State<B> {
    rest: B,
    phase: Phase,
    frames: Vec<Bytes>,
    len: usize,
    cap: usize,
    trailers: Option<HeaderMap>,
    /// Is everything there that was read so far?
    complete_so_far: bool,
    /// Of the one body that may read.
    generation: u32,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    Ended,
    Failed,
}

// ===== impl Replay =====

impl<B: Body<Data = Bytes>> Replay<B> {
    /// Remembers up to `cap` bytes of `body`.
    ///
    /// # Errors
    ///
    /// Gives the body back if its size hint says that it is longer.
    pub fn try_new(body: B, cap: usize) -> Result<Self, B> {
        if body.size_hint().lower() > cap as u64 {
            return Err(body);
        }
        let phase = if body.is_end_stream() { Phase::Ended } else { Phase::Reading };
        Ok(Self(Arc::new(Mutex::new(State {
            rest: body,
            phase,
            frames: Vec::new(),
            len: 0,
            cap,
            trailers: None,
            complete_so_far: true,
            generation: 0,
            waker: None,
        }))))
    }

    /// A body for the next attempt; the one before it, if it is still being read, fails with [`Superseded`].
    pub fn next_body(&mut self) -> Option<ReplayBody<B>> {
        let mut state = lock(&self.0);
        if !state.complete_so_far || state.phase == Phase::Failed {
            return None;
        }
        state.generation += 1;
        let generation = state.generation;
        let superseded = state.waker.take();
        drop(state);
        if let Some(waker) = superseded {
            waker.wake();
        }
        Some(ReplayBody { state: self.0.clone(), generation, given: 0, trailers_given: false })
    }

    /// The first frame, if it was read and is remembered.
    #[must_use]
    pub fn start(&self) -> Option<Bytes> {
        lock(&self.0).frames.first().cloned()
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        // No further attempt: whoever is reading needs what lies before it no more.
        let mut state = lock(&self.0);
        state.complete_so_far = false;
        state.cap = 0;
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("bytes", &lock(&self.0).len).finish_non_exhaustive()
    }
}

// ===== impl ReplayBody =====

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: From<Superseded>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let mut state = lock(&this.state);
        if state.generation != this.generation {
            return Poll::Ready(Some(Err(Superseded(()).into())));
        }
        if let Some(frame) = state.frames.get(this.given) {
            this.given += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if state.phase != Phase::Reading {
            let trailers = if this.trailers_given { None } else { state.trailers.clone() };
            this.trailers_given = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(state.read(cx));
        if let Some(Ok(frame)) = &frame {
            this.trailers_given |= frame.is_trailers();
            this.given = state.frames.len();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        state.generation == self.generation
            && self.given >= state.frames.len()
            && (state.phase == Phase::Ended || (state.phase == Phase::Reading && state.rest.is_end_stream()))
            && (state.trailers.is_none() || self.trailers_given)
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        let ahead = state.frames.iter().skip(self.given).map(Bytes::len).sum::<usize>() as u64;
        let rest = if state.phase == Phase::Reading { state.rest.size_hint() } else { SizeHint::with_exact(0) };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("given", &self.given).finish_non_exhaustive()
    }
}

// ===== impl State =====

impl<B: Body<Data = Bytes> + Unpin> State<B> {
    /// Reads on, and remembers.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) else {
            // The body that is superseded must be woken, and only we know whom that is.
            match &mut self.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.remember(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.trailers = Some(trailers.clone());
                    self.phase = Phase::Ended;
                }
            }
            Some(Err(_)) => self.phase = Phase::Failed,
            None => self.phase = Phase::Ended,
        }
        Poll::Ready(frame)
    }

    fn remember(&mut self, data: &Bytes) {
        self.len = self.len.saturating_add(data.len());
        if self.complete_so_far && self.len <= self.cap {
            self.frames.push(data.clone());
        } else {
            // This attempt goes on; there will be no other.
            self.complete_so_far = false;
            self.frames = Vec::new();
        }
    }
}

/// Poisoned by a panic of the caller's body: the call is lost, the lock need not be.
fn lock<B>(state: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

// ===== impl ReplayableBody =====

impl ReplayableBody for tonic::body::Body {
    type Source = Replay<Self>;

    fn into_source(self, cap: usize) -> Result<Self::Source, Self> {
        Replay::try_new(self, cap)
    }

    fn next_body(source: &mut Self::Source) -> Option<Self> {
        source.next_body().map(Self::new)
    }

    fn start(source: &Self::Source) -> Option<Bytes> {
        source.start()
    }
}

impl ReplayableBody for axum::body::Body {
    type Source = Replay<Self>;

    fn into_source(self, cap: usize) -> Result<Self::Source, Self> {
        Replay::try_new(self, cap)
    }

    fn next_body(source: &mut Self::Source) -> Option<Self> {
        source.next_body().map(Self::new)
    }

    fn start(source: &Self::Source) -> Option<Bytes> {
        source.start()
    }
}

impl<E> ReplayableBody for UnsyncBoxBody<Bytes, E>
where
    E: From<Superseded> + 'static,
{
    type Source = Replay<Self>;

    fn into_source(self, cap: usize) -> Result<Self::Source, Self> {
        Replay::try_new(self, cap)
    }

    fn next_body(source: &mut Self::Source) -> Option<Self> {
        source.next_body().map(BodyExt::boxed_unsync)
    }

    fn start(source: &Self::Source) -> Option<Bytes> {
        source.start()
    }
}

impl<E> ReplayableBody for BoxBody<Bytes, E>
where
    E: From<Superseded> + 'static,
{
    type Source = Replay<Self>;

    fn into_source(self, cap: usize) -> Result<Self::Source, Self> {
        Replay::try_new(self, cap)
    }

    fn next_body(source: &mut Self::Source) -> Option<Self> {
        source.next_body().map(BodyExt::boxed)
    }

    fn start(source: &Self::Source) -> Option<Bytes> {
        source.start()
    }
}

impl ReplayableBody for Full<Bytes> {
    type Source = Self;

    fn into_source(self, cap: usize) -> Result<Self, Self> {
        if self.size_hint().lower() > cap as u64 { Err(self) } else { Ok(self) }
    }

    fn next_body(source: &mut Self) -> Option<Self> {
        Some(source.clone())
    }

    fn start(source: &Self) -> Option<Bytes> {
        let polled = Pin::new(&mut source.clone()).poll_frame(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        }
    }
}

impl ReplayableBody for Empty<Bytes> {
    type Source = ();

    fn into_source(self, _cap: usize) -> Result<(), Self> {
        Ok(())
    }

    fn next_body(_source: &mut ()) -> Option<Self> {
        Some(Self::new())
    }

    fn start(_source: &()) -> Option<Bytes> {
        None
    }
}
