//! Reminders: calls of an actor that outlive its activations, and the app's sidecar (`dapr/dapr:pkg/actors/reminders`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use dapr::dapr::proto::common::v1::JobFailurePolicy;
use dapr::dapr::proto::runtime::v1::Job;
use prost_types::Any;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::{Key, Schedule, invocation, placement};
use crate::sidecar::duration::{self, Period};
use crate::sidecar::hub::HubState;
use crate::sidecar::lock::lock;
use crate::sidecar::schedule;
use crate::sidecar::scheduled::{self, Scheduled};

/// Of all actors of a hub. daprd has no limit.
const MAX_REMINDERS: usize = 4096;

/// The reminders of all actors of a hub, by actor and name.
#[derive(Debug, Default)]
pub(in crate::sidecar) struct Reminders(Mutex<BTreeMap<(Key, String), Arc<Scheduled>>>);

/// Why a reminder was not taken.
#[derive(Debug)]
pub(in crate::sidecar) enum Refusal {
    Exists,
    Invalid(String),
}

/// What the app gets: with daprd's scheduler, times are empty.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    due_time: &'static str,
    period: &'static str,
}

// ===== impl Reminders =====

impl Reminders {
    /// Takes a reminder, and calls its actor wherever it is hosted.
    pub(in crate::sidecar) fn register(
        hub: &Arc<HubState>,
        place: (Key, String),
        schedule: Schedule,
        failure_policy: Option<JobFailurePolicy>,
        overwrite: bool,
    ) -> Result<(), Refusal> {
        let body = Body { data: schedule.data.as_deref(), due_time: "", period: "" };
        let body = serde_json::to_vec(&body).expect("texts make JSON");
        let (key, name) = &place;
        scheduled::check_name(&format!("actorreminder||default||{key}||{name}"))
            .map_err(|reason| Refusal::Invalid(unknown(&reason)))?;
        let reminder = Arc::new(read(hub, name, schedule, failure_policy).map_err(Refusal::Invalid)?);
        let mut reminders = lock(&hub.reminders.0);
        match reminders.get(&place) {
            Some(_) if !overwrite => return Err(Refusal::Exists),
            Some(old) => old.delete(),
            None if reminders.len() >= MAX_REMINDERS => {
                return Err(Refusal::Invalid(format!("there are {MAX_REMINDERS} reminders already")));
            }
            None => {}
        }
        reminders.insert(place.clone(), Arc::clone(&reminder));
        drop(reminders);
        let hosts = hub.hosts_changed.subscribe();
        hub.tasks.spawn(run(Arc::downgrade(hub), hosts, place, reminder, body));
        Ok(())
    }

    pub(in crate::sidecar) fn get(&self, place: &(Key, String)) -> Option<Job> {
        lock(&self.0).get(place).map(|reminder| reminder.job.clone())
    }

    /// Those of one actor, or of all actors of a type.
    pub(in crate::sidecar) fn list(&self, kind: &str, id: Option<&str>) -> Vec<(Key, Job)> {
        let reminders = lock(&self.0);
        let wanted = reminders.iter().filter(|((key, _), _)| is_of(key, kind, id));
        wanted.map(|((key, _), reminder)| (key.clone(), reminder.job.clone())).collect()
    }

    /// None of this name is no error.
    pub(in crate::sidecar) fn delete(&self, place: &(Key, String)) {
        if let Some(reminder) = lock(&self.0).remove(place) {
            reminder.delete();
        }
    }

    pub(in crate::sidecar) fn delete_all(&self, kind: &str, id: Option<&str>) {
        lock(&self.0).retain(|(key, _), reminder| {
            let goes = is_of(key, kind, id);
            if goes {
                reminder.delete();
            }
            !goes
        });
    }

    fn forget(&self, place: &(Key, String), reminder: &Arc<Scheduled>) {
        let mut reminders = lock(&self.0);
        if reminders.get(place).is_some_and(|current| Arc::ptr_eq(current, reminder)) {
            reminders.remove(place);
        }
    }
}

fn is_of(key: &Key, kind: &str, id: Option<&str>) -> bool {
    key.kind == kind && id.is_none_or(|id| key.id == id)
}

fn read(
    hub: &HubState,
    name: &str,
    schedule: Schedule,
    failure_policy: Option<JobFailurePolicy>,
) -> Result<Scheduled, String> {
    let Schedule { due_time, period, ttl, data, .. } = schedule;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let every = match period.as_str() {
        "" => None,
        text => {
            let period = Period::parse(text).filter(|period| period.months == 0 && period.days == 0);
            Some(period.ok_or_else(|| format!("unsupported period format: {text}"))?)
        }
    };
    let repeats = every.and_then(|every| every.repeats).filter(|repeats| *repeats > 0);
    if repeats.is_none() && every.is_some_and(|every| every.is_zero()) {
        return Err(format!("unsupported period format: {period}: it would never end"));
    }
    let data = data.map(|data| Any::from_msg(&data.get().as_bytes().to_vec()).expect("bytes can be encoded"));
    let job = Job {
        name: name.to_owned(),
        schedule: every.map(|every| format!("@every {}", duration::to_go(every.time))),
        repeats,
        due_time: given(due_time),
        ttl: given(ttl),
        data,
        failure_policy,
    };
    let every = every.map(|every| schedule::Schedule::Every(every.time));
    let reminder = Scheduled::new(job, every, &hub.clock);
    reminder.map_err(|reason| unknown(&reason))
}

/// What daprd says of an error of its scheduler.
fn unknown(reason: &str) -> String {
    format!("rpc error: code = Unknown desc = {reason}")
}

/// Ends with the hub, which it does not hold.
async fn run(
    hub: Weak<HubState>,
    mut hosts: watch::Receiver<u64>,
    place: (Key, String),
    reminder: Arc<Scheduled>,
    body: Vec<u8>,
) {
    let Some(clock) = hub.upgrade().map(|hub| hub.clock) else { return };
    let waiting = hosts.clone();
    let attempt = || call(hub.clone(), waiting.clone(), place.clone(), Arc::clone(&reminder), body.clone());
    let is_done = tokio::select! {
        is_done = reminder.run(&clock, attempt) => is_done,
        () = async { while hosts.changed().await.is_ok() {} } => return,
    };
    if let Some(hub) = hub.upgrade().filter(|_| is_done) {
        hub.reminders.forget(&place, &reminder);
    }
}

async fn call(
    hub: Weak<HubState>,
    mut hosts: watch::Receiver<u64>,
    place: (Key, String),
    reminder: Arc<Scheduled>,
    body: Vec<u8>,
) -> Result<(), String> {
    let (key, name) = &place;
    let enter = async {
        loop {
            hosts.mark_unchanged();
            let hub = hub.upgrade()?;
            if placement::owner(&hub, key).is_some() {
                return Some(invocation::enter(&hub, key, None).await);
            }
            // Without a host it waits for one, late as it may be.
            drop(hub);
            hosts.changed().await.ok()?;
        }
    };
    // Deleted while it waits for its turn, it does not call.
    let Some(Some(entered)) = reminder.unless_deleted(enter).await else { return Ok(()) };
    let entered = entered.map_err(|failure| failure.to_string())?;
    let answer = entered.remind(&format!("remind/{name}"), body.into()).await;
    let answer = answer.map_err(|failure| failure.to_string())?;
    drop(entered);
    if answer.cancels {
        reminder.delete();
        if let Some(hub) = hub.upgrade() {
            hub.reminders.forget(&place, &reminder);
        }
    }
    Ok(())
}
