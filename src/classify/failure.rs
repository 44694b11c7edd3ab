use std::{any::Any, error::Error, io};

use tonic::Code;

/// Why a service or a body failed with an error instead of an answer: a gRPC code and a name with few values.
///
/// The error itself is only looked at, never kept and never formatted: its text may hold anything.
///
/// ```
/// use tower_dapr::classify::Failure;
///
/// let error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// assert_eq!(Failure::of(&error).error_type(), "connection_refused");
/// assert_eq!(Failure::of(&tonic::Status::not_found("k")).code(), tonic::Code::NotFound);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    code: Code,
    error_type: &'static str,
}

/// How long a chain of `source()` is followed: real chains have 3 to 6 links, a cyclic one must not hang us.
const MAX_CHAIN: usize = 32;

impl Failure {
    /// Looks at an error of any type.
    ///
    /// Known errors (tonic, hyper, h2, I/O, boxed ones) are recognised anywhere in their chain of sources; of any other
    /// type only its name is taken.
    #[must_use]
    pub fn of<E: 'static>(error: &E) -> Self {
        as_dyn_error(error).and_then(Self::in_chain).unwrap_or_else(|| Self::new(Code::Unknown, type_name_of::<E>()))
    }

    /// The gRPC code that stands for the failure; `UNKNOWN` if nothing better is known.
    #[must_use]
    pub fn code(self) -> Code {
        self.code
    }

    /// `error.type` for HTTP: `timeout`, `connection_refused`, `connection_error`, `connection_closed`, .., or the error's
    /// type.
    #[must_use]
    pub fn error_type(self) -> &'static str {
        self.error_type
    }

    const fn new(code: Code, error_type: &'static str) -> Self {
        Self { code, error_type }
    }

    /// The most telling error of the chain: connect errors hold an I/O error that says why, so the walk goes on below
    /// one that is recognised and refines its `error.type`, but the outermost code stays.
    fn in_chain(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut found: Option<Self> = None;
        for failure in chain(error).filter_map(Self::of_one) {
            found = Some(match found {
                Some(outer) if outer.code != Code::Unknown => Self::new(outer.code, failure.error_type),
                _ => failure,
            });
        }
        found
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(status) = error.downcast_ref::<tonic::Status>() {
            return Some(Self::new(status.code(), super::code_name(status.code())));
        }
        if error.is::<tonic::TimeoutExpired>() {
            // tonic says CANCELLED here; what ran out is the deadline.
            return Some(Self::new(Code::DeadlineExceeded, "timeout"));
        }
        if error.is::<tonic::ConnectError>() {
            return Some(Self::new(Code::Unavailable, "connection_error"));
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            return Self::of_hyper(hyper);
        }
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return Some(Self::of_h2(h2));
        }
        error.downcast_ref::<io::Error>().map(Self::of_io)
    }

    fn of_hyper(error: &hyper::Error) -> Option<Self> {
        if error.is_timeout() {
            // hyper's keep-alive ping was not answered.
            Some(Self::new(Code::Unavailable, "timeout"))
        } else if was_waiting(error) || error.is_incomplete_message() || error.is_closed() {
            Some(Self::new(Code::Unavailable, "connection_closed"))
        } else {
            None // its source, if any, says more
        }
    }

    fn of_h2(error: &h2::Error) -> Self {
        let code = match error.reason() {
            Some(
                h2::Reason::NO_ERROR
                | h2::Reason::PROTOCOL_ERROR
                | h2::Reason::INTERNAL_ERROR
                | h2::Reason::FLOW_CONTROL_ERROR
                | h2::Reason::SETTINGS_TIMEOUT
                | h2::Reason::FRAME_SIZE_ERROR
                | h2::Reason::COMPRESSION_ERROR
                | h2::Reason::CONNECT_ERROR,
            ) => Code::Internal,
            Some(h2::Reason::REFUSED_STREAM) => Code::Unavailable,
            Some(h2::Reason::CANCEL) => Code::Cancelled,
            Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
            Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
            _ if error.is_io() => Code::Unavailable,
            _ => Code::Unknown,
        };
        Self::new(code, "http2_error")
    }

    fn of_io(error: &io::Error) -> Self {
        let error_type = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection_refused",
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection_reset",
            io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => "connection_closed",
            io::ErrorKind::TimedOut => "timeout",
            _ => "io_error",
        };
        Self::new(Code::Unavailable, error_type)
    }
}

/// The errors that services of this field have; anything else is opaque to us and stays so.
pub(crate) fn as_dyn_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    fn concrete<T: Error + 'static>(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
        error.downcast_ref::<T>().map(|error| error as _)
    }

    let error: &dyn Any = error;
    if let Some(boxed) = error.downcast_ref::<tonic::codegen::StdError>() {
        return Some(&**boxed);
    }
    if let Some(boxed) = error.downcast_ref::<Box<dyn Error + 'static>>() {
        return Some(&**boxed);
    }
    concrete::<tonic::transport::Error>(error)
        .or_else(|| concrete::<tonic::Status>(error))
        .or_else(|| concrete::<axum::Error>(error))
        .or_else(|| concrete::<hyper_util::client::legacy::Error>(error))
        .or_else(|| concrete::<hyper::Error>(error))
        .or_else(|| concrete::<h2::Error>(error))
        .or_else(|| concrete::<io::Error>(error))
}

/// The error's type as `error.type` wants it: its path, without the parameters (they may be very long).
fn type_name_of<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    match name.split_once('<') {
        // `Box<dyn Error>` and the like say nothing.
        Some(("alloc::boxed::Box" | "&", _)) => "_OTHER",
        Some((path, _)) => path,
        None if name.starts_with('&') => "_OTHER",
        None => name,
    }
}

/// An error and its sources.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(MAX_CHAIN)
}

/// Is this link of a [`chain`] hyper's word for a request that was waiting when its connection closed, of which nothing was
/// sent? So after a GOAWAY. hyper calls it cancelled, though nobody has cancelled it, and its client makes the error in no
/// other case; tonic makes CANCELLED of it.
pub(crate) fn was_waiting(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
}
