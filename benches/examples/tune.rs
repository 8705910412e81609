//! Tuning.
#![allow(clippy::all, missing_docs)]
use benches::shape::Shape;
use benches::timing::minima;
use benches::{peak, peers};
use std::time::Duration;
fn main() {
    // args: threads, "t0,t1,..": settings; env ONLY
    let args: Vec<String> = std::env::args().collect();
    let threads: usize = args[1].parse().unwrap();
    let settings: Vec<Vec<usize>> =
        args[2..].iter().map(|s| s.split(',').map(|x| x.parse().unwrap()).collect()).collect();
    for s in Shape::all() {
        if let Ok(only) = std::env::var("ONLY") {
            if !only.split(':').any(|o| s.to_string().starts_with(o)) {
                continue;
            }
        }
        let (a, b, c) = peers::operands(&s);
        let mut calls: Vec<Box<dyn FnMut() + '_>> = Vec::new();
        for set in &settings {
            let mut ours = peers::all(threads).remove(0);
            let (s, a, b, mut c) = (&s, &a, &b, c.clone());
            calls.push(Box::new(move || {
                for (i, &v) in set.iter().enumerate() {
                    kernels::gemm::TUNE[i].store(v, std::sync::atomic::Ordering::Relaxed);
                }
                ours.sgemm(s, a, b, &mut c)
            }));
        }
        if std::env::var("BF16").is_ok() {
            let h = |x: &[f32]| x.iter().map(|&x| half::bf16::from_f32(x)).collect::<Vec<_>>();
            let (a16, b16) = (h(&a), h(&b));
            let pool = runner::pool::Pool::new(threads).unwrap();
            let mut c16 = vec![half::bf16::ZERO; s.m * s.n];
            let mut scratch = vec![0.0f32; kernels::gemm::gemm_bf16_scratch(threads, s.m, s.n, s.k)];
            let s = &s;
            let set = &settings[0];
            let isa = kernels::Isa::detect();
            calls.push(Box::new(move || {
                for (i, &v) in set.iter().enumerate() {
                    kernels::gemm::TUNE[i].store(v, std::sync::atomic::Ordering::Relaxed);
                }
                let ((ar, ac), (br, bc)) = (s.a_strides(), s.b_strides());
                kernels::gemm::gemm_bf16(
                    kernels::Cpu::new(isa, &pool),
                    1.0,
                    kernels::MatRef::strided(&a16, s.m, s.k, ar, ac).unwrap(),
                    kernels::MatRef::strided(&b16, s.k, s.n, br, bc).unwrap(),
                    0.0,
                    kernels::MatMut::row_major(&mut c16, s.m, s.n).unwrap(),
                    kernels::gemm::Epilogue::NONE,
                    &mut scratch,
                )
                .unwrap();
            }));
        }
        if std::env::var("PEERS").is_ok() {
            for mut p in peers::all(threads).into_iter().skip(1) {
                let (s, a, b, mut c) = (&s, &a, &b, c.clone());
                calls.push(Box::new(move || p.sgemm(s, a, b, &mut c)));
            }
        }
        calls.push(Box::new(peak::run_f32));
        let t = minima(&mut calls, 12, Duration::from_millis(4));
        let pk = peak::FLOP / t[t.len() - 1] * threads as f64;
        print!("{:26}", s.to_string());
        for x in &t[..t.len() - 1] {
            print!("{:8.3}", s.flop() / x / pk);
        }
        println!("   peak {:.1}", pk / 1e9);
    }
}
