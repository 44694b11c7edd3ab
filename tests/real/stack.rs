use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{Binaries, DaprdBuilder, Jaeger, PATIENCE, Process, Resources, free_port, get};

/// Redis and Jaeger, and what a daprd needs to run beside them. All of it ends when this is dropped.
pub struct Stack {
    // Processes first: they write into the folder.
    redis: Process,
    jaeger: Option<Jaeger>,
    control_plane: Option<ControlPlane>,
    without_tracing: bool,
    redis_port: u16,
    otlp_port: u16,
    binaries: Binaries,
    folder: TempDir,
}

struct ControlPlane {
    _placement: Process,
    _scheduler: Process,
    placement_port: u16,
    scheduler_port: u16,
}

/// What is different about a [`Stack`]. Made by [`Stack::builder`].
#[derive(Debug, Default)]
pub struct StackBuilder {
    without_jaeger: bool,
    without_tracing: bool,
    control_plane: bool,
    resources: Resources,
}

impl StackBuilder {
    /// Instead of `deploy/config.yaml`.
    pub fn config(mut self, yaml: &str) -> Self {
        self.resources.config = Some(yaml.to_owned());
        self
    }

    /// Spans are still sent where it would be.
    pub fn without_jaeger(mut self) -> Self {
        self.without_jaeger = true;
        self
    }

    /// No spans are sent anywhere.
    pub fn without_tracing(mut self) -> Self {
        self.without_tracing = true;
        self
    }

    /// Without `deploy/resiliency.yaml`.
    pub fn without_resiliency(mut self) -> Self {
        self.resources.without_resiliency = true;
        self
    }

    /// With placement (actors) and scheduler (jobs).
    pub fn control_plane(mut self) -> Self {
        self.control_plane = true;
        self
    }

    /// A component file beside those of `deploy/`, or instead of one.
    pub fn resource(mut self, file: &str, yaml: &str) -> Self {
        self.resources.files.push((file.to_owned(), yaml.to_owned()));
        self
    }

    /// Starts it.
    pub async fn start(self) -> Stack {
        let binaries = Binaries::find().unwrap_or_else(|reason| panic!("{reason}"));
        let folder = tempfile::Builder::new().prefix("tower-dapr-real-").tempdir().unwrap();
        self.resources.lay_out(folder.path());
        let (redis_port, otlp_port) = (free_port(), free_port());
        let redis = start_redis(&binaries, folder.path(), redis_port).await;
        let jaeger =
            if self.without_jaeger { None } else { Some(Jaeger::start(&binaries, folder.path(), otlp_port).await) };
        let control_plane =
            if self.control_plane { Some(ControlPlane::start(&binaries, folder.path()).await) } else { None };
        let without_tracing = self.without_tracing;
        Stack { redis, jaeger, control_plane, without_tracing, redis_port, otlp_port, binaries, folder }
    }

    /// All that is loaded is this.
    pub fn resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }
}

