use std::time::{Duration, SystemTime};

use dapr::dapr::proto::common::v1::{
    JobFailurePolicy, JobFailurePolicyConstant, JobFailurePolicyDrop, job_failure_policy::Policy,
};
use prost_types::Timestamp;

/// When, or how often, as Dapr's actors and jobs are told: a duration, a point in time, or a text of Dapr's own (a Go
/// duration as `1h30m`, an ISO 8601 period as `R4/PT2S`, an RFC 3339 time), which Dapr checks.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::outbound::Timing;
///
/// assert_eq!(Timing::from(Duration::from_millis(1500)).as_str(), "1500ms");
/// assert_eq!(Timing::from("@daily").as_str(), "@daily");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing(String);

impl Timing {
    /// As Dapr is told.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl From<Duration> for Timing {
    fn from(duration: Duration) -> Self {
        let is_whole_millis = duration.subsec_nanos().is_multiple_of(1_000_000);
        Self(if is_whole_millis { format!("{}ms", duration.as_millis()) } else { format!("{}ns", duration.as_nanos()) })
    }
}

impl From<SystemTime> for Timing {
    fn from(time: SystemTime) -> Self {
        Self(Timestamp::from(time).to_string())
    }
}

impl From<String> for Timing {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Timing {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What Dapr's scheduler does when a job or a reminder fails. Its default is three more attempts, a second apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Forgets this run.
    Drop,
    /// Tries again after each interval.
    Constant {
        /// The time between two attempts.
        interval: Duration,
        /// How often, at most; `None` for ever.
        max_retries: Option<u32>,
    },
}

impl From<FailurePolicy> for JobFailurePolicy {
    fn from(policy: FailurePolicy) -> Self {
        let policy = match policy {
            FailurePolicy::Drop => Policy::Drop(JobFailurePolicyDrop {}),
            FailurePolicy::Constant { interval, max_retries } => Policy::Constant(JobFailurePolicyConstant {
                // Longer than the protocol can tell is never.
                interval: Some(interval.try_into().unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })),
                max_retries,
            }),
        };
        Self { policy: Some(policy) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::Timing;

    #[test]
    fn times_are_written_as_dapr_reads_them() {
        for (timing, text) in [
            (Timing::from(Duration::ZERO), "0ms"),
            (Timing::from(Duration::from_secs(90)), "90000ms"),
            (Timing::from(Duration::from_nanos(1_500)), "1500ns"),
            (Timing::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1)), "1970-01-01T00:00:01Z"),
            (Timing::from("R4/PT2S"), "R4/PT2S"),
        ] {
            assert_eq!(timing.as_str(), text);
        }
    }
}
