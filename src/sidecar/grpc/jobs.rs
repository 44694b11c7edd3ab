//! The job rpcs (`dapr/dapr:pkg/api/universal/jobs.go`).

use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::{
    DeleteJobRequest, DeleteJobResponse, DeleteJobsByPrefixRequest, DeleteJobsByPrefixRequestAlpha1,
    DeleteJobsByPrefixResponse, DeleteJobsByPrefixResponseAlpha1, GetJobRequest, GetJobResponse, ListJobsRequest,
    ListJobsRequestAlpha1, ListJobsResponse, ListJobsResponseAlpha1, ScheduleJobRequest, ScheduleJobResponse,
};
use tonic::{Code, Request, Response, Status};

use super::status::Rich;
use crate::sidecar::app::App;
use crate::sidecar::jobs::{Jobs, Refusal};

pub(in crate::sidecar) async fn schedule(
    app: &Arc<App>,
    request: Request<ScheduleJobRequest>,
) -> Result<Response<ScheduleJobResponse>, Status> {
    let ScheduleJobRequest { job, overwrite } = request.into_inner();
    let job = job.ok_or_else(|| empty(app, "Job", "DAPR_SCHEDULER_EMPTY"))?;
    check_name(app, &job.name)?;
    if job.schedule.is_none() && job.due_time.is_none() {
        return Err(empty(app, "Schedule", "DAPR_SCHEDULER_SCHEDULE_EMPTY"));
    }
    // The name as the scheduler of daprd has it.
    let full_name = format!("app||default||{}||{}", app.id, job.name);
    Jobs::schedule(app, job, overwrite).map_err(|refusal| {
        let (code, reason) = match refusal {
            Refusal::Exists => {
                let reason = format!("rpc error: code = AlreadyExists desc = job already exists: '{full_name}'");
                (Code::AlreadyExists, reason)
            }
            Refusal::Invalid(reason) => (Code::Internal, format!("rpc error: code = Unknown desc = {reason}")),
        };
        failed(app, code, "schedule", &reason, "DAPR_SCHEDULER_SCHEDULE_JOB")
    })?;
    Ok(Response::new(ScheduleJobResponse {}))
}

pub(in crate::sidecar) async fn get(
    app: &Arc<App>,
    request: Request<GetJobRequest>,
) -> Result<Response<GetJobResponse>, Status> {
    let name = request.into_inner().name;
    check_name(app, &name)?;
    let job = app.hub.jobs.get(&app.id, &name).ok_or_else(|| {
        let reason = format!("rpc error: code = NotFound desc = job not found: {name}");
        failed(app, Code::Internal, "get", &reason, "DAPR_SCHEDULER_GET_JOB")
    })?;
    Ok(Response::new(GetJobResponse { job: Some(job) }))
}

pub(in crate::sidecar) async fn delete(
    app: &Arc<App>,
    request: Request<DeleteJobRequest>,
) -> Result<Response<DeleteJobResponse>, Status> {
    let name = request.into_inner().name;
    check_name(app, &name)?;
    app.hub.jobs.delete(&app.id, |one| one == name);
    Ok(Response::new(DeleteJobResponse {}))
}

pub(in crate::sidecar) async fn delete_by_prefix(
    app: &Arc<App>,
    request: Request<DeleteJobsByPrefixRequest>,
) -> Result<Response<DeleteJobsByPrefixResponse>, Status> {
    let prefix = request.into_inner().name_prefix.unwrap_or_default();
    app.hub.jobs.delete(&app.id, |name| name.starts_with(&prefix));
    Ok(Response::new(DeleteJobsByPrefixResponse {}))
}

pub(in crate::sidecar) async fn delete_by_prefix_alpha1(
    app: &Arc<App>,
    request: Request<DeleteJobsByPrefixRequestAlpha1>,
) -> Result<Response<DeleteJobsByPrefixResponseAlpha1>, Status> {
    let prefix = request.into_inner().name_prefix.unwrap_or_default();
    app.hub.jobs.delete(&app.id, |name| name.starts_with(&prefix));
    Ok(Response::new(DeleteJobsByPrefixResponseAlpha1 {}))
}

pub(in crate::sidecar) async fn list(
    app: &Arc<App>,
    _: Request<ListJobsRequest>,
) -> Result<Response<ListJobsResponse>, Status> {
    Ok(Response::new(ListJobsResponse { jobs: app.hub.jobs.list(&app.id) }))
}

pub(in crate::sidecar) async fn list_alpha1(
    app: &Arc<App>,
    _: Request<ListJobsRequestAlpha1>,
) -> Result<Response<ListJobsResponseAlpha1>, Status> {
    Ok(Response::new(ListJobsResponseAlpha1 { jobs: app.hub.jobs.list(&app.id) }))
}

fn check_name(app: &App, name: &str) -> Result<(), Status> {
    if name.is_empty() { Err(empty(app, "Name", "DAPR_SCHEDULER_JOB_NAME_EMPTY")) } else { Ok(()) }
}

fn empty(app: &App, what: &str, reason: &str) -> Status {
    Rich::new(Code::InvalidArgument, format!("{what} is empty")).metadata(about(app)).reason(reason)
}

fn failed(app: &App, code: Code, action: &str, error: &str, reason: &str) -> Status {
    Rich::new(code, format!("failed to {action} job due to: {error}")).metadata(about(app)).reason(reason)
}

fn about(app: &App) -> [(&'static str, String); 2] {
    [("appID", app.id.clone()), ("namespace", "default".to_owned())]
}
