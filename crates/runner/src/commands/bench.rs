//! `evenkeel bench`: speed of a training step's matrix products on this machine, in about three
//! seconds.
//!
//! ```text
//! for each product, in turns for a quarter of a second:
//!     product in f32;  product in bf16;  chains of fused multiply-adds on all threads
//! ```
//!
//! The chains measure the peak of f32 at that moment, so the fraction of peak holds on a busy
//! machine too.

use std::fmt::Write;
use std::time::Duration;

use half::bf16;
use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch};
use kernels::random::Stream;
use kernels::{Cpu, Executor, Float, MatMut, MatRef, peak};
use serde::Serialize;

use crate::Error;
use crate::commands::output;
use crate::machine::thread_pool::ThreadPool;
use crate::machine::timing::{Patience, Work, minima, repeat};
use crate::run::config::Config;
use crate::run::setup;

/// Options of `bench`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Number of threads; `None` for one per CPU.
    pub threads: Option<usize>,
    /// Instruction set.
    pub isa: String,
    /// Print JSON.
    pub json: bool,
}

/// Timing of a product: 12 products take a quarter of a second each.
const PATIENCE: Patience =
    Patience { slice: Duration::from_millis(3), rounds: 24, most: Duration::from_millis(200) };

/// Rounds of [`peak::fma_chains`] in one call: tens of microseconds.
const PEAK_ROUNDS: u64 = 4096;

/// Matrix product C = A B of `[m, k]` and `[k, n]`.
struct Product {
    name: &'static str,
    m: usize,
    n: usize,
    k: usize,
    /// `true` if A or B is stored transposed.
    transposed: (bool, bool),
}

impl Product {
    const fn plain(name: &'static str, m: usize, n: usize, k: usize) -> Self {
        Self { name, m, n, k, transposed: (false, false) }
    }

    /// Products of a training step of 784-512-10, forward and backward, and two square ones.
    fn all() -> Vec<Self> {
        let step = |batch| {
            [
                Self::plain("forward, hidden layer", batch, 512, 784),
                Self::plain("forward, output layer", batch, 10, 512),
                Self {
                    transposed: (false, true),
                    ..Self::plain("dX, output layer", batch, 512, 10)
                },
                Self {
                    transposed: (true, false),
                    ..Self::plain("dW, output layer", 512, 10, batch)
                },
                Self {
                    transposed: (true, false),
                    ..Self::plain("dW, hidden layer", 784, 512, batch)
                },
            ]
        };
        let squares = [256, 512].map(|n| Self::plain("square", n, n, n));
        [32, 128].into_iter().flat_map(step).chain(squares).collect()
    }

    fn flop(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    fn a<'a, T>(&self, a: &'a [T]) -> Result<MatRef<'a, T>, kernels::Error> {
        operand(a, self.m, self.k, self.transposed.0)
    }

    fn b<'a, T>(&self, b: &'a [T]) -> Result<MatRef<'a, T>, kernels::Error> {
        operand(b, self.k, self.n, self.transposed.1)
    }
}

fn operand<T>(
    data: &[T],
    rows: usize,
    cols: usize,
    transposed: bool,
) -> Result<MatRef<'_, T>, kernels::Error> {
    if transposed {
        Ok(MatRef::row_major(data, cols, rows)?.transpose())
    } else {
        MatRef::row_major(data, rows, cols)
    }
}

#[derive(Serialize)]
struct Row {
    product: &'static str,
    m: usize,
    n: usize,
    k: usize,
    f32_gflops: f64,
    bf16_gflops: f64,
    /// Peak of f32, all threads together.
    peak_gflops: f64,
    f32_of_peak: f64,
}

#[derive(Serialize)]
struct Table {
    isa: &'static str,
    threads: usize,
    /// `true` if the processor has an instruction for bf16 products; otherwise they are emulated.
    bf16_instruction: bool,
    products: Vec<Row>,
}

/// Measures all products, and prints a table.
///
/// # Errors
/// [`Error`], if this machine lacks the instruction set or does not grant the threads.
pub fn bench(request: &Request) -> Result<(), Error> {
    let config = Config { threads: request.threads, isa: request.isa.clone(), ..Config::default() };
    config.check()?;
    let (isa, pool) = (setup::isa(&config)?, setup::pool(&config)?);
    let cpu = Cpu::new(isa, &pool);
    let table = Table {
        isa: isa.name(),
        threads: pool.threads(),
        bf16_instruction: peak::pair_chains(isa, 1).is_some(),
        products: pool
            .enter(|| Product::all().iter().map(|product| measure(product, cpu, &pool)).collect()),
    };
    if request.json {
        let text = serde_json::to_string_pretty(&table);
        return output::print(&text.map_err(|error| Error::Usage(format!("table: {error}")))?);
    }
    output::print(&table.text())
}

