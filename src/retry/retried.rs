use http::request;

/// In a request's extensions, put there by [`Retry`](super::Retry): this is not the call's first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retried {
    pub(super) retry: u32,
}

impl Retried {
    /// 1 for the first retry.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.retry
    }
}

/// Is this request a retry? As a filter of a [`TraceLayer`](crate::trace::TraceLayer) inside of the retry layer it gives
/// retries a span of their own, and leaves the first attempt to the span of the call.
///
/// ```
/// use tower_dapr::{retry, trace::TraceLayer};
///
/// let attempts = TraceLayer::client().with_filter(retry::is_retry);
/// # let _ = attempts;
/// ```
#[must_use]
pub fn is_retry(request: &request::Parts) -> bool {
    request.extensions.get::<Retried>().is_some()
}
