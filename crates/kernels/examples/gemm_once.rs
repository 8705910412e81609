//! One product, repeated: `gemm_once SHAPE TIMES`, with a SHAPE such as `fwd 32,512,784`.
//!
//! For `.ci/instructions`, which counts instructions: one thread, and AVX2, which valgrind knows.
//! Without arguments it prints the shapes of the benchmarks that are small enough to count.

#[allow(unreachable_pub, reason = "the benchmarks use more of it")]
#[path = "../../../benches/src/shape.rs"]
mod shape;

use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use kernels::{Cpu, Isa, MatMut};
use shape::Shape;

/// Maximum number of operations of a product: counting larger ones takes minutes.
const MAX_FLOP: f64 = 2e8;

fn main() {
    let mut shapes = Shape::all();
    shapes.retain(|shape| shape.flop() <= MAX_FLOP);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else {
        shapes.iter().for_each(|shape| println!("{shape}"));
        return;
    };
    let shape = shapes.iter().find(|shape| shape.to_string() == *name);
    let (Some(shape), Ok(times)) = (shape, times.parse::<u32>()) else {
        eprintln!("usage: gemm_once [SHAPE TIMES]");
        std::process::exit(2);
    };
    let cpu = Cpu::serial(Isa::named("avx2").expect("a processor with AVX2"));
    let &Shape { m, n, k, .. } = shape;
    // Any numbers do: 1, 1/2, 1/3, ...
    let numbers = |len: usize| (1..=len).map(|i| 1.0 / i as f32).collect::<Vec<_>>();
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0_f32; m * n]);
    let mut scratch = vec![0.0_f32; gemm_scratch::<f32>(1, GemmShape { m, n, k })];
    for _ in 0..times {
        let c = MatMut::row_major(&mut c, m, n).expect("C is m x n");
        gemm(cpu, 1.0, shape.a(&a), shape.b(&b), 0.0, c, Epilogue::NONE, &mut scratch)
            .expect("the shapes agree");
    }
    std::hint::black_box(c);
}
