use crate::testing::{bits, same_on_every_cpu, takes};
use kernels::clip::*;
use kernels::norm::{Units, norm2};
use kernels::random::Stream;
use kernels::{Cpu, Error, Float};

/// The clipped gradient and the result, equal on every CPU.
fn clipped<T: Float>(g: &[T], limit: f64) -> (Vec<T>, Result<f64, Error>) {
    let mut out = Vec::new();
    let result = same_on_every_cpu(|cpu| {
        out = g.to_vec();
        let result = clip_norm(cpu, &mut out, limit);
        (bits(&out), result)
    });
    (out, result.1)
}

#[test]
fn clipping_matches_the_table() {
    let tiny = f32::from_bits(1);
    let e20 = f64::from(1e20_f32);
    for (g, norm, expected) in [
        (vec![1e20_f32; 4], 2.0 * e20, vec![2.5; 4]),
        (vec![6.0, 8.0], 10.0, vec![3.0, 4.0]),
        (vec![3.0, -4.0], 5.0, vec![3.0, -4.0]),
        (vec![0.0, -0.0], 0.0, vec![0.0, -0.0]),
        (vec![tiny; 4], 2.0 * f64::from(tiny), vec![tiny; 4]),
        (vec![f32::MAX; 4], 2.0 * f64::from(f32::MAX), vec![2.5; 4]),
        (vec![f32::MAX, tiny], f64::from(f32::MAX), vec![5.0, 0.0]),
        (vec![-30.0, 0.0, -0.0], 30.0, vec![-5.0, 0.0, -0.0]),
        (vec![], 0.0, vec![]),
    ] {
        let (out, result) = clipped(&g, 5.0);
        assert_eq!(result, Ok(norm), "{g:?}");
        assert_eq!(bits(&out), bits(&expected), "{g:?}");
    }
    assert_eq!(clipped(&[f64::MAX; 4], 5.0), (vec![2.5; 4], Ok(f64::INFINITY)));
    // 6 and 8 times a power of two whose squares underflow.
    let small = f64::from_bits((1023 - 700) << 52);
    assert_eq!(clipped(&[6.0 * small, 8.0 * small], 5.0 * small).0, [3.0 * small, 4.0 * small]);
}

#[test]
fn non_finite_gradients_are_refused_unchanged() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let g = [100.0, bad, 1.0];
        let (out, result) = clipped(&g, 5.0);
        assert_eq!(result, Err(Error::NonFinite { index: 1 }));
        assert_eq!(bits(&out), bits(&g));
    }
}

#[test]
fn limits_and_norms_out_of_range_are_refused() {
    for limit in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut out = [6.0, 8.0];
        let result = clip_norm(Cpu::detect(), &mut out, limit);
        assert!(matches!(result, Err(Error::Parameter { name: "limit", .. })), "{limit}");
        assert_eq!(out, [6.0, 8.0]);
        assert!(matches!(clip_factor(1.0, limit), Err(Error::Parameter { name: "limit", .. })));
    }
    for norm in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(clip_factor(norm, 1.0), Err(Error::Parameter { name: "norm", .. })));
    }
    assert_eq!(clip_factor(5.0, 5.0), Ok(1.0));
    assert_eq!(clip_factor(0.0, 5.0), Ok(1.0));
}

#[test]
fn the_norm_becomes_the_limit_and_the_direction_stays() {
    let g: Vec<f64> = (0..100_003).map(|i| Stream::new(6, 0).uniform_f64(i) - 0.5).collect();
    let (out, result) = clipped(&g, 2.0);
    let before = result.unwrap();
    assert!((norm2(Cpu::detect(), &out).unwrap() - 2.0).abs() < 1e-14);
    for (x, y) in g.iter().zip(&out) {
        assert!((y * before - x * 2.0).abs() <= 1e-15 * x.abs() * 2.0);
    }
}

