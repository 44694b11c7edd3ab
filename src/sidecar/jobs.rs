//! Jobs: what daprd has a scheduler for (`dapr/dapr:pkg/scheduler`, `diagridio/go-etcd-cron`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dapr::dapr::proto::common::v1::{HttpExtension, http_extension::Verb};
use dapr::dapr::proto::runtime::v1::{Job, JobEventRequest};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use prost::Message as _;
use prost_types::Any;
use tonic::Code;

use super::app::App;
use super::app_channel::AppChannel;
use super::lock::lock;
use super::scheduled::{self, Scheduled};
use super::{json, method};

pub(super) const JSON_VALUE: &str = "type.googleapis.com/google.protobuf.Value";

/// The jobs of all apps of a hub, by app id and name. They outlive the sidecar that took them.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<BTreeMap<(String, String), Arc<Scheduled>>>);

/// Why a job was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    Exists,
    Invalid(String),
}

// ===== impl Jobs =====

impl Jobs {
    /// Takes a job for this app, and runs it as long as the app's sidecar lives.
    pub(super) fn schedule(app: &Arc<App>, job: Job, overwrite: bool) -> Result<(), Refusal> {
        scheduled::check_name(&format!("app||default||{}||{}", app.id, job.name)).map_err(Refusal::Invalid)?;
        let entry = Arc::new(Scheduled::read(job, &app.hub.clock).map_err(Refusal::Invalid)?);
        let key = (app.id.clone(), entry.job.name.clone());
        let mut jobs = lock(&app.hub.jobs.0);
        if !overwrite && jobs.contains_key(&key) {
            return Err(Refusal::Exists);
        }
        if let Some(old) = jobs.insert(key, Arc::clone(&entry)) {
            old.delete();
        }
        drop(jobs);
        app.tasks.spawn(run(Arc::clone(app), entry));
        Ok(())
    }

    /// Goes on with the jobs of an app whose sidecar starts again.
    pub(super) fn resume(app: &Arc<App>) {
        for ((_, _), entry) in lock(&app.hub.jobs.0).iter().filter(|((id, _), _)| *id == app.id) {
            app.tasks.spawn(run(Arc::clone(app), Arc::clone(entry)));
        }
    }

    pub(super) fn get(&self, app: &str, name: &str) -> Option<Job> {
        lock(&self.0).get(&(app.to_owned(), name.to_owned())).map(|entry| entry.job.clone())
    }

    pub(super) fn list(&self, app: &str) -> Vec<Job> {
        let jobs = lock(&self.0);
        jobs.iter().filter(|((id, _), _)| id == app).map(|(_, entry)| entry.job.clone()).collect()
    }

    /// Deletes the jobs whose names fit. None is no error.
    pub(super) fn delete(&self, app: &str, fits: impl Fn(&str) -> bool) {
        lock(&self.0).retain(|(id, name), entry| {
            let goes = id == app && fits(name);
            if goes {
                entry.delete();
            }
            !goes
        });
    }
}

async fn run(app: Arc<App>, entry: Arc<Scheduled>) {
    app.ready().await;
    let attempt = || {
        let (app, entry) = (Arc::clone(&app), Arc::clone(&entry));
        async move { send(&app, &entry.job).await }
    };
    if entry.run(&app.hub.clock, attempt).await {
        let key = (app.id.clone(), entry.job.name.clone());
        let mut jobs = lock(&app.hub.jobs.0);
        if jobs.get(&key).is_some_and(|current| Arc::ptr_eq(current, &entry)) {
            jobs.remove(&key);
        }
    }
}

/// Not found counts as done.
async fn send(app: &App, job: &Job) -> Result<(), String> {
    let Some(channel) = &app.channel else { return Err("app channel not initialized".to_owned()) };
    if channel.is_grpc() {
        return send_grpc(channel, job).await;
    }
    let target = method::route(&format!("job/{}", job.name)).ok_or("its name is not a path")?;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let response = channel.send(Method::POST, target, headers, body(job.data.as_ref())).await;
    match response.map_err(|error| error.to_string())?.status() {
        status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
        status => Err(format!("the app answered {}", status.as_u16())),
    }
}

#[allow(deprecated, reason = "daprd falls back to the older rpc too")]
async fn send_grpc(channel: &AppChannel, job: &Job) -> Result<(), String> {
    let event = JobEventRequest {
        name: job.name.clone(),
        method: format!("job/{}", job.name),
        content_type: job.data.as_ref().map(|data| data.type_url.clone()).unwrap_or_default(),
        data: job.data.clone(),
        http_extension: Some(HttpExtension { verb: Verb::Post.into(), ..HttpExtension::default() }),
    };
    let stable = channel.callback().on_job_event(channel.call(event.clone(), HeaderMap::new())).await;
    let done = match stable {
        Err(status) if status.code() == Code::Unimplemented => {
            let alpha = channel.callback_alpha().on_job_event_alpha1(channel.call(event, HeaderMap::new())).await;
            alpha.map(drop)
        }
        done => done.map(drop),
    };
    match done {
        Err(status) if status.code() != Code::NotFound => Err(format!("the app answered {:?}", status.code())),
        _ => Ok(()),
    }
}

/// A JSON value as JSON, anything else as its bytes.
fn body(data: Option<&Any>) -> Bytes {
    let Some(data) = data else { return Bytes::new() };
    match prost_types::Value::decode(data.value.as_slice()) {
        Ok(value) if data.type_url == JSON_VALUE => json::of_proto(&value).to_string().into(),
        _ => Bytes::copy_from_slice(data.value.trim_ascii()),
    }
}
