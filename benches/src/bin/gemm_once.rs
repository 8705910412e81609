//! One of our products, so often: `gemm-once SHAPE TIMES`, with a SHAPE such as `fwd 32,512,784`.
//!
//! For `.ci/instructions`, which counts instructions: one thread, and AVX2, which the counting tool knows. `gemm-once` alone
//! prints the shapes that are worth its while.

use benches::peers::{Implementation, Ours, operands};
use benches::shape::Shape;
use kernels::Isa;

/// Products beyond this take the counting tool minutes.
const MOST_FLOP: f64 = 2e8;

fn main() {
    let mut shapes = Shape::all();
    shapes.retain(|shape| shape.flop() <= MOST_FLOP);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else {
        shapes.iter().for_each(|shape| println!("{shape}"));
        return;
    };
    let shape = shapes.iter().find(|shape| shape.to_string() == *name);
    let (Some(shape), Ok(times)) = (shape, times.parse::<u32>()) else {
        eprintln!("usage: gemm-once [SHAPE TIMES]");
        std::process::exit(2);
    };
    let mut ours = Ours::new(1, Isa::named("avx2").expect("a processor with AVX2"));
    let (a, b, mut c) = operands::<f32>(shape);
    for _ in 0..times {
        ours.multiply(shape, &a, &b, &mut c);
    }
    std::hint::black_box(c);
}