#[test]
fn several_tensors_are_clipped_as_one() {
    let (mut norms, e20) = ([0.0; 3], f64::from(1e20_f32));
    let cpu = Cpu::detect();
    let (mut a, mut b, mut c) = ([1e20_f32], [1e20, 1e20], [1e20]);
    assert_eq!(
        clip_global_norm(cpu, &mut [&mut a, &mut b, &mut c], 5.0, &mut norms),
        Ok(2.0 * e20)
    );
    assert_eq!((a, b, c), ([2.5], [2.5; 2], [2.5]));
    assert_eq!((norms[0], norms[2]), (e20, e20));
    for bad in [f32::NAN, f32::INFINITY] {
        let (mut a, mut b) = ([9.0_f32], [1.0, bad, 1.0]);
        let result = clip_global_norm(cpu, &mut [&mut a, &mut [], &mut b], 5.0, &mut norms);
        assert_eq!(result, Err(Error::NonFiniteIn { tensor: 2, index: 1 }));
        assert_eq!((a, bits(&b)), ([9.0], bits(&[1.0, bad, 1.0])));
        // The norms of the other tensors are written all the same.
        assert!(norms[0] == 9.0 && norms[1] == 0.0 && !norms[2].is_finite());
    }
    assert_eq!(clip_global_norm::<f32>(cpu, &mut [], 5.0, &mut []), Ok(0.0));
    let result = clip_global_norm(cpu, &mut [&mut a], 5.0, &mut norms);
    assert_eq!(result, Err(Error::Length { operand: "norms", expected: 1, got: 3 }));
    assert!(matches!(
        clip_global_norm(cpu, &mut [&mut a], -5.0, &mut norms[..1]),
        Err(Error::Parameter { name: "limit", .. })
    ));
    assert_eq!(a, [2.5]);
    // f64 whose squares overflow, together with some whose squares underflow.
    let (mut a, mut b) = ([3e200_f64, 4e200], [3e-200, 4e-200]);
    let norm = clip_global_norm(cpu, &mut [&mut a, &mut b], 5.0, &mut norms[..2]).unwrap();
    assert!((norm / 5e200 - 1.0).abs() < 1e-15 && (norms[1] / 5e-200 - 1.0).abs() < 1e-15);
    assert!((a[0] - 3.0).abs() < 1e-15 && b == [0.0, 0.0]);
}

#[test]
fn values_are_clamped_and_nothing_else_changes() {
    let (huge, tiny) = (f32::MAX, f32::from_bits(1));
    for n in [0, 1, 7, 33, 16_385] {
        if !takes(n) {
            continue;
        }
        let g: Vec<f32> = (0..n as u64).map(|i| Stream::new(6, 1).uniform_f32(i) - 0.5).collect();
        let expected: Vec<f32> = g.iter().map(|g| g.clamp(-0.25, 0.25)).collect();
        same_on_every_cpu(|cpu| {
            let mut out = vec![9.0; n + 2];
            out[1..][..n].copy_from_slice(&g);
            let before = clip_value(cpu, &mut out[1..][..n], 0.25).unwrap();
            assert_eq!(before, g.iter().fold(0.0, |m: f64, g| m.max(f64::from(g.abs()))));
            assert_eq!((bits(&out[1..][..n]), out[0], out[n + 1]), (bits(&expected), 9.0, 9.0));
        });
    }
    let mut g = [huge, -huge, -0.0, tiny, 5.0];
    assert_eq!(clip_value(Cpu::detect(), &mut g, 5.0), Ok(f64::from(huge)));
    assert_eq!(bits(&g), bits(&[5.0, -5.0, -0.0, tiny, 5.0]));
    for bad in [f32::NAN, f32::INFINITY] {
        let mut g = [9.0, bad, 1.0];
        assert_eq!(clip_value(Cpu::detect(), &mut g, 5.0), Err(Error::NonFinite { index: 1 }));
        assert_eq!(bits(&g), bits(&[9.0, bad, 1.0]));
    }
    for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut g = [9.0_f64];
        assert!(matches!(
            clip_value(Cpu::detect(), &mut g, limit),
            Err(Error::Parameter { name: "limit", .. })
        ));
        assert_eq!(g, [9.0]);
    }
}

/// The elements of each unit of `x`.
fn gathered(units: Units, x: &[f32]) -> Vec<Vec<f32>> {
    match units {
        Units::Whole => vec![x.to_vec()],
        Units::Rows(cols) => x.chunks(cols).map(<[f32]>::to_vec).collect(),
        Units::Columns(cols) => {
            (0..cols).map(|c| x.iter().skip(c).step_by(cols).copied().collect()).collect()
        }
    }
}

#[test]
fn units_are_clipped_independently() {
    // More rows and more columns than one task takes, and a row longer than a chunk.
    for (rows, cols) in [(1, 1), (3, 5), (100, 300), (5000, 7), (2, 20_000)] {
        if !takes(rows * cols) {
            continue;
        }
        let draw = |stream, size: f32| -> Vec<f32> {
            (0..(rows * cols) as u64)
                .map(|i| size * (Stream::new(8, stream).uniform_f32(i) - 0.5))
                .collect()
        };
        let (g, w) = (draw(0, 1.0), draw(1, 0.9));
        let limit = AdaptiveLimit { ratio: 0.9, epsilon: 1e-3 };
        for units in [Units::Whole, Units::Rows(cols), Units::Columns(cols)] {
            let count = units.count(g.len()).unwrap();
            let mut clipped = Vec::new();
            let found = same_on_every_cpu(|cpu| {
                clipped = g.clone();
                let mut norms = vec![0.0; 2 * count];
                let found = clip_adaptive(cpu, &mut clipped, &w, units, limit, &mut norms).unwrap();
                (bits(&clipped), bits(&norms), found)
            })
            .2;
            let cpu = Cpu::detect();
            let (mut changed, mut longest) = (0, 0.0_f64);
            let units = gathered(units, &g)
                .into_iter()
                .zip(gathered(units, &w))
                .zip(gathered(units, &clipped));
            for ((g, w), out) in units {
                let (before, allowed) =
                    (norm2(cpu, &g).unwrap(), 0.9 * norm2(cpu, &w).unwrap().max(1e-3));
                longest = longest.max(before);
                if before > allowed {
                    changed += 1;
                    for (g, out) in g.iter().zip(&out) {
                        let exact = f64::from(*g) * allowed / before;
                        assert!((f64::from(*out) - exact).abs() <= exact.abs() * 6e-8 + 1e-45);
                    }
                } else {
                    assert_eq!(bits(&g), bits(&out));
                }
            }
            assert_eq!(found.clipped, changed);
            assert!(
                (found.norm / longest - 1.0).abs() < 1e-12 && (found.excess > 1.0) == (changed > 0)
            );
        }
    }
}

