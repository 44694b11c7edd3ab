//! The building blocks beside state and events: secrets, settings, locks, bindings, jobs, metadata, shutdown.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::Request, http::StatusCode, routing::any};
use dapr::dapr::proto::runtime::v1::{
    GetConfigurationRequest, GetMetadataRequest, GetSecretRequest, InvokeBindingRequest, Job, ScheduleJobRequest,
    ShutdownRequest, SubscribeConfigurationRequest, TryLockRequest, UnlockRequest,
};
use http_body_util::BodyExt;
use prost::Message;
use tower_dapr::inbound::InboundLayer;

use super::shop::eventually;
use crate::real::{App, PATIENCE, Stack, telemetry};

super::tests![
    a_secret_comes_out_of_daprds_environment,
    settings_are_read_and_watched,
    a_lock_is_held_by_one_owner,
    a_cron_binding_calls_the_app_and_a_file_binding_keeps_bytes,
    a_job_comes_back_to_its_app,
    the_metadata_names_the_app_and_its_components,
    a_daprd_that_is_told_to_shut_down_ends,
];

async fn a_secret_comes_out_of_daprds_environment() {
    let stack = Stack::builder().without_jaeger().start().await;
    let daprd = stack.daprd("app").env("TEA", "mint").start().await;
    let request = GetSecretRequest { store_name: "secretstore".into(), key: "TEA".into(), ..Default::default() };
    let secret = daprd.client().get_secret(request).await.unwrap().into_inner();
    assert_eq!(secret.data["TEA"], "mint");
}

async fn settings_are_read_and_watched() {
    let stack = Stack::builder().without_jaeger().start().await;
    stack.redis(&["SET", "tea", "mint||1"]);
    let daprd = stack.daprd("app").start().await;
    let (store_name, keys) = ("configstore".to_owned(), vec!["tea".to_owned()]);
    let request = GetConfigurationRequest { store_name: store_name.clone(), keys: keys.clone(), ..Default::default() };
    let items = daprd.client().get_configuration(request).await.unwrap().into_inner().items;
    assert_eq!((items["tea"].value.as_str(), items["tea"].version.as_str()), ("mint", "1"));

    let request = SubscribeConfigurationRequest { store_name, keys, ..Default::default() };
    let mut updates = daprd.client().subscribe_configuration(request).await.unwrap().into_inner();
    // The first message says that it is subscribed.
    assert!(updates.message().await.unwrap().unwrap().items.is_empty());
    stack.redis(&["SET", "tea", "sencha||2"]);
    let update = tokio::time::timeout(PATIENCE, updates.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((update.items["tea"].value.as_str(), update.items["tea"].version.as_str()), ("sencha", "2"));
}

async fn a_lock_is_held_by_one_owner() {
    let stack = Stack::builder().without_jaeger().start().await;
    let daprd = stack.daprd("app").start().await;
    let lock = async |owner: &str| {
        let (store_name, resource_id, lock_owner) = ("lockstore".into(), "stock".into(), owner.into());
        let request = TryLockRequest { store_name, resource_id, lock_owner, expiry_in_seconds: 60 };
        daprd.client().try_lock_alpha1(request).await.unwrap().into_inner().success
    };
    let unlock = async |owner: &str| {
        let (store_name, resource_id, lock_owner) = ("lockstore".into(), "stock".into(), owner.into());
        daprd.client().unlock_alpha1(UnlockRequest { store_name, resource_id, lock_owner }).await.unwrap()
    };
    assert!(lock("one").await);
    assert!(!lock("two").await);
    assert_eq!(unlock("two").await.into_inner().status, 2, "LOCK_BELONGS_TO_OTHERS");
    assert_eq!(unlock("one").await.into_inner().status, 0, "SUCCESS");
    assert!(lock("two").await);
}

async fn a_cron_binding_calls_the_app_and_a_file_binding_keeps_bytes() {
    const CRON: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: tick
spec:
  type: bindings.cron
  version: v1
  metadata:
    - name: schedule
      value: '@every 1s'
    - name: direction
      value: input
";
    const FILES: &str = "
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: files
spec:
  type: bindings.localstorage
  version: v1
  metadata:
    - name: rootPath
      value: files
";
    let stack = Stack::builder().resource("cron.yaml", CRON).resource("files.yaml", FILES).start().await;
    let telemetry = telemetry("app", &stack);
    let recorded = Recorded::start(|router| {
        router.layer(InboundLayer::new().with_tracer_provider(telemetry.tracer_provider().unwrap()))
    });
    let recorded = recorded.await;
    let daprd = stack.daprd("app").app_port(recorded.app.port()).start().await;
    eventually("two ticks", Duration::from_secs(15), || recorded.posts("/tick").len() >= 2).await;

    let invoke = async |operation: &str, data: &[u8]| {
        let metadata = [("fileName".to_owned(), "f.txt".to_owned())].into();
        let request =
            InvokeBindingRequest { name: "files".into(), data: data.into(), metadata, operation: operation.into() };
        daprd.client().invoke_binding(request).await.unwrap().into_inner().data
    };
    invoke("create", b"tea").await;
    assert_eq!(invoke("get", b"").await, b"tea");
}

async fn a_job_comes_back_to_its_app() {
    let stack = Stack::builder().without_jaeger().control_plane().start().await;
    let recorded = Recorded::start(|router| router).await;
    let daprd = stack.daprd("app").app_port(recorded.app.port()).start().await;
    // What is no message of its type is accepted too, and then never arrives.
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("tea".into())) }.encode_to_vec();
    let data = Some(prost_types::Any { type_url: "type.googleapis.com/google.protobuf.Value".into(), value });
    let job = Job { name: "restock".into(), due_time: Some("1s".into()), data, ..Default::default() };
    let request = ScheduleJobRequest { job: Some(job), ..Default::default() };
    #[allow(deprecated, reason = "the stable one is not served by every version")]
    daprd.client().schedule_job_alpha1(request).await.unwrap();
    eventually("the job", Duration::from_secs(30), || recorded.posts("/job/restock").len() == 1).await;
    let body = String::from_utf8_lossy(&recorded.posts("/job/restock")[0]).into_owned();
    assert!(body.contains("tea"), "{body}");
}

