use std::time::{Duration, SystemTime};

use dapr::dapr::proto::runtime::v1::{
    DeleteJobRequest, DeleteJobsByPrefixRequest, GetJobResponse, GetMetadataResponse, GetWorkflowResponse, Job,
    ListJobsResponse, PauseWorkflowRequest, RaiseEventWorkflowRequest, ScheduleJobRequest, SetMetadataRequest,
    StartWorkflowRequest, StartWorkflowResponse,
};
use prost_types::{Any, Timestamp};
use tower_dapr::outbound::FailurePolicy;

use crate::dapr_server::{Answer, DaprServer};

#[tokio::test]
async fn a_job_is_scheduled() {
    let server = DaprServer::default();
    let jobs = server.dapr().jobs();
    let job = jobs.schedule("report").every(Duration::from_secs(90)).due("1h").repeats(3).ttl("1d").json(&"daily");
    job.overwrite().on_failure(FailurePolicy::Drop).await.unwrap();

    let request: ScheduleJobRequest = server.one("ScheduleJob");
    assert!(request.overwrite);
    let expected = Job {
        name: "report".into(),
        schedule: Some("@every 90000ms".into()),
        repeats: Some(3),
        due_time: Some("1h".into()),
        ttl: Some("1d".into()),
        data: Some(Any { type_url: String::new(), value: b"\"daily\"".into() }),
        failure_policy: Some(FailurePolicy::Drop.into()),
    };
    assert_eq!(request.job, Some(expected));
    assert!(jobs.schedule("report").await.unwrap_err().is_invalid(), "never to run");
    assert!(jobs.schedule("").due("1s").await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn jobs_are_read_and_forgotten() {
    let server = DaprServer::default();
    let data = Some(Any { type_url: String::new(), value: b"5".into() });
    let job = Job { name: "report".into(), schedule: Some("@daily".into()), data, ..Job::default() };
    server.answer("GetJob", Answer::message(&GetJobResponse { job: Some(job.clone()) }));
    server.answer("ListJobs", Answer::message(&ListJobsResponse { jobs: vec![job] }));
    let jobs = server.dapr().jobs();
    let job = jobs.get("report").await.unwrap();
    assert_eq!((job.name(), job.schedule(), job.due()), ("report", Some("@daily"), None));
    assert_eq!(job.json::<u32>().unwrap(), 5);
    assert_eq!(jobs.list().await.unwrap().len(), 1);
    assert!(jobs.get("report").await.is_err(), "an answer without a job");

    jobs.delete("report").await.unwrap();
    jobs.delete_by_prefix("rep").await.unwrap();
    assert_eq!(server.one::<DeleteJobRequest>("DeleteJob").name, "report");
    let prefix = server.one::<DeleteJobsByPrefixRequest>("DeleteJobsByPrefix").name_prefix;
    assert_eq!(prefix.as_deref(), Some("rep"));
    assert!(jobs.delete_by_prefix("").await.unwrap_err().is_invalid(), "all of them");
}

#[tokio::test]
async fn a_workflow_is_started_steered_and_asked() {
    let server = DaprServer::default();
    server.answer("StartWorkflowBeta1", Answer::message(&StartWorkflowResponse { instance_id: "o-1".into() }));
    let found = GetWorkflowResponse {
        instance_id: "o-1".into(),
        workflow_name: "ship".into(),
        runtime_status: "RUNNING".into(),
        created_at: Some(Timestamp { seconds: 60, nanos: 0 }),
        ..GetWorkflowResponse::default()
    };
    let unknown = GetWorkflowResponse { instance_id: "o-2".into(), ..GetWorkflowResponse::default() };
    server.answer("GetWorkflowBeta1", Answer::message(&found)).answer("GetWorkflowBeta1", Answer::message(&unknown));
    let workflows = server.dapr().workflows();
    let id = workflows.start("ship").instance_id("o-1").json(&"tea").await.unwrap();
    let instance = workflows.get(&id).await.unwrap().unwrap();
    assert_eq!((instance.id(), instance.name(), instance.status()), ("o-1", "ship", "RUNNING"));
    assert_eq!(instance.created_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)));
    assert!(workflows.get("o-2").await.unwrap().is_none());
    workflows.raise_event(&id, "paid", &12).await.unwrap();
    workflows.pause(&id).await.unwrap();
    workflows.resume(&id).await.unwrap();
    workflows.terminate(&id).await.unwrap();
    workflows.purge(&id).await.unwrap();

    let started: StartWorkflowRequest = server.one("StartWorkflowBeta1");
    assert_eq!((started.workflow_name.as_str(), started.workflow_component.as_str()), ("ship", "dapr"));
    assert_eq!((started.instance_id.as_str(), &started.input[..]), ("o-1", &b"\"tea\""[..]));
    let raised: RaiseEventWorkflowRequest = server.one("RaiseEventWorkflowBeta1");
    assert_eq!((raised.event_name.as_str(), &raised.event_data[..]), ("paid", &b"12"[..]));
    assert_eq!(server.one::<PauseWorkflowRequest>("PauseWorkflowBeta1").instance_id, "o-1");
    let steered = ["PauseWorkflowBeta1", "ResumeWorkflowBeta1", "TerminateWorkflowBeta1", "PurgeWorkflowBeta1"];
    assert_eq!(server.rpcs()[4..], steered);
    assert!(workflows.pause("").await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn the_sidecar_tells_of_itself_and_ends() {
    let server = DaprServer::default();
    server.answer("GetMetadata", Answer::message(&GetMetadataResponse { id: "shop".into(), ..Default::default() }));
    let dapr = server.dapr();
    assert_eq!(dapr.metadata().await.unwrap().id, "shop");
    dapr.set_metadata("version", "1").await.unwrap();
    let expected = SetMetadataRequest { key: "version".into(), value: "1".into() };
    assert_eq!(server.one::<SetMetadataRequest>("SetMetadata"), expected);
    assert!(dapr.set_metadata("", "1").await.unwrap_err().is_invalid());
    dapr.shutdown().await.unwrap();
    assert_eq!(server.rpcs(), ["GetMetadata", "SetMetadata", "Shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn ready_is_when_the_sidecar_answers_whatever_it_says() {
    let server = DaprServer::default();
    server.answer("GetMetadata", Answer::error(tonic::Code::Unavailable, "connection refused"));
    server.answer("GetMetadata", Answer::error(tonic::Code::Unimplemented, "Not Implemented"));
    server.dapr().wait_until_ready(Duration::from_secs(9)).await.unwrap();
    assert_eq!(server.seen("GetMetadata").len(), 2);
}