#[test]
fn units_of_weights_keep_within_their_max_norm() {
    let w = [6.0_f32, 0.0, 8.0, 1.0, -0.0, 2.0];
    for (units, expected, norms) in [
        (Units::Columns(2), [3.0, 0.0, 4.0, 1.0, -0.0, 2.0], vec![10.0, 5.0_f64.sqrt()]),
        (
            Units::Rows(2),
            [5.0, 0.0, 8.0 * (5.0 / 65.0_f32.sqrt()), 5.0 / 65.0_f32.sqrt(), -0.0, 2.0],
            vec![6.0, 65.0_f64.sqrt(), 2.0],
        ),
    ] {
        let (mut out, mut found) = (w, vec![0.0; norms.len()]);
        let clipped = max_norm(Cpu::detect(), &mut out, units, 5.0, &mut found).unwrap();
        assert_eq!(found, norms);
        assert_eq!(clipped.clipped, if units == Units::Columns(2) { 1 } else { 2 });
        for (out, expected) in out.iter().zip(expected) {
            assert!(
                (out - expected).abs() <= 5e-7
                    && out.is_sign_negative() == expected.is_sign_negative()
            );
        }
    }
}

#[test]
fn impossible_units_are_refused_unchanged() {
    let cpu = Cpu::detect();
    let mut g = [6.0_f32, 8.0, f32::NAN, 1.0];
    let units = Units::Rows(2);
    let before = bits(&g);
    let adaptive = |g: &mut [f32], w: &[f32], units, ratio, epsilon, scratch: usize| {
        let limit = AdaptiveLimit { ratio, epsilon };
        clip_adaptive(cpu, g, w, units, limit, &mut vec![0.0; scratch])
    };
    assert_eq!(adaptive(&mut g, &[1.0; 4], units, 0.1, 0.1, 4), Err(Error::NonFinite { index: 2 }));
    assert_eq!(
        adaptive(&mut g, &[1.0; 4], Units::Columns(2), 0.1, 0.1, 4),
        Err(Error::NonFinite { index: 2 })
    );
    assert_eq!(
        adaptive(&mut g, &[1.0; 4], units, 0.1, 0.1, 3),
        Err(Error::Scratch { expected: 4, got: 3 })
    );
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(adaptive(&mut g, &[1.0; 3], units, 0.1, 0.1, 4), length("w", 4, 3));
    assert_eq!(adaptive(&mut g, &[1.0; 4], Units::Rows(3), 0.1, 0.1, 4), length("x", 3, 4));
    assert_eq!(adaptive(&mut g, &[1.0; 4], Units::Columns(0), 0.1, 0.1, 4), length("x", 0, 4));
    assert_eq!(
        max_norm(cpu, &mut g, units, 1.0, &mut [0.0; 2]),
        Err(Error::NonFinite { index: 2 })
    );
    assert_eq!(max_norm(cpu, &mut g, units, 1.0, &mut [0.0; 3]), length("norms", 2, 3));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = |result, parameter| {
            assert!(
                matches!(result, Err(Error::Parameter { name, .. }) if name == parameter),
                "{parameter}: {bad}"
            );
        };
        refused(adaptive(&mut g, &[1.0; 4], units, bad, 0.1, 4), "ratio");
        refused(adaptive(&mut g, &[1.0; 4], units, 0.1, bad, 4), "epsilon");
        refused(max_norm(cpu, &mut g, units, bad, &mut [0.0; 2]), "limit");
    }
    assert_eq!(bits(&g), before);
    // Non-finite weights allow any gradient; zero weights allow `ratio * epsilon`.
    let mut g = [3.0_f32, 4.0, 3.0, 4.0];
    let found = adaptive(&mut g, &[f32::NAN, 1.0, 0.0, 0.0], units, 5.0, 0.1, 4).unwrap();
    assert_eq!((g, found.clipped), ([3.0, 4.0, 0.3, 0.4], 1));
    assert_eq!(adaptive(&mut [], &[], units, 0.1, 0.1, 0), Ok(ClippedUnits::default()));
}
