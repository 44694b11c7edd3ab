use std::{env, fmt, time::Duration};

use http::Method;

use super::{Backoff, Budget, random::Random};
use crate::{Error, rpc::Safety};

/// Attempts of a call when nothing else is said, the first one included.
const DEFAULT_ATTEMPTS: u32 = 3;

/// What may be sent again, how often, and after which wait. See the [module docs](crate::retry) for the rules.
///
/// ```
/// use std::time::Duration;
/// use http::Method;
/// use tower_dapr::{retry::{Backoff, RetryPolicy}, rpc::Safety};
///
/// let policy = RetryPolicy::new()
///     .with_max_attempts(5)
///     .with_backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(2)))
///     // Whoever subscribes to us can live with a message that comes twice.
///     .at_least_once_publish()
///     // The apps that we invoke take these as HTTP means them.
///     .invoke_verbs([Method::GET, Method::PUT])
///     // This app's method may be repeated, although its path does not show it.
///     .with_safety("/shop.Stock/Level", Safety::Read);
/// # let _ = policy;
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    pub(super) limit: Limit,
    pub(super) backoff: Backoff,
    pub(super) budget: Option<Budget>,
    pub(super) max_body: usize,
    pub(super) max_pushback: Duration,
    pub(super) strict_a6: bool,
    pub(super) at_least_once: bool,
    pub(super) conditional_writes: bool,
    pub(super) internal_of_reads: bool,
    pub(super) app_unavailable: bool,
    pub(super) invoke_verbs: Vec<Method>,
    methods: Vec<(Box<str>, Safety)>,
    pub(super) random: Random,
}

/// How many attempts a call may have, the first one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Attempts(u32),
    UntilDeadline,
}

