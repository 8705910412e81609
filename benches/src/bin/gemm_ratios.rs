//! Prints, shape by shape, our speed compared with the peers':
//! `cargo run --release -p benches --bin gemm-ratios -- [THREADS] [f32|bf16] [--isa NAME]
//! [SHAPE...]`.
//!
//! All implementations alternate within one run, and the least time of each counts. The last
//! columns are our speed over the best peer's, and over the peak measured in the same rounds: the
//! fastest multiply-adds of our instruction set, on all threads at once. `--isa` applies to ours
//! alone. A SHAPE is the beginning of a line of the table, such as `dW`.

use std::time::Duration;

use benches::fused;
use benches::peak::Peak;
use benches::peers::{self, Multiplied};
use benches::shape::Shape;
use half::bf16;
use kernels::Isa;
use runner::machine::timing::{Patience, Work, minima};

const PATIENCE: Patience =
    Patience { slice: Duration::from_millis(5), rounds: 20, most: Duration::MAX };

/// Parsed arguments.
struct Request {
    threads: usize,
    isa: Isa,
    bf16: bool,
    shapes: Vec<Shape>,
}

fn main() {
    let request = match Request::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(reason) => {
            eprintln!("{reason}\nusage: gemm-ratios [THREADS] [f32|bf16] [--isa NAME] [SHAPE...]");
            std::process::exit(2);
        }
    };
    if request.bf16 {
        table::<bf16>(&request);
        return;
    }
    table::<f32>(&request);
    let [forward, backward] = fused::ratios(request.threads, request.isa, PATIENCE);
    println!(
        "a dense layer of 784 inputs and 512 outputs at batch 128, time over that of its bare \
         products:"
    );
    println!(
        "forward with bias and ReLU {forward:.3}; backward with ReLU's gradient and db \
         {backward:.3}"
    );
}

impl Request {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut threads, mut isa, mut bf16, mut prefixes) = (1, Isa::detect(), false, Vec::new());
        while let Some(argument) = arguments.next() {
            match (&argument[..], argument.parse::<usize>()) {
                (_, Ok(number @ 1..=64)) => threads = number,
                (_, Ok(_)) => return Err(format!("THREADS: expected 1 to 64, got {argument}")),
                ("f32", _) => bf16 = false,
                ("bf16", _) => bf16 = true,
                ("--isa", _) => {
                    let name = arguments.next().unwrap_or_default();
                    isa = Isa::named(&name).map_err(|error| format!("--isa {name}: {error}"))?;
                }
                _ => prefixes.push(argument),
            }
        }
        let mut shapes = Shape::all();
        for prefix in &prefixes {
            if !shapes.iter().any(|shape| shape.to_string().starts_with(prefix)) {
                return Err(format!("{prefix}: no shape begins like this"));
            }
        }
        let wanted =
            |shape: &Shape| prefixes.iter().any(|prefix| shape.to_string().starts_with(prefix));
        shapes.retain(|shape| prefixes.is_empty() || wanted(shape));
        Ok(Self { threads, isa, bf16, shapes })
    }
}

fn table<T: Multiplied>(request: &Request) {
    let &Request { threads, isa, .. } = request;
    let (mut all, peak) = (T::implementations(threads, isa), Peak::new::<T>(threads, isa));
    println!("{}, ours on {isa}, {threads} thread(s), GFLOP/s", T::NAME);
    print!("{:24}", "");
    all.iter().for_each(|peer| print!("{:>16}", peer.name()));
    println!("{:>12}{:>12}", "best peer", peak.name());
    let mut ratios = Vec::new();
    for shape in &request.shapes {
        let (a, b, c) = peers::operands::<T>(shape);
        let mut works: Vec<Work<'_>> = Vec::new();
        for peer in &mut all {
            let (a, b, mut c) = (&a, &b, c.clone());
            peers::check(&mut **peer, shape, a, b, &mut c);
            works.push(Box::new(move |times| peer.time(shape, a, b, &mut c, times)));
        }
        works.push(Box::new(|times| peak.time(times)));
        let seconds = minima(&mut works, PATIENCE);
        let (peak_seconds, speeds) = (seconds[seconds.len() - 1], &seconds[..seconds.len() - 1]);
        let speeds: Vec<f64> = speeds.iter().map(|s| shape.flop() / s).collect();
        print!("{:24}", shape.to_string());
        speeds.iter().for_each(|s| print!("{:16.1}", s / 1e9));
        match speeds[1..].iter().copied().reduce(f64::max) {
            Some(best_peer) => {
                print!("{:12.3}", speeds[0] / best_peer);
                ratios.push(speeds[0] / best_peer);
            }
            None => print!("{:>12}", "-"),
        }
        println!("{:12.3}", speeds[0] / (peak.flop() / peak_seconds));
    }
    if !ratios.is_empty() {
        let (mean, below) = (mean(&ratios), ratios.iter().filter(|ratio| **ratio < 1.0).count());
        println!(
            "geometric mean of the ratios {mean:.3}; below 1 at {below} of {} shapes",
            ratios.len()
        );
    }
}

/// The geometric mean.
#[expect(clippy::disallowed_methods, reason = "a figure for people; no run depends on it")]
fn mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}
