//! Secrets, configuration, locks, bindings, jobs and metadata.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dapr::dapr::proto::common::v1::job_failure_policy::Policy;
use dapr::dapr::proto::common::v1::{
    ConfigurationItem, JobFailurePolicy, JobFailurePolicyConstant, JobFailurePolicyDrop,
};
use dapr::dapr::proto::runtime::v1::{
    ActorRuntime, DeleteJobRequest, GetBulkSecretRequest, GetConfigurationRequest, GetJobRequest, GetMetadataRequest,
    GetSecretRequest, InvokeBindingRequest, Job, PubsubSubscriptionType, ScheduleJobRequest, SetMetadataRequest,
    ShutdownRequest, TryLockRequest, UnlockRequest, UnsubscribeConfigurationRequest,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use prost::Message as _;
use prost_types::Any;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json as value};
use tonic::{Response, Status};

use super::error::Refusal;
use super::state::deserializing;
use super::{Answer, Call, empty, go_json, json, line, respond};
use crate::sidecar::components::Item;
use crate::sidecar::grpc::{bindings, configuration, jobs, locks, metadata, secrets};
use crate::sidecar::{headers, json as proto_json, lock as mutex, method};

impl Call {
    pub(super) fn done<T>(&self, result: Result<Response<T>, Status>) -> Result<T, Refusal> {
        result.map(Response::into_inner).map_err(|status| Refusal::of_status(&self.app, &status))
    }

    pub(super) fn parsed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refusal> {
        go_json::from_slice(&self.body).map_err(|error| deserializing(&Refusal::of_json(&error)))
    }
}

// ===== secrets =====

pub(super) async fn secret(call: &Call, store: &str, key: &str) -> Answer {
    let (store_name, key) = (store.to_owned(), key.to_owned());
    let request = GetSecretRequest { store_name, key, metadata: call.metadata() };
    let secret = call.done(secrets::get(&call.app, call.request(request)).await)?;
    Ok(line(&secret.data.into_iter().collect::<BTreeMap<_, _>>()))
}

pub(super) async fn secrets(call: &Call, store: &str) -> Answer {
    let request = GetBulkSecretRequest { store_name: store.to_owned(), metadata: call.metadata() };
    let all = call.done(secrets::get_bulk(&call.app, call.request(request)).await)?;
    Ok(line(&all.data.into_iter().map(|(name, secret)| (name, secret.secrets)).collect::<BTreeMap<_, _>>()))
}

// ===== configuration =====

pub(super) async fn configuration(call: &Call, store: &str) -> Answer {
    let (store_name, keys) = (store.to_owned(), call.query("key"));
    let request = GetConfigurationRequest { store_name, keys, metadata: call.metadata() };
    let found = call.done(configuration::get(&call.app, call.request(request)).await)?;
    if found.items.is_empty() {
        return Ok(empty());
    }
    let item = |item: ConfigurationItem| value!({"value": item.value, "version": item.version, "metadata": {}});
    Ok(json(&found.items.into_iter().map(|(key, one)| (key, item(one))).collect::<BTreeMap<_, _>>()))
}

/// The changes go to `POST /configuration/<store>/<key>` of the app.
pub(super) async fn subscribe(call: &Call, store: &str) -> Answer {
    let app = Arc::clone(&call.app);
    let found = configuration::store(&app, store).map_err(|status| Refusal::of_status(&app, &status))?;
    let Some(channel) = app.channel.clone() else {
        let message = "app channel is not initialized. cannot subscribe to configuration updates";
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR_APP_CHANNEL_NIL", message));
    };
    let mut watch = found.watch(call.query("key"));
    let (id, ended) = configuration::subscription(&app);
    let (store, told) = (store.to_owned(), id.clone());
    app.tasks.clone().spawn(async move {
        let work = async {
            while let Some((key, item)) = watch.changes.recv().await {
                let Some(target) = method::route(&format!("configuration/{store}/{key}")) else { continue };
                let body = update(&id, &key, &item).to_string();
                let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
                if let Err(error) = channel.send(Method::POST, target, headers, body.into()).await {
                    tracing::warn!(store, %error, "a configuration update did not reach the app");
                }
            }
        };
        ended.run_until_cancelled(work).await;
        mutex::lock(&app.configuration_subscriptions).remove(&id);
    });
    Ok(json(&value!({ "id": told })))
}

fn update(id: &str, key: &str, item: &Item) -> Value {
    value!({"id": id, "items": {key: {"value": item.value, "version": item.version, "metadata": {}}}})
}

