//! Record of the kernels other than products: a group per family, ids `kernel/elements`, f32 on one
//! thread.

use std::time::Duration;

use benches::kernel::Kernel;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Cpu, Isa};

fn kernels(criterion: &mut Criterion) {
    benches::copy::check();
    for (family, kernels) in Kernel::families(Cpu::serial(Isa::detect())) {
        let mut group = criterion.benchmark_group(family);
        group
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(400))
            .sample_size(20);
        for kernel in kernels {
            for &elements in kernel.sizes {
                group.throughput(Throughput::Elements(elements as u64));
                group.bench_function(BenchmarkId::new(&kernel.name, elements), |bencher| {
                    let mut case = kernel.on(elements);
                    case.settle();
                    bencher.iter(|| case.run());
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
