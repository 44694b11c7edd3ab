use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Method, Response};
use http_body::Body;
use tokio::time::Instant;

use super::{End, Recording, RequestWatch, ResponseHead};
use crate::classify::{Classifier, Ending, Protocol, Side};

/// Holds the recording of one exchange and sees to it that it ends exactly once: dropping it is an end too.
#[derive(Debug)]
pub(super) struct Watch<R: Recording> {
    /// `None` once it has ended.
    recording: Option<R>,
    /// `false`: only its scope is wanted.
    is_listening: bool,
    classifier: Classifier,
    started: Option<Instant>,
    /// The method, as far as it decides whether an answer has a body.
    method: &'static Method,
    /// How many bytes of the body are to come, where the head or the body says so; else more than any body has.
    left: u64,
    /// Set while inner code runs. If it is still set in the drop, that code did not return: it panicked. This holds also
    /// where the panic was caught (as a runtime does) and the future is dropped later.
    running: bool,
}

impl<R: Recording> Watch<R> {
    pub(super) fn new(recording: R, protocol: Protocol, side: Side, method: &Method) -> Self {
        Self {
            is_listening: recording.is_listening(),
            started: recording.is_timed().then(Instant::now),
            recording: Some(recording),
            classifier: Classifier::new(protocol, side),
            method: match *method {
                Method::HEAD => &Method::HEAD,
                Method::CONNECT => &Method::CONNECT,
                _ => &Method::GET,
            },
            left: u64::MAX,
            running: false,
        }
    }

    pub(super) fn watch_request(&mut self) -> Option<RequestWatch> {
        self.recording.as_mut().and_then(Recording::watch_request)
    }

    /// Runs inner code in the recording's scope.
    pub(super) fn run<T>(&mut self, inner: impl FnOnce() -> T) -> T {
        let _scope = self.recording.as_ref().map(Recording::enter);
        self.running = true;
        let result = inner();
        self.running = false;
        result
    }

    /// The head has arrived. Ends the recording if the head is the whole answer.
    pub(super) fn head<B: Body>(&mut self, response: &Response<B>) {
        if !self.is_listening {
            return;
        }
        let head = ResponseHead {
            status: response.status(),
            headers: response.headers(),
            version: response.version(),
            extensions: response.extensions(),
        };
        self.classifier.head(head.status, head.headers);
        if let Some(recording) = &mut self.recording {
            recording.head(&head);
        }
        self.left = response.body().size_hint().exact().unwrap_or(u64::MAX);
        if self.classifier.is_decided() || self.classifier.has_no_body(self.method) || response.body().is_end_stream() {
            self.end(Ending::Complete);
        }
    }

    pub(super) fn data(&mut self, data: &impl Buf) {
        if !self.is_listening {
            return;
        }
        let bytes = data.remaining();
        self.left = self.left.saturating_sub(bytes as u64);
        if let Some(recording) = &mut self.recording {
            recording.data(bytes);
            recording.chunk(data.chunk());
        }
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.is_listening {
            self.classifier.trailers(trailers);
        }
        self.end(Ending::Complete);
    }

    /// Ends the recording; does nothing if it has ended already.
    pub(super) fn end(&mut self, ending: Ending) {
        if let Some(recording) = self.recording.take().filter(|_| self.is_listening) {
            let outcome = self.classifier.take().finish(ending);
            let elapsed = self.started.map_or(Duration::ZERO, |started| started.elapsed());
            recording.end(&End { outcome: &outcome, elapsed });
        }
    }

    fn is_body_whole(&self) -> bool {
        // A server stops polling a body of known length once it has written that many bytes.
        self.left == 0
    }
}

impl<R: Recording> Drop for Watch<R> {
    fn drop(&mut self) {
        let ending = if self.running {
            Ending::Panicked
        } else if self.is_body_whole() {
            Ending::Complete
        } else {
            Ending::Cancelled
        };
        self.end(ending);
    }
}
