use std::{error::Error, fmt, sync::Arc};

use tonic::Status;

/// The call, or its attempt, was not over in time.
///
/// tonic's generated clients make `Code::DeadlineExceeded` of it, with this error in the status' `source()`. Callers of
/// plain HTTP find it by `downcast_ref`. Below it in the chain, if an attempt had failed before: [`LastFailure`].
pub struct DeadlineExceeded {
    status: Status,
    last: Option<LastFailure>,
}

/// How the last attempt failed before time ran out.
#[derive(Debug, Clone)]
pub struct LastFailure {
    code: &'static str,
    message: Option<Arc<str>>,
}

// ===== impl DeadlineExceeded =====

impl DeadlineExceeded {
    pub(super) fn new(last: Option<LastFailure>) -> Self {
        let mut status = Status::deadline_exceeded(match &last {
            None => "deadline exceeded".to_owned(),
            Some(last) => format!("deadline exceeded; {last}"),
        });
        if let Some(last) = &last {
            status.set_source(Arc::new(last.clone()));
        }
        Self { status, last }
    }

    /// How the last attempt failed, if one did before time ran out. Only a layer for the whole call is told of it.
    #[must_use]
    pub fn last_failure(&self) -> Option<&LastFailure> {
        self.last.as_ref()
    }
}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was not over in time")
    }
}

impl fmt::Debug for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineExceeded").field("last", &self.last).finish()
    }
}

impl Error for DeadlineExceeded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.status)
    }
}

// ===== impl LastFailure =====

impl LastFailure {
    pub(super) fn new(code: &'static str, message: Option<&str>) -> Self {
        Self { code, message: message.map(|message| crate::semconv::capped(message, 512).into()) }
    }

    /// The gRPC code (`UNAVAILABLE`) or the HTTP status (`503`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for LastFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the last attempt failed with {}", self.code)?;
        match &self.message {
            Some(message) => write!(f, ": {}", message.escape_debug()),
            None => Ok(()),
        }
    }
}

impl Error for LastFailure {}
