use http::{HeaderMap, HeaderName, Method, StatusCode, header::CONTENT_TYPE};
use tonic::Code;

use super::{
    code::{code_name, code_of_http_status, http_status_text, is_server_error},
    failure::Failure,
};

/// Which rules an exchange follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain HTTP: the status code is the result.
    Http,
    /// gRPC over HTTP: the trailer `grpc-status` is the result.
    Grpc,
}

impl Protocol {
    /// Reads the protocol off the headers of a request: `content-type: application/grpc[+..][;..]` is gRPC.
    ///
    /// `application/grpc-web` is not: its trailers are part of the body.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        const GRPC: &[u8] = b"application/grpc";
        let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|value| {
            let value = value.as_bytes();
            value.len() >= GRPC.len()
                && value[..GRPC.len()].eq_ignore_ascii_case(GRPC)
                && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
        });
        if is_grpc { Self::Grpc } else { Self::Http }
    }
}

/// Which side of an exchange is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that calls.
    Client,
    /// The one that is called.
    Server,
}

/// How an exchange came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Head, body and trailers went past whole.
    Complete,
    /// The service, or a body, failed with an error.
    Failed(Failure),
    /// The future or the response body was dropped before its end.
    Cancelled,
    /// A panic unwound out of the inner service or body.
    Panicked,
}

/// Gathers what the parts of a response say, and judges once at the end.
///
/// See the [module docs](crate::classify) for an example.
#[derive(Debug, Clone)]
pub struct Classifier {
    protocol: Protocol,
    side: Side,
    status: Option<StatusCode>,
    code: Option<Code>,
    message: Option<Box<str>>,
}

impl Classifier {
    /// A classifier for one exchange.
    #[must_use]
    pub const fn new(protocol: Protocol, side: Side) -> Self {
        Self { protocol, side, status: None, code: None, message: None }
    }

    /// What was gathered, moved out.
    pub(crate) fn take(&mut self) -> Self {
        Self { message: self.message.take(), ..*self }
    }

    /// The head of the response has arrived. A gRPC head that carries `grpc-status` is the whole answer ("trailers-only").
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.read_grpc_status(headers);
    }

    /// The trailers have arrived.
    pub fn trailers(&mut self, trailers: &HeaderMap) {
        self.read_grpc_status(trailers);
    }

    /// Is the result known already, so that nothing that follows can change it?
    #[must_use]
    pub fn is_decided(&self) -> bool {
        match self.protocol {
            Protocol::Http => false, // a body can still break
            Protocol::Grpc => self.code.is_some(),
        }
    }

    /// Does this response have no body by the rules of HTTP (RFC 9110, section 6.4.1), so that nobody will read one?
    #[must_use]
    pub fn has_no_body(&self, method: &Method) -> bool {
        let Some(status) = self.status else { return false };
        *method == Method::HEAD
            || (*method == Method::CONNECT && status.is_success())
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Judges. To be asked once, when the exchange is over.
    #[must_use]
    pub fn finish(self, ending: Ending) -> Outcome {
        let Self { protocol, side, status, .. } = self;
        let code = match protocol {
            Protocol::Http => None,
            Protocol::Grpc => Some(self.grpc_code(ending)),
        };
        Outcome { protocol, side, status, code, is_told: self.code.is_some(), ending, message: self.message }
    }

    fn grpc_code(&self, ending: Ending) -> Code {
        // A status that arrived stands, whatever broke after it.
        if let Some(code) = self.code {
            return code;
        }
        match (self.status, ending) {
            (_, Ending::Panicked) => Code::Unknown,
            // No answer of gRPC's: the head has said it all, however much of the body was read.
            (Some(status), _) if status != StatusCode::OK => code_of_http_status(status),
            (_, Ending::Complete) => Code::Unknown,
            (_, Ending::Failed(failure)) => failure.code(),
            (_, Ending::Cancelled) => Code::Cancelled,
        }
    }

    fn read_grpc_status(&mut self, headers: &HeaderMap) {
        if self.protocol != Protocol::Grpc || self.code.is_some() {
            return;
        }
        let Some(code) = headers.get(GRPC_STATUS) else { return };
        self.code = Some(Code::from_bytes(code.as_bytes()));
        self.message = headers
            .get(GRPC_MESSAGE)
            .filter(|message| !message.is_empty() && message.len() <= MAX_MESSAGE)
            .map(|message| percent_encoding::percent_decode(message.as_bytes()).decode_utf8_lossy().into());
    }
}

// As constants they are not parsed for each call.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A longer `grpc-message` is left out: it is text for a person, not for a span.
const MAX_MESSAGE: usize = 1024;

/// What an exchange came to. Made by [`Classifier::finish`].
#[derive(Debug, Clone)]
pub struct Outcome {
    protocol: Protocol,
    side: Side,
    status: Option<StatusCode>,
    code: Option<Code>,
    /// Did the code arrive, or is it made of the way it ended?
    is_told: bool,
    ending: Ending,
    message: Option<Box<str>>,
}

impl Outcome {
    /// The rules that it was judged by.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How the exchange came to its end.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The HTTP status of the response, if a head arrived.
    #[must_use]
    pub fn http_status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The gRPC code: from the trailers or the head, else what an HTTP status other than 200 means, else the way it
    /// ended. `None` for plain HTTP.
    #[must_use]
    pub fn grpc_code(&self) -> Option<Code> {
        self.code
    }

    /// Does the answer prove that the server has the method that it was asked for? Not what a router says about one that it
    /// does not know, nor what a layer in front of it says about any.
    pub(crate) fn proves_method(&self) -> bool {
        let is_of_any = matches!(
            self.code,
            Some(
                Code::Unimplemented
                    | Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::ResourceExhausted
                    | Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
            )
        );
        self.is_told && !is_of_any
    }

    /// The `grpc-message` that came with the code, percent-decoded, if it was not empty and at most 1,024 bytes long.
    #[must_use]
    pub fn grpc_message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// `error.type`: a value out of a small set, or `None` if the watched side counts this as no error.
    ///
    /// * gRPC: the code's name. The client counts every code but `OK`, the server only those that are its own fault
    ///   (`UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`).
    /// * HTTP: the status code; the client counts 4xx and 5xx, the server 5xx. Without a whole answer: `cancelled`, or
    ///   what the [`Failure`] says. A client that drops a response unread has its answer: that is no error.
    /// * A panic is `panic`, on all sides.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        if self.ending == Ending::Panicked {
            return Some("panic");
        }
        match self.code {
            Some(code) => match self.side {
                Side::Client => (code != Code::Ok).then(|| code_name(code)),
                Side::Server => is_server_error(code).then(|| code_name(code)),
            },
            None => self.http_error_type(),
        }
    }

    /// Does the watched side count this as an error?
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.error_type().is_some()
    }

    fn http_error_type(&self) -> Option<&'static str> {
        let by_status = self.status.filter(|status| match self.side {
            Side::Client => status.is_client_error() || status.is_server_error(),
            Side::Server => status.is_server_error(),
        });
        match (by_status, self.ending) {
            (Some(status), _) => Some(http_status_text(status)),
            (None, Ending::Failed(failure)) => Some(failure.error_type()),
            (None, Ending::Cancelled) if self.status.is_some() && self.side == Side::Client => None,
            (None, Ending::Cancelled) => Some("cancelled"),
            (None, _) => None,
        }
    }
}
