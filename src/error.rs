use std::{error::Error as StdError, fmt};

use http::StatusCode;
use tonic::{Code, Status};

/// What went wrong with a call to Dapr.
///
/// Opaque: it is asked, not matched on. `Display` says which operation on which component failed and how; what Dapr itself
/// said is [`message`](Self::message), and the cause is in `source()`. No value, key or payload is part of the text.
///
/// ```no_run
/// # async fn example(dapr: tower_dapr::outbound::Dapr, etag: String) -> Result<(), tower_dapr::Error> {
/// match dapr.state("statestore").save("order-1", &"paid").if_match(etag).await {
///     Err(error) if error.is_etag_mismatch() => { /* somebody else was faster: read it again */ }
///     result => result?,
/// }
/// # Ok(())
/// # }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    operation: &'static str,
    /// The component, app id or variable that the operation is about.
    target: String,
    kind: Kind,
}

enum Kind {
    /// Dapr, the app behind it, or the way there answered with a status.
    Status(Status),
    /// A value could not be written as JSON.
    Encode(serde_json::Error),
    /// What came back is not what the caller asked for.
    Decode(serde_json::Error),
    /// A setting or an argument is wrong.
    Invalid(String),
    /// The channel cannot be built.
    Transport(tonic::transport::Error),
}

impl Error {
    pub(crate) fn status(operation: &'static str, target: &str, status: Status) -> Self {
        Self::new(operation, target, Kind::Status(status))
    }

    pub(crate) fn encode(operation: &'static str, target: &str, error: serde_json::Error) -> Self {
        Self::new(operation, target, Kind::Encode(error))
    }

    pub(crate) fn decode(operation: &'static str, target: &str, error: serde_json::Error) -> Self {
        Self::new(operation, target, Kind::Decode(error))
    }

    pub(crate) fn invalid(operation: &'static str, target: &str, reason: impl Into<String>) -> Self {
        Self::new(operation, target, Kind::Invalid(reason.into()))
    }

    pub(crate) fn transport(operation: &'static str, target: &str, error: tonic::transport::Error) -> Self {
        Self::new(operation, target, Kind::Transport(error))
    }

    fn new(operation: &'static str, target: &str, kind: Kind) -> Self {
        Self(Box::new(Inner {
            operation,
            target: crate::semconv::capped(target, 256).escape_debug().to_string(),
            kind,
        }))
    }

    /// The gRPC code of the answer. `None` if there was no answer: a value that cannot be encoded or decoded, a wrong
    /// setting.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.as_status().map(Status::code)
    }

    /// What Dapr, or the app that was invoked, said. Empty if it said nothing.
    #[must_use]
    pub fn message(&self) -> &str {
        self.as_status().map_or("", Status::message)
    }

    /// The HTTP status with which an invoked HTTP app refused (daprd's header `dapr-http-status`). `None` if the failure
    /// is not the app's answer.
    #[must_use]
    pub fn http_status(&self) -> Option<StatusCode> {
        let value = self.as_status()?.metadata().get("dapr-http-status")?;
        StatusCode::from_bytes(value.as_bytes()).ok()
    }

    /// Whatever was asked for does not exist: NOT_FOUND, or 404 of an invoked app.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NotFound)
    }

    /// A state write was refused because the item has changed: ABORTED. Read it again, then decide.
    #[must_use]
    pub fn is_etag_mismatch(&self) -> bool {
        self.code() == Some(Code::Aborted)
    }

    /// The sidecar, or what stands behind it, cannot be reached now: UNAVAILABLE.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.code() == Some(Code::Unavailable)
    }

    /// Time ran out: DEADLINE_EXCEEDED.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.code() == Some(Code::DeadlineExceeded)
    }

    /// What came back could not be read as the type that the caller asked for.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        matches!(self.0.kind, Kind::Decode(_))
    }

    /// A setting or an argument is wrong: nothing was sent.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.0.kind, Kind::Invalid(_) | Kind::Encode(_))
    }

    /// The status as tonic has it, with metadata and details.
    #[must_use]
    pub fn as_status(&self) -> Option<&Status> {
        match &self.0.kind {
            Kind::Status(status) => Some(status),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { operation, target, kind } = &*self.0;
        write!(f, "{operation} `{target}`: ")?;
        match kind {
            Kind::Status(status) => f.write_str(crate::classify::code_name(status.code())),
            Kind::Encode(_) => f.write_str("the value cannot be written as JSON"),
            Kind::Decode(_) => f.write_str("the answer is not of the type that was asked for"),
            Kind::Invalid(reason) => f.write_str(reason),
            Kind::Transport(_) => f.write_str("no channel can be built"),
        }
    }
}

/// As `Display`, with the status' message: never its metadata, which may hold tokens.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.0.operation)
            .field("target", &self.0.target)
            .field("code", &self.code())
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            Kind::Status(status) => Some(status),
            Kind::Encode(error) | Kind::Decode(error) => Some(error),
            Kind::Transport(error) => Some(error),
            Kind::Invalid(_) => None,
        }
    }
}