impl RetryPolicy {
    /// 3 attempts, the default [`Backoff`] and [`Budget`], nothing sent twice that could have two effects.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limit: Limit::Attempts(DEFAULT_ATTEMPTS),
            backoff: Backoff::default(),
            budget: Some(Budget::default()),
            max_body: 256 * 1024,
            max_pushback: Duration::from_secs(30),
            strict_a6: false,
            at_least_once: false,
            conditional_writes: false,
            internal_of_reads: false,
            app_unavailable: false,
            invoke_verbs: Vec::new(),
            methods: Vec::new(),
            random: Random::seeded(),
        }
    }

    /// Reads the environment: `DAPR_API_MAX_RETRIES`, as Dapr's other SDKs do. `0` turns retries off, `-1` repeats until
    /// the call's deadline, `n` allows that many retries. Unset or empty: as [`new`](Self::new).
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
        const NAME: &str = "DAPR_API_MAX_RETRIES";
        let policy = Self::new();
        let Some(value) = var(NAME).filter(|value| !value.trim().is_empty()) else { return Ok(policy) };
        match value.trim().parse::<i64>() {
            Ok(-1) => Ok(policy.until_deadline()),
            Ok(retries) if (0..i64::from(u32::MAX)).contains(&retries) => {
                Ok(policy.with_max_attempts(u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1)))
            }
            _ => Err(Error::invalid("read retry policy", NAME, "it is not -1, 0 or a positive number")),
        }
    }

    /// Attempts per call, the first one included: 1 turns retries off, and so does 0. Defaults to 3.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.limit = Limit::Attempts(attempts.max(1));
        self
    }

    /// Repeats until the call's deadline. A call that has none keeps to 3 attempts: it would never end.
    #[must_use]
    pub fn until_deadline(mut self) -> Self {
        self.limit = Limit::UntilDeadline;
        self
    }

    /// The waits between attempts. Defaults to [`Backoff::default`].
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The budget that retries are taken from; clones share it. Defaults to one of its own with [`Budget::default`].
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Without a budget: when the sidecar is down, it gets every call as often as the policy allows. For tests.
    #[must_use]
    pub fn without_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// The longest request body that is remembered, in bytes. A longer one is sent once. Defaults to 256 KiB.
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// How long a server may ask to wait (`grpc-retry-pushback-ms`, `RetryInfo`, `Retry-After`). If it asks for longer,
    /// the failure goes to the caller at once: coming back earlier than asked is not an option. Defaults to 30 s.
    #[must_use]
    pub fn with_max_pushback(mut self, longest: Duration) -> Self {
        self.max_pushback = longest;
        self
    }

    /// Takes gRFC A6 to the letter: a response head ends the attempts, also where it says nothing. With daprd this means
    /// that next to no failure is tried again: its heads always come before its status. Defaults to `false`.
    #[must_use]
    pub fn with_strict_a6(mut self, strict: bool) -> Self {
        self.strict_a6 = strict;
        self
    }

    /// Publishes again when it is not known whether the first attempt arrived: subscribers may see an event twice, and
    /// under two ids unless the publisher fixed the id (metadata `cloudevent.id`, or a complete CloudEvent).
    #[must_use]
    pub fn at_least_once_publish(mut self) -> Self {
        self.at_least_once = true;
        self
    }

    /// Service invocation over gRPC (`InvokeService`) with one of these HTTP verbs may be repeated. By default none
    /// may: `GET` is what the invoked app makes of it.
    ///
    /// An invocation over plain HTTP is a request like any other: its verb decides, whatever is said here, and those
    /// that HTTP calls safe or idempotent are repeated. [`NotIdempotent`](super::NotIdempotent) and
    /// [`with_safety`](Self::with_safety) say otherwise.
    #[must_use]
    pub fn invoke_verbs(mut self, verbs: impl IntoIterator<Item = Method>) -> Self {
        self.invoke_verbs = verbs.into_iter().collect();
        self
    }

    /// Writes with an etag, first-write, or "do not overwrite" may be repeated. They take effect at most once, but the
    /// answer may be a false conflict: for callers who read again and compare.
    #[must_use]
    pub fn repeat_conditional_writes(mut self) -> Self {
        self.conditional_writes = true;
        self
    }

    /// Reads are repeated on INTERNAL too, which is what daprd makes of nearly every failure of a component.
    #[must_use]
    pub fn repeat_internal_errors_of_reads(mut self) -> Self {
        self.internal_of_reads = true;
        self
    }

    /// Repeats what the *invoked app* has refused with 503, where the call may be repeated at all.
    #[must_use]
    pub fn repeat_app_unavailable(mut self) -> Self {
        self.app_unavailable = true;
        self
    }

    /// How safe it is to repeat the method of this path (`/package.Service/Method`, or an HTTP path without query),
    /// whatever the table and the request say. `Safety::Never` takes it out of retries altogether.
    ///
    /// `Shutdown` stays out, and streams stay streams. For a gRPC method that is none of Dapr's own, any class but
    /// `Safety::Effect` and `Safety::Stream` says also that it is unary.
    #[must_use]
    pub fn with_safety(mut self, path: impl Into<Box<str>>, safety: Safety) -> Self {
        self.methods.push((path.into(), safety));
        self
    }

    /// Where the random numbers of the waits come from. Defaults to a generator seeded by the operating system.
    #[must_use]
    pub fn with_random(mut self, source: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.random = Random::new(source);
        self
    }

    /// What [`with_safety`](Self::with_safety) said last about the path.
    pub(super) fn safety_of(&self, path: &str) -> Option<Safety> {
        self.methods.iter().rev().find(|(method, _)| **method == *path).map(|(_, safety)| *safety)
    }

    pub(super) fn is_off(&self) -> bool {
        self.limit == Limit::Attempts(1)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl Limit {
    /// May there be another attempt after so many?
    pub(super) fn allows(self, attempts: u32, has_deadline: bool) -> bool {
        match self {
            Self::Attempts(max) => attempts < max,
            Self::UntilDeadline => has_deadline || attempts < DEFAULT_ATTEMPTS,
        }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("limit", &self.limit)
            .field("backoff", &self.backoff)
            .field("budget", &self.budget)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, RetryPolicy};

    #[test]
    fn the_environment_sets_the_number_of_attempts() {
        let read = |value: Option<&str>| {
            RetryPolicy::from_vars(|name| {
                assert_eq!(name, "DAPR_API_MAX_RETRIES");
                value.map(str::to_owned)
            })
            .map(|policy| policy.limit)
        };
        for (value, limit) in [
            (None, Limit::Attempts(3)),
            (Some(" "), Limit::Attempts(3)),
            (Some("0"), Limit::Attempts(1)),
            (Some("4"), Limit::Attempts(5)),
            (Some(" -1 "), Limit::UntilDeadline),
        ] {
            assert_eq!(read(value).unwrap(), limit, "{value:?}");
        }
        for value in ["-2", "x", "1.5", "99999999999"] {
            assert!(read(Some(value)).unwrap_err().to_string().contains("DAPR_API_MAX_RETRIES"), "{value}");
        }
    }

    #[test]
    fn a_call_without_a_deadline_comes_to_an_end() {
        assert!(Limit::UntilDeadline.allows(1000, true));
        assert!(Limit::UntilDeadline.allows(2, false));
        assert!(!Limit::UntilDeadline.allows(3, false));
    }
}
