use http::StatusCode;

use super::future::Misfits;
use crate::{
    classify::http_status_text,
    event::{Outcome, Tally},
    observe::{End, ResponseHead},
};

/// What a response says of the events in its request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Verdict {
    said: Option<Outcome>,
    tally: Option<Tally>,
}

impl Verdict {
    pub(super) fn of(head: &ResponseHead<'_>) -> Self {
        let tally: Option<Tally> = head.extensions.get().copied();
        Self { said: tally.map(Tally::worst).or_else(|| head.extensions.get().copied()), tally }
    }

    /// For spans and metrics: what went wrong.
    pub(super) fn error_type(self, end: &End<'_>) -> Option<&'static str> {
        match self.said {
            Some(outcome @ (Outcome::Retry | Outcome::Drop)) => Some(outcome.as_str()),
            _ => {
                let refused = end.outcome.http_status().filter(|status| !status.is_success());
                refused.map(http_status_text).or_else(|| end.outcome.error_type())
            }
        }
    }

    /// How many of `count` events came to what, as daprd reads it. Misfits are answered apart from the others.
    pub(super) fn tally(self, count: u64, misfits: Option<&Misfits>, end: &End<'_>) -> Tally {
        self.tally.unwrap_or_else(|| {
            let is_success = end.outcome.http_status().is_some_and(|status| status.is_success());
            let mut tally = misfits.filter(|_| is_success).map(Misfits::tally).unwrap_or_default();
            let Tally { success, retry, drop } = tally;
            tally.add(self.outcome(end), count.saturating_sub(success + retry + drop));
            tally
        })
    }

    fn outcome(self, end: &End<'_>) -> Outcome {
        match (self.said, end.outcome.http_status()) {
            (Some(said), _) => said,
            (None, Some(StatusCode::NOT_FOUND)) => Outcome::Drop,
            (None, _) if self.error_type(end).is_some() => Outcome::Retry,
            (None, _) => Outcome::Success,
        }
    }
}
