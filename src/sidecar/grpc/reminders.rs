//! Timers and reminders of actors (`dapr/dapr:pkg/api/universal/actors.go`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use dapr::dapr::proto::common::v1::JobFailurePolicy;
use dapr::dapr::proto::runtime::v1::{
    ActorReminder, GetActorReminderRequest, GetActorReminderResponse, Job, ListActorRemindersRequest,
    ListActorRemindersResponse, NamedActorReminder, RegisterActorReminderRequest, RegisterActorTimerRequest,
    UnregisterActorReminderRequest, UnregisterActorRemindersByTypeRequest, UnregisterActorRemindersByTypeResponse,
    UnregisterActorTimerRequest,
};
use serde_json::value::{RawValue, to_raw_value};
use tonic::{Code, Request, Response, Status};

use super::actors::check_type;
use super::status::plain;
use crate::sidecar::actors::{self, Key, Refusal, Reminders, Schedule};
use crate::sidecar::app::App;

pub(in crate::sidecar) async fn register_timer(
    app: &Arc<App>,
    request: Request<RegisterActorTimerRequest>,
) -> Result<Response<()>, Status> {
    let request = request.into_inner();
    let key = Key::new(request.actor_type, request.actor_id);
    let schedule = Schedule {
        due_time: request.due_time,
        period: request.period,
        ttl: request.ttl,
        callback: request.callback,
        data: data(&request.data),
    };
    start_timer(app, key, request.name, &schedule).await.map(Response::new)
}

pub(in crate::sidecar) async fn unregister_timer(
    app: &Arc<App>,
    request: Request<UnregisterActorTimerRequest>,
) -> Result<Response<()>, Status> {
    let UnregisterActorTimerRequest { actor_type, actor_id, name } = request.into_inner();
    check_type(&actor_type)?;
    app.host.registered().await;
    actors::stop_timer(app, Key::new(actor_type, actor_id), name);
    Ok(Response::new(()))
}

pub(in crate::sidecar) async fn register_reminder(
    app: &Arc<App>,
    request: Request<RegisterActorReminderRequest>,
) -> Result<Response<()>, Status> {
    let request = request.into_inner();
    let key = Key::new(request.actor_type, request.actor_id);
    let schedule = Schedule {
        due_time: request.due_time,
        period: request.period,
        ttl: request.ttl,
        callback: String::new(),
        data: data(&request.data),
    };
    let policy = (request.failure_policy, request.overwrite.unwrap_or(true));
    start_reminder(app, (key, request.name), schedule, policy).await.map(Response::new)
}

pub(in crate::sidecar) async fn unregister_reminder(
    app: &Arc<App>,
    request: Request<UnregisterActorReminderRequest>,
) -> Result<Response<()>, Status> {
    let UnregisterActorReminderRequest { actor_type, actor_id, name } = request.into_inner();
    check_host(app, &actor_type).await?;
    app.hub.reminders.delete(&(Key::new(actor_type, actor_id), name));
    Ok(Response::new(()))
}

pub(in crate::sidecar) async fn unregister_reminders_by_type(
    app: &Arc<App>,
    request: Request<UnregisterActorRemindersByTypeRequest>,
) -> Result<Response<UnregisterActorRemindersByTypeResponse>, Status> {
    let UnregisterActorRemindersByTypeRequest { actor_type, actor_id } = request.into_inner();
    check_host(app, &actor_type).await?;
    app.hub.reminders.delete_all(&actor_type, actor_id.as_deref());
    Ok(Response::new(UnregisterActorRemindersByTypeResponse {}))
}

pub(in crate::sidecar) async fn get_reminder(
    app: &Arc<App>,
    request: Request<GetActorReminderRequest>,
) -> Result<Response<GetActorReminderResponse>, Status> {
    let GetActorReminderRequest { actor_type, actor_id, name } = request.into_inner();
    check_host(app, &actor_type).await?;
    let place = (Key::new(actor_type, actor_id), name);
    let job = app.hub.reminders.get(&place);
    let job = job.ok_or_else(|| {
        let message = format!("actor reminder not found: {}", place.1);
        plain(Code::NotFound, 404, "ERR_ACTOR_REMINDER_NOT_FOUND", message)
    })?;
    let ttl = expiration(&job);
    let Key { kind: actor_type, id: actor_id } = place.0;
    let (due_time, period, data) = (job.due_time, job.schedule, job.data);
    Ok(Response::new(GetActorReminderResponse { actor_type, actor_id, due_time, period, data, ttl }))
}

