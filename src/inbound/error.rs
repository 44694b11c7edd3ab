use std::{error::Error, fmt};

/// Why [`Subscriptions`](super::Subscriptions) make no router: which subscription is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionError {
    target: Target,
    problem: Problem,
}

/// What is subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Topic { pubsub: String, topic: String },
    Binding { name: String },
    Job { name: String },
    ActorType { name: String },
    AppConfig,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    NoPubsub,
    NoTopic,
    NoName,
    NoCondition,
    TooLong { what: &'static str, limit: usize },
    TooMany { what: &'static str, limit: usize },
    Twice,
    ThereTwice,
    NotAnActorType,
    ReservedName,
    OutOfRange { what: &'static str },
    LargeBulk { events: usize, limit: usize },
    NotAPath { route: String },
    Reserved { route: String },
    Taken { route: String, by: Target },
    Contradiction { what: String },
}

impl SubscriptionError {
    pub(super) const fn new(target: Target, problem: Problem) -> Self {
        Self { target, problem }
    }

    /// The component of the wrong subscription. Empty if it is not that of a topic.
    #[must_use]
    pub fn pubsub(&self) -> &str {
        match &self.target {
            Target::Topic { pubsub, .. } => pubsub,
            _ => "",
        }
    }

    /// The topic of the wrong subscription. Empty if it is not that of a topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        match &self.target {
            Target::Topic { topic, .. } => topic,
            _ => "",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic { pubsub, topic } => write!(f, "topic {:?} of pubsub {:?}", Cut(topic), Cut(pubsub)),
            Self::Binding { name } => write!(f, "binding {:?}", Cut(name)),
            Self::Job { name } => write!(f, "job {:?}", Cut(name)),
            Self::ActorType { name } => write!(f, "actor type {:?}", Cut(name)),
            Self::AppConfig => f.write_str("app configuration"),
        }
    }
}

impl fmt::Display for SubscriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::ActorType { .. } | Target::AppConfig => write!(f, "{}: ", self.target)?,
            _ => write!(f, "subscription of {}: ", self.target)?,
        }
        match &self.problem {
            Problem::NoPubsub => f.write_str("the name of the pubsub component is empty"),
            Problem::NoName => f.write_str("the name is empty"),
            Problem::NoCondition => f.write_str("the condition is empty, which would mean always"),
            Problem::NoTopic => f.write_str("the name of the topic is empty"),
            Problem::TooLong { what, limit } => write!(f, "{what} is longer than {limit} bytes"),
            Problem::TooMany { what, limit } => write!(f, "more than {limit} {what}"),
            Problem::Twice => f.write_str("it is subscribed twice with the same condition"),
            Problem::ThereTwice => f.write_str("it is there twice"),
            Problem::NotAnActorType => f.write_str("a path or a control character is in it, or it is `.` or `..`"),
            Problem::ReservedName => f.write_str("the name is one of Dapr's workflows"),
            Problem::OutOfRange { what } => f.write_str(what),
            Problem::LargeBulk { events, limit } => {
                write!(f, "a bulk delivery of {events} events is more than the limits' {limit}")
            }
            Problem::NotAPath { route } => write!(
                f,
                "route {:?} is not a plain path: it must start with `/`, must not end with one, and must have neither \
                 captures nor query",
                Cut(route)
            ),
            Problem::Reserved { route } => write!(f, "route {route:?} is daprd's own"),
            Problem::Taken { route, by } => write!(f, "route {route:?} is already that of {by}"),
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
