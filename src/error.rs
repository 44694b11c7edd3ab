use std::{error::Error as StdError, fmt};

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use self::json::JsonError;

mod json;

type BoxError = Box<dyn StdError + Send + Sync>;

/// In the message of daprd to a method that it does not know: it takes the call for one to be passed on to an app.
const UNKNOWN_METHOD: &str = "required metadata dapr-callee-app-id or dapr-app-id not found";

/// What daprd calls UNIMPLEMENTED in calls that it has: a store without transactions, and an operation that is none of a
/// transaction's.
const UNIMPLEMENTED_IN_A_CALL: [&str; 2] =
    ["DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED", "ERR_NOT_SUPPORTED_STATE_OPERATION"];

/// The operation whose answers are another app's.
pub(crate) const INVOKE: &str = "invoke";

/// What went wrong with a call to Dapr.
///
/// Opaque: it is asked, not matched on. `Display` says which operation on which component failed and how; what Dapr itself
/// said is [`message`](Self::message), and the cause is in `source()`. No value and no payload is part of the text, nor of
/// the texts of its sources: JSON that does not fit is told by its place and by what was expected there.
///
/// # Codes
///
/// What daprd 1.18 answers is not always what one expects: an unknown component is `INVALID_ARGUMENT`, a missing secret and
/// a missing job are `INTERNAL`, an unknown app is `INTERNAL`, a broken transaction (a changed etag among others) is
/// `INTERNAL`, and a call that it does not know is `UNKNOWN`. [`dapr_error_code`](Self::dapr_error_code) tells them apart
/// where daprd does.
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
    /// One item of a bulk call failed; this is what the component said.
    Item(String),
    /// A value could not be written as JSON.
    Encode(JsonError),
    /// What came back is not what the caller asked for.
    Decode(JsonError),
    /// A setting or an argument is wrong.
    Invalid(String),
    /// What came back is against the protocol.
    Protocol(&'static str),
    /// The caller's own stream failed.
    Input(BoxError),
    /// The sidecar was not ready in time; this is what it said last.
    NotReady(Option<Error>),
    /// The sidecar says that it is not healthy, or cannot be asked.
    Unhealthy(BoxError),
    /// The channel cannot be built.
    Transport(tonic::transport::Error),
}

impl Error {
    pub(crate) fn status(operation: &'static str, target: &str, status: Status) -> Self {
        Self::new(operation, target, Kind::Status(status))
    }

    pub(crate) fn item(operation: &'static str, target: &str, message: String) -> Self {
        Self::new(operation, target, Kind::Item(message))
    }

    pub(crate) fn encode(operation: &'static str, target: &str, error: &serde_json::Error) -> Self {
        Self::new(operation, target, Kind::Encode(JsonError::new(error)))
    }

    pub(crate) fn decode(operation: &'static str, target: &str, error: &serde_json::Error) -> Self {
        Self::new(operation, target, Kind::Decode(JsonError::new(error)))
    }

    pub(crate) fn invalid(operation: &'static str, target: &str, reason: impl Into<String>) -> Self {
        Self::new(operation, target, Kind::Invalid(reason.into()))
    }

    pub(crate) fn transport(operation: &'static str, target: &str, error: tonic::transport::Error) -> Self {
        Self::new(operation, target, Kind::Transport(error))
    }

    pub(crate) fn protocol(operation: &'static str, target: &str, reason: &'static str) -> Self {
        Self::new(operation, target, Kind::Protocol(reason))
    }

    pub(crate) fn input(operation: &'static str, target: &str, error: BoxError) -> Self {
        Self::new(operation, target, Kind::Input(error))
    }

    pub(crate) fn not_ready(operation: &'static str, target: &str, last: Option<Self>) -> Self {
        Self::new(operation, target, Kind::NotReady(last))
    }

