//! What each layer adds to a call, in time and in allocations, beside the bare service and the floors.
//!
//! `cargo bench --bench layers`, with `--features bound-instruments` for that path; one scenario with `-- 'out/trace'`.
//! `benches/instructions.sh` counts instructions of the same scenarios, which a busy machine does not disturb.
#![allow(clippy::print_stdout, reason = "a bench reports")]
#![allow(missing_docs, reason = "made by macros")]

mod scenarios;

use std::alloc::System;

use criterion::{Criterion, criterion_group, criterion_main};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn times(criterion: &mut Criterion) {
    for (name, mut call) in scenarios::all() {
        criterion.bench_function(name, |bencher| bencher.iter(&mut call));
    }
}

/// Allocations and reallocations of one call, once everything is warm.
fn allocations(_: &mut Criterion) {
    println!("{:24} {:>12} {:>12}", "allocations per call", "in all", "added");
    let mut bare = 0;
    for (name, mut call) in scenarios::all() {
        (0..100).for_each(|_| call());
        let region = Region::new(ALLOCATOR);
        (0..100).for_each(|_| call());
        let change = region.change();
        let each = (change.allocations + change.reallocations) / 100;
        if name.ends_with("bare") {
            bare = each;
        }
        println!("{name:24} {each:>12} {:>12}", each.saturating_sub(bare));
    }
}

criterion_group!(benches, allocations, times);
criterion_main!(benches);
