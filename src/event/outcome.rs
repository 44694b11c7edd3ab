use std::{collections::HashMap, fmt};

use serde::{Serialize, Serializer, ser::SerializeSeq};

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

/// What a handler returns for one event: an [`Outcome`], `()` for success, or a `Result` of them.
pub trait IntoOutcome {
    /// What becomes of the event.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Success
    }
}

impl<V: IntoOutcome, E: Into<Outcome>> IntoOutcome for Result<V, E> {
    fn into_outcome(self) -> Outcome {
        self.map_or_else(Into::into, IntoOutcome::into_outcome)
    }
}

/// What becomes of the events of one bulk delivery: an outcome for each entry.
///
/// An entry that nothing is said of is a [`Retry`](Outcome::Retry). Made by [`Bulk`](crate::inbound::Bulk).
///
/// ```
/// use tower_dapr::event::{Outcome, Outcomes};
///
/// let mut outcomes = Outcomes::new(["a".to_owned(), "b".to_owned()]);
/// outcomes.set("a", Outcome::Success);
/// assert_eq!(outcomes.get("a"), Some(Outcome::Success));
/// assert_eq!(outcomes.get("b"), Some(Outcome::Retry));
/// assert_eq!(outcomes.get("c"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "the outcomes are the answer to Dapr"]
pub struct Outcomes {
    entries: HashMap<String, Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    outcome: Outcome,
    /// It was not for the handler to say: the event could not be decoded, and has been counted.
    is_refused: bool,
}

impl Outcomes {
    /// For entries of these ids.
    pub fn new(entry_ids: impl IntoIterator<Item = String>) -> Self {
        let slot = Slot { outcome: Outcome::Retry, is_refused: false };
        Self { entries: entry_ids.into_iter().map(|id| (id, slot)).collect() }
    }

    /// Says what becomes of an entry. One that is not part of the delivery is left out.
    pub fn set(&mut self, entry_id: &str, outcome: Outcome) {
        if let Some(slot) = self.entries.get_mut(entry_id) {
            slot.outcome = outcome;
        }
    }

    /// What becomes of an entry. `None` if it is not part of the delivery.
    #[must_use]
    pub fn get(&self, entry_id: &str) -> Option<Outcome> {
        self.entries.get(entry_id).map(|slot| slot.outcome)
    }

    pub(crate) fn extend(&mut self, entry_ids: impl IntoIterator<Item = String>) {
        self.entries.extend(Self::new(entry_ids).entries);
    }

    pub(crate) fn reject(&mut self, entry_id: &str, outcome: Outcome) {
        self.entries.insert(entry_id.to_owned(), Slot { outcome, is_refused: false });
    }

    pub(crate) fn refuse(&mut self, entry_id: &str, outcome: Outcome) {
        self.entries.insert(entry_id.to_owned(), Slot { outcome, is_refused: true });
    }

    /// Of the events that the handler has seen.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for slot in self.entries.values().filter(|slot| !slot.is_refused) {
            tally.add(slot.outcome, 1);
        }
        tally
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&Answer { statuses: self }).expect("texts are JSON")
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    statuses: &'a Outcomes,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(rename = "entryId")]
    entry_id: &'a str,
    status: &'a str,
}

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut statuses = serializer.serialize_seq(Some(self.entries.len()))?;
        for (entry_id, slot) in &self.entries {
            statuses.serialize_element(&Status { entry_id, status: slot.outcome.as_str() })?;
        }
        statuses.end()
    }
}

/// How many events of one message came to what. In the extensions of a response, for layers to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) success: u64,
    pub(crate) retry: u64,
    pub(crate) drop: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome, count: u64) {
        match outcome {
            Outcome::Success => self.success += count,
            Outcome::Retry => self.retry += count,
            Outcome::Drop => self.drop += count,
        }
    }

    /// What the message as a whole came to: anything that is not done yet outweighs what is lost.
    pub(crate) const fn worst(self) -> Outcome {
        match self {
            Self { retry: 1.., .. } => Outcome::Retry,
            Self { drop: 1.., .. } => Outcome::Drop,
            _ => Outcome::Success,
        }
    }
}
