//! What is shown on the real components, one file a subject.

use crate::run::Test;

/// Lists the tests of a file.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub fn all() -> Vec<$crate::run::Test> {
            // The name of the file is the last part of the module's path.
            let file = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$($crate::run::Test {
                name: format!("{file}::{}", stringify!($name)),
                is_real: true,
                run: Box::new(|| Box::pin($name())),
            }),*]
        }
    };
}
use tests;

mod bad_input;
mod delivery;
mod faults;
mod harness;
mod orders;
mod retries;
mod shop;
mod tokens;
mod tree;

pub fn all() -> Vec<Test> {
    [
        // The longest first, so that none is left to run alone at the end.
        faults::all(),
        harness::all(),
        orders::all(),
        delivery::all(),
        tokens::all(),
        bad_input::all(),
        retries::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
