//! Matrix products compared with the peers', for the record: groups `gemm_f32`, `gemm_bf16`, and
//! `_2t` on two threads; ids `implementation/shape`.

use std::time::Duration;

use benches::peers::{self, Multiplied};
use benches::shape::Shape;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::bf16;
use kernels::Isa;

fn products<T: Multiplied>(criterion: &mut Criterion, name: &str, threads: usize) {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20);
    let mut all = T::implementations(threads, Isa::detect());
    for shape in Shape::all() {
        let (a, b, mut c) = peers::operands::<T>(&shape);
        group.throughput(Throughput::Elements(shape.flop() as u64));
        for peer in &mut all {
            peers::check(&mut **peer, &shape, &a, &b, &mut c);
            group.bench_function(BenchmarkId::new(peer.name(), &shape), |bencher| {
                bencher.iter_custom(|times| peer.time(&shape, &a, &b, &mut c, times as u32));
            });
        }
    }
    group.finish();
}

fn gemm(criterion: &mut Criterion) {
    products::<f32>(criterion, "gemm_f32", 1);
    products::<f32>(criterion, "gemm_f32_2t", 2);
    products::<bf16>(criterion, "gemm_bf16", 1);
    products::<bf16>(criterion, "gemm_bf16_2t", 2);
}

criterion_group!(benches, gemm);
criterion_main!(benches);
