use std::{error::Error, fmt};

use super::Topic;

/// Why [`Subscriptions`](super::Subscriptions) make no router: which subscription is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionError {
    pubsub: String,
    topic: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    NoPubsub,
    NoTopic,
    TooLong { what: &'static str, limit: usize },
    TooMany { what: &'static str, limit: usize },
    Twice,
    NotAPath { route: String },
    Reserved { route: String },
    Taken { route: String, pubsub: String, topic: String },
    Contradiction { what: String },
}

impl SubscriptionError {
    pub(super) fn new(topic: &Topic, problem: Problem) -> Self {
        Self { pubsub: topic.pubsub.clone(), topic: topic.name.clone(), problem }
    }

    /// The component of the wrong subscription.
    #[must_use]
    pub fn pubsub(&self) -> &str {
        &self.pubsub
    }

    /// The topic of the wrong subscription.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

impl fmt::Display for SubscriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription of topic {:?} of pubsub {:?}: ", Cut(&self.topic), Cut(&self.pubsub))?;
        match &self.problem {
            Problem::NoPubsub => f.write_str("the name of the pubsub component is empty"),
            Problem::NoTopic => f.write_str("the name of the topic is empty"),
            Problem::TooLong { what, limit } => write!(f, "{what} is longer than {limit} bytes"),
            Problem::TooMany { what, limit } => write!(f, "more than {limit} {what}"),
            Problem::Twice => f.write_str("it is subscribed twice with the same condition"),
            Problem::NotAPath { route } => write!(
                f,
                "route {:?} is not a plain path: it must start with `/`, must not end with one, and must have neither \
                 captures nor query",
                Cut(route)
            ),
            Problem::Reserved { route } => write!(f, "route {route:?} is daprd's own"),
            Problem::Taken { route, pubsub, topic } => {
                let (pubsub, topic) = (Cut(pubsub), Cut(topic));
                write!(f, "route {route:?} is already that of topic {topic:?} of pubsub {pubsub:?}")
            }
            Problem::Contradiction { what } => {
                write!(f, "{what} differs from that of an earlier subscription of this topic")
            }
        }
    }
}

impl Error for SubscriptionError {}

/// A name that may be too long to be shown.
struct Cut<'a>(&'a str);

impl fmt::Debug for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::semconv::capped(self.0, 256).fmt(f)
    }
}