fn measure(product: &Product, cpu: Cpu<'_>, pool: &ThreadPool) -> Row {
    let &Product { name, m, n, k, .. } = product;
    let draw = |stream, len: usize| -> Vec<f32> {
        let stream = Stream::new(1, stream);
        (0..len as u64).map(|i| stream.uniform_f32(i) - 0.5).collect()
    };
    let (a, b) = (draw(0, m * k), draw(1, k * n));
    let half = |x: &[f32]| -> Vec<bf16> { x.iter().map(|&x| bf16::from_f32(x)).collect() };
    let (half_a, half_b) = (half(&a), half(&b));
    let (mut c, mut half_c) = (vec![0.0_f32; m * n], vec![bf16::ZERO; m * n]);
    let mut scratch = vec![f32::ZERO; gemm_scratch::<f32>(pool.threads(), GemmShape { m, n, k })];
    let mut half_scratch =
        vec![f32::ZERO; gemm_bf16_scratch(pool.threads(), GemmShape { m, n, k })];

    let mut single = || {
        let (a, b, c) = (product.a(&a)?, product.b(&b)?, MatMut::row_major(&mut c, m, n)?);
        gemm(cpu, 1.0, a, b, 0.0, c, Epilogue::NONE, &mut scratch)
    };
    let mut halves = || {
        let (a, b, c) =
            (product.a(&half_a)?, product.b(&half_b)?, MatMut::row_major(&mut half_c, m, n)?);
        gemm_bf16(cpu, 1.0, a, b, 0.0, c, Epilogue::NONE, &mut half_scratch)
    };
    let chains = |times: u32| {
        let rounds = u64::from(times) * PEAK_ROUNDS;
        repeat(1, || pool.run(pool.threads(), &|_| _ = peak::fma_chains(cpu.isa, rounds)))
    };
    let agree = "shapes and length of the scratch agree";
    let mut works: [Work<'_>; 3] = [
        Box::new(|times| repeat(times, || single().expect(agree))),
        Box::new(|times| repeat(times, || halves().expect(agree))),
        Box::new(chains),
    ];
    let seconds = minima(&mut works, PATIENCE);
    let chain_flop = peak::fma_chains(cpu.isa, PEAK_ROUNDS) as f64 * pool.threads() as f64;
    let giga = |flop: f64, seconds: f64| flop / seconds / 1e9;
    let (f32_gflops, peak_gflops) =
        (giga(product.flop(), seconds[0]), giga(chain_flop, seconds[2]));
    Row {
        product: name,
        m,
        n,
        k,
        f32_gflops,
        bf16_gflops: giga(product.flop(), seconds[1]),
        peak_gflops,
        f32_of_peak: f32_gflops / peak_gflops,
    }
}

impl Table {
    fn text(&self) -> String {
        let bf16 =
            if self.bf16_instruction { "" } else { " (bf16 emulated: no instruction for it)" };
        let mut text = format!("GFLOP/s, {}, {} thread(s){bf16}\n", self.isa, self.threads);
        let header = ["m", "n", "k", "f32", "bf16", "FMA peak", "f32 of peak"];
        let [m, n, k, f32, bf16, peak, of_peak] = header;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{:24}{m:>5}{n:>5}{k:>5}{f32:>9}{bf16:>9}{peak:>10}{of_peak:>13}",
            "product"
        );
        for row in &self.products {
            let Row { product, m, n, k, f32_gflops, bf16_gflops, peak_gflops, f32_of_peak } = row;
            let percent = 100.0 * f32_of_peak;
            let _ = write!(
                text,
                "\n{product:24}{m:>5}{n:>5}{k:>5}{f32_gflops:>9.1}{bf16_gflops:>9.1}\
                 {peak_gflops:>10.1}{percent:>11.0} %"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_line_per_product() {
        let row = |product| Row {
            product,
            m: 1,
            n: 2,
            k: 3,
            f32_gflops: 50.0,
            bf16_gflops: 99.0,
            peak_gflops: 100.0,
            f32_of_peak: 0.5,
        };
        let table = Table {
            isa: "scalar",
            threads: 1,
            bf16_instruction: false,
            products: vec![row("first"), row("second")],
        };
        let text = table.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].contains("scalar, 1 thread(s) (bf16 emulated"), "{text}");
        assert_eq!(lines[1].len(), lines[3].len(), "{text}");
        assert!(lines[3].starts_with("second") && lines[3].ends_with("50 %"), "{text}");
    }
}
