//! What a failed attempt proves: was the call executed, and is it worth another attempt?

use std::{error::Error, time::SystemTime};

use http::{HeaderMap, StatusCode};
use tonic::Code;

use super::pushback::Pushback;
use crate::{
    breaker::BreakerOpen,
    classify::{Classifier, Ending, Failure, Protocol, as_dyn_error, chain, code_name, http_status_text, was_waiting},
};

/// What is known after an attempt. The order of the rows in the module docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It succeeded, or began to.
    Success,
    /// The server has answered, and will answer the same again.
    Final,
    /// It failed, and nothing is known that would speak for another attempt.
    Lost,
    /// There was no connection: nobody has seen the request.
    NotSent,
    /// No handler has seen the request, though there was a connection: the server refused the stream, or the connection
    /// closed while the request was waiting to be sent.
    Refused,
    /// The server, or the way to it, is not there now. The request may have been executed.
    Unavailable,
    /// The attempt took too long. It may still run.
    TimedOut,
    /// The server is overloaded.
    Exhausted,
    /// The server failed by itself.
    Internal,
    /// The invoked app itself has answered that it is unavailable.
    AppUnavailable,
}

/// The result of an attempt, as far as it decides about the next.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) evidence: Evidence,
    pub(super) pushback: Pushback,
    /// Of a failure: the code's name, or the HTTP status.
    pub(super) code: Option<&'static str>,
    /// Of a failure: what the server, or the error, says.
    pub(super) message: Option<String>,
}

/// What daprd answers with UNAVAILABLE although it is no matter of time. (daprd 1.18: no placement service in the
/// configuration; an HTTP app that is called as a gRPC service.)
const PERMANENT: [&str; 2] = ["placement service is not configured", "error reading server preface"];

// ===== impl Verdict =====

impl Verdict {
    pub(super) const fn success() -> Self {
        Self { evidence: Evidence::Success, pushback: Pushback::None, code: None, message: None }
    }

    pub(super) const fn failure(evidence: Evidence, code: &'static str) -> Self {
        Self { evidence, pushback: Pushback::None, code: Some(code), message: None }
    }

    /// Does this result say that the server is well? Then it earns a share of a retry.
    pub(super) fn is_healthy(&self) -> bool {
        matches!(self.evidence, Evidence::Success | Evidence::Final)
    }

    /// Of an HTTP response, which its head decides.
    pub(super) fn of_http(status: StatusCode, headers: &HeaderMap) -> Self {
        let evidence = match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Evidence::Unavailable,
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Evidence::TimedOut,
            StatusCode::TOO_MANY_REQUESTS => Evidence::Exhausted,
            StatusCode::INTERNAL_SERVER_ERROR => Evidence::Internal,
            status if status.is_client_error() || status.is_server_error() => Evidence::Final,
            _ => Evidence::Success,
        };
        if evidence == Evidence::Success {
            return Self::success();
        }
        let pushback = Pushback::read(Protocol::Http, headers, SystemTime::now());
        Self { pushback, ..Self::failure(evidence, http_status_text(status)) }
    }

    /// Of a gRPC response that is over: its head, and its trailers if it had any.
    pub(super) fn of_grpc(classifier: Classifier, head: &HeaderMap, trailers: Option<&HeaderMap>) -> Self {
        let outcome = classifier.finish(Ending::Complete);
        let code = outcome.grpc_code().unwrap_or(Code::Unknown);
        if code == Code::Ok {
            return Self::success();
        }
        let message = outcome.grpc_message().unwrap_or_default();
        let by_app = head.contains_key("dapr-http-status");
        let evidence = match code {
            Code::Unavailable if by_app => Evidence::AppUnavailable,
            Code::Unavailable if PERMANENT.iter().any(|text| message.contains(text)) => Evidence::Final,
            Code::Unavailable => Evidence::Unavailable,
            Code::DeadlineExceeded => Evidence::TimedOut,
            // grpc-go: "received message larger than max", "trying to send message larger than max".
            Code::ResourceExhausted if message.contains("larger than max") => Evidence::Final,
            Code::ResourceExhausted => Evidence::Exhausted,
            Code::Internal => Evidence::Internal,
            _ => Evidence::Final,
        };
        let pushback = Pushback::read(Protocol::Grpc, trailers.unwrap_or(head), SystemTime::now());
        Self { evidence, pushback, code: Some(code_name(code)), message: outcome.grpc_message().map(str::to_owned) }
    }

    /// Of an error that came instead of a response.
    pub(super) fn of_error<E: 'static>(error: &E) -> Self {
        let failure = Failure::of(error);
        let evidence =
            as_dyn_error(error).and_then(|error| chain(error).find_map(of_one)).unwrap_or(match failure.code() {
                Code::Unavailable => Evidence::Unavailable,
                Code::DeadlineExceeded => Evidence::TimedOut,
                _ => Evidence::Lost,
            });
        Self { message: as_dyn_error(error).map(text), ..Self::failure(evidence, code_name(failure.code())) }
    }
}

/// An error and its sources in one line.
fn text(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Does one link of the chain prove something?
fn of_one(error: &(dyn Error + 'static)) -> Option<Evidence> {
    if error.is::<BreakerOpen>() {
        // It will stay open for longer than a call is worth.
        return Some(Evidence::Lost);
    }
    let client = error.downcast_ref::<hyper_util::client::legacy::Error>();
    if error.is::<tonic::ConnectError>() || client.is_some_and(|client| client.is_connect()) {
        return Some(Evidence::NotSent);
    }
    if was_waiting(error) {
        return Some(Evidence::Refused);
    }
    let h2 = error.downcast_ref::<h2::Error>()?;
    // A stream ends by the peer's GOAWAY only if the peer will not handle it (RFC 9113, section 6.8).
    let refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM) && !h2.is_go_away();
    (refused || (h2.is_go_away() && h2.is_remote())).then_some(Evidence::Refused)
}