impl Stack {
    /// Redis and Jaeger; no daprd yet.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// A daprd of this app id.
    pub fn daprd(&self, app_id: &str) -> DaprdBuilder<'_> {
        DaprdBuilder::new(self, app_id)
    }

    pub fn jaeger(&self) -> &Jaeger {
        self.jaeger.as_ref().expect("the stack was started without")
    }

    pub fn jaeger_process(&mut self) -> &mut Process {
        &mut self.jaeger.as_mut().expect("the stack was started without").process
    }

    /// Where spans are sent, whether somebody listens or not.
    pub fn otlp_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.otlp_port)
    }

    /// Stops Redis as its administrator would; what it knows it has written.
    pub async fn stop_redis(&mut self) {
        self.redis.terminate(PATIENCE).await;
    }

    pub async fn start_redis(&mut self) {
        self.redis = start_redis(&self.binaries, self.folder.path(), self.redis_port).await;
    }

    pub fn redis_host(&self) -> String {
        format!("127.0.0.1:{}", self.redis_port)
    }

    /// What Redis answers to a command.
    pub fn redis(&self, args: &[&str]) -> String {
        let mut command = Command::new(self.binaries.redis.with_file_name("redis-cli"));
        let output = command.args(["-p", &self.redis_port.to_string()]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub fn resources(&self) -> PathBuf {
        self.folder().join("resources")
    }

    pub fn config(&self) -> PathBuf {
        self.folder().join("config.yaml")
    }

    pub(super) fn placement(&self) -> String {
        self.control_plane.as_ref().map_or_else(String::new, |plane| format!("127.0.0.1:{}", plane.placement_port))
    }

    pub(super) fn scheduler(&self) -> String {
        self.control_plane.as_ref().map_or_else(String::new, |plane| format!("127.0.0.1:{}", plane.scheduler_port))
    }

    /// The environment of a daprd.
    pub(super) fn daprd_env(&self) -> Vec<(String, String)> {
        let mut env = vec![
            ("DAPR_HOST_IP", "127.0.0.1".to_owned()),
            ("HOME", self.folder().display().to_string()),
            ("REDIS_HOST", self.redis_host()),
        ];
        if !self.without_tracing {
            env.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", self.otlp_endpoint()),
                ("OTEL_EXPORTER_OTLP_INSECURE", "true".to_owned()),
                ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
            ]);
        }
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

async fn start_redis(binaries: &Binaries, folder: &Path, port: u16) -> Process {
    let mut command = Command::new(&binaries.redis);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    command.args(["--loglevel", "warning"]);
    let mut process = Process::start("redis", command, folder);
    let ready = || async {
        // An open port is not enough: it is open while the data is still being loaded.
        let mut ping = Command::new(binaries.redis.with_file_name("redis-cli"));
        let pong = ping.args(["-p", &port.to_string(), "ping"]).output();
        pong.is_ok_and(|output| output.stdout.starts_with(b"PONG"))
    };
    process.until("ready", PATIENCE, ready).await;
    process
}

impl ControlPlane {
    async fn start(binaries: &Binaries, folder: &Path) -> Self {
        let (placement_port, scheduler_port) = (free_port(), free_port());
        let health = free_port();
        let mut command = Command::new(&binaries.placement);
        command.args(["--id=p0", "--tls-enabled=false", "--metadata-enabled=true"]);
        command.args(
            ["listen-address", "healthz-listen-address", "metrics-listen-address"]
                .map(|of| format!("--{of}=127.0.0.1")),
        );
        command.args([
            format!("--port={placement_port}"),
            format!("--initial-cluster=p0=127.0.0.1:{}", free_port()),
            format!("--healthz-port={health}"),
            format!("--metrics-port={}", free_port()),
        ]);
        let mut placement = Process::start("placement", command, folder);
        placement.until("healthy", PATIENCE, || healthy(health)).await;

        let (health, etcd) = (free_port(), free_port());
        let data = folder.join("etcd");
        fs::create_dir(&data).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut command = Command::new(&binaries.scheduler);
        command.args(["--id=s0", "--tls-enabled=false"]);
        command.args(
            ["listen-address", "healthz-listen-address", "metrics-listen-address"]
                .map(|of| format!("--{of}=127.0.0.1")),
        );
        command.args([
            format!("--port={scheduler_port}"),
            format!("--healthz-port={health}"),
            format!("--metrics-port={}", free_port()),
            format!("--etcd-data-dir={}", data.display()),
            format!("--etcd-client-port={}", free_port()),
            format!("--etcd-initial-cluster=s0=http://127.0.0.1:{etcd}"),
            format!("--identity-directory-write={}", folder.display()),
        ]);
        let mut scheduler = Process::start("scheduler", command, folder);
        scheduler.until("healthy", PATIENCE, || healthy(health)).await;
        scheduler
            .until("listening", PATIENCE, || async { TcpStream::connect(("127.0.0.1", scheduler_port)).await.is_ok() })
            .await;
        Self { _placement: placement, _scheduler: scheduler, placement_port, scheduler_port }
    }
}

async fn healthy(port: u16) -> bool {
    get(&format!("http://127.0.0.1:{port}/healthz")).await.is_ok_and(|answer| answer.status == 200)
}
