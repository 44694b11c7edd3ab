use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE, response};
use serde::Deserialize;
use tonic::Code;

use super::{Backoff, Budget, RetryPolicy};
use crate::{
    classify::{Protocol, is_server_error},
    event::Limits,
    rpc::{Rpc, Streaming},
};

/// The longest response body that a verdict may look at, in bytes.
pub(super) const MAX_VERDICT: usize = 1024;

/// Retries inside the app: how often and how long a delivery that was refused is handed to its handler again.
///
/// See [Inbound](crate::retry#inbound) for what this does to ordering, to the broker's patience and to shutdown.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::retry::InboundRetry;
///
/// let policy = InboundRetry::new()
///     .with_max_attempts(4)
///     .within(Duration::from_secs(3))
///     // This handler must not run twice.
///     .except("/payments");
/// # let _ = policy;
/// ```
#[derive(Clone)]
pub struct InboundRetry {
    pub(super) policy: RetryPolicy,
    pub(super) within: Duration,
    except: BTreeSet<Box<str>>,
    /// The user's. Else it is that of [`asks_for_retry`].
    verdict: Option<Verdict>,
}

type Verdict = Arc<dyn Fn(&response::Parts, &[u8]) -> bool + Send + Sync>;

impl InboundRetry {
    /// 3 attempts within 5 seconds, waits of up to 100 ms, 200 ms, .., the verdict of [`asks_for_retry`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            policy: RetryPolicy::new().with_max_body(Limits::default().bytes()),
            within: Duration::from_secs(5),
            except: BTreeSet::new(),
            verdict: None,
        }
    }

    /// Runs of the handler per delivery, the first one included. Defaults to 3.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.policy = self.policy.with_max_attempts(attempts);
        self
    }

    /// No attempt starts later than this after the delivery came. A run that has begun is not cut short. Keep it well
    /// below the time after which the broker gives the message to somebody else. Defaults to 5 s.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The waits between attempts. Defaults to [`Backoff::default`].
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.policy = self.policy.with_backoff(backoff);
        self
    }

    /// The budget that retries are taken from. Defaults to one of its own with [`Budget::default`].
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.policy = self.policy.with_budget(budget);
        self
    }

    /// The longest delivery that is kept for another attempt, in bytes: the handler of a longer one runs once. Defaults to
    /// 8 MiB, as [`Limits::bytes`].
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.policy = self.policy.with_max_body(bytes);
        self
    }

    /// Where the random numbers of the waits come from. Defaults to a generator seeded by the operating system.
    #[must_use]
    pub fn with_random(mut self, source: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.policy = self.policy.with_random(source);
        self
    }

    /// Deliveries to this path are never retried here. A request with [`NotIdempotent`](super::NotIdempotent) in its
    /// extensions is not either.
    #[must_use]
    pub fn except(mut self, path: impl Into<Box<str>>) -> Self {
        self.except.insert(path.into());
        self
    }

    /// Decides by the head of a response, and the start of its body, whether the handler is to be run again. Defaults to
    /// [`asks_for_retry`].
    ///
    /// The body is there if it is JSON of at most 1 KiB, or the first frame of a gRPC answer; else it is empty. What a
    /// handler's answer carries in its extensions is in the head's. Of gRPC it is asked about what the sidecar calls
    /// (`AppCallback`), bindings, jobs and invocations too, and about no service of the app's own.
    #[must_use]
    pub fn with_verdict(mut self, verdict: impl Fn(&response::Parts, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.verdict = Some(Arc::new(verdict));
        self
    }

    pub(super) fn covers(&self, path: &str) -> bool {
        self.except.is_empty() || !self.except.contains(path)
    }

    /// Can an answer to this call over gRPC ask for another run? By default that to an event only; to a verdict of the
    /// user's, that to any call of the sidecar's. Those of the app's own services have a meaning that is not known
    /// here.
    pub(super) fn covers_rpc(&self, rpc: &Rpc) -> bool {
        rpc.service().starts_with("dapr.proto.runtime.v1.AppCallback")
            && rpc.streaming() == Streaming::Unary
            && (self.verdict.is_some() || rpc.method() == "OnTopicEvent")
    }

    pub(super) fn asks<B>(&self, response: &mut Response<B>, body: &[u8]) -> bool {
        // Lent to the verdict as what it can be shown as, and put back.
        let (head, ()) = Response::new(()).into_parts();
        let head = swap_head(response, head);
        let asks = match &self.verdict {
            Some(verdict) => verdict(&head, body),
            None => asks_for_retry(&head, body),
        };
        swap_head(response, head);
        asks
    }
}

