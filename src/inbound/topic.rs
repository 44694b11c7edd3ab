use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde::Serialize;

use super::error::Target;

/// A topic of a pubsub component, and how its events are to be delivered.
///
/// ```
/// use tower_dapr::inbound::Topic;
///
/// let topic = Topic::new("pubsub", "orders").route("/orders").dead_letter("poison").metadata("maxConcurrency", "4");
/// ```
#[derive(Debug, Clone)]
#[must_use = "a topic is subscribed by `Subscriptions::topic`"]
pub struct Topic {
    pub(super) pubsub: String,
    pub(super) name: String,
    pub(super) route: Option<String>,
    pub(super) when: Option<String>,
    pub(super) dead_letter: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) bulk: Option<BulkSubscribe>,
    pub(super) octets_are_json: bool,
}

/// daprd's own default for the events in one delivery.
const DEFAULT_BULK: usize = 100;

/// As daprd reads it (`pkg/runtime/pubsub/subscriptions.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct BulkSubscribe {
    pub(super) enabled: bool,
    #[serde(rename = "maxMessagesCount")]
    pub(super) max_messages: i32,
    #[serde(rename = "maxAwaitDurationMs")]
    pub(super) max_wait_ms: i32,
}

impl BulkSubscribe {
    /// The most events in one delivery.
    pub(super) fn max_messages(self) -> usize {
        match usize::try_from(self.max_messages) {
            Ok(0) | Err(_) => DEFAULT_BULK,
            Ok(max) => max,
        }
    }
}

impl Topic {
    /// The topic `name` of the component `pubsub`.
    pub fn new(pubsub: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            pubsub: pubsub.into(),
            name: name.into(),
            route: None,
            when: None,
            dead_letter: None,
            metadata: BTreeMap::new(),
            bulk: None,
            octets_are_json: false,
        }
    }

    /// The path that daprd is to send the events to. It starts with `/`, ends without one, and has neither captures nor
    /// query.
    ///
    /// Defaults to `/dapr/events/{pubsub}/{topic}`.
    pub fn route(mut self, path: impl Into<String>) -> Self {
        self.route = Some(path.into());
        self
    }

    /// Only the events for which this CEL expression holds, as in `event.type == "order.paid.v2"`.
    ///
    /// daprd asks the conditions of a topic in the order in which they were subscribed, and sends what none of them wants
    /// to the handler that was subscribed without one; without such a handler it drops the event. An expression that daprd
    /// cannot compile makes it refuse *all* subscriptions.
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.when = Some(condition.into());
        self
    }

    /// The topic, of the same component, for events that were dropped or could not be delivered. Defaults to none: they
    /// are lost.
    pub fn dead_letter(mut self, topic: impl Into<String>) -> Self {
        self.dead_letter = Some(topic.into());
        self
    }

    /// Delivers many events in one request: at most `max_messages`, and not later than `max_wait` after the first (in
    /// milliseconds to Dapr). 0 means daprd's own default: 100 messages, 1 second. The handler takes a
    /// [`Bulk`](super::Bulk), or answers for all events at once.
    ///
    /// The [`Limits`](crate::event::Limits) must allow for so many (10,000 if nobody says otherwise), and for as many
    /// bytes as so many events may have (64 MiB): what exceeds them is delivered again as a whole.
    ///
    /// Defaults to one event a request.
    pub fn bulk(mut self, max_messages: u32, max_wait: Duration) -> Self {
        self.bulk = Some(BulkSubscribe {
            enabled: true,
            max_messages: i32::try_from(max_messages).unwrap_or(i32::MAX),
            max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX),
        });
        self
    }

    /// Takes the broker's messages as they are, not as CloudEvents: for publishers that know nothing of Dapr. The receiving
    /// daprd wraps them, with the message as binary data, and an `id` that differs when one is delivered again.
    pub fn raw_payload(self) -> Self {
        self.metadata("rawPayload", "true")
    }

    /// As [`raw_payload`](Self::raw_payload), and the bytes are read as JSON.
    pub fn raw_json(mut self) -> Self {
        self.octets_are_json = true;
        self.raw_payload()
    }

    /// Metadata for the component.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    pub(super) fn target(&self) -> Target {
        Target::Topic { pubsub: self.pubsub.clone(), topic: self.name.clone() }
    }

    /// The path, as chosen or by default. `rule`: how many conditions on this topic came before.
    pub(super) fn path(&self, rule: usize) -> String {
        if let Some(route) = &self.route {
            return route.clone();
        }
        let mut path = format!("/dapr/events/{}/{}", segment(&self.pubsub), segment(&self.name));
        if self.when.is_some() {
            // A name has no slash here, so this is no other topic's path.
            let _ = write!(path, "/when/{rule}");
        }
        path
    }
}

/// A name as one segment of a path. Not percent-encoded, since who decodes that, and how often, differs on the way: `~2F`.
fn segment(name: &str) -> String {
    let is_only_dots = name.bytes().all(|byte| byte == b'.');
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => segment.push(char::from(byte)),
            b'.' if !is_only_dots => segment.push('.'),
            _ => {
                let _ = write!(segment, "~{byte:02X}");
            }
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::{Topic, segment};

    #[test]
    fn different_names_are_different_segments() {
        for (name, expected) in [
            ("orders.v1-x_Y", "orders.v1-x_Y"),
            ("a/b", "a~2Fb"),
            ("a~2Fb", "a~7E2Fb"),
            ("..", "~2E~2E"),
            ("ä{*}", "~C3~A4~7B~2A~7D"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }

    #[test]
    fn each_condition_has_its_own_default_path() {
        assert_eq!(Topic::new("bus", "a/b").path(0), "/dapr/events/bus/a~2Fb");
        assert_eq!(Topic::new("bus", "a").when("true").path(1), "/dapr/events/bus/a/when/1");
        assert_eq!(Topic::new("bus", "a").when("true").route("/a").path(1), "/a");
    }
}