pub(super) async fn unsubscribe(call: &Call, store: &str, id: &str) -> Answer {
    let request = UnsubscribeConfigurationRequest { store_name: store.to_owned(), id: id.to_owned() };
    let ended = call.done(configuration::unsubscribe(&call.app, call.request(request)).await)?;
    if ended.ok {
        return Ok(json(&value!({ "ok": true })));
    }
    let body = value!({ "message": ended.message }).to_string();
    Ok(respond(StatusCode::INTERNAL_SERVER_ERROR, Some("application/json"), body.into()))
}

// ===== locks =====

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Lock {
    resource_id: String,
    lock_owner: String,
    expiry_in_seconds: i32,
}

pub(super) async fn lock(call: &Call, store: &str) -> Answer {
    let Lock { resource_id, lock_owner, expiry_in_seconds } = call.parsed()?;
    let request = TryLockRequest { store_name: store.to_owned(), resource_id, lock_owner, expiry_in_seconds };
    let locked = call.done(locks::try_lock(&call.app, call.request(request)).await)?;
    Ok(json(&value!({ "success": locked.success })))
}

pub(super) async fn unlock(call: &Call, store: &str) -> Answer {
    let Lock { resource_id, lock_owner, .. } = call.parsed()?;
    let request = UnlockRequest { store_name: store.to_owned(), resource_id, lock_owner };
    let unlocked = call.done(locks::unlock(&call.app, call.request(request)).await)?;
    Ok(json(&value!({ "status": unlocked.status })))
}

// ===== bindings =====

#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    operation: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    metadata: Option<HashMap<String, String>>,
}

pub(super) async fn binding(call: &Call, name: &str) -> Answer {
    let Operation { operation, data, metadata } = call.parsed()?;
    let data = data.map_or_else(|| b"null".to_vec(), |data| data.get().into());
    let request =
        InvokeBindingRequest { name: name.to_owned(), data, metadata: metadata.unwrap_or_default(), operation };
    let answer = call.done(bindings::invoke(&call.app, call.request(request)).await)?;
    let mut response = match answer.data.is_empty() && answer.metadata.is_empty() {
        true => empty(),
        false => respond(StatusCode::OK, Some("application/json"), answer.data.into()),
    };
    for (key, text) in &answer.metadata {
        headers::append(response.headers_mut(), &format!("metadata.{key}"), headers::value(text));
    }
    Ok(response)
}

// ===== jobs =====

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JobBody {
    name: String,
    schedule: Option<String>,
    repeats: Option<u32>,
    due_time: Option<String>,
    ttl: Option<String>,
    data: Option<Value>,
    overwrite: bool,
    failure_policy: Option<FailurePolicy>,
}

/// What a failed attempt leads to: one of the two.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct FailurePolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constant: Option<Constant>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Constant {
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
}

// ===== impl FailurePolicy =====

impl FailurePolicy {
    fn into_proto(self) -> Result<JobFailurePolicy, Refusal> {
        let policy = match (self.drop, self.constant) {
            (Some(_), Some(_)) => return Err(Refusal::malformed("a failure policy is either drop or constant")),
            (Some(_), None) => Some(Policy::Drop(JobFailurePolicyDrop {})),
            (None, Some(Constant { interval, max_retries })) => {
                let interval = interval.map(|text| text.parse::<prost_types::Duration>()).transpose();
                let interval = interval.map_err(|error| Refusal::malformed(&format!("invalid interval: {error}")))?;
                Some(Policy::Constant(JobFailurePolicyConstant { interval, max_retries }))
            }
            (None, None) => None,
        };
        Ok(JobFailurePolicy { policy })
    }

    fn of_proto(policy: JobFailurePolicy) -> Self {
        match policy.policy {
            None => Self::default(),
            Some(Policy::Drop(_)) => Self { drop: Some(Map::new()), constant: None },
            Some(Policy::Constant(JobFailurePolicyConstant { interval, max_retries })) => {
                let constant = Constant { interval: interval.map(|interval| interval.to_string()), max_retries };
                Self { drop: None, constant: Some(constant) }
            }
        }
    }
}

pub(super) async fn schedule(call: &Call, name: &str) -> Answer {
    let body: JobBody = call.parsed()?;
    if !body.name.is_empty() {
        let message = "Set the job name in the url only";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "DAPR_SCHEDULER_JOB_NAME", message));
    }
    let data = body.data.map(|data| Any {
        type_url: crate::sidecar::jobs::JSON_VALUE.to_owned(),
        value: proto_json::to_proto(&data).encode_to_vec(),
    });
    let job = Job {
        name: name.to_owned(),
        schedule: body.schedule,
        repeats: body.repeats,
        due_time: body.due_time,
        ttl: body.ttl,
        data,
        failure_policy: body.failure_policy.map(FailurePolicy::into_proto).transpose()?,
    };
    let request = ScheduleJobRequest { job: Some(job), overwrite: body.overwrite };
    call.done(jobs::schedule(&call.app, call.request(request)).await)?;
    Ok(empty())
}

