//! The embedded sidecar: secrets, configuration, locks, bindings and jobs, over gRPC.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::*;
use http_body_util::BodyExt as _;
use prost_types::Any;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;
use tower_dapr::sidecar::{Hub, HubBuilder, Sidecar};

// ===== secrets =====

#[tokio::test]
async fn secrets_are_read_one_by_one_and_all_at_once() {
    let hub = Hub::builder().secrets("vault", [("a", "1"), ("b", "2")]).environment_secrets("env");
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(hub).await;
    let get = |store: &str, key: &str| GetSecretRequest {
        store_name: store.into(),
        key: key.into(),
        ..GetSecretRequest::default()
    };
    assert_eq!(dapr.get_secret(get("vault", "a")).await.unwrap().into_inner().data, map(&[("a", "1")]));
    assert_eq!(dapr.get_secret(get("env", "NO_SUCH")).await.unwrap().into_inner().data, map(&[("NO_SUCH", "")]));

    let missing = dapr.get_secret(get("vault", "c")).await.unwrap_err();
    let message = "failed getting secret with key c from secret store vault: secret c not found";
    assert_eq!((missing.code(), missing.message(), missing.details()), (Code::Internal, message, &b""[..]));
    let store = dapr.get_secret(get("nope", "c")).await.unwrap_err();
    assert_eq!((store.code(), store.message()), (Code::InvalidArgument, "failed finding secret store with key nope"));

    let bulk = GetBulkSecretRequest { store_name: "vault".into(), ..GetBulkSecretRequest::default() };
    let all = dapr.get_bulk_secret(bulk).await.unwrap().into_inner().data;
    assert_eq!((all.len(), &all["b"].secrets), (2, &map(&[("b", "2")])));
}

