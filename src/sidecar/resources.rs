//! Resource files: Component, Subscription and Resiliency (`dapr/dapr:pkg/apis`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::duration;
use super::error::ComponentError;
use super::hub_builder::HubBuilder;
use super::pubsub::{RetryPolicy, Subscription};
use super::state_store::SqliteSettings;
use super::truth::is_truthy;

#[derive(Deserialize)]
#[serde(default)]
struct Resource {
    kind: String,
    metadata: Metadata,
    spec: Map<String, Value>,
    scopes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

/// A subscription of a resource file, and the apps that have it; of none named, all.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) subscription: Subscription,
    pub(super) scopes: Vec<String>,
}

impl Default for Resource {
    fn default() -> Self {
        Self { kind: String::new(), metadata: Metadata::default(), spec: Map::new(), scopes: Vec::new() }
    }
}

/// All documents of all `*.yaml` and `*.yml` files of a directory, in the order of their names.
pub(super) fn load(mut hub: HubBuilder, directory: &Path, strict: bool) -> Result<HubBuilder, ComponentError> {
    let failed = |path: &Path, reason: &dyn std::fmt::Display| ComponentError::new(path.display().to_string(), reason);
    let entries = fs::read_dir(directory).map_err(|error| failed(directory, &error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        let resources: Vec<Resource> = serde_saphyr::from_multiple(&text).map_err(|error| failed(&path, &error))?;
        for resource in resources {
            hub = add(hub, resource, strict)?;
        }
    }
    Ok(hub)
}

fn add(mut hub: HubBuilder, resource: Resource, strict: bool) -> Result<HubBuilder, ComponentError> {
    let name = resource.metadata.name;
    match resource.kind.as_str() {
        "Component" => component(hub, name, &resource.spec, strict),
        "Subscription" => {
            let subscription =
                Subscription::declared(&resource.spec).map_err(|reason| ComponentError::new(&name, reason))?;
            hub.declared.push(Declared { subscription, scopes: resource.scopes });
            Ok(hub)
        }
        "Resiliency" => resiliency(hub, &name, &resource.spec),
        // Tracing and the like.
        "Configuration" | "" => Ok(hub),
        kind if strict => Err(ComponentError::new(name, format!("resources of kind {kind:?} are not known here"))),
        kind => {
            tracing::warn!(name, kind, "a resource of a kind that is not known here is ignored");
            Ok(hub)
        }
    }
}

fn component(
    hub: HubBuilder,
    name: String,
    spec: &Map<String, Value>,
    strict: bool,
) -> Result<HubBuilder, ComponentError> {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default();
    let metadata = metadata_of(spec);
    check_names(&name, kind, &metadata, strict)?;
    // The names in any case, and an empty value is none, as daprd has it.
    let given = |key: &str| {
        let value = metadata.iter().find_map(|(name, value)| name.eq_ignore_ascii_case(key).then_some(value));
        value.filter(|value| !value.is_empty()).cloned()
    };
    let text = |key: &str| given(key).unwrap_or_default();
    let flag = |key: &str, default: bool| given(key).map_or(default, |value| is_truthy(&value));
    match kind {
        "state.sqlite" | "state.sqlite3" => {
            let settings = SqliteSettings::of_metadata(&metadata, strict);
            let settings = settings.map_err(|reason| ComponentError::new(&name, reason))?;
            let hub = hub.sqlite(name.clone(), settings)?;
            return if flag("actorStateStore", false) { actor_store(hub, name) } else { Ok(hub) };
        }
        "secretstores.local.env" => return Ok(hub.environment(name, text("prefix"))),
        "secretstores.local.file" => {
            let (path, separator) = (text("secretsFile"), given("nestedSeparator"));
            let separator = separator.as_deref().unwrap_or(":");
            return hub.secrets_json(name, Path::new(&path), separator, flag("multiValued", false));
        }
        "bindings.localstorage" => return hub.local_storage(name, text("rootPath")),
        "bindings.http" => return hub.http_output(name, text("url"), flag("errorIfNot2XX", true)),
        "bindings.cron" => {
            let is_wanted = text("direction").split(',').any(|one| one.trim().eq_ignore_ascii_case("input"));
            return hub.cron_input(name, &text("schedule"), given("route"), is_wanted);
        }
        _ => {}
    }
    let block = kind.split('.').next().unwrap_or_default();
    let known = ["state", "pubsub", "configuration", "lock", "secretstores"].contains(&block);
    if kind != format!("{block}.in-memory") || !known {
        if strict {
            return Err(ComponentError::new(name, format!("components of type {kind:?} are not known here")));
        }
        tracing::warn!(name, kind, "a component of a type that is not known here is kept in memory, or ignored");
    }
    Ok(match block {
        "state" if flag("actorStateStore", false) => actor_store(hub, name)?,
        "state" => hub.state_store(name),
        "pubsub" => hub.pubsub(name),
        "configuration" => match given("itemsFile") {
            Some(path) => return hub.configuration_file(name, path),
            None => hub.configuration_store(name),
        },
        "lock" => hub.lock_store(name),
        "secretstores" => hub.secrets(name, Vec::<(String, String)>::new()),
        _ => hub,
    })
}

/// Checks the names of metadata of the types that read some, but for `state.sqlite`, which checks its own.
fn check_names(
    component: &str,
    kind: &str,
    metadata: &BTreeMap<String, String>,
    strict: bool,
) -> Result<(), ComponentError> {
    let known: &[&str] = match kind {
        "secretstores.local.env" => &["prefix"],
        "secretstores.local.file" => &["secretsFile", "nestedSeparator", "multiValued"],
        "bindings.localstorage" => &["rootPath", "direction"],
        "bindings.http" => &["url", "errorIfNot2XX", "direction"],
        "bindings.cron" => &["schedule", "route", "direction"],
        _ => return Ok(()),
    };
    for name in metadata.keys().filter(|name| !known.iter().any(|known| name.eq_ignore_ascii_case(known))) {
        if strict {
            return Err(ComponentError::new(component, format!("metadata {name:?} of a {kind} is not known here")));
        }
        tracing::warn!(component, kind, name, "metadata that is not known here is ignored");
    }
    Ok(())
}

/// There is one store for the state of actors.
fn actor_store(hub: HubBuilder, name: String) -> Result<HubBuilder, ComponentError> {
    match &hub.actor_state_store {
        Some(other) if *other != name => {
            let reason = format!("there is another actor state store, {other:?}");
            Err(ComponentError::new(name, reason))
        }
        _ => Ok(hub.actor_state_store(name)),
    }
}

/// `metadata: [{name, value}]`. Values of any scalar type are texts.
fn metadata_of(spec: &Map<String, Value>) -> BTreeMap<String, String> {
    let items = spec.get("metadata").and_then(Value::as_array).into_iter().flatten();
    let pairs = items.filter_map(|item| {
        let value = match item.get("value")? {
            Value::String(text) => text.clone(),
            scalar => scalar.to_string(),
        };
        Some((item.get("name")?.as_str()?.to_owned(), value))
    });
    pairs.collect()
}

/// Of all targets only `components.<pubsub>.inbound.retry` has a meaning here.
fn resiliency(mut hub: HubBuilder, name: &str, spec: &Map<String, Value>) -> Result<HubBuilder, ComponentError> {
    let spec = Value::Object(spec.clone());
    let retries = &spec["policies"]["retries"];
    let Some(components) = spec["targets"]["components"].as_object() else { return Ok(hub) };
    for (component, target) in components {
        let Some(policy) = target["inbound"]["retry"].as_str() else { continue };
        let retry = retries.get(policy).and_then(Value::as_object);
        let retry = retry.ok_or_else(|| ComponentError::new(name, format!("there is no retry policy {policy:?}")))?;
        let retry = retry_policy(retry).map_err(|reason| ComponentError::new(name, reason))?;
        hub = hub.inbound_retry(component, retry);
    }
    Ok(hub)
}

fn retry_policy(policy: &Map<String, Value>) -> Result<RetryPolicy, String> {
    let span = |key: &str, default: Duration| match policy.get(key) {
        None => Ok(default),
        // A bare number is milliseconds.
        Some(Value::Number(millis)) => Ok(Duration::from_millis(millis.as_u64().unwrap_or_default())),
        Some(value) => {
            let text = value.as_str().unwrap_or_default();
            duration::of_go(text).ok_or_else(|| format!("{key} {text:?} is not a span of time"))
        }
    };
    let kind = policy.get("policy").and_then(Value::as_str).unwrap_or("constant");
    let retry = match kind.to_ascii_lowercase().as_str() {
        "constant" => RetryPolicy::constant(span("duration", Duration::from_secs(5))?),
        "exponential" => RetryPolicy::exponential(span("maxInterval", Duration::from_secs(60))?),
        _ => return Err(format!("retry policy {kind:?} is neither constant nor exponential")),
    };
    let max = policy.get("maxRetries").and_then(Value::as_i64).unwrap_or(-1);
    Ok(u32::try_from(max).map_or(retry, |max| retry.max_retries(max)))
}
