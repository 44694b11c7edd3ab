//! What daprd's scheduler keeps, a job or a reminder: when it is due, and what happens when it fails.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dapr::dapr::proto::common::v1::job_failure_policy::Policy;
use dapr::dapr::proto::runtime::v1::Job;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::duration;
use super::lock::lock;
use super::method::quote;
use super::schedule::Schedule;

/// What a job without a failure policy gets: three more attempts, a second apart.
const DEFAULT_POLICY: (Duration, Option<u32>) = (Duration::from_secs(1), Some(3));
/// In bytes, of a name with its owner.
const MAX_NAME: usize = 512;

#[derive(Debug)]
pub(super) struct Scheduled {
    pub(super) job: Job,
    due: Option<DateTime<Utc>>,
    schedule: Option<Schedule>,
    expires: Option<DateTime<Utc>>,
    progress: Mutex<Progress>,
    deleted: CancellationToken,
}

#[derive(Debug)]
struct Progress {
    last: DateTime<Utc>,
    runs: u32,
}

// ===== impl Scheduled =====

impl Scheduled {
    /// # Errors
    /// What daprd's scheduler says of a job that it does not take.
    pub(super) fn read(job: Job, clock: &Clock) -> Result<Self, String> {
        let schedule = match &job.schedule {
            Some(text) => {
                // Only cron bindings may leave out the seconds.
                let fields: Vec<_> = text.split_whitespace().collect();
                if fields.len() != 6 && !text.starts_with('@') {
                    let (count, fields) = (fields.len(), fields.join(" "));
                    return Err(invalid(&format!("expected exactly 6 fields, found {count}: [{fields}]")));
                }
                Some(Schedule::parse(text).ok_or_else(|| invalid(&format!("invalid schedule {text:?}")))?)
            }
            None => None,
        };
        Self::new(job, schedule, clock)
    }

    /// # Errors
    /// As [`read`](Self::read). The schedule is this one, whatever the job says.
    pub(super) fn new(job: Job, schedule: Option<Schedule>, clock: &Clock) -> Result<Self, String> {
        let now = clock.now();
        if job.due_time.is_none() && schedule.is_none() {
            return Err(invalid("job must have either a due time or a schedule"));
        }
        if schedule.is_none() && job.repeats.is_some_and(|repeats| repeats > 1) {
            return Err(invalid("job must have a schedule to repeat"));
        }
        if job.repeats == Some(0) {
            return Err(invalid("defined repeats must be greater than 0"));
        }
        if schedule.is_none() && job.ttl.is_some() {
            return Err(invalid("job must have a schedule to have a ttl"));
        }
        let moment = |text: &Option<String>, from, what: &str| match text {
            Some(text) => duration::moment(text, from).map(Some).ok_or_else(|| invalid(what)),
            None => Ok(None),
        };
        let due = moment(&job.due_time, now, "due time format not recognized")?;
        let expires = moment(&job.ttl, due.unwrap_or(now), "ttl format not recognized")?;
        if due.zip(expires).is_some_and(|(due, expires)| due > expires) {
            return Err(invalid("ttl must be greater than due time"));
        }
        let progress = Mutex::new(Progress { last: now, runs: 0 });
        Ok(Self { job, due, schedule, expires, progress, deleted: CancellationToken::new() })
    }

    /// Runs it as often as it says. An attempt under way is not cut when it is deleted: it may be what deletes it.
    ///
    /// `false` when it was deleted before its last run.
    pub(super) async fn run<F>(&self, clock: &Clock, attempt: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<(), String>>,
    {
        while let Some(next) = self.next() {
            if self.unless_deleted(clock.sleep_until(next)).await.is_none() {
                return false;
            }
            self.trigger(&attempt).await;
            let mut progress = lock(&self.progress);
            progress.last = next;
            progress.runs += 1;
        }
        !self.deleted.is_cancelled()
    }

    /// The end of a future, unless this is deleted first.
    pub(super) async fn unless_deleted<F: Future>(&self, future: F) -> Option<F::Output> {
        self.deleted.run_until_cancelled(future).await
    }

    pub(super) fn delete(&self) {
        self.deleted.cancel();
    }

    /// The next run, unless it was the last one.
    fn next(&self) -> Option<DateTime<Utc>> {
        let progress = lock(&self.progress);
        if self.job.repeats.is_some_and(|repeats| progress.runs >= repeats) {
            return None;
        }
        let next = match (self.due, &self.schedule) {
            (Some(due), _) if progress.runs == 0 => Some(due),
            (_, Some(schedule)) => schedule.next(progress.last),
            _ => None,
        };
        next.filter(|next| self.expires.is_none_or(|expires| *next <= expires))
    }

    /// One run, with the retries of its failure policy.
    async fn trigger<F>(&self, attempt: impl Fn() -> F)
    where
        F: Future<Output = Result<(), String>>,
    {
        let (pause, retries) = self.policy();
        let mut failures = 0;
        while let Err(reason) = attempt().await {
            let gives_up = retries.is_some_and(|retries| failures >= retries);
            tracing::warn!(name = ?self.job.name, reason, gives_up, "a job or a reminder did not run");
            if gives_up || self.unless_deleted(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            failures += 1;
        }
    }

    fn policy(&self) -> (Duration, Option<u32>) {
        match self.job.failure_policy.and_then(|policy| policy.policy) {
            None => DEFAULT_POLICY,
            Some(Policy::Drop(_)) => (Duration::ZERO, Some(0)),
            Some(Policy::Constant(constant)) => {
                let interval = constant.interval.and_then(|interval| Duration::try_from(interval).ok());
                (interval.unwrap_or_default(), constant.max_retries)
            }
        }
    }
}

/// Checks a name as the scheduler has it, with its owner: it ends in a path of the app
/// (`diagridio/go-etcd-cron:internal/api/validator`).
///
/// # Errors
/// What daprd's scheduler says of a name that it does not take.
pub(super) fn check_name(full: &str) -> Result<(), String> {
    let reason = if full.len() > MAX_NAME {
        "must be at most 512 characters"
    } else if full.contains(['/', '\\', '#', '?']) {
        "must not contain '/', '\\', '#' or '?'"
    } else if full.contains(char::is_control) {
        "must not contain control characters"
    } else {
        return Ok(());
    };
    Err(format!("job name is invalid {}: {reason}", quote(full)))
}

fn invalid(reason: &str) -> String {
    format!("job failed validation: {reason}")
}
