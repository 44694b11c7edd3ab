use http::StatusCode;
use tonic::Code;

/// The canonical name of a gRPC status code, as OpenTelemetry's `rpc.response.status_code` wants it: `"NOT_FOUND"`.
///
/// tonic's own `Debug` and `Display` of [`Code`] have other forms (`NotFound`, `Some requested entity was not found`).
///
/// ```
/// assert_eq!(tower_dapr::classify::code_name(tonic::Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
/// ```
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// An HTTP status code as static text (`"503"`), so that it can become an attribute without an allocation.
///
/// ```
/// use http::StatusCode;
/// assert_eq!(tower_dapr::classify::http_status_text(StatusCode::BAD_GATEWAY), "502");
/// ```
#[must_use]
pub fn http_status_text(status: StatusCode) -> &'static str {
    let at = (usize::from(status.as_u16()) - 100) * 3;
    std::str::from_utf8(&DIGITS[at..at + 3]).expect("the table holds ASCII digits only")
}

/// `100101102..999`: three digits for every code that [`StatusCode`] can hold.
static DIGITS: [u8; 2700] = {
    let mut digits = [0; 2700];
    let mut code = 100;
    while code < 1000 {
        let at = (code - 100) * 3;
        digits[at] = b'0' + (code / 100) as u8;
        digits[at + 1] = b'0' + (code / 10 % 10) as u8;
        digits[at + 2] = b'0' + (code % 10) as u8;
        code += 1;
    }
    digits
};

/// What an HTTP status means for a gRPC call that carries no `grpc-status`.
/// Source: gRPC, *HTTP to gRPC Status Code Mapping*; a `200` without a status is `UNKNOWN`.
pub(super) fn code_of_http_status(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Does the server side of a gRPC call count this code as its own error?
/// Source: OpenTelemetry semantic conventions 1.44, *gRPC*: all other codes blame the caller.
pub(crate) fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
