use crate::testing::{bits, same_on_every_cpu, sample, takes};
use kernels::norm::*;
use kernels::random::Stream;
use kernels::{Cpu, Error, Float};

fn uniform<T: Float>(n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(4, 4).uniform_f64(i) - 0.5)).collect()
}

/// The documented order, in scalars.
fn ordered_sum(x: &[f64]) -> f64 {
    let mut total = 0.0;
    for chunk in x.chunks(16 * 1024) {
        let mut lanes = [0.0; 32];
        chunk.iter().enumerate().for_each(|(i, x)| lanes[i % 32] += x);
        for half in [16, 8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        total += lanes[0];
    }
    total
}

fn sums_in_the_documented_order<T: Float>() {
    // Around chunks (16384) and groups of chunks (2^20).
    let long = [16_383, 16_384, 16_385, 50_000, (1 << 20) - 1, (1 << 20) + 1, 3_000_000];
    let x = uniform::<T>(3_000_000);
    for n in sample((0..=70).chain(long)) {
        let x = &x[..n];
        let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
        let squares: Vec<f64> = wide.iter().map(|x| x * x).collect();
        let expected = (ordered_sum(&wide), ordered_sum(&squares).sqrt());
        let got = same_on_every_cpu(|cpu| (sum(cpu, x), norm2(cpu, x).unwrap()));
        assert_eq!(got, expected, "{n} elements");
    }
}

#[test]
fn every_cpu_sums_in_the_documented_order() {
    sums_in_the_documented_order::<f32>();
    sums_in_the_documented_order::<f64>();
}

#[test]
fn alignment_changes_nothing() {
    let x = uniform::<f32>(1003);
    let mut moved = vec![0.0; 1010];
    for offset in 0..7 {
        moved[offset..][..1003].copy_from_slice(&x);
        assert_eq!(
            norm2(Cpu::detect(), &moved[offset..][..1003]).unwrap().to_bits(),
            norm2(Cpu::detect(), &x).unwrap().to_bits()
        );
    }
}

#[test]
fn no_finite_norm_overflows_or_underflows() {
    let norm = |x: &[f64]| same_on_every_cpu(|cpu| norm2(cpu, x).unwrap());
    let tiny = f64::from_bits(1);
    assert_eq!(norm(&[]), 0.0);
    assert_eq!(norm(&[0.0, -0.0]), 0.0);
    // 3, 4 and 5 times a power of two: exact.
    let (huge, small) = (f64::from_bits((1023 + 700) << 52), f64::from_bits((1023 - 700) << 52));
    assert_eq!(norm(&[3.0 * huge, 4.0 * huge]), 5.0 * huge);
    assert_eq!(norm(&[3.0 * small, -4.0 * small]), 5.0 * small);
    assert_eq!(norm(&[f64::MAX]), f64::MAX);
    assert_eq!(norm(&[tiny]), tiny);
    assert_eq!(norm(&[3.0 * tiny, 4.0 * tiny]), 5.0 * tiny);
    assert_eq!(norm(&[1e300, tiny]), 1e300);
    assert_eq!(norm(&[f64::MAX; 4]), f64::INFINITY);
    // On both sides of the scale's threshold, 2^-480 or about 3e-145.
    for size in [2e-145, 3e-145, 4e-145] {
        assert!((norm(&[3.0 * size, 4.0 * size]) / size - 5.0).abs() < 1e-14);
    }

    let norm = |x: &[f32]| same_on_every_cpu(|cpu| norm2(cpu, x).unwrap());
    assert_eq!(norm(&[f32::MAX; 4]), 2.0 * f64::from(f32::MAX));
    assert_eq!(norm(&[f32::from_bits(1); 4]), 2.0 * f64::from(f32::from_bits(1)));
    let power = f32::from_bits(254 << 23);
    assert_eq!(norm(&vec![power; 1 << 20]), 1024.0 * f64::from(power));
}

fn names_the_first_non_finite_element<T: Float>() {
    for n in [1, 31, 33, 40_000] {
        for at in [0, n / 2, n - 1] {
            for bad in [T::NAN, T::INFINITY, -T::INFINITY] {
                let mut x = uniform::<T>(n);
                x[at] = bad;
                x[n - 1] = bad;
                same_on_every_cpu(|cpu| {
                    assert_eq!(norm2(cpu, &x), Err(Error::NonFinite { index: at }));
                });
            }
        }
    }
}

#[test]
fn the_first_non_finite_element_is_named() {
    names_the_first_non_finite_element::<f32>();
    names_the_first_non_finite_element::<f64>();
    // Together with numbers whose squares overflow.
    let x = [f64::MAX, f64::MAX, f64::NEG_INFINITY];
    assert_eq!(norm2(Cpu::detect(), &x), Err(Error::NonFinite { index: 2 }));
}

#[test]
fn sums_propagate_nan_infinities_and_overflow() {
    let cpu = Cpu::detect();
    assert_eq!(sum::<f32>(cpu, &[]), 0.0);
    assert_eq!(sum(cpu, &[1e38_f32; 4]), 4.0 * f64::from(1e38_f32));
    assert!(sum(cpu, &[1.0, f64::NAN]).is_nan());
    assert_eq!(sum(cpu, &[1.0, f64::INFINITY]), f64::INFINITY);
}

#[test]
fn other_norms_in_the_documented_order() {
    for n in [0, 1, 31, 32, 33, 16_383, 16_385, 50_000] {
        let x = uniform::<f32>(n);
        let sizes: Vec<f64> = x.iter().map(|x| f64::from(x.abs())).collect();
        let expected = (ordered_sum(&sizes), sizes.iter().fold(0.0, |m: f64, x| m.max(*x)));
        assert_eq!(
            same_on_every_cpu(|cpu| (norm1(cpu, &x).unwrap(), norm_max(cpu, &x).unwrap())),
            expected
        );
    }
    let cpu = Cpu::detect();
    assert_eq!(norm1(cpu, &[f32::MAX; 4]), Ok(4.0 * f64::from(f32::MAX)));
    assert_eq!(norm1(cpu, &[f64::MAX; 4]), Ok(f64::INFINITY));
    assert_eq!(norm_max(cpu, &[-0.0, -f32::from_bits(1)]), Ok(f64::from(f32::from_bits(1))));
}

#[test]
fn every_norm_names_non_finite_elements() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 5, 40, 16_390] {
            let mut x = uniform::<f32>(16_400);
            x[at] = bad;
            x[16_399] = f32::NAN;
            same_on_every_cpu(|cpu| {
                assert_eq!(norm1(cpu, &x), Err(Error::NonFinite { index: at }));
                assert_eq!(norm_max(cpu, &x), Err(Error::NonFinite { index: at }));
            });
        }
    }
}

