//! Errors of the gRPC API as those of the HTTP API (`dapr/kit:errors`, `dapr/dapr:pkg/messages`).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

use super::respond;
use crate::sidecar::app::App;
use crate::sidecar::grpc::HttpFace;

/// An error of the HTTP API.
pub(super) struct Refusal(Box<Content>);

struct Content {
    status: StatusCode,
    error_code: String,
    message: String,
    details: Vec<Value>,
    headers: HeaderMap,
}

/// Reasons with another name in the older form of the errors, and with a status of their own.
const REASONS: [(&str, u16, &str); 14] = [
    ("DAPR_STATE_NOT_FOUND", 400, "ERR_STATE_STORE_NOT_FOUND"),
    ("DAPR_STATE_NOT_CONFIGURED", 500, "ERR_STATE_STORE_NOT_CONFIGURED"),
    ("DAPR_STATE_ILLEGAL_KEY", 400, "ERR_MALFORMED_REQUEST"),
    ("DAPR_STATE_QUERYING_NOT_SUPPORTED", 500, "ERR_STATE_STORE_NOT_SUPPORTED"),
    ("DAPR_PUBSUB_NAME_EMPTY", 404, "ERR_PUBSUB_EMPTY"),
    ("DAPR_PUBSUB_NOT_FOUND", 404, "ERR_PUBSUB_NOT_FOUND"),
    ("DAPR_PUBSUB_TOPIC_NAME_EMPTY", 404, "ERR_TOPIC_NAME_EMPTY"),
    ("DAPR_PUBSUB_METADATA_DESERIALIZATION", 400, "ERR_PUBSUB_REQUEST_METADATA"),
    ("DAPR_PUBSUB_CLOUD_EVENT_CREATION", 500, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
    ("DAPR_PUBSUB_MARSHAL_ENVELOPE", 400, "ERR_PUBSUB_EVENTS_SER"),
    ("DAPR_PUBSUB_MARSHAL_EVENTS", 400, "ERR_PUBSUB_EVENTS_SER"),
    ("ERR_NOT_SUPPORTED_STATE_OPERATION", 400, "ERR_NOT_SUPPORTED_STATE_OPERATION"),
    ("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", 500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"),
    ("ERR_CONFIGURATION_STORE_NOT_FOUND", 400, "ERR_CONFIGURATION_STORE_NOT_FOUND"),
];

// ===== impl Refusal =====

impl Refusal {
    pub(super) fn new(status: StatusCode, error_code: &str, message: &str) -> Self {
        let (error_code, message) = (error_code.to_owned(), message.to_owned());
        Self(Box::new(Content { status, error_code, message, details: Vec::new(), headers: HeaderMap::new() }))
    }

    pub(super) fn malformed(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ERR_MALFORMED_REQUEST", message)
    }

    /// A body that is no JSON, or not the right one.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        if error.is_eof() { Self::malformed("unexpected EOF") } else { Self::malformed(&error.to_string()) }
    }

    /// The error of a call of the gRPC API.
    pub(super) fn of_status(app: &App, status: &Status) -> Self {
        let source = std::error::Error::source(status).and_then(|source| source.downcast_ref::<HttpFace>());
        if let Some(face) = source {
            let code = StatusCode::from_u16(face.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Self::new(code, face.error_code, status.message());
        }
        let details = status.get_error_details_vec();
        let reason = details.iter().find_map(|detail| match detail {
            ErrorDetail::ErrorInfo(info) => Some(info.reason.clone()),
            _ => None,
        });
        let reason = reason.unwrap_or_else(|| "ERR_INTERNAL".to_owned());
        let known = REASONS.iter().find(|(name, ..)| *name == reason);
        let code = known.map_or_else(|| of_code(status.code()), |(_, code, _)| *code);
        let error_code = known.map_or(reason.as_str(), |(.., error_code)| error_code);
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut refusal = Self::new(code, error_code, status.message());
        refusal.0.headers = status.metadata().clone().into_headers();
        // The older errors have none.
        if reason.starts_with("DAPR_") {
            refusal.0.details = details.into_iter().map(|detail| detail_of(app, detail)).collect();
        }
        refusal
    }

    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let Content { status, error_code, message, details, headers } = *self.0;
        let mut body = Map::new();
        body.insert("errorCode".to_owned(), error_code.into());
        body.insert("message".to_owned(), message.into());
        // The newer errors, which have details, end with the newline of Go's encoder.
        let end = if details.is_empty() { "" } else { "\n" };
        if !details.is_empty() {
            body.insert("details".to_owned(), details.into());
        }
        let body = format!("{}{end}", Value::Object(body));
        let mut response = respond(status, Some("application/json"), body.into());
        response.headers_mut().extend(headers);
        response
    }
}

/// `pkg/messaging/v1/util.go`, `HTTPStatusFromCode`.
pub(super) const fn of_code(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Cancelled => 408,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

fn detail_of(app: &App, detail: ErrorDetail) -> Value {
    match detail {
        ErrorDetail::ErrorInfo(mut info) => {
            // The gRPC API does not tell.
            if info.reason.starts_with("DAPR_STATE_NOT_") {
                info.metadata.insert("appID".to_owned(), app.id.clone());
            }
            json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "domain": info.domain,
                "metadata": info.metadata,
                "reason": info.reason,
            })
        }
        ErrorDetail::ResourceInfo(resource) => json!({
            "@type": "type.googleapis.com/google.rpc.ResourceInfo",
            "description": resource.description,
            "owner": resource.owner,
            "resource_name": resource.resource_name,
            "resource_type": resource.resource_type,
        }),
        ErrorDetail::BadRequest(bad) => {
            let violations = bad.field_violations.into_iter();
            let violations = violations.map(|one| json!({"field": one.field, "description": one.description}));
            json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": violations.collect::<Vec<_>>(),
            })
        }
        _ => Value::Null,
    }
}

/// What the middleware says, before there is an API.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = respond(status, Some("text/plain; charset=utf-8"), Bytes::copy_from_slice(text.as_bytes()));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
