//! A handler's HTTP answer, read as daprd reads it, and said in gRPC.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    TopicEventBulkResponse, TopicEventBulkResponseEntry, TopicEventResponse,
    topic_event_response::TopicEventResponseStatus as Verdict,
};
use http::{StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use tonic::{Code, Status};

use crate::semconv::capped;

/// The longest answer, daprd's own default for a request.
const MAX_ANSWER: usize = 4 << 20;
/// The most of a refusal's body that becomes a status' message, in bytes.
const MAX_MESSAGE: usize = 1024;

/// What a handler answered.
pub(super) struct Answer {
    status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

#[derive(Deserialize)]
struct Single<'a> {
    #[serde(borrow, default)]
    status: &'a str,
}

#[derive(Deserialize)]
struct Bulk {
    statuses: Vec<BulkEntry>,
}

#[derive(Deserialize)]
struct BulkEntry {
    #[serde(rename = "entryId")]
    entry_id: String,
    #[serde(default)]
    status: String,
}

impl Answer {
    /// Nobody is there to ask.
    pub(super) const fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, content_type: String::new(), body: Bytes::from_static(b"not a path") }
    }

    pub(super) async fn read(response: Response<Body>) -> Result<Self, Status> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|_| Status::internal("the handler's answer broke off or is too long"))?.to_bytes();
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Self { status: head.status, content_type: content_type.unwrap_or_default().to_owned(), body })
    }

    /// The answer of a handler of one event.
    pub(super) fn verdict(&self) -> Result<TopicEventResponse, Status> {
        let verdict = match self.status {
            StatusCode::NOT_FOUND => Verdict::Drop,
            // What daprd cannot read is a success.
            status if status.is_success() => match serde_json::from_slice(&self.body) {
                Ok(Single { status }) => verdict(status).unwrap_or(Verdict::Retry),
                Err(_) => Verdict::Success,
            },
            _ => return Err(self.refused()),
        };
        Ok(TopicEventResponse { status: verdict.into() })
    }

    /// The answer of a handler of a bulk: what it does not name comes again.
    pub(super) fn verdicts(&self, entry_ids: Vec<String>) -> Result<TopicEventBulkResponse, Status> {
        let all = |verdict: Verdict, ids: Vec<String>| {
            ids.into_iter().map(|entry_id| TopicEventBulkResponseEntry { entry_id, status: verdict.into() }).collect()
        };
        let statuses = match self.status {
            StatusCode::NOT_FOUND => all(Verdict::Drop, entry_ids),
            status if status.is_success() => match serde_json::from_slice::<Bulk>(&self.body) {
                Ok(bulk) => bulk.statuses.into_iter().map(BulkEntry::into_proto).collect(),
                Err(_) => all(Verdict::Retry, entry_ids),
            },
            _ => return Err(self.refused()),
        };
        Ok(TopicEventBulkResponse { statuses })
    }

    /// The answer of any other handler: 2xx, or an error.
    pub(super) fn done(self) -> Result<Self, Status> {
        if self.status.is_success() { Ok(self) } else { Err(Status::new(code(self.status), self.message())) }
    }

    /// daprd takes UNIMPLEMENTED for "there is no such handler", and the event is gone.
    fn refused(&self) -> Status {
        let code = match code(self.status) {
            Code::Unimplemented => Code::Unknown,
            code => code,
        };
        Status::new(code, self.message())
    }

    fn message(&self) -> String {
        match std::str::from_utf8(&self.body) {
            Ok(text) if !text.is_empty() => capped(text, MAX_MESSAGE).to_owned(),
            _ => format!("the handler answered {}", self.status.as_u16()),
        }
    }
}

impl BulkEntry {
    fn into_proto(self) -> TopicEventBulkResponseEntry {
        let status = verdict(&self.status).filter(|_| !self.status.is_empty()).unwrap_or(Verdict::Retry);
        TopicEventBulkResponseEntry { entry_id: self.entry_id, status: status.into() }
    }
}

/// Compared with case, as daprd does.
fn verdict(status: &str) -> Option<Verdict> {
    match status {
        "" | "SUCCESS" => Some(Verdict::Success),
        "RETRY" => Some(Verdict::Retry),
        "DROP" => Some(Verdict::Drop),
        _ => None,
    }
}

/// The code that says what this status says. Not that of a proxy's answer, which the mapping in gRPC's documentation is
/// for: this is the app's own.
fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 413 | 415 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        412 => Code::FailedPrecondition,
        429 => Code::ResourceExhausted,
        500 => Code::Internal,
        405 | 501 => Code::Unimplemented,
        502 | 503 => Code::Unavailable,
        _ => Code::Unknown,
    }
}
