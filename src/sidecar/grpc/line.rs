//! A connection that can be cut, or told to go away, at a frame of one of its calls.
//!
//! hyper neither tells the stream of a call nor lets anyone send a frame. So the frames are watched as they pass: which
//! streams were opened, in the order in which hyper makes the calls of them, and where a frame of an answer ends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sidecar::lock::lock;

/// `PRI * HTTP/2.0`, which a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;

/// Behind which frame of an answer the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutBehind {
    Head,
    Message,
}

/// The connection's bytes, watched.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    line: Line,
}

/// What the calls of a connection know of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    incoming: Frames,
    outgoing: Frames,
    preface: usize,
    /// Streams whose calls have not been made yet.
    opened: VecDeque<u32>,
    newest: u32,
    /// The stream of the last call, and that of the one before it.
    current: u32,
    before: u32,
    is_gone: bool,
    /// What is left to send of the GOAWAY frame.
    farewell: Vec<u8>,
    cuts: Vec<(u32, CutBehind)>,
    is_cut: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            incoming: Frames::default(),
            outgoing: Frames::default(),
            preface: PREFACE,
            opened: VecDeque::new(),
            newest: 0,
            current: 0,
            before: 0,
            is_gone: false,
            farewell: Vec::new(),
            cuts: Vec::new(),
            is_cut: false,
        }
    }
}

// ===== impl Line =====

impl Line {
    /// The stream of the call that is being made; `None` on a line that was told to go away: nobody handles it.
    pub(super) fn next_call(&self) -> Option<u32> {
        let mut state = lock(&self.0);
        if state.is_gone {
            return None;
        }
        // There is one, as each call comes from a frame. Zero is the stream of no call.
        let stream = state.opened.pop_front().unwrap_or_default();
        (state.before, state.current) = (state.current, stream);
        Some(stream)
    }

    /// Says that neither the call that is being made nor a later one is ever handled, and keeps to it.
    pub(super) fn go_away(&self) {
        let mut state = lock(&self.0);
        state.is_gone = true;
        // Length 8, the connection's stream, the last stream, NO_ERROR.
        let last = state.before.to_be_bytes();
        state.farewell = [&[0, 0, 8, GO_AWAY, 0, 0, 0, 0, 0][..], &last, &[0; 4]].concat();
    }

    /// Cuts the connection as soon as this part of the answer has left.
    pub(super) fn cut(&self, stream: u32, behind: CutBehind) {
        lock(&self.0).cuts.push((stream, behind));
    }
}

// ===== impl State =====

impl State {
    fn read(&mut self, bytes: &[u8]) {
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        let Self { incoming, opened, newest, .. } = self;
        incoming.feed(&bytes[preface..], |frame, _| {
            // A second one is the end of the request.
            if frame.kind == HEADERS && frame.stream > *newest {
                *newest = frame.stream;
                opened.push_back(frame.stream);
            }
        });
    }

    /// How much of this may be written: up to a cut, or up to where a frame of our own fits in.
    fn limit(&self, bytes: &[u8]) -> (usize, bool) {
        let (mut limit, mut is_cut) = (bytes.len(), false);
        let mut outgoing = self.outgoing;
        outgoing.feed(bytes, |frame, end| {
            let cut = self.cuts.iter().any(|(stream, behind)| *stream == frame.stream && frame.ends(*behind));
            if end < limit && !self.farewell.is_empty() || cut && end <= limit && !is_cut {
                (limit, is_cut) = (end, cut);
            }
        });
        (limit, is_cut)
    }
}

// ===== impl Watched =====

