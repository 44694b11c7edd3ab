//! Where a test's apps run: beside embedded sidecars of one hub, or beside daprds with Redis. Both load the files of
//! `deploy/`, and what the test adds to them.

use std::{fmt, time::Duration};

use tempfile::TempDir;
use tower_dapr::{
    outbound::{ApiToken, Builder, Dapr, Endpoint, HttpEndpoint},
    sidecar::{AppProtocol, Hub, Sidecar, SidecarBuilder},
};

use crate::real::{Answer, App, Daprd, PATIENCE, Resources, Stack, free_port, get};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Real,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Embedded { "embedded" } else { "real" })
    }
}

impl Backend {
    /// The components of `deploy/`, and no app yet.
    pub async fn start(self) -> World {
        self.builder().start().await
    }

    pub fn builder(self) -> WorldBuilder {
        WorldBuilder {
            backend: self,
            resources: Resources::default(),
            control_plane: false,
            without_tracing: false,
            api_token: None,
        }
    }
}

/// What a test needs. Made by [`Backend::builder`].
pub struct WorldBuilder {
    backend: Backend,
    resources: Resources,
    control_plane: bool,
    without_tracing: bool,
    api_token: Option<&'static str>,
}

impl WorldBuilder {
    /// A component file beside those of `deploy/`, or instead of one; `$FOLDER` in it is a folder of the test's own.
    pub fn resource(mut self, file: &str, yaml: &str) -> Self {
        self.resources.files.push((file.to_owned(), yaml.to_owned()));
        self
    }

    /// A component of this type. Its metadata has lines of the form `name: value`.
    pub fn component(self, name: &str, kind: &str, metadata: &[(&str, &str)]) -> Self {
        let mut yaml = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\nspec:\n  type: {kind}\n  version: v1\n"
        );
        if !metadata.is_empty() {
            yaml.push_str("  metadata:\n");
        }
        for (name, value) in metadata {
            yaml.push_str(&format!("    - name: {name}\n      value: \"{value}\"\n"));
        }
        self.resource(&format!("{name}.yaml"), &yaml)
    }

    /// No tracing, as the embedded sidecar, which has none: not what `deploy/config.yaml` says.
    pub fn without_tracing(mut self) -> Self {
        let yaml = std::fs::read_to_string(crate::real::root().join("deploy/config.yaml")).unwrap();
        let without = yaml.replace("  tracing:\n    samplingRate: \"1\"\n", "");
        assert_ne!(without, yaml);
        self.resources.config = Some(without);
        self.without_tracing = true;
        self
    }

    /// Without `deploy/resiliency.yaml`.
    pub fn without_resiliency(mut self) -> Self {
        self.resources.without_resiliency = true;
        self
    }

    /// An event is tried again so often and no more, instead of what `deploy/resiliency.yaml` says.
    pub fn max_retries(self, retries: u32) -> Self {
        let yaml = std::fs::read_to_string(crate::real::root().join("deploy/resiliency.yaml")).unwrap();
        let changed = yaml.replace("maxRetries: 20", &format!("maxRetries: {retries}"));
        assert_ne!(changed, yaml);
        self.resource("resiliency.yaml", &changed)
    }

    /// With what actors and jobs need.
    pub fn control_plane(mut self) -> Self {
        self.control_plane = true;
        self
    }

    /// What sidecars ask of their callers.
    pub fn api_token(mut self, token: &'static str) -> Self {
        self.api_token = Some(token);
        self
    }

    pub async fn start(self) -> World {
        let parts = match self.backend {
            Backend::Embedded => {
                let folder = tempfile::tempdir().unwrap();
                self.resources.lay_out(folder.path());
                let hub = Hub::builder().resources(folder.path().join("resources"), false).unwrap();
                let hub = hub.api_token(self.api_token.unwrap_or_default()).build();
                Parts::Embedded { hub, folder }
            }
            Backend::Real => {
                let mut stack = Stack::builder().without_jaeger().resources(self.resources);
                if self.control_plane {
                    stack = stack.control_plane();
                }
                if self.without_tracing {
                    stack = stack.without_tracing();
                }
                Parts::Real(stack.start().await)
            }
        };
        World { api_token: self.api_token, parts }
    }
}

pub struct World {
    api_token: Option<&'static str>,
    parts: Parts,
}

#[allow(clippy::large_enum_variant, reason = "there is one a test")]
enum Parts {
    Embedded { hub: Hub, folder: TempDir },
    Real(Stack),
}

