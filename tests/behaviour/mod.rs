//! One file a building block; [`world`] is where they run.

/// Lists the tests of a file: each takes the [`Backend`](world::Backend) that it is to run beside.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn all() -> Vec<$crate::behaviour::Case> {
            // The name of the file is the last part of the module's path.
            let file = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$($crate::behaviour::Case {
                name: format!("{file}::{}", stringify!($name)),
                run: |backend| Box::pin($name(backend)),
            }),*]
        }
    };
}
use tests;

mod actors;
mod app;
mod bindings;
mod configuration;
mod deliveries;
mod differences;
mod golden;
mod invocation;
mod jobs;
mod lock;
mod publishing;
mod pulled;
mod secrets;
mod sidecar;
mod state;
mod tokens;
mod world;

use crate::run::{Running, Test};

use world::Backend;

pub struct Case {
    pub name: String,
    pub run: fn(Backend) -> Running,
}

pub fn all() -> Vec<Test> {
    let cases = || {
        let files = [
            golden::all(),
            deliveries::all(),
            pulled::all(),
            actors::all(),
            jobs::all(),
            bindings::all(),
            invocation::all(),
            publishing::all(),
            state::all(),
            configuration::all(),
            secrets::all(),
            lock::all(),
            sidecar::all(),
            tokens::all(),
        ];
        files.into_iter().flatten()
    };
    let on = |backend: Backend, case: Case| Test {
        name: format!("{backend}::{}", case.name),
        is_real: backend == Backend::Real,
        run: Box::new(move || (case.run)(backend)),
    };
    let embedded = cases().map(|case| on(Backend::Embedded, case));
    embedded.chain(cases().map(|case| on(Backend::Real, case))).collect()
}