#[tokio::test]
async fn a_secrets_file_is_read_when_the_hub_is_built() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.json");
    std::fs::write(&path, r#"{"db": {"password": "p"}}"#).unwrap();
    let hub = Hub::builder().secrets_file("files", &path).unwrap();
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(hub).await;
    let get = GetSecretRequest { store_name: "files".into(), key: "db:password".into(), ..Default::default() };
    assert_eq!(dapr.get_secret(get).await.unwrap().into_inner().data, map(&[("db:password", "p")]));

    let error = Hub::builder().secrets_file("files", directory.path().join("none")).unwrap_err();
    assert_eq!(error.name(), "files");
    assert!(error.to_string().starts_with("component \"files\": "), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_variable_that_is_not_utf_8_is_no_secret() {
    use std::os::unix::ffi::OsStrExt as _;
    const NAME: &str = "NOT_UTF_8";
    if std::env::var_os(NAME).is_none() {
        // This test again, in a process that has such a variable.
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "a_variable_that_is_not_utf_8_is_no_secret"]);
        let output = again.env(NAME, std::ffi::OsStr::from_bytes(b"\xff")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(Hub::builder().environment_secrets("env")).await;
    let bulk = GetBulkSecretRequest { store_name: "env".into(), ..GetBulkSecretRequest::default() };
    let all = dapr.get_bulk_secret(bulk).await.unwrap().into_inner().data;
    assert!(all.contains_key("PATH") && !all.contains_key(NAME));
}

// ===== configuration =====

#[tokio::test]
async fn configuration_is_read_and_watched() {
    let Test { mut dapr, sidecar: _sidecar, hub, .. } = Test::new(Hub::builder().configuration_store("settings")).await;
    assert!(hub.set_configuration("settings", "colour", "blue") && !hub.set_configuration("nope", "a", "b"));
    let get = |keys: &[&str]| GetConfigurationRequest {
        store_name: "settings".into(),
        keys: keys.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let items = dapr.get_configuration(get(&["colour", "size"])).await.unwrap().into_inner().items;
    assert_eq!((items.len(), items["colour"].value.as_str(), items["colour"].version.as_str()), (1, "blue", "1"));
    assert_eq!(dapr.get_configuration_alpha1(get(&[])).await.unwrap().into_inner().items.len(), 1);

    let subscribe = SubscribeConfigurationRequest {
        store_name: "settings".into(),
        keys: vec!["colour".into()],
        ..Default::default()
    };
    let mut changes = dapr.subscribe_configuration(subscribe).await.unwrap().into_inner();
    let id = changes.message().await.unwrap().unwrap().id;
    hub.set_configuration("settings", "size", "9");
    hub.set_configuration("settings", "colour", "red");
    hub.delete_configuration("settings", "colour");
    let first = changes.message().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.items["colour"].value.as_str()), (id.as_str(), "red"));
    assert_eq!(changes.message().await.unwrap().unwrap().items["colour"].value, "");

    let unsubscribe = UnsubscribeConfigurationRequest { store_name: "settings".into(), id: id.clone() };
    assert!(dapr.unsubscribe_configuration(unsubscribe.clone()).await.unwrap().into_inner().ok);
    assert_eq!(changes.message().await.unwrap(), None, "an ended subscription ends its stream");
    let again = dapr.unsubscribe_configuration(unsubscribe).await.unwrap().into_inner();
    let message =
        format!("failed to unsubscribe to configuration request {id}: subscription with id {id} does not exist");
    assert_eq!((again.ok, again.message), (false, message));
}

// ===== locks =====

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_by_one_until_it_expires() {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(Hub::builder().lock_store("locks")).await;
    let lock = |owner: &str| TryLockRequest {
        store_name: "locks".into(),
        resource_id: "r".into(),
        lock_owner: owner.into(),
        expiry_in_seconds: 10,
    };
    let unlock =
        |owner: &str| UnlockRequest { store_name: "locks".into(), resource_id: "r".into(), lock_owner: owner.into() };
    assert!(dapr.try_lock_alpha1(lock("a")).await.unwrap().into_inner().success);
    assert!(!dapr.try_lock_alpha1(lock("b")).await.unwrap().into_inner().success);
    assert!(!dapr.try_lock_alpha1(lock("a")).await.unwrap().into_inner().success, "also for its owner");
    assert_eq!(dapr.unlock_alpha1(unlock("b")).await.unwrap().into_inner().status, 2);
    assert_eq!(dapr.unlock_alpha1(unlock("a")).await.unwrap().into_inner().status, 0);
    assert_eq!(dapr.unlock_alpha1(unlock("a")).await.unwrap().into_inner().status, 1);

    assert!(dapr.try_lock_alpha1(lock("a")).await.unwrap().into_inner().success);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(dapr.unlock_alpha1(unlock("a")).await.unwrap().into_inner().status, 1, "expired");
    assert!(dapr.try_lock_alpha1(lock("b")).await.unwrap().into_inner().success);

    let nobody = dapr.try_lock_alpha1(lock("")).await.unwrap_err();
    assert_eq!((nobody.code(), nobody.message()), (Code::InvalidArgument, "LockOwner is empty in lock store locks"));
}

// ===== bindings =====

#[tokio::test]
async fn files_stay_below_their_directory() {
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("theirs"), "x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path(), directory.path().join("link")).unwrap();
    let hub = Hub::builder().local_storage("files", directory.path()).unwrap();
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(hub).await;

    let created = dapr.invoke_binding(binding("files", "create", "../../f.txt", "\"hi\"")).await.unwrap().into_inner();
    assert_eq!(created.data, br#"{"fileName":"f.txt"}"#);
    assert_eq!(std::fs::read(directory.path().join("f.txt")).unwrap(), b"hi");
    assert_eq!(dapr.invoke_binding(binding("files", "get", "f.txt", "")).await.unwrap().into_inner().data, b"hi");
    let list = dapr.invoke_binding(binding("files", "list", "", "")).await.unwrap().into_inner().data;
    let files: Vec<String> = serde_json::from_slice(&list).unwrap();
    assert!(files.iter().any(|file| file.ends_with("/f.txt")), "{files:?}");
    dapr.invoke_binding(binding("files", "delete", "f.txt", "")).await.unwrap();
    let gone = dapr.invoke_binding(binding("files", "get", "f.txt", "")).await.unwrap_err();
    let message = "error invoking output binding files: file not found: ";
    assert!(gone.code() == Code::Internal && gone.message().starts_with(message), "{gone}");
    for operation in ["get", "create", "delete"] {
        let out = dapr.invoke_binding(binding("files", operation, "link/theirs", "y")).await.unwrap_err();
        assert!(out.message().ends_with("it leads out of the directory"), "{operation}: {out}");
    }
    assert_eq!(std::fs::read(outside.path().join("theirs")).unwrap(), b"x");

    let unknown = dapr.invoke_binding(binding("files", "zap", "", "")).await.unwrap_err();
    let message = "error invoking output binding files: binding files does not support operation zap. \
                   supported operations:create get list delete";
    assert_eq!((unknown.code(), unknown.message()), (Code::Internal, message));
}

#[tokio::test]
async fn an_http_binding_calls_its_url_and_no_other() {
    let mut app = App::start().await;
    let hub = Hub::builder().http_binding("web", format!("http://127.0.0.1:{}/base", app.port)).unwrap();
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(hub).await;
    let mut request = binding("web", "put", "", "body");
    request.metadata = map(&[("path", "/../x"), ("X-Own", "1"), ("lower", "no")]);
    let answer = dapr.invoke_binding(request).await.unwrap();
    assert_eq!(answer.metadata().get("metadata.statuscode").unwrap(), "200");
    assert_eq!(answer.get_ref().metadata["statusCode"], "200");
    let seen = app.seen().await;
    assert_eq!((seen.method, seen.path.as_str(), &seen.body[..]), (Method::PUT, "/base/../x", &b"body"[..]));
    assert_eq!((&seen.headers["x-own"], seen.headers.get("lower")), (&"1".parse().unwrap(), None));

    let mut request = binding("web", "get", "", "");
    request.metadata = map(&[("path", "fail")]);
    let failed = dapr.invoke_binding(request.clone()).await.unwrap_err();
    assert_eq!(failed.message(), "error invoking output binding web: received status code 503");
    assert_eq!(failed.metadata().get("metadata.statuscode").unwrap(), "503");
    request.metadata.insert("errorIfNot2XX".into(), "false".into());
    assert!(dapr.invoke_binding(request).await.is_ok());
    for url in ["https://example.com", "ftp://x", "/relative", "http://"] {
        assert!(Hub::builder().http_binding("web", url).is_err(), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn cron_calls_the_app_by_the_clock() {
    let mut app = App::start().await;
    let hub = Hub::builder().cron("wanted", "*/10 * * * * *").unwrap().cron("unwanted", "@every 1s").unwrap();
    let _test = Test::with_app(hub, &app).await;
    let (first, second) = (app.seen_at("/wanted").await, app.seen_at("/wanted").await);
    assert_eq!(second.at - first.at, Duration::from_secs(10));
    assert_eq!(first.headers["timezone"], "UTC");
    assert!(first.headers["readtimeutc"].to_str().unwrap().ends_with(" +0000 UTC"));
    assert!(Hub::builder().cron("bad", "* *").is_err());
}

#[tokio::test(start_paused = true)]
async fn cron_does_not_wait_for_the_app() {
    let mut app = App::start().await;
    let _test = Test::with_app(Hub::builder().cron("slow", "*/10 * * * * *").unwrap(), &app).await;
    let first = app.seen_at("/slow").await;
    for seconds in [10, 20, 30] {
        let millis = (app.seen_at("/slow").await.at - first.at).as_millis();
        assert_eq!((millis + 500) / 1000, seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_does_not_say_what_it_wants_is_ready_all_the_same() {
    let mut app = App::start().await;
    let hub = Hub::builder().cron("mute", "@every 1s").unwrap();
    let _test = tokio::time::timeout(Duration::from_secs(60), Test::with_app(hub, &app)).await.unwrap();
    while app.seen.try_recv().is_ok() {}
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(app.is_quiet());
}

// ===== jobs =====

#[tokio::test(start_paused = true)]
async fn a_job_runs_when_due_and_as_often_as_it_says() {
    let mut app = App::start().await;
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with_app(Hub::builder(), &app).await;
    let start = Instant::now();
    let job = Job {
        name: "tea".into(),
        due_time: Some("5s".into()),
        schedule: Some("@every 10s".into()),
        repeats: Some(3),
        data: Some(Any { type_url: "any".into(), value: b" {\"n\":1} ".to_vec() }),
        ..Job::default()
    };
    dapr.schedule_job(schedule(&job)).await.unwrap();
    let read = dapr.get_job(GetJobRequest { name: "tea".into() }).await.unwrap().into_inner().job.unwrap();
    assert_eq!(read, job);
    assert_eq!(dapr.list_jobs(ListJobsRequest {}).await.unwrap().into_inner().jobs, [job]);
    for seconds in [5, 15, 25] {
        let run = app.seen_at("/job/tea").await;
        assert_eq!((run.at - start).as_secs(), seconds);
        assert_eq!((run.method, &run.body[..]), (Method::POST, &br#"{"n":1}"#[..]));
    }
    // The last one is followed by its deletion.
    while dapr.get_job(GetJobRequest { name: "tea".into() }).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_expires_before_its_first_run_does_not_run() {
    let mut app = App::start().await;
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with_app(Hub::builder(), &app).await;
    while app.seen.try_recv().is_ok() {}
    let job =
        Job { name: "late".into(), schedule: Some("@every 1h".into()), ttl: Some("30m".into()), ..Job::default() };
    dapr.schedule_job(schedule(&job)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert!(app.is_quiet());
    assert!(dapr.get_job(GetJobRequest { name: "late".into() }).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_is_tried_again_by_its_policy() {
    let mut app = App::start().await;
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::with_app(Hub::builder(), &app).await;
    let job = |name: &str| Job { name: name.into(), due_time: Some("0s".into()), ..Job::default() };
    dapr.schedule_job(schedule(&job("fail"))).await.unwrap();
    let first = app.seen_at("/job/fail").await;
    for retry in 1..=3 {
        assert_eq!((app.seen_at("/job/fail").await.at - first.at).as_secs(), retry);
    }
    // Not found is done, and so is what was given up.
    dapr.schedule_job(schedule(&job("404"))).await.unwrap();
    app.seen_at("/job/404").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(app.is_quiet());
}

#[tokio::test]
async fn bad_jobs_are_refused_and_deleted_ones_are_gone() {
    let Test { mut dapr, sidecar: _sidecar, .. } = Test::new(Hub::builder()).await;
    let name = |name: &str, reason: &str| format!("job name is invalid \"app||default||app-a||{name}\": {reason}");
    let job =
        |name: &str, due: Option<&str>| Job { name: name.into(), due_time: due.map(Into::into), ..Job::default() };
    for (request, code, message) in [
        (ScheduleJobRequest::default(), Code::InvalidArgument, "Job is empty"),
        (schedule(&job("", Some("1h"))), Code::InvalidArgument, "Name is empty"),
        (schedule(&job("a", None)), Code::InvalidArgument, "Schedule is empty"),
        (
            schedule(&job("a", Some("soon"))),
            Code::Internal,
            "failed to schedule job due to: rpc error: code = Unknown desc = job failed validation: due time format not recognized",
        ),
    ] {
        let refused = dapr.schedule_job(request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (code, message));
    }
    let every = |schedule: &str| Job { schedule: Some(schedule.into()), ..job("a", None) };
    let long = "x".repeat(513 - "app||default||app-a||".len());
    let (never, five) = (Job { repeats: Some(0), ..every("@every 1s") }, every("30 6 * * *"));
    for (job, reason) in [
        (never, "job failed validation: defined repeats must be greater than 0".to_owned()),
        (five, "job failed validation: expected exactly 6 fields, found 5: [30 6 * * *]".to_owned()),
        (job("../x", Some("1h")), name("../x", "must not contain '/', '\\', '#' or '?'")),
        (job("x?y", Some("1h")), name("x?y", "must not contain '/', '\\', '#' or '?'")),
        (job("x\n", Some("1h")), name("x\\n", "must not contain control characters")),
        (job(&long, Some("1h")), name(&long, "must be at most 512 characters")),
    ] {
        let refused = dapr.schedule_job(schedule(&job)).await.unwrap_err();
        let message = format!("failed to schedule job due to: rpc error: code = Unknown desc = {reason}");
        assert_eq!((refused.code(), refused.message()), (Code::Internal, message.as_str()));
    }
    dapr.schedule_job(schedule(&job("a", Some("1h")))).await.unwrap();
    assert_eq!(dapr.schedule_job(schedule(&job("a", Some("2h")))).await.unwrap_err().code(), Code::AlreadyExists);
    dapr.schedule_job(ScheduleJobRequest { job: Some(job("a", Some("2h"))), overwrite: true }).await.unwrap();
    dapr.delete_job(DeleteJobRequest { name: "a".into() }).await.unwrap();
    dapr.delete_job(DeleteJobRequest { name: "a".into() }).await.unwrap();
    let gone = dapr.get_job(GetJobRequest { name: "a".into() }).await.unwrap_err();
    let message = "failed to get job due to: rpc error: code = NotFound desc = job not found: a";
    assert_eq!((gone.code(), gone.message()), (Code::Internal, message));
}

// ===== helpers =====

struct Test {
    hub: Hub,
    sidecar: Sidecar,
    dapr: DaprClient<Channel>,
}

impl Test {
    async fn new(hub: HubBuilder) -> Self {
        let hub = hub.build();
        let sidecar = hub.app("app-a").start().await.unwrap();
        Self { dapr: DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap(), hub, sidecar }
    }

    async fn with_app(hub: HubBuilder, app: &App) -> Self {
        let hub = hub.build();
        let sidecar = hub.app("app-a").app_port(app.port).start().await.unwrap();
        sidecar.ready().await;
        Self { dapr: DaprClient::connect(sidecar.grpc_endpoint()).await.unwrap(), hub, sidecar }
    }
}

struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

/// An app that records what it gets.
struct App {
    port: u16,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl App {
    async fn start() -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move |request: Request| {
            let sender = sender.clone();
            async move {
                let (parts, body) = request.into_parts();
                let path = parts.uri.path_and_query().unwrap().to_string();
                let status = match path.as_str() {
                    "/job/fail" | "/base/fail" => StatusCode::SERVICE_UNAVAILABLE,
                    "/unwanted" | "/job/404" | "/dapr/config" | "/dapr/subscribe" => StatusCode::NOT_FOUND,
                    _ => StatusCode::OK,
                };
                let body = body.collect().await.unwrap().to_bytes();
                let is_question = parts.method == Method::OPTIONS;
                let wait = match path.as_str() {
                    "/slow" if !is_question => Duration::from_secs(25),
                    "/mute" => Duration::from_secs(86_400),
                    _ => Duration::ZERO,
                };
                let seen = Seen { method: parts.method, path, headers: parts.headers, body, at: Instant::now() };
                let _ = sender.send(seen);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                status
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, seen }
    }

    async fn seen(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Leaves out the questions at the start.
    async fn seen_at(&mut self, path: &str) -> Seen {
        loop {
            let seen = self.seen().await;
            if seen.method == Method::OPTIONS || seen.path.starts_with("/dapr/") {
                continue;
            }
            assert_eq!(seen.path, path);
            return seen;
        }
    }

    fn is_quiet(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

fn binding(name: &str, operation: &str, file: &str, data: &str) -> InvokeBindingRequest {
    InvokeBindingRequest {
        name: name.into(),
        operation: operation.into(),
        data: data.into(),
        metadata: map(&[("fileName", file)]),
    }
}

fn schedule(job: &Job) -> ScheduleJobRequest {
    ScheduleJobRequest { job: Some(job.clone()), overwrite: false }
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