impl Default for InboundRetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InboundRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundRetry")
            .field("policy", &self.policy)
            .field("within", &self.within)
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}

/// Does a subscriber's answer ask for the same event again?
///
/// * HTTP: a 5xx status, or a 2xx with the JSON body `{"status":"RETRY"}`.
/// * gRPC `OnTopicEvent`: `TopicEventResponse { status: RETRY }`, or one of the statuses that are a server's own fault
///   in the head: `UNAVAILABLE`, `INTERNAL`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `DATA_LOSS`.
///
/// What a bulk delivery's answer says of its entries never does: what succeeded of it would be done again.
#[must_use]
pub fn asks_for_retry(head: &response::Parts, body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        status: std::borrow::Cow<'a, str>,
    }

    match Protocol::of(&head.headers) {
        Protocol::Grpc => match head.headers.get("grpc-status") {
            Some(code) => {
                let code = Code::from_bytes(code.as_bytes());
                // There is no handler to run again.
                is_server_error(code) && code != Code::Unimplemented
            }
            // One message, not compressed, with field 1 (a number) = 1.
            None => body == b"\0\0\0\0\x02\x08\x01",
        },
        Protocol::Http if head.status.is_server_error() => true,
        Protocol::Http if head.status.is_success() => {
            serde_json::from_slice(body).is_ok_and(|answer: Answer<'_>| answer.status == "RETRY")
        }
        Protocol::Http => false,
    }
}

/// Puts this head on a response, and gives what it had.
fn swap_head<B>(response: &mut Response<B>, mut head: response::Parts) -> response::Parts {
    std::mem::swap(response.status_mut(), &mut head.status);
    std::mem::swap(response.version_mut(), &mut head.version);
    std::mem::swap(response.headers_mut(), &mut head.headers);
    std::mem::swap(response.extensions_mut(), &mut head.extensions);
    head
}

/// Could the body of this response hold a verdict?
pub(super) fn may_hold_verdict(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_json = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/json");
    status.is_success() && headers.get(CONTENT_TYPE).is_some_and(is_json)
}

#[cfg(test)]
mod tests {
    use http::{Response, response};

    use super::{asks_for_retry, may_hold_verdict};

    fn head(status: u16, content_type: &str) -> response::Parts {
        Response::builder().status(status).header("content-type", content_type).body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_answer_decides() {
        let json = "application/json; charset=utf-8";
        for (status, body, again) in [
            (200, r#"{"status":"RETRY"}"#, true),
            (200, r#"{"status":"RETRY","more":1}"#, true),
            (200, r#"{"status":"SUCCESS"}"#, false),
            (200, r#"{"status":"DROP"}"#, false),
            (200, r#"{"status":1}"#, false),
            (200, r#"{"statuses":[{"entryId":"1","status":"RETRY"}]}"#, false),
            (200, "", false),
            (404, r#"{"status":"RETRY"}"#, false),
            (500, "", true),
            (503, "no", true),
        ] {
            assert_eq!(asks_for_retry(&head(status, json), body.as_bytes()), again, "{status} {body}");
        }
        assert!(asks_for_retry(&head(200, "application/grpc"), b"\0\0\0\0\x02\x08\x01"));
        assert!(!asks_for_retry(&head(200, "application/grpc"), b"\0\0\0\0\x02\x08\x02"));
        assert!(!asks_for_retry(&head(200, "application/grpc"), b"\0\0\0\0\0"));
        for code in 0..17 {
            let mut head = head(200, "application/grpc");
            head.headers.insert("grpc-status", code.into());
            // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
            assert_eq!(asks_for_retry(&head, b""), [2, 4, 13, 14, 15].contains(&code), "{code}");
        }
    }

    #[test]
    fn only_a_json_answer_is_read() {
        let may = |status, content_type| {
            let head = head(status, content_type);
            may_hold_verdict(head.status, &head.headers)
        };
        assert!(may(200, "application/json"));
        assert!(!may(500, "application/json"));
        assert!(!may(200, "text/plain"));
    }
}
