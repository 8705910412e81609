//! Prints, shape by shape, our speed beside the peers': `cargo run --release -p benches --bin gemm-ratios -- [THREADS]`.
//!
//! All implementations take turns within one run, and the least time of each counts. The last columns are our speed over
//! the best peer's, and over the FMA peak measured in the same rounds (of one core, times the threads).

use std::time::Duration;

use benches::shape::Shape;
use benches::timing::minima;
use benches::{peak, peers};

fn main() {
    let threads = match std::env::args().nth(1).map(|argument| argument.parse::<usize>()) {
        None => 1,
        Some(Ok(threads @ 1..=64)) => threads,
        Some(_) => {
            eprintln!("usage: gemm-ratios [THREADS], with THREADS from 1 to 64");
            std::process::exit(2);
        }
    };
    let mut all = peers::all(threads);
    print!("{:24}", format!("GFLOP/s, {threads} thread(s)"));
    all.iter().for_each(|peer| print!("{:>16}", peer.name()));
    println!("{:>12}{:>12}", "best peer", "FMA peak");
    let mut ratios = Vec::new();
    for shape in Shape::all().into_iter().filter(|s| {
        std::env::var("ONLY").is_ok_and(|o| o.split(':').any(|o| s.to_string().starts_with(o)))
            || std::env::var("ONLY").is_err()
    }) {
        let (a, b, c) = peers::operands(&shape);
        let mut calls: Vec<Box<dyn FnMut() + '_>> = Vec::new();
        for peer in &mut all {
            let (name, mut c) = (peer.name(), c.clone());
            peer.sgemm(&shape, &a, &b, &mut c);
            peers::check(name, &shape, &a, &b, &c);
            let (shape, a, b) = (&shape, &a, &b);
            calls.push(Box::new(move || peer.sgemm(shape, a, b, &mut c)));
        }
        calls.push(Box::new(peak::run_f32));
        let seconds = minima(&mut calls, 20, Duration::from_millis(5));
        let (peak, speeds) = (peak::FLOP / seconds[seconds.len() - 1], &seconds[..seconds.len() - 1]);
        let speeds: Vec<f64> = speeds.iter().map(|s| shape.flop() / s).collect();
        let best_peer = speeds[1..].iter().fold(0.0_f64, |best, s| best.max(*s));
        print!("{:24}", shape.to_string());
        speeds.iter().for_each(|s| print!("{:16.1}", s / 1e9));
        println!("{:12.3}{:12.3}", speeds[0] / best_peer, speeds[0] / (peak * threads as f64));
        ratios.push(speeds[0] / best_peer);
    }
    let below = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    println!(
        "geometric mean of the ratios {:.3}; below 1 at {below} of {} shapes",
        mean(&ratios),
        ratios.len()
    );
}

/// The geometric mean.
#[expect(clippy::disallowed_methods, reason = "a figure for people; no run depends on it")]
fn mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}
