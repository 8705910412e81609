//! Stochastic rounding of moments that are stored as bf16.

use half::bf16;

use super::draw;
use crate::testing::share;
use kernels::Cpu;
use kernels::optimizer::*;
use kernels::random::Stream;

/// Moments in bf16 after one step from zero are the exact ones, rounded by the documented bits.
/// Their mean over many streams is exact.
#[test]
fn moments_in_bf16_are_rounded_at_random() {
    let n = 20_000;
    let adam = Adam::default();
    let grads: Vec<bf16> = draw(1, n).into_iter().map(bf16::from_f32).collect();
    let (mut m, mut v) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    adam.step(Cpu::detect(), Step::new(1, 0.0), &mut vec![0.0; n], &grads, &mut [&mut m, &mut v])
        .unwrap();
    let stored = |t: u64, rounding: Stream| {
        let (mut m, mut v) = (vec![bf16::ZERO; n], vec![bf16::ZERO; n]);
        let step = Step { rounding, ..Step::new(t, 0.0) };
        adam.step(Cpu::detect(), step, &mut vec![0.0; n], &grads, &mut [&mut m, &mut v]).unwrap();
        [m, v]
    };
    let rounding = Stream::new(5, 6);
    for t in [1, 2, 1 << 28] {
        let got = stored(t, rounding);
        for (j, (got, exact)) in got.iter().zip([&m, &v]).enumerate() {
            for (i, (got, exact)) in got.iter().zip(exact).enumerate() {
                let (tile, e) = (i / 128, i % 128);
                let block = (t % (1 << 28)) << 36 | (j as u64) << 34 | (16 * tile + e % 16) as u64;
                let noise = rounding.block(block)[e / 16 % 4] >> (16 * (e / 64)) & 0xFFFF;
                assert_eq!(
                    u32::from(got.to_bits()),
                    (exact.to_bits() + noise) >> 16,
                    "element {i} of {j}"
                );
            }
        }
    }
    // Mean of 400 roundings over all elements. A rounding has a standard deviation of at most half
    // of 2^-7 of its value.
    let rounds = share(400) as u64;
    let mut bias = [0.0; 2];
    for stream in 0..rounds {
        for ((bias, got), exact) in
            bias.iter_mut().zip(stored(1, Stream::new(1, stream))).zip([&m, &v])
        {
            for (got, exact) in got.iter().zip(exact).filter(|(_, exact)| **exact != 0.0) {
                *bias += f64::from(got.to_f32() - exact)
                    / f64::from(*exact)
                    / (rounds * n as u64) as f64;
            }
        }
    }
    let standard_error = 0.5 * 2.0_f64.powi(-7) / ((rounds * n as u64) as f64).sqrt();
    assert!(
        bias.iter().all(|bias| bias.abs() < 4.0 * standard_error),
        "{bias:?}, {standard_error:e}"
    );
}

/// A mean that moves by less than half a unit of bf16 per step, which rounding to nearest would
/// freeze.
#[test]
fn slow_means_in_bf16_move() {
    let n = 1000;
    let adam = Adam { beta2: 0.999, ..Adam::default() };
    let (mut p, mut m, mut v) = (vec![0.0_f32; n], vec![bf16::ZERO; n], vec![bf16::ONE; n]);
    for t in 1..=1000 {
        adam.step(
            Cpu::detect(),
            Step::new(t, 0.0),
            &mut p,
            &vec![bf16::ZERO; n],
            &mut [&mut m, &mut v],
        )
        .unwrap();
    }
    let mean = v.iter().map(|v| f64::from(v.to_f32())).sum::<f64>() / n as f64;
    assert!((mean - 0.999_f64.powi(1000)).abs() < 0.01, "{mean}");
}
