use half::bf16;
use kernels::random::Stream;
use kernels::{Cpu, Error};

use crate::testing::{cpus, same_on_every_cpu, takes};
use kernels::bf16::*;

/// The rounding boundaries of every bf16, with both neighbours: its exact value, and half way to
/// the next.
fn boundaries() -> Vec<f32> {
    let around = |bits: u32| [bits.wrapping_sub(1), bits, bits.wrapping_add(1)];
    (0..=u16::MAX)
        .flat_map(|upper| {
            let bits = u32::from(upper) << 16;
            [around(bits), around(bits | 0x8000)]
        })
        .flatten()
        .map(f32::from_bits)
        .collect()
}

#[test]
fn every_bf16_is_widened_as_half_does_and_comes_back() {
    let x: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    for cpu in cpus() {
        let (mut wide, mut back) = (vec![0.0; x.len()], vec![bf16::ZERO; x.len()]);
        widen(cpu, &x, &mut wide).unwrap();
        narrow(cpu, &wide, &mut back).unwrap();
        let mut at_random = vec![bf16::ZERO; x.len()];
        narrow_stochastic(cpu, Stream::new(1, 2), &wide, &mut at_random).unwrap();
        for (((x, wide), back), at_random) in x.iter().zip(wide).zip(back).zip(at_random) {
            assert_eq!(wide.to_bits(), u32::from(x.to_bits()) << 16);
            assert!(wide == x.to_f32() || wide.is_nan() && x.is_nan());
            // A NaN comes back quiet.
            let expected = if x.is_nan() { x.to_bits() | 0x40 } else { x.to_bits() };
            assert_eq!(
                (back.to_bits(), at_random.to_bits()),
                (expected, expected),
                "{x:?} on {cpu:?}"
            );
        }
    }
}

#[test]
fn every_boundary_is_rounded_as_half_does() {
    let x = boundaries();
    for cpu in cpus() {
        let mut y = vec![bf16::ZERO; x.len()];
        narrow(cpu, &x, &mut y).unwrap();
        for (x, y) in x.iter().zip(y) {
            let expected = bf16::from_f32(*x);
            assert_eq!(y.to_bits(), expected.to_bits(), "{x:e} ({:#x}) on {cpu:?}", x.to_bits());
        }
    }
}

#[test]
fn stochastic_rounding_uses_the_documented_bits() {
    let mut x = boundaries();
    x.truncate(x.len() - 5); // not a whole tile
    let stream = Stream::new(7, 8);
    let y = same_on_every_cpu(|cpu| {
        let mut y = vec![bf16::ZERO; x.len()];
        narrow_stochastic(cpu, stream, &x, &mut y).unwrap();
        y.iter().map(|y| y.to_bits()).collect::<Vec<u16>>()
    });
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let (tile, e) = (i / 128, i % 128);
        let word = stream.block((16 * tile + e % 16) as u64)[e / 16 % 4];
        let noise = word >> (16 * (e / 64)) & 0xFFFF;
        let down = (x.to_bits() >> 16) as u16;
        let away = x.to_bits() & 0xFFFF > 0xFFFF - noise;
        let expected = if x.is_nan() { down | 0x40 } else { down + u16::from(away) };
        assert_eq!(y, expected, "element {i}, {x:e}");
    }
}

#[test]
fn stochastic_rounding_is_unbiased() {
    let n = 1 << 18;
    // Towards zero with probability 3/4, 1/2, 1/16 and 1 - 2^-15, including subnormal numbers.
    for fraction in [0x4000, 0x8000, 0xF000, 2] {
        for upper in [0x3F80_0000_u32, 0xC2FF_0000, 0x0003_0000, 0x8000_0000] {
            let x = f32::from_bits(upper | fraction);
            let mut y = vec![bf16::ZERO; n];
            narrow_stochastic(Cpu::detect(), Stream::new(3, 4), &vec![x; n], &mut y).unwrap();
            let away = y.iter().filter(|y| y.to_bits() != (upper >> 16) as u16).count() as f64;
            let p = f64::from(fraction) / 65536.0;
            let deviation = (n as f64 * p * (1.0 - p)).sqrt();
            assert!((away - n as f64 * p).abs() < 5.0 * deviation, "{x:e}: {away} of {n}");
        }
    }
}

#[test]
fn values_above_the_largest_round_to_infinity() {
    let mut y = [bf16::ZERO; 4];
    let x = [f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY];
    narrow(Cpu::detect(), &x, &mut y).unwrap();
    assert_eq!(y, [bf16::INFINITY, bf16::NEG_INFINITY, bf16::INFINITY, bf16::NEG_INFINITY]);
}

#[test]
fn unaligned_slices_of_any_length_are_converted_within_their_bounds() {
    let x: Vec<f32> = (0..20_000).map(|i| Stream::new(5, 0).uniform_f32(i) - 0.5).collect();
    let canary = bf16::from_f32(99.0);
    for n in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 16_383, 16_384, 16_385] {
        if !takes(n) {
            continue;
        }
        for offset in [0, 1, 3] {
            let x = &x[offset..][..n];
            same_on_every_cpu(|cpu| {
                let (mut y, mut z) = (vec![canary; n + offset + 1], vec![canary; n + offset + 1]);
                narrow(cpu, x, &mut y[offset..][..n]).unwrap();
                narrow_stochastic(cpu, Stream::new(0, 0), x, &mut z[offset..][..n]).unwrap();
                assert!([y[n + offset], z[n + offset]] == [canary; 2]);
                assert!(y[..offset].iter().chain(&z[..offset]).all(|y| *y == canary));
                assert!(y[offset..].iter().zip(x).all(|(y, x)| *y == bf16::from_f32(*x)));
                z
            });
        }
    }
}

#[test]
fn lengths_must_agree() {
    let cpu = Cpu::detect();
    let (mut narrow_y, mut wide_y) = ([bf16::ONE; 2], [1.0; 2]);
    let error = Err(Error::Length { operand: "x", expected: 2, got: 3 });
    assert_eq!(narrow(cpu, &[0.0; 3], &mut narrow_y), error);
    assert_eq!(narrow_stochastic(cpu, Stream::new(0, 0), &[0.0; 3], &mut narrow_y), error);
    assert_eq!(widen(cpu, &[bf16::ZERO; 3], &mut wide_y), error);
    assert_eq!((narrow_y, wide_y), ([bf16::ONE; 2], [1.0; 2]));
}
