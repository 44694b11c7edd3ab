//! What an app says of its actors in `/dapr/config` (`dapr/dapr:pkg/config/app_configuration.go`, `pkg/actors/api/config.go`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::names;
use crate::sidecar::duration;

/// No app has this many; daprd has no limit.
pub(super) const MAX_TYPES: usize = 1024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_STACK_DEPTH: u32 = 32;

/// The types that an app hosts.
pub(in crate::sidecar) type Types = BTreeMap<String, Settings>;

/// Of the actors of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sidecar) struct Settings {
    pub(super) idle_timeout: Duration,
    /// How long a call under way may go on when its actor has to leave.
    pub(super) drain_timeout: Duration,
    /// How deep calls may come back to their actor; `None` when they may not at all.
    pub(super) reentrancy: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    entities: Option<Vec<String>>,
    actor_idle_timeout: Option<String>,
    drain_ongoing_call_timeout: Option<String>,
    drain_rebalanced_actors: Option<bool>,
    reentrancy: Option<Reentrancy>,
    /// Without effect since reminders are in the scheduler.
    #[serde(rename = "remindersStoragePartitions")]
    _partitions: Option<i64>,
    entities_config: Option<Vec<Document>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reentrancy {
    enabled: bool,
    max_stack_depth: Option<u32>,
}

/// The types of an app's configuration. A type that cannot be called is left out, with a warning.
///
/// # Errors
/// Why the app hosts no actors.
pub(in crate::sidecar) fn parse(body: &[u8]) -> Result<Types, String> {
    let document: Document = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let entities = document.entities.as_deref().unwrap_or_default();
    if entities.len() > MAX_TYPES {
        return Err(format!("more than {MAX_TYPES} actor types"));
    }
    let settings = document.settings()?;
    let mut types: Types =
        entities.iter().filter(|kind| is_callable(kind)).map(|kind| (kind.clone(), settings)).collect();
    for own in document.entities_config.iter().flatten() {
        let settings = own.settings_or_defaults();
        for kind in own.entities.iter().flatten() {
            match types.get_mut(kind) {
                Some(of_type) => *of_type = settings,
                None => tracing::warn!(kind, "settings of an actor type that is not hosted"),
            }
        }
    }
    Ok(types)
}

fn is_callable(kind: &str) -> bool {
    let problem = match names::check(kind) {
        Err(reason) => reason,
        Ok(()) if kind.is_empty() => "it is empty".to_owned(),
        Ok(()) if names::is_reserved(kind) => "it is reserved for workflows".to_owned(),
        Ok(()) => return true,
    };
    tracing::warn!(?kind, problem, "an actor type of this name cannot be called");
    false
}

// ===== impl Document =====

impl Document {
    fn settings(&self) -> Result<Settings, String> {
        let idle_timeout = span("actorIdleTimeout", self.actor_idle_timeout.as_deref(), IDLE_TIMEOUT)?;
        let drain = span("drainOngoingCallTimeout", self.drain_ongoing_call_timeout.as_deref(), DRAIN_TIMEOUT)?;
        Ok(self.with(idle_timeout, drain))
    }

    /// Settings of single types are not those of all types where they are silent or wrong.
    fn settings_or_defaults(&self) -> Settings {
        let or_default = |name, text: &Option<String>, default| {
            span(name, text.as_deref(), default).unwrap_or_else(|reason| {
                tracing::warn!(reason, "a setting of actors is ignored");
                default
            })
        };
        let idle_timeout = or_default("actorIdleTimeout", &self.actor_idle_timeout, IDLE_TIMEOUT);
        let drain = or_default("drainOngoingCallTimeout", &self.drain_ongoing_call_timeout, DRAIN_TIMEOUT);
        self.with(idle_timeout, drain)
    }

    fn with(&self, idle_timeout: Duration, drain: Duration) -> Settings {
        let drains = self.drain_rebalanced_actors.unwrap_or(true);
        let reentrancy = self.reentrancy.unwrap_or_default();
        Settings {
            idle_timeout,
            drain_timeout: if drains { drain } else { Duration::ZERO },
            reentrancy: reentrancy.enabled.then_some(reentrancy.max_stack_depth.unwrap_or(MAX_STACK_DEPTH)),
        }
    }
}

fn span(name: &str, text: Option<&str>, default: Duration) -> Result<Duration, String> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => duration::of_go(text).ok_or_else(|| format!("{name} {text:?} is not a duration")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_all_types_or_of_one() {
        let types = parse(
            br#"{
                "entities": ["Cart", "Order", "", "a/b", "..", "dapr.internal.x", "Plain"],
                "actorIdleTimeout": "1h30m", "drainOngoingCallTimeout": "30s", "drainRebalancedActors": null,
                "reentrancy": {"enabled": true}, "remindersStoragePartitions": 7, "unknown": 1,
                "entitiesConfig": [
                    {"entities": ["Order", "Other"], "actorIdleTimeout": "bad", "drainRebalancedActors": false,
                     "reentrancy": {"enabled": true, "maxStackDepth": 5}},
                    {"entities": ["Plain"]}
                ]
            }"#,
        )
        .unwrap();
        let of = |idle, drain, reentrancy| Settings {
            idle_timeout: Duration::from_secs(idle),
            drain_timeout: Duration::from_secs(drain),
            reentrancy,
        };
        assert_eq!(
            types,
            Types::from([
                ("Cart".to_owned(), of(5400, 30, Some(32))),
                ("Order".to_owned(), of(3600, 0, Some(5))),
                ("Plain".to_owned(), of(3600, 2, None)),
            ])
        );
        assert_eq!(parse(b"{}").unwrap(), Types::new());
    }

    #[test]
    fn what_cannot_be_read_hosts_nothing_and_says_why() {
        assert_eq!(
            parse(br#"{"actorIdleTimeout": "soon"}"#).unwrap_err(),
            "actorIdleTimeout \"soon\" is not a duration"
        );
        assert!(parse(br#"{"actorIdleTimeout": 5}"#).is_err());
        assert!(parse(b"[1]").is_err() && parse(b"").is_err());
        let of = |count: usize| serde_json::json!({"entities": (0..count).map(|n| n.to_string()).collect::<Vec<_>>()});
        assert_eq!(parse(of(MAX_TYPES).to_string().as_bytes()).unwrap().len(), MAX_TYPES);
        assert_eq!(parse(of(MAX_TYPES + 1).to_string().as_bytes()).unwrap_err(), "more than 1024 actor types");
    }
}