#[test]
fn tensor_norms_include_the_global_norm() {
    let lens = [0, 1, 40_000, 16_384, 33, 0, 7];
    let x = uniform::<f64>(lens.iter().sum());
    let mut rest = &x[..];
    let tensors: Vec<&[f64]> = lens.iter().map(|&len| rest.split_off(..len).unwrap()).collect();
    let mut norms = vec![f64::NAN; lens.len()];
    let total = same_on_every_cpu(|cpu| {
        let total = tensor_norms(cpu, &tensors, &mut norms).unwrap();
        (total, norms.clone())
    })
    .0;
    let squares: Vec<f64> =
        tensors.iter().map(|x| ordered_sum(&x.iter().map(|x| x * x).collect::<Vec<_>>())).collect();
    assert_eq!(norms, squares.iter().map(|s| s.sqrt()).collect::<Vec<_>>());
    assert_eq!(total, squares.iter().sum::<f64>().sqrt());

    // Many tensors, more than a group of tasks.
    let many: Vec<&[f64]> = x.chunks(100).collect();
    let mut norms = vec![0.0; many.len()];
    let total = same_on_every_cpu(|cpu| tensor_norms(cpu, &many, &mut norms).unwrap());
    assert!((total / norm2(Cpu::detect(), &x).unwrap() - 1.0).abs() < 1e-14);

    let cpu = Cpu::detect();
    let (huge, small) = (f64::from_bits((1023 + 700) << 52), f64::from_bits((1023 - 700) << 52));
    let mut norms = [0.0; 3];
    let total =
        tensor_norms(cpu, &[&[3.0 * huge], &[4.0 * small, 3.0 * small], &[4.0 * huge]], &mut norms);
    assert_eq!((total, norms), (Ok(5.0 * huge), [3.0 * huge, 5.0 * small, 4.0 * huge]));
    let total = tensor_norms(cpu, &[&[1.0], &[4.0 * small, 3.0 * small], &[0.0]], &mut norms);
    assert_eq!((total, norms), (Ok(1.0), [1.0, 5.0 * small, 0.0]));
    let total = tensor_norms(cpu, &[&[3.0 * small], &[4.0 * small], &[]], &mut norms);
    assert_eq!((total, norms), (Ok(5.0 * small), [3.0 * small, 4.0 * small, 0.0]));
    let total = tensor_norms(cpu, &[&[f64::MAX, f64::MAX], &[1.0], &[]], &mut norms);
    assert_eq!((total, norms), (Ok(f64::INFINITY), [f64::INFINITY, 1.0, 0.0]));
    assert_eq!(
        tensor_norms(cpu, &[&x[..], &x], &mut norms),
        Err(Error::Length { operand: "norms", expected: 2, got: 3 })
    );
}

