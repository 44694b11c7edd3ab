use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};
use tower_dapr::{
    outbound::{Builder, Dapr, Endpoint},
    telemetry::Telemetry,
};

use super::{Answer, PATIENCE, Process, Stack, free_port, get};

/// A daprd that runs beside an app, or alone.
#[derive(Debug)]
pub struct Daprd {
    pub process: Process,
    pub app_id: String,
    pub http: u16,
    pub grpc: u16,
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    folder: PathBuf,
}

/// What a daprd is started with. Made by [`Stack::daprd`].
pub struct DaprdBuilder<'a> {
    stack: &'a Stack,
    app_id: String,
    app_port: Option<u16>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    http: u16,
    grpc: u16,
}

impl<'a> DaprdBuilder<'a> {
    pub(super) fn new(stack: &'a Stack, app_id: &str) -> Self {
        let (http, grpc) = (free_port(), free_port());
        Self { stack, app_id: app_id.to_owned(), app_port: None, env: Vec::new(), args: Vec::new(), http, grpc }
    }

    pub fn app_port(mut self, port: u16) -> Self {
        self.app_port = Some(port);
        self
    }

    /// Its gRPC port; an app that was started before it has to know it.
    pub fn grpc_port(mut self, port: u16) -> Self {
        self.grpc = port;
        self
    }

    pub fn http_port(mut self, port: u16) -> Self {
        self.http = port;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A flag more. The last of a name wins.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Starts it, and waits until it is healthy: with an app, once that has opened its port.
    pub async fn start(self) -> Daprd {
        let mut daprd = self.spawn();
        daprd.ready().await;
        daprd
    }

    /// Starts it.
    pub fn spawn(self) -> Daprd {
        let stack = self.stack;
        let mut args = vec![
            "--mode=standalone".to_owned(),
            format!("--app-id={}", self.app_id),
            "--dapr-listen-addresses=127.0.0.1".to_owned(),
            format!("--dapr-http-port={}", self.http),
            format!("--dapr-grpc-port={}", self.grpc),
            "--dapr-internal-grpc-listen-address=127.0.0.1".to_owned(),
            "--dapr-public-listen-address=127.0.0.1".to_owned(),
            "--metrics-listen-address=127.0.0.1".to_owned(),
            format!("--resources-path={}", stack.resources().display()),
            format!("--config={}", stack.config().display()),
            format!("--placement-host-address={}", stack.placement()),
            format!("--scheduler-host-address={}", stack.scheduler()),
            "--dapr-graceful-shutdown-seconds=1".to_owned(),
        ];
        for port in ["dapr-internal-grpc-port", "dapr-public-port", "metrics-port", "profile-port"] {
            args.push(format!("--{port}={}", free_port()));
        }
        if let Some(port) = self.app_port {
            args.extend([format!("--app-port={port}"), "--app-protocol=http".to_owned()]);
        }
        args.extend(self.args);
        let mut env = stack.daprd_env();
        env.extend(self.env);
        let (binary, folder) = (stack.binaries().daprd.clone(), stack.folder().to_owned());
        let process = run(&self.app_id, &binary, &args, &env, &folder);
        Daprd { process, app_id: self.app_id, http: self.http, grpc: self.grpc, binary, args, env, folder }
    }
}

fn run(app_id: &str, binary: &Path, args: &[String], env: &[(String, String)], folder: &Path) -> Process {
    let mut command = Command::new(binary);
    command.args(args).env_clear().envs(env.iter().cloned());
    Process::start(format!("daprd-{app_id}"), command, folder)
}

impl Daprd {
    pub async fn ready(&mut self) {
        let url = self.url("/v1.0/healthz");
        let healthy = || async { get(&url).await.is_ok_and(|answer| answer.status == 204) };
        self.process.until("healthy", PATIENCE, healthy).await;
    }

    /// Kills it, as a crash would, and starts the same again.
    pub fn crash(&mut self) {
        self.process.kill();
    }

    pub fn restart(&mut self) {
        self.process.kill();
        self.process = run(&self.app_id, &self.binary, &self.args, &self.env, &self.folder);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    pub async fn get(&self, path: &str) -> Answer {
        get(&self.url(path)).await.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.process.tail()))
    }

    /// Our handle to it, with nothing recorded.
    pub fn dapr(&self) -> Dapr {
        self.builder().build().unwrap()
    }

    /// Our handle to it, whose calls are recorded.
    pub fn observed(&self, telemetry: &Telemetry) -> Dapr {
        self.builder().tracer_provider(telemetry.tracer_provider().unwrap()).build().unwrap()
    }

    pub fn builder(&self) -> Builder {
        Dapr::builder().endpoint(Endpoint::local(self.grpc))
    }

    /// The bare generated client, without any layer.
    pub fn client(&self) -> DaprClient<Channel> {
        let endpoint = TonicEndpoint::from_shared(format!("http://127.0.0.1:{}", self.grpc)).unwrap();
        DaprClient::new(endpoint.timeout(Duration::from_secs(30)).connect_lazy())
    }
}
