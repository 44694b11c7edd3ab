//! What `GET /dapr/subscribe` answers. Member names as daprd reads them (`pkg/runtime/pubsub/subscriptions.go`).

use std::collections::BTreeMap;

use dapr::dapr::proto::runtime::v1::{
    BulkSubscribeConfig, ListTopicSubscriptionsResponse, TopicRoutes, TopicRule, TopicSubscription,
};
use serde::Serialize;

use super::{
    Topic,
    error::{Problem, SubscriptionError},
    topic::BulkSubscribe,
};

/// All subscriptions, one entry a topic.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Document {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize)]
struct Entry {
    pubsubname: String,
    topic: String,
    routes: Routes,
    #[serde(rename = "deadLetterTopic", skip_serializing_if = "Option::is_none")]
    dead_letter_topic: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(rename = "bulkSubscribe", skip_serializing_if = "Option::is_none")]
    bulk: Option<BulkSubscribe>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Routes {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Rule {
    r#match: String,
    path: String,
}

impl Document {
    /// Adds a subscription, and says on which path.
    pub(super) fn add(&mut self, topic: &Topic) -> Result<String, SubscriptionError> {
        let entry = self.entry(topic);
        entry.merge(topic).map_err(|problem| SubscriptionError::new(topic.target(), problem))
    }

    /// The same for gRPC.
    pub(super) fn to_proto(&self) -> ListTopicSubscriptionsResponse {
        ListTopicSubscriptionsResponse { subscriptions: self.entries.iter().map(Entry::to_proto).collect() }
    }

    /// Where the events of a topic go that no rule wants.
    pub(super) fn default_path(&self, pubsub: &str, topic: &str) -> Option<&str> {
        let mut of_topic = self.entries.iter().filter(|entry| entry.pubsubname == pubsub && entry.topic == topic);
        of_topic.find_map(|entry| entry.routes.default.as_deref())
    }

    fn entry(&mut self, topic: &Topic) -> &mut Entry {
        let is_it = |entry: &Entry| entry.topic == topic.name && entry.pubsubname == topic.pubsub;
        let at = self.entries.iter().position(is_it).unwrap_or_else(|| {
            self.entries.push(Entry {
                pubsubname: topic.pubsub.clone(),
                topic: topic.name.clone(),
                routes: Routes::default(),
                dead_letter_topic: None,
                metadata: BTreeMap::new(),
                bulk: None,
            });
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }
}

impl Entry {
    fn to_proto(&self) -> TopicSubscription {
        let rules = self
            .routes
            .rules
            .iter()
            .map(|Rule { r#match, path }| TopicRule { r#match: r#match.clone(), path: path.clone() });
        TopicSubscription {
            pubsub_name: self.pubsubname.clone(),
            topic: self.topic.clone(),
            metadata: self.metadata.clone().into_iter().collect(),
            routes: Some(TopicRoutes {
                rules: rules.collect(),
                default: self.routes.default.clone().unwrap_or_default(),
            }),
            dead_letter_topic: self.dead_letter_topic.clone().unwrap_or_default(),
            bulk_subscribe: self.bulk.map(|bulk| BulkSubscribeConfig {
                enabled: bulk.enabled,
                max_messages_count: bulk.max_messages,
                max_await_duration_ms: bulk.max_wait_ms,
            }),
        }
    }

    fn merge(&mut self, topic: &Topic) -> Result<String, Problem> {
        let path = topic.path(self.routes.rules.len());
        match &topic.when {
            Some(when) if self.routes.rules.iter().any(|rule| rule.r#match == *when) => return Err(Problem::Twice),
            Some(when) => self.routes.rules.push(Rule { r#match: when.clone(), path: path.clone() }),
            None if self.routes.default.is_some() => return Err(Problem::Twice),
            None => self.routes.default = Some(path.clone()),
        }
        if let Some(dead_letter) = &topic.dead_letter
            && self.dead_letter_topic.get_or_insert_with(|| dead_letter.clone()) != dead_letter
        {
            return Err(Problem::Contradiction { what: "the dead letter topic".to_owned() });
        }
        if let Some(bulk) = topic.bulk
            && *self.bulk.get_or_insert(bulk) != bulk
        {
            return Err(Problem::Contradiction { what: "bulk delivery".to_owned() });
        }
        for (key, value) in &topic.metadata {
            if self.metadata.entry(key.clone()).or_insert_with(|| value.clone()) != value {
                return Err(Problem::Contradiction { what: format!("metadata {key:?}") });
            }
        }
        Ok(path)
    }
}
