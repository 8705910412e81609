//! Matrix products beside the peers', for the record: groups `gemm_f32` and `gemm_f32_2t`, ids `implementation/shape`.

use std::time::Duration;

use benches::peers;
use benches::shape::Shape;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn products(criterion: &mut Criterion, name: &str, threads: usize) {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20);
    for shape in Shape::all() {
        let (a, b, mut c) = peers::operands(&shape);
        group.throughput(Throughput::Elements(shape.flop() as u64));
        for mut peer in peers::all(threads) {
            peer.sgemm(&shape, &a, &b, &mut c);
            peers::check(peer.name(), &shape, &a, &b, &c);
            let id = BenchmarkId::new(peer.name(), &shape);
            group.bench_function(id, |bencher| bencher.iter(|| peer.sgemm(&shape, &a, &b, &mut c)));
        }
    }
    group.finish();
}

fn gemm_f32(criterion: &mut Criterion) {
    products(criterion, "gemm_f32", 1);
}

fn gemm_f32_2t(criterion: &mut Criterion) {
    products(criterion, "gemm_f32_2t", 2);
}

criterion_group!(benches, gemm_f32, gemm_f32_2t);
criterion_main!(benches);
