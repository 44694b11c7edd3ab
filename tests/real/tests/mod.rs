//! What is shown on the real components, one file a subject.

use std::pin::Pin;

pub type Running = Pin<Box<dyn Future<Output = ()>>>;

pub struct Test {
    pub name: &'static str,
    pub run: fn() -> Running,
}

/// Lists the tests of a file.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn all() -> Vec<$crate::tests::Test> {
            // The name of the file is the last part of the module's path.
            let file = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$($crate::tests::Test {
                name: Box::leak(format!("{file}::{}", stringify!($name)).into_boxed_str()),
                run: || Box::pin($name()),
            }),*]
        }
    };
}
use tests;

mod bad_input;
mod blocks;
mod calls;
mod delivery;
mod faults;
mod harness;
mod orders;
mod retries;
mod shop;
mod state;
mod tokens;
mod tree;

pub fn all() -> Vec<Test> {
    [
        harness::all(),
        orders::all(),
        delivery::all(),
        state::all(),
        tokens::all(),
        calls::all(),
        faults::all(),
        bad_input::all(),
        blocks::all(),
        retries::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
