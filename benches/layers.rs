//! What each layer adds to a call, in time and in allocations, beside the bare service and the floors.
//!
//! `cargo bench --bench layers`, with `--features bound-instruments` for that path; one scenario with `-- 'out/trace'`.
//! `benches/instructions.sh` counts instructions of the same scenarios, which a busy machine does not disturb.
//!
//! Last numbers (Rust 1.95, x86-64; instructions added to the bare call of 14,150 inbound and 15,014 outbound, with
//! `bound-instruments` in brackets; allocations added):
//!
//! | | inbound | | outbound | |
//! | --- | --- | --- | --- | --- |
//! | a layer that does nothing | 1,157 | 3 | | |
//! | trace off | 1,891 | 5 | 282 | 0 |
//! | trace unsampled | 7,037 | 9 | 6,370 | 4 |
//! | trace sampled | 11,938 | 14 | 9,004 | 5 |
//! | metrics off | 1,962 | 5 | 261 | 0 |
//! | metrics | 6,135 (3,901) | 5 | 10,134 (3,846) | 1 |
//! | both in one pass | 15,750 (13,687) | 14 | 16,906 (10,712) | 5 |
//! | both as two layers | 18,278 (16,037) | 20 | 19,323 (13,101) | 6 |
//!
//! Floors: a span of the SDK in a context 4,097 and 4, a histogram with six attributes 2,859 and 0.
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
