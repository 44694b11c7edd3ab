//! What an app subscribes to (`dapr/dapr:pkg/runtime/pubsub/subscriptions.go`).

use std::collections::BTreeMap;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::{PubsubSubscriptionType, TopicSubscription};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::routing::Rule;

/// More subscriptions than any app has.
const MAX_SUBSCRIPTIONS: usize = 1000;

/// One subscription that this sidecar can serve.
#[derive(Clone, Debug)]
pub(in crate::sidecar) struct Subscription {
    pub(in crate::sidecar) pubsub: String,
    pub(in crate::sidecar) topic: String,
    /// The first that matches wins.
    pub(in crate::sidecar) rules: Vec<Rule>,
    pub(in crate::sidecar) dead_letter_topic: Option<String>,
    pub(in crate::sidecar) metadata: BTreeMap<String, String>,
    pub(in crate::sidecar) bulk: Option<Bulk>,
    pub(in crate::sidecar) kind: PubsubSubscriptionType,
}

/// How many messages go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sidecar) struct Bulk {
    pub(super) max_messages: usize,
    pub(super) max_await: Duration,
}

// ===== impl Subscription =====

impl Subscription {
    /// What the app of a stream subscribes to: one route for all.
    pub(in crate::sidecar) fn streaming(
        pubsub: String,
        topic: String,
        metadata: BTreeMap<String, String>,
        dead_letter_topic: Option<String>,
    ) -> Self {
        let rules = vec![Rule::new("", "/").expect("the root is a path")];
        let dead_letter_topic = dead_letter_topic.filter(|topic| !topic.is_empty());
        let kind = PubsubSubscriptionType::Streaming;
        Self { pubsub, topic, rules, dead_letter_topic, metadata, bulk: None, kind }
    }

