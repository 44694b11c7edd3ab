use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderValue, request};
use tokio::time::Instant;

use super::{
    LastFailure,
    header::{GRPC_TIMEOUT, parse_grpc_timeout},
};

/// Ten years: later is never, and does not overflow a clock.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The time by which a call must be over, all its attempts and waits included.
///
/// Travels in the request's extensions from layer to layer. [`DeadlineLayer`](super::DeadlineLayer) puts it there;
/// [`Retry`](crate::retry::Retry) starts no attempt after it. A caller may put one in as well, and clones of it into
/// other calls: the earlier one counts.
///
/// ```
/// use std::time::Duration;
/// use tower_dapr::deadline::Deadline;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut request = tonic::Request::new(());
/// request.extensions_mut().insert(Deadline::after(Duration::from_secs(2)));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Deadline {
    at: Instant,
    /// Of the call that a layer made it for. A caller's own has none: several calls may share it.
    story: Option<Arc<Mutex<Story>>>,
}

/// What the call's attempts came to, for the one who has to report that time ran out.
#[derive(Debug, Default)]
struct Story {
    last: Option<LastFailure>,
    gave_up: bool,
}

impl Deadline {
    /// At this point of tokio's clock.
    #[must_use]
    pub fn at(at: Instant) -> Self {
        Self { at, story: None }
    }

    /// After this time, from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self::at(Instant::now() + time.min(FAR))
    }

    /// Its point on tokio's clock.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.at
    }

    /// The time that is left; zero once it is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// That of a request: the earlier of its extension and its header `grpc-timeout`.
    pub(crate) fn of(request: &request::Parts) -> Option<Self> {
        Self::of_parts(request.extensions.get::<Self>(), request.headers.get(GRPC_TIMEOUT))
    }

    /// The earlier of an extension and a header `grpc-timeout`.
    pub(crate) fn of_parts(carried: Option<&Self>, asked: Option<&HeaderValue>) -> Option<Self> {
        match (carried, asked.and_then(parse_grpc_timeout)) {
            (None, None) => None,
            (Some(carried), None) => Some(carried.clone()),
            (carried, Some(timeout)) => Some(Self::earlier(carried, timeout)),
        }
    }

    /// The earlier of a carried one and a timeout from now.
    pub(super) fn earlier(carried: Option<&Self>, timeout: Duration) -> Self {
        let at = Instant::now() + timeout.min(FAR);
        match carried {
            Some(carried) if carried.at <= at => carried.clone(),
            // The story is one, whoever ends it.
            Some(carried) => Self { at, story: carried.story.clone() },
            None => Self::at(at),
        }
    }

    /// The same point of time, for one call: what is told by the layers inside, nobody else hears.
    pub(super) fn of_one_call(&self) -> Self {
        Self { at: self.at, story: Some(Arc::default()) }
    }

    /// Is there time for something after this wait?
    pub(crate) fn leaves(&self, wait: Duration) -> bool {
        Instant::now().checked_add(wait).is_some_and(|then| then < self.at)
    }

    /// An attempt failed.
    pub(crate) fn note(&self, code: &'static str, message: Option<&str>) {
        if let Some(mut story) = self.story() {
            story.last = Some(LastFailure::new(code, message));
        }
    }

    /// There was no time left for another attempt.
    pub(crate) fn give_up(&self) {
        if let Some(mut story) = self.story() {
            story.gave_up = true;
        }
    }

    pub(super) fn was_given_up(&self) -> bool {
        self.story().is_some_and(|story| story.gave_up)
    }

    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.story().and_then(|story| story.last.clone())
    }

    fn story(&self) -> Option<MutexGuard<'_, Story>> {
        self.story.as_ref().map(|story| story.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
