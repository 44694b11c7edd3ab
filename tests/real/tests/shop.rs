//! The four services of `examples/orders`, each a process of its own beside its daprd.

use std::{collections::BTreeSet, path::PathBuf, process::Command, time::Duration};

use serde_json::json;
use tokio::{net::TcpStream, time::Instant};

use crate::real::{Answer, Customer, Daprd, PATIENCE, Process, Stack, free_port, post};

pub const SERVICES: [&str; 4] = ["order", "inventory", "payment", "notification"];

pub struct Shop {
    pub services: Vec<Service>,
    pub stack: Stack,
}

pub struct Service {
    pub app: Process,
    pub daprd: Daprd,
    pub port: u16,
    env: Vec<(String, String)>,
}

impl Shop {
    pub async fn open(stack: Stack) -> Self {
        let mut services = Vec::new();
        for name in SERVICES {
            services.push(Service::start(&stack, name).await);
        }
        for service in &mut services {
            service.daprd.ready().await;
        }
        Self { services, stack }
    }

    /// An order of this customer.
    pub async fn place(&self, customer: &Customer, id: &str, sku: &str) -> Result<Answer, String> {
        self.place_as(&customer.traceparent(), id, sku, 1).await
    }

    pub async fn place_as(&self, traceparent: &str, id: &str, sku: &str, quantity: u32) -> Result<Answer, String> {
        Self::place_at(self.services[0].port, traceparent, id, sku, quantity).await
    }

    pub async fn place_at(port: u16, traceparent: &str, id: &str, sku: &str, quantity: u32) -> Result<Answer, String> {
        let order = json!({ "id": id, "customer": "Zoë Šimić", "sku": sku, "quantity": quantity });
        let headers = [("content-type", "application/json"), ("traceparent", traceparent)];
        post(&format!("http://127.0.0.1:{port}/orders"), &headers, order.to_string()).await
    }

    /// Is there something in the store under this key of a service?
    pub fn has(&self, service: &str, key: &str) -> bool {
        self.stack.redis(&["EXISTS", &format!("{service}||{key}")]) == "1"
    }

    /// What is behind the prefix, of all keys that begin so.
    pub fn keys(&self, service: &str, prefix: &str) -> BTreeSet<String> {
        let prefix = format!("{service}||{prefix}");
        let keys = self.stack.redis(&["--scan", "--pattern", &format!("{prefix}*")]);
        keys.lines().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

impl Service {
    async fn start(stack: &Stack, name: &str) -> Self {
        let (port, grpc) = (free_port(), free_port());
        let env = [
            ("DAPR_GRPC_PORT", grpc.to_string()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", stack.otlp_endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
            ("OTEL_METRICS_EXPORTER", "none".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
            // The exporter's own patience is longer than that of any test.
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000".to_owned()),
        ];
        let env: Vec<_> = env.map(|(name, value)| (name.to_owned(), value)).into();
        let app = start_app(stack, name, port, &env).await;
        let daprd = stack.daprd(name).app_port(port).grpc_port(grpc).spawn();
        Self { app, daprd, port, env }
    }

    /// Ends the app, orderly: what could not be exported may make it a failure. Says how long that took.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn end_app(&mut self, within: Duration) -> Duration {
        let started = Instant::now();
        let status = self.app.terminate(within).await;
        assert!(status.code().is_some(), "{status}\n{}", self.app.tail());
        started.elapsed()
    }

    /// Starts the app again, which must have ended.
    pub async fn restart_app(&mut self, stack: &Stack) {
        let name = self.daprd.app_id.clone();
        self.app = start_app(stack, &name, self.port, &self.env).await;
    }
}

async fn start_app(stack: &Stack, name: &str, port: u16, env: &[(String, String)]) -> Process {
    let mut command = Command::new(example());
    command.args(["--service", name, "--port", &port.to_string()]).env_clear().envs(env.iter().cloned());
    let mut app = Process::start(format!("app-{name}"), command, stack.folder());
    app.until("listening", PATIENCE, || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() }).await;
    app
}

/// A plain `cargo test` builds it first; `cargo test --test real` alone does not.
pub fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/orders");
    assert!(path.is_file(), "{} is missing: cargo build --example orders", path.display());
    path
}