fn unit_norms_match_their_elements<T: Float>() {
    for (rows, cols) in [(1, 1), (1, 40), (40, 1), (7, 33), (100, 300), (5000, 6), (3, 16_400)] {
        if !takes(rows * cols) {
            continue;
        }
        let mut x = uniform::<T>(rows * cols);
        for bad in [T::ONE, T::INFINITY, T::NAN] {
            let index = rows * cols / 2;
            x[index] = bad;
            let units =
                [(Units::Whole, 1), (Units::Rows(cols), rows), (Units::Columns(cols), cols)];
            for (units, count) in units {
                assert_eq!(units.count(x.len()), Ok(count));
                let mut gathered = vec![Vec::new(); count];
                for (i, x) in x.iter().enumerate() {
                    let unit = match units {
                        Units::Whole => 0,
                        Units::Rows(cols) => i / cols,
                        Units::Columns(cols) => i % cols,
                    };
                    gathered[unit].push(x.to_f64().abs());
                }
                // A column is one chain.
                let sum = |terms: Vec<f64>| match units {
                    Units::Columns(_) => terms.iter().sum(),
                    _ => ordered_sum(&terms),
                };
                let larger = |m: f64, x: &f64| if *x > m || x.is_nan() { *x } else { m };
                for norm in [Norm::L1, Norm::L2, Norm::Max] {
                    let expected: Vec<f64> = (0..count)
                        .map(|unit| {
                            let sizes = &gathered[unit];
                            match norm {
                                Norm::L1 => sum(sizes.clone()),
                                Norm::L2 => sum(sizes.iter().map(|x| x * x).collect()).sqrt(),
                                Norm::Max => sizes.iter().fold(0.0, larger),
                            }
                        })
                        .collect();
                    let got = same_on_every_cpu(|cpu| {
                        let mut norms = vec![-7.0; count + 2];
                        unit_norms(cpu, norm, units, &x, &mut norms[1..=count]).unwrap();
                        assert!(norms[0] == -7.0 && norms[count + 1] == -7.0, "written outside");
                        bits(&norms[1..=count])
                    });
                    for (got, expected) in got.iter().zip(bits(&expected)) {
                        // The norm of a non-finite unit may be Inf or NaN.
                        let finite = f64::from_bits(expected).is_finite();
                        let same = if finite {
                            *got == expected
                        } else {
                            !f64::from_bits(*got).is_finite()
                        };
                        assert!(same, "{norm:?} of {units:?}, {rows} rows, {bad}");
                    }
                }
            }
        }
    }
}

#[test]
fn unit_norms_match_their_elements_f32() {
    unit_norms_match_their_elements::<f32>();
}

#[test]
fn unit_norms_match_their_elements_f64() {
    unit_norms_match_their_elements::<f64>();
}

#[test]
fn no_finite_unit_overflows_or_underflows() {
    let (huge, small) = (f64::from_bits((1023 + 700) << 52), f64::from_bits((1023 - 700) << 52));
    // Columns and, transposed, rows: 5 huge, 5 small, 5, 0.
    let x = [3.0 * huge, 4.0 * small, 3.0, 0.0, 4.0 * huge, 3.0 * small, -4.0, -0.0];
    let mut transposed = [0.0; 8];
    (0..8).for_each(|i| transposed[i % 4 * 2 + i / 4] = x[i]);
    same_on_every_cpu(|cpu| {
        let mut norms = [0.0; 4];
        unit_norms(cpu, Norm::L2, Units::Columns(4), &x, &mut norms).unwrap();
        assert_eq!(norms, [5.0 * huge, 5.0 * small, 5.0, 0.0]);
        unit_norms(cpu, Norm::L2, Units::Rows(2), &transposed, &mut norms).unwrap();
        assert_eq!(norms, [5.0 * huge, 5.0 * small, 5.0, 0.0]);
        unit_norms(cpu, Norm::L2, Units::Whole, &x[..2], &mut norms[..1]).unwrap();
        assert_eq!(norms[0], 3.0 * huge);
    });
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let cpu = Cpu::detect();
    let refused = |units, x: &[f32], norms: usize, operand, expected, got| {
        let result = unit_norms(cpu, Norm::L2, units, x, &mut vec![0.0; norms]);
        assert_eq!(result, Err(Error::Length { operand, expected, got }));
    };
    refused(Units::Rows(3), &[1.0; 7], 2, "x", 6, 7);
    refused(Units::Columns(3), &[1.0; 7], 3, "x", 6, 7);
    refused(Units::Rows(0), &[1.0; 7], 0, "x", 0, 7);
    refused(Units::Rows(usize::MAX), &[1.0; 7], 0, "x", 0, 7);
    refused(Units::Rows(3), &[1.0; 6], 3, "norms", 2, 3);
    refused(Units::Columns(3), &[1.0; 6], 2, "norms", 3, 2);
    refused(Units::Whole, &[1.0; 6], 0, "norms", 1, 0);
    // Empty operands are valid.
    let mut norms = [7.0_f64; 3];
    unit_norms::<f64>(cpu, Norm::L2, Units::Columns(3), &[], &mut norms).unwrap();
    assert_eq!(norms, [0.0; 3]);
    unit_norms::<f64>(cpu, Norm::L2, Units::Rows(3), &[], &mut []).unwrap();
    unit_norms::<f64>(cpu, Norm::Max, Units::Rows(0), &[], &mut []).unwrap();
    unit_norms::<f64>(cpu, Norm::L1, Units::Columns(0), &[], &mut []).unwrap();
}
