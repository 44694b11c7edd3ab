use std::{error::Error, fmt, sync::Arc, time::Duration};

use tonic::{Status, metadata::MetadataValue};

/// The call was not sent: its target has failed too often.
///
/// tonic's generated clients make `Code::Unavailable` of it, with `retry-after` (whole seconds, rounded up) in the status'
/// metadata and this error in its `source()`. Callers of plain HTTP find it by `downcast_ref`.
pub struct BreakerOpen {
    target: Arc<str>,
    retry_after: Duration,
    status: Status,
}

impl BreakerOpen {
    pub(super) fn new(target: Arc<str>, retry_after: Duration) -> Self {
        let mut status = Status::unavailable(format!("circuit breaker of {} is open", target.escape_debug()));
        let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
        status.metadata_mut().insert("retry-after", MetadataValue::from(seconds));
        Self { target, retry_after, status }
    }

    /// The component, app id, or whatever the breaker is for.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// When the next call may try. Zero if one is trying now.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for BreakerOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker of {} is open", self.target.escape_debug())
    }
}

impl fmt::Debug for BreakerOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerOpen").field("target", &self.target).field("retry_after", &self.retry_after).finish()
    }
}

impl Error for BreakerOpen {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.status)
    }
}