    pub(crate) fn unhealthy(operation: &'static str, target: &str, reason: BoxError) -> Self {
        Self::new(operation, target, Kind::Unhealthy(reason))
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

    /// What Dapr, or the app that was invoked, said. Empty if it said nothing. It may name keys.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.0.kind {
            Kind::Status(status) => status.message(),
            Kind::Item(message) => message,
            _ => "",
        }
    }

    /// The details of the answer (`google.rpc.ErrorInfo`, `ResourceInfo`, `RetryInfo`, `BadRequest`, `Help`). Empty if there
    /// are none, or if they cannot be read.
    ///
    /// ```no_run
    /// # fn example(error: tower_dapr::Error) {
    /// if let Some(resource) = error.details().resource_info() {
    ///     println!("about the {} {}", resource.resource_type, resource.resource_name);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn details(&self) -> ErrorDetails {
        self.as_status().map(StatusExt::get_error_details).unwrap_or_default()
    }

    /// Dapr's own name of the failure, as `DAPR_STATE_NOT_FOUND` or `ERR_STATE_SAVE`: the reason of the `ErrorInfo` in the
    /// [details](Self::details). `None` where Dapr gives none (secrets, locks, actors, crypto) or the app failed.
    #[must_use]
    pub fn dapr_error_code(&self) -> Option<String> {
        // With the status of an invoked app the reason is that status' text.
        if self.http_status().is_some() {
            return None;
        }
        let info = self.as_status()?.get_details_error_info()?;
        (info.domain == "dapr.io").then_some(info.reason)
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

    /// It is there already and may not be replaced: ALREADY_EXISTS.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.code() == Some(Code::AlreadyExists)
    }

    /// A state write was refused because the item has changed: ABORTED. Read it again, then decide. A transaction that was
    /// refused for this reason cannot be told from one that failed for another: daprd says INTERNAL for all.
    #[must_use]
    pub fn is_etag_mismatch(&self) -> bool {
        self.code() == Some(Code::Aborted)
    }

    /// The sidecar, or what stands behind it, cannot be reached now: UNAVAILABLE.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.code() == Some(Code::Unavailable)
    }

    /// Time ran out: DEADLINE_EXCEEDED, or the sidecar was not ready in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.code() == Some(Code::DeadlineExceeded) || matches!(self.0.kind, Kind::NotReady(_))
    }

    /// The API token is missing or wrong: UNAUTHENTICATED, or 401 of an invoked app.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        self.code() == Some(Code::Unauthenticated)
    }

    /// This app may not do that (scopes, access control): PERMISSION_DENIED, or 403 of an invoked app.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.code() == Some(Code::PermissionDenied)
    }

    /// Too much: RESOURCE_EXHAUSTED, as for a message beyond the sidecar's limit (4 MiB unless `--max-body-size` says
    /// otherwise), or OUT_OF_RANGE, for an answer beyond [ours](crate::outbound::Endpoint::max_inbound_message_size).
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        matches!(self.code(), Some(Code::ResourceExhausted | Code::OutOfRange))
    }

    /// The call was given up: CANCELLED, or 408 of an invoked app.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.code() == Some(Code::Cancelled)
    }

    /// The sidecar does not have this call: it is older than what was asked of it, or was built or configured without.
    /// UNIMPLEMENTED, or the UNKNOWN with which daprd answers a method that it does not know. `false` if an app was invoked,
    /// whose answer it may be, and if the call is there but the state store has no transactions.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        let Some(status) = self.as_status().filter(|_| self.0.operation != INVOKE) else { return false };
        match status.code() {
            Code::Unimplemented => {
                let code = self.dapr_error_code();
                self.http_status().is_none()
                    && !code.is_some_and(|code| UNIMPLEMENTED_IN_A_CALL.contains(&code.as_str()))
            }
            code => code == Code::Unknown && status.message().contains(UNKNOWN_METHOD),
        }
    }

    /// Is it daprd that refused the API token, and not the app behind it that refused its caller?
    fn is_token_refused(&self) -> bool {
        // What daprd says is fixed (`dapr/dapr:pkg/api/grpc/auth.go`); an app's 401 has the same text, and its status.
        self.is_unauthenticated() && self.message() == "Unauthorized" && self.http_status().is_none()
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
            Kind::Status(status) => {
                f.write_str(crate::classify::code_name(status.code()))?;
                if self.is_token_refused() {
                    f.write_str(": `DAPR_API_TOKEN` is not the token of this sidecar")?;
                } else if self.is_unsupported() {
                    f.write_str(": the sidecar does not have this call (is it another version?)")?;
                }
                Ok(())
            }
            Kind::Item(_) => f.write_str("an item of a bulk call failed"),
            Kind::Encode(_) => f.write_str("the value cannot be written as JSON"),
            Kind::Decode(_) => f.write_str("the answer is not of the type that was asked for"),
            Kind::Invalid(reason) => f.write_str(reason),
            Kind::Protocol(reason) => f.write_str(reason),
            Kind::Input(_) => f.write_str("the stream to be sent failed"),
            Kind::NotReady(_) => f.write_str("it was not ready in time"),
            Kind::Unhealthy(_) => f.write_str("it is not healthy"),
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
            Kind::Input(error) | Kind::Unhealthy(error) => Some(&**error),
            Kind::NotReady(last) => last.as_ref().map(|last| last as _),
            Kind::Item(_) | Kind::Invalid(_) | Kind::Protocol(_) => None,
        }
    }
}