pub(in crate::sidecar) async fn list_reminders(
    app: &Arc<App>,
    request: Request<ListActorRemindersRequest>,
) -> Result<Response<ListActorRemindersResponse>, Status> {
    let ListActorRemindersRequest { actor_type, actor_id } = request.into_inner();
    check_host(app, &actor_type).await?;
    // An empty id is none.
    let id = actor_id.as_deref().filter(|id| !id.is_empty());
    let reminders = app.hub.reminders.list(&actor_type, id).into_iter().map(|(key, job)| NamedActorReminder {
        name: job.name,
        reminder: Some(ActorReminder {
            actor_type: key.kind,
            actor_id: key.id,
            due_time: job.due_time,
            period: job.schedule,
            data: job.data,
            // daprd's list has none.
            ttl: None,
        }),
    });
    Ok(Response::new(ListActorRemindersResponse { reminders: reminders.collect() }))
}

pub(in crate::sidecar) async fn start_timer(
    app: &Arc<App>,
    key: Key,
    name: String,
    schedule: &Schedule,
) -> Result<(), Status> {
    check_type(&key.kind)?;
    app.host.registered().await;
    check_names(&key, &name)?;
    actors::start_timer(app, key, name, schedule).map_err(|reason| {
        let message = format!("error creating actor timer: {reason}");
        plain(Code::Internal, 500, "ERR_ACTOR_TIMER_CREATE", message)
    })
}

/// With the failure policy, and whether it may replace another one.
pub(in crate::sidecar) async fn start_reminder(
    app: &Arc<App>,
    place: (Key, String),
    schedule: Schedule,
    (failure_policy, overwrite): (Option<JobFailurePolicy>, bool),
) -> Result<(), Status> {
    check_type(&place.0.kind)?;
    app.host.registered().await;
    if place.1.is_empty() {
        return Err(bad_request("reminder name cannot be empty"));
    }
    check_names(&place.0, &place.1)?;
    check_host(app, &place.0.kind).await?;
    let name = place.1.clone();
    Reminders::register(&app.hub, place, schedule, failure_policy, overwrite).map_err(|refusal| match refusal {
        Refusal::Exists => {
            let message = format!("actor reminder already exists: {name}");
            plain(Code::AlreadyExists, 409, "ERR_ACTOR_REMINDER_ALREADY_EXISTS", message)
        }
        Refusal::Invalid(reason) => {
            let message = format!("error creating actor reminder: {reason}");
            plain(Code::Internal, 500, "ERR_ACTOR_REMINDER_CREATE", message)
        }
    })
}

/// Reminders are the business of apps that host their type.
async fn check_host(app: &App, kind: &str) -> Result<(), Status> {
    check_type(kind)?;
    app.host.registered().await;
    if app.host.hosts(kind) {
        return Ok(());
    }
    let message = "operations on actor reminders are only possible on hosted actor types";
    Err(plain(Code::PermissionDenied, 403, "ERR_ACTOR_REMINDER_NON_HOSTED", message))
}

/// Also of the actor: its timers call paths with its id, which daprd takes as it is.
fn check_names(key: &Key, name: &str) -> Result<(), Status> {
    actors::check(name).and_then(|()| key.check()).map_err(|reason| bad_request(&reason))
}

fn bad_request(reason: &str) -> Status {
    plain(Code::InvalidArgument, 400, "ERR_BAD_REQUEST", format!("invalid request: {reason}"))
}

/// Bytes are a JSON string of base64, as Go writes them.
fn data(bytes: &[u8]) -> Option<Box<RawValue>> {
    (!bytes.is_empty()).then(|| to_raw_value(&STANDARD.encode(bytes)).expect("a string is JSON"))
}

/// daprd tells the end of a reminder only when it was given as a moment.
fn expiration(job: &Job) -> Option<String> {
    job.ttl.clone().filter(|ttl| DateTime::parse_from_rfc3339(ttl).is_ok())
}
