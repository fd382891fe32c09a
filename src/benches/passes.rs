//! Micro-benchmarks of the steps of a pass, on one generated organization of 100 resources.
//!
//! They tell which step has become slower; `make measure` tells what whole commands cost.

#[allow(dead_code, reason = "the other programs use the rest")]
mod world;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use saphyr_parser::Parser;

const SEED: u64 = 7;

/// The floor: events of the parser, which every reader of YAML needs.
fn events(bencher: &mut Criterion) {
    let manifest = world::organization(SEED, 0);
    let mut group = bencher.benchmark_group("read");
    group.throughput(Throughput::Bytes(manifest.len() as u64));
    group.bench_function("events", |bencher| {
        bencher.iter(|| Parser::new_from_str(black_box(&manifest)).filter(Result::is_ok).count());
    });
    group.finish();
}

criterion_group!(passes, events);
criterion_main!(passes);