impl World {
    /// An app of this id, and its sidecar, to be started.
    pub fn app(&self, id: &str) -> AppBuilder<'_> {
        AppBuilder { world: self, id: id.to_owned(), app: None, app_token: String::new(), env: Vec::new() }
    }

    /// What `$FOLDER` in a component is.
    pub fn folder(&self) -> &std::path::Path {
        match &self.parts {
            Parts::Embedded { folder, .. } => folder.path(),
            Parts::Real(stack) => stack.folder(),
        }
    }

    /// Sets an item of `configstore`, as an administrator does.
    pub fn configure(&self, key: &str, value: &str, version: u32) {
        match &self.parts {
            Parts::Embedded { hub, .. } => assert!(hub.set_configuration("configstore", key, value)),
            Parts::Real(stack) => drop(stack.redis(&["SET", key, &format!("{value}||{version}")])),
        }
    }

    /// Removes one.
    pub fn unconfigure(&self, key: &str) {
        match &self.parts {
            Parts::Embedded { hub, .. } => assert!(hub.delete_configuration("configstore", key)),
            Parts::Real(stack) => drop(stack.redis(&["DEL", key])),
        }
    }

    /// Waits until every event of this topic, as far as this app subscribes it, has found its end.
    pub async fn settled(&self, app_id: &str, topic: &str) {
        let stack = match &self.parts {
            Parts::Embedded { hub, .. } => return tokio::time::timeout(PATIENCE, hub.settled()).await.unwrap(),
            Parts::Real(stack) => stack,
        };
        let waiting = || {
            // Names and values in turns, of each group of consumers.
            let text = stack.redis(&["XINFO", "GROUPS", topic]);
            let lines: Vec<_> = text.lines().collect();
            let group = lines.chunks(2).skip_while(|pair| pair != &["name", app_id]);
            let count = |name: &str| {
                group.clone().find(|pair| pair[0] == name).map_or(u64::MAX, |pair| pair[1].parse().unwrap())
            };
            (count("pending"), count("lag"))
        };
        let started = tokio::time::Instant::now();
        while waiting() != (0, 0) {
            assert!(started.elapsed() < PATIENCE, "{topic} is not settled: {:?}", waiting());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// An app and its sidecar. Made by [`World::app`].
pub struct AppBuilder<'a> {
    world: &'a World,
    id: String,
    app: Option<(u16, AppProtocol)>,
    app_token: String,
    env: Vec<(String, String)>,
}

impl AppBuilder<'_> {
    /// The app speaks HTTP.
    pub fn http(mut self, app: &App) -> Self {
        self.app = Some((app.port(), AppProtocol::Http));
        self
    }

    /// The app speaks gRPC.
    pub fn grpc(mut self, app: &App) -> Self {
        self.app = Some((app.port(), AppProtocol::Grpc));
        self
    }

    /// What the sidecar sends the app.
    pub fn app_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.app_token);
        self
    }

    /// Hands on a variable of this process, which the embedded sidecar sees anyway.
    pub fn env(mut self, name: &str) -> Self {
        self.env.push((name.to_owned(), std::env::var(name).unwrap()));
        self
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(self) -> Beside {
        let Self { world, id, app, app_token, env } = self;
        let (running, grpc, http) = match &world.parts {
            Parts::Embedded { hub, .. } => {
                // Of its own, also while it is down: those that the system gives may be another's by then.
                let (grpc, http) = (free_port(), free_port());
                let mut builder = hub.app(id).app_token(app_token).grpc_port(grpc).http_port(http);
                if let Some((port, protocol)) = app {
                    builder = builder.app_port(port).app_protocol(protocol);
                }
                let sidecar = builder.clone().start().await.unwrap();
                tokio::time::timeout(PATIENCE, sidecar.ready()).await.expect("it is not ready");
                (Running::Embedded { sidecar: Some(sidecar), again: builder }, grpc, http)
            }
            Parts::Real(stack) => {
                let mut daprd = stack.daprd(&id);
                if let Some((port, protocol)) = app {
                    let protocol = if protocol == AppProtocol::Grpc { "grpc" } else { "http" };
                    daprd = daprd.app_port(port).arg(format!("--app-protocol={protocol}"));
                }
                for (name, token) in
                    [("DAPR_API_TOKEN", world.api_token.unwrap_or_default()), ("APP_API_TOKEN", &app_token)]
                {
                    if !token.is_empty() {
                        daprd = daprd.env(name, token);
                    }
                }
                for (name, value) in &env {
                    daprd = daprd.env(name, value);
                }
                let daprd = daprd.start().await;
                let (grpc, http) = (daprd.grpc, daprd.http);
                (Running::Real(daprd), grpc, http)
            }
        };
        Beside { running, grpc, http, api_token: world.api_token }
    }
}

/// A sidecar that runs beside an app, or alone.
pub struct Beside {
    running: Running,
    pub grpc: u16,
    pub http: u16,
    api_token: Option<&'static str>,
}

#[allow(clippy::large_enum_variant, reason = "there are few a test")]
enum Running {
    Embedded { sidecar: Option<Sidecar>, again: SidecarBuilder },
    Real(Daprd),
}

impl Beside {
    /// Our handle to it.
    pub fn dapr(&self) -> Dapr {
        self.builder().build().unwrap()
    }

    pub fn builder(&self) -> Builder {
        let builder =
            Dapr::builder().endpoint(Endpoint::local(self.grpc)).http_endpoint(HttpEndpoint::local(self.http));
        match self.api_token {
            Some(token) => builder.api_token(ApiToken::new(token).unwrap()),
            None => builder,
        }
    }

    /// Asks its HTTP API.
    pub async fn get(&self, path: &str) -> Answer {
        get(&format!("http://127.0.0.1:{}{path}", self.http)).await.unwrap()
    }

    /// Ends it at once, as a crash would.
    pub async fn crash(&mut self) {
        match &mut self.running {
            Running::Embedded { sidecar, .. } => {
                if let Some(sidecar) = sidecar.take() {
                    sidecar.stop().await;
                }
            }
            Running::Real(daprd) => daprd.crash(),
        }
    }

    /// Starts the same again, on the same ports, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.crash().await;
        match &mut self.running {
            Running::Embedded { sidecar, again } => {
                let started = again.clone().start().await.unwrap();
                tokio::time::timeout(PATIENCE, started.ready()).await.expect("it is not ready");
                *sidecar = Some(started);
            }
            Running::Real(daprd) => {
                daprd.restart();
                daprd.ready().await;
            }
        }
    }

    /// Waits until it has ended, or would have: the embedded one leaves that to who started it.
    pub async fn ended(&mut self) {
        match &mut self.running {
            Running::Embedded { sidecar, .. } => {
                let asked = sidecar.as_ref().unwrap().shutdown_asked();
                tokio::time::timeout(PATIENCE, asked).await.expect("it was not asked to end");
            }
            Running::Real(daprd) => drop(daprd.process.until_ended(PATIENCE).await),
        }
    }
}
