use std::{env, time::Duration};

use tower_layer::Layer;

use super::WithDeadline;
use crate::Error;

/// Ends calls that are not over in time. See the [module docs](crate::deadline) for examples.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    pub(super) timeout: Option<Duration>,
    pub(super) scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Call,
    Attempt,
}

impl DeadlineLayer {
    /// For the whole call: belongs outside of the retry layer. `None`: only what callers ask for themselves, by
    /// `grpc-timeout` (tonic's `Request::set_timeout`) or a [`Deadline`](super::Deadline), is enforced.
    #[must_use]
    pub fn per_call(timeout: impl Into<Option<Duration>>) -> Self {
        Self { timeout: timeout.into(), scope: Scope::Call }
    }

    /// For each attempt: belongs inside of the retry layer. The call's own deadline, if that is earlier, counts.
    #[must_use]
    pub const fn per_attempt(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), scope: Scope::Attempt }
    }

    /// As [`per_call`](Self::per_call), by the environment: `DAPR_API_TIMEOUT_SECONDS`, a positive number of seconds. Unset
    /// or empty: `None`.
    ///
    /// # Errors
    ///
    /// If the variable holds anything else.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars(|name| env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), out of other variables than the process'.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        const NAME: &str = "DAPR_API_TIMEOUT_SECONDS";
        let Some(value) = var(NAME).filter(|value| !value.trim().is_empty()) else { return Ok(Self::per_call(None)) };
        match value.trim().parse::<u32>() {
            Ok(seconds) if seconds > 0 => Ok(Self::per_call(Duration::from_secs(seconds.into()))),
            _ => Err(Error::invalid("read timeout", NAME, "it is not a positive number of seconds")),
        }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline::new(inner, *self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::DeadlineLayer;

    #[test]
    fn the_environment_sets_the_timeout() {
        let read = |value: Option<&str>| {
            DeadlineLayer::from_vars(|name| {
                assert_eq!(name, "DAPR_API_TIMEOUT_SECONDS");
                value.map(str::to_owned)
            })
            .map(|layer| layer.timeout)
        };
        assert_eq!(read(None).unwrap(), None);
        assert_eq!(read(Some("")).unwrap(), None);
        assert_eq!(read(Some(" 7 ")).unwrap(), Some(Duration::from_secs(7)));
        for value in ["0", "-1", "1.5", "7s", "99999999999"] {
            assert!(read(Some(value)).unwrap_err().to_string().contains("DAPR_API_TIMEOUT_SECONDS"), "{value}");
        }
    }
}
