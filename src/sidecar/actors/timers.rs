//! Timers: calls of an actor as long as it is active (`dapr/dapr:pkg/actors/internal/timers`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::{Key, Schedule, invocation};
use crate::sidecar::app::App;
use crate::sidecar::duration::{self, Period};
use crate::sidecar::lock::lock;

/// Of all actors of one app. daprd has no limit.
pub(super) const MAX_TIMERS: usize = 4096;

/// The timers of an app, which end with its sidecar.
#[derive(Debug, Default)]
pub(super) struct Timers(Mutex<HashMap<(Key, String), Arc<Timer>>>);

#[derive(Debug)]
struct Timer {
    key: Key,
    name: String,
    body: Vec<u8>,
    due: DateTime<Utc>,
    period: Period,
    expires: Option<DateTime<Utc>>,
    stopped: CancellationToken,
}

/// What the app gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    callback: &'a str,
    due_time: &'a str,
    period: &'a str,
}

/// Starts a timer; one of the same name starts again.
///
/// # Errors
/// What daprd says behind `error creating actor timer:`.
pub(in crate::sidecar) fn start(app: &Arc<App>, key: Key, name: String, timer: &Schedule) -> Result<(), String> {
    if !app.host.hosts(&key.kind) {
        return Err(format!("can't create timer for actor {key}: actor type not registered"));
    }
    let timer = Arc::new(Timer::read(key, name, timer, app.hub.clock.now())?);
    let place = (timer.key.clone(), timer.name.clone());
    let mut timers = lock(&app.host.timers.0);
    if timers.len() >= MAX_TIMERS && !timers.contains_key(&place) {
        return Err(format!("the app has {MAX_TIMERS} timers already"));
    }
    if let Some(old) = timers.insert(place, Arc::clone(&timer)) {
        old.stopped.cancel();
    }
    drop(timers);
    app.tasks.spawn(run(Arc::clone(app), timer));
    Ok(())
}

/// None of this name is no error.
pub(in crate::sidecar) fn stop(app: &App, key: Key, name: String) {
    if let Some(timer) = lock(&app.host.timers.0).remove(&(key, name)) {
        timer.stopped.cancel();
    }
}

// ===== impl Timers =====

impl Timers {
    pub(super) fn stop_all(&self, key: &Key) {
        lock(&self.0).retain(|(of, _), timer| {
            let stays = of != key;
            if !stays {
                timer.stopped.cancel();
            }
            stays
        });
    }

    fn forget(&self, timer: &Arc<Timer>) {
        let place = (timer.key.clone(), timer.name.clone());
        let mut timers = lock(&self.0);
        if timers.get(&place).is_some_and(|current| Arc::ptr_eq(current, timer)) {
            timers.remove(&place);
        }
    }
}

// ===== impl Timer =====

impl Timer {
    fn read(key: Key, name: String, timer: &Schedule, now: DateTime<Utc>) -> Result<Self, String> {
        let Schedule { due_time, period, ttl, callback, data } = timer;
        let moment = |what: &str, text: &str, from| {
            let moment = duration::moment(text, from);
            moment.ok_or_else(|| format!("error parsing timer {what}: unsupported time/duration format: {text}"))
        };
        let due = if due_time.is_empty() { now } else { moment("due time", due_time, now)? };
        let parsed = match period.as_str() {
            "" => Period::default(),
            text => Period::parse(text)
                .ok_or_else(|| format!("invalid timer period: parse error: unsupported duration format: {text}"))?,
        };
        if parsed.repeats == Some(0) {
            return Err("invalid timer period: has zero repetitions".to_owned());
        }
        let expires = if ttl.is_empty() { None } else { Some(moment("TTL", ttl, due)?) };
        if expires.is_some_and(|expires| now > expires || due > expires) {
            let due = due.to_rfc3339_opts(SecondsFormat::Secs, true);
            return Err(format!("timer {key}||{name} has already expired: dueTime: {due} TTL: {ttl}"));
        }
        let body = Body { data: data.as_deref(), callback, due_time, period };
        let body = serde_json::to_vec(&body).expect("texts make JSON");
        Ok(Self { key, name, body, due, period: parsed, expires, stopped: CancellationToken::new() })
    }
}

/// A call that failed is over: the timer goes on.
async fn run(app: Arc<App>, timer: Arc<Timer>) {
    let (mut next, mut left) = (timer.due, timer.period.repeats);
    while timer.expires.is_none_or(|expires| next < expires) {
        if timer.stopped.run_until_cancelled(app.hub.clock.sleep_until(next)).await.is_none() {
            return;
        }
        if call(&app, &timer).await.is_break() {
            break;
        }
        left = left.map(|left| left - 1);
        if left == Some(0) || timer.period.is_zero() {
            break;
        }
        let Some(following) = timer.period.after(next) else { break };
        next = following;
    }
    app.host.timers.forget(&timer);
}

/// Stopped while it waits for its turn, it does not call; a call under way may be what stops it.
async fn call(app: &Arc<App>, timer: &Timer) -> std::ops::ControlFlow<()> {
    use std::ops::ControlFlow::{Break, Continue};
    let turn = timer.stopped.run_until_cancelled(invocation::enter(&app.hub, &timer.key, None)).await;
    let Some(turn) = turn else { return Break(()) };
    let done = match turn {
        Ok(turn) => turn.remind(&format!("timer/{}", timer.name), timer.body.clone().into()).await,
        Err(failure) => Err(failure),
    };
    match done {
        Ok(answer) if answer.cancels => Break(()),
        Ok(_) => Continue(()),
        Err(failure) => {
            tracing::warn!(app_id = app.id, actor = %timer.key, timer = ?timer.name, %failure, "a timer failed");
            Continue(())
        }
    }
}
