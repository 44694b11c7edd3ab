use std::{fmt, time::Duration};

use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::{
    DeleteJobRequest, DeleteJobsByPrefixRequest, GetJobRequest, Job as Message, ListJobsRequest, ScheduleJobRequest,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Dapr, FailurePolicy, Timing,
    parts::{Component, Payload, sent_when_awaited},
};
use crate::Error;

const SCHEDULE: &str = "schedule job";
const GET: &str = "get job";
const DELETE: &str = "delete job";
const LIST: &str = "list jobs of";

/// What Dapr's scheduler calls this app for, later: `POST /job/<name>`. Made by [`Dapr::jobs`].
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(dapr: tower_dapr::outbound::Dapr) -> Result<(), tower_dapr::Error> {
/// let jobs = dapr.jobs();
/// jobs.schedule("report").cron("0 30 6 * * *").overwrite().json(&"daily").await?;
/// jobs.schedule("reminder").due(Duration::from_secs(600)).await?; // once, in ten minutes
/// jobs.delete("reminder").await?;
/// # Ok(())
/// # }
/// ```
///
/// These calls are stable since daprd 1.18. An older one answers `UNKNOWN`; its `..Alpha1` forms are in [`Dapr::raw`].
#[derive(Debug, Clone)]
pub struct Jobs {
    dapr: Dapr,
}

impl Jobs {
    pub(super) const fn new(dapr: Dapr) -> Self {
        Self { dapr }
    }

    fn component(&self, name: String) -> Component {
        Component::new(self.dapr.clone(), name)
    }

    /// Schedules a job, when awaited. It needs a schedule or a due time.
    pub fn schedule(&self, name: impl Into<String>) -> ScheduleJob {
        let name = name.into();
        let job = Message { name: name.clone(), ..Message::default() };
        ScheduleJob { name: self.component(name), job, data: None, overwrite: false }
    }

    /// What is known of a job.
    ///
    /// # Errors
    ///
    /// If the name is empty ([`Error::is_invalid`]), or the call fails: also if there is no such job, which daprd calls
    /// `INTERNAL`.
    pub async fn get(&self, name: impl Into<String>) -> Result<Job, Error> {
        let component = self.component(name.into());
        let (mut client, name) = component.call(GET)?;
        let answer = client.get_job(GetJobRequest { name }).await.map_err(component.failed(GET))?.into_inner();
        let job = answer.job.ok_or_else(|| Error::protocol(GET, component.name(), "the answer holds no job"))?;
        Ok(self.job(job))
    }

    /// Forgets a job. One that is not there is no error.
    ///
    /// # Errors
    ///
    /// If the name is empty ([`Error::is_invalid`]), or the call fails.
    pub async fn delete(&self, name: impl Into<String>) -> Result<(), Error> {
        let component = self.component(name.into());
        let (mut client, name) = component.call(DELETE)?;
        client.delete_job(DeleteJobRequest { name }).await.map_err(component.failed(DELETE))?;
        Ok(())
    }

    /// Forgets all jobs of this app whose names start so.
    ///
    /// # Errors
    ///
    /// If the prefix is empty ([`Error::is_invalid`]; all jobs would be forgotten), or the call fails.
    pub async fn delete_by_prefix(&self, prefix: impl Into<String>) -> Result<(), Error> {
        let component = self.component(prefix.into());
        let (mut client, prefix) = component.call(DELETE)?;
        let request = DeleteJobsByPrefixRequest { name_prefix: Some(prefix) };
        client.delete_jobs_by_prefix(request).await.map_err(component.failed(DELETE))?;
        Ok(())
    }

    /// All jobs of this app.
    ///
    /// # Errors
    ///
    /// If the call fails.
    pub async fn list(&self) -> Result<Vec<Job>, Error> {
        let answer = self.dapr.raw().list_jobs(ListJobsRequest {}).await;
        let answer = answer.map_err(|status| Error::status(LIST, "sidecar", status))?.into_inner();
        Ok(answer.jobs.into_iter().map(|job| self.job(job)).collect())
    }

    fn job(&self, job: Message) -> Job {
        Job { component: self.component(job.name.clone()), job }
    }
}

/// A job that is not scheduled yet. Made by [`Jobs::schedule`]; sent when awaited.
///
/// # Errors
///
/// When awaited: if the name is empty, there is neither schedule nor due time, or the data cannot be written as JSON
/// ([`Error::is_invalid`]; nothing was sent); the job is there already ([`Error::is_already_exists`], unless
/// [`overwrite`](Self::overwrite)); Dapr cannot read a time (`INTERNAL`); there is no scheduler ([`Error::is_timeout`],
/// after up to 30 s); or the call fails.
#[must_use = "nothing is scheduled until it is awaited"]
pub struct ScheduleJob {
    name: Component,
    job: Message,
    data: Option<Payload>,
    overwrite: bool,
}

impl ScheduleJob {
    /// When to run, as cron with seconds (`0 30 6 * * *`) or a shorthand (`@daily`, `@every 1h30m`).
    pub fn cron(mut self, schedule: impl Into<String>) -> Self {
        self.job.schedule = Some(schedule.into());
        self
    }

    /// Runs once in each interval.
    pub fn every(self, interval: Duration) -> Self {
        self.cron(format!("@every {}", Timing::from(interval).as_str()))
    }

    /// When to run once, or when the schedule starts.
    pub fn due(mut self, due: impl Into<Timing>) -> Self {
        self.job.due_time = Some(due.into().into_string());
        self
    }

    /// How often to run. Defaults to for ever with a schedule, else once.
    pub fn repeats(mut self, times: u32) -> Self {
        self.job.repeats = Some(times);
        self
    }

    /// When to forget the job.
    pub fn ttl(mut self, ttl: impl Into<Timing>) -> Self {
        self.job.ttl = Some(ttl.into().into_string());
        self
    }

    /// The data that the app is given: this value as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = Some(Payload::json(data));
        self
    }

    /// The data that the app is given: these bytes.
    pub fn bytes(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(Payload::bytes(data));
        self
    }

    /// What happens if the app fails. Defaults to Dapr's own.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.job.failure_policy = Some(policy.into());
        self
    }

    /// Replaces a job of this name. Makes it safe to send again.
    pub fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    async fn send(self) -> Result<(), Error> {
        let Self { name, mut job, data, overwrite } = self;
        let (mut client, _) = name.call(SCHEDULE)?;
        if job.schedule.is_none() && job.due_time.is_none() {
            return Err(name.invalid(SCHEDULE, "there is neither schedule nor due time"));
        }
        job.data = data.map(|data| data.take_any(SCHEDULE, name.name())).transpose()?;
        let request = ScheduleJobRequest { job: Some(job), overwrite };
        client.schedule_job(request).await.map_err(name.failed(SCHEDULE))?;
        Ok(())
    }
}

sent_when_awaited! {
    ScheduleJob => ();
}

impl fmt::Debug for ScheduleJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleJob").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A job as the scheduler knows it. Its `Debug` does not show the data.
#[derive(Clone)]
pub struct Job {
    component: Component,
    job: Message,
}

impl Job {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.job.name
    }

    /// When it runs, if by a schedule.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        self.job.schedule.as_deref()
    }

    /// When it runs once, or its schedule starts.
    #[must_use]
    pub fn due(&self) -> Option<&str> {
        self.job.due_time.as_deref()
    }

    /// When it is forgotten.
    #[must_use]
    pub fn ttl(&self) -> Option<&str> {
        self.job.ttl.as_deref()
    }

    /// How often it runs.
    #[must_use]
    pub fn repeats(&self) -> Option<u32> {
        self.job.repeats
    }

    /// The data.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.job.data.as_ref().map_or(&[], |data| &data.value)
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    ///
    /// If the data is not a `T` ([`Error::is_decode`]).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.component.decode(GET, self.bytes())
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.component).field("schedule", &self.schedule()).finish_non_exhaustive()
    }
}
