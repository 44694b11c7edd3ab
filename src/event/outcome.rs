use std::fmt;

/// What becomes of an event: the answer that daprd understands.
///
/// In axum it is a response: status 200 and `{"status":"SUCCESS"}`.
///
/// ```
/// use tower_dapr::event::Outcome;
///
/// async fn handler() -> Outcome {
///     Outcome::Retry
/// }
/// assert_eq!(Outcome::Retry.as_str(), "RETRY");
/// ```
///
/// **`Retry` alone does not bring the event back.** daprd gives a refused event to the inbound resiliency policy of the
/// pubsub component and, without one, to the component, which may acknowledge it all the same (`pubsub.redis` and
/// `pubsub.in-memory` do).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "the outcome is the answer to Dapr"]
pub enum Outcome {
    /// Done. Also what an answer of 2xx with an empty body means.
    Success,
    /// Not done, try again.
    Retry,
    /// Never to be done: acknowledged with a warning in daprd's log, and sent to the dead letter topic if there is one.
    Drop,
}

impl Outcome {
    /// As on the wire: `SUCCESS`, `RETRY`, `DROP`. daprd compares these with case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Retry => "RETRY",
            Self::Drop => "DROP",
        }
    }

    /// The body of the answer.
    pub(crate) const fn to_json(self) -> &'static str {
        match self {
            Self::Success => r#"{"status":"SUCCESS"}"#,
            Self::Retry => r#"{"status":"RETRY"}"#,
            Self::Drop => r#"{"status":"DROP"}"#,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
