//! One product, repeated: `gemm_once SHAPE TIMES`, with a SHAPE such as `fwd 32,512,784`, or
//! `bf16-fwd 32,512,784` for operands that are rounded to bf16.
//!
//! For `.ci/instructions`, which counts instructions: one thread, and AVX2, which valgrind knows.
//! Without arguments it prints the shapes of the benchmarks that are small enough to count.

#[allow(unreachable_pub, reason = "the benchmarks use more of it")]
#[path = "../../../benches/src/shape.rs"]
mod shape;

use kernels::gemm::{
    Bf16Operand, Epilogue, GemmShape, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch,
};
use kernels::{Cpu, Isa, MatMut};
use shape::Shape;

/// Maximum number of operations of a product: counting larger ones takes minutes.
const MAX_FLOP: f64 = 2e8;

/// Prefix of the shapes of bf16 products.
const BF16: &str = "bf16-";

fn main() {
    let mut shapes = Shape::all();
    shapes.retain(|shape| shape.flop() <= MAX_FLOP);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else {
        shapes.iter().for_each(|shape| println!("{shape}\n{BF16}{shape}"));
        return;
    };
    let (name, is_bf16) = match name.strip_prefix(BF16) {
        Some(name) => (name, true),
        None => (&name[..], false),
    };
    let shape = shapes.iter().find(|shape| shape.to_string() == name);
    let (Some(shape), Ok(times)) = (shape, times.parse::<u32>()) else {
        eprintln!("usage: gemm_once [SHAPE TIMES]");
        std::process::exit(2);
    };
    let cpu = Cpu::serial(Isa::named("avx2").expect("a processor with AVX2"));
    let &Shape { m, n, k, .. } = shape;
    // Any numbers do: 1, 1/2, 1/3, ...
    let numbers = |len: usize| (1..=len).map(|i| 1.0 / i as f32).collect::<Vec<_>>();
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0_f32; m * n]);
    let product = GemmShape { m, n, k };
    let len = gemm_scratch::<f32>(1, product).max(gemm_bf16_scratch(1, product));
    let mut scratch = vec![0.0_f32; len];
    let (a, b) = (shape.a(&a), shape.b(&b));
    for _ in 0..times {
        let (c, scratch) = (MatMut::row_major(&mut c, m, n).expect("C is m x n"), &mut scratch);
        if is_bf16 {
            let (a, b) = (Bf16Operand::rounded(a), Bf16Operand::rounded(b));
            gemm_bf16(cpu, 1.0, a, b, 0.0, c, Epilogue::NONE, scratch)
        } else {
            gemm(cpu, 1.0, a, b, 0.0, c, Epilogue::NONE, scratch)
        }
        .expect("the shapes agree");
    }
    std::hint::black_box(c);
}