impl<T> Watched<T> {
    pub(super) const fn new(io: T, line: Line) -> Self {
        Self { io, line }
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    /// Sends a frame of our own, where one fits in.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.line.0);
        if state.is_cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        while !state.farewell.is_empty() && state.outgoing.is_between() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, &state.farewell))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.farewell.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        lock(&self.line.0).read(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

/// No vectored writes: where a write may end is found in one piece.
impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_farewell(cx))?;
        let (limit, is_cut) = lock(&self.line.0).limit(bytes);
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, &bytes[..limit]))?;
        let mut state = lock(&self.line.0);
        state.outgoing.feed(&bytes[..written], |_, _| {});
        state.is_cut = is_cut && written == limit;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_farewell(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where the frames of a direction begin and end (RFC 9113, section 4.1).
#[derive(Clone, Copy, Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    has: usize,
    rest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

// ===== impl Frames =====

impl Frames {
    /// Tells each frame that ends in `bytes`, and where.
    fn feed(&mut self, bytes: &[u8], mut ended: impl FnMut(Frame, usize)) {
        let mut at = 0;
        while at < bytes.len() {
            let missing = (HEAD - self.has).min(bytes.len() - at);
            self.head[self.has..self.has + missing].copy_from_slice(&bytes[at..at + missing]);
            (self.has, at) = (self.has + missing, at + missing);
            if self.has < HEAD {
                return;
            }
            let [a, b, c, kind, flags, stream @ ..] = self.head;
            if missing > 0 {
                self.rest = u32::from_be_bytes([0, a, b, c]) as usize;
            }
            let payload = self.rest.min(bytes.len() - at);
            (self.rest, at) = (self.rest - payload, at + payload);
            if self.rest == 0 {
                self.has = 0;
                ended(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }, at);
            }
        }
    }

    const fn is_between(&self) -> bool {
        self.has == 0
    }
}

// ===== impl Frame =====

impl Frame {
    /// Whether an answer is to be cut behind this frame. One without a message has no other end.
    const fn ends(&self, behind: CutBehind) -> bool {
        match behind {
            CutBehind::Head => self.kind == HEADERS,
            CutBehind::Message => self.kind == DATA || (self.kind == HEADERS && self.flags & END_STREAM != 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn streams_are_found_however_the_bytes_come() {
        let settings = frame(4, 0, 0, &[0; 6]);
        let request = [frame(HEADERS, 4, 1, b"abc"), frame(DATA, 0, 1, &[]), frame(HEADERS, 5, 1, b"end")].concat();
        let bytes = [&[b'P'; PREFACE][..], &settings, &request, &frame(HEADERS, 5, 7, &[0; 300])].concat();
        for size in [1, 2, 9, 10, 50, bytes.len()] {
            let line = Line::default();
            bytes.chunks(size).for_each(|chunk| lock(&line.0).read(chunk));
            assert_eq!((line.next_call(), line.next_call(), line.next_call()), (Some(1), Some(7), Some(0)), "{size}");
        }
    }

    #[test]
    fn a_write_ends_at_the_cut_or_where_a_frame_fits_in() {
        let line = Line::default();
        let head = frame(HEADERS, 4, 3, b"head");
        let answer = [head.clone(), frame(DATA, 0, 3, b"message"), frame(HEADERS, 5, 3, b"end")].concat();
        assert_eq!(lock(&line.0).limit(&answer), (answer.len(), false));
        line.cut(3, CutBehind::Message);
        assert_eq!(lock(&line.0).limit(&answer), (head.len() + 16, true));
        assert_eq!(lock(&line.0).limit(&answer[..head.len() + 12]), (head.len() + 12, false), "not all of it yet");
        line.cut(3, CutBehind::Head);
        assert_eq!(lock(&line.0).limit(&answer), (head.len(), true));
        let line = Line::default();
        lock(&line.0).opened.extend([5, 9, 11]);
        line.next_call();
        line.next_call();
        line.go_away();
        assert_eq!(lock(&line.0).limit(&answer), (head.len(), false));
        assert_eq!(lock(&line.0).farewell, frame(GO_AWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]));
        assert_eq!(line.next_call(), None, "nobody handles what comes now");
    }
}
