//! The real components - daprd, Redis, Jaeger, and Dapr's control plane - started for a test and stopped with it.
//!
//! `tests/real/build` builds them. Everything listens on free ports of 127.0.0.1 and writes into a temporary folder; several
//! stacks run side by side. What daprd loads are the files of `deploy/`.
#![allow(dead_code, unused_imports, reason = "the benchmark, which uses this too, does not need all of it")]

mod app;
mod binaries;
mod daprd;
mod http;
mod jaeger;
mod log;
mod ports;
mod process;
mod resources;
mod stack;

pub use self::{
    app::{App, telemetry},
    binaries::Binaries,
    daprd::{Daprd, DaprdBuilder},
    http::{Answer, get, post},
    jaeger::{Customer, Jaeger},
    log::{Log, PATIENCE, eventually, eventually_within},
    ports::{OTHER_PORTS, free_port},
    process::Process,
    resources::Resources,
    stack::Stack,
};

use std::path::{Path, PathBuf};

/// The root of the repository; the package may be one within it.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("deploy/config.yaml").is_file());
    root.expect("deploy/ is a part of the repository").to_owned()
}
