//! The app: the SDK's own callback service, with one topic and one job.

use std::env;

use dapr::appcallback::{
    AppCallbackService, Handler, HandlerMethod, JobEventRequest, JobEventResponse, JobHandlerMethod, TopicEventRequest,
    TopicEventResponse,
};
use dapr::dapr::proto::runtime::v1::app_callback_alpha_server::AppCallbackAlphaServer;
use dapr::dapr::proto::runtime::v1::app_callback_server::AppCallbackServer;
use tokio::sync::mpsc;
use tonic::{Response, Status};

use crate::report::{Error, PATIENCE};

/// What arrived.
pub struct Seen {
    events: mpsc::UnboundedReceiver<TopicEventRequest>,
    jobs: mpsc::UnboundedReceiver<String>,
}

struct OnEvent(mpsc::UnboundedSender<TopicEventRequest>);
struct OnJob(mpsc::UnboundedSender<String>);

impl Seen {
    pub async fn event(&mut self) -> Result<TopicEventRequest, Error> {
        Ok(tokio::time::timeout(PATIENCE, self.events.recv()).await?.ok_or("no more events")?)
    }

    pub async fn job(&mut self) -> Result<String, Error> {
        Ok(tokio::time::timeout(PATIENCE, self.jobs.recv()).await?.ok_or("no more jobs")?)
    }
}

#[tonic::async_trait]
impl HandlerMethod for OnEvent {
    async fn handler(&self, request: TopicEventRequest) -> Result<Response<TopicEventResponse>, Status> {
        let _ = self.0.send(request);
        Ok(Response::new(TopicEventResponse::default()))
    }
}

#[tonic::async_trait]
impl JobHandlerMethod for OnJob {
    async fn handler(&self, request: JobEventRequest) -> Result<JobEventResponse, Status> {
        let _ = self.0.send(request.name);
        Ok(JobEventResponse::default())
    }
}

/// Serves at `APP_PORT` until the process ends.
pub async fn start() -> Seen {
    let ((events, seen_events), (jobs, seen_jobs)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let service = || {
        let mut service = AppCallbackService::new();
        let handler = Box::new(OnEvent(events.clone()));
        service.add_handler(Handler { pub_sub_name: "pubsub".to_owned(), topic: "orders".to_owned(), handler });
        service.add_job_handler("once".to_owned(), Box::new(OnJob(jobs.clone())));
        service
    };
    let port = env::var("APP_PORT").expect("the sidecar sets it");
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    let server = tonic::transport::Server::builder()
        .add_service(AppCallbackServer::new(service()))
        .add_service(AppCallbackAlphaServer::new(service()));
    tokio::spawn(async move { server.serve(address).await.expect("the port is free") });
    Seen { events: seen_events, jobs: seen_jobs }
}