    /// What a gRPC app says. Without routes there is one, with an empty path.
    ///
    /// # Errors
    /// When a condition is no CEL expression.
    pub(in crate::sidecar) fn of_grpc(subscription: TopicSubscription) -> Result<Self, String> {
        let routes = subscription.routes.unwrap_or_default();
        let mut rules =
            routes.rules.iter().map(|rule| Rule::new(&rule.r#match, &rule.path)).collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() || !routes.default.is_empty() {
            rules.push(Rule::new("", &routes.default)?);
        }
        let bulk = subscription.bulk_subscribe.filter(|bulk| bulk.enabled);
        Ok(Self {
            pubsub: subscription.pubsub_name,
            topic: subscription.topic,
            rules,
            dead_letter_topic: Some(subscription.dead_letter_topic).filter(|topic| !topic.is_empty()),
            metadata: subscription.metadata.into_iter().collect(),
            bulk: bulk.map(|bulk| Bulk::new(bulk.max_messages_count.into(), bulk.max_await_duration_ms.into())),
            kind: PubsubSubscriptionType::Programmatic,
        })
    }

    /// The `spec` of a Subscription resource, of either version.
    ///
    /// # Errors
    /// When a member is not what it should be, a condition is no CEL expression, or there is no route.
    pub(in crate::sidecar) fn declared(spec: &Map<String, Value>) -> Result<Self, String> {
        let subscription = read(spec)?.ok_or("it has no route")?;
        Ok(Self { kind: PubsubSubscriptionType::Declarative, ..subscription })
    }

    /// Whether both get the same messages.
    pub(in crate::sidecar) fn is_same(&self, other: &Self) -> bool {
        self.pubsub == other.pubsub && self.topic == other.topic
    }

    /// The rule that this event follows, if any.
    pub(super) fn route(&self, event: &Value) -> Result<Option<&Rule>, String> {
        for rule in &self.rules {
            if rule.matches(event)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }
}

// ===== impl Bulk =====

impl Bulk {
    /// Zero and less stand for daprd's defaults.
    fn new(max_messages: i64, max_await_millis: i64) -> Self {
        let positive = |number: i64, default: u64| u64::try_from(number).ok().filter(|n| *n > 0).unwrap_or(default);
        Self {
            max_messages: usize::try_from(positive(max_messages, 100)).unwrap_or(usize::MAX),
            max_await: Duration::from_millis(positive(max_await_millis, 1000)),
        }
    }
}

/// What the app answers to `GET /dapr/subscribe`. A subscription without a route is left out, with a log line.
///
/// # Errors
/// When the answer as a whole is not what daprd accepts; a condition that is no CEL expression is among this.
pub(in crate::sidecar) fn parse(body: &[u8]) -> Result<Vec<Subscription>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let items: Option<Vec<Map<String, Value>>> =
        Option::deserialize(&mut serde_json::Deserializer::from_slice(body)).map_err(|error| error.to_string())?;
    let items = items.unwrap_or_default();
    if items.len() > MAX_SUBSCRIPTIONS {
        return Err(format!("{} subscriptions are more than {MAX_SUBSCRIPTIONS}", items.len()));
    }
    let subscriptions = items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(subscriptions.into_iter().flatten().collect())
}

fn read(item: &Map<String, Value>) -> Result<Option<Subscription>, String> {
    let (pubsub, topic) = (text(item, "pubsubname")?, text(item, "topic")?);
    let (metadata, bulk) = (metadata(item)?, bulk(item)?);
    let empty = Map::new();
    let routes = object(item, "routes")?.unwrap_or(&empty);
    let mut rules = Vec::new();
    match member(routes, "rules") {
        None => {}
        Some(Value::Array(items)) => {
            for item in items {
                let Value::Object(rule) = item else { return Err("a rule is not an object".to_owned()) };
                rules.push(Rule::new(&text(rule, "match")?, &text(rule, "path")?)?);
            }
        }
        Some(_) => return Err("routes.rules is not an array".to_owned()),
    }
    let fallback = [text(routes, "default")?, text(item, "route")?];
    if let Some(route) = fallback.iter().find(|route| !route.is_empty()) {
        match Rule::new("", route) {
            Ok(rule) => rules.push(rule),
            Err(reason) => tracing::error!(?pubsub, ?topic, reason, "a route is ignored"),
        }
    }
    if rules.is_empty() {
        tracing::warn!(?pubsub, ?topic, "subscription without a route is ignored");
        return Ok(None);
    }
    let dead_letter_topic = Some(text(item, "deadLetterTopic")?).filter(|topic| !topic.is_empty());
    let kind = PubsubSubscriptionType::Programmatic;
    Ok(Some(Subscription { pubsub, topic, rules, dead_letter_topic, metadata, bulk, kind }))
}

fn bulk(item: &Map<String, Value>) -> Result<Option<Bulk>, String> {
    let Some(bulk) = object(item, "bulkSubscribe")? else { return Ok(None) };
    let number = |name| member(bulk, name).and_then(Value::as_i64).unwrap_or_default();
    let is_enabled = member(bulk, "enabled") == Some(&Value::Bool(true));
    Ok(is_enabled.then(|| Bulk::new(number("maxMessagesCount"), number("maxAwaitDurationMs"))))
}

fn metadata(item: &Map<String, Value>) -> Result<BTreeMap<String, String>, String> {
    let pairs = object(item, "metadata")?.into_iter().flatten();
    let pairs = pairs.map(|(key, value)| match value {
        Value::String(value) => Ok((key.clone(), value.clone())),
        _ => Err(format!("metadata {key:?} is not a string")),
    });
    pairs.collect()
}

/// A member, whatever the case of its name, as Go reads JSON; null is none.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}

fn text(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    match member(object, name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

fn object<'a>(item: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match member(item, name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(format!("{name} is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_daprd_reads() {
        let list = br#"[
            {"pubsubname": "bus", "topic": "a", "route": "orders/../a"},
            {"PubsubName": "bus", "Topic": "b", "routes": {"default": "/b"}, "route": "/not-this", "deadLetterTopic": "dead"},
            {"pubsubname": "bus", "topic": "c", "routes": {"rules": [{"match": " ", "path": "/c"}], "default": "/d"}},
            {"pubsubname": "bus", "topic": "no route"},
            {"pubsubname": "bus", "topic": "rule", "routes": {"rules": [{"match": "event.type == 'a'", "path": "/x"}]}},
            {"pubsubname": "bus", "topic": "bulk", "route": "/y", "bulkSubscribe": {"enabled": true, "maxMessagesCount": 5}}
        ] and this is ignored"#;
        let read = parse(list).unwrap();
        let targets: Vec<_> = read.iter().map(|one| (one.topic.as_str(), one.rules[0].target.as_str())).collect();
        assert_eq!(targets, [("a", "/a"), ("b", "/b"), ("c", "/c"), ("rule", "/x"), ("bulk", "/y")]);
        assert_eq!(read[1].dead_letter_topic.as_deref(), Some("dead"));
        assert_eq!(read[2].rules.len(), 2);
        assert_eq!(read[4].bulk, Some(Bulk { max_messages: 5, max_await: Duration::from_secs(1) }));
        assert!(parse(b"").unwrap().is_empty());
        assert!(parse(b"null").unwrap().is_empty());
    }

    #[test]
    fn a_malformed_list_is_refused_as_a_whole() {
        let many = format!("[{}{{}}]", "{},".repeat(MAX_SUBSCRIPTIONS));
        let deep = "[".repeat(100_000);
        let rule = r#"[{"topic": "a", "routes": {"rules": [{"match": "event.type ==", "path": "/x"}]}}]"#;
        for list in ["{}", "[1]", r#"[{"topic": 1}]"#, r#"[{"metadata": {"a": 1}}]"#, "[", rule, &many, &deep] {
            assert!(parse(list.as_bytes()).is_err(), "{}", &list[..list.len().min(40)]);
        }
    }
}