pub(super) async fn job(call: &Call, name: &str) -> Answer {
    let request = GetJobRequest { name: name.to_owned() };
    let job = call.done(jobs::get(&call.app, call.request(request)).await)?.job.unwrap_or_default();
    let mut body = Map::from_iter([("name".to_owned(), Value::from(job.name))]);
    let texts = [("schedule", job.schedule), ("dueTime", job.due_time), ("ttl", job.ttl)];
    for (name, text) in texts {
        body.extend(text.map(|text| (name.to_owned(), Value::from(text))));
    }
    body.extend(job.repeats.map(|repeats| ("repeats".to_owned(), Value::from(repeats))));
    let data = job.data.and_then(|data| prost_types::Value::decode(data.value.as_slice()).ok());
    body.extend(data.map(|data| ("data".to_owned(), proto_json::of_proto(&data))));
    let policy = job.failure_policy.map(|policy| value!(FailurePolicy::of_proto(policy)));
    body.extend(policy.map(|policy| ("failurePolicy".to_owned(), policy)));
    Ok(json(&body))
}

pub(super) async fn delete_job(call: &Call, name: &str) -> Answer {
    let request = DeleteJobRequest { name: name.to_owned() };
    call.done(jobs::delete(&call.app, call.request(request)).await)?;
    Ok(empty())
}

// ===== metadata =====

pub(super) async fn metadata(call: &Call) -> Answer {
    let all = call.done(metadata::get(&call.app, call.request(GetMetadataRequest {})).await)?;
    let components = all.registered_components.into_iter().map(
        |one| value!({"name": one.name, "type": one.r#type, "version": one.version, "capabilities": one.capabilities}),
    );
    let subscriptions = all.subscriptions.into_iter().map(|one| {
        let rules = one.rules.clone().unwrap_or_default().rules.into_iter();
        let rules = rules.map(|rule| value!({"match": rule.r#match, "path": rule.path}));
        let kind = PubsubSubscriptionType::try_from(one.r#type).unwrap_or_default();
        value!({
            "pubsubname": one.pubsub_name, "topic": one.topic, "metadata": one.metadata,
            "rules": rules.collect::<Vec<_>>(), "deadLetterTopic": one.dead_letter_topic, "type": kind.as_str_name(),
        })
    });
    let connection = all
        .app_connection_properties
        .map(|app| value!({"port": app.port, "protocol": app.protocol, "channelAddress": app.channel_address}));
    let mut body = value!({
        "id": all.id,
        "runtimeVersion": all.runtime_version,
        "components": components.collect::<Vec<_>>(),
        "extended": all.extended_metadata,
        "subscriptions": subscriptions.collect::<Vec<_>>(),
        "actorRuntime": actor_runtime(&all.actor_runtime.unwrap_or_default()),
    });
    if let Some(counts) = body["actorRuntime"].get("activeActors").cloned() {
        body["actors"] = counts;
    }
    if let (Some(connection), Some(body)) = (connection, body.as_object_mut()) {
        body.insert("appConnectionProperties".to_owned(), connection);
    }
    Ok(json(&body))
}

/// Empty members are left out, but those that say what is the case.
fn actor_runtime(runtime: &ActorRuntime) -> Value {
    let mut body = value!({
        "runtimeStatus": runtime.runtime_status().as_str_name(),
        "hostReady": runtime.host_ready,
    });
    if !runtime.placement.is_empty() {
        body["placement"] = runtime.placement.as_str().into();
    }
    let counts = runtime.active_actors.iter().map(|one| match one.count {
        0 => value!({"type": one.r#type}),
        count => value!({"type": one.r#type, "count": count}),
    });
    if !runtime.active_actors.is_empty() {
        body["activeActors"] = counts.collect();
    }
    body
}

pub(super) async fn set_metadata(call: &Call, key: &str) -> Answer {
    let value = String::from_utf8_lossy(&call.body).into_owned();
    let request = SetMetadataRequest { key: key.to_owned(), value };
    call.done(metadata::set(&call.app, call.request(request)).await)?;
    Ok(empty())
}

pub(super) async fn shutdown(call: &Call) -> Answer {
    call.done(metadata::shutdown(&call.app, call.request(ShutdownRequest {})).await)?;
    Ok(empty())
}