async fn the_metadata_names_the_app_and_its_components() {
    let stack = Stack::builder().without_jaeger().start().await;
    let daprd = stack.daprd("app").start().await;
    let metadata = daprd.client().get_metadata(GetMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((metadata.id.as_str(), metadata.runtime_version.as_str()), ("app", "1.18.2"));
    let mut names: Vec<_> = metadata.registered_components.iter().map(|component| component.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["configstore", "lockstore", "pubsub", "secretstore", "statestore"], "all of deploy/components");
    assert_eq!(daprd.get("/v1.0/healthz").await.status, 204);
}

async fn a_daprd_that_is_told_to_shut_down_ends() {
    let stack = Stack::builder().without_jaeger().start().await;
    let mut daprd = stack.daprd("app").start().await;
    daprd.client().shutdown(ShutdownRequest {}).await.unwrap();
    // With which status depends on whether its grace, of 1 s here, was enough: nobody takes its spans.
    eventually("its end", Duration::from_secs(15), || daprd.process.ended().is_some()).await;
}

// ===== helpers =====

/// An app that says yes to everything, and remembers it.
struct Recorded {
    app: App,
    seen: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl Recorded {
    async fn start(with: impl FnOnce(Router) -> Router) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let record = any(move |request: Request| async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            if head.method != "POST" {
                return StatusCode::NOT_FOUND;
            }
            log.lock().unwrap().push((head.uri.path().to_owned(), body));
            StatusCode::OK
        });
        let app = App::serve(with(Router::new().fallback(record))).await;
        Self { app, seen }
    }

    fn posts(&self, path: &str) -> Vec<Bytes> {
        self.seen.lock().unwrap().iter().filter(|(of, _)| of == path).map(|(_, body)| body.clone()).collect()
    }
}
