//! daprd's errors: plain ones, and rich ones with details (`dapr/kit:errors/errors.go`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tonic::{Code, Status};
use tonic_types::{BadRequest, ErrorDetail, ErrorInfo, ResourceInfo, StatusExt as _};

const DOMAIN: &str = "dapr.io";

/// daprd cuts what the app said to this length: the values of `ErrorInfo` are limited.
const MAX_DETAIL: usize = 63;

/// A rich error in the making. The `ErrorInfo` comes last on the wire.
pub(super) struct Rich {
    code: Code,
    message: String,
    details: Vec<ErrorDetail>,
    metadata: HashMap<String, String>,
}

// ===== impl Rich =====

impl Rich {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new(), metadata: HashMap::new() }
    }

    pub(super) fn violation(mut self, field: &str) -> Self {
        self.details.push(BadRequest::with_violation(field, self.message.clone()).into());
        self
    }

    pub(super) fn resource(mut self, kind: &str, name: &str, description: &str) -> Self {
        self.details.push(ResourceInfo::new(kind, name, "", description).into());
        self
    }

    pub(super) fn metadata<K, V>(mut self, metadata: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.metadata.extend(metadata.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    pub(super) fn reason(mut self, reason: &str) -> Status {
        self.details.push(ErrorInfo::new(reason, DOMAIN, self.metadata).into());
        Status::with_error_details_vec(self.code, self.message, self.details)
    }
}

/// How an error without details looks over HTTP; the source of its [`Status`].
#[derive(Debug)]
pub(in crate::sidecar) struct HttpFace {
    pub(in crate::sidecar) status: u16,
    pub(in crate::sidecar) error_code: &'static str,
}

impl fmt::Display for HttpFace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.error_code)
    }
}

impl std::error::Error for HttpFace {}

/// An error without details.
pub(super) fn plain(code: Code, http: u16, error_code: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(code, message);
    status.set_source(Arc::new(HttpFace { status: http, error_code }));
    status
}

/// The status of an app's HTTP answer, or of a refusal that daprd expresses as one; `None` for a success.
pub(super) fn of_http(code: u16, detail: &[u8]) -> Option<Status> {
    let grpc = match code {
        200..300 => return None,
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 => Code::Cancelled,
        409 => Code::AlreadyExists,
        429 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    };
    let text = http::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or_default();
    let detail = String::from_utf8_lossy(&detail[..detail.len().min(MAX_DETAIL)]);
    let metadata = [("http.code", code.to_string()), ("http.error_message", detail.into_owned())];
    Some(Rich::new(grpc, text).metadata(metadata).reason(text))
}

/// What daprd's gRPC proxy says to a call that names no app: also to methods and services that it does not know.
pub(super) fn not_proxied() -> Status {
    Status::unknown("failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found")
}
