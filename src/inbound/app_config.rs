use std::{collections::HashSet, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    error::{Problem, SubscriptionError, Target},
    routes::{MAX_TOPICS, check_name},
};

/// What the app says of its actors in `GET /dapr/config`: which types it hosts, and how they are to be treated. Given to
/// [`Subscriptions::app_config`](super::Subscriptions::app_config).
///
/// The actors themselves are routes of the app: Dapr calls `PUT /actors/{type}/{id}/method/{method}` (also
/// `method/timer/{name}` and `method/remind/{name}`), one call at a time for each actor, and `DELETE /actors/{type}/{id}` when
/// it deactivates one.
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Router, extract::Path, routing::{delete, put}};
/// use tower_dapr::inbound::{AppConfig, Subscriptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = AppConfig::new().entity("Cart").actor_idle_timeout(Duration::from_secs(600));
/// let app: Router = Subscriptions::new()
///     .app_config(config)
///     .into_router()?
///     .route("/actors/Cart/{id}/method/add", put(async |Path(id): Path<String>| format!("added to the cart of {id}")))
///     .route("/actors/Cart/{id}", delete(async || ()));
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use = "a configuration is told by `Subscriptions::app_config`"]
pub struct AppConfig {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_go_duration")]
    actor_idle_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_go_duration")]
    drain_ongoing_call_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_rebalanced_actors: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reentrancy: Option<Reentrancy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reentrancy {
    enabled: bool,
    max_stack_depth: u32,
}

impl AppConfig {
    /// No actor types, and Dapr's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hosts actors of this type.
    pub fn entity(mut self, actor_type: impl Into<String>) -> Self {
        self.entities.push(actor_type.into());
        self
    }

    /// How long an actor may be idle before it is deactivated. Defaults to Dapr's own, an hour.
    pub fn actor_idle_timeout(mut self, timeout: Duration) -> Self {
        self.actor_idle_timeout = Some(timeout);
        self
    }

    /// How long a call under way may go on when its actor has to move to another host. Defaults to Dapr's own, two seconds.
    pub fn drain_ongoing_call_timeout(mut self, timeout: Duration) -> Self {
        self.drain_ongoing_call_timeout = Some(timeout);
        self
    }

    /// Whether a call under way may go on at all when its actor has to move. Defaults to Dapr's own, yes.
    pub fn drain_rebalanced_actors(mut self, drain: bool) -> Self {
        self.drain_rebalanced_actors = Some(drain);
        self
    }

    /// Lets a call come back to an actor that it came from, up to this many calls deep. The app has to pass the header
    /// `Dapr-Reentrancy-Id` on. Defaults to no such calls; Dapr's own depth is 32.
    pub fn reentrancy(mut self, max_stack_depth: u32) -> Self {
        self.reentrancy = Some(Reentrancy { enabled: true, max_stack_depth });
        self
    }

    /// # Errors
    ///
    /// Which type or setting is wrong.
    pub(super) fn check(&self) -> Result<(), SubscriptionError> {
        let mut known = HashSet::new();
        for (count, name) in self.entities.iter().enumerate() {
            let wrong = |problem| SubscriptionError::new(Target::ActorType { name: name.clone() }, problem);
            check_name(name).and_then(|()| check_entity(name)).map_err(wrong)?;
            if !known.insert(name) {
                return Err(wrong(Problem::ThereTwice));
            }
            if count == MAX_TOPICS {
                return Err(wrong(Problem::TooMany { what: "actor types", limit: MAX_TOPICS }));
            }
        }
        let wrong = |what| SubscriptionError::new(Target::AppConfig, Problem::OutOfRange { what });
        for (what, timeout) in [
            ("the idle timeout is longer than Dapr can count", self.actor_idle_timeout),
            ("the drain timeout is longer than Dapr can count", self.drain_ongoing_call_timeout),
        ] {
            if timeout.is_some_and(|timeout| i64::try_from(timeout.as_nanos()).is_err()) {
                return Err(wrong(what));
            }
        }
        if self.reentrancy.is_some_and(|reentrancy| reentrancy.max_stack_depth == 0) {
            return Err(wrong("a stack depth of zero lets no call come back"));
        }
        Ok(())
    }
}

/// A type is a part of paths: daprd refuses calls of others.
fn check_entity(name: &str) -> Result<(), Problem> {
    let is_forbidden = |char: char| char.is_ascii_control() || "/\\?#".contains(char);
    if name.contains(is_forbidden) || name == "." || name == ".." {
        return Err(Problem::NotAnActorType);
    }
    // Those of workflows.
    if name.starts_with("dapr.internal.") { Err(Problem::ReservedName) } else { Ok(()) }
}

fn as_go_duration<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let duration = duration.unwrap_or_default();
    let is_whole_millis = duration.subsec_nanos().is_multiple_of(1_000_000);
    if is_whole_millis {
        serializer.collect_str(&format_args!("{}ms", duration.as_millis()))
    } else {
        serializer.collect_str(&format_args!("{}ns", duration.as_nanos()))
    }
}
