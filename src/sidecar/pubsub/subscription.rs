//! What the app answers to `GET /dapr/subscribe` (`dapr/dapr:pkg/runtime/pubsub/subscriptions.go`).

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::super::method;

/// More subscriptions than any app has.
const MAX_SUBSCRIPTIONS: usize = 1000;

/// One subscription that this sidecar can serve.
#[derive(Clone, Debug)]
pub(in crate::sidecar) struct Subscription {
    pub(in crate::sidecar) pubsub: String,
    pub(in crate::sidecar) topic: String,
    /// As the app wrote it.
    pub(in crate::sidecar) route: String,
    pub(in crate::sidecar) target: PathAndQuery,
    pub(in crate::sidecar) dead_letter_topic: Option<String>,
    pub(in crate::sidecar) metadata: BTreeMap<String, String>,
}

/// The app's subscriptions. Those that cannot be served are left out, each with a log line that says why.
///
/// # Errors
/// When the answer as a whole is not what daprd accepts.
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
    let subscriptions = items.iter().map(subscription).collect::<Result<Vec<_>, _>>()?;
    Ok(subscriptions.into_iter().flatten().collect())
}

fn subscription(item: &Map<String, Value>) -> Result<Option<Subscription>, String> {
    let (pubsub, topic) = (text(item, "pubsubname")?, text(item, "topic")?);
    let metadata = metadata(item)?;
    let empty = Map::new();
    let routes = object(item, "routes")?.unwrap_or(&empty);
    let rules = match member(routes, "rules") {
        None => &[],
        Some(Value::Array(rules)) => rules.as_slice(),
        Some(_) => return Err("routes.rules is not an array".to_owned()),
    };
    let mut route = None;
    for rule in rules {
        let Value::Object(rule) = rule else { return Err("a rule is not an object".to_owned()) };
        if !text(rule, "match")?.trim().is_empty() {
            tracing::error!(?pubsub, ?topic, "subscription refused: this sidecar does not evaluate `match` rules");
            return Ok(None);
        }
        route = route.or(Some(text(rule, "path")?));
    }
    let bulk = object(item, "bulkSubscribe")?.and_then(|bulk| member(bulk, "enabled"));
    if bulk.is_some_and(|enabled| enabled == &Value::Bool(true)) {
        tracing::error!(?pubsub, ?topic, "subscription refused: this sidecar does not deliver in bulk");
        return Ok(None);
    }
    let fallback = [text(routes, "default")?, text(item, "route")?];
    let Some(route) = route.or_else(|| fallback.into_iter().find(|route| !route.is_empty())) else {
        tracing::warn!(?pubsub, ?topic, "subscription without a route is ignored");
        return Ok(None);
    };
    let Some(target) = method::route(&route) else {
        tracing::error!(?pubsub, ?topic, ?route, "subscription refused: its route is not a path");
        return Ok(None);
    };
    let dead_letter_topic = Some(text(item, "deadLetterTopic")?).filter(|topic| !topic.is_empty());
    Ok(Some(Subscription { pubsub, topic, route, target, dead_letter_topic, metadata }))
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
            {"pubsubname": "bus", "topic": "bulk", "route": "/x", "bulkSubscribe": {"enabled": true}}
        ] and this is ignored"#;
        let read = parse(list).unwrap();
        let targets: Vec<_> = read.iter().map(|one| (one.topic.as_str(), one.target.as_str())).collect();
        assert_eq!(targets, [("a", "/a"), ("b", "/b"), ("c", "/c")]);
        assert_eq!(read[1].dead_letter_topic.as_deref(), Some("dead"));
        assert!(parse(b"").unwrap().is_empty());
        assert!(parse(b"null").unwrap().is_empty());
    }

    #[test]
    fn a_malformed_list_is_refused_as_a_whole() {
        let many = format!("[{}{{}}]", "{},".repeat(MAX_SUBSCRIPTIONS));
        let deep = "[".repeat(100_000);
        for list in ["{}", "[1]", r#"[{"topic": 1}]"#, r#"[{"metadata": {"a": 1}}]"#, "[", &many, &deep] {
            assert!(parse(list.as_bytes()).is_err(), "{}", &list[..list.len().min(40)]);
        }
    }
}
